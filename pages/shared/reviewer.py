"""The name that verdicts of this session are stored with. The Review screen sets it as st.session_state["reviewer"]."""

from __future__ import annotations

import threading

import streamlit as st

from hnmine import resources

_LOCK = threading.Lock()


@st.cache_resource(show_spinner=False)
def _given() -> set[str]:
    return set()


def reviewer() -> str:
    """Return the reviewer's name; by default "Reviewer N" with the lowest N that no verdict and no other session of this server has.

    Raises:
        WorkspaceError: the verdicts cannot be read.
    """
    state = st.session_state
    if name := str(state.get("reviewer") or "").strip():
        return name
    if "reviewer-default" not in state:
        with _LOCK:
            taken = _given() | resources.reviews().names()
            name = next(name for number in range(1, len(taken) + 2) if (name := f"Reviewer {number}") not in taken)
            _given().add(name)
        state["reviewer-default"] = name
    return str(state["reviewer-default"])
