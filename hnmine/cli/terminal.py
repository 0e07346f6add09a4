"""Ctrl-C and SIGTERM on the command line, from the first line of `hnmine.__main__` on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """Turns SIGINT and SIGTERM into a stop flag.

    Before the first batch (importing torch or downloading a model does not check the flag) a signal raises KeyboardInterrupt immediately.
    Afterwards the first signal sets the flag, and the second one raises.

    Attributes:
        asked: whether a stop was requested.
        batches_began: whether a signal waits for the end of a batch.
        worked: whether the output may be written next, so that a stop at once may come in the middle of it.
        kept: what is kept of the work, as the end of a message.
        lost: what a stop at once loses, as the end of a message.
        waits: what the first Ctrl-C says.
    """

    def __init__(self) -> None:
        self.asked = False
        self.batches_began = False
        self.worked = False
        self.kept = self.lost = ""
        self.waits = "stopping after this batch"
        self._signal: int = signal.SIGINT

    @property
    def status(self) -> int:
        """The exit status: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self._signal

    def should_stop(self) -> bool:
        """Whether a stop was requested."""
        return self.asked

    def message(self, *, at_once: bool) -> str:
        """Return what is said at the end; `at_once`: no batch was waited for."""
        outcome = "an output file is whole or unchanged" if at_once and self.worked else "no output was written"
        return f"stopped on request; {outcome}{self.kept}{self.lost if at_once else ''}"

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again, self.asked, self._signal = self.asked, True, number
        if again or not self.batches_began:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            # Not print(): the signal may interrupt another print().
            with contextlib.suppress(OSError):
                os.write(2, f"\nhnmine: {self.waits}; press again to stop immediately\n".encode())

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle both signals, in the main thread only, as Python requires."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
        hook = sys.unraisablehook

        def unraisable(found: Any, /) -> None:
            if not isinstance(found.exc_value, KeyboardInterrupt):
                hook(found)
                return
            # Raised in a destructor, where Python drops it: the process would go on.
            with contextlib.suppress(OSError):
                os.write(2, f"\nhnmine: {self.message(at_once=True)}\n".encode())
            os._exit(self.status)

        sys.unraisablehook = unraisable
        try:
            yield
        finally:
            sys.unraisablehook = hook
            for each, handler in before.items():
                signal.signal(each, handler)
