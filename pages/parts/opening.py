"""The ways to open data: the bundled example, an upload, what is in the workspace already."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import streamlit as st

from hnmine import resources
from hnmine.errors import HnmineError
from pages.parts import state

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
        resources.files(opened.id)
    except HnmineError as error:
        message = str(error).replace(str(space.training_path(opened.id)), name)
        message = message.replace(str(space.training_path(opened.id).with_name("pool.jsonl")), str(pool_name))
        space.remove_dataset(opened.id)
        st.error("This file cannot be read", icon=":material/error:")
        st.text(message)
        return
    state.open_dataset(opened.id)
    st.rerun()


def example() -> None:
    """One click to data that shows every screen at its best."""
    with st.container(border=True, height="stretch"):
        st.subheader("Open the example", anchor=False)
        st.write("124 questions to the help centre of a bicycle-sharing service, 400 passages, with planted traps.")
        if st.button("Open the example", type="primary", icon=":material/play_arrow:", key="open-example"):
            _open("bikeshare/train.jsonl", EXAMPLE / "train.jsonl", "bikeshare/pool.jsonl", EXAMPLE / "pool.jsonl")


def upload() -> None:
    """Training rows, and a pool if wanted, from the browser."""
    with st.container(border=True, height="stretch"):
        st.subheader("Upload your own", anchor=False)
        training = st.file_uploader(
            "Training JSONL",
            type=["jsonl", "json"],
            key="upload-training",
            help='One object a line: `{"query": "...", "pos": ["..."]}`; `neg` and any other fields are kept.',
        )
        pool = st.file_uploader(
            "Candidate pool (optional)",
            type=["jsonl", "json"],
            key="upload-pool",
            help='More passages to mine from, one object a line: `{"text": "..."}`.',
        )
        ready = training is not None
        if st.button(
            "Open these files",
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
            st.caption("Nothing was opened before.")
        names = space.files()
        if names:
            training = st.selectbox("Training file in the folder", names, key="pick-training")
            pool = st.selectbox("Candidate pool in the folder", [NO_POOL, *names], key="pick-pool")
            if st.button("Open these files", key="open-files", icon=":material/folder_open:"):
                chosen_pool = None if pool == NO_POOL else pool
                _open(training, space.file(training), chosen_pool, None if chosen_pool is None else space.file(chosen_pool))
        else:
            st.caption("Large files: put them into this folder of the server, and they can be picked here.")
            st.code(str((space.root / "files").resolve()), language=None, wrap_lines=True)
