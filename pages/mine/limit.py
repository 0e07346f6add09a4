"""The limit of the strategy "hardest" as widgets: by an estimated false-negative rate, by a hardness, or by nothing."""

from __future__ import annotations

import math
from collections.abc import Collection

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.runs.summary import Summary
from hnmine.selection.settings import SelectionSettings
from hnmine.selection.targets import HARDNESS, MAX_FN_RATE
from pages.mine import filters

NOTHING, NUMBER = "nothing", "number"
LIMITS = {MAX_FN_RATE.name: "estimated false-negative rate", HARDNESS.name: "hardness", NOTHING: "nothing"}
HARDNESSES = {"percpos": "as PercPos 0.95", "hn_mine": "as hn_mine.py", NUMBER: "mean similarity"}
Limit = dict[str, float | str]


def hold(key: str, settings: SelectionSettings, *, overwrite: bool) -> None:
    """Make the widgets show these settings: those in use with `overwrite`, else only those without a value."""
    put = st.session_state.__setitem__ if overwrite else st.session_state.setdefault
    put(f"limit-{key}", settings.targets[0] if settings.targets else NOTHING)
    filters.hold_slider(key, MAX_FN_RATE, settings.max_fn_rate, overwrite=overwrite)
    hardness = settings.hardness
    if hardness is not None or not overwrite:
        put(f"hardness-of-{key}", NUMBER if isinstance(hardness, float) else hardness or "percpos")
    filters.hold_slider(key, HARDNESS, hardness if isinstance(hardness, float) else None, overwrite=overwrite)


def limit(key: str, available: Collection[str], *, mined: bool) -> tuple[Limit, DeltaGenerator]:
    """Draw the limit; return its field of SelectionSettings, none if it is off, and the place of the caption.

    Args:
        key, available, mined: as in `selection.selection`.
    """
    missing = filters.missing(MAX_FN_RATE, available, mined=mined)
    found: Limit = {}
    with st.container(border=True):
        by = st.segmented_control(
            "Limit by",
            list(LIMITS),
            required=True,
            format_func=LIMITS.get,
            key=f"limit-{key}",
            persist_state="session",
            disabled=bool(missing),
            wrap=True,
            help="The hardest negatives that keep to an estimated false-negative rate, the negatives with the lowest estimated rate at a "
            "hardness, or the highest similarities.",
        )
        caption = "Takes the highest similarities."
        if missing:
            caption = missing
        elif by == MAX_FN_RATE.name:
            found[by] = filters.slider(key, MAX_FN_RATE, help=MAX_FN_RATE.help)
            caption = "A model estimate. Run an audit to measure the rate."
        elif by == HARDNESS.name:
            found[by] = _hardness(key)
            caption = "Of all selections that are this hard on average, takes the one with the lowest estimated false-negative rate."
        slot = st.empty()
        slot.caption(caption)
    return found, slot


def _hardness(key: str) -> float | str:
    """Draw the choice of the hardness."""
    chosen = st.segmented_control(
        "Hardness",
        list(HARDNESSES),
        required=True,
        format_func=HARDNESSES.get,
        key=f"hardness-of-{key}",
        persist_state="session",
        wrap=True,
        help="Mean similarity of the negatives to their queries: that of another preset on this data, with the same number of negatives, "
        "or a number.",
    )
    if chosen != NUMBER:
        return chosen or "percpos"
    return filters.slider(key, HARDNESS, label="Mean similarity", label_visibility="collapsed")


def show(key: str, settings: SelectionSettings, summary: Summary, slot: DeltaGenerator) -> None:
    """Warn of a limit that is out of reach; while another limit is used, let the slider of the hardness begin at the present one."""
    if note := summary.out_of_reach:
        slot.warning(f"{note[0].upper()}{note[1:]}.", icon=":material/warning:")
    if summary.hardness is not None and not isinstance(settings.hardness, float):
        filters.hold_slider(key, HARDNESS, math.floor(100 * summary.hardness) / 100, overwrite=True)
