"""Ctrl-C and SIGTERM on the command line."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Interrupts"]


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
