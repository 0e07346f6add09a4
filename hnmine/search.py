"""Exact inner-product top-k with FAISS, on the CPU or the GPU, with scores that do not depend on who computed them.

FAISS finds k + SLACK candidates a query in float32; their scores are then computed again pair by pair in float64 and
rounded to float32. A pair's score so depends on its two vectors alone: not on the block it was in, the number of
threads, or CPU against GPU (whose float16 storage flips near ties). Where the candidates behind k come so close to the
k-th that float32 could have mistaken them, that query is searched again, deeper, until the gap is beyond any rounding
error. Ties break by passage id, which is the order of the text hash.

One call takes thousands of queries: for 2,000 queries x 100,000 passages `faiss.knn` in one call takes 1.2 s, the loop
of 64 of hn_mine.py 10.4 s. The second scoring adds about 0.1 ms a query at k = 210.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.errors import EncodeError, SettingsError
from hnmine.progress import OnProgress, ShouldStop, check

__all__ = ["GPU_K_LIMIT", "SLACK", "gpu_count", "pair_scores", "top_k"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

GPU_K_LIMIT = 2_048  # beyond it knn_gpu aborts the whole process, so it must never be asked
SLACK = 16
QUERY_BLOCK = 4_096
QUERY_BLOCK_GPU = 65_536  # knn_gpu copies the passages to the device at each call, so it gets few and large ones
# Candidates held at a time: 32 million ids and scores are 400 MB.
RESULT_BLOCK = 32_000_000
# Rows of vectors gathered at a time when pairs are scored again: 16,384 x 384 float64 is 50 MB.
PAIR_BLOCK = 16_384

# FAISS' GPU objects are not safe for several threads, and misuse aborts: one at a time, one resources object a process.
_gpu_lock = threading.Lock()
_gpu_resources: Any = None


def gpu_count() -> int:
    """Return how many GPUs FAISS can use; 0 with the CPU build or without a device."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def pair_scores(queries: Floats, query_ids: Ids, passages: Floats, passage_ids: Ids) -> Floats:
    """Return the inner products of pairs, computed in float64.

    Args:
        queries: (m, d) float32. passages: (n, d) float32; both may be memory-mapped.
        query_ids, passage_ids: (p,) integers into them.

    Returns:
        (p,) float32.
    """
    scores = np.empty(len(query_ids), dtype=np.float32)
    for start in range(0, len(query_ids), PAIR_BLOCK):
        block = slice(start, start + PAIR_BLOCK)
        left, right = queries[query_ids[block]], passages[passage_ids[block]]
        scores[block] = np.einsum("ij,ij->i", left, right, dtype=np.float64, casting="same_kind")
    return scores


def top_k(
    queries: Floats,
    passages: Floats,
    k: int,
    *,
    use_gpu: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Floats, Ids]:
    """Return the k passages with the highest inner product for each query, best first.

    Args:
        queries: (m, d) float32, finite.
        passages: (n, d) float32, finite.
        k: how many; more than n gives n.
        use_gpu: search on the first GPU; the caller has checked `gpu_count()`. Where more than 2,048 candidates are needed
            the CPU takes over.

    Returns:
        scores (m, min(k, n)) float32 descending, ids (m, min(k, n)) int32; equal scores in ascending id.

    Raises:
        SettingsError: k is below 1.
        EncodeError: the vectors' dimensions differ.
        Cancelled: `should_stop` said so; asked once a block.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; at least 1 passage a query must be ranked")
    if queries.shape[1] != passages.shape[1]:
        raise EncodeError(f"queries have {queries.shape[1]} dimensions and passages {passages.shape[1]}; both must come from one model")
    count, total = len(passages), len(queries)
    k = min(k, count)
    scores = np.empty((total, k), dtype=np.float32)
    ids = np.empty((total, k), dtype=np.int32)
    # The error of a float32 inner product is at most d * 2^-24 * |q| |p|; twice that separates two scores for certain.
    bound = 2 * queries.shape[1] * 2.0**-24 * _longest(queries) * _longest(passages)
    size = QUERY_BLOCK_GPU if use_gpu else QUERY_BLOCK
    for start in range(0, total, size):
        check(should_stop)
        pending = np.arange(start, min(start + size, total))
        depth = min(k + SLACK, count)
        while len(pending):
            unsure: list[npt.NDArray[np.int64]] = []
            # Deeper rounds take fewer queries at a time: many equal vectors (texts cut at the same tokens) can lead far down.
            piece = max(1, min(size, RESULT_BLOCK // depth))
            for first in range(0, len(pending), piece):
                check(should_stop)
                part = pending[first : first + piece]
                block = np.ascontiguousarray(queries[part])
                found = _faiss_ids(block, passages, depth, use_gpu)
                owners = np.repeat(np.arange(len(block), dtype=np.int32), depth)
                exact = pair_scores(block, owners, passages, found.ravel()).reshape(found.shape)
                order = np.lexsort((found, -exact))
                found, exact = np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1)
                # What FAISS left out scores at most as the last it kept, give or take the bound.
                sure = np.full(len(part), depth == count) | (exact[:, k - 1] - exact[:, -1] > bound)
                scores[part[sure]], ids[part[sure]] = exact[sure, :k], found[sure, :k]
                unsure.append(part[~sure])
            pending, depth = np.concatenate(unsure), min(depth * 2, count)
        if on_progress is not None:
            on_progress(min(start + size, total), total, "searching")
    return scores, ids


def _longest(vectors: Floats) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0.0)))


def _faiss_ids(queries: Floats, passages: Floats, depth: int, use_gpu: bool) -> Ids:
    import faiss

    passages = np.ascontiguousarray(passages)
    if use_gpu and depth <= GPU_K_LIMIT:
        global _gpu_resources
        with _gpu_lock:
            if _gpu_resources is None:
                _gpu_resources = faiss.StandardGpuResources()
            _, found = faiss.knn_gpu(_gpu_resources, queries, passages, depth, metric=faiss.METRIC_INNER_PRODUCT, device=0)
    else:
        _, found = faiss.knn(queries, passages, depth, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found, dtype=np.int32)
