"""The resources that all sessions of a server share: workspace, job runner, models, FAISS indexes, opened data sets and runs.

The only module of hnmine that imports streamlit, for `st.cache_resource`. Shared objects are safe: rankings are read-only memory maps,
corpora never change, and a lock protects the model. `cached` finds results by ids and settings, never by the content of arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine.analysis import fn_estimates
from hnmine.checks.check import check
from hnmine.checks.kinds import Report
from hnmine.core.cache import Cache
from hnmine.core.errors import InputError, ModelError, SettingsError
from hnmine.core.files import available, keep_newest, parse_size
from hnmine.core.progress import OnProgress
from hnmine.core.text import text_hash
from hnmine.data.columns import Columns
from hnmine.data.corpus import PoolMode
from hnmine.data.dataset import Files, Inputs, gather, read_files
from hnmine.data.sanity import ACCEPT
from hnmine.data.verdicts import VerdictPairs
from hnmine.export.formats import FORMATS, Written
from hnmine.models import cards, reranker
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import Encoder, encode
from hnmine.models.opening import load_encoder, load_reranker
from hnmine.models.reranker import Reranker, RerankerSettings
from hnmine.models.served.probe import same_model
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.rerank import Scorer
from hnmine.retrieval.search import PassageIndex
from hnmine.review.judgements import FILE as JUDGEMENTS
from hnmine.review.judgements import JudgementStore
from hnmine.review.relabelling import JudgedPairs, Relabel, read_by_people
from hnmine.review.store import ReviewStore
from hnmine.runs.jobs import JobRunner
from hnmine.runs.judge_setup import chosen_judge
from hnmine.runs.manifest import of_export
from hnmine.runs.opened import Data, OpenRun, as_json, cache_key
from hnmine.runs.output import write_rows
from hnmine.runs.reviewed import Reviewed, RunVerdicts
from hnmine.runs.settings import MineSettings
from hnmine.runs.summary import summarise
from hnmine.runs.uploads import Stamp
from hnmine.runs.workspace import Run, Workspace
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings

__all__ = [
    "Data",
    "OpenRun",
    "cached",
    "checked",
    "cross_encoder",
    "data",
    "encoder",
    "estimator",
    "export",
    "files",
    "fn_probabilities",
    "inputs",
    "jobs",
    "judged",
    "judgements",
    "nearest",
    "open_run",
    "relabelled",
    "reviews",
    "scorer",
    "selection",
    "workspace",
]

EXPORTS_KEPT = 4

# Hugging Face's progress bars would write into the server's log.
for _name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_name, "1")

P = ParamSpec("P")
R = TypeVar("R")


@st.cache_resource(show_spinner=False)
def _results() -> Cache:
    return Cache(_budget())


def _budget() -> int:
    """Return the bytes of all cached results: HNMINE_CACHE_MEMORY, by default half of the memory that is available now.

    Raises:
        SettingsError: the setting is no amount of memory.
    """
    given = os.environ.get("HNMINE_CACHE_MEMORY")
    try:
        return parse_size(given) if given else available() // 2
    except SettingsError as error:
        raise SettingsError(f"HNMINE_CACHE_MEMORY: {error}") from error


def cached(*, by_verdicts: bool = True, validate: Callable[[Any], bool] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that caches a function's results for all sessions, by its arguments, within the server's budget of bytes.

    A run counts by its id and verdicts, or by its id alone; a selection by its settings, so the run must be an argument too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = f"{function.__module__}.{function.__qualname__}"

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            key = (name, cache_key([*args, *sorted(kwargs.items())], by_verdicts=by_verdicts))
            found: R = _results().get(key, lambda: function(*args, **kwargs), validate)
            return found

        return call

    return decorate


@st.cache_resource(show_spinner=False)
def workspace() -> Workspace:
    """Return the server's workspace."""
    return Workspace()


@st.cache_resource(show_spinner=False)
def reviews() -> ReviewStore:
    """Return the server's store of verdicts.

    Raises:
        WorkspaceError: it is damaged, or cannot be written.
    """
    return workspace().reviews()


@st.cache_resource(show_spinner=False)
def judgements() -> JudgementStore:
    """Return the server's store of judges' grades, apart from the verdicts of people; errors as `reviews`."""
    return JudgementStore(workspace().root / JUDGEMENTS)


@st.cache_resource(show_spinner=False)
def jobs() -> JobRunner:
    """Return the server's job runner."""
    return JobRunner(workspace().root)


@st.cache_resource(show_spinner=False, max_entries=2, hash_funcs={ModelSettings: as_json})
def _encoder(settings: ModelSettings, signature: str, _on_progress: OnProgress | None) -> Encoder:
    return load_encoder(settings, on_progress=_on_progress)


def encoder(settings: ModelSettings, on_progress: OnProgress | None = None) -> Encoder:
    """Return the model, loaded once for all sessions that ask for the same settings.

    A new checkpoint in the same folder is loaded again; a server is asked each time, because its model may be another by now.

    Raises:
        ModelError: it cannot be loaded; the next call tries again.
    """
    if settings.server is not None:
        return load_encoder(settings, on_progress=on_progress)
    return _encoder(settings, cards.files_signature(settings), on_progress)


