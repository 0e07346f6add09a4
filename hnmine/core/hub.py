"""Requests to the Hugging Face hub with a time limit, so that an unreachable hub cannot block a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["HUB_DEADLINE", "ask", "first_line"]

T = TypeVar("T")

# Seconds for the hub to respond; the download itself has no limit.
HUB_DEADLINE = 20.0


def ask(request: Callable[[], T], seconds: float | None = None) -> T:
    """Return the answer to a request to the hub.

    Raises:
        TimeoutError: the hub does not respond within `seconds`; None is HUB_DEADLINE.
        Exception: any of the hub's client.
    """
    answer: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answer.append(request())
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    # The client's timeout does not cover DNS, so a thread bounds the wait.
    thread = threading.Thread(target=run, name="hub-lookup", daemon=True)
    thread.start()
    seconds = HUB_DEADLINE if seconds is None else seconds
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answer:
        raise TimeoutError(f"the hub did not respond within {seconds:.0f} seconds")
    return answer[0]


def first_line(error: Exception) -> str:
    """Return an error of the hub's client in one line."""
    text = str(error).strip().splitlines()
    if not text:
        return type(error).__name__
    return text[0] if isinstance(error, TimeoutError) else f"{type(error).__name__}: {text[0]}"
