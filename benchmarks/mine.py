"""Whole runs: a plain reimplementation of hn_mine.py against hnmine, cold (nothing stored) and warm (every vector stored).

Each side is its own process, so that seconds count from the first import and memory is its own. Both read 512 tokens per
passage; the last lines are hnmine's default (the model's 256 tokens).
"""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import arguments, as_process, report
from benchmarks.sets import cranfield, emptied


def main() -> None:
    quick = arguments(__doc__).quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, pool, what = cranfield(folder, 100 if quick else None)
        files = ["--input_file", str(train), "--candidate_pool", str(pool)]
        store = folder / "vectors"
        full = ["--embedder_query_max_length", "512", "--embedder_passage_max_length", "512"]

        def ours(output: str, *more: str) -> tuple[float, int]:
            command = [sys.executable, "-m", "hnmine", "mine", *files, "--output_file", str(folder / output), "--quiet"]
            return as_process([*command, "--store", str(store), *more])

        sides: list[tuple[str, tuple[float, int]]] = [
            (
                "hn_mine.py, re-stated",
                as_process([sys.executable, "-m", "benchmarks.plain", *files, "--output_file", str(folder / "plain.jsonl")]),
            )
        ]
        sides.append(("hnmine, fp32, cold", ours("fp32.jsonl", *full, "--precision", "fp32")))
        emptied(store)
        sides.append(("hnmine, auto, cold", ours("cold.jsonl", *full)))
        sides.append(("hnmine, auto, warm", min(ours("warm.jsonl", *full) for _ in range(3))))
        assert filecmp.cmp(folder / "cold.jsonl", folder / "warm.jsonl", shallow=False), "warm and cold differ"
        emptied(store)
        sides.append(("hnmine as it comes, cold", ours("default.jsonl")))
        sides.append(("hnmine as it comes, warm", min(ours("default.jsonl") for _ in range(3))))

        seconds, peak = sides[0][1]
        report(
            "mine",
            [
                {
                    "side": side,
                    "seconds": each[0],
                    "times as fast": seconds / each[0],
                    "peak MB": each[1] / 2**20,
                    "fraction of its memory": each[1] / peak,
                }
                for side, each in sides
            ],
            {"data": what, "warm and cold": "byte-identical"},
        )


if __name__ == "__main__":
    main()
