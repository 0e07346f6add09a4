"""A folder that outlives the server: data sets, runs, and what was chosen on the screens.

Layout: `files/` is for people to put large files into; `datasets/<id>/` holds what was uploaded, once (the id is a hash
of its bytes); `vectors/` is the vector store; `runs/<id>/` holds a manifest, the ranking's arrays (its vectors linked from
the store) and the last selection settings; `reviews.sqlite` holds the verdicts. Everything else appears by rename, so a killed
process leaves either all of a data set or run, or nothing.
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
from typing import Any, BinaryIO, TypeVar

import msgspec

from hnmine.core.errors import WorkspaceError
from hnmine.core.files import write_atomic
from hnmine.data.columns import Columns
from hnmine.retrieval.ranking import Ranking
from hnmine.review.store import ReviewStore
from hnmine.runs.mine import MineSettings
from hnmine.runs.uploads import readable, store
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

__all__ = ["Dataset", "Run", "RunSize", "Workspace", "vectors_folder"]

T = TypeVar("T")
# What the pool of a BEIR data set is called.
OWN_CORPUS = "its corpus"


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded training file, and a pool when there is one.

    `id` is a hash of the bytes, `name` what the training file was called, `created` an ISO 8601 time in UTC, `training_file` and
    `pool_file` what they are called here. A BEIR data set has a pool and no file of it: its corpus.
    """

    id: str
    name: str
    pool_name: str | None
    created: str
    bytes: int
    training_file: str = "train.jsonl"
    pool_file: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A finished ranking of a data set: settings, and the manifest as it was written."""

    id: str
    dataset_id: str
    created: str
    settings: MineSettings
    manifest: dict[str, Any]


class RunSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a run takes on the disk: `files`; `bytes` that nothing else needs; `shared_bytes` of vectors that the store has too."""

    files: int
    bytes: int
    shared_bytes: int


NAME_LENGTH = 80


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")  # two runs may end in one second


def _home() -> Path:
    return Path(os.environ.get("HNMINE_HOME") or "workspace")


def vectors_folder() -> Path:
    """Return where vectors are kept unless somebody says otherwise; it need not exist."""
    return _home() / "vectors"


