"""The list of queries on the Inspect screen: range of the histogram, search, filters, sorting, pages.

The browser gets one page, computed by `hnmine.analysis.listing`. Widgets keep their values for the session by
`persist_state`; the range and the selected query are kept in the session state here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine.analysis.charts import similarity_histogram
from hnmine.analysis.listing import COLUMNS, REVIEWED, Listing, pages, sorted_by
from hnmine.analysis.queries import QueryTable
from hnmine.core.text import normalize_text, text_hash
from hnmine.data.corpus import Corpus
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics
from pages.shared.drawing import draw
from pages.shared.state import forget_query, query_id, query_of
from pages.shared.wording import QUERY_COLUMNS, RATIO_SHOWN

Ints = npt.NDArray[np.int64]
Range = tuple[float, float]

PAGE_SIZES = [50, 100, 200]
SHOW_ONLY = {
    "close": "over 95% of the positive",
    "above": "above the positive",
    "low": "positive not in the top 10",
    "short": "short or random-filled",
}
REVIEWED_LABELS = {
    "unreviewed": "not reviewed",
    "relevant": "relevant (removed)",
    "positive": "relevant (added as positive)",
    "junk": "junk (removed)",
}
ORDERS = {"down": "high to low", "up": "low to high"}


def similarity_range(run: OpenRun, selection: Selection) -> Range | None:
    """Draw the histogram; return the selected range."""
    state, name = st.session_state, f"inspect-range-{run.run.id}"
    key = f"inspect-histogram-{run.run.id}-{state.get('inspect-range-turn', 0)}"
    if key not in state:  # a new visit: the chart shows the range of the last one
        state["inspect-range-drawn"] = state.get(name)
    shown, drawn_before = statistics.histograms(run, selection), state["inspect-range-drawn"]
    figure = similarity_histogram(shown, selection.settings, brush=True, range_drawn=drawn_before)
    draw(figure, key, lambda: _drawn(key, name))
    drawn: Range | None = state.get(name)
    with st.container(horizontal=True, vertical_alignment="center"):
        if drawn is None:
            st.caption("Drag across the histogram to filter the queries by the similarity of their negatives.")
        else:
            st.caption(f"Queries with a chosen negative between {drawn[0]:.3f} and {drawn[1]:.3f}.")
            st.button("Clear the range", icon=":material/close:", type="tertiary", key="inspect-clear", on_click=lambda: _clear(name))
    return drawn


def _drawn(key: str, name: str) -> None:
    brush = st.session_state[key].selection.get("brush") or {}
    low, high = next(iter(brush.values()), (None, None))
    st.session_state[name] = None if low is None else (float(low), float(high))


def _clear(name: str) -> None:
    st.session_state[name] = None
    st.session_state["inspect-range-turn"] = st.session_state.get("inspect-range-turn", 0) + 1


def asked_for(drawn: Range | None) -> tuple[Listing, int]:
    """Draw search, filters and sorting; return these settings and the rows per page."""
    state = st.session_state
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search the queries",
            placeholder='words, or "a phrase"',
            key="inspect-search",
            persist_state="session",
            icon=":material/search:",
            width=260,
            help="Queries that contain all words, in any order. Put a phrase in double quotes.",
        )
        show = st.segmented_control(
            "Show only",
            list(SHOW_ONLY),
            format_func=SHOW_ONLY.__getitem__,
            key="inspect-filter",
            persist_state="session",
            wrap=True,
            help="Queries whose hardest negative scores close to or above the positive, whose best positive ranks low, or with too few "
            "negatives in the rank window. Click again for all.",
        )
        reviewed = st.selectbox(
            "Verdict",
            REVIEWED,
            index=None,
            format_func=lambda name: REVIEWED_LABELS.get(name, name),
            placeholder="all",
            key="inspect-reviewed",
            persist_state="session",
            width=150,
            help="Queries with a verdict, without one, or with a verdict of one kind.",
        )
        sort = st.selectbox(
            "Sort by",
            list(COLUMNS),
            format_func=lambda name: QUERY_COLUMNS[name].title,
            key="inspect-sort",
            persist_state="session",
            width=260,
            on_change=lambda: state.update({"inspect-order": "down" if COLUMNS[state["inspect-sort"]] else "up"}),
            help="Sorts all queries, not only this page. Or click a column header.",
        )
        order = st.segmented_control(
            "Order",
            ["down", "up"],
            default=None if "inspect-order" in state else "down",  # a click on a header may have set it
            required=True,
            format_func=ORDERS.__getitem__,
            key="inspect-order",
            persist_state="session",
            help="For queries, low to high is A to Z.",
        )
        size = st.selectbox("Rows per page", PAGE_SIZES, key="inspect-size", persist_state="session", width=120)
    low, high = drawn or (None, None)
    asked = Listing(
        words='"'.join(normalize_text(part) for part in words.split('"')),
        show=show,
        reviewed=reviewed,
        low=low,
        high=high,
        sort=sort,
        descending=order == "down",
    )
    return asked, size


def listed(run: OpenRun, selection: Selection, asked: Listing, size: int) -> int:
    """Draw one page of the matching queries; return the selected query, or else the first. Stop the script when none matches."""
    state, corpus = st.session_state, run.inputs.corpus
    table, found = statistics.query_table(run, selection), statistics.found(run, selection, asked)
    if not len(found):
        st.info("No matches. Change the search, the filters or the range.", icon=":material/filter_alt_off:")
        st.stop()
    picked = query_of(corpus, state.query)
    if picked is None and state.query is not None:
        st.info("The query in the address is not in this run. The first query of the list is shown.", icon=":material/link_off:")
        forget_query()
    at = np.flatnonzero(found == picked) if picked is not None else np.zeros(0, np.int64)
    count = pages(len(found), size)
    # A new list starts at its first page or at that of the selected query; selecting a query does not change the page.
    list_id = f"{text_hash(f'{run.key} {selection.settings} {asked} {size} {state.query_turn}'):016x}"
    pages_key = f"inspect-page-{list_id}"
    first = state.setdefault(f"{pages_key}-first", int(at[0]) // size + 1 if len(at) else 1)
    page = min(max(1, int(state.get(pages_key, first))), count)
    shown = found[(page - 1) * size : page * size]
    place = np.flatnonzero(shown == picked) if picked is not None else at
    _table(corpus, run.ranking.depth, table, shown, asked, f"inspect-queries-{list_id}-{page}", int(place[0]) if len(place) else None)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(
            f"{len(found):,} of {len(corpus.queries):,} queries"
            + (f" · {(page - 1) * size + 1:,} to {(page - 1) * size + len(shown):,} on this page" if count > 1 else "")
            + f" · sorted by {QUERY_COLUMNS[sorted_by(asked, table)].title}, {ORDERS['down' if asked.descending else 'up']}"
            + ("" if len(at) else " · select a row to see its candidates")
        )
        if count > 1:
            st.pagination(count, default=first, key=pages_key, persist_state="session")
    return int(picked) if picked is not None and len(at) else int(shown[0])


def _table(corpus: Corpus, depth: int, table: QueryTable, shown: Ints, asked: Listing, key: str, place: int | None) -> None:
    by, order = sorted_by(asked, table), ORDERS["down" if asked.descending else "up"]
    values: dict[str, Any] = {
        "query": [corpus.queries[query] for query in shown],
        "fn_probability": None if table.fn_probability is None else 100 * table.fn_probability[shown],
        "positive": table.positive[shown],
        "positive_rank": [str(rank) if rank < depth else f"{depth}+" for rank in table.positive_rank[shown].tolist()],
        "hardest": table.hardest[shown],
        "margin": table.margin[shown],
        "ratio": 100 * np.minimum(table.ratio[shown], RATIO_SHOWN),
        "negatives": table.negatives[shown],
        "reviewed": table.reviewed[shown] if table.reviewed.any() else None,
    }
    labels = {name: each.header + (" ↓" if asked.descending else " ↑") * (name == by) for name, each in QUERY_COLUMNS.items()}
    config = {name: each.config(label=labels[name]) for name, each in QUERY_COLUMNS.items()}
    if table.fn_probability is not None:
        most = max(1.0, float(np.nanmax(100 * table.fn_probability, initial=0)))
        each = QUERY_COLUMNS["fn_probability"]
        config["fn_probability"] = st.column_config.ProgressColumn(
            labels["fn_probability"], help=each.help, format=each.form, min_value=0.0, max_value=most
        )
    shown_ids = [query_id(corpus, query) for query in shown.tolist()]
    st.dataframe(
        {name: column for name, column in values.items() if column is not None},
        key=key,
        hide_index=True,
        height=280,
        placeholder="–",
        on_select=lambda: _picked(key, shown_ids),
        selection_mode=["single-row", "single-column"],
        selection_default=None if place is None else {"selection": {"rows": [place], "columns": [], "cells": []}},
        column_config=config,
        alt=f"Queries sorted by {QUERY_COLUMNS[by].title}, {order}",
    )


def _picked(key: str, shown: list[str]) -> None:
    """Select the clicked row, or sort by the clicked column; a second click reverses the order."""
    state, chosen = st.session_state, st.session_state[key].selection
    if chosen.columns:
        column = chosen.columns[0]
        down = state["inspect-order"] == "up" if state["inspect-sort"] == column else COLUMNS[column]
        state["inspect-sort"], state["inspect-order"] = column, "down" if down else "up"
    else:
        state.query = shown[chosen.rows[0]] if chosen.rows and chosen.rows[0] < len(shown) else None
