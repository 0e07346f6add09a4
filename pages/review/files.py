"""Download of all verdicts, and import of a file of verdicts."""

from __future__ import annotations

from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.files import write_atomic
from hnmine.core.scratch import temporary_files
from hnmine.core.text import counted
from hnmine.data.verdicts import CHOICES, Verdict, read_verdicts, verdict_lines
from pages.review import session
from pages.shared import access, uploads
from pages.shared.widgets import failed


def lines() -> bytes:
    """Return all current verdicts, one per line."""
    return b"".join(verdict_lines(resources.reviews().verdicts()))


def download() -> None:
    """Draw the download of all verdicts; the file is made on click."""
    st.download_button(
        "Download all verdicts",
        data=lines,
        file_name="verdicts.jsonl",
        mime="application/jsonl",
        icon=":material/download:",
        on_click="ignore",
        key="review-download",
        help="JSON lines with query, passage, verdict, when and who, for all data sets. Command line: `--reviews FILE`.",
    )


def upload() -> None:
    """Draw the import of verdicts."""
    given = st.file_uploader(
        "Import verdicts",
        type=["jsonl", "json"],
        key="review-upload",
        help='JSON lines such as `{"query": "...", "passage": "...", "verdict": "relevant"}`, with the verdicts '
        f"{', '.join(CHOICES)}. The later of two verdicts on the same pair counts, and one undo reverts the import.",
    )
    if st.button("Import", icon=":material/upload:", disabled=given is None, key="review-import") and given is not None:
        here = session.at_desk()
        try:
            access.require_admin()
            done = resources.reviews().add(_verdicts_in(given), here.who)
        except HnmineError as error:
            failed("The verdicts were not imported", error)
            return
        st.session_state["review-imported"] = (
            f"{counted(done.new, 'new verdict')}, {done.changed:,} changed, {done.same:,} unchanged"
            + (f", {done.older:,} ignored because a later verdict exists" if done.older else "")
            + "."
        )
        uploads.release([given])
        here.batches += 1
        session.refresh()
        st.rerun()
    if message := st.session_state.pop("review-imported", None):
        st.success(message, icon=":material/check:")


def _verdicts_in(given: UploadedFile) -> list[Verdict]:
    """Return the verdicts of an upload; errors name it as the person does."""
    with temporary_files("verdicts-") as folder:
        path = folder / "verdicts.jsonl"
        write_atomic(path, iter(partial(uploads.opened(given).read, 2**20), b""))
        try:
            return read_verdicts(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), given.name)) from error
