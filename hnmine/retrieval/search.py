"""Exact inner-product top-k with FAISS on the CPU or the GPU; a score depends on its two vectors alone, never on the device.

FAISS finds k + SLACK candidates in float32, whose scores are computed again in float64. Ties break by passage id.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, SettingsError
from hnmine.core.files import available, in_words
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.models.loading import cpu_flags
from hnmine.vectors.similarity import CHUNK, Floats, Ids, VectorRows, in_memory, pair_scores, ranked_scores, threads, walk

__all__ = [
    "GPU_K_LIMIT",
    "SLACK",
    "PassageIndex",
    "VectorRows",
    "best_of",
    "gpu_count",
    "load_faiss",
    "pair_scores",
    "search_device",
    "top_k",
]

Doubles = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

GPU_K_LIMIT = 2_048  # above it knn_gpu aborts the whole process
SLACK = 16

# Queries x passages of one call of FAISS: about 1 s on two cores, between two progress reports and stop checks.
QUERY_BLOCK = 2_048
PASSAGE_BLOCK = 131_072
QUERY_BLOCK_GPU = 65_536  # knn_gpu copies the passages to the device at each call, so it gets few and large ones
PASSAGE_BLOCK_GPU = 2**22
LEAST_BLOCK = 512
# Scores that the exact pass holds at a time, 5 bytes each; FAISS's own block of scores on the CPU takes 8 MiB.
SCORES = 2**22
DEFAULT_BUDGET = 2**30

# Norms are computed in float32: above their rounding error.
GENEROUS = 1.001
# Above the total effect of underflow on a score.
TINY = 2.0**-100
# Products of longer vectors could overflow float32.
LONGEST = 1e18

# Instructions of the SkylakeX kernels of OpenBLAS.
AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

# FAISS' GPU objects are not safe for several threads, and misuse aborts: one at a time, one resources object a process.
_gpu_lock = threading.Lock()
_gpu_resources: Any = None


def load_faiss() -> Any:
    """Import FAISS, with kernels for this processor.

    OpenBLAS 0.3.15 inside FAISS's packages falls back to SSE3 on Intel processors that are newer than it, such as Sapphire
    Rapids: 2,000 queries x 100,000 passages take one thread 5.3 s in place of 1.3 s. A value set in the environment stays, and
    loaded libraries are not affected.
    """
    if "faiss" in sys.modules or "OPENBLAS_CORETYPE" in os.environ or not cpu_flags() >= AVX512:
        return importlib.import_module("faiss")
    os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
    try:
        return importlib.import_module("faiss")
    finally:
        del os.environ["OPENBLAS_CORETYPE"]


def gpu_count() -> int:
    """Return how many GPUs FAISS can use; 0 with the CPU build or without a device."""
    faiss = load_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def search_device(use_gpu: bool, depth: int) -> tuple[bool, str | None]:
    """Return whether the GPU searches, and a note where that differs from the setting.

    Args:
        use_gpu: the setting.
        depth: candidates a query; a GPU finds at most 2,048, and `top_k` needs SLACK of them for exact ranks.
    """
    if not use_gpu:
        return False, None
    if gpu_count() == 0:
        return False, "a GPU was asked for, but FAISS finds none: the CPU searched"
    if depth > GPU_K_LIMIT - SLACK:
        return False, f"a GPU ranks at most {GPU_K_LIMIT - SLACK:,} candidates a query and {depth:,} were asked for: the CPU searched"
    return True, None


def top_k(
    queries: VectorRows,
    passages: VectorRows,
    k: int,
    *,
    count: int | None = None,
    use_gpu: bool = False,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Floats, Ids]:
    """Return the k passages with the highest inner product for each query, best first.

    Args:
        queries: (m, d) float, finite.
        passages: (n, d) float, finite; arrays, memory-mapped ones, or rows with `blocks` (see `vectors.similarity`).
        k: how many; all where there are fewer.
        count: only the first so many passages are ranked; None ranks all.
        use_gpu: search on the first GPU; the caller checks `gpu_count()`. Where more than 2,048 candidates are needed
            the CPU takes over.
        memory_budget: bytes for the working arrays, without vectors and results in memory; None takes a quarter of the
            free memory, at most 1 GiB.

    Returns:
        scores (m, min(k, n)) float32 descending, ids (m, min(k, n)) int32; equal scores in ascending id.

    Raises:
        SettingsError: k is below 1, or the budget too small.
        EncodeError: the vectors' dimensions differ, or one is not finite.
        Cancelled: `should_stop` returned True; called once a block.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; at least 1 passage a query must be ranked")
    _check_dimensions(queries, passages)
    count = len(passages) if count is None else min(count, len(passages))
    k = min(k, count)
    on_gpu = use_gpu and min(k + SLACK, count) <= GPU_K_LIMIT
    plan = _plan(queries.shape[1], k, memory_budget, on_gpu)
    scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32)
    progress = _Progress(count, on_progress, should_stop, len(queries))
    for start in range(0, len(queries) if k else 0, plan.group):
        group = slice(start, min(start + plan.group, len(queries)))
        progress.until = group.stop
        vectors = np.ascontiguousarray(queries[group], np.float32)
        search = _Search(vectors, _lengths(vectors), passages, k, count, plan, progress)
        scores[group], ids[group] = search.run(on_gpu)
        progress.report(group.stop)
    return scores, ids


