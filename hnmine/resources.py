"""What a server holds once for everybody: the workspace, the job runner, the model, FAISS indexes, opened data sets and runs.

The one module of hnmine that imports streamlit, for `st.cache_resource`. Sessions share what it returns: rankings are
read-only memory maps, corpora are never changed, and a lock guards the model. Cache keys are ids and JSON.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine.analysis import queries as quality
from hnmine.analysis.fn_estimates import can_estimate_fn
from hnmine.analysis.fn_estimates import fn_probabilities as _fn_probabilities_of
from hnmine.checks.check import check
from hnmine.checks.report import Report
from hnmine.core.errors import InputError, ModelError, WorkspaceError
from hnmine.core.files import write_atomic
from hnmine.core.progress import OnProgress
from hnmine.core.text import text_hash
from hnmine.data.columns import Columns
from hnmine.data.dataset import Files, Inputs, gather, read_files
from hnmine.data.verdicts import VerdictPairs, match_verdicts, verdict_lines
from hnmine.export.formats import FORMATS, Written, write_export
from hnmine.export.scores import model_scores, teacher_scores
from hnmine.models import cards, reranker
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder, encode
from hnmine.models.flag_reranker import CrossEncoder
from hnmine.models.reranker import RerankerSettings
from hnmine.models.tokenizer import token_counts
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.rerank import Scorer
from hnmine.retrieval.search import PassageIndex
from hnmine.review.store import ReviewStore
from hnmine.runs.jobs import JobRunner
from hnmine.runs.mine import MineSettings
from hnmine.runs.uploads import Stamp
from hnmine.runs.workspace import Run, Workspace
from hnmine.selection.fn_model import FNEstimator, FNModel, refit
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

__all__ = [
    "OpenRun",
    "checked",
    "cross_encoder",
    "encoder",
    "estimator",
    "export",
    "files",
    "fn_probabilities",
    "inputs",
    "jobs",
    "nearest",
    "open_run",
    "reviews",
    "scorer",
    "selection",
    "text_duplicates",
    "text_lengths",
    "verdict_file",
    "workspace",
]

EXPORTS_KEPT = 4

# Columns that nobody named: found by name.
DETECTED = Columns()

# Hugging Face's progress bars would write into the server's log.
for _name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_name, "1")


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun:
    """A run with everything needed to select from it, as the verdicts of this moment have it.

    Attributes:
        run: its description.
        inputs, ranking: what was read and ranked; promoted passages are positives in both.
        verdict_pairs: the verdicts that bear on it.
        suspicion: the model that estimates who is false, re-fitted on these verdicts.
        key: changes with the run and with these verdicts; what is computed from a run is cached by it.
    """

    run: Run
    inputs: Inputs
    ranking: Ranking
    verdict_pairs: VerdictPairs
    fn_model: FNModel
    key: str


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
def jobs() -> JobRunner:
    """Return the server's job runner."""
    return JobRunner()


@st.cache_resource(show_spinner=False, max_entries=2)
def _encoder(settings: str, stamp: str, _on_progress: OnProgress | None) -> FlagEncoder:
    return FlagEncoder.load(msgspec.json.decode(settings, type=ModelSettings), on_progress=_on_progress)


def encoder(settings: ModelSettings, on_progress: OnProgress | None = None) -> FlagEncoder:
    """Return the loaded model, the same one for all sessions that ask for the same settings.

    A new checkpoint in the same folder is loaded anew.

    Raises:
        ModelError: it cannot be had or loaded; the next call tries again.
    """
    return _encoder(msgspec.json.encode(settings).decode(), cards.files_signature(settings), on_progress)


@st.cache_resource(show_spinner=False, max_entries=1)
def _cross_encoder(settings: str, stamp: str, _on_progress: OnProgress | None) -> CrossEncoder:
    return CrossEncoder.load(msgspec.json.decode(settings, type=RerankerSettings), on_progress=_on_progress)


def cross_encoder(settings: RerankerSettings, on_progress: OnProgress | None = None) -> CrossEncoder:
    """Return the loaded reranker, as `encoder` does the model.

    Raises:
        ModelError: it cannot be had or loaded; the next call tries again.
    """
    alike = msgspec.structs.replace(settings, depth=None)  # which decides nothing of a score
    return _cross_encoder(msgspec.json.encode(alike).decode(), reranker.files_signature(alike), on_progress)


