"""The folder of a server: data sets, runs, and the settings of the screens.

Layout: `files/` is for large files that users copy there; `datasets/<id>/` holds each upload once (the id is a hash of its bytes);
`vectors/` is the vector store; `runs/<id>/` holds a manifest, the arrays of the ranking (vectors linked from the store), `variants/` and
`drafts/`; `jobs/` the jobs that run; `reviews.sqlite` the verdicts. Data sets and runs appear by rename: a kill leaves all or nothing.
"""

from __future__ import annotations

import datetime
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core import small_files
from hnmine.core.array_files import sync_folder
from hnmine.core.errors import OutputError, VersionError, WorkspaceError
from hnmine.core.files import cannot_write, remove_left_overs, write_atomic
from hnmine.core.small_files import now, or_error
from hnmine.core.text import line_of, text_hash
from hnmine.data.columns import Columns
from hnmine.retrieval.ranking import Ranking
from hnmine.review.store import ReviewStore
from hnmine.runs import folders
from hnmine.runs.dataset_settings import SETTINGS, Decisions, read_setting
from hnmine.runs.folders import OWN_CORPUS, REMEDIES, Dataset, Run, RunSize, older_run
from hnmine.runs.settings import MineSettings
from hnmine.runs.uploads import Stamp, Uploaded, below, list_files, stamp
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

__all__ = ["OWN_CORPUS", "Dataset", "Run", "RunSize", "Workspace", "home", "vectors_folder"]

NAME_LENGTH = 80

D = TypeVar("D", Dataset, Run)
T = TypeVar("T")


def home() -> Path:
    """Return the folder of the workspace, HNMINE_HOME or ./workspace; it may not exist yet."""
    return Path(os.environ.get("HNMINE_HOME") or "workspace")


def vectors_folder() -> Path:
    """Return the default folder of vectors; it may not exist yet."""
    return home() / "vectors"


