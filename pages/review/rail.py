"""Beside the desk: the guidelines of the data set, and its last decisions."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.data.verdicts import pairs_of
from hnmine.review.store import Decision
from pages.review import guidelines, session
from pages.review.session import ReviewSession
from pages.shared.widgets import failed

RECENT, LOOKED_AT = 20, 200
TALL = 260  # pixels of the guidelines' box


def draw(review: ReviewSession) -> None:
    """Draw the guidelines with their editor, and the last decisions."""
    dataset_id = review.run.run.dataset_id
    try:
        text = guidelines.guidelines(dataset_id)
        _guidelines(dataset_id, text)
        _recent(review)
    except HnmineError as error:
        failed("The guidelines or the last decisions cannot be read", error)


def _guidelines(dataset_id: str, text: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown("**Guidelines**", width="content")
        with st.popover("Edit" if text else "Write", icon=":material/edit:", key="review-guidelines"):
            written = st.text_area(
                "Guidelines of this data set (Markdown)",
                value=text,
                height=320,
                width=480,
                key=f"review-guidelines-{dataset_id}",
                placeholder="A passage is relevant if it answers the query on its own.",
            )
            if st.button("Save guidelines", type="primary", key="review-guidelines-save") and written != text:
                guidelines.write_guidelines(dataset_id, written)
                st.rerun(scope="fragment")
    if text.strip():
        with st.container(height=TALL if len(text) > 400 else "content", border=True):
            st.markdown(text)
    else:
        st.text("What counts as relevant in this data set? Write it down for all reviewers.")


def recent(review: ReviewSession) -> list[Decision]:
    """Return the last decisions on pairs of this data set, newest first."""
    found = resources.reviews().recent(LOOKED_AT if RECENT < LOOKED_AT else RECENT)
    queries, passages = pairs_of(review.run.inputs.corpus, [each.verdict.query for each in found], [each.verdict.passage for each in found])
    return [each for each, query, passage in zip(found, queries, passages, strict=True) if query >= 0 and passage >= 0][:RECENT]


def _recent(review: ReviewSession) -> None:
    st.markdown("**Last decisions**")
    if review.recent is None or review.recent[0] != review.version:
        review.recent = review.version, recent(review)
    found = review.recent[1]
    if not found:
        st.text("None yet.")
        return
    key = f"review-recent-{review.version}"
    st.dataframe(
        {
            "Verdict": [each.verdict.verdict for each in found],
            "Pairs": [
                f"{each.pairs:,} pairs" if each.pairs > 1 else f"{each.verdict.query[:80]} → {each.verdict.passage[:160]}" for each in found
            ],
            "Reviewer": [each.verdict.who for each in found],
        },
        hide_index=True,
        column_config={"Verdict": st.column_config.TextColumn(width=75), "Pairs": st.column_config.TextColumn(width=220)},
        selection_mode="single-row",
        on_select=lambda: _picked(key, found),
        key=key,
        alt="The last decisions on this data set, newest first. Select one to show its pair again.",
    )


def _picked(key: str, found: list[Decision]) -> None:
    """Show the pair of the decision that was selected."""
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(found):
        session.show(found[rows[0]].verdict.query, found[rows[0]].verdict.passage)
