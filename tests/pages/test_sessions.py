"""Sessions whose browser has left end when their time is over, also on a server where nothing else happens."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.runtime import memory_session_storage
from streamlit.web.server import server

from hnmine.core import garbage
from pages.shared import sessions


class Left:
    """A session, which refers to itself."""

    def __init__(self, name: str) -> None:
        self.id, self.me, self.ended = name, self, 0

    def shutdown(self) -> None:
        self.ended += 1


def test_a_session_is_dropped_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[tuple[float, Callable[[], None]]] = []
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=lambda *call: later.append(call)))
    collected: list[bool] = []
    monkeypatch.setattr(sessions.garbage, "collect", lambda: collected.append(True))
    store = sessions.Sessions(ttl_seconds=0)
    first, second = Left("a"), Left("b")
    gone = weakref.ref(first)
    for each in (first, second):
        store.save(SimpleNamespace(session=each))  # type: ignore[arg-type]
    assert [seconds for seconds, _ in later] == [1, 1]
    for _, drop in later:
        drop()
    assert (first.ended, second.ended) == (1, 1)
    assert collected == [True], "those that leave together cost one collection"
    monkeypatch.undo()
    del first, each
    garbage.collect()
    assert gone() is None


def test_a_session_that_comes_back_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Callable[[], None]] = []
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=lambda _, drop: later.append(drop)))
    store = sessions.Sessions(ttl_seconds=120)
    info: Any = SimpleNamespace(session=Left("a"))
    store.save(info)
    later.pop()()
    assert store.get("a") is info
    store.delete("a")
    assert (store.get("a"), info.session.ended) == (None, 0)


def test_the_oldest_ends_where_too_many_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=lambda *call: None))
    store = sessions.Sessions(maxsize=1)
    first, second = Left("a"), Left("b")
    for each in (first, second):
        store.save(SimpleNamespace(session=each))  # type: ignore[arg-type]
    assert (first.ended, second.ended) == (1, 0)


def test_the_server_is_made_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (server, memory_session_storage):
        monkeypatch.setattr(module, "MemorySessionStorage", module.MemorySessionStorage)  # type: ignore[attr-defined]
    sessions.end_in_time()
    assert isinstance(server.MemorySessionStorage(ttl_seconds=5), sessions.Sessions)  # type: ignore[attr-defined]
