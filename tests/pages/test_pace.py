"""A client that floods its connection waits; one that does what a person does never does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pages.shared import pace


def waited(gaps: list[float], monkeypatch: pytest.MonkeyPatch, kind: str = "websocket") -> list[float]:
    """The seconds that a connection is made to wait for its messages, which come after these gaps."""
    now, slept, left = 0.0, [], list(gaps)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    async def receive() -> Any:
        nonlocal now
        now += left.pop(0)
        return {"type": "websocket.receive"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in gaps:
            assert (await receive())["type"] == "websocket.receive"

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(pace.Pace(app, clock=lambda: now)({"type": kind}, receive, None))  # type: ignore[arg-type]
    return slept


def test_a_slider_and_a_page_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited([0.1] * 600, monkeypatch) == []
    assert waited([0.0] * 30 + [5.0] + [0.0] * 30, monkeypatch) == []


def test_a_flood_is_taken_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = waited([0.0] * 1000, monkeypatch)
    assert sum(slept) == pytest.approx((1000 - pace.AT_ONCE) / pace.A_SECOND, rel=0.01)
    assert max(slept) < 0.1, "each waits for its turn, and no more"
    assert waited([0.0] * 1000, monkeypatch, kind="http") == []


def test_what_a_client_sent_before_it_left_is_dropped() -> None:
    heard: list[str] = []

    async def receive() -> Any:
        return {"type": "websocket.receive"}

    async def send(message: Any) -> None:
        raise OSError("it has gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        await send({"type": "websocket.send"})
        heard.append((await receive())["type"])

    asyncio.run(pace.Pace(app)({"type": "websocket"}, receive, send))
    assert heard == ["websocket.receive", "websocket.disconnect"]
