"""The four steps from data to the exported file: explained on the first screen, one line of links once data is open."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError

STEPS = (
    ("Open data", "pages/views/data.py", "Open the example, upload a file or pick one on the server."),
    ("Mine", "pages/views/mine.py", "Rank all passages for each query and select hard negatives. Tune the settings afterwards."),
    ("Inspect and review", "pages/views/inspect.py", "See why each negative was selected, and remove those that do answer the query."),
    ("Export", "pages/views/export.py", "Download the file in your trainer's format, with checks before the download."),
)


def first_steps() -> None:
    """Draw the four steps with a sentence each, for a session without data."""
    with st.container(border=True):
        st.subheader("Getting started", anchor=False)
        with st.grid(4, min_column_width=210):
            for number, (title, _, text) in enumerate(STEPS, 1):
                with st.container(gap="xxsmall"):
                    st.markdown(f"**{number} · {title}**")
                    st.caption(text)


def progress(ready: bool) -> None:
    """Draw the steps as a line of links, with a mark on those that are done.

    Args:
        ready: the data can be mined.
    """
    run_id = st.session_state.run
    done = [ready, run_id is not None, run_id is not None and _reviewed(run_id), run_id is not None and _exported(run_id)]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        for number, ((title, page, _), finished) in enumerate(zip(STEPS, done, strict=True)):
            icon = ":material/check_circle:" if finished else f":material/counter_{number + 1}:"
            reachable = number == 0 or (number == 1 and ready) or run_id is not None
            st.page_link(page, label=title, icon=icon, disabled=not reachable, width="content")


def _reviewed(run_id: str) -> bool:
    try:
        return bool(resources.open_run(run_id).verdict_pairs.applied)
    except HnmineError:
        return False


def _exported(run_id: str) -> bool:
    return any(resources.workspace().run_folder(run_id).glob("export-*"))
