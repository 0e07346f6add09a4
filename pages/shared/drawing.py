"""How every chart gets on a screen: its specification stays the same, so that a browser moves the bars and does not draw it anew."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from hnmine.analysis.charts import Figure


def draw(figure: Figure, key: str, on_select: Callable[[], None] | None = None) -> None:
    """Draw a figure in the theme's colours; `on_select` is called when something is selected in it."""
    spec = {**figure.spec, "datasets": figure.tables}
    st.vega_lite_chart(spec=spec, alt=figure.description, key=key, on_select=on_select or "ignore")
