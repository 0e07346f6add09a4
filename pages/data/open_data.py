"""Three ways to open data: the bundled example, an upload, the workspace.

The detected format and columns of a file are shown before it is opened. A file that cannot be read is not stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.core.errors import HnmineError, QuestionError, TextsError
from hnmine.data.formats.detect import Role
from hnmine.runs.uploads import SUFFIXES, FileInfo, Uploaded
from pages.data import looks
from pages.shared import state
from pages.shared.widgets import failed

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
NO_POOL = "no pool"


def _open(name: str, training: Uploaded, pool_name: str | None, pool: Uploaded | None) -> None:
    """Store and open a data set; remove it again when it cannot be read."""
    space = resources.workspace()
    try:
        opened = space.add_dataset(name, training, pool_name, pool)
    except HnmineError as error:
        failed("Cannot store the data", error)
        return
    try:
        resources.files(state.data(opened.id))
    except TextsError as error:  # the pool is missing: the files stay chosen
        space.remove_dataset(opened.id)
        failed(
            "Texts are missing",
            "The rows name passages by id. Add the file with the texts of these ids as the candidate pool."
            if error.missing == ("passages",)
            else str(error).replace(str(space.training_path(opened.id)), name),
        )
        return
    except QuestionError:
        pass  # the user answers it next
    except HnmineError as error:
        message = str(error).replace(str(space.training_path(opened.id)), name)
        if (stored := space.pool_path(opened.id)) is not None:
            message = message.replace(str(stored), str(pool_name))
        if not space.runs(opened.id):
            space.remove_dataset(opened.id)
        failed("Cannot read this file", message)
        return
    state.open_dataset(opened.id)
    st.rerun()


def _found(source: Uploaded, name: str, role: Role) -> FileInfo | None:
    """Draw the detected format of a file and return it, or None when the file cannot be read."""
    try:
        found = looks.look(source, name, role)
    except HnmineError as error:
        failed("Cannot read this file", error)
        return None
    st.text(found.said)  # literal: column names are untrusted text
    if found.columns is None and not found.plain:
        st.caption("You choose the columns in the next step.")
    return found


def _label(training: FileInfo | None, pool: object) -> str:
    """Return the button's label. It names a missing pool, because a pool that is still uploading is not opened."""
    if training is None or pool is not None:
        return "Open files"
    return "Open data set" if training.own_pool else "Open without a pool"


def _uploaded(files: list[UploadedFile]) -> tuple[Uploaded | None, str]:
    """Return the uploads and their name: one file, or several by their names."""
    if len(files) < 2:
        return (files[0], files[0].name) if files else (None, "")
    by_name: dict[str, BinaryIO] = {}
    for file in files:
        by_name[file.name if file.name not in by_name else f"{len(by_name)}-{file.name}"] = file
    return by_name, f"{files[0].name} and {len(files) - 1:,} more"


def ways() -> None:
    """Draw the three ways side by side."""
    with st.grid(3, min_column_width=260):
        example()
        upload()
        workspace()


def example() -> None:
    """Draw the bundled example."""
    with st.container(border=True, height="stretch"):
        st.subheader("Example", anchor=False)
        st.write("124 questions to the help centre of a bike-sharing service and 400 passages, with known false negatives.")
        if st.button("Open the example", type="primary", icon=":material/play_arrow:", key="open-example"):
            _open("bikeshare/train.jsonl", EXAMPLE / "train.jsonl", "bikeshare/pool.jsonl", EXAMPLE / "pool.jsonl")
        st.caption("No download. Mining takes about a minute on a laptop CPU.")


def upload() -> None:
    """Draw the upload of training data and an optional pool."""
    with st.container(border=True, height="stretch"):
        st.subheader("Upload", anchor=False)
        training, name = _uploaded(
            st.file_uploader(
                "Training data",
                type=list(SUFFIXES),
                key="upload-training",
                accept_multiple_files=True,
                help='Queries with positive passages: JSON lines such as `{"query": "...", "pos": ["..."]}`, a JSON array, CSV, TSV, '
                "Excel, Parquet, Arrow, or a zip archive of several. Files can be compressed with gzip or Zstandard. Files with the texts "
                "of ids belong to them. All other fields are kept.",
            )
        )
        found = None if training is None else _found(training, name, "training")
        pool, pool_name = _uploaded(
            st.file_uploader(
                "Candidate pool (optional)",
                type=list(SUFFIXES),
                key="upload-pool",
                accept_multiple_files=True,
                help="More candidate passages: JSON lines with `text`, plain text with one passage per line, or any format above. "
                "A BEIR data set includes its pool.",
            )
        )
        own_pool = found is not None and found.own_pool
        if own_pool and pool is None:
            st.caption("The corpus of the training data is the pool.")
        by_id = found is not None and found.source.shape.endswith("by id") and not own_pool
        if by_id and pool is None:
            st.caption("The rows name passages by id. Add the file with their texts.")
        found_pool = None if pool is None else _found(pool, pool_name, "pool")
        ready = found is not None and (not by_id if pool is None else found_pool is not None)
        if st.button(
            "Open files" if by_id else _label(found, pool),
            disabled=not ready,
            icon=":material/upload_file:",
            type="primary" if ready else "secondary",
            key="open-upload",
        ):
            assert training is not None  # the button is disabled without it
            _open(name, training, pool_name or None, pool)


def workspace() -> None:
    """Draw the stored data sets and the files in the workspace's folder."""
    space = resources.workspace()
    with st.container(border=True, height="stretch"):
        st.subheader("Workspace", anchor=False)
        known = {dataset.id: dataset for dataset in space.datasets()}
        if known:
            chosen = st.selectbox(
                "Recent data sets",
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
            st.caption("No data sets yet.")
        names = space.files()
        if names:
            training = st.selectbox("Training file on the server", names, key="pick-training")
            found = _found(space.file(training), training, "training")
            pool = st.selectbox("Pool file on the server", [NO_POOL, *names], key="pick-pool")
            chosen_pool = None if pool == NO_POOL else pool
            found_pool = None if chosen_pool is None else _found(space.file(chosen_pool), chosen_pool, "pool")
            ready = found is not None and (chosen_pool is None or found_pool is not None)
            if st.button(_label(found, chosen_pool), key="open-files", icon=":material/folder_open:", disabled=not ready):
                _open(training, space.file(training), chosen_pool, None if chosen_pool is None else space.file(chosen_pool))
        else:
            st.caption("For large files or folders, copy them to this folder on the server:")
            st.code(str((space.root / "files").resolve()), language=None, wrap_lines=True)
