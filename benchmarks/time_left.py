"""The time left that a run shows, against the truth: at each 10% of a cold run, the estimate over all stages and what was left.

The goal: from 20% on within a factor of 2. Each set is mined with fresh vectors, first as on a machine that knows nothing, then with the
factors that the first run stored. `--only cranfield` or `--only squad-en-dev` runs one set.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import DATA, arguments, report
from benchmarks.sets import cranfield
from hnmine import FlagEncoder, ModelSettings
from hnmine.core.time_left import Factors, Forecast, Work
from hnmine.runs.mine import MineSettings, mine
from hnmine.vectors.store import VectorStore

GOAL = 2.0


class Recorder:
    """Progress that records what a person sees: (seconds since the start, estimated seconds left, share, stage)."""

    def __init__(self, stored: Mapping[str, Factors]) -> None:
        self.forecast = Forecast(stored)
        self.seen: list[tuple[float, float, float, str]] = []
        self.began = time.monotonic()

    def plan(self, works: Sequence[Work], key: str) -> None:
        self.forecast.plan(works, key)

    def __call__(self, done: int, total: int, note: str, /) -> None:
        self.forecast(done, total, note)
        left, share = self.forecast.seconds_left, self.forecast.share
        self.seen.append((time.monotonic() - self.began, left or 0.0, share or 0.0, note))


def main() -> None:
    options = arguments(__doc__, only="", rows=0)
    rows, worst = [], {}
    with tempfile.TemporaryDirectory() as name:
        for title in ("cranfield", "squad-en-dev"):
            if options.only not in ("", title) or (title != "cranfield" and (options.quick or not (DATA / title).is_dir())):
                continue
            train, pool = DATA / title / "train.jsonl", DATA / title / "pool.jsonl"
            if title == "cranfield" and (options.quick or options.rows or not train.exists()):
                train, pool, _ = cranfield(Path(name), 60 if options.quick else options.rows or None)
            stored: dict[str, Factors] = {}
            for turn in ("first run", "second run"):
                recorder = Recorder(stored)
                store = VectorStore(Path(name) / f"{title}-{turn}")
                mine(train, pool, MineSettings(), lambda: FlagEncoder.load(ModelSettings()), depth=500, signals=True, store=store,
                     on_progress=recorder)  # fmt: skip
                whole = time.monotonic() - recorder.began
                stored = {recorder.forecast.key: recorder.forecast.factors()}
                factors = []
                for tenth in range(1, 10):
                    at, left, share, stage = next(each for each in reversed(recorder.seen) if each[0] <= tenth * whole / 10) if (
                        recorder.seen[0][0] <= tenth * whole / 10) else recorder.seen[0]  # fmt: skip
                    truth = whole - at
                    factor = max(left, 0.1) / truth
                    if tenth >= 2:
                        factors.append(max(factor, 1 / factor))
                    rows.append({"set": title, "run": turn, "at": f"{tenth}0%", "stage": stage, "shown": f"{share:.0%}",
                                 "left, s": round(left, 1), "truth, s": round(truth, 1), "factor": round(factor, 2)})  # fmt: skip
                worst[f"{title}, {turn}"] = round(max(factors), 2)
    report("time_left", rows, {"largest factor from 20% on": str(worst), "goal": GOAL})


if __name__ == "__main__":
    main()
