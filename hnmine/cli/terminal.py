"""What the command line shows and hears while it works: progress on stderr, Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

from hnmine.core.progress import unit_of

__all__ = ["Interrupts", "Progress"]

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows progress on a stream: one live line on a terminal, elsewhere a line when a stage begins and every 10 seconds.

    A stream that is closed or full is given up silently: mining goes on.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream: TextIO | None = stream
        self._live = stream.isatty()
        self._clock = clock
        self._note = ""
        self._began, self._first, self._shown = 0.0, 0, float("-inf")
        self._width = 0

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Take `done` of `total` items; see `OnProgress`."""
        now = self._clock()
        if note != self._note:
            self._note, self._began, self._first, self._shown = note, now, done, float("-inf")
        if now - self._shown < (0.1 if self._live else SECONDS_BETWEEN_LINES) and not (self._live and done == total > 0):
            return
        self._shown = now
        text = self._note
        if total:
            unit = unit_of(note)
            text += f"  {done:,} of {total:,} {unit}".rstrip()
            rate = (done - self._first) / (now - self._began) if now > self._began else 0.0
            if rate > 0 and done < total:
                text += f"  {rate:{'.2g' if rate < 10 else ',.0f'}}{' ' if unit else ''}{unit}/s  {_duration((total - done) / rate)} left"
        self._write(text)

    def close(self) -> None:
        """Clear the live line."""
        if self._live and self._width:
            self._write("")
            self._put("\r")

    def _write(self, text: str) -> None:
        if not self._live:
            self._put(text + "\n")
            return
        text = text[: max(shutil.get_terminal_size().columns - 1, 20)]
        self._put("\r" + text.ljust(self._width))
        self._width = len(text)

    def _put(self, text: str) -> None:
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Interrupts:
    """Turns SIGINT and SIGTERM into a stop flag.

    While nothing has been encoded yet (importing torch or fetching a model takes a while, and asks no flag) the first
    signal raises KeyboardInterrupt at once; from then on it sets the flag, and only a second one raises.
    """

    def __init__(self) -> None:
        self.asked = False
        self.batches_began = False

    def should_stop(self) -> bool:
        """Whether somebody asked to stop."""
        return self.asked

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.batches_began:
            raise KeyboardInterrupt
        # Not print(): the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, b"\nhnmine: stopping after this batch; once more stops at once\n")

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to both signals, in the main thread; elsewhere Python allows no handler."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
