"""Files of vectors: shards, written once and memory-mapped, and `StoredVectors`, the rows in them.

A shard is two .npy files: `<id>.vectors.npy`, (n, d) float16 or float32, and `<id>.keys.npy`, (n, 2) uint64, the 128-bit BLAKE2b
of each text. A shard counts only once the index lists it. SHA-256 is checked when a process opens one.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import secrets
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core import array_files
from hnmine.vectors.similarity import release_pages

__all__ = [
    "DamagedShard",
    "Rows",
    "Shard",
    "StoredVectors",
    "files",
    "in_use",
    "open_vectors",
    "read_keys",
    "remove_files",
    "text_keys",
    "write",
]

Rows = npt.NDArray[np.floating[Any]]

# Vectors of more bytes are read so many rows at a time, and their pages are released.
RESIDENT_BYTES, ROWS_TOUCHED = 2**29, 2**8

# Texts whose keys are computed at a time.
KEYS_AT_ONCE = 16_384

# Shards open in this process, by path: verified once, not evicted, closed with their last user.
_OPEN: weakref.WeakValueDictionary[str, np.memmap[Any, Any]] = weakref.WeakValueDictionary()


class DamagedShard(Exception):
    """The files of a shard are missing or damaged."""

    def __init__(self, shard: Shard, reason: object) -> None:
        super().__init__(str(reason))
        self.shard = shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard in the index: `bytes` is the size of both files, `sha256` that of vectors and keys, in this order."""

    id: str
    rows: int
    bytes: int
    sha256: str


