"""The false-negative filters as widgets: a switch and a slider for each of `FILTERS`, and how many candidates each removes.

The values of the widgets are kept in the session under their keys and set there, never by a default, so that a preset can set them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.core.text import counted
from hnmine.selection.filters import FILTERS, Setting
from hnmine.selection.settings import SelectionSettings
from pages.shared import wording

Slots = dict[str, DeltaGenerator]


def hold(key: str, settings: SelectionSettings, *, overwrite: bool) -> None:
    """Make the widgets show these settings: all with `overwrite`, else only those without a value."""
    put = st.session_state.__setitem__ if overwrite else st.session_state.setdefault
    put(f"positive_score-{key}", settings.positive_score)
    for setting in FILTERS.values():
        value = getattr(settings, setting.name)
        put(f"{setting.name}-{key}-on", value is not None)
        hold_slider(key, setting, value, overwrite=overwrite)


def hold_slider(key: str, setting: Setting, value: float | None, *, overwrite: bool) -> None:
    """Make a slider show a value, its own or the default if None; a value outside the slider extends its range."""
    state, name, slider = st.session_state, f"{setting.name}-{key}", setting.slider
    shown = slider.default if value is None else slider.shown(value)
    low, high = state.setdefault(f"{name}-ends", (min(slider.low, shown), max(slider.high, shown)))
    if name not in state or (overwrite and value is not None):
        state[f"{name}-ends"] = (min(low, shown), max(high, shown))
        state[name] = shown


def switch(key: str, setting: Setting, missing: str = "") -> tuple[float | None, DeltaGenerator]:
    """Draw a switch and its slider, both disabled if something is `missing`; return the value, and the place of the caption."""
    on = st.toggle(setting.label, key=f"{setting.name}-{key}-on", persist_state="session", help=setting.help, disabled=bool(missing))
    off = bool(missing) or not on
    value = slider(key, setting, label=f"{setting.label}: value", disabled=off, label_visibility="collapsed")
    slot = st.empty()
    slot.caption(missing or ("counts appear after mining" if on else "off"))
    return (None if off else value), slot


def slider(key: str, setting: Setting, *, label: str = "", **more: Any) -> float:
    """Draw the slider of a setting, by its own label if none is given; return its value. `more` is for `st.slider`."""
    name, of = f"{setting.name}-{key}", setting.slider
    low, high = st.session_state[f"{name}-ends"]
    shown = st.slider(label or setting.label, low, high, step=of.step, format=of.format, key=name, persist_state="session", **more)
    return of.setting(float(shown))


def filters(key: str, available: Collection[str], *, mined: bool) -> tuple[dict[str, Any], Slots]:
    """Draw all filters, collapsed while none is in use.

    Args:
        key: of the data set or run that they belong to.
        available: signals that the run has or will have.
        mined: whether the key is that of a run.

    Returns:
        The fields of SelectionSettings, and for each filter in use, by its name, the place of the caption for `show_removed`.
    """
    state = st.session_state
    in_use = any(state[f"{name}-{key}-on"] for name in FILTERS)
    expanded = state.setdefault(f"filters-expanded-{key}", in_use)
    fields: dict[str, Any] = {}
    slots: Slots = {}
    with (
        st.expander("False-negative filters", icon=":material/filter_alt:", expanded=expanded),
        st.grid(3, min_column_width=220),
    ):
        for name, each in FILTERS.items():
            with st.container(border=True):
                fields[name], slots[name] = switch(key, each, missing(each, available, mined=mined))
        with st.container(border=True):
            fields["positive_score"] = _positive_score(key)
    low, high = fields["min_score"], fields["max_score"]
    if low is not None and high is not None and low > high:
        slots["min_score"].warning("Ignored: the minimum score is above the maximum score.", icon=":material/warning:")
        fields["min_score"] = None
    return fields, {name: slot for name, slot in slots.items() if fields[name] is not None}


def missing(setting: Setting, available: Collection[str], *, mined: bool) -> str:
    """Return why a setting is disabled; empty if its signals are available."""
    names = [name for name in setting.signals if name not in available]
    if not names:
        return ""
    if names == ["reranker"]:
        return "This run has no reranker scores." if mined else "Needs a reranker."
    return "This run has no signals. Mine again to compute them."


def _positive_score(key: str) -> str:
    """Draw the choice of the score that represents several positives."""
    chosen: str = st.selectbox(
        "Score of several positives",
        list(wording.POSITIVE_SCORES),
        format_func=wording.POSITIVE_SCORES.__getitem__,
        key=f"positive_score-{key}",
        persist_state="session",
        help="The score that represents the positives of a query that has several. Positives outside the window are often mislabelled, so "
        "by default they do not count.",
    )
    return chosen


def show_removed(slots: Slots, funnel: dict[str, int]) -> None:
    """Write below each filter in use, and in one line below the filters, how many candidates it removes."""
    steps = list(funnel)
    removed = []
    for name, slot in slots.items():
        step = FILTERS[name].step
        count = funnel[steps[steps.index(step) - 1]] - funnel[step]
        slot.caption(f"removes {counted(count, 'candidate')}")
        removed.append(f"{FILTERS[name].short} removes {count:,}")
    if removed:
        st.caption(f"Filters: {', '.join(removed)}")