@st.cache_resource(show_spinner=False, max_entries=4)
def _files(dataset_id: str, stamp: Stamp, repair: tuple[str, ...], skip_bad_rows: bool, columns: str) -> Files:
    space = workspace()
    return read_files(
        space.training_path(dataset_id),
        space.pool_path(dataset_id),
        columns=msgspec.json.decode(columns, type=Columns),
        repair=repair,
        skip_bad_rows=skip_bad_rows,
    )


def files(dataset_id: str, repair: tuple[str, ...] = (), skip_bad_rows: bool = False, columns: Columns = DETECTED) -> Files:
    """Return a data set's files, read once with the decisions that were made about them; problems may still be open.

    Raises:
        InputError: a file cannot be read; as ColumnsError, its columns have to be named.
    """
    return _files(dataset_id, workspace().stamp(dataset_id), repair, skip_bad_rows, msgspec.json.encode(columns).decode())


@st.cache_resource(show_spinner=False, max_entries=4)
def _inputs(dataset_id: str, stamp: Stamp, pool_mode: str, repair: tuple[str, ...], skip_bad_rows: bool, columns: str) -> Inputs:
    read = _files(dataset_id, stamp, repair, skip_bad_rows, columns)
    return gather(read, pool_mode=pool_mode)  # type: ignore[arg-type]  # checked where the corpus is built


def inputs(dataset_id: str, pool_mode: str, repair: tuple[str, ...], skip_bad_rows: bool, columns: Columns = DETECTED) -> Inputs:
    """Return a data set with its corpus, read with the decisions that were made about it.

    Raises:
        InputError: a bad row is neither repaired nor skipped.
    """
    return _inputs(dataset_id, workspace().stamp(dataset_id), pool_mode, repair, skip_bad_rows, msgspec.json.encode(columns).decode())


@st.cache_resource(show_spinner=False, max_entries=8)
def _text_duplicates(dataset_id: str, stamp: Stamp, repair: tuple[str, ...], skip_bad_rows: bool, columns: str) -> dict[str, int]:
    return quality.text_duplicates(_inputs(dataset_id, stamp, "extend", repair, skip_bad_rows, columns))


def text_duplicates(dataset_id: str, repair: tuple[str, ...], skip_bad_rows: bool, columns: Columns = DETECTED) -> dict[str, int]:
    """Return `queries.text_duplicates` of a data set with its pool."""
    return _text_duplicates(dataset_id, workspace().stamp(dataset_id), repair, skip_bad_rows, msgspec.json.encode(columns).decode())


Lengths = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


def text_lengths(
    dataset_id: str, folder: str, repair: tuple[str, ...] = (), skip_bad_rows: bool = False, columns: Columns = DETECTED
) -> Lengths | None:
    """Return the token counts of a data set's queries and passages (samples), or None without a tokenizer."""
    return _text_lengths(dataset_id, workspace().stamp(dataset_id), folder, repair, skip_bad_rows, msgspec.json.encode(columns).decode())


@st.cache_resource(show_spinner=False, max_entries=8)
def _text_lengths(dataset_id: str, stamp: Stamp, folder: str, repair: tuple[str, ...], skip_bad_rows: bool, columns: str) -> Lengths | None:
    read = _files(dataset_id, stamp, repair, skip_bad_rows, columns)
    training, pool = read.training, read.pool
    passages = list(dict.fromkeys([text for row in training.items for text in (*row.pos, *row.neg)] + (pool.items if pool else [])))
    queries = token_counts(Path(folder), [row.query for row in training.items])
    counts = token_counts(Path(folder), passages)
    return None if queries is None or counts is None else (queries, counts)