class PassageIndex:
    """A FAISS index over passages for many searches, on the first GPU where FAISS finds one.

    The index holds its own copy of the vectors, 4 bytes a number. It may be used from several threads.
    """

    def __init__(self, passages: VectorRows, count: int | None = None) -> None:
        """Copy the first `count` passages, (n, d) float, into the index; None takes all.

        Raises:
            EncodeError: a vector is not finite.
        """
        faiss = load_faiss()
        self._passages = passages
        self._count = len(passages) if count is None else min(count, len(passages))
        self._longest = 0.0
        index = faiss.IndexFlatIP(passages.shape[1])
        ids = [np.zeros(0, np.int64)]
        for block_ids, vectors in walk(passages, PASSAGE_BLOCK, self._count):
            self._longest = max(self._longest, _lengths(vectors).max(initial=0.0))
            index.add(vectors)
            ids.append(block_ids)
        self._ids = np.concatenate(ids)  # rows may be read in another order than that of their ids
        self._on_gpu = gpu_count() > 0
        if self._on_gpu:
            with _gpu_lock:
                index = faiss.index_cpu_to_gpu(_resources(), 0, index)
        self._index = index

    @property
    def nbytes(self) -> int:
        """The bytes of the vectors in the index."""
        return self._count * int(self._passages.shape[1]) * 4

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """Return what `top_k` returns, the same bits.

        Raises:
            SettingsError: k is below 1.
            EncodeError: the vectors' dimensions differ, or one is not finite.
        """
        depth = min(k + SLACK, self._count)
        if k < 1 or not self._count or (self._on_gpu and depth > GPU_K_LIMIT):
            return top_k(queries, self._passages, k, count=self._count)
        _check_dimensions(queries, self._passages)
        queries, k = np.ascontiguousarray(queries, np.float32), min(k, self._count)
        plan = _plan(queries.shape[1], k, None, self._on_gpu)
        search = _Search(queries, _lengths(queries), self._passages, k, self._count, plan, _Progress())
        if self._on_gpu:
            with _gpu_lock:
                found, places = self._index.search(queries, depth)
        else:
            found, places = self._index.search(queries, depth)
        return search.proven(found, self._ids[places].astype(np.int32), self._longest)


