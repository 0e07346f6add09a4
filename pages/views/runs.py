"""Screen 6, Runs: what was mined in this workspace; open, name, delete, and two side by side."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.files import in_words
from hnmine.core.text import counted
from hnmine.runs.workspace import NAME_LENGTH, Run
from pages.runs import comparison
from pages.shared import state

st.title("Runs", anchor=False)
space, session = resources.workspace(), st.session_state
runs = {run.id: run for run in space.runs()}
labels = state.run_labels(runs.values())
datasets = {dataset.id: dataset for dataset in space.datasets()}


def named(run_id: str) -> str:
    """Say which run it is, with its data set."""
    run = runs[run_id]
    dataset = datasets.get(run.dataset_id)
    return f"{labels[run_id]} · {dataset.name if dataset else run.dataset_id}"


@st.dialog("Delete this run?", icon=":material/delete:")
def delete_run(run: Run) -> None:
    """Say what goes and what stays, and ask."""
    size = space.run_size(run.id)
    st.text(named(run.id))
    st.markdown(
        f"**Goes:** {counted(size.files, 'file')} with {in_words(size.bytes)}: the ranking, its selection settings, its exports. "
        "They cannot be brought back; mining again makes them anew.\n\n"
        "**Stays:** the data set, all verdicts, the other runs, and the stored vectors"
        + (f" ({in_words(size.shared_bytes)} of them are used here)" if size.shared_bytes else "")
        + "."
    )
    if run.id == session.run:
        st.warning("This is the run that is open now.", icon=":material/warning:")
    if st.button("Delete the run", type="primary", icon=":material/delete:", key="delete-confirmed", on_click=lambda: gone(run)):
        st.rerun()


def gone(run: Run) -> None:
    """Delete a run; another of its data set is opened when it was the open one."""
    try:
        space.delete_run(run.id)
        session["runs-chosen"] = None
        if session.run == run.id:
            state.open_dataset(run.dataset_id)
    except HnmineError as error:
        session["runs-failed"] = str(error)


@st.dialog("Delete this data set?", icon=":material/delete:")
def delete_dataset(dataset_id: str) -> None:
    """Say what goes and what stays, and ask."""
    dataset = datasets[dataset_id]
    st.text(dataset.name)
    st.markdown(
        f"**Goes:** the uploaded files, {in_words(dataset.bytes)}. They cannot be brought back.\n\n"
        "**Stays:** all verdicts and stored vectors: uploaded again, the data set finds them."
    )
    asked = st.button(
        "Delete the data set",
        type="primary",
        icon=":material/delete:",
        key="delete-dataset-confirmed",
        on_click=lambda: dropped(dataset_id),
    )
    if asked:
        st.rerun()


def dropped(dataset_id: str) -> None:
    """Delete a data set, and close it where it was the open one."""
    try:
        if (job := resources.jobs().latest(dataset_id)) is not None and job.active:
            raise WorkspaceError("the data set is being mined; cancel that on the Mine screen first")
        space.remove_dataset(dataset_id)
        if session.dataset == dataset_id:
            session.dataset = session.run = None
    except HnmineError as error:
        session["runs-failed"] = str(error)


def rename(run_id: str, key: str) -> None:
    """Keep the name that was typed."""
    try:
        session[key] = space.name_run(run_id, session[key])
    except HnmineError as error:
        session["runs-failed"] = str(error)


def choose(key: str, shown: list[str]) -> None:
    """Take the run whose row was clicked."""
    rows = session[key].selection.rows
    session["runs-chosen"] = shown[rows[0]] if rows and rows[0] < len(shown) else None


# The list

if failed := session.pop("runs-failed", None):
    st.error("That could not be done", icon=":material/error:")
    st.text(failed)
if damaged := space.damaged():
    st.warning(f"{counted(len(damaged), 'run or data set', 'runs and data sets')} cannot be read", icon=":material/broken_image:")
    st.text("\n".join(damaged))
if not runs:
    if not datasets:
        state.nothing_yet("No run yet", "Open training data and mine it; each run is then kept here.", "pages/views/data.py", "Go to Data")
    st.info("No run yet: mine a data set, and each run is kept here.", icon=":material/history:")
else:
    shown = list(runs)
    current = session.get("runs-chosen")
    if current not in runs:
        current = session.run if session.run in runs else shown[0]
    key = f"runs-table-{'-'.join(shown)[-2000:]}-{space.run_name(current)}"
    summaries = [run.manifest.get("summary") or {} for run in runs.values()]
    selections = [run.settings.selection for run in runs.values()]
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
            "name": st.column_config.TextColumn(width=165),
            "data set": st.column_config.TextColumn(width=140),
            "mined (UTC)": st.column_config.TextColumn(width=125),
            "model": st.column_config.TextColumn(width=135),
            "window": st.column_config.TextColumn(
                width=70, help="As it was mined; the window may have been moved since.", alignment="right"
            ),
            "negatives": st.column_config.NumberColumn(width=85, format="localized", help="As it was mined, over all rows."),
            "similarity": st.column_config.NumberColumn(width=80, format="%.3f", help="Mean of the negatives, as it was mined."),
            "size": st.column_config.NumberColumn(
                width=75, format="%.1f MB", help="What deleting it frees; stored vectors are not counted."
            ),
        },
        alt="All runs, newest first",
    )

    # The chosen one

    run = runs[current]
    with st.container(border=True):
        st.text(named(current))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name_key = f"run-name-{current}"
            session.setdefault(name_key, space.run_name(current))
            st.text_input(
                "Name",
                max_chars=NAME_LENGTH,
                placeholder="such as: guards at 0.95",
                key=name_key,
                width=320,
                on_change=lambda: rename(current, name_key),
                help="Shown in the sidebar and in this list.",
            )
            if st.button(
                "Open", icon=":material/folder_open:", type="primary", key="open-run", disabled=current == session.run, help="Inspect it."
            ):
                state.open_run(current)
                st.switch_page("pages/views/inspect.py")
            if st.button("Delete", icon=":material/delete:", key="delete-run", help="Says what goes, and asks."):
                delete_run(run)

    # Two side by side

    others = [run_id for run_id in shown if run_id != current]
    if others:
        st.subheader("Side by side", anchor=False)
        other = st.selectbox(
            "Compare this run (A) with another (B)",
            others,
            index=None,
            format_func=named,
            placeholder="none",
            key=f"compare-with-{current}",
            persist_state="session",
            help="The run above is A, this one is B. Queries and passages are matched by their texts, so the data sets may differ.",
        )
        if other is not None:
            comparison.draw(run, runs[other])

# What is there besides

used = {run.dataset_id for run in runs.values()}
if unused := [dataset for dataset in datasets.values() if dataset.id not in used]:
    with st.expander(f"Data sets without runs ({len(unused):,})", icon=":material/database:"):
        for dataset in unused:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.text(f"{dataset.name} · {in_words(dataset.bytes)} · {dataset.created[:10]}")
                if st.button("Delete", icon=":material/delete:", key=f"delete-{dataset.id}", help="Says what goes, and asks."):
                    delete_dataset(dataset.id)
