"""Tables that send one page at a time to the browser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine.analysis.listing import pages
from hnmine.resources import OpenRun
from pages.shared.state import query_id

Ints = npt.NDArray[np.int64]

PAGE = 50


def table(
    run: OpenRun,
    key: str,
    count: int,
    columns: Callable[[Ints], dict[str, object]],
    config: dict[str, object],
    alt: str,
    queries: Ints | None,
) -> None:
    """Draw one page of a table of `count` rows.

    Args:
        run: the run that the queries belong to.
        key: of the widgets.
        count: number of rows.
        columns: returns the cells of the rows with the given indices.
        config: column configuration of Streamlit.
        alt: description of the table.
        queries: query of each row, to open on the Inspect screen by a click; None to ignore clicks.
    """
    if not count:
        st.text("None.")
        return
    page = min(max(1, int(st.session_state.get(f"{key}-page", 1))), pages(count, PAGE))
    shown = np.arange((page - 1) * PAGE, min(page * PAGE, count))
    chosen = st.dataframe(
        columns(shown),
        key=f"{key}-{page}",
        hide_index=True,
        height="content" if len(shown) < 9 else 320,
        placeholder="–",
        on_select="ignore" if queries is None else "rerun",
        selection_mode="single-row",
        column_config=config,
        alt=alt,
    )
    notes = [f"{shown[0] + 1:,} to {shown[-1] + 1:,} of {count:,}."] if count > PAGE else []
    if queries is not None:
        notes.append("Select a row to inspect its query.")
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.text(" ".join(notes))
        if count > PAGE:
            st.pagination(pages(count, PAGE), key=f"{key}-page", persist_state="session")
    if queries is not None and (rows := chosen.selection.rows) and rows[0] < len(shown):
        st.session_state.query = query_id(run.inputs.corpus, int(queries[shown[rows[0]]]))
        st.switch_page("pages/views/inspect.py")
