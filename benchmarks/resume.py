"""Killing a run (SIGKILL) and starting it again: the lost work, and whether the output has the same bytes.

First once at 60% of the tokens, on the whole set; then `--kills` times at random moments of a smaller one, each with an
empty store. "Lost" is the work that was encoded but not yet stored, in seconds of the model.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, report
from benchmarks.sets import cranfield, emptied
from hnmine.vectors.store import VectorStore

Run = tuple[float, dict[str, Any]]


class Miner:
    """Runs the command line in its own process on one pair of files."""

    def __init__(self, folder: Path, passages: int | None) -> None:
        folder.mkdir()
        self.folder, self.store = folder, folder / "vectors"
        train, pool, self.what = cranfield(folder, passages)
        self.command = [sys.executable, "-m", "hnmine", "mine", "--input_file", str(train), "--candidate_pool", str(pool)]
        self.command += ["--store", str(self.store), "--json"]

    def whole(self, output: str) -> Run:
        """Run to the end; return seconds and the summary."""
        began = time.perf_counter()
        done = subprocess.run([*self.command, "--quiet", "--output_file", str(self.folder / output)], capture_output=True, check=True)
        return time.perf_counter() - began, json.loads(done.stdout)

    def killed_after(self, seconds: float) -> None:
        """Start, and kill after `seconds`."""
        process = subprocess.Popen(
            [*self.command, "--quiet", "--output_file", str(self.folder / "killed.jsonl")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def killed_at(self, share: float) -> float:
        """Start, and kill at that fraction of the passages' tokens; return the fraction that was reached."""
        primary, secondary = os.openpty()  # a terminal gets progress ten times a second
        process = subprocess.Popen(
            [*self.command, "--output_file", str(self.folder / "killed.jsonl")], stdout=subprocess.DEVNULL, stderr=secondary
        )
        os.close(secondary)
        heard, reached = "", 0.0
        while reached < share:
            heard = (heard + os.read(primary, 4096).decode(errors="replace"))[-400:]
            counts = re.findall(r"encoding passages\s+([\d,]+) of ([\d,]+) tokens", heard)
            if counts:
                done, total = (int(each.replace(",", "")) for each in counts[-1])
                reached = done / total
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(primary)
        return reached

    def stored(self) -> int:
        """Return how many vectors are finished."""
        return sum(each.rows for each in VectorStore(self.store).usage()) if self.store.exists() else 0


def line(run: str, share: float, stored: int, summary: dict[str, Any], same: bool) -> dict[str, Any]:
    """Return a line of the report."""
    vectors = summary["vectors"]
    return {"run": run, "of the undisturbed time": share, "stored": stored, "found": vectors["stored"], "encoded": vectors["encoded"],
            "same bytes": str(same)}  # fmt: skip


def main() -> None:
    options = arguments(__doc__, kills=20)
    quick = options.quick
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        miner = Miner(Path(name) / "whole", 100 if quick else None)
        seconds, summary = miner.whole("undisturbed.jsonl")
        total = summary["vectors"]["encoded"]
        emptied(miner.store)
        reached = miner.killed_at(0.6)
        stored = miner.stored()
        again, summary = miner.whole("again.jsonl")
        same = filecmp.cmp(miner.folder / "undisturbed.jsonl", miner.folder / "again.jsonl", shallow=False)
        rows.append({"run": "undisturbed", "seconds": seconds, "vectors": total})
        rows.append(line(f"again, after SIGKILL at {reached:.0%}", again / seconds, stored, summary, same))

        miner = Miner(Path(name) / "part", 60 if quick else 300)
        seconds, summary = miner.whole("undisturbed.jsonl")
        total = summary["vectors"]["encoded"]
        rng = random.Random(7)
        kills, identical, kept = options.kills if not quick else 2, 0, 0
        for _ in range(kills):
            emptied(miner.store)
            moment = rng.uniform(0.2, seconds)
            miner.killed_after(moment)
            stored = miner.stored()
            again, summary = miner.whole("again.jsonl")
            same = filecmp.cmp(miner.folder / "undisturbed.jsonl", miner.folder / "again.jsonl", shallow=False)
            identical += same
            kept += summary["vectors"]["encoded"] == total - stored
            rows.append(line(f"again, after SIGKILL at {moment:.1f} of {seconds:.1f} s", again / seconds, stored, summary, same))
        report(
            "resume",
            rows,
            {"kills at random moments": kills, "byte-identical": identical, "every finished vector found again": kept, "data": miner.what},
        )


if __name__ == "__main__":
    main()
