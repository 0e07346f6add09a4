"""Session state: open data set, run, variant, unsaved draft and repairs. The address names it, so a reload keeps it.

Sliders change a draft of the session. It is stored with the run, and a session that opens the address of another's draft copies it before
it changes anything: nobody's slider changes what another session exports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

import numpy as np
import streamlit as st
from streamlit import config

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.data.columns import Columns
from hnmine.data.corpus import Corpus
from hnmine.runs import variants
from hnmine.runs.selection_files import Draft, delete_draft, new_id, read_draft, write_draft
from hnmine.runs.variants import MINED, Variant, all_variants, save_variant
from hnmine.runs.workspace import Dataset, Run
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.shared import gate, limits
from pages.shared.widgets import failed

Decisions = tuple[tuple[str, ...], bool]

# What the address says of the list on the Inspect screen, besides the query.
VIEW = ("search", "show", "sort", "order")
# What the address says of the state; other parameters belong to the page.
ADDRESS = ("run", "variant", "draft", "dataset", "query", *VIEW)


def restore(page: str = "") -> None:
    """Read the state from the address in a new session and after the browser's back button, and update the address afterwards."""
    state, named = st.session_state, _named()
    if "dataset" not in state:
        state.dataset = state.run = state.variant = state.draft = state.query = None
        state.address, state.view, state.query_turn, state.own_drafts = {}, {}, 0, set()
        _open_address(named)
    else:
        _close_deleted()
        # Where a widget has just changed the state, the address is only older than it: no step back.
        if "run" in named and named != state.address == _address(page):
            _open_address(named)
    write_address(page)
    if message := state.pop("message", None):
        st.error("Cannot open this address", icon=":material/link_off:")
        st.text(message)
    space = resources.workspace()
    damages = [] if state.dataset is None else space.damaged_settings(state.dataset)
    if damages := damages + ([] if state.run is None else variants.damaged(space, state.run)):
        st.warning("Cannot read the stored settings. The defaults are used instead.", icon=":material/warning:")
        st.text("\n".join(damages))
    if unstored := state.get("unstored"):
        st.warning("Changes cannot be stored. A reload of the page loses them.", icon=":material/warning:")
        st.text("\n".join(unstored.values()))


def keep(name: str, write: Callable[[], object]) -> None:
    """Store a choice of this session under a name; one that cannot be stored counts in this session alone, and `restore` says so.

    The app runs again where that has changed.
    """
    unstored: dict[str, str] = st.session_state.setdefault("unstored", {})
    before = unstored.pop(name, None)
    try:
        write()
    except HnmineError as error:
        unstored[name] = str(error)
    if before != unstored.get(name):
        st.rerun()


def write_address(page: str) -> None:
    """Write the state into the address, in one write, because each write is an entry of the browser's history."""
    st.session_state.address = wanted = _address(page)
    if _named() != wanted:
        others = {name: st.query_params.get_all(name) for name in st.query_params if name not in ADDRESS}
        st.query_params.from_dict(others | wanted)


def _named() -> dict[str, str]:
    # A longer value is none that a screen wrote.
    return {name: value for name in ADDRESS if 0 < len(value := st.query_params.get(name, "")) <= limits.ADDRESS}


def _address(page: str) -> dict[str, str]:
    """Return the state as the address names it; that of the Inspect screen has the query and the list too."""
    state = st.session_state
    wanted = {name: state[name] for name in ("run", "variant", "draft", "dataset") if state[name] is not None}
    if page == "inspect" and state.run is not None:
        wanted |= state.view | ({} if state.query is None else {"query": state.query})
    return wanted


