"""Search on the CPU: the loop of the original, FAISS and torch in one call, and ours, which also proves its result; then the indexes.

Each side is timed in turn in one process, the best of several times. Vectors are unit vectors with a fixed seed, clustered
(2,000 centres and noise, so that scores spread as those of texts do) and plainly random. Recall is counted against all inner
products in float64, for a sample of the queries. A memory-mapped corpus is searched in a process of its own, whose peak
resident memory is measured. The approximate indexes search vectors whose variances fall as those of texts do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from hnmine.retrieval.approximate import IndexedSearch
from hnmine.retrieval.search import top_k

DIMENSION = 384
DEPTH = 210
# Standard deviations of "texts": 37,091 such vectors need as many lists for a recall of 0.99 as 37,091 vectors of MiniLM, 41 of 192.
FALLING = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.8
# Rows made at a time, so that a corpus of any size is made in bounded memory.
MADE = 50_000


def made(kind: str, rows: int, seed: int) -> np.ndarray:
    """Return (rows, 384) float32 unit vectors; the centres are the same for every seed."""
    centres = np.random.default_rng(1).standard_normal((2_000, DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.empty((rows, DIMENSION), np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, rows, MADE):
        part = rng.standard_normal((min(MADE, rows - start), DIMENSION), dtype=np.float32)
        if kind == "clustered":
            part = part * np.float32(0.9 / DIMENSION**0.5) + centres[rng.integers(0, len(centres), len(part))]
        elif kind == "texts":
            part *= FALLING
        vectors[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def as_the_original(queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """Search an IndexFlatIP for 64 queries at a time and collect lists, as hn_mine.py is described to."""
    import faiss

    index = faiss.IndexFlatIP(passages.shape[1])
    index.add(passages)
    ids: list[list[int]] = []
    for start in range(0, len(queries), 64):
        _, found = index.search(queries[start : start + 64], k=DEPTH)
        ids.extend(found.tolist())
    return np.array(ids)


def faiss_knn(queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """Search with faiss.knn in one call."""
    import faiss

    return faiss.knn(queries, passages, DEPTH, metric=faiss.METRIC_INNER_PRODUCT)[1]


def torch_topk(queries: np.ndarray, passages: np.ndarray, dtype: str) -> np.ndarray:
    """Multiply 250 queries at a time with torch and take the top k of each."""
    import torch

    right = torch.from_numpy(passages).to(getattr(torch, dtype)).T
    left = torch.from_numpy(queries).to(getattr(torch, dtype))
    return torch.cat([torch.topk(part @ right, DEPTH, dim=1).indices for part in left.split(250)]).numpy()


def recall(ids: np.ndarray, queries: np.ndarray, passages: np.ndarray, sample: int = 64) -> float:
    """Return the fraction of the true top k of the first queries that was found."""
    exact = np.concatenate(
        [queries[:sample].astype(np.float64) @ part.astype(np.float64).T for part in np.array_split(passages, 20)], axis=1
    )
    true = np.argpartition(-exact, DEPTH - 1, axis=1)[:, :DEPTH]
    return float(np.mean([len(np.intersect1d(a, b)) / DEPTH for a, b in zip(ids[:sample], true, strict=True)]))


def compare(kind: str, queries: int, passages: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row for each way to search."""
    left, right = made(kind, queries, 2), made(kind, passages, 3)
    sides: dict[str, Callable[[], np.ndarray]] = {
        "the original's loop of 64": lambda: as_the_original(left, right),
        "faiss.knn, one call": lambda: faiss_knn(left, right),
        "torch matmul + topk, float32": lambda: torch_topk(left, right, "float32"),
        "torch matmul + topk, bfloat16": lambda: torch_topk(left, right, "bfloat16"),
        "hnmine": lambda: top_k(left, right, DEPTH)[1],
    }
    found = {name: side() for name, side in sides.items()}
    seconds = dict.fromkeys(sides, float("inf"))
    peak = measure.gemm_peak()
    for _ in range(repeats):  # alternating, so that noise affects all sides
        peak = max(peak, measure.gemm_peak(seconds=0.3))
        for name, side in sides.items():
            seconds[name] = min(seconds[name], measure.best(side, repeats=1))
    work = 2.0 * queries * passages * DIMENSION
    first = next(iter(sides))
    return [
        {
            "vectors": kind,
            "side": name,
            "seconds": seconds[name],
            "GFLOP/s": work / seconds[name] / 1e9,
            "of float32 peak": f"{work / seconds[name] / peak:.0%}",
            "x the original": seconds[first] / seconds[name],
            "x faiss.knn": seconds["faiss.knn, one call"] / seconds[name],
            "recall": f"{recall(found[name], left, right):.6f}",
        }
        for name in sides
    ]