@st.cache_resource(show_spinner=False, max_entries=1, hash_funcs={RerankerSettings: as_json})
def _cross_encoder(settings: RerankerSettings, signature: str, _on_progress: OnProgress | None) -> Reranker:
    return load_reranker(settings, on_progress=_on_progress)


def cross_encoder(settings: RerankerSettings, on_progress: OnProgress | None = None) -> Reranker:
    """Return the loaded reranker, as `encoder` does the model.

    Raises:
        ModelError: it cannot be loaded; the next call tries again.
    """
    same = msgspec.structs.replace(settings, depth=None)  # the depth has no effect on a score
    if same.server is not None:
        return load_reranker(same, on_progress=on_progress)
    return _cross_encoder(same, reranker.files_signature(same), on_progress)


def data(dataset_id: str, repair: tuple[str, ...], skip_bad_rows: bool, columns: Columns) -> Data:
    """Return what the functions below take: a data set's files as they are now, with the decisions about them."""
    return Data(dataset_id, workspace().stamp(dataset_id), repair, skip_bad_rows, columns)


@cached()
def files(read: Data) -> Files:
    """Return the files of a data set, read once with the decisions about them; problems may be open.

    Raises:
        InputError: a file cannot be read; as ColumnsError, its columns must be named.
    """
    training, pool = workspace().training_path(read.dataset_id), workspace().pool_path(read.dataset_id)
    return read_files(training, pool, columns=read.columns, repair=read.repair, skip_bad_rows=read.skip_bad_rows)


@cached()
def inputs(read: Data, pool_mode: PoolMode) -> Inputs:
    """Return a data set with its corpus, read with the decisions about it.

    Raises:
        InputError: a bad row is neither repaired nor skipped.
    """
    return gather(files(read), pool_mode=pool_mode)


@cached()
def _stored_run(run_id: str, stamp: Stamp) -> tuple[Run, Inputs, Ranking]:
    space = workspace()
    settings = (run := space.run(run_id)).settings
    read = Data(run.dataset_id, space.stamp(run.dataset_id), settings.repair, settings.skip_bad_rows, settings.columns)
    try:
        try:
            found = inputs(read, settings.pool_mode)
        except InputError:  # an older version may have found nothing improbable
            found = inputs(msgspec.structs.replace(read, repair=(*read.repair, ACCEPT)), settings.pool_mode)
    except InputError as error:
        raise run.unreadable(error, space.dataset_folder(run.dataset_id)) from error
    run.check_inputs(found.files, space.training_path(run.dataset_id).parent)
    (ranking := space.ranking(run_id)).check_corpus(found.corpus)
    return run, found, ranking


@cached()
def _verdicts(run_id: str, stamp: Stamp) -> RunVerdicts:
    return RunVerdicts(*_stored_run(run_id, stamp)[1:])


@cached()
def _reviewed(run_id: str, stamp: Stamp, pairs: VerdictPairs, read: VerdictPairs, judged: JudgedPairs) -> Reviewed:
    return _verdicts(run_id, stamp).apply(pairs, judged)


def judged(run_id: str) -> JudgedPairs:
    """Return the pairs of a run's data that have a grade that counts (`judgements.counting`); errors as `open_run`."""
    root = workspace().root
    if not os.path.lexists(root / JUDGEMENTS):  # a workspace that is only read stays as it is
        return JudgedPairs.none()
    return _verdicts(run_id, workspace().run_stamp(run_id)).judged(judgements(), chosen_judge(root))


def open_run(run_id: str) -> OpenRun:
    """Open a run: map its ranking, read its files again, apply the newest verdicts and grades.

    Raises:
        WorkspaceError: there is no such run, it is damaged, or its data has changed since it was mined.
    """
    verdicts = _verdicts(run_id, stamp := workspace().run_stamp(run_id))
    pairs = verdicts.pairs(reviews())
    grades = judged(run_id)
    # The pairs themselves are not cached by their digest: another reviewer may have given the same verdicts since.
    found = _reviewed(run_id, stamp, pairs, read := read_by_people(pairs), grades)
    run, key = _stored_run(run_id, stamp)[0], f"{run_id} {pairs.digest} {read.digest} {grades.digest}"
    positive = found.judge_positive
    return OpenRun(found.inputs, found.ranking, pairs, found.fn_model, run, key, judged=grades, judge_positive=positive)


@cached()
def _relabelled(run: OpenRun, relabel: Relabel, relevant_from: int) -> OpenRun:
    return replace(run.relabelled(relabel, relevant_from), key=f"{run.key} {relabel} {relevant_from}")


def relabelled(run: OpenRun, relabel: Relabel, relevant_from: int) -> OpenRun:
    """Return a run with the judge's verdicts below people's."""
    return replace(_relabelled(run, relabel, relevant_from), verdict_pairs=run.verdict_pairs, judged=run.judged)


