"""Rows of vectors in memory or on disk, and exact inner products of pairs, whose bits do not depend on other pairs or on threads.

Vectors are an array, a memory-mapped file, or an object with rows by number and, optionally, `blocks` in disk order. Mapped
pages are released after reading, so a corpus larger than memory needs bounded memory.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ids", "VectorBlocks", "VectorRows", "in_memory", "pair_scores", "ranked_scores", "release_pages", "threads", "walk"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

# Numbers gathered at a time: 256 rows of 384 in float64, 0.8 MB, stay in the cache of a core.
CHUNK = 98_304
# Pairs per task; fewer for mapped rows, because each one maps about 64 kB of its file until released.
PAIR_BLOCK = 8_192
PAIR_BLOCK_MAPPED = 1_024
# Queries per task in `ranked_scores`, and numbers gathered at a time.
RANKED_BLOCK = 64
RANKED_NUMBERS = 2**19
# BLAS sums longer vectors in several threads, in an order that depends on their number.
LONGEST_SUM = 8_192


class VectorRows(Protocol):
    """(n, d) vectors that are read when indexed; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return rows as an array of any float type: by slice, by integer array, or one by integer."""


@runtime_checkable
class VectorBlocks(Protocol):
    """VectorRows with a faster order for reading all rows."""

    def blocks(self, rows: int) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Yield every row once, at most `rows` at a time: ids (b,) int64, vectors (b, d) float32."""


def threads() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def walk(vectors: VectorRows, rows: int, count: int) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """Yield the first `count` vectors, each once and at most `rows` at a time: ids (b,) int64, vectors (b, d) float32."""
    if isinstance(vectors, VectorBlocks):
        for ids, block in vectors.blocks(rows):
            wanted = ids < count
            if wanted.all():
                yield ids, np.ascontiguousarray(block, np.float32)
            elif wanted.any():
                yield ids[wanted], np.ascontiguousarray(block[wanted], np.float32)
        return
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        yield np.arange(start, stop), np.ascontiguousarray(vectors[start:stop], np.float32)
        release_pages(vectors)


def _mapping(vectors: Any) -> mmap.mmap | None:
    """Return the file mapping of an array, or None if it has none or is copy-on-write."""
    while isinstance(vectors, np.ndarray):
        if isinstance(vectors, np.memmap) and vectors.mode == "c":
            return None
        vectors = vectors.base
    return vectors if isinstance(vectors, mmap.mmap) else None


def in_memory(vectors: VectorRows) -> bool:
    """Return whether the vectors are an array in memory, not a mapped file."""
    return isinstance(vectors, np.ndarray) and _mapping(vectors) is None


def release_pages(vectors: VectorRows) -> None:
    """Release the pages of a memory-mapped array; they are read again when needed."""
    mapping = _mapping(vectors)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def pair_scores(queries: VectorRows, query_ids: npt.NDArray[Any], passages: VectorRows, passage_ids: npt.NDArray[Any]) -> Floats:
    """Return the inner products of pairs, computed in float64.

    Args:
        queries: (m, d) float. passages: (n, d) float; both may be memory-mapped or stored.
        query_ids, passage_ids: (p,) integers into them.

    Returns:
        (p,) float32.

    Raises:
        IndexError: an id is negative or beyond the last row.
    """
    scores = np.empty(len(query_ids), dtype=np.float32)
    order = np.argsort(passage_ids, kind="stable")

    def score(places: npt.NDArray[np.int64]) -> None:
        scores[places] = _pair_scores_here(queries, query_ids[places], passages, passage_ids[places])

    size = PAIR_BLOCK if in_memory(passages) else PAIR_BLOCK_MAPPED
    tasks = [order[start : start + size] for start in range(0, len(order), size)]
    workers = min(threads(), len(tasks))
    if workers < 2:
        for places in tasks:
            score(places)
        return scores
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(score, tasks))
    return scores


