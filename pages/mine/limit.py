"""The limit of the strategy "hardest": an estimated false-negative rate, a difficulty, or none."""

from __future__ import annotations

import math

import streamlit as st

from hnmine.runs.summary import Summary
from hnmine.selection.settings import HARDNESS, MAX_FN_RATE, SelectionSettings
from pages.mine import filters
from pages.mine.held import Held

NOTHING, NUMBER = "nothing", "number"
LIMITS = {MAX_FN_RATE.name: "False-negative rate", HARDNESS.name: "Difficulty", NOTHING: "None"}
HARDNESSES = {"percpos": "as TopK-PercPos 0.95", "hn_mine": "as hn_mine.py", NUMBER: "a mean similarity"}


def limit(held: Held, settings: SelectionSettings, summary: Summary | None) -> None:
    """Draw the limit and its value; `summary` is that of the present selection, None before mining."""
    if missing := filters.missing(MAX_FN_RATE, held):
        st.text(f"No limit: takes the highest similarities. {missing}")
        return
    key, state = f"limit-{held.key}", st.session_state
    state[key] = settings.targets[0] if settings.targets else NOTHING
    st.radio(
        "Limit",
        list(LIMITS),
        format_func=LIMITS.__getitem__,
        key=key,
        on_change=lambda: _choose(held, state[key]),
        horizontal=True,
        help="Take the hardest negatives up to an estimated false-negative rate, those with the lowest rate at a difficulty, or simply the "
        "highest similarities.",
    )
    if settings.max_fn_rate is not None:
        filters.number(held, MAX_FN_RATE, settings.max_fn_rate, "An estimate. To measure the rate, run an audit on Quality.")
    elif settings.hardness is not None:
        _hardness(held, settings, summary)
    if summary is not None and (note := summary.out_of_reach):
        st.warning(f"{note[0].upper()}{note[1:]}.", icon=":material/warning:")


def _choose(held: Held, by: str) -> None:
    value = {MAX_FN_RATE.name: held.before(MAX_FN_RATE.name, 0.01), HARDNESS.name: held.before(HARDNESS.name, "percpos")}
    none = dict.fromkeys(value)
    held.edit(**(none | ({by: value[by]} if by in value else {})))


def _hardness(held: Held, settings: SelectionSettings, summary: Summary | None) -> None:
    """Draw the difficulty: that of a preset, or a number."""
    key, state, hardness = f"hardness-of-{held.key}", st.session_state, settings.hardness
    now = 0.45 if summary is None or summary.hardness is None else math.floor(100 * summary.hardness) / 100
    state[key] = hardness if isinstance(hardness, str) else NUMBER
    st.selectbox(
        "Difficulty",
        list(HARDNESSES),
        format_func=HARDNESSES.__getitem__,
        key=key,
        on_change=lambda: held.edit(hardness=now if state[key] == NUMBER else state[key]),
        label_visibility="collapsed",
        help="Mean similarity of the negatives to their queries (hardness): that of a preset on this data, or a number.",
    )
    if isinstance(hardness, float):
        filters.number(held, HARDNESS, hardness, "Takes the selection of this difficulty with the lowest estimated false-negative rate.")