def text_keys(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the 128-bit BLAKE2b of each text, not normalised: (n, 2) uint64. About 1 µs a text."""
    blake2b = hashlib.blake2b
    keys = np.empty((len(texts), 2), dtype=np.uint64)
    each = iter(texts)
    for start in range(0, len(texts), KEYS_AT_ONCE):
        part = itertools.islice(each, KEYS_AT_ONCE)
        digests = b"".join([blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in part])
        keys[start : start + KEYS_AT_ONCE] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    return keys


def files(root: Path, shard_id: str) -> tuple[Path, Path]:
    """Return the paths of a shard's vectors and keys."""
    return root / f"{shard_id}.vectors.npy", root / f"{shard_id}.keys.npy"


def write(
    root: Path,
    keys: npt.NDArray[np.uint64],
    parts: Iterable[Rows],
    shape: tuple[int, int],
    dtype: npt.DTypeLike,
    *,
    shard_id: str | None = None,
) -> Shard:
    """Write and sync a shard's files; `parts` are its rows, in order, in arrays of any length. `shard_id`: None draws one.

    Raises:
        OSError: the files cannot be written; no partial files are left.
    """
    shard_id = shard_id or secrets.token_hex(8)
    vectors_file, keys_file = files(root, shard_id)
    digest = hashlib.sha256()
    try:
        size = _write_array(vectors_file, parts, shape, np.dtype(dtype), digest)
        size += _write_array(keys_file, [keys], keys.shape, np.dtype(np.uint64), digest)
    except BaseException:
        remove_files(root, shard_id)
        raise
    array_files.sync_folder(root)
    return Shard(id=shard_id, rows=shape[0], bytes=size, sha256=digest.hexdigest())


def _write_array(path: Path, parts: Iterable[npt.NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any], digest: Any) -> int:
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    with path.open("xb") as file:
        pieces = (np.ascontiguousarray(part, dtype=dtype).reshape(-1).view(np.uint8).data for part in parts)
        for data in itertools.chain([header.getbuffer()], pieces):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def remove_files(root: Path, shard_id: str) -> int:
    """Remove a shard's files; return the bytes freed. Open files stay readable (on Windows they stay, as orphans)."""
    freed = 0
    for path in files(root, shard_id):
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed


def read_keys(root: Path, shard: Shard) -> npt.NDArray[np.uint64]:
    """Return the keys of a shard, (rows, 2) uint64, without a checksum: `open_vectors` verifies both files.

    Raises:
        DamagedShard: the file is missing or damaged.
        OSError: the file cannot be read for another reason.
    """
    try:
        keys = np.load(files(root, shard.id)[1], allow_pickle=False)
    except (FileNotFoundError, IsADirectoryError, *array_files.DAMAGES) as error:
        raise DamagedShard(shard, error) from error
    if keys.shape != (shard.rows, 2) or keys.dtype != np.uint64:
        raise DamagedShard(shard, f"its keys are {keys.shape} {keys.dtype}")
    return np.asarray(keys)


def open_vectors(root: Path, shard: Shard, *, again: bool = False) -> np.memmap[Any, Any]:
    """Return a shard's (rows, d) vectors, memory-mapped; the files are verified unless already open, or if `again`.

    Raises:
        DamagedShard: the files are missing or damaged.
        OSError: they cannot be read for another reason.
    """
    vectors_file, keys_file = files(root, shard.id)
    opened = _OPEN.get(str(vectors_file))
    if opened is not None and not again:
        return opened
    try:
        if vectors_file.stat().st_size + keys_file.stat().st_size != shard.bytes:
            raise DamagedShard(shard, "its size is wrong")
        digest = hashlib.sha256()
        for path in (vectors_file, keys_file):
            with path.open("rb", buffering=0) as file:
                while chunk := file.read(2**20):
                    digest.update(chunk)
        if digest.hexdigest() != shard.sha256:
            raise DamagedShard(shard, "its checksum is wrong")
        vectors = np.lib.format.open_memmap(vectors_file, mode="r")
    except (FileNotFoundError, IsADirectoryError, *array_files.DAMAGES) as error:
        raise DamagedShard(shard, error) from error
    return _OPEN.setdefault(str(vectors_file), vectors)


def in_use(root: Path, shard_id: str) -> bool:
    """Return whether a shard is open in this process."""
    return str(files(root, shard_id)[0]) in _OPEN


class StoredVectors:
    """Vectors in files: `shape` (n, d), read as float32 when indexed.

    `segments` are the arrays of the files (or arrays in memory that could not be stored), and `places` (n,) int64 is the
    position of each row in their concatenation.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, segments: Sequence[Rows], places: npt.NDArray[np.int64]) -> None:
        self._segments = list(segments)  # the maps themselves: they have the file name and keep the shard open
        self._arrays = [np.asarray(segment) for segment in segments]
        self._places = places
        self._starts = np.cumsum([0, *(len(segment) for segment in segments)])[:-1]
        self._resident = sum(array.nbytes for array in self._arrays) <= RESIDENT_BYTES
        self.shape = (len(places), int(self._arrays[0].shape[1]) if self._arrays else 0)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        """Return the rows of a slice or of an array of ids, (..., d), or one row, (d,), float32."""
        places = np.asarray(self._places[key])
        step = max(1, places.size) if self._resident else ROWS_TOUCHED
        return self._gather(places.reshape(-1), step).reshape((*places.shape, self.shape[1]))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)

    def blocks(self, rows: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yield every row once, in file order, at most `rows` at a time: ids (b,) int64, vectors (b, d) float32.

        A corpus larger than memory is read in this order at disk speed, with one block resident at a time.
        """
        order = np.argsort(self._places, kind="stable")
        for start in range(0, len(order), rows):
            ids = order[start : start + rows]
            yield ids, self._read(self._places[ids], rows)

    def save(self, folder: str | os.PathLike[str], name: str) -> None:
        """Save the vectors in `folder`, as files whose names begin with `name`, independent of the store.

        Shards are hard-linked, which takes no space while the store keeps them, or copied if that is not possible. All is synced.
        """
        folder = Path(folder)
        for number, segment in enumerate(self._segments):
            target = folder / f"{name}-{number}.npy"
            target.unlink(missing_ok=True)
            try:
                os.link(str(getattr(segment, "filename", "")), target)
            except OSError:  # in memory, evicted, on another disk, or links are not supported
                array_files.save(target, self._arrays[number])
        array_files.save(folder / f"{name}-places.npy", self._places)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], name: str) -> StoredVectors:
        """Open saved vectors, memory-mapped.

        Raises:
            ValueError: a file is missing, cannot be read or is not an array, or the files do not match.
        """
        folder = Path(folder)
        places = np.array(array_files.mapped(folder / f"{name}-places.npy"))
        segments: list[Rows] = []
        while (path := folder / f"{name}-{len(segments)}.npy").exists():
            segments.append(array_files.mapped(path))
        total = sum(len(segment) for segment in segments)
        if (
            places.ndim != 1
            or places.dtype.kind not in "iu"
            or (len(places) and not 0 <= places.min() <= places.max() < total)
            or any(segment.ndim != 2 or segment.dtype.kind != "f" or segment.shape[1] != segments[0].shape[1] for segment in segments)
        ):
            raise ValueError(f"the files of {name} do not match")
        return cls(segments, places)

    def _gather(self, places: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.float32]:
        """Return the rows at `places` (m,), (m, d) float32."""
        if len(self._arrays) <= 1:
            return self._read(places, step)
        order = np.argsort((np.searchsorted(self._starts, places, side="right") - 1).astype(np.uint16), kind="stable")
        rows = np.empty((len(places), self.shape[1]), dtype=np.float32)
        rows[order] = self._read(places[order], step)
        return rows

    def _read(self, places: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.float32]:
        """Return the rows at `places`, which are grouped by segment, reading `step` at a time."""
        rows = np.empty((len(places), self.shape[1]), dtype=np.float32)
        bounds = np.searchsorted(np.searchsorted(self._starts, places, side="right"), np.arange(1, len(self._arrays) + 2))
        for number in np.flatnonzero(np.diff(bounds)):
            for start in range(bounds[number], bounds[number + 1], step):
                part = slice(start, min(start + step, bounds[number + 1]))
                rows[part] = self._arrays[number][places[part] - self._starts[number]]
                if not self._resident:
                    release_pages(self._segments[number])
        return rows
