"""Screen 6, Runs: the variants of all runs; open, name, note, delete and compare them."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.files import in_words
from hnmine.core.text import counted
from hnmine.runs.dataset_notes import title
from pages.runs import comparison, figures, manage, table
from pages.shared import state
from pages.shared.widgets import failed

UNREADABLE = "runs-unreadable"

space, session = resources.workspace(), st.session_state
datasets = {dataset.id: dataset for dataset in space.datasets()}
rows = table.rows(datasets)
if failure := session.pop(manage.FAILED, None):
    failed("The action failed", failure)
# The error of each run that cannot be opened, and the state of its data then: it is tried again when the files change.
unreadable: dict[str, tuple[object, str]] = session.setdefault(UNREADABLE, {})
for row in rows:
    if row.run.id in unreadable and unreadable[row.run.id][0] != figures.files_of(row.run):
        del unreadable[row.run.id]
if damaged := [*space.damaged(), *(text for run_id, (_, text) in unreadable.items() if any(row.run.id == run_id for row in rows))]:
    st.warning(f"{counted(len(damaged), 'run or data set', 'runs and data sets')} cannot be read", icon=":material/broken_image:")
    st.text("\n".join(damaged))
# The version of the verdicts for which this session computed the figures of a variant: on a full disk they cannot be stored.
tried: dict[table.Key, int] = session.setdefault("runs-computed", {})
version, pending = -1, list[table.Row]()
try:
    version = resources.reviews().version()
except HnmineError as error:
    failed("The verdicts cannot be read", error)
asking = False
if not rows:
    if not datasets:
        state.nothing_yet("No runs yet", "Open training data and mine it first.", "pages/views/data.py", "Go to Data")
    st.info("No runs yet. Mine a data set first.", icon=":material/history:")
else:
    pending = [row for row in table.draw(rows) if row.run.id not in unreadable and tried.get(row.key) != version >= 0]
    progress = st.empty()
    chosen = table.chosen(rows)
    if len(chosen) == 2:
        comparison.draw(*chosen)
    elif len(chosen) == 1:
        asking = manage.draw(chosen[0])
        if len(rows) > 1:
            st.write("Select a second row to compare two variants.")
    elif len(rows) > 1:
        st.write(
            f"Select one row to open, rename or delete it, or two rows to compare them.{f' {len(chosen)} are selected.' if chosen else ''}"
        )

# Data sets without runs

used = {row.run.dataset_id for row in rows}
if unused := [dataset for dataset in datasets.values() if dataset.id not in used]:
    with st.expander(f"Data sets without runs ({len(unused):,})", icon=":material/database:"):
        for dataset in unused:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.text(f"{title(space, dataset)} · {in_words(dataset.bytes)} · {dataset.created[:10]}")
                if st.button("Delete", icon=":material/delete:", type="tertiary", key=f"delete-{dataset.id}"):
                    asking = True
                    manage.delete_dataset(dataset)

# Figures that are missing or old, one in each run of the script, so that a click is answered between two of them. A dialog would be closed.

if pending and not asking:
    row = pending[0]
    with progress:
        st.text(f"Computing the figures of {counted(len(pending), 'variant')} ...")
    tried[row.key] = version
    try:
        figures.compute(row.run.id, row.variant)
    except HnmineError as error:
        unreadable[row.run.id] = figures.files_of(row.run), str(error)
    st.rerun()
