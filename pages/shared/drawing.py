"""Draw charts. The specification stays the same between reruns, so the browser updates the data instead of rebuilding the chart."""

from __future__ import annotations

from collections.abc import Callable

import pandas  # noqa: F401 (before any chart is made: Altair fails while another session's thread is importing it)
import streamlit as st

from hnmine.analysis.figure import Figure


def draw(figure: Figure, key: str, on_select: Callable[[], None] | None = None) -> None:
    """Draw a figure in the theme's colours; `on_select` is called when the selection in it changes."""
    spec = {**figure.spec, "datasets": figure.tables}
    st.vega_lite_chart(spec=spec, alt=figure.description, key=key, on_select=on_select or "ignore")
