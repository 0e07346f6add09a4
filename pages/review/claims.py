"""The reviewers on this server: the pair that each session shows, so that no other session gets it, and their names."""

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

# How long a closed tab keeps its pair from others; an open one renews its claim every few seconds.
CLAIM_SECONDS = 20.0


@st.cache_resource(show_spinner=False)
def claims() -> Claims:
    """Return the claims of this server."""
    return Claims()


# The run, the (query, passage) on the screen, the time of the last renewal, and the reviewer.
Claim = tuple[str, tuple[int, int] | None, float, str]


@dataclass(slots=True)
class Claims:
    """The pair that each session of this server shows."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: dict[str, Claim] = field(default_factory=dict)

    def take(self, session: str, run: str, pairs: Queue, who: str, catch_up: Callable[[], object]) -> int | None:
        """Return the index of the next pair of a queue that no other session shows, and claim it.

        `catch_up` updates the queue from the store: a pair that another session has just left is free here but has a verdict there.
        """
        with self.lock:
            catch_up()
            place = pairs.next(frozenset(each[1] for each in self._others(session, run) if each[1] is not None))
            self._note(session, run, None if place is None else pairs.pair(place), who)
            return place

    def hold(self, session: str, run: str, pair: tuple[int, int], who: str) -> None:
        """Renew the claim of a session on its pair."""
        with self.lock:
            self._note(session, run, pair, who)

    def names(self, session: str, run: str) -> list[str]:
        """Return the names of the other reviewers of a run, sorted."""
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
    """Return the id of the Streamlit session; empty without a server."""
    context = get_script_run_ctx()
    return context.session_id if context else ""


def is_open(session: str) -> bool:
    """Return whether a session is connected to a browser; False without a server, as in tests."""
    try:
        return bool(get_instance().is_active_session(session))
    except RuntimeError:
        return False


@dataclass(slots=True)
class Names:
    """The default name "Reviewer N" of each session of this server, and its browser."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    given: dict[str, tuple[str, str]] = field(default_factory=dict)

    def of(self, session: str, browser: str) -> str:
        """Return the name of a session: that of a closed tab of the same browser, or one that is not in the store."""
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
    """Return an identifier of the browser that survives a reload; empty if there is none.

    It is a hash of Streamlit's XSRF token, which is masked differently each time it is sent.
    """
    try:
        _, mask, masked, _ = str(st.context.cookies.get("_streamlit_xsrf", "")).split("|")
        token = bytes(byte ^ key for byte, key in zip(bytes.fromhex(masked), cycle(bytes.fromhex(mask)), strict=False))
    except ValueError:
        return ""
    return hashlib.sha256(token).hexdigest()


def default_name() -> str:
    """Return "Reviewer N" with the lowest N that no open session and no decision in the store has; empty if it cannot be read.

    So two people do not undo each other's decisions by accident. A reloaded page keeps its name.
    """
    try:
        return _names().of(session_id(), browser_mark())
    except HnmineError:
        return ""


def reviewer() -> str:
    """Return the reviewer's name in this session."""
    return (st.session_state.get("review-who") or "").strip() or default_name()