def link(page: str, query: str | None = None) -> str:
    """Return the address of a page with the open run, its variant or draft, the list of Inspect and a query's id, for another person.

    It begins with HNMINE_PUBLIC_URL, the address of sign-in or `browser.serverAddress` where set, or else as this browser reached the
    server.
    """
    here = urlsplit(st.context.url or f"http://localhost:{st.get_option('server.port')}")
    base = gate.public_url()
    if not base:
        host = here.netloc
        if config.is_manually_set("browser.serverAddress"):
            host = f"{st.get_option('browser.serverAddress')}:{st.get_option('browser.serverPort')}"
        base = "/".join(filter(None, (f"{here.scheme}://{host}", st.get_option("server.baseUrlPath").strip("/"))))
    named = _address(page) | ({"query": query} if query is not None else {})
    return f"{base}/{page}?{urlencode(named)}"


def link_note(address: str) -> str:
    """Return who can open an address, in one sentence."""
    if (urlsplit(address).hostname or "") in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):
        return "Only this machine can open it: set server.address and HNMINE_PUBLIC_URL to share it."
    return "It opens for everyone who can reach this server."


def _open_address(named: dict[str, str]) -> None:
    """Open what an address names."""
    state = st.session_state
    view = {name: named[name] for name in VIEW if name in named}
    if (named.get("query"), view) != (state.query, state.view):
        state.query, state.view, state.query_turn = named.get("query"), view, state.query_turn + 1
    if (run_id := named.get("run")) is None:
        if dataset_id := named.get("dataset"):
            open_dataset(dataset_id)
        return
    open_variant(run_id, named.get("variant", MINED))
    if (draft_id := named.get("draft")) and state.run == run_id:
        held = state.get(f"draft-{run_id}")
        try:
            found = held if held is not None and held.id == draft_id else read_draft(resources.workspace(), run_id, draft_id)
        except HnmineError as error:
            state.message = str(error)
        else:
            state[f"draft-{run_id}"], state.draft, state.variant = found, found.id, found.variant


def _close_deleted() -> None:
    """Close a run, variant or data set that another session has deleted."""
    state, space = st.session_state, resources.workspace()
    if state.run is not None and not space.run_folder(state.run).exists():
        state.run = state.variant = state.draft = None
        state.message = "The open run has been deleted. Open another run or mine again."
    try:
        dataset()
    except HnmineError as error:
        damaged = space.dataset_folder(state.dataset).exists()
        state.dataset = state.run = state.variant = state.draft = None
        state.message = str(error) if damaged else "The open data set has been deleted. Open another one."
    _replace_lost_variant()


def _replace_lost_variant() -> None:
    """Open the variant that the run was mined with in place of one that does not exist, and say so."""
    state = st.session_state
    with suppress(HnmineError):  # of a damaged run, which its page says
        if state.run is not None and state.variant not in [each.id for each in all_variants(resources.workspace(), state.run)]:
            state.variant = MINED
            if state.draft is None:
                state.message = "The variant has been deleted or cannot be read. The selection that the run was mined with is open instead."


def open_dataset(dataset_id: str) -> None:
    """Open a data set with its newest run, if any. An error is shown on the next rerun."""
    space, state = resources.workspace(), st.session_state
    try:
        space.dataset(dataset_id)
    except HnmineError as error:
        state.message = str(error)
        return
    state.dataset, state.run, state.variant, state.draft = dataset_id, None, None, None
    if runs := space.runs(dataset_id):
        open_run(runs[0].id)


def open_run(run_id: str) -> None:
    """Open a run as it was mined, and its data set. An error is shown on the next rerun."""
    try:
        run = resources.workspace().run(run_id)
        resources.workspace().dataset(run.dataset_id)  # raises for a run without its data
    except HnmineError as error:
        st.session_state.message = str(error)
        return
    state = st.session_state
    state.dataset, state.run, state.variant, state.draft = run.dataset_id, run.id, MINED, None
    st.session_state[f"decisions-{run.dataset_id}"] = (run.settings.repair, run.settings.skip_bad_rows)
    st.session_state[f"columns-{run.dataset_id}"] = run.settings.columns


def dataset() -> Dataset | None:
    """Return the current data set."""
    dataset_id = st.session_state.dataset
    return None if dataset_id is None else resources.workspace().dataset(dataset_id)


