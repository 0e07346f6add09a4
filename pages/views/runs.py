"""Screen 6, Runs: the runs of the workspace; open, name, delete and compare them."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.files import in_words
from hnmine.core.text import counted
from hnmine.runs.workspace import NAME_LENGTH, Run
from pages.runs import comparison
from pages.shared import state
from pages.shared.widgets import failed

st.title("Runs", anchor=False)
space, session = resources.workspace(), st.session_state
runs = {run.id: run for run in space.runs()}
labels = state.run_labels(runs.values())
datasets = {dataset.id: dataset for dataset in space.datasets()}


def label(run_id: str) -> str:
    """Return a run's label with its data set."""
    run = runs[run_id]
    dataset = datasets.get(run.dataset_id)
    return f"{labels[run_id]} · {dataset.name if dataset else run.dataset_id}"


@st.dialog("Delete this run?", icon=":material/delete:")
def delete_run(run: Run) -> None:
    """Ask for confirmation, listing what is deleted and what is kept."""
    size = space.run_size(run.id)
    st.text(label(run.id))
    st.markdown(
        f"**Deletes** {in_words(size.bytes)} ({counted(size.files, 'file')}): ranking, selection settings and exports. "
        "This cannot be undone.\n\n"
        "**Keeps** the data set, all verdicts, the other runs and the stored vectors"
        + (f" ({in_words(size.shared_bytes)} of them used by this run)" if size.shared_bytes else "")
        + "."
    )
    if run.id == session.run:
        st.warning("This run is open now.", icon=":material/warning:")
    if st.button("Delete run", type="primary", icon=":material/delete:", key="delete-confirmed", on_click=lambda: remove_run(run)):
        st.rerun()


def remove_run(run: Run) -> None:
    """Delete a run; if it was open, open another one of its data set."""
    try:
        space.delete_run(run.id)
        session["runs-chosen"] = None
        if session.run == run.id:
            state.open_dataset(run.dataset_id)
    except HnmineError as error:
        session["runs-failed"] = str(error)


@st.dialog("Delete this data set?", icon=":material/delete:")
def delete_dataset(dataset_id: str) -> None:
    """Ask for confirmation, listing what is deleted and what is kept."""
    dataset = datasets[dataset_id]
    st.text(dataset.name)
    st.markdown(
        f"**Deletes** the uploaded files ({in_words(dataset.bytes)}). This cannot be undone.\n\n"
        "**Keeps** all verdicts and stored vectors. They are used again if you upload the data set again."
    )
    confirmed = st.button(
        "Delete data set",
        type="primary",
        icon=":material/delete:",
        key="delete-dataset-confirmed",
        on_click=lambda: remove_dataset(dataset_id),
    )
    if confirmed:
        st.rerun()


def remove_dataset(dataset_id: str) -> None:
    """Delete a data set; if it was open, close it."""
    try:
        if (job := resources.jobs().latest(dataset_id)) is not None and job.active:
            raise WorkspaceError("the data set is being mined; cancel the job on the Mine screen first")
        space.remove_dataset(dataset_id)
        if session.dataset == dataset_id:
            session.dataset = session.run = None
    except HnmineError as error:
        session["runs-failed"] = str(error)


def rename(run_id: str, key: str) -> None:
    """Store the new name of a run."""
    try:
        session[key] = space.name_run(run_id, session[key])
    except HnmineError as error:
        session["runs-failed"] = str(error)


def choose(key: str, shown: list[str]) -> None:
    """Select the run of the clicked row."""
    rows = session[key].selection.rows
    session["runs-chosen"] = shown[rows[0]] if rows and rows[0] < len(shown) else None


# The list

if failure := session.pop("runs-failed", None):
    failed("The action failed", failure)
if damaged := space.damaged():
    st.warning(f"{counted(len(damaged), 'run or data set', 'runs and data sets')} cannot be read", icon=":material/broken_image:")
    st.text("\n".join(damaged))
