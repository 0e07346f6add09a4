"""The frame of every page: the tab's title, and the context bar below the navigation.

The bar names the data set, the run and its variant, unsaved changes, the model, the negatives and their false-negative rate, and shows the
running job of any data set, or one that a crash interrupted. It computes nothing that is not cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, shortened, visible
from hnmine.models.cards import readable_name
from hnmine.models.served.client import served_name
from hnmine.runs import dataset_notes
from hnmine.runs.folders import Dataset, Run
from hnmine.runs.variants import all_variants
from pages.shared import access, audit, job_progress, sign_in, state, statistics, wording
from pages.shared.printable import literal

# Letters of the name of a data set or variant, and of a model, that is longer than its place; the whole name is in the help.
NAME, MODEL = 36, 26
DRAFT = "draft"
Choice = tuple[str, str]


def bar(page: StreamlitPage, unseen: Callable[[], None]) -> None:
    """Set the tab's title and draw the context bar, with what shows nothing at its end; nothing while there is nothing to name."""
    dataset = state.dataset()
    done = "Done" if job_progress.announce() else ""
    st.set_page_config(page_title=" - ".join(filter(None, (done, page.title, dataset and _name(dataset), "hnmine"))))
    if dataset is None and not job_progress.anything() and not access.person():
        return
    with st.container(horizontal=True, vertical_alignment="center", gap=10, key="context"):
        if dataset is not None:
            _context(dataset, page)
        job_progress.show_all(on_mine=page.url_path == "mine")
        unseen()
        sign_in.menu()


def _name(dataset: Dataset) -> str:
    return dataset_notes.title(resources.workspace(), dataset)


def _context(dataset: Dataset, page: StreamlitPage) -> None:
    """Draw what is open."""
    name = _name(dataset)
    short = shortened(name, NAME)
    st.text(short, width="content", help=name if short != name else None)
    runs = {run.id: run for run in resources.workspace().runs(dataset.id)}
    if st.session_state.run is None:
        st.text("Not mined yet" if not runs else "No run is open", width="content")
    elif st.session_state.run not in runs:
        st.text("The run cannot be opened.", width="content")
    else:
        _picker(runs)
        _unsaved(st.session_state.run)
        _figures(runs[st.session_state.run], name, brief=page.url_path == "mine")


def _picker(runs: dict[str, Run]) -> None:
    """Draw the choice of the run and its variant."""
    current = st.session_state.run
    labels, options = state.run_labels(runs.values()), dict[Choice, str]()
    for run_id in runs:
        held, known = state.unsaved(run_id), all_variants(resources.workspace(), run_id)
        # A draft stands behind the variant that it began with, or behind the first one where that is gone.
        began = None if held is None else held.variant if held.variant in [each.id for each in known] else known[0].id
        for each in known:
            options[run_id, each.id] = f"{labels[run_id]} / {each.name}"
            if began == each.id:
                options[run_id, DRAFT] = f"{labels[run_id]} / {each.name}, unsaved"
    short = {choice: shortened(label, 2 * NAME) for choice, label in options.items()}
    if len(set(short.values())) < len(short):
        short = options
    here = (current, DRAFT if state.draft(current) is not None else state.variant().id)
    chosen = st.selectbox(
        "Run and variant",
        list(options),
        index=list(options).index(here),
        format_func=short.__getitem__,
        label_visibility="collapsed",
        required=True,
        width=245 if here[1] != DRAFT else 290,
    )
    if chosen not in options or chosen == here:  # Streamlit returns the label of an option that has been renamed since it was drawn
        return
    if chosen[1] == DRAFT:
        state.open_draft(chosen[0])
    else:
        state.open_variant(*chosen)
    st.rerun()


def _unsaved(run_id: str) -> None:
    """Draw that there are unsaved changes, and how to save or discard them."""
    if state.draft(run_id) is None:
        return
    with st.popover(":orange-badge[:material/edit: unsaved changes]", type="tertiary", key="unsaved"):
        st.text("The sliders on Mine changed this variant for you alone.")
        name = st.text_input("Name of the new variant", key="variant-name", max_chars=80)
        with st.container(horizontal=True):
            if st.button("Save as variant", type="primary", icon=":material/save:", key="save-variant"):
                try:
                    state.save_draft(run_id, name)
                except HnmineError as error:
                    st.error("Cannot save this variant", icon=":material/error:")
                    st.text(str(error))
                else:
                    st.rerun()
            if st.button("Discard changes", icon=":material/undo:", key="discard-draft"):
                state.discard_draft(run_id)
                st.rerun()


def _model(described: Mapping[str, Any]) -> str:
    """Return the name of a run's model, and where it ran."""
    name, address = visible(str(described.get("name", ""))), described.get("address")
    if address is not None:
        return served_name(name, visible(str(address)))
    return f"{name}, {', '.join(map(str, described.get('devices') or ())) or 'device unknown'}, {described.get('precision', '')}"


def _figures(run: Run, dataset_name: str, *, brief: bool) -> None:
    """Draw model, negatives and false-negative rate in a line, with the details behind it.

    With `brief` the model alone: on Mine the figures change with each move of a slider, and are on the page.
    """
    model = run.manifest.get("model", {})
    name = str(model.get("name", ""))
    try:
        opened = resources.open_run(run.id)
        selection = resources.selection(opened, state.selection_settings(run.id))
        negatives, estimate = statistics.figures(opened, selection)
    except HnmineError:  # the page says why
        return
    measured = audit.current_or_none(opened, selection)
    if measured is not None and (rate := measured.rate) is not None:
        false = f"{wording.percent(rate.rate, 1)} ({wording.interval(rate.low, rate.high).rstrip('%')}), {audit.reviewed(measured.found)}"
    else:
        false = f"est. {estimate}, not audited" if estimate else "not audited"
    short = shortened(readable_name(name), MODEL)
    label = literal(short) if brief else f"{literal(short)} · {counted(negatives, 'negative')} · false negatives {false}"
    with st.popover(label, type="tertiary", wrap=False, key="figures"):
        lines = {
            "Data set": dataset_name,
            "Run": f"{resources.workspace().run_name(run.id) or 'without a name'}, mined {state.when(run)} UTC",
            "Variant": state.selection_name(run.id),
            "Model": _model(model),
            "Negatives": f"{negatives:,}",
            "False negatives": false,
        }
        if measured is not None and (judge := audit.judge_name(measured)):
            lines["Judge"] = judge
        st.text("\n".join(f"{line}: {value}" for line, value in lines.items()))
        about = "95% confidence interval of an audit." if measured is not None else "Review a random sample on Quality to measure the rate."
        st.text(about)
        st.page_link("pages/views/quality.py", label="Quality", icon=":material/verified:")
