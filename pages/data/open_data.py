"""The start: one drop zone for the training file and its pool, the expected shape, the example, and files on the server.

What is dropped is opened at once. A file that is not text or has no row is refused before it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.core.errors import ColumnsError, HnmineError, QuestionError
from hnmine.core.text import visible
from hnmine.runs.received import divided, require_content
from hnmine.runs.uploads import Uploaded
from pages.data import looks
from pages.shared import state, tour, uploads
from pages.shared.widgets import failed

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
NO_POOL = "no pool"
SHAPE = """{"query": "How do I unlock a bike?", "pos": ["Scan the code on the handlebar with the app."]}
{"query": "What does a day pass cost?", "pos": ["A day pass costs 12 euros.", "It starts with the first ride."]}"""
POOL_SHAPE = """{"text": "Bikes lock by themselves five minutes after the last ride."}"""


def start() -> None:
    """Draw the drop zone beside the expected shape, and the links to the example and the tour."""
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        _drop_zone()
        st.space("small")
        _without_files()
    with right, st.container(border=True, height="stretch", gap="small"):
        st.markdown("**Training file:** one row per query")
        st.code(SHAPE, language=None, wrap_lines=True)
        st.markdown("**Candidate pool** (optional): more passages")
        st.code(POOL_SHAPE, language=None, wrap_lines=True)


def _without_files() -> None:
    """Draw the ways to start without files."""
    st.markdown(
        "**No files at hand?** 121 questions to a bike-sharing help centre and 397 passages, with known false negatives: a pool of "
        "308, and those of the training rows. Mining takes about a minute on a laptop CPU."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Open the example",
            icon=":material/play_arrow:",
            key="open-example",
        ):
            open_example()
        if st.button("Take the tour", icon=":material/explore:", key="tour-start", help="Five steps through the screens with the example."):
            tour.begin()
            open_example()


def open_example() -> None:
    """Open the bundled example."""
    _open("bikeshare/train.jsonl", EXAMPLE / "train.jsonl", "bikeshare/pool.jsonl", EXAMPLE / "pool.jsonl")


def _drop_zone() -> None:
    """Draw the drop zone, and open what is in it."""
    given = st.file_uploader(
        "Drop a training file, and a candidate pool if you have one",
        # A new zone after each opening, else the same files would be opened again.
        key=f"drop-{st.session_state.setdefault('drops', 0)}",
        accept_multiple_files=True,
        help="Files can be compressed with gzip or Zstandard, and a zip archive can hold several. Files with the texts of ids belong "
        "to the training file.",
    )
    st.markdown(
        "JSON lines, JSON, CSV, TSV, Excel, Parquet, Arrow, BEIR zip, with any column names. You see how they are read, and can change it. "
        f"The files stay on this server. For a file over {uploads.limit_in_words()}, use *Files on the server* below."
    )
    if not given:
        return
    try:
        files = _by_name(given)
        parts = divided(files)
    except ColumnsError:
        parts = _asked(list(files))
        if parts is None:
            return
    except HnmineError as error:
        failed("Cannot use these files" if len(given) > 1 else "Cannot use this file", error)
        return
    if parts is not None:
        _open(parts[0], files[parts[0]], parts[1], files[parts[1]], given)
    elif len(files) == 1:
        ((name, file),) = files.items()
        _open(name, file, None, None, given)
    else:
        _open(f"{next(iter(files))} and {len(files) - 1:,} more", files, None, None, given)


def _by_name(files: list[UploadedFile]) -> dict[str, BinaryIO]:
    """Return uploads by their names; a repeated name gets a number.

    Raises:
        OutputError: one could not be stored.
    """
    found: dict[str, BinaryIO] = {}
    for file in files:
        found[file.name if file.name not in found else f"{len(found)}-{file.name}"] = uploads.opened(file)
    return found


def _asked(names: list[str]) -> tuple[str, str] | None:
    """Ask which of two files is the training file; return it and the pool."""
    st.warning("The column names of these files are not known.", icon=":material/help:")
    training = st.radio("Which file has the training rows?", names, index=None, key="drop-which")
    return None if training is None else (training, next(name for name in names if name != training))


def _open(name: str, training: Uploaded, pool_name: str | None, pool: Uploaded | None, given: Sequence[UploadedFile] = ()) -> None:
    """Check, store and open a data set, and release the uploads; draw what is wrong with a file, of which nothing is stored."""
    space = resources.workspace()
    try:
        with st.spinner("Reading the files ..."):
            require_content(training, name)
            if pool is not None:
                require_content(pool, str(pool_name), "pool")
            opened = space.add_dataset(name, training, pool_name, pool)
    except HnmineError as error:
        failed("Cannot use this file", error)
        return
    try:
        resources.files(state.data(opened.id))
    except QuestionError:
        pass  # the user answers it next
    except HnmineError as error:
        message = str(error).replace(str(space.training_path(opened.id)), name)
        if (stored := space.pool_path(opened.id)) is not None:
            message = message.replace(str(stored), str(pool_name))
        if not space.runs(opened.id):
            space.remove_dataset(opened.id)
        failed("Cannot use this file", message)
        return
    uploads.release(given)
    _show(opened.id)


def _show(dataset_id: str) -> None:
    st.session_state.drops = st.session_state.get("drops", 0) + 1
    state.open_dataset(dataset_id)
    st.rerun()


def add_pool() -> None:
    """Draw a drop zone for the pool of the open data set, which has none, and open both as one data set."""
    space, dataset = resources.workspace(), state.dataset()
    assert dataset is not None
    given = st.file_uploader(
        "Candidate pool",
        key=f"drop-pool-{dataset.id}",
        accept_multiple_files=True,
        help="More candidate passages: JSON lines with `text`, plain text with one passage per line, or any other format. For rows "
        "with ids, the file with the texts of these ids.",
    )
    if not given:
        return
    try:
        files = _by_name(given)
        name, pool = next(iter(files.items())) if len(files) == 1 else (f"{next(iter(files))} and {len(files) - 1:,} more", files)
        with st.spinner("Reading the files ..."):
            require_content(pool, name, "pool")
            whole = space.add_dataset(dataset.name, space.training_path(dataset.id), name, pool)
            space.save_columns(whole.id, state.columns(dataset.id))
            space.save_decisions(whole.id, *state.decisions(dataset.id))
            if not space.runs(dataset.id):
                space.remove_dataset(dataset.id)
    except HnmineError as error:
        failed("Cannot use this file", error)
        return
    uploads.release(given)
    _show(whole.id)


def on_server() -> None:
    """Draw the choice of files in the workspace's folder, for files that are too large for an upload."""
    space = resources.workspace()
    names = space.files()
    with st.expander("Files on the server", icon=":material/dns:", expanded=bool(names)):
        st.markdown(f"For files over {uploads.limit_in_words()} or a folder of several, copy them to this folder on the server:")
        st.code(str((space.root / "files").resolve()), language=None, wrap_lines=True)
        if not names:
            return
        left, right = st.columns(2)
        training = left.selectbox("Training file on the server", names, format_func=visible, key="pick-training")
        chosen = right.selectbox("Pool file on the server", [NO_POOL, *names], format_func=visible, key="pick-pool")
        pool = None if chosen == NO_POOL else chosen
        try:
            st.text(visible(looks.look(space.file(training), training).said))  # literal: column names are untrusted text
        except HnmineError as error:
            failed("Cannot read this file", error)
            return
        if st.button("Open data set", key="open-files", icon=":material/folder_open:"):
            _open(training, space.file(training), pool, None if pool is None else space.file(pool))
