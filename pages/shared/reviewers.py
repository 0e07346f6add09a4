"""The desks that are open on this server, with their reviewers: which pairs are leased to whom, and a default name for each."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from hnmine import resources
from hnmine.core.text import visible
from hnmine.review.leases import Leases
from pages.shared import access


@dataclass(slots=True)
class Desks:
    """The desk and the reviewer of each Streamlit session.

    A desk is alive while its session is connected and has no newer desk, so a closed or reloaded page frees its pairs at once.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: dict[str, tuple[str, str]] = field(default_factory=dict)

    def enter(self, session: str, desk: str, who: str) -> None:
        """Note the desk and the reviewer of a session; forget sessions that are closed."""
        with self.lock:
            self.held = {name: each for name, each in self.held.items() if is_open(name)}
            self.held[session] = desk, who

    def alive(self, desk: str) -> bool:
        """Return whether a desk is open in a browser."""
        with self.lock:
            return any(held == desk and is_open(session) for session, (held, _) in self.held.items())

    def new_name(self, session: str) -> str:
        """Return "Reviewer N" with the lowest N that no other desk and no decision in the store has, and hold it for the session."""
        with self.lock:
            taken = resources.reviews().names() | {who for name, (_, who) in self.held.items() if name != session and is_open(name)}
            who = next(name for number in range(1, len(taken) + 2) if (name := f"Reviewer {number}") not in taken)
            self.held[session] = self.held.get(session, ("", ""))[0], who
            return who


@st.cache_resource(show_spinner=False)
def desks() -> Desks:
    """Return the desks of this server."""
    return Desks()


@st.cache_resource(show_spinner=False)
def leases() -> Leases:
    """Return which pairs are on which desk."""
    return Leases()


def remember(who: object) -> None:
    """Take the reviewer's name that a browser sent for this session; it may be anything."""
    if isinstance(who, str) and who.strip():
        st.session_state.reviewer = visible(who.strip())


def reviewer() -> str:
    """Return the name of this session's reviewer: who signed in, or the one that the browser remembers, or else "Reviewer N"."""
    if who := access.person():
        return who
    state = st.session_state
    if not state.get("reviewer"):
        state.reviewer = desks().new_name(session_id())
    return str(state.reviewer)


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
