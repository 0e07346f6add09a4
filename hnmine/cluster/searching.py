"""Search by blocks of passages: what a worker does with one block, and how the driver merges. Nothing here knows a cluster.

A block is searched exactly, with scores in float64 rounded once, so a score does not depend on its block. The best of all blocks by score
and then by passage id are those of one search over all passages, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hnmine.retrieval.search import best_of, gpu_count, top_k
from hnmine.vectors.similarity import Floats, Ids, VectorRows, walk

__all__ = ["BlockSearcher", "Found", "Merged", "PassageBlock", "block_rows", "passage_blocks", "query_blocks"]

# Of the passages of a task, which takes a core a few seconds, and of a GPU's: with more blocks the driver, which merges what each finds, is
# slower than 8 GPUs (benchmarks/cluster_simulation.py). Passages are sent once for all queries.
BLOCK_BYTES, BLOCK_BYTES_GPU, QUERIES = 2**26, 2**30, 8_192


@dataclass(frozen=True, slots=True)
class PassageBlock:
    """Passages: their ids (b,) int32, ascending, and their vectors (b, d) float32."""

    ids: Ids
    vectors: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """The best of a passage block for a query block: its number, the number of passages, scores and ids (m, k)."""

    queries: int
    passages: int
    scores: Floats
    ids: Ids


def block_rows(passages: VectorRows, *, use_gpu: bool) -> int:
    """Return the most passages of a block."""
    return max(1, (BLOCK_BYTES_GPU if use_gpu else BLOCK_BYTES) // (4 * max(1, passages.shape[1])))


def passage_blocks(passages: VectorRows, count: int, size: int) -> Iterator[PassageBlock]:
    """Yield the first `count` passages in the order of their files, each once, at most `size` at a time."""
    for ids, vectors in walk(passages, size, count):
        order = np.argsort(ids)  # equal scores break ties by place, so places must be in the order of ids
        yield PassageBlock(ids[order].astype(np.int32), vectors[order])


def query_blocks(queries: VectorRows) -> list[Floats]:
    """Return all queries, at most QUERIES in a block, as float32."""
    return [np.ascontiguousarray(queries[start : start + QUERIES], np.float32) for start in range(0, len(queries), QUERIES)]


class BlockSearcher:
    """A worker that searches; `use_gpu` where it has one."""

    def __init__(self, use_gpu: bool) -> None:
        self._use_gpu = use_gpu

    def search(self, number: int, queries: Floats, passages: PassageBlock, k: int, memory_budget: int | None) -> Found:
        """Return the min(k, b) best passages of a block for query block `number`."""
        on_gpu = self._use_gpu and gpu_count() > 0
        scores, places = top_k(queries, passages.vectors, k, use_gpu=on_gpu, memory_budget=memory_budget)
        return Found(number, len(passages.ids), scores, passages.ids[places])


class Merged:
    """The k best passages of each query so far, from results in any order."""

    def __init__(self, sizes: list[int], k: int) -> None:
        """Take the number of queries in each block."""
        self._k = k
        self._found = [(np.empty((size, 0), np.float32), np.empty((size, 0), np.int32)) for size in sizes]

    def add(self, found: Found) -> None:
        """Take the result of a query block and a passage block."""
        scores, ids = self._found[found.queries]
        both = np.concatenate([scores, found.scores], 1), np.concatenate([ids, found.ids], 1)
        self._found[found.queries] = best_of(*both, self._k)

    def result(self) -> tuple[Floats, Ids]:
        """Return scores and ids of all queries, (m, k)."""
        return np.concatenate([scores for scores, _ in self._found]), np.concatenate([ids for _, ids in self._found])
