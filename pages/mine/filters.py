"""The guards against false negatives, as widgets: each of `dials.DIALS` with a switch, and what they removed.

What the widgets show is kept in the session under their keys and written there, never given as a default, so that a preset can set them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.core.text import counted
from hnmine.selection.settings import FILTERS, SelectionSettings
from pages.shared.dials import ANCHORS, DIALS, Dial

Slots = dict[str, DeltaGenerator]

SIGNALS_OF = {guard.setting: guard.signals for guard in FILTERS}
STEP_OF = {guard.setting: guard.step for guard in FILTERS}
BY_POSITIVE = ("max_positive_ratio", "margin")


def hold(key: str, settings: SelectionSettings, *, anew: bool) -> None:
    """Make the widgets show these settings: all of them `anew`, or only those that show nothing yet."""
    put = st.session_state.__setitem__ if anew else st.session_state.setdefault
    put(f"positive_score-{key}", settings.positive_score)
    for setting, dial in DIALS.items():
        hold_dial(key, setting, dial, getattr(settings, setting), anew=anew)


def hold_dial(key: str, setting: str, dial: Dial, value: float | None, *, anew: bool) -> None:
    """Make one switch and its slider show a value, or off; a value beyond the slider's ends moves them, from then on."""
    state, name = st.session_state, f"{setting}-{key}"
    shown = dial.default if value is None else dial.shown(value)
    if anew:
        state[f"{name}-on"] = value is not None
    else:
        state.setdefault(f"{name}-on", value is not None)
    low, high = state.setdefault(f"{name}-ends", (min(dial.low, shown), max(dial.high, shown)))
    if name not in state or (anew and value is not None):
        state[f"{name}-ends"] = (min(low, shown), max(high, shown))
        state[name] = shown


def turned(key: str, setting: str, dial: Dial, missing: str = "") -> tuple[float | None, DeltaGenerator]:
    """Draw a switch and its slider, both disabled where something is `missing`; return the limit, and where to say what it does."""
    state, name = st.session_state, f"{setting}-{key}"
    low, high = state[f"{name}-ends"]
    on = st.toggle(dial.label, key=f"{name}-on", persist_state="session", help=dial.help, disabled=bool(missing))
    shown = st.slider(
        f"{dial.label}: limit",
        low,
        high,
        step=dial.step,
        format=dial.form,
        disabled=bool(missing) or not on,
        key=name,
        persist_state="session",
        label_visibility="collapsed",
    )
    slot = st.empty()
    slot.caption(missing or ("counts appear after mining" if on else "off"))
    return (dial.setting(float(shown)) if on and not missing else None), slot


def guards(key: str, available: Collection[str], *, mined: bool) -> tuple[dict[str, Any], Slots]:
    """Draw all guards, folded away while none is in use.

    Args:
        key: of the data set or run that they belong to.
        available: signals that the run has, or that one will have.
        mined: whether it is a run's.

    Returns:
        The fields of SelectionSettings, and for each guard in use, by its step, the place where `show_removed` says what it removed.
    """
    state = st.session_state
    in_use = any(state[f"{setting}-{key}-on"] for setting in DIALS)
    unfolded = state.setdefault(f"guards-unfolded-{key}", in_use)
    fields: dict[str, Any] = {}
    places: dict[str, DeltaGenerator] = {}
    with (
        st.expander("Guards against false negatives", icon=":material/shield:", expanded=unfolded),
        st.grid(3, min_column_width=220),
    ):
        for setting, dial in DIALS.items():
            with st.container(border=True):
                fields[setting], places[setting] = turned(key, setting, dial, _missing(setting, available, mined=mined))
            if setting == BY_POSITIVE[-1]:
                with st.container(border=True):
                    fields["positive_score"] = _anchor(key, idle=not any(fields[each] is not None for each in BY_POSITIVE))
    low, high = fields["min_score"], fields["max_score"]
    if low is not None and high is not None and low > high:
        places["min_score"].warning("ignored: the minimum score is above the maximum", icon=":material/warning:")
        fields["min_score"] = None
    return fields, {STEP_OF[setting]: place for setting, place in places.items() if fields[setting] is not None}


def _missing(setting: str, available: Collection[str], *, mined: bool) -> str:
    """Say what a guard lacks; empty where it lacks nothing."""
    lacking = [name for name in SIGNALS_OF[setting] if name not in available]
    if not lacking:
        return ""
    if lacking == ["reranker"]:
        return "needs a reranker, which this run has not" if mined else "needs a reranker"
    return "this run has no signals: mine again to have them"


def _anchor(key: str, *, idle: bool) -> str:
    """Draw which score stands for several positives."""
    chosen: str = st.selectbox(
        "The positive's score, of several",
        list(ANCHORS),
        format_func=ANCHORS.__getitem__,
        key=f"positive_score-{key}",
        persist_state="session",
        help="Where a query has several positives: whose score PercPos, the margins and the share of likeness are measured against. "
        "Of the ranked ones: those as near as the window reaches, so that one wrong label does not drag the limit down.",
    )
    st.caption("for PercPos and the margin" + (", both off" if idle else ""))
    return chosen


def show_removed(slots: Slots, funnel: dict[str, int]) -> None:
    """Say under each guard in use, and in one line below the folded guards, how many candidates they removed."""
    steps = list(funnel)
    removed = {step: funnel[steps[steps.index(step) - 1]] - funnel[step] for step in slots}
    for step, slot in slots.items():
        slot.caption(f"removes {counted(removed[step], 'candidate')}")
    if removed:
        names = {step: DIALS[setting].name for setting, step in STEP_OF.items()}
        st.caption("Guards: " + ", ".join(f"{names[step]} removes {count:,}" for step, count in removed.items()))
