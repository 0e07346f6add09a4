"""Whole runs: a plain reimplementation of hn_mine.py against hnmine, cold (nothing stored) and warm (every vector stored).

Each side is its own process, so that seconds count from the first import and memory is its own. Both read 512 tokens per
passage; "as it comes" is hnmine's default (the model's 256 tokens). The last lines are the start: the same over 20 passages, where
imports and loading take nearly all of the time.
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

        (folder / "few").mkdir()
        few = [f"--{name}={path}" for name, path in zip(("input_file", "candidate_pool"), cranfield(folder / "few", 20)[:2], strict=True)]
        starts: list[tuple[str, tuple[float, int]]] = []
        for side, module in (
            ("hn_mine.py, re-stated, 20 passages", ["benchmarks.plain"]),
            ("hnmine, 20 passages, cold", ["hnmine", "mine"]),
        ):
            command = [sys.executable, "-m", *module, *few, "--output_file", str(folder / "few.jsonl")]
            own = ["--store", str(emptied(store)), "--quiet"] if "mine" in module else []
            starts.append((side, as_process([*command, *own])))

        report(
            "mine",
            [
                {
                    "side": side,
                    "seconds": each[0],
                    "times as fast": group[0][1][0] / each[0],
                    "peak MB": each[1] / 2**20,
                    "fraction of its memory": each[1] / group[0][1][1],
                }
                for group in (sides, starts)
                for side, each in group
            ],
            {"data": what, "warm and cold": "byte-identical"},
        )


if __name__ == "__main__":
    main()
