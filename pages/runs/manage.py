"""What can be done with a selected variant on the Runs screen: open, rename, note, delete; each deletion asks first."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.files import in_words
from hnmine.core.text import counted
from hnmine.runs.dataset_notes import title as dataset_title
from hnmine.runs.folders import Dataset
from hnmine.runs.variants import MINED, NOTE_LENGTH, forget, note, rename_variant, save_note
from hnmine.runs.workspace import NAME_LENGTH
from pages.runs.table import CHOSEN, Row
from pages.shared import access, state

FAILED = "runs-failed"
RED = ":red[:material/delete: {}]"
KEPT = "all verdicts and the stored vectors"


def draw(row: Row) -> bool:
    """Draw the names, the note and the actions of a variant; return whether a dialog is open."""
    run_id, variant_id = row.key
    session, space = st.session_state, resources.workspace()
    with st.container(border=True):
        st.text(row.title)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            _field(
                "Variant",
                f"variant-name-{run_id}-{variant_id}",
                row.variant.name,
                lambda name: rename_variant(space, run_id, variant_id, name).name,
                disabled=variant_id == MINED,
                help="The variant that the run was mined with keeps its name." if variant_id == MINED else "The name of this selection.",
            )
            _field(
                "Run",
                f"run-name-{run_id}",
                space.run_name(run_id),
                lambda name: space.name_run(run_id, name),
                placeholder="for example: mean of two models",
                help="Without a name, the run is shown by the time it was mined.",
            )
            _field(
                "Note",
                f"note-{run_id}-{variant_id}",
                note(space, run_id, variant_id),
                lambda text: save_note(space, run_id, variant_id, text),
                max_chars=NOTE_LENGTH,
                width=360,
                help="One line about this variant, shown in the table.",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            opened = row.key == (session.run, session.variant)
            if st.button(
                "Open", icon=":material/folder_open:", type="primary", key="open-run", help="Open this variant on the Inspect screen."
            ):
                if not opened:
                    state.open_variant(run_id, variant_id)
                st.switch_page("pages/views/inspect.py")
            asked: list[Callable[[], None]] = []
            if variant_id != MINED and _asks("Delete variant", "delete-variant"):
                asked.append(lambda: delete_variant(row))
            if _asks("Delete run", "delete-run"):
                asked.append(lambda: delete_run(row))
            if row.dataset is not None and _asks("Delete data set", "delete-dataset"):
                dataset = row.dataset
                asked.append(lambda: delete_dataset(dataset))
    for ask in asked:
        ask()
    return bool(asked)


def _asks(label: str, key: str) -> bool:
    """Draw a button that asks before it deletes, and return whether it was pressed. Only an admin can press it."""
    if access.may_delete():
        return st.button(RED.format(label), type="tertiary", key=key)
    return st.button(label, icon=":material/delete:", type="tertiary", key=key, disabled=True, help="Only an admin may delete.")


def _field(
    label: str, key: str, value: str, save: Callable[[str], str], *, max_chars: int = NAME_LENGTH, width: int = 260, **options: object
) -> None:
    """Draw a text field whose text is stored when it changes."""

    def changed() -> None:
        try:
            st.session_state[key] = save(st.session_state[key])
        except HnmineError as error:
            st.session_state[key], st.session_state[FAILED] = value, str(error)

    st.session_state.setdefault(key, value)
    st.text_input(label, key=key, max_chars=max_chars, width=width, on_change=changed, **options)  # type: ignore[arg-type]


# Dialogs


def _ask(label: str, work: Callable[[], None]) -> None:
    """Draw the buttons of a dialog: cancel, and the deletion in red."""

    def confirmed() -> None:
        try:
            access.require_admin()
            work()
        except HnmineError as error:
            st.session_state[FAILED] = str(error)

    with st.container(horizontal=True, horizontal_alignment="right"):
        done = st.button("Cancel", key="delete-cancelled")
        done |= st.button(RED.format(label), key="delete-confirmed", on_click=confirmed)
    if done:
        st.rerun()


@st.dialog("Delete this variant?", icon=":material/delete:")
def delete_variant(row: Row) -> None:
    """Ask before a variant is deleted."""
    st.text(row.title)
    st.markdown(
        f"**Deletes** the name, settings and note of this selection. This cannot be undone.\n\n"
        f"**Keeps** the run, its other variants, {KEPT}."
    )
    if row.key == (st.session_state.run, st.session_state.variant):
        st.warning("You are viewing this variant.", icon=":material/warning:")

    def work() -> None:
        forget(resources.workspace(), *row.key)
        st.session_state[CHOSEN] = None
        if row.key == (st.session_state.run, st.session_state.variant):
            state.open_variant(row.run.id, MINED)

    _ask("Delete variant", work)


@st.dialog("Delete this run?", icon=":material/delete:")
def delete_run(row: Row) -> None:
    """Ask before a run is deleted, with what goes and what stays."""
    space = resources.workspace()
    size = space.run_size(row.run.id)
    st.text(f"{row.dataset_name} · {row.label}")
    st.markdown(
        f"**Deletes** {in_words(size.bytes)} ({counted(size.files, 'file')}): ranking, variants, audit samples and exports. This cannot be "
        f"undone.\n\n**Keeps** the data set, the other runs, {KEPT}"
        + (f" ({in_words(size.shared_bytes)} of them used by this run)" if size.shared_bytes else "")
        + "."
    )
    if row.run.id == st.session_state.run:
        st.warning("You are viewing this run.", icon=":material/warning:")
    _ask("Delete run", lambda: remove_run(row.run.id, row.run.dataset_id))


def remove_run(run_id: str, dataset_id: str) -> None:
    """Delete a run; if it was open, open another one of its data set."""
    resources.workspace().delete_run(run_id)
    st.session_state[CHOSEN] = None
    if st.session_state.run == run_id:
        state.open_dataset(dataset_id)


@st.dialog("Delete this data set?", icon=":material/delete:")
def delete_dataset(dataset: Dataset) -> None:
    """Ask before a data set is deleted with its runs."""
    runs = resources.workspace().runs(dataset.id)
    st.text(dataset_title(resources.workspace(), dataset))
    st.markdown(
        f"**Deletes** the uploaded files ({in_words(dataset.bytes)})"
        + (f" and {counted(len(runs), 'run')} with all variants" if runs else "")
        + f". This cannot be undone.\n\n**Keeps** {KEPT}. They are used again if you upload the data set again."
    )
    if dataset.id == st.session_state.dataset:
        st.warning("You are viewing this data set.", icon=":material/warning:")

    def work() -> None:
        if (job := resources.jobs().latest(dataset.id)) is not None and job.active:
            raise WorkspaceError("the data set is being mined; cancel the job on the Mine screen first")
        space, session = resources.workspace(), st.session_state
        for run in runs:
            space.delete_run(run.id)
        space.remove_dataset(dataset.id)
        session[CHOSEN] = None
        if session.dataset == dataset.id:
            session.dataset = session.run = session.variant = None

    _ask("Delete data set", work)