def _check_dimensions(queries: VectorRows, passages: VectorRows) -> None:
    if queries.shape[1] != passages.shape[1]:
        raise EncodeError(f"queries have {queries.shape[1]} dimensions and passages {passages.shape[1]}; both must come from one model")


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many queries share one reading of the passages; how many queries and passages one call of FAISS takes."""

    group: int
    queries: int
    passages: int


def _plan(dimension: int, k: int, budget: int | None, on_gpu: bool) -> _Plan:
    """Return the largest blocks that the budget has room for.

    Raises:
        SettingsError: it has no room for the smallest.
    """
    if budget is None:
        budget = min(available() // 4, DEFAULT_BUDGET)
    queries, passages = (QUERY_BLOCK_GPU, PASSAGE_BLOCK_GPU) if on_gpu else (QUERY_BLOCK, PASSAGE_BLOCK)
    # In bytes, at most. Memory of the device is not counted.
    a_query, a_passage = 8 * dimension + 100 * (k + SLACK), 8 * dimension
    fixed = 5 * SCORES + 2**23 + threads() * 32 * CHUNK
    while passages * a_passage > (budget - fixed) // 2 and passages > LEAST_BLOCK:
        passages //= 2
    blocks = fixed + passages * a_passage
    if budget < blocks + a_query:
        raise SettingsError(
            f"the memory budget is {in_words(budget)}; to search for the {k:,} nearest of vectors of {dimension:,} dimensions, "
            f"give it at least {blocks + a_query:,} bytes"
        )
    group = (budget - blocks) // a_query
    return _Plan(group, min(queries, group), passages)


class _Progress:
    """Progress in queries, from the part of the pairs that is scored."""

    def __init__(
        self, passages: int = 1, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None, queries: int = 0
    ) -> None:
        self._passages, self._queries = passages, queries
        self._on_progress, self._should_stop = on_progress, should_stop
        self._pairs = 0
        self.until = 0

    def check(self) -> None:
        """Raise Cancelled if a stop is requested."""
        check_cancelled(self._should_stop)

    def scored(self, pairs: int) -> None:
        """Count pairs; the last ones of a group are reported when its result is there."""
        self._pairs += pairs
        done = self._pairs // self._passages
        if done < self.until:
            self.report(done)

    def report(self, done: int) -> None:
        """Report how many queries are done."""
        if self._on_progress is not None:
            self._on_progress(done, self._queries, "searching")


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the k best of the first `count` passages for (m, d) queries that fit into the memory budget."""

    queries: Floats
    lengths: Doubles
    passages: VectorRows
    k: int
    count: int
    plan: _Plan
    progress: _Progress

    def run(self, on_gpu: bool) -> tuple[Floats, Ids]:
        """Return scores and ids, (m, k) each."""
        depth = min(self.k + SLACK, self.count)
        scores = np.full((len(self.queries), depth), -np.inf, np.float32)
        ids = np.zeros(scores.shape, np.int32)
        longest = 0.0
        # The GPU gets a whole array at once: it has memory for more than a block.
        size = self.count if on_gpu and in_memory(self.passages) else self.plan.passages
        for block_ids, vectors in walk(self.passages, size, self.count):
            longest = max(longest, _lengths(vectors).max(initial=0.0))
            for start in range(0, len(self.queries), self.plan.queries):
                self.progress.check()
                rows = slice(start, start + self.plan.queries)
                found, places = _knn(self.queries[rows], vectors, min(depth, len(vectors)), on_gpu)
                found_ids = block_ids[places].astype(np.int32)
                if len(vectors) < self.count:
                    found, found_ids = np.concatenate([scores[rows], found], 1), np.concatenate([ids[rows], found_ids], 1)
                    best = np.argpartition(found, -depth, axis=1)[:, -depth:]
                    found, found_ids = np.take_along_axis(found, best, 1), np.take_along_axis(found_ids, best, 1)
                scores[rows], ids[rows] = found, found_ids
                self.progress.scored(len(found) * len(vectors))
        return self.proven(scores, ids, longest)

    def proven(self, found: Floats, found_ids: Ids, longest: float) -> tuple[Floats, Ids]:
        """Return the exact k best, given the best (m, k + SLACK) in float32 and the length of the longest passage."""
        # Of float32 sums, in any order (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Twice that, and
        # a few units more for the rounding of the exact score.
        error = 2 * (self.queries.shape[1] + 4) * 2.0**-24 * self.lengths * longest + TINY
        scores, ids = best_of(ranked_scores(self.queries, self.passages, found_ids), found_ids, self.k)
        if found.shape[1] < self.count:
            # A passage that FAISS left out scores at most as high as the last one found, within the error.
            unsure = np.flatnonzero(scores[:, -1] - found.min(axis=1) <= error)
            if len(unsure):
                self._finish(unsure, scores, ids, error)
        return scores, ids

    def _finish(self, unsure: npt.NDArray[np.int64], scores: Floats, ids: Ids, error: Doubles) -> None:
        """Score exactly all passages that reach the k-th best exact score within the error; write the k best in place."""
        floor = np.nextafter((scores[unsure, -1] - error[unsure]).astype(np.float32), np.float32(-np.inf))
        scores[unsure] = -np.inf
        for block_ids, vectors in walk(self.passages, self.plan.passages, self.count):
            step = max(1, SCORES // len(vectors))
            for start in range(0, len(unsure), step):
                self.progress.check()
                part = slice(start, start + step)
                reaching = self.queries[unsure[part]] @ vectors.T >= floor[part, None]
                for row, hits in zip(unsure[part], reaching, strict=True):
                    places = np.flatnonzero(hits)[None]
                    exact = ranked_scores(self.queries[row : row + 1], vectors, places)
                    both = np.concatenate([scores[None, row], exact], 1), np.concatenate([ids[None, row], block_ids[places]], 1)
                    scores[row], ids[row] = (best[0] for best in best_of(*both, self.k))


def _lengths(vectors: Floats) -> Doubles:
    """Return upper bounds of the lengths of vectors.

    Raises:
        EncodeError: a vector is not finite, or too long for products in float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths: Doubles = GENEROUS * np.sqrt(np.vecdot(vectors, vectors).astype(np.float64))
    if not (lengths < LONGEST).all():
        raise EncodeError(f"vector {np.flatnonzero(~(lengths < LONGEST))[0]} of a block is not finite, or longer than {LONGEST:.0e}")
    return lengths


def _resources() -> Any:
    """Return the process's GPU resources; the caller holds the lock."""
    global _gpu_resources
    if _gpu_resources is None:
        _gpu_resources = load_faiss().StandardGpuResources()
    return _gpu_resources


def _knn(queries: Floats, passages: Floats, depth: int, on_gpu: bool) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return float32 scores and places of the `depth` best passages of each query, (m, depth) each."""
    faiss = load_faiss()
    if not on_gpu:
        scores, places = faiss.knn(queries, passages, depth, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        with _gpu_lock:
            scores, places = faiss.knn_gpu(_resources(), queries, passages, depth, metric=faiss.METRIC_INNER_PRODUCT, device=0)
    return scores, places


def best_of(scores: Floats, ids: npt.NDArray[Any], k: int) -> tuple[Floats, Ids]:
    """Return the k best columns of each row, (r, k) each: descending scores, equal ones in ascending id."""
    # One integer of score and id, ascending where scores descend and then by id: one plain sort orders both.
    bits = (scores + np.float32(0)).view(np.int32)  # without the negative zero
    keys: Keys = (~_in_order(bits).astype(np.int64) << 32) | ids
    keys = np.sort(keys, axis=1)[:, :k]
    return _in_order(~(keys >> 32).astype(np.int32)).view(np.float32), (keys & 0xFFFFFFFF).astype(np.int32)


def _in_order(bits: Ids) -> Ids:
    """Turn the bits of floats into integers of the same order, or back."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