def _pair_scores_here(queries: VectorRows, query_ids: npt.NDArray[Any], passages: VectorRows, passage_ids: npt.NDArray[Any]) -> Floats:
    """Compute `pair_scores` in the order given, in this thread."""
    scores = np.empty(len(query_ids), dtype=np.float32)
    dimension = queries.shape[1]
    size = max(1, min(len(scores), CHUNK // max(dimension, 1)))
    left, right = _Rows(queries, query_ids, size), _Rows(passages, passage_ids, size)
    for start in range(0, len(scores), size):
        block = slice(start, min(start + size, len(scores)))
        scores[block] = _sums(left.take(block), right.take(block))
    for vectors in (queries, passages):
        release_pages(vectors)
    scores += np.float32(0)  # -0.0 becomes 0.0, so that equal scores have equal bits
    return scores


def ranked_scores(queries: Floats, passages: VectorRows, ids: npt.NDArray[Any]) -> Floats:
    """Return the inner products of each query with its own passages, with the same bits as `pair_scores`.

    For passages in memory a query is read once and nothing is sorted, which takes half the time; mapped passages are read
    in file order.

    Args:
        queries: (m, d) float32. passages: (n, d) float. ids: (m, c) integers in [0, n).

    Returns:
        (m, c) float32.

    Raises:
        IndexError: an id is negative or beyond the last row.
    """
    if not isinstance(passages, np.ndarray) or not in_memory(passages):
        return pair_scores(queries, np.repeat(np.arange(len(ids)), ids.shape[1]), passages, ids.ravel()).reshape(ids.shape)
    _check_ids(ids, passages)
    held, scores = np.asarray(passages), np.empty(ids.shape, np.float32)
    # A few queries at a time: with less work a call, the threads would wait for each other's Python code.
    size = max(1, RANKED_NUMBERS // max(queries.shape[1], 1))
    width = max(1, min(size, ids.shape[1]))
    step = size // width

    def score(first: int) -> None:
        taken, wide = np.empty((step * width, queries.shape[1]), held.dtype), np.empty((step * width, queries.shape[1]))
        stop = min(first + RANKED_BLOCK, len(ids))
        for row in range(first, stop, step):
            rows = slice(row, min(row + step, stop))
            query = queries[rows, None].astype(np.float64)
            for start in range(0, ids.shape[1], width):
                part = ids[rows, start : start + width]
                wide[: part.size] = np.take(held, part.ravel(), axis=0, out=taken[: part.size], mode="clip")
                scores[rows, start : start + width] = _sums(query, wide[: part.size].reshape(*part.shape, -1))

    starts = range(0, len(ids), RANKED_BLOCK)
    if len(starts) < 2:
        for first in starts:
            score(first)
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(score, starts))
    scores += np.float32(0)
    return scores


def _check_ids(ids: npt.NDArray[Any], vectors: VectorRows) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= len(vectors)):
        raise IndexError(f"rows {ids.min()} to {ids.max()} are out of range for {len(vectors)} vectors")


def _sums(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the inner products of the last axis, summed in a fixed order."""
    total = np.zeros(right.shape[:-1])
    for first in range(0, right.shape[-1], LONGEST_SUM):
        total += np.vecdot(left[..., first : first + LONGEST_SUM], right[..., first : first + LONGEST_SUM])
    return total


class _Rows:
    """Rows as float64, gathered into reused buffers: allocating them costs more than the arithmetic."""

    def __init__(self, vectors: VectorRows, ids: npt.NDArray[Any], size: int) -> None:
        _check_ids(ids, vectors)
        self._vectors, self._ids = vectors, ids
        self._wide = np.empty((size, vectors.shape[1]))
        self._rows = np.empty(self._wide.shape, vectors.dtype) if isinstance(vectors, np.ndarray) else None

    def take(self, block: slice) -> npt.NDArray[np.float64]:
        ids = self._ids[block]
        wide = self._wide[: len(ids)]
        if self._rows is None:
            wide[:] = self._vectors[ids]
        else:
            # The ids are valid; mode="clip" avoids NumPy's buffering of the output.
            wide[:] = np.take(np.asarray(self._vectors), ids, axis=0, out=self._rows[: len(ids)], mode="clip")
        return wide
