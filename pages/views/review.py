"""Screen 4, Review: a desk in the browser, one key per verdict; "unsaved" shows until a verdict is on the disk."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.review.queue import QueueSettings
from pages.review import desk, exchange, files, filters, guidelines, judging_queue, session, table
from pages.review.session import Mode, ReviewSession
from pages.review.words import BUTTONS
from pages.shared import judging, state
from pages.shared.widgets import failed

MOST_AT_ONCE = 100_000
FIT_HELP = (
    "The model of false-negative probabilities is re-fitted on all verdicts except junk and unsure. The order of this queue does not "
    "change until it is built again."
)


@st.fragment
def screen(review: ReviewSession, mode: Mode, overlap: int) -> None:
    """Draw everything that changes with a verdict."""
    told = session.at_desk().sent
    wide = told is None or told.wide
    columns = st.columns([5, 1] if wide else [1], gap="small")
    try:
        if session.outdated(review):
            st.rerun()
        data = exchange.answer(review, mode, overlap)
    except HnmineError as error:
        data = exchange.unreadable(review, mode, error)
    with columns[0]:
        desk.mount(data, exchange.receive)
        if data["end"]:
            finished(review, data["waiting"])
    with columns[1] if wide else st.container(horizontal=True):  # one row below a narrow desk
        if not data["error"]:  # the desk shows it
            with st.container() if wide else st.expander("Guidelines", icon=":material/menu_book:"):
                guidelines.draw(review.run.run.dataset_id)
            all_at_once(review)
            judging_queue.draw(review)
            if fit := session.fit_size(review):
                st.text(fit, width="stretch" if wide else "content", help=FIT_HELP)
        with st.popover("Download or import verdicts", icon=":material/description:", wrap=True, key="review-files"):
            files.download()
            files.upload()


def all_at_once(review: ReviewSession) -> None:
    """Draw the popover that gives all open pairs of the queue one verdict."""
    left = int(np.count_nonzero(review.queue.todo))
    with st.popover("Apply to all", icon=":material/done_all:", disabled=not 0 < left <= MOST_AT_ONCE, key="review-all"):
        st.write(f"One verdict for **{counted(left, 'pair')}** in this queue. One undo reverts it.")
        if review.queue.settings == QueueSettings(order=review.queue.settings.order):
            st.warning("No filters are set. This applies to all pairs.", icon=":material/warning:")
        names = {**BUTTONS, "remove": "Remove the verdict"}
        choice = st.radio("Verdict", list(names), index=None, format_func=names.__getitem__, key="review-all-choice")
        if choice is not None:
            st.button(
                f"{names[choice]} ({counted(left, 'pair')})",
                type="primary",
                key=f"review-all-{left}-{choice}",
                on_click=session.decide_all,
                args=(None if choice == "remove" else choice,),
            )


def finished(review: ReviewSession, waiting: bool) -> None:
    """Draw the next step at the end of the queue."""
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        if waiting or not len(review.queue):
            st.button("Clear filters", icon=":material/filter_alt_off:", on_click=filters.clear, key="review-clear-end")
        elif review.queue.settings.source in ("audit", *judging.SOURCES):
            what = "rate" if review.queue.settings.source == "audit" else "agreement"
            st.page_link("pages/views/quality.py", label=f"See the {what} on Quality", icon=":material/arrow_forward:")
        elif review.queue.settings.source != "disagreements":
            counts = review.queue.counts
            if counts["relevant"] + counts["positive"] + counts["junk"]:
                st.text("Other negatives replace the removed ones.", width="content")
            if st.button("Look for new pairs", icon=":material/refresh:", type="primary", key="review-refresh"):
                session.refresh()
                st.rerun()
            st.page_link("pages/views/export.py", label="Go to Export", icon=":material/arrow_forward:")


if st.session_state.run is not None:
    state.opened()  # else the first filter would say why it cannot be opened, in a closed popover
try:
    with st.container():  # so that a spinner does not move the desk to another place, which would begin it anew
        mode, settings, overlap = filters.controls()
        review = None if mode == "table" else session.open_session(settings, mode)
except HnmineError as error:
    failed("The queue cannot be built", error)
    st.stop()
if review is None:
    table.draw(state.opened()[0])
    st.stop()
if review.queue.nearest_only is not None:
    st.text(f"The rank range is wide. The queue has the {review.queue.nearest_only:,} nearest candidates of each query.")
screen(review, mode, overlap)