def decisions(dataset_id: str) -> Decisions:
    """Return (repairs, skip_bad_rows) as chosen for a data set; by default nothing is repaired or skipped."""
    chosen: Decisions | None = st.session_state.get(f"decisions-{dataset_id}")
    return chosen if chosen is not None else resources.workspace().decisions(dataset_id)


def decide(dataset_id: str, chosen: Decisions) -> None:
    """Store the choice of (repairs, skip_bad_rows), also for later sessions."""
    st.session_state[f"decisions-{dataset_id}"] = chosen
    keep(f"decisions-{dataset_id}", lambda: resources.workspace().save_decisions(dataset_id, *chosen))


def columns(dataset_id: str) -> Columns:
    """Return the chosen columns of a data set; the others are detected by name."""
    chosen: Columns | None = st.session_state.get(f"columns-{dataset_id}")
    return chosen if chosen is not None else resources.workspace().columns(dataset_id)


def choose_columns(dataset_id: str, chosen: Columns) -> None:
    """Store the chosen columns, also for later sessions."""
    st.session_state[f"columns-{dataset_id}"] = chosen
    keep(f"columns-{dataset_id}", lambda: resources.workspace().save_columns(dataset_id, chosen))


def data(dataset_id: str) -> resources.Data:
    """Return a data set's files with the decisions about them."""
    return resources.data(dataset_id, *decisions(dataset_id), columns(dataset_id))


def variant() -> Variant:
    """Return the open variant of the open run; the one that the run was mined with, if it has been deleted."""
    known = all_variants(resources.workspace(), st.session_state.run)
    return next((each for each in known if each.id == st.session_state.variant), known[0])


def open_variant(run_id: str, variant_id: str) -> None:
    """Open a variant of a run. Unsaved changes of the run stay in the list of variants. An error is shown on the next rerun."""
    open_run(run_id)
    if st.session_state.run == run_id:
        st.session_state.variant = variant_id
        _replace_lost_variant()


def open_draft(run_id: str) -> None:
    """Open the unsaved changes that this session has of a run."""
    held = unsaved(run_id)
    assert held is not None  # the caller has asked
    open_variant(run_id, held.variant)
    st.session_state.draft = held.id


def unsaved(run_id: str) -> Draft | None:
    """Return the unsaved changes that this session has of a run, open or not."""
    held: Draft | None = st.session_state.get(f"draft-{run_id}")
    return held


def draft(run_id: str) -> SelectionSettings | None:
    """Return the open unsaved settings of a run, or None."""
    held = unsaved(run_id)
    return held.settings if held is not None and run_id == st.session_state.run and held.id == st.session_state.draft else None


def set_draft(run_id: str, settings: SelectionSettings | None) -> None:
    """Keep unsaved settings of the open run; those of the open variant, or None, are no draft.

    The app runs again when a draft begins or ends, so that the context bar and the address name it.
    """
    state, space = st.session_state, resources.workspace()
    if run_id != state.run:
        return
    held = unsaved(run_id) if draft(run_id) is not None else None
    if settings is None or settings == variant().settings:
        if held is not None:
            discard_draft(run_id)
            st.rerun()
        return
    if held is not None and settings == held.settings:
        return
    own = held is not None and held.id in state.own_drafts
    new = Draft(id=held.id if held is not None and own else new_id(), variant=state.variant, settings=settings)
    state[f"draft-{run_id}"], state.draft = new, new.id
    state.own_drafts.add(new.id)
    keep("draft", lambda: write_draft(space, run_id, new))
    if not own:
        st.rerun()


def discard_draft(run_id: str) -> None:
    """Forget the unsaved settings of the open run; the open variant shows its own."""
    state = st.session_state
    held = unsaved(run_id)
    state[f"draft-{run_id}"], state.draft = None, None
    if held is not None and held.id in state.own_drafts:
        keep("draft", lambda: delete_draft(resources.workspace(), run_id, held.id))


