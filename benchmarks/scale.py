"""The cost of everything but the model against the size of the corpus: 1,000 to 1,000,000 passages, 1,000 queries.

Reading, building the corpus, writing the vectors to the store and finding them again, search, selection and export, each
size in its own process. The encoder is a fake (a fixed projection of each text's hash), so its time is meaningless. The slope
is that of log(seconds) over log(passages) between the two largest sizes: 1 is linear.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import arguments, peak_memory, report
from benchmarks.sets import sentences

DIMENSION, QUERIES = 384, 1_000


class Projection:
    """A fake Encoder with negligible cost."""

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(3).standard_normal((64, DIMENSION)).astype(np.float32)

    def encode_batches(self, texts: Sequence[str], side: str, **_: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(texts), 8_192):
            digests = b"".join(hashlib.blake2b(text.encode()).digest() for text in texts[start : start + 8_192])
            vectors = (np.frombuffer(digests, np.uint8).reshape(-1, 64).astype(np.float32) - 127.5) @ self.matrix
            yield np.arange(start, start + len(vectors)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def identity(self, side: str) -> str:
        return '{"name": "projection"}'

    def describe(self) -> dict[str, Any]:
        return {"name": "projection", "precision": "fp32"}


def measure(size: int) -> dict[str, Any]:
    """Mine a corpus of `size` passages; return seconds by stage."""
    from hnmine.core.files import write_atomic
    from hnmine.export.flagembedding import flagembedding_lines
    from hnmine.runs.mine import MineSettings, mine
    from hnmine.vectors.store import VectorStore

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = sentences(size, 30, 90, 0)
        (folder / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in pool))
        (folder / "train.jsonl").write_text(
            "".join(
                json.dumps({"query": query, "pos": [pool[number]]}) + "\n"
                for number, query in enumerate(sentences(min(QUERIES, size), 6, 14, 1))
            )
        )
        del pool
        line: dict[str, Any] = {"passages": size}
        for side in ("cold", "warm"):
            began = time.perf_counter()
            mined = mine(folder / "train.jsonl", folder / "pool.jsonl", MineSettings(), Projection, store=VectorStore(folder / "vectors"))
            wrote = time.perf_counter()
            lines = flagembedding_lines(mined.inputs.rows, mined.inputs.corpus, mined.selection)
            write_atomic(folder / "out.jsonl", lines)
            if side == "cold":
                line |= mined.summary.timings | {"write": time.perf_counter() - wrote}
                line["store MB"] = sum(path.stat().st_size for path in (folder / "vectors").rglob("*") if path.is_file()) / 2**20
            else:
                line["vectors found again"] = mined.summary.timings["encode"]
            line[side] = time.perf_counter() - began
    return line | {"peak MB": peak_memory() / 2**20}


def main() -> None:
    if "--size" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", type=int, required=True)
        print(json.dumps(measure(parser.parse_args().size)))
        return
    sizes = [1_000, 5_000] if arguments(__doc__).quick else [1_000, 10_000, 100_000, 1_000_000]
    rows: list[dict[str, Any]] = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scale", "--size", str(size)]
        rows.append(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    facts: dict[str, Any] = {"queries": QUERIES, "dimension": DIMENSION}
    span = math.log(rows[-1]["passages"] / rows[-2]["passages"])
    for stage in ("read", "encode", "search", "select", "vectors found again", "cold", "warm"):
        facts[f"slope of {stage}"] = math.log(max(rows[-1][stage], 1e-4) / max(rows[-2][stage], 1e-4)) / span
    report("scale", rows, facts)


if __name__ == "__main__":
    main()
