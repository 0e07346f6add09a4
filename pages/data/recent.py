"""The data sets of the workspace as a table: a click opens one, and its name can be edited."""

from __future__ import annotations

from collections import Counter
from typing import Any

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, text_hash
from hnmine.runs.dataset_notes import name_dataset, note_of, title
from hnmine.runs.workspace import Dataset
from pages.shared import state

SHOWN = 100


def table() -> None:
    """Draw the data sets, the last used first, and those that cannot be opened; nothing where there are none."""
    space = resources.workspace()
    if closed := [*space.damaged(), *space.damaged(other_version=True)]:
        st.warning(f"{counted(len(closed), 'run or data set', 'runs and data sets')} cannot be opened", icon=":material/broken_image:")
        st.text("\n".join(closed))
    notes = {dataset.id: note_of(space, dataset.id) for dataset in space.datasets()}
    known = sorted(space.datasets(), key=lambda each: notes[each.id].used or each.created, reverse=True)[:SHOWN]
    if not known:
        return
    runs = Counter(run.dataset_id for run in space.runs())
    st.subheader("Recent data sets", anchor=False)
    # The rows are edited by their places, so another order is another table.
    key = f"recent-{text_hash(' '.join(each.id for each in known)):016x}"
    st.data_editor(
        {
            "open": [":material/folder_open: Open"] * len(known),
            "name": [title(space, each) for each in known],
            "rows": [notes[each.id].rows for each in known],
            "passages": [notes[each.id].passages for each in known],
            "runs": [runs[each.id] for each in known],
            "last used (UTC)": [(notes[each.id].used or each.created).replace("T", " ")[:16] for each in known],
        },
        key=key,
        hide_index=True,
        height="content" if len(known) < 7 else 282,
        disabled=["open", "rows", "passages", "runs", "last used (UTC)"],
        placeholder="–",
        on_change=_rename,
        args=(key, known),
        column_config={
            "open": st.column_config.ButtonColumn("", width=90, type="tertiary", key="recent-open", on_click=_open, args=(known,)),
            "name": st.column_config.TextColumn(help="Double-click to rename. Empty: the names of its files.", width="large"),
            "rows": st.column_config.NumberColumn(format="localized", help="Usable training rows when it was last open."),
            "passages": st.column_config.NumberColumn(format="localized", help="Candidate passages when it was last open."),
        },
        alt="The data sets of this workspace with their rows, passages, runs and last use",
    )


def _open(known: list[Dataset]) -> None:
    state.open_dataset(known[st.session_state["recent-open"].row].id)


def _rename(key: str, known: list[Dataset]) -> None:
    edited: dict[int, dict[str, Any]] = st.session_state[key]["edited_rows"]
    for row, values in edited.items():
        if "name" in values:
            try:
                name_dataset(resources.workspace(), known[int(row)].id, values["name"] or "")
            except HnmineError as error:  # shown on the next rerun
                st.session_state.message = str(error)
