"""The pipeline: read -> rank -> select -> write.

`read_data` and `rank_data` are the slow half, `apply_verdicts` and `finish` the quick one. The command line runs all in one go; the app and
`hnmine.api` keep the ranking and run the quick half again for other settings. All write through `Outputs`, so all write the same bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from hnmine.analysis.fn_estimates import can_estimate_fn
from hnmine.cluster.cluster import opened
from hnmine.cluster.settings import ClusterSettings
from hnmine.core.paths import require_possible
from hnmine.core.progress import OnProgress, ShouldStop, Stages, check_cancelled
from hnmine.core.text import counted
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import Inputs
from hnmine.data.folders import Paths
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.formats import Written
from hnmine.models import opening
from hnmine.models.cards import describe
from hnmine.models.encoder import Encoder
from hnmine.models.reranker import Reranker
from hnmine.retrieval.approximate import IndexedSearch
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.rerank import SIGNAL, Scorer, with_reranker
from hnmine.retrieval.search import search_device
from hnmine.retrieval.signals import JUDGE, with_signals
from hnmine.review.judgements import Judgement
from hnmine.review.relabelling import judged_pairs
from hnmine.runs.manifest import Manifest, Role, compose
from hnmine.runs.output import Mined, Outputs
from hnmine.runs.preparation import plan_key, planned, read_data, read_query_prompts
from hnmine.runs.reviewed import Reviewed, apply_verdicts
from hnmine.runs.settings import SCORE_SOURCES, MineSettings, ScoreSource
from hnmine.runs.summary import Summary, summarise
from hnmine.selection.fn_model import FN_DEPTH
from hnmine.selection.select import Selection
from hnmine.vectors.store import VectorStore

__all__ = [
    "SCORE_SOURCES",
    "MineSettings",
    "Mined",
    "Ranked",
    "ScoreSource",
    "finish",
    "mine",
    "mine_to_file",
    "rank_data",
    "read_data",
    "summary_of",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ranked:
    """The result of the slow half: ranked data, and what a manifest records of how it was made.

    Attributes:
        settings: how it was read and ranked.
        inputs, ranking: as read, and with every signal that was computed; no verdict is applied.
        descriptions: what each model that was used gives as its `describe()`.
        scorer: scores pairs with the reranker; None without one.
        index: what an approximate index reports (`IndexedSearch.reports`); empty with exact search.
        notes: what a user should know, in sentences; vectors: how many were "stored" and "encoded", empty without a store.
        timings: seconds; stages: what each did, as `Stages.report` has it.
    """

    settings: MineSettings
    inputs: Inputs
    ranking: Ranking
    descriptions: dict[Role, dict[str, Any]]
    scorer: Scorer | None
    index: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    vectors: dict[str, int]
    timings: dict[str, float]
    stages: list[dict[str, Any]]


def rank_data(
    inputs: Inputs,
    settings: MineSettings,
    load_encoder: Callable[[], Encoder],
    *,
    depth: int | None = None,
    signals: bool = False,
    load_reranker: Callable[[], Reranker] | None = None,
    expected: Manifest | None = None,
    store: VectorStore | None = None,
    memory_budget: int | None = None,
    cluster: ClusterSettings | None = None,
    stages: Stages,
    should_stop: ShouldStop | None = None,
) -> Ranked:
    """Encode, search, and compute the signals. Arguments and errors as in `mine`."""
    timings: dict[str, float] = {}
    search = IndexedSearch(settings.index, stages, should_stop)
    prompts = None if settings.query_prompt_field is None else read_query_prompts(inputs, settings.query_prompt_field)
    _begin("looking at the model", stages, should_stop)
    encoder = load_encoder()
    instructed = None if prompts is None else prompts.texts(encoder, inputs.corpus.queries)
    calls: dict[str, Any] = {"on_progress": stages, "should_stop": should_stop}
    second = None if settings.second_model is None else opening.load_encoder(settings.second_model, **calls)
    if expected is not None:
        expected.check_weights("model", encoder.describe())
        expected.check_weights("second_model", None if second is None else second.describe())
    scorer = reranker = None
    if settings.reranker is not None:
        _begin("looking at the reranker", stages, should_stop)
        reranker = load_reranker() if load_reranker is not None else opening.load_reranker(settings.reranker, **calls)
        if expected is not None:
            expected.check_weights("reranker", reranker.describe())
        scorer = Scorer(reranker, inputs.corpus, store)
    scored = 0 if settings.reranker is None else settings.reranker.depth or settings.selection.window_end
    with_more = signals or not set(settings.selection.signals) <= {SIGNAL, JUDGE}
    depth = max(depth or 0, settings.selection.window_end, scored, FN_DEPTH if with_more else 0)
    # The workers of a cluster look for GPUs of their own.
    on_gpu, note = (settings.use_gpu, None) if cluster is not None else search_device(settings.use_gpu, depth)
    models: dict[Role, Encoder | Reranker | None] = {"model": encoder, "second_model": second, "reranker": reranker}
    descriptions = {role: each.describe() for role, each in models.items() if each is not None}
    lexical = "bm25" in settings.retrievers
    works = planned(
        inputs.corpus,
        descriptions["model"],
        depth,
        second=descriptions.get("second_model"),
        lexical=lexical,
        signals=with_more,
        scored=scored,
        index=settings.index,
    )
    stages.plan(list(works), plan_key(descriptions.values(), cluster))
    words = None
    if lexical:
        words = LexicalIndex(inputs.corpus.passages, on_progress=stages, should_stop=should_stop)
    with opened(cluster, settings.model, descriptions["model"]) as workers:
        ranking = rank(
            inputs.corpus,
            encoder,
            depth,
            second=second,
            retrievers=settings.retrievers,
            lexical=words,
            instructed=instructed,
            store=store,
            searcher=None if settings.index == "exact" else search.searcher,
            use_gpu=on_gpu,
            memory_budget=memory_budget,
            workers=workers,
            on_progress=stages,
            should_stop=should_stop,
            timings=timings,
        )
    if with_more:
        with _timed("signals", timings):
            ranking = with_signals(inputs.corpus, ranking, index=words, on_progress=stages, should_stop=should_stop)
    if scorer is not None:
        with _timed("rerank", timings):
            ranking = with_reranker(ranking, inputs.corpus, scorer, scored, on_progress=stages, should_stop=should_stop)
    descriptions = {role: each.describe() for role, each in models.items() if each is not None}
    run_notes = [*(prompts.notes if prompts else ()), *([note] if note else []), *search.notes, *(workers.notes if workers else ())]
    if prompts is not None:
        descriptions["model"] = {**descriptions["model"], "query_prompts": prompts.record}
    return Ranked(
        settings=settings,
        inputs=inputs,
        ranking=ranking,
        descriptions=descriptions,
        scorer=scorer,
        index=search.reports,
        notes=tuple(_notes(descriptions, run_notes, store)),
        vectors={} if store is None else {"stored": store.found, "encoded": store.encoded},
        timings=timings,
        stages=stages.report(),
    )


def _notes(descriptions: dict[Role, dict[str, Any]], run: list[str], store: VectorStore | None) -> Iterator[str]:
    yield from (*run, *descriptions["model"].get("notes", ()), *(store.notes if store is not None else ()))
    yield from (f"second model: {each}" for each in descriptions.get("second_model", {}).get("notes", ()))
    yield from descriptions.get("reranker", {}).get("notes", ())


def summary_of(ranked: Ranked, settings: MineSettings, reviewed: Reviewed, selection: Selection) -> Summary:
    """Count what was read, ranked and selected."""
    fn_model = reviewed.fn_model if can_estimate_fn(reviewed.ranking) else None
    summary = summarise(
        reviewed.inputs,
        reviewed.ranking,
        selection,
        with_scores=settings.with_scores,
        fn_model=fn_model,
        left_out=reviewed.left_out(selection),
    )
    summary.timings = dict(ranked.timings)
    summary.retrievers = settings.retrievers
    summary.notes += ranked.notes
    summary.second_model = ranked.descriptions.get("second_model", {}).get("name")
    summary.query_prompts = ranked.descriptions["model"].get("query_prompts", {})
    summary.vectors = ranked.vectors
    summary.index = ranked.index
    summary.judgements = reviewed.judge_counts(selection)
    if reviewed.judged.note:
        summary.notes.append(reviewed.judged.note)
    if (elsewhere := reviewed.judged.elsewhere) and summary.judgements:
        summary.notes.append(f"{counted(elsewhere, 'judgement is', 'judgements are')} on texts that are not in this data")
    if ranked.scorer is not None:
        summary.pairs = {"stored": ranked.scorer.stored, "scored": ranked.scorer.scored}
    return summary


def finish(
    ranked: Ranked,
    settings: MineSettings,
    reviewed: Reviewed,
    selection: Selection,
    *,
    stages: Stages,
    should_stop: ShouldStop | None = None,
) -> Mined:
    """Compute the scores to write, the summary and the manifest of a selection from `ranked`.

    Raises:
        As `Scorer.score`, where the scores of a reranker are to be written.
    """

    def scorer() -> Scorer:
        assert ranked.scorer is not None  # MineSettings refuses a reranker's scores without a reranker
        return ranked.scorer

    began, scores = time.monotonic(), None
    if settings.with_scores:
        scores = reviewed.scores(selection, settings.score_source, scorer, on_progress=stages, should_stop=should_stop)
    seconds = time.monotonic() - began
    summary = summary_of(ranked, settings, reviewed, selection)
    if settings.score_source == "reranker":
        summary.timings["rerank"] += seconds
    manifest = compose(
        settings=msgspec.to_builtins(settings),
        inputs=reviewed.inputs.files,
        read=reviewed.inputs.read,
        model=ranked.descriptions["model"],
        second_model=ranked.descriptions.get("second_model"),
        reranker=ranked.descriptions.get("reranker"),
        verdicts=reviewed.verdict_pairs.applied,
        judgements=reviewed.judged.judgements,
        fn_model=reviewed.fn_model if settings.selection.uses_fn_model else None,
        summary=summary,
        stages=[*ranked.stages, *stages.report()],
    )
    return Mined(settings, reviewed, selection, scores, summary, manifest)


def mine(
    input_file: Paths,
    candidate_pool: Paths | None,
    settings: MineSettings,
    load_encoder: Callable[[], Encoder],
    *,
    depth: int | None = None,
    signals: bool = False,
    load_reranker: Callable[[], Reranker] | None = None,
    verdicts: Iterable[Verdict] = (),
    judgements: Iterable[Judgement] | Callable[[Corpus], Iterable[Judgement]] = (),
    expected: Manifest | None = None,
    store: VectorStore | None = None,
    memory_budget: int | None = None,
    cluster: ClusterSettings | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Mined:
    """Read, encode, search and select; write nothing.

    Args:
        input_file, candidate_pool: as in `find_knn_neg`.
        settings: everything else that decides the result.
        load_encoder: returns the encoder; called after the input is read, so that a bad row does not cost the loading of a model.
        depth: candidates to rank for each query, when more than the window's end is wanted (a slider may move there later).
        signals: compute the signals of every candidate even if these settings need none (a slider may ask for them later).
        load_reranker: returns the reranker when the settings name one; None loads it as they say.
        verdicts: those on texts of this data are applied. judgements: the same, the latest last, or what returns them for the corpus.
        expected: a manifest whose inputs and weights these must be.
        store: where vectors and pairs' scores are kept between runs; with all of them there, neither torch nor a model is loaded.
        memory_budget: bytes for the search's working arrays; None takes a part of what is free.
        cluster: what encodes and searches; None is this process, or a process for each device if the model has several.
        on_progress, should_stop: called about once a batch.

    Raises:
        As `find_knn_neg`.
    """
    stages, timings = Stages(on_progress), {"read": 0.0}
    with _timed("read", timings):
        inputs = read_data(input_file, candidate_pool, settings, stages=stages, should_stop=should_stop)
    verdict_pairs = match_verdicts(inputs.corpus, verdicts)
    judged = judged_pairs(inputs.corpus, judgements(inputs.corpus) if callable(judgements) else judgements)
    settings.check_judged(judged)
    if expected is not None:
        expected.check_inputs(inputs.files)
    ranked = rank_data(
        inputs,
        settings,
        load_encoder,
        depth=depth,
        signals=signals,
        load_reranker=load_reranker,
        expected=expected,
        store=store,
        memory_budget=memory_budget,
        cluster=cluster,
        stages=stages,
        should_stop=should_stop,
    )
    stages = Stages(on_progress)
    _begin("selecting", stages, should_stop)
    with _timed("select", ranked.timings):
        reviewed = apply_verdicts(inputs, ranked.ranking, verdict_pairs, judged)
        reviewed = reviewed.relabelled(settings.relabel, settings.relevant_from)
        selection = reviewed.select(settings.selection)
    mined = finish(ranked, settings, reviewed, selection, stages=stages, should_stop=should_stop)
    mined.summary.timings = timings | mined.summary.timings
    return mined


def mine_to_file(
    load_encoder: Callable[[], Encoder],
    input_file: Paths,
    candidate_pool: Paths | None,
    output_file: str | os.PathLike[str] | None,
    settings: MineSettings,
    *,
    manifest: bool | str | os.PathLike[str] = True,
    load_reranker: Callable[[], Reranker] | None = None,
    verdicts: Iterable[Verdict] = (),
    judgements: Iterable[Judgement] = (),
    expected: Manifest | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    cluster: ClusterSettings | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Summary, list[Written]]:
    """Mine, and write the output and its manifest. Arguments and errors as in `mine`, `Outputs.checked` and `find_knn_neg`."""
    inputs = {"input_file": input_file, "candidate_pool": candidate_pool}
    outputs = Outputs.checked(output_file, inputs, settings=settings, manifest=manifest)
    if store is not None:
        require_possible("store", store)
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
        judgements=judgements,
        expected=expected,
        store=None if store is None else VectorStore(store),
        memory_budget=memory_budget,
        cluster=cluster,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    check_cancelled(should_stop)
    return mined.summary, outputs.write(mined, accept=None if expected is None else expected.check_outputs)


def _begin(note: str, stages: Stages, should_stop: ShouldStop | None) -> None:
    check_cancelled(should_stop)
    stages(0, 0, note)


@contextmanager
def _timed(name: str, timings: dict[str, float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    timings[name] = time.monotonic() - began
