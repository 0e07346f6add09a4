"""Progress as tqdm draws it: one bar on a terminal or in a notebook, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from hnmine.core.progress import OnProgress, unit_of
from hnmine.core.time_left import Forecast, Work, in_words

__all__ = ["Progress", "progress_shown"]

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