if not runs:
    if not datasets:
        state.nothing_yet("No runs yet", "Open training data and mine it first.", "pages/views/data.py", "Go to Data")
    st.info("No runs yet. Mine a data set first.", icon=":material/history:")
else:
    shown = list(runs)
    current = session.get("runs-chosen")
    if current not in runs:
        current = session.run if session.run in runs else shown[0]
    key = f"runs-table-{'-'.join(shown)[-2000:]}-{space.run_name(current)}"
    summaries = [run.manifest.get("summary") or {} for run in runs.values()]
    selections = [run.settings.selection for run in runs.values()]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.dataframe(
        {
            "name": [space.run_name(run_id) for run_id in shown],
            "data set": [datasets[run.dataset_id].name if run.dataset_id in datasets else run.dataset_id for run in runs.values()],
            "mined (UTC)": [state.when(run) for run in runs.values()],
            "model": [str(run.manifest.get("model", {}).get("name", "")) for run in runs.values()],
            "window": [f"{each.window_start}-{each.window_end}" for each in selections],
            "negatives": [summary.get("negatives") for summary in summaries],
            "similarity": [(summary.get("scores") or {}).get("negatives") for summary in summaries],
            "size": [space.run_size(run_id).bytes / 2**20 for run_id in shown],
        },
        key=key,
        hide_index=True,
        height="content" if len(shown) < 9 else 320,
        placeholder="–",
        on_select=lambda: choose(key, shown),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [shown.index(current)], "columns": [], "cells": []}},
        column_config={
            "name": text(width=165),
            "data set": text(width=140),
            "mined (UTC)": text(width=125),
            "model": text(width=135),
            "window": text(width=70, help="Rank window as mined. The current settings of the run can differ.", alignment="right"),
            "negatives": number(width=85, format="localized", help="Negatives as mined, over all rows."),
            "similarity": number(width=80, format="%.3f", help="Mean similarity of the negatives as mined (hardness)."),
            "size": number(width=75, format="%.1f MB", help="Disk space without stored vectors."),
        },
        alt="All runs, newest first",
    )

    # The selected run

    run = runs[current]
    with st.container(border=True):
        st.text(label(current))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name_key = f"run-name-{current}"
            session.setdefault(name_key, space.run_name(current))
            st.text_input(
                "Name",
                max_chars=NAME_LENGTH,
                placeholder="for example: PercPos 0.95",
                key=name_key,
                width=320,
                on_change=lambda: rename(current, name_key),
                help="Shown in the sidebar and in this table.",
            )
            if st.button(
                "Open",
                icon=":material/folder_open:",
                type="primary",
                key="open-run",
                disabled=current == session.run,
                help="Open this run on the Inspect screen.",
            ):
                state.open_run(current)
                st.switch_page("pages/views/inspect.py")
            if st.button("Delete", icon=":material/delete:", key="delete-run", help="Asks for confirmation."):
                delete_run(run)

    # Comparison

    others = [run_id for run_id in shown if run_id != current]
    if others:
        st.subheader("Compare", anchor=False)
        other = st.selectbox(
            "Compare this run (A) with (B)",
            others,
            index=None,
            format_func=label,
            placeholder="none",
            key=f"compare-with-{current}",
            persist_state="session",
            help="A is the run selected above. Queries and passages are matched by text, so the data sets can differ.",
        )
        if other is not None:
            comparison.draw(run, runs[other])

# Data sets without runs

used = {run.dataset_id for run in runs.values()}
if unused := [dataset for dataset in datasets.values() if dataset.id not in used]:
    with st.expander(f"Data sets without runs ({len(unused):,})", icon=":material/database:"):
        for dataset in unused:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.text(f"{dataset.name} · {in_words(dataset.bytes)} · {dataset.created[:10]}")
                if st.button("Delete", icon=":material/delete:", key=f"delete-{dataset.id}", help="Asks for confirmation."):
                    delete_dataset(dataset.id)