class Workspace:
    """The folder `root` (by default HNMINE_HOME, else ./workspace); made when it is missing.

    Raises:
        WorkspaceError: the folder cannot be made.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root) if root else _home()
        self._read_runs: dict[str, tuple[tuple[int, int, int], Run]] = {}
        try:
            for name in ("files", "datasets", "runs"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.root} cannot be made ({error.strerror or error}); set HNMINE_HOME to a folder you may write to"
            ) from error

    def store(self) -> VectorStore:
        """Return the vector store, for one run: its notes and counts are that run's."""
        return VectorStore(self.root / "vectors")

    def reviews(self) -> ReviewStore:
        """Open the store of verdicts, one for all data sets and runs.

        Raises:
            WorkspaceError: it is damaged, or cannot be written.
        """
        return ReviewStore(self.root / "reviews.sqlite")

    # Data sets

    def files(self) -> list[str]:
        """Return the files and BEIR folders that somebody put into `files/`, as paths relative to it, sorted."""
        return readable(self.root / "files")

    def file(self, name: str) -> Path:
        """Return the path of one of `files()`; names that lead out of the folder are refused.

        Raises:
            WorkspaceError: no such file.
        """
        if name not in self.files():
            raise WorkspaceError(f"there is no file {name!r} in {self.root / 'files'}")
        return self.root / "files" / name

    def add_dataset(
        self, name: str, training: BinaryIO | Path, pool_name: str | None = None, pool: BinaryIO | Path | None = None
    ) -> Dataset:
        """Copy a training file, and a pool when given, into the workspace. The same bytes again give the same data set.

        Raises:
            WorkspaceError: the disk is full, or a file cannot be read.
        """
        with self._new_folder(self.root / "datasets") as folder:
            file_name, size, file_digest, beir = store(training, name, "training", folder)
            digest = hashlib.sha256(f"{file_name} {file_digest}\n".encode())
            pool_file = None
            if pool is not None:
                pool_file, pool_size, pool_digest, _ = store(pool, pool_name or "", "pool", folder)
                size += pool_size
                digest.update(f"{pool_file} {pool_digest}\n".encode())
            dataset = Dataset(
                id=digest.hexdigest()[:12],
                name=name,
                pool_name=pool_name if pool is not None else OWN_CORPUS if beir else None,
                created=_now(),
                bytes=size,
                training_file=file_name,
                pool_file=pool_file,
            )
            (folder / "dataset.json").write_bytes(msgspec.json.encode(dataset))
            target = self.root / "datasets" / dataset.id
            try:
                if not target.exists():
                    folder.rename(target)
            except OSError:
                if not (target / "dataset.json").exists():  # else somebody stored the same bytes at the same time
                    raise
        return self.dataset(dataset.id)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a data set's description.

        Raises:
            WorkspaceError: there is none with this id.
        """
        return _read(self._folder("datasets", dataset_id) / "dataset.json", Dataset, f"there is no data set {dataset_id!r} in {self.root}")

    def datasets(self) -> list[Dataset]:
        """Return all data sets, newest first."""
        found: list[Dataset] = []
        for path in (self.root / "datasets").glob("[!.]*/dataset.json"):
            with suppress(WorkspaceError):
                found.append(self.dataset(path.parent.name))
        return sorted(found, key=lambda dataset: dataset.created, reverse=True)

    def training_path(self, dataset_id: str) -> Path:
        """Return where the training file of a data set lies."""
        return self._folder("datasets", dataset_id) / self.dataset(dataset_id).training_file

    def pool_path(self, dataset_id: str) -> Path | None:
        """Return where the pool of a data set lies, or None when it has none of its own."""
        path = self._folder("datasets", dataset_id) / (self.dataset(dataset_id).pool_file or "pool.jsonl")
        return path if path.exists() else None

    def save_decisions(self, dataset_id: str, repair: tuple[str, ...], skip_bad_rows: bool) -> None:
        """Remember what was decided about a data set's bad rows."""
        write_atomic(self._folder("datasets", dataset_id) / "decisions.json", [msgspec.json.encode((repair, skip_bad_rows))])

    def decisions(self, dataset_id: str) -> tuple[tuple[str, ...], bool]:
        """Return (repairs, skip_bad_rows) as decided for a data set; nothing is mended or skipped before somebody says so."""
        path = self._folder("datasets", dataset_id) / "decisions.json"
        if not path.exists():
            return (), False
        return msgspec.json.decode(path.read_bytes(), type=tuple[tuple[str, ...], bool])

    def save_columns(self, dataset_id: str, columns: Columns) -> None:
        """Remember which columns of a data set hold what."""
        write_atomic(self._folder("datasets", dataset_id) / "columns.json", [msgspec.json.encode(columns)])

    def columns(self, dataset_id: str) -> Columns:
        """Return which columns of a data set hold what, as somebody said; what nobody did is found by name."""
        path = self._folder("datasets", dataset_id) / "columns.json"
        return _read(path, Columns, f"{path} cannot be read") if path.exists() else Columns()

    def remove_dataset(self, dataset_id: str) -> None:
        """Remove a data set that no run was made from.

        Raises:
            WorkspaceError: there are runs of it.
        """
        if self.runs(dataset_id):
            raise WorkspaceError(f"the data set {dataset_id!r} has runs; they could not be opened without it")
        gone = self.root / "datasets" / f".gone-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self._folder("datasets", dataset_id).rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

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
        return _read(self._folder("runs", run_id) / "manifest.json", Run, f"there is no run {run_id!r} in {self.root}", _older_run)

    def runs(self, dataset_id: str | None = None) -> list[Run]:
        """Return all runs, or those of one data set, newest first. A manifest is decoded once, and again only when its file changed."""
        known, now = self._read_runs, {}
        for path in (self.root / "runs").glob("[!.]*/manifest.json"):
            with suppress(WorkspaceError, OSError):  # a damaged one is told when it is asked for by name
                seen, name = path.stat(), path.parent.name
                stamp = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
                held = known.get(name)
                now[name] = held if held is not None and held[0] == stamp else (stamp, self.run(name))
        self._read_runs = now
        found = [run for _, run in now.values() if dataset_id in (None, run.dataset_id)]
        return sorted(found, key=lambda run: (run.created, run.id), reverse=True)

    def name_run(self, run_id: str, name: str) -> str:
        """Give a run a name, one line of at most NAME_LENGTH characters; an empty one takes it away. Returns the name as it is kept.

        Raises:
            WorkspaceError: there is no such run, or the disk is full.
        """
        self.run(run_id)
        kept = " ".join(name.split())[:NAME_LENGTH].strip()
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
        """Return the name that somebody gave a run, or an empty string."""
        try:
            return (self._folder("runs", run_id) / "run-name").read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""

    def run_size(self, run_id: str) -> RunSize:
        """Count what a run takes on the disk. Vectors that the store holds too are the same bytes on the disk, and stay there."""
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

        It goes out of sight by a rename before any file is removed, so that a kill leaves no half of a run; what such a kill leaves is
        removed with the next run that goes.

        Raises:
            WorkspaceError: there is no such run, or it cannot be moved away.
        """
        folder = self._folder("runs", run_id)
        if not folder.is_dir():
            raise WorkspaceError(f"there is no run {run_id!r} in {self.root}")
        try:
            folder.rename(folder.with_name(f".gone-{run_id}-{secrets.token_hex(4)}"))
        except OSError as error:
            raise WorkspaceError(f"the run {run_id} cannot be deleted ({error.strerror or error})") from error
        for gone in (self.root / "runs").glob(".gone-*"):
            shutil.rmtree(gone, ignore_errors=True)

    def ranking(self, run_id: str) -> Ranking:
        """Open a run's ranking, memory-mapped.

        Raises:
            WorkspaceError: there is none, or it is damaged.
        """
        return Ranking.open(self._folder("runs", run_id))

    def run_folder(self, run_id: str) -> Path:
        """Return where a run lies."""
        return self._folder("runs", run_id)

    def save_selection(self, run_id: str, settings: SelectionSettings) -> None:
        """Remember the selection settings that were last shown for a run."""
        write_atomic(self._folder("runs", run_id) / "selection.json", [msgspec.json.encode(settings)])

    def selection(self, run_id: str) -> SelectionSettings:
        """Return the selection settings last shown for a run, or, without any that can be read, those it was mined with."""
        path = self._folder("runs", run_id) / "selection.json"
        if not path.exists():
            return self.run(run_id).settings.selection
        try:
            return _read(path, SelectionSettings, f"{path} cannot be read")
        except WorkspaceError:  # how sliders stood is not worth a run that cannot be opened
            return self.run(run_id).settings.selection

    def _folder(self, kind: str, name: str) -> Path:
        # Ids come from addresses too: nothing but the plain name of a folder may pass.
        if not name or not all(char.isalnum() or char == "-" for char in name):
            raise WorkspaceError(f"{name!r} is no id of the workspace")
        return self.root / kind / name

    @contextmanager
    def _new_folder(self, parent: Path) -> Iterator[Path]:
        """Give a hidden folder to fill and rename; what is left of it afterwards goes."""
        folder = parent / f".new-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
            yield folder
        except OSError as error:
            raise WorkspaceError(f"the workspace {self.root} cannot be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _older_run(value: dict[str, Any]) -> dict[str, Any]:
    """Bring the settings of a run of version 0.1.0, which had `use_fp16` instead of `precision`, to those of today."""
    model = (value.get("settings") or {}).get("model")
    if isinstance(model, dict) and model.pop("use_fp16", True) is False:
        model["precision"] = "fp32"
    return value


def _read(path: Path, kind: type[T], missing: str, older: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> T:
    try:
        content = path.read_bytes()
        if older is None:
            return msgspec.json.decode(content, type=kind)
        return msgspec.convert(older(msgspec.json.decode(content, type=dict[str, Any])), type=kind)
    except OSError as error:
        raise WorkspaceError(missing) from error
    except msgspec.DecodeError as error:
        raise WorkspaceError(f"{path} is damaged ({error}); remove its folder and do it again") from error
