"""What is damaged in a workspace: each small file by its reader, data sets by their bytes, runs by their arrays, verdicts, vectors.

Nothing is changed. A message has the path, what is wrong, and the remedy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hnmine.core import small_files
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.progress import OnProgress
from hnmine.retrieval.ranking import Ranking
from hnmine.review.audit_sample import Sample
from hnmine.review.migration import SCHEMA_VERSION
from hnmine.runs import audit_samples, dataset_files, dataset_notes, drafts, exports, job_records, variants
from hnmine.runs.dataset_notes import DatasetNote
from hnmine.runs.dataset_settings import SETTINGS, read_setting
from hnmine.runs.drafts import Draft
from hnmine.runs.exports import Exported
from hnmine.runs.job_records import JobRecord, Timings, older_timings
from hnmine.runs.review_setup import read_guidelines, read_overlap
from hnmine.runs.variant_figures import Figures
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.index import ShardIndex

__all__ = ["damaged_files", "verify"]

Reader = Callable[[Path], object]


def _json(kind: type[Any], remedy: str, convert: Callable[[Any], Any] | None = None) -> Reader:
    return partial(small_files.find, kind=kind, remedy=remedy, convert=convert)


_TEXT = partial(small_files.find_text, remedy="remove it, and write it again")
_VARIANT = _json(variants.Variant, variants.REMEDY)
# The readers of small files, by the folder that they are in and the pattern of their names.
_READERS: dict[str, dict[str, Reader]] = {
    "datasets": {
        **dict.fromkeys(SETTINGS, read_setting),
        "note.json": _json(DatasetNote, dataset_notes.REMEDY),
        "review.json": read_overlap,
        "guidelines.md": read_guidelines,
    },
    "runs": {
        "run-name": _TEXT,
        "notes/*": _TEXT,
        "selection.json": _json(SelectionSettings, "remove the file, and choose again"),
        "variants/*.json": _VARIANT,
        "drafts/*.json": _json(Draft, drafts.REMEDY),
        "audit-*.json": _json(Sample, audit_samples.REMEDY),
        "exported-*.json": _json(Exported, exports.REMEDY),
        "figures/*": _json(Figures, "remove the file; the Runs screen computes it again"),
    },
    "": {"timings.json": _json(Timings, job_records.TIMINGS_REMEDY, older_timings), "jobs/*.json": _json(JobRecord, job_records.REMEDY)},
}


def damaged_files(space: Workspace) -> list[str]:
    """Return a message for each small file that cannot be read, but for those of `Workspace.damaged`; a file is read when it changes."""
    found = []
    for kind, readers in _READERS.items():
        for folder in space.folders(kind) if kind else [space.root]:
            for pattern, reader in readers.items():
                for path in _matching(folder, pattern):
                    error = space.unless_changed(path, partial(_error, reader=reader), purpose="damage")
                    found += [] if error is None else [error]
    return sorted(found)


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    if "*" not in pattern:
        yield folder / pattern
        return
    with suppress(OSError):
        yield from sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _error(path: Path, reader: Reader) -> str | None:
    try:
        reader(path)
    except WorkspaceError as error:
        return str(error)
    return None


def verify(space: Workspace, *, on_progress: OnProgress | None = None) -> list[str]:
    """Read everything in a workspace and return a message for each damage, sorted."""
    found = {*space.damaged(), *space.damaged(other_version=True), *damaged_files(space), *_verdicts(space)}
    datasets, runs = space.datasets(), space.runs()
    steps: list[Callable[[], list[str]]] = [
        *(partial(_dataset, space, each.id) for each in datasets),
        *(partial(_run, space, each.id) for each in runs),
        partial(_vectors, space),
    ]
    for done, step in enumerate(steps):
        if on_progress is not None:
            on_progress(done, len(steps), "verifying data sets and runs")
        found.update(step())
    return sorted(found)


def _dataset(space: Workspace, dataset_id: str) -> list[str]:
    folder, dataset = space.dataset_folder(dataset_id), space.dataset(dataset_id)
    remedy = "put its files back as they were, or upload them again"
    try:
        if dataset_files.id_of(folder, dataset) == dataset_id:
            return []
    except (OSError, HnmineError) as error:
        return [f"the data in {folder} cannot be read ({error}); {remedy}"]
    return [f"the data in {folder} ({dataset.name}) is not what was uploaded; {remedy}"]


def _run(space: Workspace, run_id: str) -> list[str]:
    run, found = space.run(run_id), []
    try:
        Ranking.open(space.run_folder(run_id)).check(space.run_folder(run_id), run.arrays)
    except WorkspaceError as error:
        found.append(str(error))
    if not space.dataset_folder(run.dataset_id).exists():
        found.append(f"the data set {run.dataset_id} of the run {run_id} is missing; upload its files again, or delete the run")
    return found


def _verdicts(space: Workspace) -> list[str]:
    path = space.root / "reviews.sqlite"
    if not path.exists() and not path.is_symlink():
        return []
    remedy = "move it away together with the files ending in -wal and -shm, then import your last download of the verdicts"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if (version := db.execute("PRAGMA user_version").fetchone()[0]) > SCHEMA_VERSION:
                return [small_files.other_format(path, version, SCHEMA_VERSION)]
            (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if state == "ok":
                for table in ("events", "batches", "current", "judged"):
                    db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
                return []
    except sqlite3.Error as error:
        state = error
    return [f"the verdicts in {path} are damaged ({state}); {remedy}"]


def _vectors(space: Workspace) -> list[str]:
    store = space.store()
    if (index := ShardIndex(store.root, lambda note: None)).path.exists() and (damage := index.damage()) is not None:
        return [f"{index.path} is damaged ({damage}); the next run moves it away, and all texts are encoded again"]
    if not index.path.exists():
        return (
            [f"{index.path} is a link to a file that does not exist; remove it, and texts are encoded again"]
            if index.path.is_symlink()
            else []
        )
    try:
        remedy = "python -m hnmine cache verify removes it, and its texts are encoded again"
        return [f"{store.root / each.shard.id}.*.npy is damaged ({each}); {remedy}" for each in store.damaged()] + list(store.notes)
    except WorkspaceError as error:
        return [str(error)]
