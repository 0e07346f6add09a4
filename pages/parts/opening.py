"""The ways to open data: the bundled example, an upload, what is in the workspace already."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from hnmine import resources
from hnmine.errors import HnmineError
from pages.parts import state

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
NO_POOL = "no pool"


def _refused(error: HnmineError) -> None:
    st.error("The data could not be opened", icon=":material/error:")
    st.text(str(error))


def example() -> None:
    """One click to data that shows every screen at its best."""
    with st.container(border=True, height="stretch"):
        st.subheader("Open the example", anchor=False)
        st.write("124 questions to the help centre of a bicycle-sharing service, 400 passages, with planted traps.")
        if st.button("Open the example", type="primary", icon=":material/play_arrow:", key="open-example"):
            try:
                opened = resources.workspace().add_dataset(
                    "bikeshare/train.jsonl", EXAMPLE / "train.jsonl", "bikeshare/pool.jsonl", EXAMPLE / "pool.jsonl"
                )
            except HnmineError as error:
                _refused(error)
            else:
                state.open_dataset(opened.id)
                st.rerun()


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
            try:
                opened = resources.workspace().add_dataset(training.name, training, pool.name if pool else None, pool)
            except HnmineError as error:
                _refused(error)
            else:
                state.open_dataset(opened.id)
                st.rerun()


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
                try:
                    opened = space.add_dataset(
                        training, space.file(training), None if pool == NO_POOL else pool, None if pool == NO_POOL else space.file(pool)
                    )
                except HnmineError as error:
                    _refused(error)
                else:
                    state.open_dataset(opened.id)
                    st.rerun()
        else:
            st.caption("Large files: put them into this folder of the server, and they can be picked here.")
            st.code(str((space.root / "files").resolve()), language=None, wrap_lines=True)
