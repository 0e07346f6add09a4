"""The list of queries on the Inspect screen: search, filter, order, and a page of rows.

The order is that of `hnmine.analysis.listing`; the browser gets one page. The list and the query beside it are two fragments, so
picking a query sends that query alone. The values of the widgets and the picked query are in the address.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import streamlit as st

from hnmine.analysis.histograms import mini_histograms
from hnmine.analysis.listing import COLUMNS, FILTERS, Ints, Listing, pages, sorted_by
from hnmine.analysis.queries import QueryTable
from hnmine.core.text import counted, normalize_text
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.inspect import rows
from pages.shared import limits, state, statistics
from pages.shared.printable import printable
from pages.shared.wording import QUERY_COLUMNS, RATIO_SHOWN, probability

LIST, DETAIL = "inspect-list", "inspect-detail"  # the two fragments
VIEW = "inspect-view"  # the list's settings as they are in the address
PAGE = 50
SHOW = {
    "all": "All",
    "above": "Above the positive",
    "close": "Near the positive (over 95%)",
    "low": "Positive not in top 10",
    "short": "Incomplete",
    "reviewed": "Reviewed",
    "unreviewed": "Not reviewed",
}
SHOW_HELP = (
    "Above or near the positive: the hardest negative scores above it, or over 95% of it. "
    "Incomplete: too few negatives, or some filled at random."
)
ORDERS = {"down": "High to low", "up": "Low to high"}
DEFAULTS = {"search": "", "show": "all", "sort": "fn_probability", "order": "down"}
HEIGHT = 524  # of the rows, in pixels


class Listed(NamedTuple):
    """The queries that match, in their order, and the index of the picked one; None without a match."""

    asked: Listing
    found: Ints
    place: int | None


def adopt() -> None:
    """Take the list's settings from the address: in a new session, by a link, or by the browser's back button."""
    session = st.session_state
    if session.get("inspect-turn", 0) == session.query_turn:
        return
    session["inspect-turn"] = session.query_turn
    known = {"show": SHOW, "sort": COLUMNS, "order": ORDERS}
    for name, default in DEFAULTS.items():
        value = session.view.get(name, default)
        session[f"inspect-{name}"] = value if value in known.get(name, [value]) else default


def _view() -> dict[str, str]:
    """Return the list's settings that are not the defaults."""
    session = st.session_state
    return {name: value for name, default in DEFAULTS.items() if (value := session.get(f"inspect-{name}", default)) != default}


def listed(run: OpenRun, selection: Selection) -> Listed:
    """Return the list as this session has set it; a query of a link that the filters leave out clears them."""
    session, corpus = st.session_state, run.inputs.corpus
    for name, default in DEFAULTS.items():
        session.setdefault(f"inspect-{name}", default)
    if (show := shown_by(session["inspect-show"])) != session["inspect-show"]:
        session["inspect-show"] = show
    wanted = state.query_of(corpus, session.query)
    if session.query is not None and wanted is None:
        session.query, session["inspect-unknown"] = None, True
    asked = _asked()
    found = statistics.found(run, selection, asked)
    at = np.flatnonzero(found == wanted) if wanted is not None else found[:0]
    if wanted is not None and not len(at) and session.query != session.get("inspect-picked"):
        clear()
        asked = _asked()
        found = statistics.found(run, selection, asked)
        at = np.flatnonzero(found == wanted)
    if not len(at):
        session.query = None
    session["inspect-picked"] = session.query
    session.view = _view()
    state.write_address("inspect")
    return Listed(asked, found, int(at[0]) if len(at) else 0 if len(found) else None)


def shown_by(choice: str) -> str:
    """Return the filter of a choice; Streamlit returns the label of an option whose count has changed since the browser drew it."""
    return choice if choice in SHOW else next((name for name, label in SHOW.items() if choice.startswith(f"{label} (")), "all")


def clear() -> None:
    """Show all queries again."""
    st.session_state["inspect-search"], st.session_state["inspect-show"] = "", "all"


def pick(name: str) -> None:
    """Pick a query by its id; the detail follows."""
    st.session_state.query = st.session_state["inspect-picked"] = name
    st.rerun(DETAIL)


def go(found: Ints, place: int, run: OpenRun) -> None:
    """Pick the query at an index of the list; list and detail follow."""
    name = state.query_id(run.inputs.corpus, int(found[min(max(place, 0), len(found) - 1)]))
    st.session_state.query = st.session_state["inspect-picked"] = name
    st.rerun([LIST, DETAIL])


def _asked() -> Listing:
    session = st.session_state
    show = session["inspect-show"]
    return Listing(
        words='"'.join(normalize_text(part) for part in session["inspect-search"].split('"')),
        show=None if show == "all" else show,
        sort=session["inspect-sort"],
        descending=session["inspect-order"] == "down",
    )


