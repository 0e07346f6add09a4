"""The counts and averages of a run: for the closing lines of the command line, the screens and the manifest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.fn_estimates import fn_rate
from hnmine.core.text import counted
from hnmine.data.dataset import Inputs
from hnmine.export.json_lines import stale_scores
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.retrievers import MODEL_ALONE, Retriever, retriever_names
from hnmine.selection.fn_model import FNEstimator, FNModel, FNRate
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["RELABELLED", "Summary", "summarise", "written"]

# With fewer queries, the true rate of judged sets was outside the range more often than with all: `similarity_z` compares queries.
FEW_QUERIES = 100
# What `relabel` did, by the name in `Summary.judgements`.
RELABELLED = {
    "dropped": "{:,} of them dropped from the candidates",
    "promoted": "{:,} of them added as positives",
    "left_out": "{:,} rows with such negatives left out",
}


@dataclass(slots=True, kw_only=True)
class Summary:
    """Counts and averages of a run. Printing it gives the closing summary of the command line.

    Rows that `relabel` leaves out are in no count of rows, queries and negatives, and in no average: "left_out" of `judgements`.

    Attributes:
        output_file: where the rows were written; None before that.
        rows, queries, passages, candidates: counts; rows with the same query count as one query.
        pool_mode: "extend", "replace", or None without a pool.
        funnel: candidates left after each step, over all queries (`Selection.funnel`); "written" is last where rows are left out.
        negatives: negatives over all rows; random_filled: those filled at random; short_rows: rows with fewer than asked for.
        retrievers: what ranked the candidates. second_model: its name, or None.
        query_prompts: the "field" with the queries' instructions, how many of these are "different", and "rows_without"; empty without.
        scores: mean similarity of the "negatives" and the "positives", and the part of the negatives "above_positive" (0 to 1).
        estimated_fn_rate: of the negatives from the window, with its range; None without signals. An audit measures the rate.
        problems: counts of input problems, "kind (resolution)".
        verdicts: counts of the applied verdicts, and of those "elsewhere", on texts that are not in this data; empty without any.
        judgements: what a judge's grades are and did (`Reviewed.judge_counts`); empty without any on this data.
        vectors: how many were "stored" and how many had to be "encoded"; empty without a store.
        index: what an approximate index reports, by model: its settings and its measured recall; empty with exact search.
        pairs: the same of a reranker's scores, "stored" and "scored"; empty without a reranker.
        timings: seconds of each stage.
        out_of_reach: of `Selection`. notes: what else a user should know, in sentences.
    """

    output_file: str | None
    rows: int
    queries: int
    passages: int
    candidates: int
    pool_mode: str | None
    negative_number: int
    window: tuple[int, int]
    funnel: dict[str, int]
    negatives: int
    random_filled: int
    short_rows: int
    scores: dict[str, float | None]
    retrievers: tuple[Retriever, ...] = MODEL_ALONE
    second_model: str | None = None
    query_prompts: dict[str, Any] = field(default_factory=dict)
    estimated_fn_rate: FNRate | None = None
    problems: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    judgements: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    index: dict[str, dict[str, Any]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    out_of_reach: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def hardness(self) -> float | None:
        """Mean similarity of the negatives to their queries; None without negatives."""
        return self.scores["negatives"]

    def __str__(self) -> str:
        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.3f}"

        steps = " -> ".join(  # filters and verdicts that removed nothing are left out
            f"{name.replace('_', ' ')} {count:,}"
            for (name, count), before in zip(self.funnel.items(), (0, *self.funnel.values()), strict=False)
            if name in ("ranked", "in_window", "not_positive", "chosen", "written")
            or (name.startswith(("past_", "not_removed")) and count != before)
        )
        pool = {None: "the rows' own passages", "extend": "the rows' own passages and the pool", "replace": "the pool alone"}[
            self.pool_mode
        ]
        above = self.scores["above_positive"]
        lines = [
            f"rows         {self.rows:,} ({self.queries:,} different queries)"
            + (f", {left_out:,} left out" if (left_out := self.judgements.get("left_out")) else "")
            + (f" -> {self.output_file}" if self.output_file else ""),
            f"candidates   {self.candidates:,} passages: {pool}",
            f"window       ranks {self.window[0]}-{self.window[1] - 1}"
            + (f" {names}" if (names := retriever_names(self.retrievers)) else ""),
            f"funnel       {steps}",
            f"negatives    {self.negatives:,}, {self.random_filled:,} of them filled at random; "
            f"{self.short_rows:,} rows short of {self.negative_number}",
            f"similarity   negatives {number(self.scores['negatives'])}, positives {number(self.scores['positives'])} on average; "
            f"{'-' if above is None else f'{100 * above:.1f}%'} of the negatives score above their positive",
        ]
        if prompts := self.query_prompts:
            lines.append(f"instructions {prompts['different']:,} different in the field `{prompts['field']}` of the rows")
        if self.second_model:
            lines.append(f"second model {self.second_model}")
        if self.estimated_fn_rate is not None:
            lines.append(
                f"estimate     {self.estimated_fn_rate} of the negatives are false negatives (mean {self.estimated_fn_rate.estimate:.1%}); "
                "unaudited: an audit on the Quality screen measures the rate"
            )
        if self.problems:
            lines.append("input        " + ", ".join(f"{count:,} x {name}" for name, count in self.problems.items()))
        if self.verdicts:
            lines.append("verdicts     " + ", ".join(f"{count:,} {name}" for name, count in self.verdicts.items()))
        if judged := self.judgements:
            done = [words.format(judged[name]) for name, words in RELABELLED.items() if name in judged]
            said = f"{counted(judged['pairs'], 'pair')} judged, {judged['relevant']:,} relevant"
            lines.append("judge        " + ", ".join([said, *done]))
        if self.vectors:
            lines.append(f"vectors      {self.vectors['encoded']:,} encoded, {self.vectors['stored']:,} stored before")
        if self.pairs:
            lines.append(f"reranker     {self.pairs['scored']:,} pairs scored, {self.pairs['stored']:,} scored before")
        if self.timings:
            lines.append("seconds      " + ", ".join(f"{name} {value:.1f}" for name, value in self.timings.items()))
        return "\n".join(lines + [f"note         {note}" for note in (self.out_of_reach, *self.notes) if note])


def summarise(
    inputs: Inputs,
    ranking: Ranking,
    selection: Selection,
    *,
    with_scores: bool = False,
    fn_model: FNModel | FNEstimator | None = None,
    left_out: npt.NDArray[np.bool_] | None = None,
) -> Summary:
    """Count and average what a selection holds.

    Args:
        with_scores: whether scores are written.
        fn_model: estimates the rate, or its estimator for this ranking; None leaves it out.
        left_out: (q,) bool, queries whose rows are not written (`Reviewed.left_out`); None for none.
    """
    corpus, settings, pairs = inputs.corpus, selection.settings, selection.verdict_pairs
    kept = np.ones(len(corpus.queries), bool) if left_out is None else ~left_out
    rows = [row for row, query in zip(inputs.rows, corpus.row_queries.tolist(), strict=True) if kept[query]]
    selection = written(selection, ~kept)
    row_counts = selection.counts[corpus.row_queries[kept[corpus.row_queries]]]
    held = selection.negatives >= 0
    scores = selection.scores[held]
    above = (selection.scores > selection.positive[:, None])[held]
    positives = ranking.positive_scores[kept[corpus.positive_queries]]
    problems: dict[str, int] = {}
    for problem in inputs.problems:
        name = f"{problem.kind} ({problem.resolution})"
        problems[name] = problems.get(name, 0) + 1
    notes = [*inputs.notes]
    if (stale := stale_scores(rows)) and not with_scores:
        notes.append(f"{stale:,} rows had scores, and their negatives were replaced: the scores are left out (with_scores writes new ones)")
    if empty := int((row_counts == 0).sum()):
        notes.append(f"{empty:,} rows have no negative, because no candidate is left: FlagEmbedding's trainer stops on them")
    if inputs.pool is not None and corpus.pool_mode == "extend" and len(inputs.pool) > corpus.n_candidates:
        notes.append("the pool repeats passages: each counts once")
    estimate = None
    if fn_model is not None:
        estimator = fn_model if isinstance(fn_model, FNEstimator) else FNEstimator(corpus, ranking, fn_model)
        estimate = fn_rate(estimator, selection)
        if estimate is not None and kept.sum() < FEW_QUERIES:
            notes.append(f"fewer than {FEW_QUERIES} queries: the true false-negative rate can be outside the estimated range")
    return Summary(
        output_file=None,
        rows=len(rows),
        queries=int(kept.sum()),
        passages=len(corpus.passages),
        candidates=corpus.n_candidates,
        pool_mode=corpus.pool_mode,
        negative_number=settings.negative_number,
        window=(settings.window_start, settings.window_end),
        funnel=selection.funnel,
        negatives=int(row_counts.sum()),
        random_filled=int(selection.random_filled.sum(axis=1)[corpus.row_queries].sum()),
        short_rows=int((row_counts < settings.negative_number).sum()),
        scores={
            "negatives": float(scores.mean(dtype=np.float64)) if len(scores) else None,
            "positives": float(positives.mean(dtype=np.float64)) if len(positives) else None,
            "above_positive": float(above.mean()) if len(scores) else None,
        },
        estimated_fn_rate=estimate,
        problems=problems,
        verdicts=pairs.counts | {"elsewhere": pairs.elsewhere} if pairs.applied or pairs.elsewhere else {},
        out_of_reach=selection.out_of_reach,
        notes=notes,
    )


def written(selection: Selection, left_out: npt.NDArray[np.bool_]) -> Selection:
    """Return a selection without the negatives of the queries whose rows are not written, (q,) bool (`Reviewed.left_out`)."""
    if not left_out.any():
        return selection
    kept = ~left_out
    negatives = np.where(kept[:, None], selection.negatives, np.int32(-1))
    return replace(
        selection,
        reasons=np.where(kept[:, None], selection.reasons, np.int8(Reason.REMOVED)),
        negatives=negatives,
        scores=np.where(kept[:, None], selection.scores, np.float32(np.nan)),
        random_filled=selection.random_filled & kept[:, None],
        funnel=selection.funnel | {"written": int((negatives >= 0).sum())},
    )
