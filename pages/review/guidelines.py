"""What a data set's reviewers share: the guidelines (Markdown) with their editor, and the overlap. Both are files in its folder."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from hnmine import resources
from hnmine.core import small_files
from hnmine.core.errors import HnmineError
from hnmine.runs.dataset_settings import OVERLAPS, Setup, read_guidelines, read_overlap
from pages.shared import limits
from pages.shared.widgets import failed

__all__ = ["OVERLAPS", "draw", "guidelines", "overlap", "write_guidelines", "write_overlap"]

TALL, LONG = 420, 400  # pixels of the box of guidelines with more characters than this


def _path(dataset_id: str, name: str) -> Path:
    return resources.workspace().dataset_folder(dataset_id) / name


def guidelines(dataset_id: str) -> str:
    """Return the guidelines of a data set, empty without any.

    Raises:
        WorkspaceError: the file cannot be read.
    """
    return read_guidelines(_path(dataset_id, "guidelines.md")) or ""


def write_guidelines(dataset_id: str, text: str) -> None:
    """Write the guidelines of a data set; an empty text removes them.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    small_files.write_text(_path(dataset_id, "guidelines.md"), text, "the guidelines cannot be stored")


def overlap(dataset_id: str) -> int:
    """Return the percent of a data set's pairs that two reviewers judge.

    Raises:
        WorkspaceError: the file is damaged.
    """
    return read_overlap(_path(dataset_id, "review.json"))


def write_overlap(dataset_id: str, percent: int) -> None:
    """Write the percent of a data set's pairs that two reviewers judge.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    small_files.write(_path(dataset_id, "review.json"), Setup(percent), "the overlap cannot be stored")


def draw(dataset_id: str) -> None:
    """Draw the guidelines of a data set with their editor."""
    try:
        text = guidelines(dataset_id)
    except HnmineError as error:
        failed("The guidelines cannot be read", error)
        return
    st.markdown("**Guidelines**")
    if text.strip():
        with st.container(height=TALL if len(text) > LONG else "content", border=True):
            st.markdown(text)
    else:
        st.text("What counts as relevant in this data set? Write it down for all reviewers.")
    with st.popover("Edit guidelines" if text else "Write guidelines", icon=":material/edit:", key="review-guidelines"):
        written = st.text_area(
            "Guidelines of this data set (Markdown)",
            value=text,
            height=320,
            max_chars=max(limits.GUIDELINES, len(text)),
            width=480,
            key=f"review-guidelines-{dataset_id}",
            placeholder="A passage is relevant if it answers the query on its own.",
        )
        if st.button("Save guidelines", type="primary", key="review-guidelines-save") and written != text:
            try:
                write_guidelines(dataset_id, written)
            except HnmineError as error:
                failed("The guidelines were not saved", error)
                return
            st.rerun()