@st.cache_resource(show_spinner=False, max_entries=4)
def _stored_run(run_id: str, stamp: Stamp) -> tuple[Run, Inputs, Ranking]:
    space = workspace()
    run = space.run(run_id)
    settings = run.settings
    try:
        read = inputs(run.dataset_id, settings.pool_mode, settings.repair, settings.skip_bad_rows, settings.columns)
    except InputError as error:
        raise WorkspaceError(f"the data that the run {run_id} was mined from cannot be read ({error}); put it back as it was") from error
    run.check_inputs(read.files, space.training_path(run.dataset_id).parent)
    return run, read, space.ranking(run_id)


@st.cache_resource(show_spinner=False, max_entries=8)
def _verdict_pairs(run_id: str, stamp: Stamp, version: int) -> VerdictPairs:
    return match_verdicts(_stored_run(run_id, stamp)[1].corpus, reviews().verdicts())


@st.cache_resource(show_spinner=False, max_entries=8)
def _judged_run(run_id: str, stamp: Stamp, digest: str, _judged: VerdictPairs) -> tuple[Run, Inputs, Ranking, FNModel]:
    run, read, ranking = _stored_run(run_id, stamp)
    fn_model = refit(read.corpus, ranking, _judged)
    corpus, ranking = apply_promotions(read.corpus, ranking, _judged)
    return run, replace(read, corpus=corpus), ranking, fn_model


def open_run(run_id: str) -> OpenRun:
    """Open a run: its ranking memory-mapped, its files read again, the newest verdicts honoured.

    Raises:
        WorkspaceError: there is no such run, it is damaged, or its data has changed since it was mined.
    """
    stamp = workspace().stamp(workspace().run(run_id).dataset_id)
    judged = _verdict_pairs(run_id, stamp, reviews().version())
    # The verdict_pairs themselves are not cached by their digest: the same pairs may have been decided by others since.
    run, read, ranking, fn_model = _judged_run(run_id, stamp, judged.digest, judged)
    return OpenRun(run, read, ranking, judged, fn_model, f"{run_id} {judged.digest}")


@st.cache_resource(show_spinner=False, max_entries=4)  # one of 100,000 queries x 500 is 64 MB
def _selection(key: str, settings: str, _run: OpenRun) -> Selection:
    return select(
        _run.inputs.corpus, _run.ranking, msgspec.json.decode(settings, type=SelectionSettings), _run.verdict_pairs, _run.fn_model
    )


def selection(run: OpenRun, settings: SelectionSettings) -> Selection:
    """Select from a stored ranking: no encoding, no search. The same settings are computed once a server.

    Raises:
        SettingsError: the window ends behind what was ranked.
    """
    return replace(_selection(run.key, msgspec.json.encode(settings).decode(), run), verdict_pairs=run.verdict_pairs)


@st.cache_resource(show_spinner=False, max_entries=8)
def _estimator(key: str, _run: OpenRun) -> FNEstimator:
    return FNEstimator(_run.inputs.corpus, _run.ranking, _run.fn_model)


def estimator(run: OpenRun) -> FNEstimator | None:
    """Return what estimates who is false in a run, or None where it has no signals."""
    return _estimator(run.key, run) if can_estimate_fn(run.ranking) else None


@st.cache_resource(show_spinner=False, max_entries=4)  # one of 100,000 queries x 15 is 6 MB
def _fn_probabilities(key: str, settings: str, _run: OpenRun, _selection: Selection) -> npt.NDArray[np.float32]:
    return _fn_probabilities_of(_estimator(key, _run), _selection)


def fn_probabilities(run: OpenRun, chosen: Selection) -> npt.NDArray[np.float32] | None:
    """Return `fn_estimates.fn_probabilities` of a run's selection, computed once; None where the run has no signals."""
    if not can_estimate_fn(run.ranking):
        return None
    return _fn_probabilities(run.key, msgspec.json.encode(chosen.settings).decode(), run, chosen)


@st.cache_resource(show_spinner=False, max_entries=2)  # one of 100,000 passages x 384 is 154 MB
def _passage_index(run_id: str, _run: OpenRun) -> PassageIndex:
    return PassageIndex(_run.ranking.passage_vectors, _run.inputs.corpus.n_candidates)