class Workspace:
    """The folder `root` (by default HNMINE_HOME, else ./workspace); created when missing.

    Raises:
        WorkspaceError: the folder cannot be created.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root) if root else home()
        self._read_runs: dict[str, tuple[Stamp, Run | WorkspaceError]] = {}
        self._read_files: dict[tuple[Path, str], tuple[Stamp, Any]] = {}
        self._checked: dict[str, Stamp] = {}
        try:
            for name in ("files", "datasets", "runs"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.root} cannot be created ({error.strerror or error}); set HNMINE_HOME to a folder you may write to"
            ) from error

    def store(self) -> VectorStore:
        """Return the vector store, new for each run, which its notes and counts belong to."""
        return VectorStore(self.root / "vectors")

    def reviews(self) -> ReviewStore:
        """Open the store of verdicts, one for all data sets and runs.

        Raises:
            WorkspaceError: it is damaged, or cannot be written.
        """
        return ReviewStore(self.root / "reviews.sqlite")

    # Data sets

    def files(self) -> list[str]:
        """Return the files and BEIR folders in `files/`, as paths relative to it, sorted."""
        return list_files(self.root / "files")

    def file(self, name: str) -> Path:
        """Return the path of one of `files()`; names that lead out of the folder are rejected.

        Raises:
            WorkspaceError: no such file.
        """
        if name not in self.files():
            raise WorkspaceError(f"there is no file {name!r} in {self.root / 'files'}")
        return self.root / "files" / name

    def add_dataset(self, name: str, training: Uploaded, pool_name: str | None = None, pool: Uploaded | None = None) -> Dataset:
        """Copy a training file, and a pool when given, into the workspace. The same bytes again give the same data set.

        Raises:
            WorkspaceError: the disk is full, or a file cannot be read.
        """
        with self._new_folder(self.root / "datasets") as folder:
            dataset = folders.fill(folder, name, training, pool_name, pool)
            target = self._folder("datasets", dataset.id)
            held = or_error(self.dataset, dataset.id)
            if target.exists() and not isinstance(held, VersionError):
                if isinstance(held, Dataset) and folders.is_whole(target, held):
                    return held
                for each in target.iterdir():  # what people chose and wrote; the files are those of before
                    if each.is_file() and not (folder / each.name).exists():
                        shutil.copy2(each, folder / each.name)
                _remove(target)
            try:
                folder.rename(target)
            except OSError:
                if not (target / "dataset.json").exists():  # else another process stored the same bytes
                    raise
            sync_folder(target.parent)
        return self.dataset(dataset.id)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a data set's description.

        Raises:
            WorkspaceError: there is none with this id.
        """
        return self._described("datasets", dataset_id, "dataset.json", f"there is no data set {dataset_id!r} in {self.root}", Dataset)

    def datasets(self) -> list[Dataset]:
        """Return all data sets, newest first."""
        found = [each for each in self._all_datasets() if isinstance(each, Dataset)]  # `damaged` names the others
        return sorted(found, key=lambda dataset: dataset.created, reverse=True)

    def _all_datasets(self) -> list[Dataset | WorkspaceError]:
        read = lambda file: or_error(self.dataset, file.parent.name)  # noqa: E731
        return [self.unless_changed(path / "dataset.json", read) for path in self.folders("datasets")]

    def training_path(self, dataset_id: str) -> Path:
        """Return the path of the training file of a data set."""
        return self._folder("datasets", dataset_id) / self.dataset(dataset_id).training_file

    def pool_path(self, dataset_id: str) -> Path | None:
        """Return the path of the pool of a data set, or None without a file for it."""
        path = self._folder("datasets", dataset_id) / (self.dataset(dataset_id).pool_file or "pool.jsonl")
        return path if path.exists() else None

    def stamp(self, dataset_id: str) -> Stamp:
        """Return a value that changes with the files of a data set; nothing is read."""
        pool = self.pool_path(dataset_id)
        return stamp(self.training_path(dataset_id)) + (() if pool is None else stamp(pool))

    def save_decisions(self, dataset_id: str, repair: tuple[str, ...], skip_bad_rows: bool) -> None:
        """Store the decisions about the bad rows of a data set."""
        path = self._folder("datasets", dataset_id) / "decisions.json"
        small_files.write(path, Decisions(repair=repair, skip_bad_rows=skip_bad_rows), "the decisions cannot be stored")

    def decisions(self, dataset_id: str) -> tuple[tuple[str, ...], bool]:
        """Return (repairs, skip_bad_rows) as decided for a data set; by default nothing is repaired or skipped."""
        found = self._setting(self._folder("datasets", dataset_id) / "decisions.json") or Decisions()
        return found.repair, found.skip_bad_rows

    def save_columns(self, dataset_id: str, columns: Columns) -> None:
        """Store which columns of a data set hold what."""
        small_files.write(self._folder("datasets", dataset_id) / "columns.json", columns, "the columns cannot be stored")

    def columns(self, dataset_id: str) -> Columns:
        """Return which columns of a data set hold what, as the user named them; the others are found by name."""
        return self._setting(self._folder("datasets", dataset_id) / "columns.json") or Columns()

    def remove_dataset(self, dataset_id: str) -> None:
        """Remove a data set without runs.

        Raises:
            WorkspaceError: there are runs of it.
        """
        if self.runs(dataset_id):
            raise WorkspaceError(f"the data set {dataset_id!r} has runs, which need it; delete them first")
        for path in (each / "manifest.json" for each in self.folders("runs")):
            with suppress(OSError):
                if dataset_id.encode() in path.read_bytes():
                    raise WorkspaceError(f"{path} cannot be read, and its run may need the data set {dataset_id!r}; see the Runs screen")
        try:
            with suppress(FileNotFoundError):
                _remove(self._folder("datasets", dataset_id))
        except OSError as error:
            raise WorkspaceError(f"the data set cannot be deleted: {cannot_write(self.root, error)}") from error

    # Runs

    def save_run(self, dataset_id: str, settings: MineSettings, ranking: Ranking, manifest: dict[str, Any]) -> Run:
        """Store a ranking with its settings and manifest.

        Raises:
            WorkspaceError: the disk is full.
        """
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        run = Run(
            id=f"{stamp}-{secrets.token_hex(2)}", dataset_id=dataset_id, created=now("milliseconds"), settings=settings, manifest=manifest
        )
        with self._new_folder(self.root / "runs") as folder:
            run = msgspec.structs.replace(run, arrays=ranking.save(folder))
            write_atomic(folder / "manifest.json", [small_files.encoded(run)])
            sync_folder(folder)
            folder.rename(self.root / "runs" / run.id)
            sync_folder(self.root / "runs")
        return run

    def run(self, run_id: str) -> Run:
        """Return a run's description.

        Raises:
            WorkspaceError: there is none with this id.
        """
        return self._described("runs", run_id, "manifest.json", f"there is no run {run_id!r} in {self.root}", Run, older_run)

    def runs(self, dataset_id: str | None = None) -> list[Run]:
        """Return all runs that can be read, or those of one data set, newest first; `damaged` names the others."""
        found = [run for run in self._all_runs() if isinstance(run, Run) and dataset_id in (None, run.dataset_id)]
        return sorted(found, key=lambda run: (run.created, run.id), reverse=True)

    def damaged(self, *, other_version: bool = False) -> list[str]:
        """Return a message, with the remedy, for each run and data set that is damaged, or that another version has written."""
        found = (each for each in (*self._all_runs(), *self._all_datasets()) if isinstance(each, WorkspaceError))
        return sorted(str(each) for each in found if isinstance(each, VersionError) == other_version)

    def damaged_settings(self, dataset_id: str) -> list[str]:
        """Return a message for each damaged settings file of a data set; defaults are used in their place."""
        paths = [self._folder("datasets", dataset_id) / name for name in SETTINGS]
        return [str(found) for found in (or_error(read_setting, path) for path in paths) if isinstance(found, WorkspaceError)]

    def _all_runs(self) -> list[Run | WorkspaceError]:
        """Return each run, or the error of reading it; cached until the file changes."""
        known, now = self._read_runs, {}
        for folder in self.folders("runs"):
            name, seen = folder.name, stamp(folder / "manifest.json")
            held = known.get(name)
            if held is None or held[0] != seen:
                held = seen, or_error(self.run, name)
            now[name] = held
        self._read_runs = now
        return [found for _, found in now.values()]

    def name_run(self, run_id: str, name: str) -> str:
        """Give a run a name, one line of at most NAME_LENGTH characters; an empty one removes it. Returns the stored name.

        Raises:
            WorkspaceError: there is no such run, or the disk is full.
        """
        self.run(run_id)
        kept = line_of(name, NAME_LENGTH)
        small_files.write_text(self._folder("runs", run_id) / "run-name", kept, f"the run {run_id} cannot be named")
        return kept

    def run_name(self, run_id: str) -> str:
        """Return the name of a run, or an empty string."""
        path = self._folder("runs", run_id) / "run-name"
        name = or_error(partial(small_files.find_text, remedy=""), path)
        return line_of(name, NAME_LENGTH) if isinstance(name, str) else ""

    def run_size(self, run_id: str) -> RunSize:
        """Return the disk space of a run. Vectors that the store holds too are the same bytes on the disk, and stay there."""
        return RunSize.of(below(self._folder("runs", run_id)))

    def delete_run(self, run_id: str) -> None:
        """Remove a run. Its data set, the stored vectors and all verdicts stay.

        Raises:
            WorkspaceError: there is no such run, or it cannot be renamed.
        """
        folder = self._folder("runs", run_id)
        if not folder.is_dir():
            raise WorkspaceError(f"there is no run {run_id!r} in {self.root}")
        try:
            _remove(folder)
        except OSError as error:
            raise WorkspaceError(f"the run {run_id} cannot be deleted: {cannot_write(self.root, error)}") from error

    def run_stamp(self, run_id: str) -> Stamp:
        """Return a value that changes with the manifest and arrays of a run and with the files of its data set; nothing is read."""
        return (*self._arrays_stamp(run_id), *self.stamp(self.run(run_id).dataset_id))

    def _arrays_stamp(self, run_id: str) -> Stamp:
        found, folder = [], self._folder("runs", run_id)
        for path in (folder / "manifest.json", *sorted(folder.glob("*.npy"))):
            with suppress(OSError):
                seen = path.stat()  # without its ctime, which changes when another run links the same vectors
                found.append((path.name, seen.st_mtime_ns, seen.st_ino, seen.st_size))
        return tuple(found)

    def ranking(self, run_id: str) -> Ranking:
        """Open a run's ranking, memory-mapped. Its files are read and checked once in a process, and when they change.

        Raises:
            WorkspaceError: there is none, or it is damaged or of another run.
        """
        run, seen = self.run(run_id), self._arrays_stamp(run_id)
        found = Ranking.open(folder := self._folder("runs", run_id))
        if self._checked.get(run_id) != seen:
            found.check(folder, run.arrays)
            self._checked[run_id] = seen
        return found

    def dataset_folder(self, dataset_id: str) -> Path:
        """Return the folder of a data set."""
        return self._folder("datasets", dataset_id)

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self._folder("runs", run_id)

    def selection_file(self, run_id: str, kind: str, selection: SelectionSettings) -> Path:
        """Return the path of a file about one selection of a run, named by a hash of its settings."""
        return self.run_folder(run_id) / f"{kind}-{text_hash(msgspec.json.encode(selection).decode()):016x}.json"

    def unless_changed(self, path: Path, read_file: Callable[[Path], T], *, purpose: str = "") -> T:
        """Return `read_file(path)`, which is called again only when the file has changed; `purpose` tells several functions apart."""
        seen, key = stamp(path), (path, purpose)
        held = self._read_files.get(key)
        if held is None or held[0] != seen:
            held = self._read_files[key] = seen, read_file(path)
        found: T = held[1]
        return found

    def _setting(self, path: Path) -> Any:
        """Return the settings in a file; None where it is missing or damaged: see `damaged_settings`."""
        found = or_error(read_setting, path)
        return None if isinstance(found, WorkspaceError) else found

    def _folder(self, kind: str, name: str) -> Path:
        # Ids come from URLs too: only the plain name of a folder is accepted.
        if not _is_id(name):
            raise WorkspaceError(f"{name!r} is not an id of the workspace")
        return self.root / kind / name

    def folders(self, kind: str) -> list[Path]:
        """Return the folders of data sets or runs, whole or damaged, sorted."""
        with suppress(OSError):
            return sorted(path for path in (self.root / kind).iterdir() if _is_id(path.name))
        return []

    def _described(self, kind: str, name: str, file: str, missing: str, wanted: type[D], convert: Callable[[Any], Any] | None = None) -> D:
        """Return what the folder of a data set or run says of itself."""
        path = self._folder(kind, name) / file
        if path.parent.exists():
            missing = f"{path} is missing; {REMEDIES[kind]}"
        found = small_files.read(path, wanted, missing, remedy=REMEDIES[kind], convert=convert)
        if found.id != name:
            remedy = REMEDIES[kind]
            if _is_id(found.id):
                copied = (self.root / kind / found.id).exists()
                remedy = "move that folder or this one out of the workspace" if copied else f"rename its folder back to {found.id}"
            raise WorkspaceError(f"{path} is damaged (it describes {found.id!r}); {remedy}")
        return found

    @contextmanager
    def _new_folder(self, parent: Path) -> Iterator[Path]:
        """Yield a hidden folder to fill and rename; it is removed afterwards if still there."""
        folder = parent / f".new-{os.getpid()}-{secrets.token_hex(4)}"
        remove_left_overs(parent, r"\.new-(\d+)-[0-9a-f]{8}")
        try:
            folder.mkdir()
            yield folder
        except OSError as error:
            raise WorkspaceError(cannot_write(f"the workspace {self.root}", error)) from error
        except OutputError as error:
            raise WorkspaceError(str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_id(name: str) -> bool:
    return bool(name) and all(char.isalnum() or char == "-" for char in name)


def _remove(folder: Path) -> None:
    """Remove a folder, renamed first, so that a kill leaves no half of it; the next call removes leftovers of a kill."""
    folder.rename(folder.with_name(f".gone-{folder.name}-{secrets.token_hex(4)}"))
    for gone in folder.parent.glob(".gone-*"):
        shutil.rmtree(gone, ignore_errors=True)
