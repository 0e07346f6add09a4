"""The ways to open data: the bundled example, an upload, what is in the workspace already.

What a file is gets shown before it is opened, with the columns that would be read; one that cannot be read is refused here, and not kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.core.errors import ColumnsError, HnmineError
from hnmine.data.detect import Role
from hnmine.runs.uploads import SUFFIXES, FileInfo
from pages.data import columns as reading
from pages.shared import state

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
NO_POOL = "no pool"


def _open(name: str, training: BinaryIO | Path, pool_name: str | None, pool: BinaryIO | Path | None) -> None:
    """Store a data set and go on with it; a file that cannot be read at all is refused here, and not kept."""
    space = resources.workspace()
    try:
        opened = space.add_dataset(name, training, pool_name, pool)
    except HnmineError as error:
        st.error("The data could not be stored", icon=":material/error:")
        st.text(str(error))
        return
    try:
        repair, skip = state.decisions(opened.id)
        resources.files(opened.id, repair, skip, state.columns(opened.id))
    except ColumnsError:
        pass  # the next screen asks for them
    except HnmineError as error:
        message = str(error).replace(str(space.training_path(opened.id)), name)
        if (stored := space.pool_path(opened.id)) is not None:
            message = message.replace(str(stored), str(pool_name))
        if not space.runs(opened.id):
            space.remove_dataset(opened.id)
        st.error("This file cannot be read", icon=":material/error:")
        st.text(message)
        return
    state.open_dataset(opened.id)
    st.rerun()


def _found(source: UploadedFile | Path, name: str, role: Role) -> FileInfo | None:
    """Say what a file is, before it is used; None when it cannot be read."""
    try:
        found = reading.look(source, name, role)
    except HnmineError as error:
        st.error("This file cannot be read", icon=":material/error:")
        st.text(str(error))
        return None
    st.text(found.said)  # names of columns are somebody's text
    if found.columns is None and not found.plain:
        st.caption("You say which column is which once it is open.")
    return found


def _label(training: FileInfo | None, pool: object) -> str:
    """Say what would be opened. A file that the browser is still sending is not here yet: nothing but the label tells that it stays out."""
    if training is None or pool is not None:
        return "Open these files"
    return "Open this data set" if training.source.format == "beir" else "Open without a pool"


def ways() -> None:
    """Draw the three ways side by side."""
    for column, draw in zip(st.columns(3), (example, upload, workspace), strict=True):
        with column:
            draw()


def example() -> None:
    """One click to data that shows every screen at its best."""
    with st.container(border=True, height="stretch"):
        st.subheader("Open the example", anchor=False)
        st.write("124 questions to the help centre of a bicycle-sharing service, 400 passages, with planted traps.")
        if st.button("Open the example", type="primary", icon=":material/play_arrow:", key="open-example"):
            _open("bikeshare/train.jsonl", EXAMPLE / "train.jsonl", "bikeshare/pool.jsonl", EXAMPLE / "pool.jsonl")
        st.caption("Nothing to prepare, and no download: the packaged model ranks it within a minute.")


def upload() -> None:
    """Training rows, and a pool if wanted, from the browser."""
    with st.container(border=True, height="stretch"):
        st.subheader("Upload your own", anchor=False)
        training = st.file_uploader(
            "Training data",
            type=list(SUFFIXES),
            key="upload-training",
            help='Queries with their positive passages. JSON lines such as `{"query": "...", "pos": ["..."]}`, also with other names; '
            "Parquet; CSV or TSV; a JSON array; a zip of a BEIR data set. gzip and Zstandard are unpacked. Every other field is kept.",
        )
        found = None if training is None else _found(training, training.name, "training")
        beir = found is not None and found.source.format == "beir"
        pool = st.file_uploader(
            "Candidate pool (optional)",
            type=list(SUFFIXES),
            key="upload-pool",
            help="More passages to mine from: JSON lines with `text`, plain text with a passage a line, or any of the formats above. "
            "A BEIR data set brings its own.",
        )
        if beir and pool is None:
            st.caption("The corpus of the data set is the pool.")
        found_pool = None if pool is None else _found(pool, pool.name, "pool")
        ready = found is not None and (pool is None or found_pool is not None)
        if st.button(
            _label(found, pool),
            disabled=not ready,
            icon=":material/upload_file:",
            type="primary" if ready else "secondary",
            key="open-upload",
        ):
            assert training is not None  # the button is disabled without it
            _open(training.name, training, pool.name if pool else None, pool)


def workspace() -> None:
    """Data sets opened before, and large files that somebody put into the workspace's folder."""
    space = resources.workspace()
    with st.container(border=True, height="stretch"):
        st.subheader("Pick from the workspace", anchor=False)
        known = {dataset.id: dataset for dataset in space.datasets()}
        if known:
            chosen = st.selectbox(
                "Opened before",
                list(known),
                format_func=lambda key: (
                    f"{known[key].name}{' + ' + known[key].pool_name if known[key].pool_name else ''} ({known[key].created[:10]})"
                ),
                key="pick-dataset",
            )
            if st.button("Open", key="open-known", icon=":material/folder_open:"):
                state.open_dataset(chosen)
                st.rerun()
        else:
            st.caption("Nothing was opened before; what you open is kept here.")
        names = space.files()
        if names:
            training = st.selectbox("Training data in the folder", names, key="pick-training")
            found = _found(space.file(training), training, "training")
            pool = st.selectbox("Candidate pool in the folder", [NO_POOL, *names], key="pick-pool")
            chosen_pool = None if pool == NO_POOL else pool
            found_pool = None if chosen_pool is None else _found(space.file(chosen_pool), chosen_pool, "pool")
            ready = found is not None and (chosen_pool is None or found_pool is not None)
            if st.button(_label(found, chosen_pool), key="open-files", icon=":material/folder_open:", disabled=not ready):
                _open(training, space.file(training), chosen_pool, None if chosen_pool is None else space.file(chosen_pool))
        else:
            st.caption("Large files and BEIR folders: put them into this folder of the server, and they can be picked here.")
            st.code(str((space.root / "files").resolve()), language=None, wrap_lines=True)
