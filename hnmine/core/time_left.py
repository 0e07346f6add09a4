"""Time left over all stages of a job, from a plan of its work and the throughput that is measured.

A plan gives each stage an amount and the seconds that it takes on the two cores it was measured on. The running stage counts by its own
throughput over its last half, without the first batches (compilation, first allocations). Stages to come count by the plan, times the
factor of an earlier run of the same model on this machine, or for encoding the factor of the encoding so far.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Factors", "Forecast", "Work", "in_words"]

# Measured seconds of a stage / those of its plan, by the name of the stage.
Factors = Mapping[str, float]

ENCODING = "encoding"
# The first seconds and the first part of a stage, which are not representative.
WARM_UP_SECONDS, WARM_UP_SHARE = 1.0, 0.02
# Reports of a stage that are kept; a window of half of them is exact enough.
REPORTS = 512


@dataclass(frozen=True, slots=True)
class Work:
    """A stage of a plan: its name, the amount in the unit of its progress, and the expected seconds."""

    stage: str
    amount: float
    seconds: float


class Forecast:
    """Takes a plan and progress; gives the share done and the seconds left of everything.

    Args:
        stored: factors of earlier runs by the key of their plan, such as model and device.
    """

    def __init__(self, stored: Mapping[str, Factors] | None = None) -> None:
        self._stored = stored or {}
        self.key = ""
        self._works: list[Work] = []
        self._factors: Factors = {}
        self._measured: dict[str, float] = {}
        self._passed = self._share = 0.0
        # The running stage: its place in the plan, or of the last one that was in it; whether it is in the plan; its reports.
        self._place, self._in_plan, self._note = -1, False, ""
        self._began, self._last, self._total = 0.0, (0.0, 0), 0
        self._reports: deque[tuple[float, int]] = deque(maxlen=REPORTS)

    def plan(self, works: Sequence[Work], key: str) -> None:
        """Take the stages to come, in their order."""
        self._works, self.key, self._factors = list(works), key, self._stored.get(key, {})
        self._place, self._in_plan, self._note, self._passed = -1, False, "", 0.0

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Take the progress of a stage; see `OnProgress`."""
        now = time.monotonic()
        if note != self._note:
            self._close(now)
            self._note, self._began, self._total = note, now, 0
            self._reports.clear()
            found = [place for place, work in enumerate(self._works) if work.stage == note.removesuffix(" in shards")]
            self._place, self._in_plan = (found[0], True) if found else (self._place, False)
        self._total, self._last = total or self._total, (now, done)
        if not self._reports or now - self._reports[-1][0] >= 2 * (now - self._began) / REPORTS:
            self._reports.append(self._last)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the last stage ends; None without a plan, and before anything is known of this machine."""
        if not self._works or not (self._factors or self._measured or self._rate() is not None or self._place > 0):
            return None
        left = sum(work.seconds * self._factor(work) for work in self._works[self._place + 1 :])
        if self._in_plan:
            left += self._left_here()
        return left

    @property
    def share(self) -> float | None:
        """The part of the expected time of the stages that has passed, 0 to 1; it never falls. None as `seconds_left`."""
        left = self.seconds_left
        if left is None:
            return None
        passed = self._passed + (time.monotonic() - self._began if self._in_plan else 0.0)
        self._share = max(self._share, passed / (passed + left) if passed else 0.0)
        return min(self._share, 0.99)

    def factors(self) -> dict[str, float]:
        """Return the measured factors of the stages, for later runs with the same key; call it when all is done."""
        self._close(time.monotonic())
        self._in_plan = False
        return dict(self._measured)

    def _left_here(self) -> float:
        """Return the seconds left of the running stage."""
        work = self._works[self._place]
        now, done = self._last
        total = self._total or work.amount
        left = max(0.0, total - done) / max(1.0, total)
        planned = work.seconds * self._factor(work) * (total / max(1.0, work.amount)) * left
        since = time.monotonic() - now
        rate = self._rate()
        expected = planned if rate is None else (total - done) / rate
        return max(0.0, expected - since)

    def _rate(self) -> float | None:
        """Return the items a second of the running stage over its last half; None in its first batches."""
        now, done = self._last
        warm = [(when, had) for when, had in self._reports if had > 0 and (had >= WARM_UP_SHARE * self._total)]
        if not warm or now - warm[0][0] < WARM_UP_SECONDS or done <= warm[0][1]:
            return None
        middle = (warm[0][0] + now) / 2
        when, had = next((each for each in reversed(warm) if each[0] <= middle), warm[0])
        return (done - had) / (now - when) if now > when and done > had else None

    def _factor(self, work: Work) -> float:
        """Return the expected seconds of a stage over those of its plan."""
        here = self._works[self._place] if self._place >= 0 else None
        if _is_encoding(work.stage):
            speed = self._measured_encoding()
            if here is not None and self._in_plan and _is_encoding(here.stage) and (rate := self._rate()) is not None:
                speed = here.amount / here.seconds / rate if here.seconds else speed
            if speed is not None:
                before = next((value for stage, value in self._factors.items() if _is_encoding(stage)), None)
                return speed * (self._factors[work.stage] / before if before and work.stage in self._factors else 1.0)
        return self._factors.get(work.stage, 1.0)

    def _measured_encoding(self) -> float | None:
        return next((value for stage, value in reversed(self._measured.items()) if _is_encoding(stage)), None)

    def _close(self, now: float) -> None:
        """Record the time and the factor of the stage that ends."""
        self._passed += now - self._began if self._in_plan else 0.0
        if self._in_plan and self._last[1] > 0:
            work = self._works[self._place]
            planned = work.seconds * self._last[1] / max(1.0, work.amount)
            if planned > 0:
                self._measured[work.stage] = (now - self._began) / planned


def _is_encoding(stage: str) -> bool:
    return stage.rpartition(": ")[2].startswith(ENCODING)


def in_words(seconds: float) -> str:
    """Return a time left as a person says it: "about 40 s", "about 3 min", "about 2 h 10 min"."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {minutes // 60} h {minutes % 60} min"
