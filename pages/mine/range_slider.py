"""A slider with one or two thumbs that sends its values while it moves.

Streamlit's own slider sends when the mouse is released, and loses key presses while a script runs. The caller keeps the values and
passes them at each run, so presets can set them. Each move has a number: the browser ignores values that answer an earlier move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_FILES = Path(__file__)
_component = st.components.v2.component(
    "hnmine_range_slider", **{kind: _FILES.with_suffix(f".{kind}").read_text("utf-8") for kind in ("html", "css", "js")}
)

Values = tuple[float, ...]


def slider(
    label: str,
    key: str,
    values: Values,
    low: float,
    high: float,
    on_move: Callable[[Values], None],
    *,
    step: float = 1.0,
    gap: float = 0.0,
    unit: str = "",
    names: tuple[str, ...] = (),
    help_text: str = "",
    note: str = "",
    lines: int = 1,
) -> None:
    """Draw a slider with one or two values; `on_move` gets those that the browser sends, before the script runs again.

    Args:
        label, help_text, note: what it sets, an explanation behind "?", and a sentence below it, which has room for `lines`.
        low, high, step: of the numbers. gap: the smallest difference of two values.
        unit: written after the numbers. names: of the thumbs, for screen readers.
    """

    def moved() -> None:
        found = sent(st.session_state[key].moved, len(values), low, high, gap)
        if found is not None:
            on_move(found)

    last = (st.session_state.get(key) or {}).get("moved")
    _component(
        key=key,
        data={
            "label": label,
            "help": help_text,
            "note": note,
            "lines": lines,
            "unit": unit,
            "names": names or (label,),
            "low": low,
            "high": high,
            "step": step,
            "gap": gap,
            "values": values,
            "turn": last.get("turn", 0) if isinstance(last, dict) else 0,
        },
        on_moved_change=moved,
    )


def sent(moved: Any, count: int, low: float, high: float, gap: float = 0.0) -> Values | None:
    """Return the values that a browser sent, or None if they are not `count` numbers from low to high that are `gap` apart."""
    values = moved.get("values") if isinstance(moved, dict) else None
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(each, int | float) and math.isfinite(each) and low <= each <= high for each in values):
        return None
    return None if count == 2 and values[1] - values[0] < gap else tuple(values)
