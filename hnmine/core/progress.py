"""Progress and cancelling: two callables that every slow stage accepts.

`OnProgress(done, total, note)` is called once a batch, from the working thread; `ShouldStop()` is called as often. `note`
names the stage, and the stage chooses the unit: encoding counts tokens, because a long passage takes fifty times as long
as a short one and a time estimate from rows would be wrong by that factor. An `on_progress` that has a method `plan` (`Planned`)
gets the work of all stages before the first, for the time left.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TextIO, runtime_checkable

from hnmine.core.errors import Cancelled
from hnmine.core.time_left import Forecast, Work, in_words

__all__ = ["OnProgress", "Planned", "Progress", "ShouldStop", "Stages", "check_cancelled", "progress_shown", "unit_of"]


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


SECONDS_BETWEEN_LINES = 10.0


class _Stream:
    """A stream that tqdm writes to. Its errors (closed, disk full) are ignored; without a terminal each state is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._live = stream, stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        if not self._live:
            text = text.strip("\r\n ")
            text += "\n" if text else ""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class Progress:
    """Shows progress on a stream: one bar on a terminal, elsewhere a line when a stage begins and every 10 seconds.

    Args:
        stream: such as sys.stderr.
        options: of tqdm, and `bar`, a class to use instead of tqdm's for terminals.
    """

    def __init__(self, stream: TextIO, *, bar: Any = None, **options: Any) -> None:
        from tqdm import tqdm

        self._new = bar or tqdm
        self._options = {
            "disable": False,  # set here, because the command line silences the bars of other libraries by TQDM_DISABLE and TQDM_DELAY
            "delay": 0,
            "position": 0,
            "file": _Stream(stream),
            "mininterval": 0.1 if stream.isatty() else SECONDS_BETWEEN_LINES,
            "dynamic_ncols": stream.isatty(),
        } | options
        self._note = ""
        self._bar: Any = None
        self._forecast = Forecast()

    def plan(self, works: Sequence[Work], key: str) -> None:
        """Take the plan of all stages; the bar then shows the time left of everything beside that of its stage."""
        self._forecast.plan(works, key)

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Take `done` of `total` items; see `OnProgress`."""
        shape = None if total else "{desc}"
        if self._bar is None or note != self._note:
            self.close()
            unit = {"unit": f" {unit_of(note)}".rstrip() or " items", "unit_scale": True}
            options = unit | {"desc": note, "total": total, "initial": done, "bar_format": shape, "miniters": 0, "leave": False}
            self._note, self._bar = note, self._new(**options, **self._options)
        self._bar.total, self._bar.bar_format = total, shape
        self._forecast(done, total, note)
        if (left := self._forecast.seconds_left) is not None and total:
            self._bar.set_postfix_str(f"in all {in_words(left)} left", refresh=False)
        if done != self._bar.n:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Clear the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextlib.contextmanager
def progress_shown(on_progress: OnProgress | None) -> Iterator[OnProgress | None]:
    """Yield `on_progress`; without one, a tqdm bar for a notebook or a terminal, and None where neither is there."""
    if on_progress is not None or not ("ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())):
        yield on_progress
        return
    from tqdm.auto import tqdm

    bar = Progress(sys.stderr, bar=tqdm, file=sys.stderr)
    try:
        yield bar
    finally:
        bar.close()
