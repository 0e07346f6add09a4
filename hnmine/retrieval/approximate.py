"""Approximate search with FAISS: an index scores a part of the passages, and its recall is measured on the run's own queries.

Scores are the same bits as in exact search; only candidates can be missing. The setting that trades time for recall is raised on one half
of a sample of the queries until RECALL_GOAL is reached; the recall that is reported is that of the other half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, SettingsError
from hnmine.core.files import available, in_words
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.retrieval.search import SLACK, gpu_count, load_faiss, top_k
from hnmine.vectors.similarity import Floats, Ids, VectorRows, ranked_scores, release_pages

__all__ = ["BUILDING", "INDEXES", "RECALL_GOAL", "IndexName", "IndexedSearch", "build_work", "chosen_index", "search_work"]

IndexName = Literal["exact", "ivf", "hnsw", "cagra"]
INDEXES: tuple[IndexName, ...] = get_args(IndexName)

BUILDING, MEASURING = "building the index", "measuring recall"
RECALL_GOAL = 0.99
# Queries whose exact neighbours are searched too: half of them choose the setting, half measure.
SAMPLE = 400
# Growth of the setting from one try to the next.
GROWTH = 1.25
# Passages added, and queries searched, between two reports and stop checks. Fixed: a graph depends on how it was divided.
PASSAGE_BLOCK, QUERY_BLOCK = 65_536, 1_024
# Passages of each list that train it, and rounds of k-means.
TRAINING, ROUNDS = 40, 10
# Neighbours of a passage in a graph; candidates while one is added; the largest efSearch over the number of candidates.
LINKS, BREADTH, WIDEST = 32, 64, 64

# What one step costs, in inner products of exact search: a passage of a list that is searched, a passage added to a graph, a candidate
# of a graph that is visited (benchmarks/search.py).
SCANNED, LINKED, VISITED = 10, 25_000, 200


class _Index(Protocol):
    """A FAISS index with one setting that trades time for recall."""

    setting: str
    smallest: int
    largest: int

    def build(self, passages: VectorRows, tell: OnProgress, should_stop: ShouldStop | None) -> dict[str, int]:
        """Add the first passages; return the other settings, for the report."""

    def search(self, queries: Floats, depth: int, value: int) -> npt.NDArray[np.int64]:
        """Return the ids of candidates, (m, depth); -1 where there are fewer."""


def chosen_index(name: IndexName) -> IndexName:
    """Return the name of an index.

    Raises:
        SettingsError: it is unknown.
    """
    if name not in INDEXES:
        raise SettingsError(f"index is {name!r}; it is one of: {', '.join(INDEXES)}")
    return name


def build_work(index: IndexName, passages: int) -> float:
    """Return what building takes, measuring included, in inner products of exact search (expected; 0 for "exact" and "cagra")."""
    lists = _lists(passages)
    if index == "ivf":
        return passages * (SAMPLE + lists) + ROUNDS * TRAINING * lists**2
    return passages * (SAMPLE + LINKED) if index == "hnsw" else 0.0


def search_work(index: IndexName, passages: int, value: int) -> float:
    """Return what the search for one query takes with a setting, in inner products of exact search (expected)."""
    if index == "ivf":
        return min(passages, _lists(passages) + SCANNED * passages * value / _lists(passages))
    return min(passages, VISITED * value) if index == "hnsw" else float(passages)


class IndexedSearch:
    """Searches exactly, or with an index of one kind, which is built once for each model's vectors.

    Attributes:
        reports: by the name of the vectors: "index", its settings, "recall" (0 to 1), its "goal", "depth", and "queries" that measured it.
    """

    def __init__(self, index: IndexName, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> None:
        """Take the kind of index; nothing is built yet. `on_progress` gets the stages before the search.

        Raises:
            SettingsError: "cagra", and FAISS lacks it or finds no GPU.
        """
        self._kind = index
        self._tell: OnProgress = on_progress or (lambda done, total, note, /: None)
        self._should_stop = should_stop
        self._built: dict[str, tuple[_Index, int]] = {}
        self._searched: dict[str, tuple[int, int]] = {}  # queries, passages
        self.reports: dict[str, dict[str, Any]] = {}
        if index == "cagra":
            _check_cagra()

    def searcher(self, name: str) -> Callable[..., tuple[Floats, Ids]]:
        """Return the search for the vectors of a model by its name: `search.top_k`, or another with its arguments."""
        return top_k if self._kind == "exact" else partial(self._top_k, name)

    def _top_k(
        self,
        name: str,
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
        """Return about what `search.top_k` returns. The first call for a `name` builds the index of its passages and measures the recall.

        `use_gpu` and `memory_budget` are for the exact search of the sample. A query for which the
        index finds fewer than k passages is searched exactly.

        Raises:
            SettingsError: k is below 1, or the index does not fit into the free memory.
            EncodeError: the vectors' dimensions differ, or one is not finite.
            Cancelled: `should_stop` returned True; called once a block.
        """
        count = len(passages) if count is None else min(count, len(passages))
        exact: dict[str, Any] = {"count": count, "use_gpu": use_gpu, "memory_budget": memory_budget, "should_stop": should_stop}
        if k < 1 or not count or not len(queries):
            return top_k(queries, passages, k, **exact)
        k = min(k, count)
        if name not in self._built:
            # Of the queries in canonical order, which is that of a hash.
            sample = np.unique(np.arange(SAMPLE) * len(queries) // SAMPLE)
            taken = np.ascontiguousarray(queries[sample], np.float32)
            # First, because it checks every passage.
            floor = top_k(taken, passages, k, **exact, on_progress=lambda done, total, _, /: self._tell(done, total, MEASURING))[0][:, -1]
            self._build(name, taken, floor, passages, k, count)
        index, value = self._built[name]
        self._searched[name] = self._searched.get(name, (0, 0))[0] + len(queries), count
        scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32)
        for start in range(0, len(queries), QUERY_BLOCK):
            check_cancelled(should_stop)
            rows = slice(start, start + QUERY_BLOCK)
            block = np.ascontiguousarray(queries[rows], np.float32)
            if not np.isfinite(block).all():
                raise EncodeError(f"a query of {start:,} to {start + len(block) - 1:,} has a vector that is not finite")
            scores[rows], ids[rows] = _candidates(index, value, block, passages, k, count)
            if len(short := np.flatnonzero(ids[rows][:, -1] < 0)):
                scores[start + short], ids[start + short] = top_k(block[short], passages, k, **exact)
            if on_progress is not None:
                on_progress(start + len(block), len(queries), "searching")
        return scores, ids

    def _build(self, name: str, sample: Floats, floor: Floats, passages: VectorRows, k: int, count: int) -> None:
        """Build the index, choose its setting on the even queries of the sample, and measure it on the odd ones.

        `floor` (s,) float32: the exact k-th best score of each query of the sample.
        """
        index = _INDEXES[self._kind](sample.shape[1], count, min(k + SLACK, count))
        settings = index.build(passages, self._tell, self._should_stop)
        chosen = slice(0, None, 2)
        measured = slice(1, None, 2) if len(sample) > 1 else chosen

        def recall(part: slice) -> float:
            check_cancelled(self._should_stop)
            found = _candidates(index, value, sample[part], passages, k, count)[0]
            return float((found >= floor[part, None]).mean())

        value, tries = index.smallest, 0
        while recall(chosen) < RECALL_GOAL and value < index.largest:
            value, tries = min(math.ceil(GROWTH * value), index.largest), tries + 1
            self._tell(tries, 0, MEASURING)
        self._built[name] = index, value
        self.reports[name] = {
            "index": self._kind,
            **settings,
            index.setting: value,
            "recall": round(recall(measured), 4),
            "goal": RECALL_GOAL,
            "depth": k,
            "queries": len(sample[measured]),
        }

    @property
    def notes(self) -> list[str]:
        """The reports in sentences, and what a user should change."""
        notes = []
        for name, report in self.reports.items():
            (queries, passages), (index, value) = self._searched[name], self._built[name]
            settings = ", ".join(f"{each} {report[each]:,}" for each in ("lists", "links", index.setting) if each in report)
            whose = "" if name == "model" else f" of the {name.replace('_', ' ')}"
            found = math.floor(1_000 * report["recall"]) / 10
            notes.append(
                f"approximate search: the index {self._kind}{whose} finds {found}% of the {report['depth']:,} nearest passages "
                f"(recall on {report['queries']:,} of the queries; {settings})"
                + (f", below the goal of {RECALL_GOAL:.0%}: the index exact finds all" if report["recall"] < RECALL_GOAL - 0.01 else "")
            )
            work = build_work(self._kind, passages) + queries * search_work(self._kind, passages, value)
            if self._kind != "cagra" and work >= queries * passages:
                notes.append(
                    f"for {queries:,} queries and {passages:,} passages exact search is expected to be quicker than the index "
                    f"{self._kind}: use the index exact"
                )
        return notes


def _candidates(index: _Index, value: int, queries: Floats, passages: VectorRows, k: int, count: int) -> tuple[Floats, Ids]:
    """Return the k best of what the index finds, (m, k) each: exact scores, equal ones in ascending id; -inf and -1 where missing."""
    found = index.search(queries, min(k + SLACK, count), value)
    missing = found < 0
    scores = np.where(missing, -np.inf, ranked_scores(queries, passages, np.where(missing, 0, found))).astype(np.float32)
    best = np.lexsort((found, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1).astype(np.int32)


def _lists(passages: int) -> int:
    """Return the number of lists: the square root of the passages balances what assigning and scanning take; each needs its training."""
    return max(1, min(math.isqrt(passages), passages // TRAINING))


def _blocks(passages: VectorRows, count: int) -> Iterator[tuple[int, Floats]]:
    """Yield the first passages in the order of their ids: the place behind a block, and its vectors in float32."""
    for start in range(0, count, PASSAGE_BLOCK):
        stop = min(start + PASSAGE_BLOCK, count)
        yield stop, np.ascontiguousarray(passages[start:stop], np.float32)
        release_pages(passages)


def _check_memory(kind: IndexName, needed: int, count: int) -> None:
    if needed > (free := available()):
        raise SettingsError(
            f"index is {kind!r}, which takes {in_words(needed)} of memory for {count:,} passages, and {in_words(free)} are free; "
            "use exact, which reads the passages from disk, or a machine with more memory"
        )


class _OnCPU:
    """What the two indexes of the CPU have in common: vectors as float16 in memory, added block by block."""

    kind: IndexName
    setting: str
    smallest: int
    largest: int
    index: Any

    def __init__(self, count: int, needed: int) -> None:
        self._count = count
        _check_memory(self.kind, needed, count)

    def _add(self, passages: VectorRows, tell: OnProgress, should_stop: ShouldStop | None) -> None:
        tell(0, self._count, BUILDING)
        for stop, vectors in _blocks(passages, self._count):
            check_cancelled(should_stop)
            self.index.add(vectors)
            tell(stop, self._count, BUILDING)


class _Ivf(_OnCPU):
    """Passages in lists by their nearest centre of k-means; a query is compared with those of its `nprobe` nearest lists."""

    kind: IndexName = "ivf"
    setting = "nprobe"

    def __init__(self, dimension: int, count: int, depth: int) -> None:
        super().__init__(count, 3 * count * dimension + 12 * count)
        faiss, lists = load_faiss(), _lists(count)
        self._lists = self.largest = lists
        self.smallest = min(lists, math.ceil(2 * depth * lists / count))
        kind = faiss.ScalarQuantizer.QT_fp16
        self.index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(dimension), dimension, lists, kind, faiss.METRIC_INNER_PRODUCT, False)
        self.index.cp.niter, self.index.cp.min_points_per_centroid = ROUNDS, 1

    def build(self, passages: VectorRows, tell: OnProgress, should_stop: ShouldStop | None) -> dict[str, int]:
        """Train the lists on a sample and add all."""
        tell(0, self._count, BUILDING)
        sample = np.unique(np.arange(TRAINING * self._lists) * self._count // (TRAINING * self._lists))
        self.index.train(np.ascontiguousarray(passages[sample], np.float32))
        self._add(passages, tell, should_stop)
        return {"lists": self._lists}

    def search(self, queries: Floats, depth: int, value: int) -> npt.NDArray[np.int64]:
        """Return the ids of candidates, (m, depth)."""
        self.index.nprobe = value
        found: npt.NDArray[np.int64] = self.index.search(queries, depth)[1]
        return found


class _Hnsw(_OnCPU):
    """A graph of near passages on several levels; a query walks it with the `efSearch` nearest seen so far."""

    kind: IndexName = "hnsw"
    setting = "efSearch"

    def __init__(self, dimension: int, count: int, depth: int) -> None:
        super().__init__(count, 3 * count * dimension + 12 * LINKS * count)
        faiss = load_faiss()
        self.smallest, self.largest = depth, max(depth, min(count, WIDEST * depth))
        self.index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = BREADTH
        self.index.is_trained = True  # float16 needs no training

    def build(self, passages: VectorRows, tell: OnProgress, should_stop: ShouldStop | None) -> dict[str, int]:
        """Add all passages to the graph."""
        self._add(passages, tell, should_stop)
        return {"links": LINKS}

    def search(self, queries: Floats, depth: int, value: int) -> npt.NDArray[np.int64]:
        """Return the ids of candidates, (m, depth)."""
        self.index.hnsw.efSearch = value
        found: npt.NDArray[np.int64] = self.index.search(queries, depth)[1]
        return found


def _check_cagra() -> None:
    faiss = load_faiss()
    if not hasattr(faiss, "GpuIndexCagra"):
        raise SettingsError(
            f"index is 'cagra', which FAISS {faiss.__version__} as installed lacks; install a build with cuVS (conda: faiss-gpu-cuvs), or "
            "use ivf, hnsw or exact"
        )
    if gpu_count() == 0:
        raise SettingsError("index is 'cagra', which needs a GPU, and FAISS finds none; use ivf, hnsw or exact")


class _Cagra:
    """A graph that FAISS builds and searches on the first GPU with cuVS; its bytes are not known to be the same twice."""

    setting = "itopk_size"

    def __init__(self, dimension: int, count: int, depth: int) -> None:
        self._dimension, self._count = dimension, count
        self.smallest, self.largest = depth, max(depth, min(count, WIDEST * depth))
        _check_memory("cagra", 4 * count * dimension, count)

    def build(self, passages: VectorRows, tell: OnProgress, should_stop: ShouldStop | None) -> dict[str, int]:
        """Give all passages to the GPU at once: cuVS has no other way."""
        faiss = load_faiss()
        vectors = np.empty((self._count, self._dimension), np.float32)
        for stop, block in _blocks(passages, self._count):
            check_cancelled(should_stop)
            vectors[stop - len(block) : stop] = block
            tell(stop, self._count, BUILDING)
        self._resources = faiss.StandardGpuResources()
        self._index = faiss.GpuIndexCagra(self._resources, self._dimension, faiss.METRIC_INNER_PRODUCT, faiss.GpuIndexCagraConfig())
        self._index.train(vectors)
        return {}

    def search(self, queries: Floats, depth: int, value: int) -> npt.NDArray[np.int64]:
        """Return the ids of candidates, (m, depth)."""
        found: npt.NDArray[np.int64] = self._index.search(queries, depth, params=load_faiss().SearchParametersCagra(itopk_size=value))[1]
        return found


_INDEXES: dict[str, Any] = {"ivf": _Ivf, "hnsw": _Hnsw, "cagra": _Cagra}