@cached()
def _selection(run: OpenRun, settings: SelectionSettings) -> Selection:
    return run.select(settings, estimator(run))


def selection(run: OpenRun, settings: SelectionSettings) -> Selection:
    """Select from a stored ranking: no encoding, no search. The same settings are computed once.

    Raises:
        SettingsError: the window ends behind the ranked candidates.
    """
    return replace(_selection(run, settings), verdict_pairs=run.verdict_pairs)


@cached()
def estimator(run: OpenRun) -> FNEstimator | None:
    """Return the estimator of false-negative probabilities of a run, or None where it has no signals."""
    found = run.estimator()
    return None if found is None else found.keep()


@cached()
def fn_probabilities(run: OpenRun, selection: Selection) -> npt.NDArray[np.float32] | None:
    """Return `fn_estimates.fn_probabilities` of a run's selection; None where the run has no signals."""
    found = estimator(run)
    return None if found is None else fn_estimates.fn_probabilities(found, selection)


@cached(by_verdicts=False)
def _passage_index(run: OpenRun) -> PassageIndex:
    return PassageIndex(run.ranking.passage_vectors, run.inputs.corpus.n_candidates)


def nearest(run_id: str, text: str, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return scores and ids of the k passages of a run nearest to a text, by the run's model.

    Raises:
        ModelError: the model cannot be loaded, or its weights have changed.
    """
    opened = open_run(run_id)
    model = encoder(opened.run.settings.model or ModelSettings())
    if not same_model(model.describe(), opened.run.manifest.get("model", {})):
        raise ModelError("the model's weights have changed since this run was mined; mine again to search with the new ones")
    scores, ids = _passage_index(opened).search(encode(model, [text], "queries"), k)
    return scores[0], ids[0]


def scorer(run: OpenRun, on_progress: OnProgress | None = None) -> Scorer:
    """Return the scorer of a run's pairs, with the run's reranker.

    Raises:
        ModelError: the reranker cannot be loaded, or its weights have changed.
    """
    settings = run.run.settings.reranker
    assert settings is not None  # a run without a reranker has no such signal
    found = cross_encoder(settings, on_progress)
    if not same_model(found.describe(), run.run.manifest.get("reranker") or {}):
        raise ModelError("the reranker's weights have changed since this run was mined; mine again to score with the new ones")
    return Scorer(found, run.inputs.corpus, workspace().store())


@cached(validate=lambda written: all(each.path.exists() for each in written))  # later exports may have removed them
def export(run: OpenRun, settings: MineSettings) -> list[Written]:
    """Write the files of an export (selection, format, scores, split), or its folder, into the run's folder.

    A large export stays on the disk, not in the memory of each session. The last EXPORTS_KEPT stay.

    Raises:
        SettingsError, OutputError: as `formats.write_export`.
    """
    form = FORMATS[settings.output_format]
    name = f"export-{text_hash(run.key + as_json(settings)):016x}{form.suffix}"
    path = workspace().run_folder(run.run.id) / name
    keep_newest(path, "export", EXPORTS_KEPT)
    run = relabelled(run, settings.relabel, settings.relevant_from)
    chosen = selection(run, settings.selection)
    scores = run.scores(chosen, settings.score_source, lambda: scorer(run)) if settings.with_scores else None
    record = None if form.folder is None else _record(run, settings, chosen)
    return write_rows(path, settings, run, chosen, scores, record)


def _record(run: OpenRun, settings: MineSettings, chosen: Selection) -> dict[str, Any]:
    """Return the manifest that the card of a folder is written from."""
    dataset = workspace().dataset(run.run.dataset_id)
    fn_model = run.fn_model if estimator(run) is not None else None
    left_out = run.left_out(chosen)
    summary = summarise(run.inputs, run.ranking, chosen, with_scores=settings.with_scores, fn_model=fn_model, left_out=left_out)
    summary.judgements = run.judge_counts(chosen)
    return of_export(
        run.run.manifest,
        settings=settings,
        names={"input_file": dataset.name, "candidate_pool": dataset.pool_name},
        verdicts=run.verdict_pairs.applied,
        judgements=run.judged.judgements,
        summary=summary,
        fn_model=run.fn_model if settings.selection.uses_fn_model else None,
        outputs=[],
    )


@cached()
def _checked(run: OpenRun, settings: MineSettings) -> Report:
    try:
        card = cards.describe(run.run.settings.model or ModelSettings())
    except ModelError:  # removed since
        card = None
    return check(export(run, settings)[0].path, model=card, negative_number=settings.selection.negative_number)


def checked(run: OpenRun, settings: MineSettings) -> Report:
    """Return the check report of all rows with their negatives, in FlagEmbedding's format.

    Raises:
        As `export`, or other exports have removed the file in the meantime (InputError).
    """
    return _checked(run, msgspec.structs.replace(settings, output_format="flagembedding", dev_share=0.0, repair_output=()))
