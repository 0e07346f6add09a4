"""The place that every worker reaches: a folder, or an address such as s3://bucket/folder, through fsspec.

A shard is three files: the two .npy files of `hnmine.vectors.shards`, and `<name>.json` with its size and SHA-256. The last one is written
last, so a shard without it is not finished. In a folder, files are written aside and renamed; an object store shows a whole file or none.
The name is a hash of encoder key and texts, so a finished shard is found again by a later run.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec
import numpy.typing as npt

from hnmine.core.decode import decode
from hnmine.core.errors import ClusterError, HnmineError, SettingsError
from hnmine.core.scratch import temporary_files
from hnmine.core.small_files import DAMAGES
from hnmine.vectors import shards
from hnmine.vectors.shard_set import Keys
from hnmine.vectors.shards import Rows, Shard

__all__ = ["SharedStore"]

RECORD = ".json"
# Files of that age in a folder are left over from runs that nobody repeated.
LEFT_OVER_SECONDS = 7 * 86_400.0


class SharedStore:
    """Finished shards at `url`: a folder, which is created, or an address that fsspec knows.

    Raises:
        SettingsError: the address is of an unknown kind, or the package for it is missing.
        ClusterError: it cannot be read or written; also in all methods.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url
        with self._wrapped():
            try:
                self._files, self._root = url_to_fs(url)
            except (ImportError, ValueError) as error:
                raise SettingsError(
                    f"shared_store {url!r} cannot be used ({error}); give a folder, or an address such as s3://bucket/x"
                ) from error
            self._is_folder = "file" in self._files.protocol
            self._files.makedirs(self._root, exist_ok=True)

    def finished(self) -> set[str]:
        """Return the names of the finished shards."""
        with self._wrapped():
            self._files.invalidate_cache()
            names = [PurePosixPath(each).name for each in self._files.ls(self._root, detail=False)]
        return {name.removesuffix(RECORD) for name in names if name.endswith(RECORD)}

    def find(self, name: str) -> Shard | None:
        """Return a finished shard, or None."""
        with self._wrapped():
            self._files.invalidate_cache()
            try:
                return decode(self._files.cat_file(self._path(name + RECORD)), Shard)
            except (FileNotFoundError, IsADirectoryError, *DAMAGES):
                return None

    def put(self, name: str, keys: Keys, rows: Rows, dtype: npt.DTypeLike) -> Shard:
        """Write a shard and return it."""
        with self._wrapped(), temporary_files("shard-") as folder:
            shard = shards.write(folder, keys, [rows], (len(keys), rows.shape[1]), dtype, shard_id=name)
            for path in shards.files(folder, name):
                self._write(path.name, path.read_bytes())
            self._write(name + RECORD, msgspec.json.encode(shard))
        return shard

    def take(self, name: str, root: Path, *, move: bool) -> Shard | None:
        """Bring the files of a finished shard into the folder `root`; None if it is not finished. `move` removes it here."""
        shard = self.find(name)
        if shard is None:
            return None
        with self._wrapped():
            root.mkdir(parents=True, exist_ok=True)
            try:
                for target in shards.files(root, name):
                    (self._files.mv if move else self._files.get_file)(self._path(target.name), str(target))
            except FileNotFoundError:  # a run that was killed had taken a part of it
                self.remove(name)
                return None
            if move:
                self._files.rm_file(self._path(name + RECORD))
        return shard

    def remove(self, name: str) -> None:
        """Remove a shard, such as a damaged one: its record first."""
        for each in (name + RECORD, *(path.name for path in shards.files(Path(), name))):
            with self._wrapped(), suppress(FileNotFoundError):
                self._files.rm_file(self._path(each))

    def sweep(self) -> None:
        """Remove old files of a folder."""
        if self._is_folder:
            for path in Path(self._root).iterdir():
                with suppress(OSError):
                    if path.stat().st_mtime < time.time() - LEFT_OVER_SECONDS:
                        path.unlink()

    def leave_word(self) -> str:
        """Write a small file with a random name, and return the name: a worker that finds it reaches the same place."""
        name = f"word-{secrets.token_hex(8)}"
        with self._wrapped():
            self._write(name, b"")
        return name

    def has_word(self, name: str) -> bool:
        """Return whether the file of `leave_word` is here."""
        with self._wrapped():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._path(name)))

    def remove_word(self, name: str) -> None:
        """Remove the file of `leave_word`."""
        with suppress(OSError):
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, name: str, data: bytes) -> None:
        if not self._is_folder:
            self._files.pipe_file(self._path(name), data)
            return
        aside = f"{name}.{secrets.token_hex(8)}.tmp"
        self._files.pipe_file(self._path(aside), data)
        Path(self._path(aside)).replace(self._path(name))

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except HnmineError:
            raise
        except Exception as error:  # each file system raises its own kinds
            raise ClusterError(
                f"the shared store {self.url} cannot be used ({type(error).__name__}: {error}); check address and rights"
            ) from error
