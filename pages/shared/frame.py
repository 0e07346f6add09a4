"""The context bar below the navigation: data set, run and variant, model, negatives, false negatives, and the running job."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.runs.variants import all_variants
from pages.shared import state


def bar() -> None:
    """Draw the context bar; nothing while no data set is open."""
    dataset = state.dataset()
    if dataset is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="context"):
        st.text(dataset.name + (f" + {dataset.pool_name}" if dataset.pool_name else ""), width="content")
        if st.session_state.run is None:
            st.text("no run", width="content")
            return
        _picker()


def _picker() -> None:
    """Draw the choice of the run and its variant."""
    space, current = resources.workspace(), st.session_state.run
    runs = {run.id: run for run in space.runs(st.session_state.dataset)}
    if current not in runs:
        st.text("The run cannot be opened.", width="content")
        return
    labels = state.run_labels(runs.values())
    options = {(run_id, each.id): f"{labels[run_id]} / {each.name}" for run_id in runs for each in all_variants(space, run_id)}
    chosen = st.selectbox(
        "Run / variant",
        list(options),
        index=list(options).index((current, state.variant().id)),
        format_func=options.__getitem__,
        label_visibility="collapsed",
        width=320,
    )
    if chosen != (current, state.variant().id):
        state.open_variant(*chosen)
        st.rerun()
    if state.draft(current) is not None:
        st.badge("unsaved changes", icon=":material/edit:", color="orange")
    try:
        model = str(runs[current].manifest.get("model", {}).get("name", ""))
    except HnmineError:
        model = ""
    st.text(model, width="content")
