"""Everything that decides the bytes of an output, beside the input files and the weights of the models."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.data.columns import Columns
from hnmine.data.corpus import PoolMode
from hnmine.export.formats import check_export
from hnmine.models.cards import ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.retrieval.approximate import IndexName, chosen_index
from hnmine.retrieval.rerank import SIGNAL
from hnmine.retrieval.retrievers import MODEL_ALONE, Retriever, chosen_retrievers
from hnmine.review.relabelling import RELABELS, JudgedPairs, Relabel
from hnmine.selection.settings import SelectionSettings

__all__ = ["SCORE_SOURCES", "MineSettings", "ScoreSource"]

ScoreSource = Literal["model", "reranker"]
SCORE_SOURCES: tuple[ScoreSource, ...] = get_args(ScoreSource)


class MineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a run.

    Attributes:
        selection: window, number, strategy, seed, filters.
        model: the embedding model and how it is used; None for a loaded model.
        query_prompt_field: the field of the rows with the instruction of each query, such as "prompt", for the model alone; None: all
            queries have the model's own.
        second_model: another model, whose similarities become the signal "second_model"; None for none.
        retrievers: what ranks the candidates, of `hnmine.retrieval.retrievers.RETRIEVERS`; ranks of several are fused. Kept in that order.
        reranker: a cross-encoder whose scores become the signal "reranker"; None for none.
        pool_mode: "extend" adds the pool to the rows' passages, "replace" ranks the pool alone.
        use_gpu: search on a GPU where there is one.
        index: how vectors are searched: "exact", or approximately by "ivf", "hnsw" or "cagra" (`hnmine.retrieval.approximate`).
        columns: which columns of the input files hold what; the others are found by name.
        repair: kinds of problems to repair when reading (see `hnmine.data.problems.REPAIRS`).
        skip_bad_rows: leave out rows that cannot be used.
        with_scores: write `pos_scores` and `neg_scores`.
        score_source: "model", similarities of the mining model, or "reranker", raw logits.
        output_format: one of `hnmine.export.formats.FORMATS`.
        dev_share: part of the queries (0 to below 1) that goes to a dev file; drawn by the seed.
        repair_output: faults to repair in what is written (see `hnmine.checks.kinds.OUTPUT_REPAIRS`); sorted.
        relabel: what is done with candidates that a judge calls relevant and no person has decided. "keep": nothing; "drop": they are never
            negatives of the query, and others take their place; "promote": they are added to the positives of every row with the query;
            "leave_out": rows with such a negative are not written.
        relevant_from: the lowest grade that counts as relevant, 1 to 3.
    """

    selection: SelectionSettings = SelectionSettings()
    model: ModelSettings | None = None
    query_prompt_field: str | None = None
    second_model: ModelSettings | None = None
    retrievers: tuple[Retriever, ...] = MODEL_ALONE
    reranker: RerankerSettings | None = None
    pool_mode: PoolMode = "extend"
    use_gpu: bool = False
    index: IndexName = "exact"
    columns: Columns = Columns()
    repair: tuple[str, ...] = ()
    skip_bad_rows: bool = False
    with_scores: bool = False
    score_source: ScoreSource = "model"
    output_format: str = "flagembedding"
    dev_share: float = 0.0
    repair_output: tuple[str, ...] = ()
    relabel: Relabel = "keep"
    relevant_from: int = 2

    def __post_init__(self) -> None:
        check_export(self.output_format, with_scores=self.with_scores, dev_share=self.dev_share, repair_output=self.repair_output)
        if (name := self.query_prompt_field) is not None and (not isinstance(name, str) or name in ("", "query", "pos", "neg")):
            raise SettingsError(f"query_prompt_field is {name!r}; name the field with the instruction of each query, such as 'prompt'")
        chosen_index(self.index)
        second, end = self.second_model is not None, self.selection.window_end
        msgspec.structs.force_setattr(self, "retrievers", chosen_retrievers(self.retrievers, second=second, window_end=end))
        if self.reranker is None and SIGNAL in self.selection.signals:
            raise SettingsError("reranker_margin needs a reranker, and there is none; name one, or leave the margin out")
        if self.relabel not in RELABELS:
            raise SettingsError(f"relabel is {self.relabel!r}; it is one of: {', '.join(RELABELS)}")
        if isinstance(self.relevant_from, bool) or self.relevant_from not in (1, 2, 3):
            raise SettingsError(f"relevant_from is {self.relevant_from!r}; it is the lowest grade that counts as relevant: 1, 2 or 3")
        if self.score_source not in SCORE_SOURCES:
            raise SettingsError(f"score_source is {self.score_source!r}; it is one of: {', '.join(SCORE_SOURCES)}")
        if self.score_source == "reranker" and (self.reranker is None or not self.with_scores):
            raise SettingsError(
                f"score_source is 'reranker', and {'there is no reranker' if self.reranker is None else 'no scores are written'}; "
                f"{'name one' if self.reranker is None else 'set with_scores'}, or leave score_source out"
            )

    def check_judged(self, judged: JudgedPairs) -> None:
        """Refuse settings that need a judge's grades where no pair of the data has one.

        Raises:
            SettingsError: as said.
        """
        user = "judge_grade" if self.selection.judge_grade is not None else "relabel" if self.relabel != "keep" else ""
        if user and not len(judged.queries):
            found = f"none of the {judged.elsewhere:,} judgements is on this data" if judged.elsewhere else "there are none"
            raise SettingsError(f"{user} needs judgements, and {found}; give those that python -m hnmine judge writes, or leave {user} out")
