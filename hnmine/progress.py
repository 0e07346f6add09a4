"""How long work tells of itself and is stopped: two callables, handed down through every slow stage.

`OnProgress(done, total, note)` is called once a batch, from the thread that does the work; `ShouldStop()` is asked as
often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hnmine.errors import Cancelled

__all__ = ["OnProgress", "ShouldStop", "check"]

ShouldStop = Callable[[], bool]


class OnProgress(Protocol):
    """Take `done` of `total` items, and what they are ("encoding passages")."""

    def __call__(self, done: int, total: int, note: str, /) -> None: ...


def check(should_stop: ShouldStop | None) -> None:
    """Raise Cancelled when somebody asked to stop."""
    if should_stop is not None and should_stop():
        raise Cancelled("stopped on request; nothing was written")
