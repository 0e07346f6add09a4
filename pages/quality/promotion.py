"""Pairs that the judge found relevant, added as positives in bulk: a decision of the person who presses, one undo reverts it."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, shortened, visible
from hnmine.resources import OpenRun
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.relabelling import Promotable, promotable, promote
from pages.shared import judging, wording
from pages.shared.reviewers import reviewer
from pages.shared.widgets import failed

__all__ = ["draw"]

# Percentages of agreement to choose from.
LEVELS = (80, 90, 95)
_DONE = "judge-promoted"


def draw(run: OpenRun, found: judging.Graded, settings: JudgeSettings) -> None:
    """Draw the button with what it does, or why it is not there; and after it, the way back."""
    level = int(st.session_state.get("judge-level") or LEVELS[1])
    offered = promotable(run.inputs.corpus, found.judgements, resources.reviews().by_reviewer(), settings.relevant_from, level / 100)
    _promoted()
    if not len(offered.pairs[0]):
        return
    count = counted(len(offered.pairs[0]), "judge-positive pair")
    reason = _reason(offered, level)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.popover(f"Promote {count}", icon=":material/add_circle:", disabled=bool(reason), key="judge-promote"):
            _confirm(run, offered, settings, count)
        st.segmented_control(
            "Agreement needed",
            LEVELS,
            default=LEVELS[1],
            required=True,
            format_func=lambda each: f"{each}%",
            key="judge-level",
            persist_state="session",
            help="Of the judge-positive pairs that reviewers judged too, this percentage must be relevant.",
        )
    if reason:
        st.text(reason)
