"""What a data set's reviewers share: the guidelines (Markdown) with their editor, and the overlap. Both are files in its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.files import write_atomic
from pages.shared import limits
from pages.shared.widgets import failed

OVERLAPS = (0, 10, 100)
TALL, LONG = 420, 400  # pixels of the box of guidelines with more characters than this


class Setup(msgspec.Struct, frozen=True):
    """How a data set is reviewed: percent of its pairs that two reviewers judge."""

    overlap: int = 0


def _path(dataset_id: str, name: str) -> Path:
    return resources.workspace().dataset_folder(dataset_id) / name


def guidelines(dataset_id: str) -> str:
    """Return the guidelines of a data set, empty without any.

    Raises:
        WorkspaceError: the file cannot be read.
    """
    path = _path(dataset_id, "guidelines.md")
    try:
        return path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"the guidelines in {path} cannot be read ({error}); repair the file or delete it") from error


def write_guidelines(dataset_id: str, text: str) -> None:
    """Write the guidelines of a data set.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(_path(dataset_id, "guidelines.md"), [text.encode("utf-8", "replace")])


def overlap(dataset_id: str) -> int:
    """Return the percent of a data set's pairs that two reviewers judge.

    Raises:
        WorkspaceError: the file is damaged.
    """
    path = _path(dataset_id, "review.json")
    if not path.exists():
        return 0
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Setup).overlap
    except (OSError, msgspec.DecodeError) as error:
        raise WorkspaceError(f"the settings of the review in {path} cannot be read ({error}); delete the file") from error
    if found not in OVERLAPS:
        raise WorkspaceError(f"the overlap in {path} is {found}; it must be one of {', '.join(map(str, OVERLAPS))}; delete the file")
    return found


def write_overlap(dataset_id: str, percent: int) -> None:
    """Write the percent of a data set's pairs that two reviewers judge.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(_path(dataset_id, "review.json"), [msgspec.json.encode(Setup(overlap=percent))])


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