def save_draft(run_id: str, name: str) -> Variant:
    """Save the draft of a run as a variant and open it.

    Raises:
        WorkspaceError: as `variants.save_variant`.
    """
    saved = save_variant(resources.workspace(), run_id, name, selection_settings(run_id))
    if draft(run_id) is not None:
        discard_draft(run_id)
    open_variant(run_id, saved.id)
    return saved


def selection_settings(run_id: str) -> SelectionSettings:
    """Return the selection settings of a run in this session: its draft, or the open variant's, or those it was mined with."""
    if (changed := draft(run_id)) is not None:
        return changed
    return variant().settings if run_id == st.session_state.run else resources.workspace().run(run_id).settings.selection


def selection_name(run_id: str) -> str:
    """Return the name of the selection that this session uses: the variant's, and that it has unsaved changes."""
    name = variant().name if run_id == st.session_state.run else all_variants(resources.workspace(), run_id)[0].name
    return name if draft(run_id) is None else f"{name}, unsaved changes"


def opened() -> tuple[resources.OpenRun, Selection]:
    """Return the open run with its selection; without one, draw the empty state and stop the script."""
    if st.session_state.dataset is None:
        nothing_yet("No run is open", "Open your training file or the example first.", "pages/views/data.py", "Go to Data")
    if st.session_state.run is None:
        job = resources.jobs().latest(st.session_state.dataset)
        if job is not None and job.active:
            nothing_yet("Mining is running", "There is something to see here when it is done.", "pages/views/mine.py", "Show the progress")
        nothing_yet("No run is open", "Mine this data set first.", "pages/views/mine.py", "Go to Mine")
    try:
        run = resources.open_run(st.session_state.run)
        return run, resources.selection(run, selection_settings(run.run.id))
    except HnmineError as error:
        failed("Cannot open this run", error)
        st.page_link("pages/views/mine.py", label="Mine again with its settings", icon=":material/arrow_forward:")
        st.stop()


def nothing_yet(title: str, text: str, page: str, label: str) -> None:
    """Draw an empty state with a link to the next step, and stop the script."""
    with st.container(border=True, horizontal_alignment="center"):
        st.subheader(title, anchor=False, width="content")
        st.markdown(text, width="content")
        st.page_link(page, label=label, icon=":material/arrow_forward:")
    st.stop()


def run_labels(runs: Collection[Run]) -> dict[str, str]:
    """Return a unique label for each run: its name, or else the time it was mined."""
    names = {run.id: resources.workspace().run_name(run.id) for run in runs}
    labels = {run.id: names[run.id] or f"{when(run)} UTC" for run in runs}
    longer_labels = [
        {run.id: f"{names[run.id]} · {when(run)}" if names[run.id] else f"{when(run, seconds=True)} UTC" for run in runs},
        {run.id: f"{names[run.id] or when(run)} · {run.id[-4:]}" for run in runs},
    ]
    for longer in longer_labels:
        counts = Counter(labels.values())
        labels = {run_id: label if counts[label] == 1 else longer[run_id] for run_id, label in labels.items()}
    return labels


def when(run: Run, *, seconds: bool = False) -> str:
    """Return the time a run was mined, in UTC."""
    return run.created.replace("T", " ")[: 19 if seconds else 16]


def query_id(corpus: Corpus, query: int) -> str:
    """Return a query's id in addresses: the hash of its text, equal in all runs and workspaces."""
    return f"{int(corpus.query_hashes[query]):016x}"


def query_of(corpus: Corpus, name: str | None) -> int | None:
    """Return the query of an id, or None when the run has no such query."""
    try:
        wanted = np.uint64(int(name or "", 16))
    except (ValueError, OverflowError):
        return None
    place = int(np.searchsorted(corpus.query_hashes, wanted))
    return place if place < len(corpus.query_hashes) and corpus.query_hashes[place] == wanted else None