def _changed() -> None:
    """Start at the top of the new list."""
    st.session_state.query = None
    st.rerun([LIST, DETAIL])


def _sorted() -> None:
    session = st.session_state
    session["inspect-order"] = "down" if COLUMNS[session["inspect-sort"]] else "up"
    _changed()


def _cleared() -> None:
    clear()
    _changed()


@st.fragment(key=LIST)
def draw(run: OpenRun, selection: Selection) -> None:
    """Draw search, filter, order, one page of queries, and the pages."""
    session = st.session_state
    asked, found, place = listed(run, selection)
    _controls(run, selection)
    if session.pop("inspect-unknown", False):
        st.info("The query in the address is not in this run. The first query is shown.", icon=":material/link_off:")
    if place is None:
        st.info("No matches.", icon=":material/filter_alt_off:")
        st.button("Clear filters", icon=":material/close:", key="inspect-clear", on_click=_cleared)
        return
    page, table = place // PAGE + 1, statistics.query_table(run, selection)
    shown = found[(page - 1) * PAGE : page * PAGE]
    session["inspect-drawn"] = session.get("inspect-drawn", 0) + 1
    rows.draw(
        _rows(run, selection, table, shown, sorted_by(asked, table)),
        state.query_id(run.inputs.corpus, int(found[place])),
        key="inspect-queries",
        turn=session["inspect-drawn"],
        on_pick=pick,
        label="Queries",
        height=HEIGHT,
    )
    if (count := pages(len(found), PAGE)) > 1:
        key = f"inspect-page-{page}"
        st.pagination(count, default=page, key=key, max_visible_pages=5, on_change=lambda: go(found, (session[key] - 1) * PAGE, run))


def _controls(run: OpenRun, selection: Selection) -> None:
    counts = statistics.filter_counts(run, selection) | {"all": len(run.inputs.corpus.queries)}
    st.text_input(
        "Search",
        placeholder="Search queries and passages",
        key="inspect-search",
        max_chars=limits.WORDS,
        type="search",
        live=True,
        persist_state="session",
        label_visibility="collapsed",
        icon=":material/search:",
        on_change=_changed,
    )
    st.selectbox(
        "Show",
        ["all", *FILTERS],
        format_func=lambda name: f"{SHOW[name]} ({counts[name]:,})",
        key="inspect-show",
        persist_state="session",
        label_visibility="collapsed",
        on_change=_changed,
        help=SHOW_HELP,
    )
    with st.container(horizontal=True, gap="xsmall"):
        st.selectbox(
            "Sort by",
            list(QUERY_COLUMNS),
            format_func=lambda name: f"Sort: {QUERY_COLUMNS[name].header}",
            key="inspect-sort",
            persist_state="session",
            label_visibility="collapsed",
            on_change=_sorted,
        )
        down = st.session_state["inspect-order"] == "down"
        st.button(
            "Reverse",
            icon=":material/arrow_downward:" if down else ":material/arrow_upward:",
            key="inspect-reverse",
            help=f"Now {ORDERS['down' if down else 'up'].lower()}.",
            on_click=_reversed,
        )


def _reversed() -> None:
    st.session_state["inspect-order"] = "up" if st.session_state["inspect-order"] == "down" else "down"
    _changed()


def _rows(run: OpenRun, selection: Selection, table: QueryTable, shown: Ints, by: str) -> list[rows.Row]:
    corpus = run.inputs.corpus
    edges = statistics.bins(run).edges
    low, width = float(edges[0]), float(edges[-1] - edges[0])
    counts = mini_histograms(selection.scores[shown], edges)
    found = []
    for query, bars in zip(shown.tolist(), counts, strict=True):
        facts = [] if table.fn_probability is None else [f"{_percent(table.fn_probability[query])} likely relevant"]
        if by not in ("fn_probability", "query", "reviewed"):
            facts.append(f"{QUERY_COLUMNS[by].header} {_value(table, by, query, run.ranking.depth)}")
        if verdicts := int(table.reviewed[query]):
            facts.append(counted(verdicts, "verdict"))
        positive = float((table.positive[query] - low) / width)
        found.append(
            rows.Row(
                id=state.query_id(corpus, query),
                text=printable(corpus.queries[query]),
                facts=" · ".join(facts),
                bars=bars,
                positive=min(max(positive, 0.0), 1.0) if np.isfinite(positive) else None,
            )
        )
    return found


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else probability(float(value))


def _value(table: QueryTable, by: str, query: int, depth: int) -> str:
    value, column = getattr(table, by)[query], QUERY_COLUMNS[by]
    if by == "positive_rank":
        return f"{value}" if value < depth else f"{depth}+"
    if np.isnan(value):
        return "–"
    return column.form % (column.factor * min(float(value), RATIO_SHOWN if by == "ratio" else np.inf))
