"""Pairs that the judge found relevant, added as positives in bulk: a decision of the person who presses, and one undo reverts it."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, visible
from hnmine.resources import OpenRun
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.relabelling import LEAST_COMMON, Promotable, promotable, promote
from pages.shared import access, judging, wording
from pages.shared.reviewers import reviewer
from pages.shared.widgets import choice, failed

__all__ = ["draw"]

# Percentages of agreement to choose from; the second is the default.
LEVELS = (80, 90, 95)
# What this session promoted last: its batch and its number of pairs, and why an undo did nothing.
_DONE, _PROBLEM = "judge-promoted", "judge-promotion-problem"


def draw(run: OpenRun, found: judging.Graded, settings: JudgeSettings) -> bool:
    """Draw the button, or why it is disabled; return whether more verdicts of people are needed on pairs that the judge found relevant.

    Raises:
        WorkspaceError: the verdicts cannot be read.
    """
    _promoted()
    level = int(st.session_state.get("judge-level") or LEVELS[1])
    corpus, people = run.inputs.corpus, resources.reviews().by_reviewer()
    offered = promotable(corpus, found.judgements, people, settings.relevant_from, level / 100)
    number = len(offered.pairs)
    if not number:
        return False
    reason = _reason(offered, level)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = f"Promote {counted(number, 'judge-positive pair')}"
        with st.popover(label, icon=":material/add_circle:", disabled=bool(reason), key="judge-promote"):
            who = access.person() or _name()
            st.text(
                f"Adds {counted(number, 'passage')} as positives of their queries. These become verdicts of {who}, with a note "
                "that names the judge. Pairs that a reviewer has judged stay as they are. One undo reverts it."
            )
            st.button(f"Add {counted(number, 'positive')}", type="primary", key="judge-promote-go", on_click=_promote, args=(offered, who))
        if offered.common >= LEAST_COMMON:
            _level()
    if reason:
        st.text(reason)
    return offered.common < LEAST_COMMON


def _name() -> str:
    """Draw the field of the reviewer's name, and return it: the name that the browser remembers is known once Review was open."""
    own = reviewer()
    return visible(st.text_input("Your name", value=own, max_chars=60, key=f"judge-promote-name-{own}").strip()) or own


def _level() -> None:
    """Draw the choice of the agreement that a promotion needs."""
    options = {each: f"{each}%" for each in LEVELS}
    choice(
        "Agreement needed",
        options,
        "judge-level",
        LEVELS[1],
        "Of the judge-positive pairs that people judged too, this part must be relevant.",
    )


def _reason(offered: Promotable, level: int) -> str:
    """Return why pairs cannot be promoted, or an empty text."""
    if offered.common < LEAST_COMMON:
        return (
            f"Promotion needs verdicts of people on {LEAST_COMMON:,} judge-positive pairs, to know how often the judge is right. "
            f"There {'is' if offered.common == 1 else 'are'} {offered.common:,}."
        )
    if offered.agreement is None or offered.agreement < level / 100:
        found = "unknown" if offered.agreement is None else wording.percent(offered.agreement)
        return f"People agree with {found} of the {offered.common:,} judge-positive pairs they judged. Promotion needs {level}%."
    return ""


def _promote(offered: Promotable, who: str) -> None:
    """Write the verdicts. Streamlit calls it before it draws the screen again."""
    try:
        batch = promote(resources.reviews(), offered, who)
    except HnmineError as error:
        st.session_state[_PROBLEM] = f"Nothing was promoted: {error}"
        return
    st.session_state[_DONE] = batch, len(offered.pairs), who


def _promoted() -> None:
    """Say what was promoted, with the way back."""
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        failed("The promotion was not changed", problem)
    if (done := st.session_state.get(_DONE)) is None:
        return
    batch, number, who = done
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(f"{counted(number, 'pair')} added as positives.", icon=":material/check:")
        st.button("Undo", icon=":material/undo:", key="judge-promote-undo", on_click=_undo, args=(batch, who))


def _undo(batch: int, who: str) -> None:
    st.session_state.pop(_DONE, None)
    try:
        last = resources.reviews().recent(1, who)
        if not last or last[0].batch != batch:
            st.session_state[_PROBLEM] = "Other decisions followed. Undo them first on Review, or change the verdicts in its table."
            return
        resources.reviews().undo(who)
    except HnmineError as error:
        st.session_state[_PROBLEM] = str(error)
