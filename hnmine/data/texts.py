"""Many texts in a file, as a sequence of strings; in memory are 8 bytes a text, for its end.

The file has the UTF-8 of all texts, then where each ends, then their number. An Arrow file would hold the same in batches,
which cannot be indexed as one array, and no half of a surrogate pair.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import threading
import weakref
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import OutputError
from hnmine.core.scratch import scratch_folder

__all__ = ["LARGE", "TextWriter", "Texts", "sizes_of", "take"]

Ids = npt.NDArray[np.int64]

# Characters that a TextWriter holds in memory before it writes a file.
LARGE = 2**26
# Texts, and bytes, that are read at a time when texts are iterated.
_BLOCK_TEXTS, _BLOCK_BYTES = 4_096, 2**20
_ENCODING = "utf-8", "surrogatepass"


class Texts(Sequence[str]):
    """Texts in a file, or some of them in any order; read when indexed.

    A slice or `take` gives further Texts of the same file and reads nothing. Pickled Texts are the path and the numbers: they can be read
    in another process of the machine as long as these are alive here.
    """

    def __init__(self, file: _File, ids: range | Ids) -> None:
        self._file, self._ids = file, ids

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Texts:
        """Open the file of a TextWriter.

        Raises:
            OSError: it cannot be read.
        """
        return _some(str(path), None)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Texts(self._file, self._ids[index])
        return self._file.text(int(self._ids[index]))

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self._ids), _BLOCK_TEXTS):
            ids = np.asarray(self._ids[first : first + _BLOCK_TEXTS])
            bounds = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
            for start, stop in itertools.pairwise(bounds):
                yield from self._file.run(int(ids[start]), int(ids[start]) + stop - start)

    def take(self, ids: npt.NDArray[Any]) -> Texts:
        """Return the texts at these places, (m,) integers, without reading them."""
        if isinstance(self._ids, range):
            ids = self._ids.start + self._ids.step * ids.astype(np.int64)
        else:
            ids = self._ids[ids]
        return Texts(self._file, ids)

    def sizes(self) -> Ids:
        """Return the bytes of each text in UTF-8, (n,) int64, without reading them."""
        ids = np.arange(self._ids.start, self._ids.stop, self._ids.step) if isinstance(self._ids, range) else self._ids
        return self._file.sizes[ids]

    def __reduce__(self) -> tuple[Any, tuple[str, range | Ids]]:
        return _some, (self._file.path, self._ids)


def _some(path: str, ids: range | Ids | None) -> Texts:
    file = _File(path)
    return Texts(file, range(len(file.sizes)) if ids is None else ids)


class _File:
    """A file of texts; `owned`: it is removed with this object."""

    def __init__(self, path: str, *, owned: bool = False) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._seeking = threading.Lock()
        # Also at the end of the process, but not in a forked one.
        weakref.finalize(self, _closed, self._handle, path if owned else None, os.getpid())
        size = os.fstat(self._handle).st_size
        count = int.from_bytes(self._bytes(size - 8, size), "little")
        self._starts = np.zeros(count + 1, np.int64)
        self._starts[1:] = np.frombuffer(self._bytes(size - 8 * (count + 1), size - 8), "<i8")

    @property
    def sizes(self) -> Ids:
        return np.diff(self._starts)

    def text(self, place: int) -> str:
        return self._bytes(int(self._starts[place]), int(self._starts[place + 1])).decode(*_ENCODING)

    def run(self, start: int, stop: int) -> Iterator[str]:
        """Yield the texts from `start` to `stop`, reading about _BLOCK_BYTES at a time."""
        while start < stop:
            begin = int(self._starts[start])
            end = min(stop, max(start + 1, int(np.searchsorted(self._starts, begin + _BLOCK_BYTES, side="right")) - 1))
            bounds = (self._starts[start : end + 1] - begin).tolist()
            data = self._bytes(begin, begin + bounds[-1])
            for one, other in itertools.pairwise(bounds):
                yield data[one:other].decode(*_ENCODING)
            start = end

    def _bytes(self, begin: int, end: int) -> bytes:
        parts = []
        while begin < end:
            parts.append(self._pread(end - begin, begin))
            if not parts[-1]:
                raise OSError(errno.EIO, "the file of texts is shorter than it was", self.path)
            begin += len(parts[-1])
        return b"".join(parts)

    def _pread(self, size: int, begin: int) -> bytes:
        size = min(size, 2**30)  # one call reads less than 2 GiB
        if hasattr(os, "pread"):
            return os.pread(self._handle, size, begin)
        with self._seeking:  # Windows
            os.lseek(self._handle, begin, os.SEEK_SET)
            return os.read(self._handle, size)


def _closed(handle: int, path: str | None, process: int) -> None:
    if os.getpid() != process:
        return
    with contextlib.suppress(OSError):
        os.close(handle)
    if path is not None:
        _removed(path)


def _removed(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()


class TextWriter:
    """Collects texts: in a list as long as they are few, in a temporary file if they are many."""

    def __init__(self, limit: int | None = None) -> None:
        """Set how many characters are held in memory; None is LARGE."""
        self._limit = LARGE if limit is None else limit
        self._held: list[str] | None = []
        self._characters = 0
        self._end = 0
        self._ends = array("q")

    def __len__(self) -> int:
        return len(self._ends) if self._held is None else len(self._held)

    def append(self, text: str) -> None:
        """Add a text.

        Raises:
            OutputError: the file cannot be written; also in `texts`.
        """
        if self._held is None:
            self._write(text)
            return
        self._held.append(text)
        self._characters += len(text)
        if self._characters > self._limit:
            self._spill(self._held)

    def texts(self) -> Sequence[str]:
        """Return what was added: a list, or Texts. The file is removed with these."""
        if self._held is not None:
            return self._held
        self._ends.append(len(self._ends))
        try:
            with self._file:
                self._file.write(np.asarray(self._ends, "<i8").tobytes())
        except OSError as error:
            raise self._refusal(error) from error
        self._remove.detach()
        return Texts(_File(str(self._path), owned=True), range(len(self._ends) - 1))

    def _spill(self, held: list[str]) -> None:
        self._path = scratch_folder() / f"{secrets.token_hex(8)}.texts"
        try:
            self._file = self._path.open("xb", buffering=2**16)
        except OSError as error:
            raise self._refusal(error) from error
        self._remove = weakref.finalize(self, _removed, str(self._path))
        self._held = None
        for text in held:
            self._write(text)

    def _write(self, text: str) -> None:
        data = text.encode(*_ENCODING)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._refusal(error) from error
        self._end += len(data)
        self._ends.append(self._end)

    def _refusal(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path} cannot be written ({error.strerror or error}); it holds the texts of a large corpus: set TMPDIR to a folder "
            "with free space for twice the pool"
        )


def take(texts: Sequence[str], ids: npt.NDArray[Any]) -> Sequence[str]:
    """Return the texts at these places, (m,) integers: those in a file without reading them."""
    return texts.take(ids) if isinstance(texts, Texts) else [texts[place] for place in ids.tolist()]


def sizes_of(texts: Sequence[str]) -> Ids:
    """Return the bytes of each text in UTF-8, (n,) int64."""
    if isinstance(texts, Texts):
        return texts.sizes()
    return np.fromiter((len(text) if text.isascii() else len(text.encode(*_ENCODING)) for text in texts), np.int64, len(texts))
