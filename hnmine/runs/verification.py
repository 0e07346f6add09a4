"""What is damaged in a workspace: each small file by its reader, data sets by their bytes, runs by their arrays, verdicts, vectors.

Nothing is changed. A message has the path, what is wrong, and the remedy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hnmine.core import small_files
from hnmine.core.errors import HnmineError, VersionError, WorkspaceError
from hnmine.core.progress import OnProgress
from hnmine.core.small_files import or_error
from hnmine.core.text import counted
from hnmine.retrieval.ranking import Ranking
from hnmine.review import judgements, log_check
from hnmine.review.audit_sample import Sample
from hnmine.review.event_log import SCHEMA_VERSION
from hnmine.review.judge_settings import JudgeSettings
from hnmine.runs import dataset_notes, folders, job_records, judge_setup, selection_files, variants
from hnmine.runs.dataset_notes import DatasetNote
from hnmine.runs.dataset_settings import SETTINGS, read_guidelines, read_overlap, read_setting
from hnmine.runs.folders import Run
from hnmine.runs.job_records import JobRecord, Timings, older_timings
from hnmine.runs.selection_files import Draft, Exported
from hnmine.runs.variants import Figures
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.index import ShardIndex

__all__ = ["Verified", "damaged_files", "verify"]

Reader = Callable[[Path], object]

# Faults of the verdicts that a message names.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `verify` found.

    Attributes:
        damages: a message for each damage, sorted. other_versions: one for each file that a newer version has written, which is whole.
        read: what was read, in words.
    """

    damages: tuple[str, ...]
    other_versions: tuple[str, ...]
    read: str


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
        "drafts/*.json": _json(Draft, selection_files.DRAFT_REMEDY),
        "audit-*.json": _json(Sample, selection_files.SAMPLE_REMEDY),
        "exported-*.json": _json(Exported, selection_files.EXPORT_REMEDY),
        "figures/*": _json(Figures, "remove the file; the Runs screen computes it again"),
    },
    "": {
        "timings.json": _json(Timings, job_records.TIMINGS_REMEDY, older_timings),
        "jobs/*.json": _json(JobRecord, job_records.REMEDY),
        judge_setup.FILE: _json(JudgeSettings, judge_setup.REMEDY),
    },
}


def damaged_files(space: Workspace) -> list[str]:
    """Return a message for each small file that cannot be read, but for those of `Workspace.damaged`; a file is read when it changes."""
    return sorted(map(str, _small_files(space)))


def _small_files(space: Workspace) -> Iterator[WorkspaceError]:
    for kind, readers in _READERS.items():
        for folder in space.folders(kind) if kind else [space.root]:
            for pattern, reader in readers.items():
                for path in _matching(folder, pattern):
                    found = space.unless_changed(path, partial(or_error, reader), purpose="damage")
                    if isinstance(found, WorkspaceError):
                        yield found


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    if "*" not in pattern:
        yield folder / pattern
        return
    with suppress(OSError):
        yield from sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def verify(space: Workspace, *, on_progress: OnProgress | None = None) -> Verified:
    """Read everything in a workspace; nothing is changed."""
    damages, others = set(space.damaged()), set(space.damaged(other_version=True))
    datasets, runs, read = space.datasets(), space.runs(), list[str]()
    steps: list[Callable[[], Iterator[WorkspaceError]]] = [
        partial(_small_files, space),
        partial(_verdicts, space, read),
        partial(_judgements, space, read),
        *(partial(_dataset, space, each.id) for each in datasets),
        *(partial(_run, space, each.id) for each in runs),
        partial(_vectors, space, read),
    ]
    for done, step in enumerate(steps):
        if on_progress is not None:
            on_progress(done, len(steps), "verifying data sets and runs")
        for error in step():
            (others if isinstance(error, VersionError) else damages).add(str(error))
    counts = [counted(len(datasets), "data set"), counted(len(runs), "run"), *read]
    return Verified(damages=tuple(sorted(damages)), other_versions=tuple(sorted(others)), read=", ".join(counts))


