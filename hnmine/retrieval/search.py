"""Exact inner-product top-k on the CPU or the GPU, with scores that do not depend on who computed them.

A fast first pass over blocks of queries x blocks of passages collects every passage that could be among a query's k best
(`firstpass`, `candidates`); their scores are then computed again pair by pair in float64 and rounded to float32 (`pairs`).
A pair's score so depends on its two vectors alone: not on block sizes, threads, the type of the first pass, or CPU against
GPU. Nothing is approximate: what the first pass leaves out is ruled out by a bound on its error. Ties break by passage id,
which is the order of the text hash.

Each block of passages is read once for as many queries as the memory budget has room for, so a memory-mapped corpus of
1,000,000 x 384 (1.5 GB) is searched with 1,000 queries in 0.3 GB of resident memory, 1.2 GB with torch and bfloat16. 2,000
queries x 100,000 passages, k = 210, take about an eighth of the time of the loop of 64 of hn_mine.py with bfloat16 and a
sixth with float32 (two busy cores, both sides in turn).

On a GPU, FAISS finds k + SLACK candidates a block, scored again in the same way; a query whose last candidates come so close
to its k-th best that float32 could have mistaken them is searched again, deeper.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hnmine.core.errors import EncodeError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, check
from hnmine.core.sizes import available, in_words
from hnmine.retrieval.candidates import PIECE, SCAN, Candidates, best_of, room_for
from hnmine.retrieval.firstpass import FirstPass, Product, kind_of
from hnmine.vectors.similarity import CHUNK, Floats, Ids, VectorRows, in_memory, pair_scores, threads, walk

__all__ = ["GPU_K_LIMIT", "SLACK", "VectorRows", "gpu_count", "pair_scores", "top_k"]

GPU_K_LIMIT = 2_048  # beyond it knn_gpu aborts the whole process, so it must never be asked
SLACK = 16
Kind = Callable[[Floats, int], Product]

# Passages and queries multiplied at a time: larger is no faster, and these scores (32 MB in bfloat16) just about stay in cache.
PASSAGE_BLOCK = 8_192
QUERY_BLOCK = 2_048
QUERY_BLOCK_GPU = 65_536  # knn_gpu copies the passages to the device at each call, so it gets few and large ones
LEAST_BLOCK = 512
DEFAULT_BUDGET = 2**30

# FAISS' GPU objects are not safe for several threads, and misuse aborts: one at a time, one resources object a process.
_gpu_lock = threading.Lock()
_gpu_resources: Any = None


def gpu_count() -> int:
    """Return how many GPUs FAISS can use; 0 with the CPU build or without a device."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def top_k(
    queries: VectorRows,
    passages: VectorRows,
    k: int,
    *,
    count: int | None = None,
    use_gpu: bool = False,
    memory_budget: int | None = None,
    first_pass: FirstPass = "auto",
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Floats, Ids]:
    """Return the k passages with the highest inner product for each query, best first.

    Args:
        queries: (m, d) float, finite.
        passages: (n, d) float, finite; arrays, memory-mapped ones, or rows with `blocks` (see `pairs.VectorBlocks`).
        k: how many; more than there are gives all.
        count: only the first so many passages are ranked; None ranks all.
        use_gpu: search on the first GPU; the caller has checked `gpu_count()`. Where more than 2,048 candidates are needed
            the CPU takes over.
        memory_budget: bytes for the working arrays, vectors and results in memory not counted; None takes a quarter of what
            is free, at most 1 GiB, which is more than enough to be fast.
        first_pass: the type of the first pass on the CPU: "float32", "bfloat16", or "auto", the faster one. It changes no
            bit of the result.

    Returns:
        scores (m, min(k, n)) float32 descending, ids (m, min(k, n)) int32; equal scores in ascending id.

    Raises:
        SettingsError: k is below 1, or the budget too small.
        EncodeError: the vectors' dimensions differ, or one is not finite.
        Cancelled: `should_stop` said so; asked once a block.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; at least 1 passage a query must be ranked")
    if queries.shape[1] != passages.shape[1]:
        raise EncodeError(f"queries have {queries.shape[1]} dimensions and passages {passages.shape[1]}; both must come from one model")
    count = len(passages) if count is None else min(count, len(passages))
    k = min(k, count)
    on_gpu = use_gpu and min(k + SLACK, count) <= GPU_K_LIMIT
    plan = _plan(queries.shape[1], k, memory_budget, on_gpu)
    if on_gpu and in_memory(passages):
        plan = replace(plan, passages=max(count, 1))
    kind = kind_of(float(len(queries)) * count * queries.shape[1], first_pass)
    scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32)
    told = _Told(count, on_progress, should_stop, len(queries))
    for start in range(0, len(queries) if k else 0, plan.group):
        group = slice(start, min(start + plan.group, len(queries)))
        vectors = np.ascontiguousarray(queries[group], np.float32)
        told.until = group.stop
        find = _on_gpu if on_gpu else _on_cpu
        scores[group], ids[group] = find(vectors, passages, k, count, plan, kind, told)
        told.tell(group.stop)
    return scores, ids


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many queries share one reading of the passages; how many queries and passages are multiplied at a time."""

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
    queries, passages = (QUERY_BLOCK_GPU, 2**22) if on_gpu else (QUERY_BLOCK, PASSAGE_BLOCK)
    # In bytes, at worst. A pair on the device is no concern of the host's.
    a_query = 6 * dimension + (80 * (k + SLACK) if on_gpu else 8 * room_for(k))
    a_passage, a_pair = 10 * dimension, 0 if on_gpu else 4
    fixed = 60 * PIECE + threads() * (45 * SCAN + 32 * CHUNK)
    while passages * (a_passage + queries * a_pair) > (budget - fixed) // 2 and passages > LEAST_BLOCK:
        queries, passages = max(queries // 2, min(queries, LEAST_BLOCK)), passages // 2
    blocks = fixed + passages * (a_passage + queries * a_pair)
    if budget < blocks + a_query:
        raise SettingsError(
            f"the memory budget is {in_words(budget)}; to search for the {k:,} nearest of vectors of {dimension:,} dimensions, "
            f"give it at least {blocks + a_query:,} bytes"
        )
    group = (budget - blocks) // a_query
    return _Plan(group, min(queries, group), passages)


class _Told:
    """Progress in queries: of all of them, the part that is the share of the pairs scored so far."""

    def __init__(self, passages: int, on_progress: OnProgress | None, should_stop: ShouldStop | None, queries: int) -> None:
        self._passages, self._queries = passages, queries
        self._on_progress, self._should_stop = on_progress, should_stop
        self._pairs = 0
        self.until = 0

    def ask(self) -> None:
        """Raise Cancelled when somebody asked to stop."""
        check(self._should_stop)

    def scored(self, pairs: int) -> None:
        """Count pairs; the last ones of a group are told of when its result is there."""
        self._pairs += pairs
        done = self._pairs // self._passages
        if done < self.until:
            self.tell(done)

    def tell(self, done: int) -> None:
        """Say how many queries are done."""
        if self._on_progress is not None:
            self._on_progress(done, self._queries, "searching")


def _on_cpu(queries: Floats, passages: VectorRows, k: int, count: int, plan: _Plan, kind: Kind, told: _Told) -> tuple[Floats, Ids]:
    product = kind(queries, min(plan.queries, len(queries)) * min(plan.passages, count))
    candidates = Candidates(queries, passages, k, product)
    with ThreadPoolExecutor(threads()) as pool:
        for ids, vectors in walk(passages, plan.passages, count):
            candidates.expect(product.load(vectors))
            step = max(1, SCAN // max(len(ids), room_for(k)))
            for start in range(0, len(queries), plan.queries):
                told.ask()
                raw = product.scores(slice(start, start + plan.queries))
                parts = range(0, len(raw), step)
                offered = [pool.submit(candidates.offer, start + part, raw[part : part + step], ids) for part in parts]
                for each in offered:
                    each.result()
                told.scored(raw.size)
    return candidates.best()


def _on_gpu(queries: Floats, passages: VectorRows, k: int, count: int, plan: _Plan, kind: Kind, told: _Told) -> tuple[Floats, Ids]:
    scores, ids = np.full((len(queries), k), -np.inf, np.float32), np.zeros((len(queries), k), np.int32)
    for block_ids, vectors in walk(passages, plan.passages, count):
        # The error of a float32 inner product is at most d * 2^-24 * |q| |p|; twice that separates two scores for certain.
        bound = 2 * queries.shape[1] * 2.0**-24 * _longest(queries) * _longest(vectors)
        for start in range(0, len(queries), plan.queries):
            pending = np.arange(start, min(start + plan.queries, len(queries)))
            pairs = len(pending) * len(vectors)
            depth = min(k + SLACK, len(vectors))
            while len(pending):
                told.ask()
                sure = np.ones(len(pending), np.bool_)
                if depth <= GPU_K_LIMIT:
                    found = _knn_gpu(queries[pending], vectors, depth)
                    exact = pair_scores(queries, np.repeat(pending, depth), vectors, found.ravel()).reshape(found.shape)
                else:
                    silent = _Told(len(vectors), None, None, len(pending))
                    exact, found = _on_cpu(queries[pending], vectors, min(k, len(vectors)), len(vectors), plan, kind, silent)
                both = np.concatenate([scores[pending], exact], 1), np.concatenate([ids[pending], block_ids[found]], 1)
                best, best_ids = best_of(*both, k)
                if depth <= min(GPU_K_LIMIT, len(vectors) - 1):
                    # What FAISS left out scores at most as the last it kept, give or take the bound.
                    sure = best[:, -1] - exact.min(axis=1) > bound
                scores[pending[sure]], ids[pending[sure]] = best[sure], best_ids[sure]
                pending, depth = pending[~sure], min(depth * 2, len(vectors))
            told.scored(pairs)
    return scores, ids


def _longest(vectors: Floats) -> float:
    return float(np.sqrt(np.vecdot(vectors, vectors).max(initial=0.0)))


def _knn_gpu(queries: Floats, passages: Floats, depth: int) -> Ids:
    import faiss

    global _gpu_resources
    with _gpu_lock:
        if _gpu_resources is None:
            _gpu_resources = faiss.StandardGpuResources()
        _, found = faiss.knn_gpu(_gpu_resources, queries, passages, depth, metric=faiss.METRIC_INNER_PRODUCT, device=0)
    return np.asarray(found, dtype=np.int32)
