"""Pairs of the review queue judged by the LLM that is chosen on the Quality screen: the open ones, or those of one query."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine.core.errors import HnmineError
from pages.review.session import ReviewSession, at_desk
from pages.shared import judge_job, judging
from pages.shared.widgets import failed

__all__ = ["draw"]

# Open pairs of the queue that one press judges at most.
MOST = 200


def draw(review: ReviewSession) -> None:
    """Draw the popover; what it costs is computed while it is open."""
    with st.popover("Judge with an LLM", icon=":material/gavel:", key="review-judge", on_change="rerun") as popover:
        if not popover.open:
            return
        try:
            settings = judging.chosen()
        except HnmineError as error:
            failed("The judge cannot be read", error)
            return
        if settings is None:
            st.text("Choose an LLM in the card Judge on Quality first.")
            st.page_link("pages/views/quality.py", label="Quality", icon=":material/verified:")
            return
        job = judging.latest(review.run.run.dataset_id)
        if job is not None and job.active:
            judge_job.progress(job.id)
            return
        judge_job.ended(job)
        judge_job.name(settings)
        choices = _choices(review)
        which = st.radio("Pairs", list(choices), key="review-judge-which", help="The judge's grade of a pair shows after your verdict.")
        judge_job.offer(review.run, choices[which], settings, "review-judge")


def _choices(review: ReviewSession) -> dict[str, judging.Pairs]:
    """Return the pairs to choose from, by what they are."""
    queue, told = review.queue, at_desk().sent
    places = np.flatnonzero(queue.todo)
    first = "Open pairs of this queue" if len(places) <= MOST else f"First {MOST:,} open pairs of this queue"
    found = {first: (queue.queries[places[:MOST]], queue.passages[places[:MOST]])}
    if told is not None and (pair := review.pair_of(told.current)) is not None:
        own = np.flatnonzero(queue.todo & (queue.queries == pair[0]))
        found["Open pairs of this query"] = queue.queries[own], queue.passages[own]
    return found
