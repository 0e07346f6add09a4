"""What a session has open: data set, run, decisions and selection settings; mirrored in the address, so that a reload keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.data.columns import Columns
from hnmine.data.corpus import Corpus
from hnmine.runs.workspace import Dataset, Run
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings

Decisions = tuple[tuple[str, ...], bool]


def restore(page: str = "") -> None:
    """Take what is open from the address in a new session, and keep the address up to date after that.

    On the page "inspect" the address names a query too; there a step back or forth in the browser's history goes to another query.
    """
    state = st.session_state
    if "dataset" in state:
        _let_go()
    if "dataset" not in state:
        state.dataset = state.run = None
        state.query, state.query_written, state.query_turn = st.query_params.get("query") or None, None, 0
        if run_id := st.query_params.get("run"):
            open_run(run_id)
        elif dataset_id := st.query_params.get("dataset"):
            open_dataset(dataset_id)
    elif page == "inspect" and "run" in st.query_params and st.query_params.get("query") != state.query_written:
        state.query, state.query_turn = st.query_params.get("query") or None, state.query_turn + 1
    wanted = {name: state[name] for name in ("run", "dataset") if state[name] is not None}
    if page == "inspect" and state.run is not None and state.query is not None:
        wanted["query"] = state.query
    state.query_written = wanted.get("query")
    if st.query_params.to_dict() != wanted:  # written at once: each write is a step of the browser's history
        st.query_params.from_dict(wanted)
    if message := state.pop("message", None):
        st.error("This cannot be opened", icon=":material/link_off:")
        st.text(message)
    if damages := resources.workspace().damaged_settings(state.dataset, state.run):
        st.warning("Settings that were kept cannot be read; those of the start are used instead", icon=":material/warning:")
        st.text("\n".join(damages))


def _let_go() -> None:
    """Let go of a run or data set that somebody deleted since it was opened here."""
    state, space = st.session_state, resources.workspace()
    if state.run is not None and not space.run_folder(state.run).exists():
        state.run, state.message = None, "The run that was open has been deleted; open or mine another."
    try:
        dataset()
    except HnmineError as error:
        there = space.dataset_folder(state.dataset).exists()
        state.dataset = state.run = None
        state.message = str(error) if there else "The data set that was open has been deleted; open another."


def open_dataset(dataset_id: str) -> None:
    """Make a data set the current one; its newest run, if it has one, is opened with it. What cannot be opened is shown next."""
    space, state = resources.workspace(), st.session_state
    try:
        space.dataset(dataset_id)
    except HnmineError as error:
        state.message = str(error)
        return
    state.dataset, state.run = dataset_id, None
    if runs := space.runs(dataset_id):
        open_run(runs[0].id)


def open_run(run_id: str) -> None:
    """Make a run, and the data set it was made from, the current ones. What cannot be opened is shown next."""
    try:
        run = resources.workspace().run(run_id)
        resources.workspace().dataset(run.dataset_id)  # a run without its data cannot be opened
    except HnmineError as error:
        st.session_state.message = str(error)
        return
    st.session_state.dataset, st.session_state.run = run.dataset_id, run.id
    st.session_state[f"decisions-{run.dataset_id}"] = (run.settings.repair, run.settings.skip_bad_rows)
    st.session_state[f"columns-{run.dataset_id}"] = run.settings.columns


def dataset() -> Dataset | None:
    """Return the current data set."""
    dataset_id = st.session_state.dataset
    return None if dataset_id is None else resources.workspace().dataset(dataset_id)


def decisions(dataset_id: str) -> Decisions:
    """Return (repairs, skip_bad_rows) as decided for a data set; nothing is mended or skipped before somebody says so."""
    chosen: Decisions | None = st.session_state.get(f"decisions-{dataset_id}")
    return chosen if chosen is not None else resources.workspace().decisions(dataset_id)


def decide(dataset_id: str, chosen: Decisions) -> None:
    """Keep what was decided about a data set's bad rows, for later sessions too."""
    st.session_state[f"decisions-{dataset_id}"] = chosen
    resources.workspace().save_decisions(dataset_id, *chosen)


def columns(dataset_id: str) -> Columns:
    """Return which columns of a data set hold what, as somebody said; what nobody did is found by name."""
    chosen: Columns | None = st.session_state.get(f"columns-{dataset_id}")
    return chosen if chosen is not None else resources.workspace().columns(dataset_id)