def _dataset(space: Workspace, dataset_id: str) -> Iterator[WorkspaceError]:
    folder, dataset = space.dataset_folder(dataset_id), space.dataset(dataset_id)
    remedy = "put it back as it was, or upload the same files again"
    try:
        names = folders.changed(folder, dataset, (_inputs(run) for run in space.runs(dataset_id)))
    except (OSError, HnmineError) as error:
        yield WorkspaceError(f"the data in {folder} cannot be read ({error}); {remedy}")
        return
    if names:
        paths = " or ".join(str(folder / name) for name in names)
        yield WorkspaceError(f"{paths} is not what was uploaded as the data set {dataset.name!r}; {remedy}")


def _inputs(run: Run) -> list[str]:
    """Return the SHA-256 of the files that a run was mined from, the training file first."""
    inputs = run.manifest.get("inputs") or {}
    return [str(inputs[name].get("sha256")) for name in ("input_file", "candidate_pool") if name in inputs]


def _run(space: Workspace, run_id: str) -> Iterator[WorkspaceError]:
    run = space.run(run_id)
    try:
        Ranking.open(space.run_folder(run_id)).check(space.run_folder(run_id), run.arrays)
    except WorkspaceError as error:
        yield error
    if not space.dataset_folder(run.dataset_id).exists():
        yield WorkspaceError(
            f"the data set {run.dataset_id} of the run {run_id} is missing; put its folder back, or upload its files again"
        )


def _verdicts(space: Workspace, read: list[str]) -> Iterator[WorkspaceError]:
    def check(db: sqlite3.Connection, version: int) -> list[str]:
        if version not in (0, SCHEMA_VERSION):  # a file of an older format is converted when a server opens it
            return []
        found = list(log_check.faults(db))
        (count,) = db.execute("SELECT count(*) FROM current WHERE decision IS NOT NULL").fetchone()
        read.append(counted(count, "verdict"))
        return found

    yield from _database(space.root / "reviews.sqlite", "verdicts", SCHEMA_VERSION, check, "import your last download of the verdicts")


def _judgements(space: Workspace, read: list[str]) -> Iterator[WorkspaceError]:
    def check(db: sqlite3.Connection, version: int) -> list[str]:
        (count,) = db.execute("SELECT count(*) FROM judgements").fetchone()
        (wrong,) = db.execute(
            "SELECT count(*) FROM judgements WHERE grade NOT BETWEEN 0 AND 3 OR typeof(query || passage) != 'text'"
        ).fetchone()
        read.append(counted(count, "judgement"))
        return [f"{counted(wrong, 'grade is', 'grades are')} not 0 to 3"] if wrong else []

    yield from _database(space.root / judgements.FILE, "judgements", judgements.FORMAT, check, "judge again")


def _database(
    path: Path, holds: str, newest: int, check: Callable[[sqlite3.Connection, int], list[str]], else_do: str
) -> Iterator[WorkspaceError]:
    """Yield what is wrong with an SQLite file; `check` reads its tables, of a format that this version knows."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")  # servers may write meanwhile
            if (version := db.execute("PRAGMA user_version").fetchone()[0]) > newest:
                yield VersionError(small_files.other_format(path, version, newest))
                return
            (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            found = check(db, version) if state == "ok" else [state]
    except sqlite3.Error as error:
        found = [str(error)]
    if found:
        more = [f"{len(found) - _NAMED:,} more"] if len(found) > _NAMED else []
        yield WorkspaceError(
            f"the {holds} in {path} are damaged ({', '.join([*found[:_NAMED], *more])}); move it away together with the files ending in "
            f"-wal and -shm, then put the one of a backup in its place (python -m hnmine workspace restore, into a new folder), or "
            f"{else_do}"
        )


def _vectors(space: Workspace, read: list[str]) -> Iterator[WorkspaceError]:
    store = space.store()
    path = (index := ShardIndex(store.root, lambda note: None)).path
    if not path.exists():
        if path.is_symlink():
            yield WorkspaceError(f"{path} is a link to a file that does not exist; remove it, and texts are encoded again")
        return
    if (damage := index.damage()) is not None:
        yield WorkspaceError(f"{path} is damaged ({damage}); the next run moves it away, and all texts are encoded again")
        return
    try:
        remedy = "python -m hnmine cache verify removes it, and its texts are encoded again"
        for each in store.damaged():
            yield WorkspaceError(f"{store.root / each.shard.id}.*.npy is damaged ({each}); {remedy}")
        yield from map(WorkspaceError, store.notes)
        read.append(counted(sum(each.rows for each in store.usage()), "stored vector"))
    except WorkspaceError as error:
        yield error
