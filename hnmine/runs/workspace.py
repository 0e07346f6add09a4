"""The folder of a server: data sets, runs, and the settings of the screens.

Layout: `files/` is for large files that users copy there; `datasets/<id>/` holds each upload once (the id is a hash of its bytes);
`vectors/` is the vector store; `runs/<id>/` holds a manifest, the arrays of the ranking (vectors linked from the store), `variants/` and
`drafts/`; `jobs/` the jobs that run; `reviews.sqlite` the verdicts. Data sets and runs appear by rename: a kill leaves all or nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.errors import WorkspaceError
from hnmine.core.files import write_atomic
from hnmine.core.text import text_hash, visible
from hnmine.data.columns import Columns
from hnmine.retrieval.ranking import Ranking
from hnmine.review.store import ReviewStore
from hnmine.runs.descriptions import Dataset, Run, RunSize, older_run, read
from hnmine.runs.settings import MineSettings
from hnmine.runs.uploads import Stamp, Uploaded, list_files, stamp, store
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

__all__ = ["Dataset", "Run", "RunSize", "Workspace", "vectors_folder"]

# The types of the settings files.
_SETTINGS: dict[str, Any] = {"decisions.json": tuple[tuple[str, ...], bool], "columns.json": Columns}
# The name of the pool of a BEIR data set.
OWN_CORPUS = "its corpus"
NAME_LENGTH = 80

A = TypeVar("A")
T = TypeVar("T")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")  # two runs may end in one second


def _home() -> Path:
    return Path(os.environ.get("HNMINE_HOME") or "workspace")


def vectors_folder() -> Path:
    """Return the default folder of vectors; it may not exist yet."""
    return _home() / "vectors"


class Workspace:
    """The folder `root` (by default HNMINE_HOME, else ./workspace); created when missing.

    Raises:
        WorkspaceError: the folder cannot be created.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root) if root else _home()
        self._read_runs: dict[str, tuple[Stamp, Run | WorkspaceError]] = {}
        self._read_files: dict[Path, tuple[Stamp, Any]] = {}
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
            file_name, size, file_digest, training_look = store(training, name, "training", folder)
            digest = hashlib.sha256(f"{file_name} {file_digest}\n".encode())
            own_pool = training_look is not None and training_look.own_pool
            pool_file, pool_look = None, None
            if pool is not None:
                pool_file, pool_size, pool_digest, pool_look = store(pool, pool_name or "", "pool", folder)
                size += pool_size
                digest.update(f"{pool_file} {pool_digest}\n".encode())
            dataset = Dataset(
                id=digest.hexdigest()[:12],
                name=name,
                pool_name=pool_name if pool is not None else OWN_CORPUS if own_pool else None,
                created=_now(),
                bytes=size,
                training_file=file_name,
                pool_file=pool_file,
                training_look=training_look,
                pool_look=pool_look,
            )
            (folder / "dataset.json").write_bytes(msgspec.json.encode(dataset))
            target = self.root / "datasets" / dataset.id
            try:
                if not target.exists():
                    folder.rename(target)
            except OSError:
                if not (target / "dataset.json").exists():  # else another process stored the same bytes
                    raise
        return self.dataset(dataset.id)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a data set's description.

        Raises:
            WorkspaceError: there is none with this id.
        """
        return read(self._folder("datasets", dataset_id) / "dataset.json", Dataset, f"there is no data set {dataset_id!r} in {self.root}")

    def datasets(self) -> list[Dataset]:
        """Return all data sets, newest first."""
        found = [each for each in self._all_datasets() if isinstance(each, Dataset)]  # `damaged` names the others
        return sorted(found, key=lambda dataset: dataset.created, reverse=True)

    def _all_datasets(self) -> list[Dataset | WorkspaceError]:
        return [_or_error(self.dataset, path.parent.name) for path in (self.root / "datasets").glob("[!.]*/dataset.json")]

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
        write_atomic(self._folder("datasets", dataset_id) / "decisions.json", [msgspec.json.encode((repair, skip_bad_rows))])

    def decisions(self, dataset_id: str) -> tuple[tuple[str, ...], bool]:
        """Return (repairs, skip_bad_rows) as decided for a data set; by default nothing is repaired or skipped."""
        return self._setting(self._folder("datasets", dataset_id) / "decisions.json") or ((), False)

    def save_columns(self, dataset_id: str, columns: Columns) -> None:
        """Store which columns of a data set hold what."""
        write_atomic(self._folder("datasets", dataset_id) / "columns.json", [msgspec.json.encode(columns)])

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
        with suppress(FileNotFoundError):
            _remove(self._folder("datasets", dataset_id))

    # Runs

    def save_run(self, dataset_id: str, settings: MineSettings, ranking: Ranking, manifest: dict[str, Any]) -> Run:
        """Store a ranking with its settings and manifest.

        Raises:
            WorkspaceError: the disk is full.
        """
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
        run = Run(id=f"{stamp}-{secrets.token_hex(2)}", dataset_id=dataset_id, created=_now(), settings=settings, manifest=manifest)
        with self._new_folder(self.root / "runs") as folder:
            ranking.save(folder)
            (folder / "manifest.json").write_bytes(msgspec.json.encode(run))
            folder.rename(self.root / "runs" / run.id)
        return run

    def run(self, run_id: str) -> Run:
        """Return a run's description.

        Raises:
            WorkspaceError: there is none with this id.
        """
        path, missing = self._folder("runs", run_id) / "manifest.json", f"there is no run {run_id!r} in {self.root}"
        found = read(path, Run, missing, convert=older_run)
        if found.id != run_id:
            raise WorkspaceError(f"{path} is damaged (it describes the run {found.id!r}); remove its folder and do it again")
        return found

    def runs(self, dataset_id: str | None = None) -> list[Run]:
        """Return all runs that can be read, or those of one data set, newest first; `damaged` names the others."""
        found = [run for run in self._all_runs() if isinstance(run, Run) and dataset_id in (None, run.dataset_id)]
        return sorted(found, key=lambda run: (run.created, run.id), reverse=True)

    def damaged(self) -> list[str]:
        """Return a message, with the remedy, for each run and data set that cannot be read."""
        return sorted(str(each) for each in (*self._all_runs(), *self._all_datasets()) if isinstance(each, WorkspaceError))

    def damaged_settings(self, dataset_id: str) -> list[str]:
        """Return a message for each damaged settings file of a data set; defaults are used in their place."""
        paths = [self._folder("datasets", dataset_id) / name for name in _SETTINGS]
        return [str(found) for found in (_or_error(_read_setting, path) for path in paths) if isinstance(found, WorkspaceError)]

    def _all_runs(self) -> list[Run | WorkspaceError]:
        """Return each run, or the error of reading it; cached until the file changes."""
        known, now = self._read_runs, {}
        for path in sorted((self.root / "runs").glob("[!.]*/manifest.json")):
            name, seen = path.parent.name, stamp(path)
            held = known.get(name)
            if held is None or held[0] != seen:
                held = seen, _or_error(self.run, name)
            now[name] = held
        self._read_runs = now
        return [found for _, found in now.values()]

    def name_run(self, run_id: str, name: str) -> str:
        """Give a run a name, one line of at most NAME_LENGTH characters; an empty one removes it. Returns the stored name.

        Raises:
            WorkspaceError: there is no such run, or the disk is full.
        """
        self.run(run_id)
        kept = visible(" ".join(name.split()))[:NAME_LENGTH].strip()
        path = self._folder("runs", run_id) / "run-name"
        try:
            if kept:
                write_atomic(path, [kept.encode("utf-8", "replace")])
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise WorkspaceError(f"the run {run_id} cannot be named ({error.strerror or error})") from error
        return kept

    def run_name(self, run_id: str) -> str:
        """Return the name of a run, or an empty string."""
        try:
            name = (self._folder("runs", run_id) / "run-name").read_bytes().decode("utf-8", "replace")
            return visible(" ".join(name.split()))[:NAME_LENGTH]
        except OSError:
            return ""

    def run_size(self, run_id: str) -> RunSize:
        """Return the disk space of a run. Vectors that the store holds too are the same bytes on the disk, and stay there."""
        files = own = shared = 0
        for path in self._folder("runs", run_id).rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    seen = path.stat()
                    files += 1
                    if seen.st_nlink > 1:
                        shared += seen.st_size
                    else:
                        own += seen.st_size
        return RunSize(files=files, bytes=own, shared_bytes=shared)

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
            raise WorkspaceError(f"the run {run_id} cannot be deleted ({error.strerror or error})") from error

    def ranking(self, run_id: str) -> Ranking:
        """Open a run's ranking, memory-mapped.

        Raises:
            WorkspaceError: there is none, or it is damaged.
        """
        return Ranking.open(self._folder("runs", run_id))

    def dataset_folder(self, dataset_id: str) -> Path:
        """Return the folder of a data set."""
        return self._folder("datasets", dataset_id)

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self._folder("runs", run_id)

    def selection_file(self, run_id: str, kind: str, selection: SelectionSettings) -> Path:
        """Return the path of a file about one selection of a run, named by a hash of its settings."""
        return self.run_folder(run_id) / f"{kind}-{text_hash(msgspec.json.encode(selection).decode()):016x}.json"

    def clear(self, path: Path, kind: str, kept: int) -> None:
        """Remove the oldest files or folders of a kind beside `path`: `kept` are left, `path` included; train and dev count as one."""
        groups: dict[str, list[Path]] = {}
        for each in sorted(path.parent.glob(f"{kind}-*"), key=lambda each: each.stat().st_mtime, reverse=True):
            groups.setdefault(each.name.partition(".")[0], []).append(each)
        groups.pop(path.name.partition(".")[0], None)
        for group in list(groups.values())[kept - 1 :]:
            for each in group:
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    each.unlink(missing_ok=True)

    def unless_changed(self, path: Path, read_file: Callable[[Path], T]) -> T:
        """Return `read_file(path)`, which is called again only when the file has changed."""
        seen = stamp(path)
        held = self._read_files.get(path)
        if held is None or held[0] != seen:
            held = self._read_files[path] = seen, read_file(path)
        found: T = held[1]
        return found

    def _setting(self, path: Path) -> Any:
        """Return the settings in a file; None where it is missing or damaged: see `damaged_settings`."""
        found = _or_error(_read_setting, path)
        return None if isinstance(found, WorkspaceError) else found

    def _folder(self, kind: str, name: str) -> Path:
        # Ids come from URLs too: only the plain name of a folder is accepted.
        if not name or not all(char.isalnum() or char == "-" for char in name):
            raise WorkspaceError(f"{name!r} is not an id of the workspace")
        return self.root / kind / name

    @contextmanager
    def _new_folder(self, parent: Path) -> Iterator[Path]:
        """Yield a hidden folder to fill and rename; it is removed afterwards if still there."""
        folder = parent / f".new-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
            yield folder
        except OSError as error:
            raise WorkspaceError(f"the workspace {self.root} cannot be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove a folder, renamed first, so that a kill leaves no half of it; the next call removes leftovers of a kill."""
    folder.rename(folder.with_name(f".gone-{folder.name}-{secrets.token_hex(4)}"))
    for gone in folder.parent.glob(".gone-*"):
        shutil.rmtree(gone, ignore_errors=True)


def _or_error(read_file: Callable[[A], T], argument: A) -> T | WorkspaceError:
    try:
        return read_file(argument)
    except WorkspaceError as error:
        return error


def _read_setting(path: Path) -> Any:
    """Return the settings in a file, or None without one."""
    remedy = "remove the file, and choose again"
    return read(path, _SETTINGS[path.name], "", remedy=remedy) if path.exists() else None
