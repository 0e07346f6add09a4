"""One query on the Inspect screen: its text and positives beside its histogram, then its negatives with verdict buttons."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.analysis import charts
from hnmine.analysis.listing import pages
from hnmine.analysis.queries import Candidates
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.models.cards import ModelSettings
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.inspect import candidates, maps, passages, query_list, verdicts
from pages.inspect.query_list import DETAIL
from pages.shared import limits, servers, state, statistics
from pages.shared.drawing import draw as draw_chart
from pages.shared.widgets import failed

HEAD, BODY = 240, 330  # heights in pixels
PICKED = "inspect-passage"  # (query, passage) that is marked in the histogram
ROW = 48  # height of a row of buttons with its gap
PAGE = 25  # candidates that were not selected, on one page


@st.fragment(key=DETAIL)
def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the picked query; nothing without a match in the list."""
    _, found, place = query_list.listed(run, selection)
    if place is None:
        return
    query = int(found[place])
    name = state.query_id(run.inputs.corpus, query)
    details = candidates.details(run, selection, query)
    _head(run, found, place, query, name)
    of, passage = st.session_state.get(PICKED, (None, None))
    picked = passage if of == query else None
    texts, figure = st.columns([3, 2], gap="small")
    with texts:
        lines = candidates.head(run, details, query)
        passages.draw(lines, key="inspect-texts", of=name, label="Query and positives", height=HEAD, back="inspect-queries")
    with figure:
        _histogram(run, selection, details, query, picked)
    if risk := candidates.riskiest(run, selection, details, query):
        st.text(risk)
    _tabs(run, selection, details, query, name, picked)


def _head(run: OpenRun, found: query_list.Ints, place: int, query: int, name: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.button(
            "Previous",
            icon=":material/arrow_upward:",
            shortcut="K",
            key="inspect-previous",
            disabled=place == 0,
            on_click=lambda: query_list.go(found, place - 1, run),
        )
        st.button(
            "Next",
            icon=":material/arrow_downward:",
            shortcut="J",
            key="inspect-next",
            disabled=place + 1 == len(found),
            on_click=lambda: query_list.go(found, place + 1, run),
        )
        st.text(f"{place + 1:,} of {len(found):,}", width="content")
        st.space("stretch")
        with st.popover("Link", icon=":material/link:", help="A link to this query, variant and list."):
            address = state.link("inspect", name)
            st.code(address, language=None, wrap_lines=True)
            st.text(state.link_note(address))
        if st.button("Review these", icon=":material/rate_review:", key="inspect-review", help="Review this query's candidates."):
            st.session_state["review-query"] = run.inputs.corpus.queries[query]
            st.switch_page("pages/views/review.py")


def _histogram(run: OpenRun, selection: Selection, details: Candidates, query: int, picked: str | None) -> None:
    """Draw the query's histogram with the picked passage marked; a click on a point picks its passage."""
    at = np.flatnonzero(details.ids == int(picked)) if picked is not None else ()
    figure = charts.query_histogram(
        run.inputs.corpus,
        run.ranking,
        selection.settings,
        details,
        query,
        statistics.bins(run).edges,
        highlight=int(at[0]) if len(at) else None,
        select="point",
    )
    key = "inspect-histogram"

    def clicked() -> None:
        if points := st.session_state[key].selection.get("point"):
            st.session_state[PICKED] = (query, str(details.ids[int(points[0]["place"])]))

    draw_chart(figure, key, clicked)


def _tabs(run: OpenRun, selection: Selection, details: Candidates, query: int, name: str, picked: str | None) -> None:
    chosen = np.flatnonzero(details.chosen > 0)
    chosen = chosen[np.argsort(details.chosen[chosen])]
    given = np.isin(details.ids, np.setdiff1d(run.inputs.corpus.positives(query), run.inputs.corpus.promoted(query)))  # shown above
    others = np.flatnonzero((details.chosen == 0) & ~given)
    labels = [f"Negatives ({len(chosen):,})", f"Not selected ({len(others):,})", "Charts", "Search passages"]
    negatives, left, figures, search = st.tabs(labels, key="inspect-tab", on_change="rerun")
    if negatives.open:
        with negatives:
            _passages(run, details, query, name, chosen, picked, "Negatives, hardest first")
    elif left.open:
        with left:
            page, count = 1, pages(len(others), PAGE)
            if count > 1:
                page = st.pagination(count, key=f"inspect-others-{name}", max_visible_pages=7)
            _passages(
                run,
                details,
                query,
                name,
                others[(page - 1) * PAGE : page * PAGE],
                picked,
                "Candidates that were not selected",
                less=ROW * (count > 1),
            )
    elif figures.open:
        with figures:
            maps.draw(run, selection, details, query)
    elif search.open:
        with search:
            _search(run)


def _passages(
    run: OpenRun,
    details: Candidates,
    query: int,
    name: str,
    places: query_list.Ints,
    picked: str | None,
    label: str,
    less: int = 0,
) -> None:
    """Draw candidates with their verdicts; the rows above take `less` pixels of the height."""
    corpus = run.inputs.corpus

    def pick(passage: str) -> None:
        st.session_state[PICKED] = (query, passage)

    def judge(passage: str, verdict: object) -> None:
        if passage in {line.id for line in lines}:
            verdicts.decide(corpus.queries[query], corpus.passages[int(passage)], verdict)

    if message := st.session_state.pop(verdicts.MESSAGE, ""):
        failed("The verdict is not stored", message)
    if given := verdicts.given():
        less += ROW
    lines = candidates.lines(run, details, query, places, picked)
    passages.draw(lines, key="inspect-passages", of=name, label=label, height=BODY - less, picked=picked, on_pick=pick, on_verdict=judge)
    if given:  # below, so that no row moves under the mouse
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.text(f"{counted(given, 'verdict')} stored.", width="content")
            st.button("Undo", icon=":material/undo:", key="inspect-undo", on_click=verdicts.undo)
            if st.button("Apply to the list", icon=":material/refresh:", key="inspect-apply", help="Select again with the new verdicts."):
                st.session_state[verdicts.GIVEN] = 0
                st.rerun()


def _search(run: OpenRun) -> None:
    """Draw the search of the passages by a query, with the run's model."""
    question = st.text_input(
        "Query", key="inspect-ask", max_chars=limits.ASKED, help="Finds the most similar passages with the run's model."
    )
    if not question.strip():
        return
    try:
        with st.spinner("Searching. The first search loads the model ..."):
            servers.require((run.run.settings.model or ModelSettings()).server)
            scores, ids = resources.nearest(run.run.id, question, 10)
    except HnmineError as error:
        failed("Cannot use the model", error)
        return
    rows = [
        passages.Line(id=str(passage), facts=f"similarity {score:.3f}", parts=passages.parts_of(run.inputs.corpus.passages[passage]))
        for score, passage in zip(scores.tolist(), ids.tolist(), strict=True)
    ]
    passages.draw(rows, key="inspect-nearest", of=question, label="The ten most similar passages", height=BODY - 80)