def mapped(queries: int, passages: int) -> list[dict[str, Any]]:
    """Search a memory-mapped file and the same vectors in memory, each in its own process."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "queries.npy", made("clustered", queries, 4))
        np.save(Path(folder) / "passages.npy", made("clustered", passages, 5))
        for where in ("mapped", "in memory"):
            command = [sys.executable, "-m", "benchmarks.search", "--one", folder, "--where", where]
            measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=measure.ROOT).stdout)
            rows.append({"side": where, **measured})
    in_memory = rows[1]["result"]
    for row in rows:
        row["GFLOP/s"] = 2.0 * queries * passages * DIMENSION / row["seconds"] / 1e9
        row["same result"] = "yes" if row.pop("result") == in_memory else "NO"
    return rows


def resident() -> int:
    """Return the resident memory of this process now, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


def indexes(queries: int, passages: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row for exact search and each index: processor seconds to build and search, recall, memory, and where it begins to pay.

    Seconds of the processor, because all sides use every core, and other work on the machine disturbs a clock more.
    """
    left, right = made("texts", queries, 2), made("texts", passages, 3)
    sides: dict[str, Callable[..., Any]] = {"exact": top_k}
    top_k(left, right, DEPTH)  # before memory is measured: its working arrays count for no index
    rows: dict[str, dict[str, Any]] = {"exact": {"index": "exact", "recall": "1"}}
    first: dict[str, float] = {"exact": 0.0}
    for name in ("ivf", "hnsw"):
        search, before, began = IndexedSearch(name), resident(), time.process_time()
        sides[name] = search.searcher("model")
        sides[name](left, right, DEPTH)
        first[name] = time.process_time() - began
        report = search.reports["model"]
        setting = "nprobe" if name == "ivf" else "efSearch"
        rows[name] = {"index": name, "recall": f"{report['recall']:.4f}", "setting": f"{setting} {report[setting]:,}"}
        rows[name]["memory, MiB"] = (resident() - before) / 2**20
    seconds = dict.fromkeys(sides, float("inf"))
    for _ in range(repeats):
        for name, side in sides.items():
            began = time.process_time()
            side(left, right, DEPTH)
            seconds[name] = min(seconds[name], time.process_time() - began)
    for name, row in rows.items():
        built = max(0.0, first[name] - seconds[name]) if name != "exact" else 0.0
        gain = (seconds["exact"] - seconds[name]) / queries
        row |= {"build, processor s": built, "search, processor s": seconds[name], "x exact": seconds["exact"] / seconds[name]}
        if name != "exact":
            row["pays from, queries"] = f"{built / gain:,.0f}" if gain > 0 else "never"
    return list(rows.values())


def one(folder: Path, where: str) -> None:
    """Search once and print what it took: the process that `mapped` starts."""
    mode = "r" if where == "mapped" else None
    queries, passages = np.load(folder / "queries.npy"), np.load(folder / "passages.npy", mmap_mode=mode)
    began = time.perf_counter()
    scores, ids = top_k(queries, passages, DEPTH)
    seconds = time.perf_counter() - began
    result = hashlib.sha256(scores.tobytes() + ids.tobytes()).hexdigest()
    print(json.dumps({"seconds": seconds, "peak resident GiB": measure.peak_memory() / 2**30, "result": result}))


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; the figures mean nothing")
    parser.add_argument("--passages", type=int, help="run the indexes alone, with this many passages")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one, given.where)
        return
    queries, passages = (500, 5_000) if given.quick else (2_000, given.passages or 1_000_000)
    measure.report("search-indexes", indexes(queries, passages, 3), {"queries": queries, "passages": passages, "k": DEPTH})
    if given.passages:
        return
    queries, passages = (200, 10_000) if given.quick else (2_000, 100_000)
    rows = [row for kind in ("clustered", "random") for row in compare(kind, queries, passages, 1 if given.quick else 5)]
    peaks = {f"{dtype} GEMM peak, GFLOP/s": measure.gemm_peak(dtype) / 1e9 for dtype in ("float32", "bfloat16")}
    measure.report("search", rows, {"queries": queries, "passages": passages, "k": DEPTH, **peaks})
    queries, passages = (100, 20_000) if given.quick else (1_000, 1_000_000)
    measure.report("search-mapped", mapped(queries, passages), {"queries": queries, "passages": passages, "k": DEPTH})


if __name__ == "__main__":
    main()
