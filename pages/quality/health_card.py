"""The health of the data on the Quality screen: each finding is a number, a sentence, and the way to its queries or pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import streamlit as st

from hnmine.analysis.diagnostics import LOW_RANK
from hnmine.analysis.explanation import HUB_SHARE
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics, wording

# Lengths that differ by more than this factor can be learnt in place of the meaning.
UNLIKE = 1.25


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the card."""
    positives, hubs, lengths = statistics.positives(run, selection), statistics.hubs(run, selection), statistics.lengths(run, selection)
    low = int(positives.low.sum())
    few = int((selection.short | selection.random_filled.any(axis=1)).sum())
    _finding(
        counted(low, "positive is", "positives are") + f" not in the top {LOW_RANK}",
        "The label can be wrong, and filters compare with its score." if low else "Nothing to do.",
        ("Inspect", "health-low", lambda: _inspect("low")) if low else None,
    )
    _finding(
        counted(hubs.hubs, "passage is reused", "passages are reused"),
        f"A reused passage is a negative of more than {wording.percent(HUB_SHARE)} of the queries.",
        ("Review", "health-hubs", _review_reused) if hubs.hubs else None,
    )
    if lengths.positives[0] and not math.isnan(lengths.chosen[0]):
        ratio = lengths.chosen[0] / lengths.positives[0]
        unlike = not 1 / UNLIKE < ratio < UNLIKE
        _finding(
            f"Negatives are {ratio:,.{2 if ratio < 10 else 0}f} times as long as positives",
            "A model can learn length instead of meaning." if unlike else "Length does not tell them apart.",
            ("Compare", "health-lengths", None),
        )
    if few:
        _finding(
            counted(few, "query has", "queries have") + " too few negatives",
            "The rank range has too few candidates left. Widen it, or relax a filter.",
            ("Inspect", "health-short", lambda: _inspect("short")),
        )


def _finding(number: str, sentence: str, action: tuple[str, str, Callable[[], None] | None] | None) -> None:
    """Draw one finding; an action without a function opens the details at the lengths."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False):
        st.markdown(f"**{number}.** {sentence}", width="stretch")
        if action is not None:
            label, key, work = action
            if st.button(label, key=key, on_click=_show_lengths if work is None else None) and work is not None:
                work()


def _inspect(show: str) -> None:
    """Open the Inspect screen with one filter of its list."""
    session = st.session_state
    session["inspect-show"], session["inspect-search"], session.query = show, "", None
    st.switch_page("pages/views/inspect.py")


def _review_reused() -> None:
    """Open the Review screen with the most reused passages first."""
    st.session_state["review-source"], st.session_state["review-order"], st.session_state["review-words"] = "chosen", "hubs", ""
    st.switch_page("pages/views/review.py")


def _show_lengths() -> None:
    st.session_state["quality-details"], st.session_state["quality-view"] = True, "lengths"
