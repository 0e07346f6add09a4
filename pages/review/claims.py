"""Who reviews at this server just now: which pair each session has on its screen, and what its reviewer is called."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.review.queue import Queue

# A closed tab keeps its pair from others for so long; an open one says every few seconds that it is there.
CLAIM_SECONDS = 20.0


@st.cache_resource(show_spinner=False)
def claims() -> Claims:
    return Claims()


# The run, the (query, passage) on the screen, when it was last seen there, and whose screen it is.
Claim = tuple[str, tuple[int, int] | None, float, str]


@dataclass(slots=True)
class Claims:
    """Which pair each session of this server has on its screen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: dict[str, Claim] = field(default_factory=dict)

    def take(self, session: str, run: str, pairs: Queue, who: str, catch_up: Callable[[], object]) -> int | None:
        """Return the next place of a queue that no other session has on its screen, and note it.

        `catch_up` brings the queue up to date: a pair that somebody has just left is free here, but judged in the store.
        """
        with self.lock:
            catch_up()
            place = pairs.next(frozenset(each[1] for each in self._others(session, run) if each[1] is not None))
            self._note(session, run, None if place is None else pairs.pair(place), who)
            return place

    def hold(self, session: str, run: str, pair: tuple[int, int], who: str) -> None:
        """Say that a session is still at its pair."""
        with self.lock:
            self._note(session, run, pair, who)

    def names(self, session: str, run: str) -> list[str]:
        """Return who else reviews a run just now, sorted."""
        with self.lock:
            return sorted({each[3] for each in self._others(session, run)})

    def _note(self, session: str, run: str, pair: tuple[int, int] | None, who: str) -> None:
        self.held = {name: each for name, each in self.held.items() if self._counts(name, each)}
        self.held[session] = (run, pair, time.monotonic(), who)

    def _others(self, session: str, run: str) -> list[Claim]:
        return [each for name, each in self.held.items() if name != session and each[0] == run and self._counts(name, each)]

    def _counts(self, session: str, claim: Claim) -> bool:
        return claim[2] > time.monotonic() - CLAIM_SECONDS and is_open(session)


def session_id() -> str:
    context = get_script_run_ctx()
    return context.session_id if context else ""


def is_open(session: str) -> bool:
    """Return whether a session still has its browser; without a server, as in a test, nobody else has one."""
    try:
        return bool(get_instance().is_active_session(session))
    except RuntimeError:
        return False


@dataclass(slots=True)
class Names:
    """Which "Reviewer N" each session of this server was called, in which browser."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    given: dict[str, tuple[str, str]] = field(default_factory=dict)

    def of(self, session: str, browser: str) -> str:
        """Return a session's name; a new one gets that of a closed tab of its browser, or one that nobody has decided under."""
        with self.lock:
            if session not in self.given:
                held = {name for each, (name, _) in self.given.items() if is_open(each)}
                before = [name for name, where in self.given.values() if browser and where == browser and name not in held]
                self.given[session] = (before[-1] if before else self._new(held | resources.reviews().names()), browser)
            return self.given[session][0]

    def _new(self, taken: set[str]) -> str:
        return next(name for number in range(1, len(taken) + 2) if (name := f"Reviewer {number}") not in taken)


@st.cache_resource(show_spinner=False)
def _names() -> Names:
    return Names()


def browser_mark() -> str:
    """Return what tells one browser from another, and stays the same over a reload; empty where nothing does.

    It is the token that Streamlit gives each browser against forged requests, which is masked anew every time it is sent.
    """
    try:
        _, mask, masked, _ = str(st.context.cookies.get("_streamlit_xsrf", "")).split("|")
        token = bytes(byte ^ key for byte, key in zip(bytes.fromhex(masked), cycle(bytes.fromhex(mask)), strict=False))
    except ValueError:
        return ""
    return hashlib.sha256(token).hexdigest()


def default_name() -> str:
    """Return "Reviewer N" with the lowest N that no open session has and that stands beside no decision, in whatever server.

    Two people must not undo each other's decisions unasked. A page loaded again keeps its name: it is the same browser. Empty
    while the verdicts cannot be read.
    """
    try:
        return _names().of(session_id(), browser_mark())
    except HnmineError:
        return ""


def reviewer() -> str:
    """Return the name under which this session decides."""
    return (st.session_state.get("review-who") or "").strip() or default_name()