def choose_columns(dataset_id: str, chosen: Columns) -> None:
    """Keep which columns hold what, for later sessions too."""
    st.session_state[f"columns-{dataset_id}"] = chosen
    resources.workspace().save_columns(dataset_id, chosen)


def selection_settings(run_id: str) -> SelectionSettings:
    """Return the selection settings of a run as this session, or else the last one, left them."""
    settings: SelectionSettings | None = st.session_state.get(f"selection-{run_id}")
    return settings if settings is not None else resources.workspace().selection(run_id)


def keep_selection(run_id: str, settings: SelectionSettings) -> None:
    """Keep selection settings for the other screens of this session."""
    st.session_state[f"selection-{run_id}"] = settings


def save_selection(run_id: str) -> None:
    """Write the selection settings into the workspace, for later sessions; a screen does so last, because a disk takes its time."""
    if (settings := selection_settings(run_id)) != resources.workspace().selection(run_id):
        resources.workspace().save_selection(run_id, settings)


def opened() -> tuple[resources.OpenRun, Selection]:
    """Return the current run with its selection; draws an empty state and ends the page when there is none."""
    if st.session_state.run is None:
        nothing_yet("No run is open", "Mine a data set first; its negatives then appear here.", "pages/views/mine.py", "Go to Mine")
    try:
        run = resources.open_run(st.session_state.run)
        return run, resources.selection(run, selection_settings(run.run.id))
    except HnmineError as error:
        st.error("This run cannot be opened", icon=":material/error:")
        st.text(str(error))
        st.stop()


def nothing_yet(title: str, text: str, page: str, label: str) -> None:
    """Draw an empty state with the way on, and end the page."""
    with st.container(border=True, horizontal_alignment="center"):
        st.subheader(title, anchor=False)
        st.write(text)
        st.page_link(page, label=label, icon=":material/arrow_forward:")
    st.stop()


def run_labels(runs: Collection[Run]) -> dict[str, str]:
    """Say which run each is: its name, or else when it was mined. No two are called the same."""
    names = {run.id: resources.workspace().run_name(run.id) for run in runs}
    labels = {run.id: names[run.id] or f"{when(run)} UTC" for run in runs}
    more = [
        {run.id: f"{names[run.id]} · {when(run)}" if names[run.id] else f"{when(run, seconds=True)} UTC" for run in runs},
        {run.id: f"{names[run.id] or when(run)} · {run.id[-4:]}" for run in runs},
    ]
    for longer in more:
        counts = Counter(labels.values())
        labels = {run_id: label if counts[label] == 1 else longer[run_id] for run_id, label in labels.items()}
    return labels


def when(run: Run, *, seconds: bool = False) -> str:
    """Say when a run was mined, in UTC."""
    return run.created.replace("T", " ")[: 19 if seconds else 16]


def sidebar() -> None:
    """Draw what is loaded."""
    with st.sidebar:
        current = dataset()
        st.caption("Data set")
        st.text(current.name if current else "none yet", wrap=False)
        if current and current.pool_name:
            st.text(f"+ {current.pool_name}", wrap=False)
        st.caption("Run")
        if st.session_state.run is None:
            st.text("none yet")
            return
        runs = {run.id: run for run in resources.workspace().runs(st.session_state.dataset)}
        run = runs.get(st.session_state.run)
        if run is None:
            st.text("cannot be opened")
            return
        labels = run_labels(runs.values())
        if len(runs) == 1:
            st.text(labels[run.id], wrap=False)
        else:
            chosen = st.selectbox(
                "Run",
                list(runs),
                index=list(runs).index(run.id),
                format_func=labels.__getitem__,
                label_visibility="collapsed",
            )
            if chosen != run.id:
                open_run(chosen)
                st.rerun()
        st.caption("Model")
        st.text(str(run.manifest.get("model", {}).get("name", "")), wrap=False)


def query_id(corpus: Corpus, query: int) -> str:
    """Return what an address calls a query: the hash of its text, so that it is the same in every run and workspace."""
    return f"{int(corpus.query_hashes[query]):016x}"


def query_of(corpus: Corpus, name: str | None) -> int | None:
    """Return the query that an address means, or None when this run has no such query."""
    try:
        wanted = np.uint64(int(name or "", 16))
    except (ValueError, OverflowError):
        return None
    place = int(np.searchsorted(corpus.query_hashes, wanted))
    return place if place < len(corpus.query_hashes) and corpus.query_hashes[place] == wanted else None
