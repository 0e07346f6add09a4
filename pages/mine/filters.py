"""The false-negative filters in use, a row each: slider, number of candidates it removes, and removal. Others are added from a menu."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from hnmine.core.text import counted
from hnmine.selection.filters import FILTERS, Setting
from hnmine.selection.settings import SelectionSettings
from pages.mine.held import Held
from pages.mine.range_slider import slider


def filters(held: Held, settings: SelectionSettings, funnel: Mapping[str, int] | None) -> None:
    """Draw the filters in use and the menu; `funnel` counts the candidates after each step, None before mining."""
    active = [name for name, _ in ((each.name, value) for each, value in settings.filters)]
    others = [name for name, each in FILTERS.items() if name not in active and not missing(each, held)]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"Filters ({len(active)} active)", width="content")
        st.menu_button(
            "Add filter",
            others,
            format_func=lambda name: FILTERS[name].label,
            icon=":material/add:",
            key=f"add-filter-{held.key}",
            on_click=lambda: _add(held, st.session_state[f"add-filter-{held.key}"]),
            disabled=not others,
            help=_unavailable(held) or None,
        )
    steps = list(funnel or ())
    for name in active:
        each, note = FILTERS[name], ""
        if funnel:
            before, after = funnel[steps[steps.index(each.step) - 1]], funnel[each.step]
            note = f"Removes {counted(before - after, 'candidate')}."
        with st.container(horizontal=True, vertical_alignment="top", gap="small"):
            with st.container():
                number(held, each, getattr(settings, name), note, *_between(name, settings))
            st.button(
                "",
                icon=":material/close:",
                key=f"remove-{name}-{held.key}",
                help=f"Remove the filter: {each.label}",
                type="tertiary",
                on_click=held.edit,
                kwargs={name: None},
            )


def number(held: Held, setting: Setting, value: float, note: str, low: float | None = None, high: float | None = None) -> None:
    """Draw the slider of a setting; a value outside it extends its range. `low` and `high` limit the range further."""
    of = setting.slider
    shown = of.shown(value)
    least, most = min(of.low, shown) if low is None else low, max(of.high, shown) if high is None else high
    slider(
        setting.label,
        f"{setting.name}-{held.key}",
        (shown,),
        least,
        most,
        lambda moved: held.edit(**{setting.name: of.setting(float(moved[0]))}),
        step=of.step,
        unit="%" if "%%" in of.format else "",
        help_text=setting.help,
        note=note,
    )


def missing(setting: Setting, held: Held) -> str:
    """Return why a setting cannot be used; empty if its signals are available."""
    names = [name for name in setting.signals if name not in held.available]
    if not names:
        return ""
    if names == ["reranker"]:
        return "This run has no reranker scores." if held.mined else "Needs a reranker."
    if names == ["judge"]:
        return "No judge has graded pairs of this run." if held.mined else "Needs grades of a judge, which are given after mining."
    return "This run has no signals. Mine again to compute them."


def _unavailable(held: Held) -> str:
    """Return which filters are not offered, and why; empty if all are. Without a judge, which few runs have, its filter is not named."""
    reasons: dict[str, list[str]] = {}
    for each in FILTERS.values():
        if each.name != "judge_grade" and (reason := missing(each, held)):
            reasons.setdefault(reason, []).append(each.label)
    return " ".join(f"Not available: {', '.join(labels)}. {reason}" for reason, labels in reasons.items())


def _between(name: str, settings: SelectionSettings) -> tuple[float | None, float | None]:
    """Return the ends of a slider that another filter limits: the minimum score is not above the maximum score."""
    return (settings.min_score if name == "max_score" else None), (settings.max_score if name == "min_score" else None)


def _add(held: Held, name: str | None) -> None:
    if name not in FILTERS:
        return
    of, settings = FILTERS[name].slider, held.settings
    low, high = _between(name, settings)
    value = held.before(name, of.setting(of.default))
    value = value if low is None else max(value, low)
    held.edit(**{name: value if high is None else min(value, high)})
