"""A backup of a workspace: one tar file with every file, and `backup.json`, the list of their sizes and SHA-256, at its end.

It can be made while servers run: verdicts and judgements are copied by SQLite's own backup, files are replaced as a whole and never
changed, and a run or data set that is deleted meanwhile is left out as a whole. `hnmine.runs.restore` reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from hnmine.core import small_files
from hnmine.core.array_files import sync_folder
from hnmine.core.errors import OutputError, WorkspaceError
from hnmine.core.files import in_words
from hnmine.core.progress import OnProgress
from hnmine.core.text import counted
from hnmine.runs.uploads import below
from hnmine.runs.workspace import Workspace

__all__ = ["LIST", "Backup", "FileList", "Listed", "back_up", "bad_name", "described"]

LIST = "backup.json"
PROGRESS_EVERY = 64
_DATABASES = ("reviews.sqlite", "judgements.sqlite", "vectors/index.sqlite")


class Listed(msgspec.Struct, frozen=True):
    """A file of a backup: its size, its SHA-256, and the file of the same content that stands for it in the archive; "" for itself."""

    bytes: int
    sha256: str
    same_as: str = ""


class FileList(msgspec.Struct, frozen=True):
    """The list of a backup: its files by their paths in the workspace."""

    files: dict[str, Listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds: numbers of files, runs and data sets; bytes of the archive; what was left out, in sentences."""

    files: int
    runs: int
    datasets: int
    bytes: int
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = (counted(self.runs, "run"), counted(self.datasets, "data set"), counted(self.files, "file"))
        return f"{', '.join(counts)}, {in_words(self.bytes)}"


def back_up(space: Workspace, target: Path, *, vectors: bool = False, on_progress: OnProgress | None = None) -> Backup:
    """Write a backup of a workspace to a file, which is replaced as a whole or not at all.

    Args:
        space: the workspace; servers may use it.
        target: the file.
        vectors: include the vector store. Runs have their own vectors in any case; the others can be encoded again.

    Raises:
        OutputError: the file cannot be written, or is inside the workspace.
        WorkspaceError: a file of the workspace cannot be read, or the verdicts are damaged.
    """
    if target.is_dir():
        raise OutputError(f"{target} is a folder; name a file, such as backup.tar")
    if (target.absolute().parent.resolve() / target.name).is_relative_to(space.root.resolve()):
        raise OutputError(f"{target} is inside the workspace {space.root}, and the next backup would hold it too; name a file outside")
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                files, left_out = _Filler(space, archive, on_progress).fill(vectors=vectors)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target.absolute().parent)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror or error}); an existing file is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return described(files, target.stat().st_size, left_out)


def described(files: dict[str, Listed], size: int, left_out: tuple[str, ...] = ()) -> Backup:
    folders = {kind: len({name.split("/")[1] for name in files if name.startswith(f"{kind}/")}) for kind in ("runs", "datasets")}
    return Backup(files=len(files), bytes=size, left_out=left_out, **folders)


class _Filler:
    """Puts the files of a workspace into an archive."""

    def __init__(self, space: Workspace, archive: tarfile.TarFile, on_progress: OnProgress | None) -> None:
        self._root, self._archive, self._on_progress = space.root, archive, on_progress
        self._files: dict[str, Listed] = {}
        self._first: dict[tuple[int, int], str] = {}  # of files with several names, by device and inode
        self._left_out: list[str] = []

    def fill(self, *, vectors: bool) -> tuple[dict[str, Listed], tuple[str, ...]]:
        for name in _DATABASES if vectors else _DATABASES[:-1]:
            if (self._root / name).exists():
                self._add_database(name)
        paths = [path for path in below(self._root) if self._wanted(path, vectors=vectors)]
        for done, path in enumerate(paths):
            if self._on_progress is not None and done % PROGRESS_EVERY == 0:
                self._on_progress(done, len(paths), "backing up files")
            self._add(path)
        for kind in ("runs", "datasets"):  # deleted meanwhile: not a half of it
            for folder in {"/".join(name.split("/")[:2]) for name in self._files if name.startswith(f"{kind}/")}:
                if not (self._root / folder).exists():
                    self._files = {name: each for name, each in self._files.items() if not name.startswith(f"{folder}/")}
        content = small_files.encoded(FileList(self._files))
        entry = tarfile.TarInfo(LIST)
        entry.size = len(content)
        self._archive.addfile(entry, io.BytesIO(content))
        return self._files, tuple(self._left_out)

    def _wanted(self, path: Path, *, vectors: bool) -> bool:
        name = path.relative_to(self._root)
        if (
            name.as_posix() == LIST
            or any(part.startswith(".") for part in name.parts)
            or name.parts[0] == "servers"
            or name.suffix == ".lock"
        ):
            return False
        if (name.parts[0] == "vectors" and not vectors) or ".sqlite" in name.name:
            return False
        if path.is_dir():
            if path.is_symlink():
                self._left_out.append(f"{path} is a link to a folder")
            return False
        if path.exists() and not path.is_file():
            self._left_out.append(f"{path} is no ordinary file")
            return False
        if fault := bad_name(name.as_posix()):
            self._left_out.append(f"{str(path)!r} {fault}")
            return False
        return True

    def _add(self, path: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        try:
            with path.open("rb") as file:
                seen = os.fstat(file.fileno())
                key = (seen.st_dev, seen.st_ino)
                if seen.st_nlink > 1 and key in self._first and self._first[key] in self._files:
                    first = self._files[self._first[key]]
                    self._files[name] = msgspec.structs.replace(first, same_as=self._first[key])
                    return
                self._put(name, file, seen.st_size)
                self._first[key] = name
        except FileNotFoundError:  # deleted or replaced meanwhile; a link to nothing
            if path.is_symlink():
                self._left_out.append(f"{path} is a link to a file that does not exist")
        except _Unreadable as error:
            raise WorkspaceError(f"{path} cannot be read ({error}); check the file and its disk") from error
        except PermissionError as error:
            raise WorkspaceError(f"{path} cannot be read ({error.strerror}); check your permissions") from error

    def _put(self, name: str, file: IO[bytes], size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o644
        hashed = _Hashed(file)
        self._archive.addfile(entry, hashed)
        self._files[name] = Listed(size, hashed.digest.hexdigest())

    def _add_database(self, name: str) -> None:
        """Add a consistent copy of an SQLite file that others may write."""
        path = self._root / name
        with tempfile.TemporaryDirectory(prefix="hnmine-backup-") as folder:
            copy = Path(folder) / "copy.sqlite"
            try:
                with (
                    closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as held,
                    closing(sqlite3.connect(copy)) as new,
                ):
                    held.backup(new)
                    if (state := new.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                        raise sqlite3.DatabaseError(state)
            except sqlite3.Error as error:
                raise WorkspaceError(f"{path} cannot be backed up ({error}); python -m hnmine workspace verify has the remedy") from error
            with copy.open("rb") as file:
                self._put(name, file, copy.stat().st_size)


class _Unreadable(Exception):
    """A file of the workspace cannot be read, in contrast to the archive that cannot be written."""


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        try:
            block = self._file.read(size)
        except OSError as error:
            raise _Unreadable(error.strerror or error) from error
        self.digest.update(block)
        return block


def bad_name(name: str) -> str | None:
    """Return why a path cannot be that of a file in a backup, or None."""
    parts = PurePosixPath(name).parts
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if (
        not name
        or name != "/".join(parts)
        or "\\" in name
        or "\0" in name
        or ":" in parts[0]
        or any(part.startswith(".") for part in parts)
    ):
        return "is not a name inside a workspace"
    return None
