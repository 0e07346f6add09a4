"""How the files of a data set are read: what they were found to be, and which columns hold what, to be changed.

Nothing is drawn for JSON lines as this package writes them. What somebody picks is kept as a setting of the run; what is as it was found
by name stays open, so that the command that the Export screen shows is no longer than it must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.data.columns import Columns
from hnmine.data.detect import Role
from hnmine.runs import uploads as datasets
from hnmine.runs.uploads import FileInfo, sample
from hnmine.runs.workspace import Dataset
from pages.shared import state

SAMPLE_ROWS = 10


def looks(dataset: Dataset) -> tuple[FileInfo, FileInfo | None]:
    """Return what a data set's files were found to be, before anybody says anything.

    Raises:
        InputError: one of them cannot be read.
    """
    space = resources.workspace()
    training, pool = space.training_path(dataset.id), space.pool_path(dataset.id)
    found = _stored(training, dataset.training_look) or look(training, training.name)
    return found, None if pool is None else _stored(pool, dataset.pool_look) or look(pool, pool.name, "pool")


def _stored(path: Path, known: FileInfo | None) -> FileInfo | None:
    """Return what is known of a stored file, unless somebody has changed it since: then it is newer than its description."""
    described = (path.parent / "dataset.json").stat().st_mtime_ns
    return known if all(modified <= described for _, modified, _, _ in datasets.stamp(path)) else None


def look(source: UploadedFile | Path, name: str, role: Role = "training") -> FileInfo:
    """Return what a file is; it is remembered while the file stays as it is, or the upload is held.

    Raises:
        InputError: it cannot be read.
    """
    stamp = datasets.stamp(source) if isinstance(source, Path) else source.file_id
    return _looked(str(stamp), name, role, source)


@st.cache_resource(show_spinner=False, max_entries=64)
def _looked(stamp: str, name: str, role: Role, _source: UploadedFile | Path) -> FileInfo:
    return datasets.inspect_file(_source, name, role)


def draw(dataset: Dataset, training: FileInfo, pool: FileInfo | None, chosen: Columns) -> Columns | None:
    """Draw how the files are read, and the pickers; return the columns, or None while something has to be picked."""
    if training.plain and (pool is None or pool.plain or pool.source.format == "text"):
        return chosen
    missing = (training.columns is None and not training.plain) or (pool is not None and pool.columns is None)
    with st.container(border=True) if missing else st.expander("How the files are read", icon=":material/table_view:", expanded=True):
        if missing:
            st.subheader("Which column is which?", anchor=False)
            st.write("Their names do not tell. Pick what holds the query, its positives and, if there are some, its negatives.")
        picked: Columns | None = chosen
        if training.source.format == "beir":
            picked = _beir(dataset, training, picked)
        elif not training.plain:
            picked = _training(dataset, training, picked)
        else:
            _said(dataset.name, training)
        if pool is not None:
            _said(str(dataset.pool_name), pool)
            if not pool.plain and pool.source.format not in ("text", "beir"):
                picked = _pool(dataset, pool, picked, chosen)
    return picked


def _said(name: str, found: FileInfo) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("read", icon=":material/description:", color="gray")
        st.text(f"{name}: {found.source}")


def _sample(dataset: Dataset, training: bool) -> None:
    space = resources.workspace()
    path = space.training_path(dataset.id) if training else space.pool_path(dataset.id)
    if path is None:
        return
    records = sample(path, path.name, "training" if training else "pool", SAMPLE_ROWS)
    names = list(dict.fromkeys(name for record in records for name in record))
    st.dataframe(
        {name: [_cell(record.get(name)) for record in records] for name in names},
        hide_index=True,
        alt="The first records of the file, as they stand in it",
    )


def _cell(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _options(names: Sequence[str], value: str | None) -> int | None:
    return list(names).index(value) if value in names else None


def _training(dataset: Dataset, found: FileInfo, chosen: Columns | None) -> Columns | None:
    _said(dataset.name, found)
    names = found.source.names
    known = found.columns or Columns()
    given = chosen or Columns()
    with st.grid(3, min_column_width=240):
        query = st.selectbox(
            "Query",
            names,
            index=_options(names, given.query or known.query),
            placeholder="Pick a column",
            key=f"column-query-{dataset.id}",
            help="What is searched with: a question, an anchor.",
        )
        pos = st.multiselect(
            "Positives",
            names,
            default=[name for name in (known.pos if given.pos is None else given.pos) or () if name in names],
            placeholder="Pick one or several",
            key=f"column-pos-{dataset.id}",
            help="What answers it. A cell may hold one passage or a list; passages with a title are joined with it.",
        )
        neg = st.multiselect(
            "Old negatives (optional)",
            names,
            default=[name for name in (known.neg if given.neg is None else given.neg) or () if name in names],
            placeholder="None",
            key=f"column-neg-{dataset.id}",
            help="They join the candidates and are replaced by what is mined. Every other column is carried through.",
        )
    if found.columns is None:
        _sample(dataset, training=True)
    used = [query, *pos, *neg]
    if query is None or not pos:
        return None
    if len({*used}) < len(used):
        st.warning("A column can hold one thing only: pick each once.", icon=":material/warning:")
        return None
    return msgspec.structs.replace(
        given,
        query=None if query == known.query else query,
        pos=None if tuple(pos) == known.pos else tuple(pos),
        neg=None if tuple(neg) == known.neg else tuple(neg),
    )


def _pool(dataset: Dataset, found: FileInfo, picked: Columns | None, chosen: Columns) -> Columns | None:
    names = found.source.names
    known = found.columns.text if found.columns else None
    text = st.selectbox(
        "Passages of the pool",
        names,
        index=_options(names, chosen.text or known),
        placeholder="Pick a column",
        key=f"column-text-{dataset.id}",
        help="What may become a negative. The pool's other columns are not used.",
    )
    if found.columns is None:
        _sample(dataset, training=False)
    if picked is None or text is None:
        return None
    return msgspec.structs.replace(picked, text=None if text == known else text)


def _beir(dataset: Dataset, found: FileInfo, chosen: Columns | None) -> Columns:
    given = chosen or Columns()
    splits = found.source.names
    _said(dataset.name, found)
    split = st.selectbox(
        "VerdictPairs",
        splits,
        index=_options(splits, given.qrels) or 0,
        key=f"column-qrels-{dataset.id}",
        help="Each query with a passage judged relevant here becomes a row. The corpus is the pool, title and text joined.",
        width=300,
    )
    return msgspec.structs.replace(given, qrels=None if split == splits[0] else split)


def keep(dataset: Dataset, picked: Columns, chosen: Columns) -> None:
    """Keep what was picked, and draw the page anew with it."""
    if picked != chosen:
        state.choose_columns(dataset.id, picked)
        st.rerun()
