"""The pipeline: from files to a Selection, and to a file.

file -> rows -> corpus -> encoder -> search -> Ranking -> select -> Selection -> export. The command line runs it in one
go; the app keeps the Ranking and runs the cheap rest on every move of a slider. Both come through `mine` and write through
`export`, so both write the same bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from hnmine.core.errors import OutputError, SettingsError
from hnmine.core.files import write_atomic
from hnmine.core.progress import OnProgress, ShouldStop, Stages, check_cancelled
from hnmine.data.columns import Columns
from hnmine.data.corpus import PoolMode
from hnmine.data.dataset import Inputs, read_inputs
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.examples import dev_path
from hnmine.export.formats import Written, check_export, write_export
from hnmine.export.scores import PairScores, model_scores, teacher_scores
from hnmine.models.cards import ModelSettings, describe
from hnmine.models.encoder import Encoder, FlagEncoder
from hnmine.models.flag_reranker import CrossEncoder
from hnmine.models.reranker import Reranker, RerankerSettings
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.rerank import SIGNAL, Scorer, with_reranker
from hnmine.retrieval.retrievers import MODEL_ALONE, Retriever, chosen_retrievers
from hnmine.retrieval.search import GPU_K_LIMIT, SLACK, gpu_count
from hnmine.retrieval.signals import with_signals
from hnmine.runs.manifest import Manifest, compose, encoded, fingerprints, manifest_path
from hnmine.runs.summary import Summary, summarise
from hnmine.selection.fn_model import FN_DEPTH, refit
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

__all__ = ["SCORE_SOURCES", "MineSettings", "Mined", "ScoreSource", "mine", "mine_to_file", "search_device"]

ScoreSource = Literal["model", "reranker"]
SCORE_SOURCES: tuple[ScoreSource, ...] = get_args(ScoreSource)


class MineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the bytes of the output, beside the input files and the model's weights.

    Attributes:
        selection: window, number, strategy, seed, guards.
        model: which model and how it is used; None when a loaded model was handed over.
        second_model: another model, whose similarities become the signal "second_model"; None for none.
        retrievers: who ranks the candidates, of `hnmine.retrieval.retrievers.RETRIEVERS`; ranks of several are fused. Kept in that order.
        reranker: a cross-encoder whose scores become the signal "reranker"; None for none.
        pool_mode: whether the pool extends or replaces the rows' own passages.
        use_gpu: search on a GPU where there is one.
        columns: which columns of the input files hold what; what is left open is found by name.
        repair: kinds of problems that may be mended (see `hnmine.data.problems.REPAIRS`).
        skip_bad_rows: leave out rows that stay bad.
        with_scores: write `pos_scores` and `neg_scores`.
        score_source: whose: "model", similarities of the mining model, or "reranker", its raw logits.
        output_format: one of `hnmine.export.formats.FORMATS`.
        dev_share: the part of the queries (0 to below 1) that goes to a file of its own, for evaluation; drawn by the seed.
        repair_output: faults that stop a trainer, repaired in the written file (see `hnmine.checks.kinds.OUTPUT_REPAIRS`); sorted.
    """

    selection: SelectionSettings = SelectionSettings()
    model: ModelSettings | None = None
    second_model: ModelSettings | None = None
    retrievers: tuple[Retriever, ...] = MODEL_ALONE
    reranker: RerankerSettings | None = None
    pool_mode: PoolMode = "extend"
    use_gpu: bool = False
    columns: Columns = Columns()
    repair: tuple[str, ...] = ()
    skip_bad_rows: bool = False
    with_scores: bool = False
    score_source: ScoreSource = "model"
    output_format: str = "flagembedding"
    dev_share: float = 0.0
    repair_output: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_export(self.output_format, with_scores=self.with_scores, dev_share=self.dev_share, repair_output=self.repair_output)
        second, end = self.second_model is not None, self.selection.window_end
        msgspec.structs.force_setattr(self, "retrievers", chosen_retrievers(self.retrievers, second=second, window_end=end))
        if self.reranker is None and SIGNAL in self.selection.signals:
            raise SettingsError("reranker_margin needs a reranker, and there is none; name one, or leave the margin out")
        if self.score_source not in SCORE_SOURCES:
            raise SettingsError(f"score_source is {self.score_source!r}; it is one of: {', '.join(SCORE_SOURCES)}")
        if self.score_source == "reranker" and (self.reranker is None or not self.with_scores):
            raise SettingsError(
                f"score_source is 'reranker', and {'there is no reranker' if self.reranker is None else 'no scores are written'}; "
                f"{'name one' if self.reranker is None else 'set with_scores'}, or leave score_source out"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Everything a run made; nothing is written yet. `scores` are those to write, None for none."""

    inputs: Inputs
    ranking: Ranking
    selection: Selection
    scores: PairScores | None
    summary: Summary
    manifest: dict[str, Any]


def search_device(use_gpu: bool, depth: int) -> tuple[bool, str | None]:
    """Return whether the GPU will search, and a note when that is not what was asked for.

    Args:
        use_gpu: what was asked.
        depth: candidates a query; a GPU finds at most 2,048, of which `top_k` needs SLACK to be sure of the rest.
    """
    if not use_gpu:
        return False, None
    if gpu_count() == 0:
        return False, "a GPU was asked for, but FAISS finds none here: the CPU searched"
    if depth > GPU_K_LIMIT - SLACK:
        return False, f"a GPU ranks at most {GPU_K_LIMIT - SLACK:,} candidates a query and {depth:,} were asked for: the CPU searched"
    return True, None


def mine(
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None,
    settings: MineSettings,
    load_encoder: Callable[[], Encoder],
    *,
    depth: int | None = None,
    signals: bool = False,
    load_reranker: Callable[[], Reranker] | None = None,
    verdicts: Iterable[Verdict] = (),
    expected: Manifest | None = None,
    store: VectorStore | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Mined:
    """Read, encode, search and select; write nothing.

    Args:
        input_file, candidate_pool: as in `find_knn_neg`.
        settings: everything else that decides the result.
        load_encoder: gives the encoder, asked after the input has been found good: a bad row should not cost a model's loading.
        depth: candidates to rank for each query, when more than the window's end is wanted (a slider may move there later).
        signals: compute the signals of every candidate although these settings need none (a slider may ask for them later).
        load_reranker: gives the reranker when the settings name one; left out, it is loaded as they say.
        verdicts: what people decided; those on texts of this data are honoured.
        expected: a manifest whose inputs and weights these must be.
        store: where vectors and pairs' scores are kept between runs; with all of them there, neither torch nor a model is loaded.
        memory_budget: bytes for the search's working arrays; None takes a part of what is free.
        on_progress, should_stop: called about once a batch.

    Raises:
        As `find_knn_neg`.
    """

    stages = Stages(on_progress)

    def tell(note: str) -> None:
        check_cancelled(should_stop)
        stages(0, 0, note)

    timings: dict[str, float] = {}
    tell("reading the files")
    began = time.monotonic()
    inputs = read_inputs(
        input_file,
        candidate_pool,
        pool_mode=settings.pool_mode,
        columns=settings.columns,
        repair=settings.repair,
        skip_bad_rows=settings.skip_bad_rows,
    )
    timings["read"] = time.monotonic() - began
    files = {name: {**file} for name, file in inputs.files.items()}
    for name, path in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(path, (str, os.PathLike)):
            files[name]["path"] = str(Path(path).resolve())
    verdict_pairs = match_verdicts(inputs.corpus, verdicts)
    if expected is not None:
        expected.check_inputs(files)
    tell("looking at the model")
    encoder = load_encoder()
    second = None if settings.second_model is None else FlagEncoder.load(settings.second_model, on_progress=stages)
    if expected is not None:
        expected.check_weights("model", encoder.describe())
        expected.check_weights("second_model", None if second is None else second.describe())
    reranker = None
    if settings.reranker is not None:
        tell("looking at the reranker")
        reranker = load_reranker() if load_reranker is not None else CrossEncoder.load(settings.reranker, on_progress=stages)
        if expected is not None:
            expected.check_weights("reranker", reranker.describe())
    scored = 0 if settings.reranker is None else settings.reranker.depth or settings.selection.window_end
    with_more = signals or not set(settings.selection.signals) <= {SIGNAL}
    depth = max(depth or 0, settings.selection.window_end, scored, FN_DEPTH if with_more else 0)
    on_gpu, note = search_device(settings.use_gpu, depth)
    words = None
    if "bm25" in settings.retrievers:
        words = LexicalIndex(inputs.corpus.passages, on_progress=stages, should_stop=should_stop)
    ranking = rank(
        inputs.corpus,
        encoder,
        depth,
        second=second,
        retrievers=settings.retrievers,
        lexical=words,
        store=store,
        use_gpu=on_gpu,
        memory_budget=memory_budget,
        on_progress=stages,
        should_stop=should_stop,
        timings=timings,
    )
    if with_more:
        began = time.monotonic()
        ranking = with_signals(inputs.corpus, ranking, index=words, on_progress=stages, should_stop=should_stop)
        timings["signals"] = time.monotonic() - began
    scorer = Scorer(reranker, inputs.corpus, store) if reranker is not None else None
    if scorer is not None:
        began = time.monotonic()
        ranking = with_reranker(ranking, inputs.corpus, scorer, scored, on_progress=stages, should_stop=should_stop)
        timings["rerank"] = time.monotonic() - began
    tell("selecting")
    began = time.monotonic()
    fn_model = refit(inputs.corpus, ranking, verdict_pairs) if settings.selection.uses_fn_model else None
    corpus, ranking = apply_promotions(inputs.corpus, ranking, verdict_pairs)
    inputs = replace(inputs, corpus=corpus)
    selection = select(corpus, ranking, settings.selection, verdict_pairs, fn_model)
    timings["select"] = time.monotonic() - began
    scores = model_scores(ranking, selection) if settings.with_scores else None
    if settings.score_source == "reranker" and scorer is not None:
        began = time.monotonic()
        scores = teacher_scores(ranking, corpus, selection, lambda: scorer, on_progress=stages, should_stop=should_stop)
        timings["rerank"] += time.monotonic() - began
    description, second_description = encoder.describe(), second.describe() if second is not None else None
    summary = summarise(inputs, ranking, selection, with_scores=settings.with_scores, fn_model=fn_model)
    summary.timings = timings
    summary.retrievers = settings.retrievers
    summary.notes += [*([note] if note else []), *description.get("notes", ()), *(store.notes if store is not None else ())]
    if second_description is not None:
        summary.second_model = second_description["name"]
        summary.notes += [f"second model: {each}" for each in second_description["notes"]]
    if store is not None:
        summary.vectors = {"stored": store.found, "encoded": store.encoded}
    if reranker is not None and scorer is not None:
        summary.pairs = {"stored": scorer.stored, "scored": scorer.scored}
        summary.notes += reranker.describe().get("notes", ())
    manifest = compose(
        settings=msgspec.to_builtins(settings),
        inputs=files,
        model=description,
        second_model=second_description,
        reranker=None if reranker is None else reranker.describe(),
        verdicts=verdict_pairs.applied,
        fn_model=fn_model,
        summary=summary,
        stages=stages.report(),
    )
    return Mined(inputs, ranking, selection, scores, summary, manifest)


def mine_to_file(
    load_encoder: Callable[[], Encoder],
    input_file: str | os.PathLike[str],
    candidate_pool: str | os.PathLike[str] | Sequence[str] | None,
    output_file: str | os.PathLike[str] | None,
    settings: MineSettings,
    *,
    load_reranker: Callable[[], Reranker] | None = None,
    manifest: bool = True,
    manifest_file: str | os.PathLike[str] | None = None,
    verdicts: Iterable[Verdict] = (),
    expected: Manifest | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Summary, list[Written]]:
    """Mine, and write the output and its manifest. Arguments and errors as in `mine` and `drop_in.find_knn_neg`."""
    if output_file is None:
        raise SettingsError("output_file is missing; name the file to write")
    inputs = {"input_file": input_file, "candidate_pool": candidate_pool}
    outputs = [Path(output_file)] + ([dev_path(output_file)] if settings.dev_share else [])
    for output in outputs:
        _check_output("output_file", output, inputs)
    if manifest_file is not None and not manifest:
        raise SettingsError(f"no manifest is wanted, and manifest_file is {manifest_file}; leave one of the two out")
    if manifest:
        manifest_file = manifest_file or manifest_path(output_file)
        _check_output("manifest_file", manifest_file, inputs)
        if Path(manifest_file).resolve() in [output.resolve() for output in outputs]:
            raise SettingsError(f"manifest_file is the output_file itself ({manifest_file}); write to another file")
    for model in (settings.model, settings.second_model):
        if model is not None:
            describe(model)  # a wrong folder is refused before the input is read
    mined = mine(
        input_file,
        candidate_pool,
        settings,
        load_encoder,
        load_reranker=load_reranker,
        verdicts=verdicts,
        expected=expected,
        store=None if store is None else VectorStore(store),
        memory_budget=memory_budget,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    check_cancelled(should_stop)
    mined.summary.output_file = str(output_file)
    written = write_export(
        output_file,
        settings.output_format,
        mined.inputs.rows,
        mined.inputs.corpus,
        mined.selection,
        scores=mined.scores,
        dev_share=settings.dev_share,
        repair_output=settings.repair_output,
        seed=settings.selection.seed,
    )
    mined.summary.notes += [note for each in written for note in each.notes]
    if manifest_file is not None:
        outcome = {"summary": mined.summary, "outputs": fingerprints(written)}
        write_atomic(manifest_file, [encoded(msgspec.to_builtins(mined.manifest | outcome))])
    return mined.summary, written


def _check_output(argument: str, path: str | os.PathLike[str], inputs: Mapping[str, object]) -> None:
    """Refuse, before hours of encoding, an output that cannot be written or would cost the user a file."""
    output = Path(path)
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent} is no folder; make it first, or write elsewhere")
    if output.exists() and not output.is_file():  # a device or a pipe would be replaced by a file
        raise SettingsError(f"{argument} {output} is no ordinary file; write to a file, and copy it from there")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output} cannot be written; check the folder's permissions, or write elsewhere")
    for name, other in inputs.items():
        if isinstance(other, (str, os.PathLike)) and output.exists() and Path(other).exists() and os.path.samefile(output, other):
            raise SettingsError(f"{argument} is the {name} itself ({output}); write to another file")
    if output.exists():
        # Newer hn_mine.py has output_file before candidate_pool: swapped by position, this call would overwrite the pool.
        try:
            with output.open("rb") as file:
                first = msgspec.json.decode(file.readline(2**20))
        except (OSError, msgspec.DecodeError):
            return
        if isinstance(first, dict) and "text" in first and "query" not in first:
            raise SettingsError(
                f"{argument} {output} exists and holds a candidate pool; did output_file and candidate_pool change places? "
                "The order is (model, input_file, candidate_pool, output_file, ...): name the arguments"
            )
