"""What a terminal, a log or a notebook shows of progress (tqdm), and Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

from hnmine.core.progress import unit_of

__all__ = ["Interrupts", "Progress", "tqdm_progress"]

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
            "disable": False,  # said here, because the command line silences the bars of other libraries by TQDM_DISABLE and TQDM_DELAY
            "delay": 0,
            "file": _Stream(stream),
            "mininterval": 0.1 if stream.isatty() else SECONDS_BETWEEN_LINES,
            "dynamic_ncols": stream.isatty(),
        } | options
        self._note = ""
        self._bar: Any = None

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Take `done` of `total` items; see `OnProgress`."""
        shape = None if total else "{desc}"
        if self._bar is None or note != self._note:
            self.close()
            unit = {"unit": f" {unit_of(note)}".rstrip() or " items", "unit_scale": True}
            options = unit | {"desc": note, "total": total, "initial": done, "bar_format": shape, "miniters": 0, "leave": False}
            self._note, self._bar = note, self._new(**options, **self._options)
        self._bar.total, self._bar.bar_format = total, shape
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Clear the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def tqdm_progress() -> Progress:
    """Return an `on_progress` that draws tqdm bars in a notebook or on stderr, and nothing where stderr is no terminal."""
    from tqdm.auto import tqdm

    return Progress(sys.stderr, bar=tqdm, file=sys.stderr, disable="ipykernel" not in sys.modules and not sys.stderr.isatty())


class Interrupts:
    """Turns SIGINT and SIGTERM into a stop flag.

    Before the first batch (importing torch or downloading a model does not check the flag) a signal raises KeyboardInterrupt immediately.
    Afterwards the first signal sets the flag, and the second one raises.
    """

    def __init__(self) -> None:
        self.asked = False
        self.batches_began = False

    def should_stop(self) -> bool:
        """Whether a stop was requested."""
        return self.asked

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.batches_began:
            raise KeyboardInterrupt
        # Not print(): the signal may interrupt another print().
        with contextlib.suppress(OSError):
            os.write(2, b"\nhnmine: stopping after this batch; press again to stop immediately\n")

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle both signals, in the main thread only, as Python requires."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
