"""Progress and cancelling: two callables that every slow stage accepts.

`OnProgress(done, total, note)` is called once a batch, from the working thread; `ShouldStop()` is called as often. `note`
names the stage, and the stage chooses the unit: encoding counts tokens, because a long passage takes fifty times as long
as a short one and a time estimate from rows would be wrong by that factor. An `on_progress` that has a method `plan` (`Planned`)
gets the work of all stages before the first, for the time left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from hnmine.core.errors import Cancelled
from hnmine.core.time_left import Work

__all__ = ["OnProgress", "Planned", "ShouldStop", "Stages", "check_cancelled", "unit_of"]

ShouldStop = Callable[[], bool]

_UNITS = {
    "encoding passages": "tokens",
    "encoding queries": "tokens",
    "encoding passages in shards": "characters",
    "encoding queries in shards": "characters",
    "building the index": "passages",
    "searching": "queries",
    "comparing with positives": "queries",
    "counting words": "passages",
    "comparing words": "queries",
    "ranking by BM25": "queries",
    "scoring pairs": "pairs",
    "judging pairs": "pairs",
}


class OnProgress(Protocol):
    """Receive `done` of `total` items and the name of their stage ("encoding passages")."""

    def __call__(self, done: int, total: int, note: str, /) -> None: ...


@runtime_checkable
class Planned(OnProgress, Protocol):
    """Progress that takes a plan of all stages; `key` names what its throughput depends on, such as model and device."""

    def plan(self, works: Sequence[Work], key: str) -> None: ...


def check_cancelled(should_stop: ShouldStop | None) -> None:
    """Raise Cancelled if `should_stop` returns True."""
    if should_stop is not None and should_stop():
        raise Cancelled("stopped on request; no output was written")


def unit_of(note: str) -> str:
    """Return the unit of a stage such as "encoding queries" or "second model: encoding queries"; "" if unknown."""
    return _UNITS.get(note.rpartition(": ")[2], "")


class Stages:
    """Forward progress and record the items and seconds of each stage, for the manifest."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._stages: list[dict[str, Any]] = []
        self._began = 0.0

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Record progress and forward it; see `OnProgress`."""
        now = time.monotonic()
        if not self._stages or self._stages[-1]["stage"] != note:
            self._close(now)
            self._stages.append({"stage": note, "done": 0, "unit": unit_of(note), "seconds": 0.0})
            self._began = now
        self._stages[-1]["done"] = done
        if self._on_progress is not None:
            self._on_progress(done, total, note)

    def plan(self, works: Sequence[Work], key: str) -> None:
        """Forward the plan of the stages to come, where it is taken."""
        if isinstance(self._on_progress, Planned):
            self._on_progress.plan(works, key)

    def report(self) -> list[dict[str, Any]]:
        """Return the stages in order, each with `stage`, `done`, `unit`, `seconds` and `per_second`."""
        now = time.monotonic()
        self._close(now)
        self._began = now
        return [stage | {"per_second": round(stage["done"] / stage["seconds"], 1) if stage["seconds"] else 0.0} for stage in self._stages]

    def _close(self, now: float) -> None:
        if self._stages:
            self._stages[-1]["seconds"] = round(self._stages[-1]["seconds"] + now - self._began, 3)
