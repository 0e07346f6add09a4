"""Verdicts as a file: the download of all that stand, and the import of a file from another machine."""

from __future__ import annotations

import os
import tempfile

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.data.verdicts import read_verdicts, verdict_lines
from pages.review import claims, session


def lines() -> bytes:
    """Return all verdicts that stand, one a line."""
    return b"".join(verdict_lines(resources.reviews().verdicts()))


def download() -> None:
    """Offer the verdicts as JSON lines; made when somebody clicks."""
    st.download_button(
        "Download all verdicts",
        data=lines,
        file_name="verdicts.jsonl",
        mime="application/jsonl",
        icon=":material/download:",
        on_click="ignore",
        key="review-download",
        help="Those of all data sets, one a line: query, passage, verdict, when, who. The command line takes the file with `--reviews`.",
    )


def upload() -> None:
    """Take verdicts in."""
    given = st.file_uploader(
        "Import verdicts",
        type=["jsonl", "json"],
        key="review-upload",
        help='One object a line: `{"query": "...", "passage": "...", "verdict": "drop"}`, with keep, drop, promote or skip. '
        "Of two verdicts about the same pair the later one counts; the import can be undone as one.",
    )
    if st.button("Import", icon=":material/upload:", disabled=given is None, key="review-import") and given is not None:
        handle, path = tempfile.mkstemp(suffix=".jsonl")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(given.getbuffer())
            done = resources.reviews().add(read_verdicts(path), claims.reviewer())
        except HnmineError as error:
            st.error("Nothing was imported", icon=":material/error:")
            st.text(str(error).replace(path, given.name))
            return
        finally:
            os.unlink(path)  # noqa: PTH108 (a name from tempfile)
        st.session_state["review-imported"] = (
            f"{counted(done.new, 'new verdict')}, {done.changed:,} changed, {done.same:,} already there"
            + (f", {done.older:,} left out because a later one stands here" if done.older else "")
            + "."
        )
        session.refresh()
        st.rerun()
    if told := st.session_state.pop("review-imported", None):
        st.success(told, icon=":material/check:")
