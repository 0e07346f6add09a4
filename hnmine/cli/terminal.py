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
