"""The rows of the list of queries: a list box of ours, because a grid of Streamlit needs a mouse and cannot follow "next query"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import streamlit as st

_HERE = Path(__file__).parent
_rows = st.components.v2.component(
    "hnmine_query_rows",
    html='<div role="listbox" tabindex="0"></div>\n',
    css=(_HERE / "rows.css").read_text(),
    js=(_HERE / "rows.js").read_text(),
)


class Row(msgspec.Struct, kw_only=True):
    """A query: its text, the facts below, the counts of its histogram, and the place of its positive on the axis (0..1), or None."""

    id: str
    text: str
    facts: str
    bars: list[int]
    positive: float | None = None


def draw(rows: list[Row], picked: str | None, *, key: str, turn: int, on_pick: Callable[[str], None], label: str, height: int) -> None:
    """Draw the rows with `picked` marked; `on_pick` is called with the id that a person picks. `turn` changes with each drawing."""

    def chosen() -> None:
        if name := st.session_state[key].get("picked"):
            on_pick(str(name))

    _rows(
        key=key,
        data={"rows": msgspec.to_builtins(rows), "picked": picked, "label": label, "turn": turn, "height": height},
        on_picked_change=chosen,
    )