def nearest(run_id: str, text: str, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return scores and ids of the k passages of a run nearest to any text, with the model the run was made with.

    Raises:
        ModelError: the model cannot be had, or its weights are others than they were.
    """
    opened = open_run(run_id)
    model = encoder(opened.run.settings.model or ModelSettings())
    if model.describe()["weights_sha256"] != opened.run.manifest["model"]["weights_sha256"]:
        raise ModelError("the model's weights have changed since this run was mined; mine again to search with the new ones")
    scores, ids = _passage_index(run_id, opened).search(encode(model, [text], "queries"), k)
    return scores[0], ids[0]


def scorer(run: OpenRun, on_progress: OnProgress | None = None) -> Scorer:
    """Return what scores the pairs of a run as its reranker did.

    Raises:
        ModelError: the reranker cannot be had, or its weights are others than they were.
    """
    settings = run.run.settings.reranker
    assert settings is not None  # a run without a reranker has no such signal
    found = cross_encoder(settings, on_progress)
    if found.describe()["weights_sha256"] != (run.run.manifest.get("reranker") or {}).get("weights_sha256"):
        raise ModelError("the reranker's weights have changed since this run was mined; mine again to score with the new ones")
    return Scorer(found, run.inputs.corpus, workspace().store())


@st.cache_resource(show_spinner=False, max_entries=8)
def _export(key: str, settings: str, _run: OpenRun) -> list[Written]:
    wanted = msgspec.json.decode(settings, type=MineSettings)
    folder = workspace().run_folder(_run.run.id)
    path = folder / f"export-{text_hash(key + settings):016x}{FORMATS[wanted.output_format].suffix}"
    workspace().clear(path, "export", EXPORTS_KEPT)
    chosen = selection(_run, wanted.selection)
    scores = model_scores(_run.ranking, chosen) if wanted.with_scores else None
    if wanted.score_source == "reranker":
        scores = teacher_scores(_run.ranking, _run.inputs.corpus, chosen, lambda: scorer(_run))
    return write_export(
        path,
        wanted.output_format,
        _run.inputs.rows,
        _run.inputs.corpus,
        chosen,
        scores=scores,
        dev_share=wanted.dev_share,
        seed=wanted.selection.seed,
        mend=wanted.mend,
    )


def export(run: OpenRun, settings: MineSettings) -> list[Written]:
    """Write the files of an export into the run's folder, as the settings' selection, format, scores and split have it.

    Files on disk keep a large export out of every session's memory until somebody downloads it. The last EXPORTS_KEPT stay.

    Raises:
        SettingsError, OutputError: as `formats.write_export`.
    """
    arguments = (run.key, msgspec.json.encode(settings).decode(), run)
    written = _export(*arguments)
    if not all(each.path.exists() for each in written):  # an older one, cleared away since
        _export.clear(*arguments)
        written = _export(*arguments)
    return written


@st.cache_resource(show_spinner=False, max_entries=8)
def _checked(key: str, settings: str, _run: OpenRun) -> Report:
    wanted = msgspec.json.decode(settings, type=MineSettings)
    try:
        card = cards.describe(_run.run.settings.model or ModelSettings())
    except ModelError:  # gone since the run was made
        card = None
    (written,) = export(_run, wanted)
    return check(written.path, model=card, negative_number=wanted.selection.negative_number)


def checked(run: OpenRun, settings: MineSettings) -> Report:
    """Return what the doctor says of all rows with their negatives, as FlagEmbedding's file has them.

    Raises:
        As `export`, or the file was cleared away by other exports in the meantime (InputError).
    """
    whole = msgspec.structs.replace(settings, output_format="flagembedding", dev_share=0.0, mend=())
    return _checked(run.key, msgspec.json.encode(whole).decode(), run)


def verdict_file(run: OpenRun) -> Path | None:
    """Write the verdicts that bear on a run into its folder, for a command line to read; None when there are none."""
    if not run.verdict_pairs.applied:
        return None
    folder = workspace().run_folder(run.run.id)
    lines = b"".join(verdict_lines(run.verdict_pairs.applied))
    path = folder / f"reviews-{hashlib.sha256(lines).hexdigest()[:16]}.jsonl"
    if not path.exists():
        workspace().clear(path, "reviews", EXPORTS_KEPT)
        write_atomic(path, [lines])
    return path
