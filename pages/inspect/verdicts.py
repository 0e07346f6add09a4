"""Verdicts given on the Inspect screen: on the disk when the press is answered, and undone in the opposite order."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.data.verdicts import Choice
from pages.shared.reviewer import reviewer

MESSAGE, GIVEN = "inspect-message", "inspect-given"


def decide(query: str, passage: str, verdict: Choice | None) -> None:
    """Store a verdict on a pair, or remove it; an error is shown on the next rerun."""
    try:
        resources.reviews().decide([(query, passage)], verdict, reviewer())
    except HnmineError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.session_state[GIVEN] = st.session_state.get(GIVEN, 0) + 1


def given() -> int:
    """Return the number of verdicts that this session has given here and not undone."""
    return int(st.session_state.get(GIVEN, 0))


def undo() -> None:
    """Undo the last verdict that this session has given here."""
    try:
        done = resources.reviews().undo(reviewer())
    except HnmineError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.session_state[GIVEN] = max(0, given() - 1) if done is not None else 0
    if done is not None and done.skipped:
        st.session_state[MESSAGE] = "Another reviewer has given a verdict on this pair since. It is unchanged."
