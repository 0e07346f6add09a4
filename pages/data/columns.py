"""Formats and columns of a data set's files, with widgets to change the columns.

Nothing is drawn for JSON lines with the standard names. Changed columns are stored as settings of the run; detected ones are
not, so the command on the Export screen stays short.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from hnmine import resources
from hnmine.data.columns import Columns, likely_columns
from hnmine.data.detect import Role
from hnmine.runs import uploads as datasets
from hnmine.runs.uploads import FileInfo, sample
from hnmine.runs.workspace import Dataset

SAMPLE_ROWS = 10


def looks(dataset: Dataset, columns: Columns) -> tuple[FileInfo, FileInfo | None]:
    """Return the detected formats of a data set's files, in the encoding of `columns` if it has one.

    Raises:
        InputError: a file cannot be read.
    """
    space = resources.workspace()
    training, pool = space.training_path(dataset.id), space.pool_path(dataset.id)
    encoding = columns.encoding
    found = (None if encoding else _stored(training, dataset.training_look)) or look(training, training.name, encoding=encoding)
    if pool is None:
        return found, None
    return found, (None if encoding else _stored(pool, dataset.pool_look)) or look(pool, pool.name, "pool", encoding=encoding)


def _stored(path: Path, known: FileInfo | None) -> FileInfo | None:
    """Return the stored description of a file, or None where the file is newer."""
    written = (path.parent / "dataset.json").stat().st_mtime_ns
    return known if all(modified <= written for _, modified, _, _ in datasets.stamp(path)) else None


def look(source: UploadedFile | Path, name: str, role: Role = "training", *, encoding: str | None = None) -> FileInfo:
    """Return the detected format of a file, cached until the file changes.

    Raises:
        InputError: the file cannot be read.
    """
    stamp = datasets.stamp(source) if isinstance(source, Path) else source.file_id
    return _looked(str(stamp), name, role, encoding, source)


@st.cache_resource(show_spinner=False, max_entries=64)
def _looked(stamp: str, name: str, role: Role, encoding: str | None, _source: UploadedFile | Path) -> FileInfo:
    return datasets.inspect_file(_source, name, role, Columns(encoding=encoding) if encoding else None)


def draw(dataset: Dataset, training: FileInfo, pool: FileInfo | None, chosen: Columns) -> Columns | None:
    """Draw the formats and the choice of columns; return the columns, or None while a required one is missing."""
    if training.plain and (pool is None or pool.plain or pool.source.format == "text"):
        return chosen
    named = chosen.query is not None and chosen.pos is not None
    missing = (training.columns is None and not named) or (pool is not None and pool.columns is None and chosen.text is None)
    with st.container(border=True) if missing else st.expander("File format", icon=":material/table_view:", expanded=True):
        if missing:
            st.subheader("Choose the columns", anchor=False)
            st.write("The column names are not known. Check the suggestion: the query, its positives and, optionally, its negatives.")
        picked: Columns | None = chosen
        if training.source.format == "beir":
            picked = _beir(dataset, training, picked)
        elif not training.plain:
            picked = _training(dataset, training, picked)
        else:
            _format(dataset.name, training)
        if pool is not None:
            _format(str(dataset.pool_name), pool)
            if not pool.plain and pool.source.format not in ("text", "beir"):
                picked = _pool(dataset, pool, picked, chosen)
    return picked


def _format(name: str, found: FileInfo) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("detected", icon=":material/description:", color="gray")
        st.text(f"{name}: {found.source}")


def _records(path: Path | None, role: Role) -> list[dict[str, Any]]:
    return [] if path is None else sample(path, path.name, role, SAMPLE_ROWS)


def _likely(names: Sequence[str], records: Sequence[dict[str, Any]]) -> tuple[str | None, str | None]:
    """Return the suggested columns of query and passage."""
    examples = {name: text for record in reversed(records) for name, cell in record.items() if (text := _cell(cell))}
    return likely_columns(names, examples)


def _sample(records: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for record in records for name in record))
    st.dataframe(
        {name: [_cell(record.get(name)) for record in records] for name in names},
        hide_index=True,
        alt="The first records of the file",
    )


def _cell(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _index(names: Sequence[str], value: str | None) -> int | None:
    return list(names).index(value) if value in names else None


def _training(dataset: Dataset, found: FileInfo, chosen: Columns | None) -> Columns | None:
    _format(dataset.name, found)
    names = found.source.names
    given = chosen or Columns()
    confirmed = found.columns is not None or (given.query is not None and given.pos is not None)
    records = [] if confirmed else _records(resources.workspace().training_path(dataset.id), "training")
    query_name, passage = _likely(names, records) if records else (None, None)
    suggested = Columns(query=query_name, pos=(passage,) if passage else None)
    known = found.columns or suggested
    with st.grid(3, min_column_width=240):
        query = st.selectbox(
            "Query",
            names,
            index=_index(names, given.query or known.query),
            placeholder="Choose a column",
            key=f"column-query-{dataset.id}",
            help="The text to search with, such as a question.",
        )
        pos = st.multiselect(
            "Positives",
            names,
            default=[name for name in (known.pos if given.pos is None else given.pos) or () if name in names],
            placeholder="Choose one or more",
            key=f"column-pos-{dataset.id}",
            help="Passages that answer the query. A cell can hold one passage or a list. Titles are joined with their passages.",
        )
        neg = st.multiselect(
            "Existing negatives (optional)",
            names,
            default=[name for name in (known.neg if given.neg is None else given.neg) or () if name in names],
            placeholder="None",
            key=f"column-neg-{dataset.id}",
            help="Kept as candidates and replaced in the export. All other columns are kept.",
        )
    if not confirmed:
        confirmed = st.button(
            "Use these columns", type="primary", disabled=query is None or not pos, icon=":material/check:", key="use-columns"
        )
    if records:
        _sample(records)
    used = [query, *pos, *neg]
    if query is None or not pos or not confirmed:
        return None
    if len({*used}) < len(used):
        st.warning("Use each column only once.", icon=":material/warning:")
        return None
    detected = found.columns or Columns(neg=())
    return msgspec.structs.replace(
        given,
        query=None if query == detected.query else query,
        pos=None if tuple(pos) == detected.pos else tuple(pos),
        neg=None if tuple(neg) == detected.neg else tuple(neg),
    )


def _pool(dataset: Dataset, found: FileInfo, picked: Columns | None, chosen: Columns) -> Columns | None:
    names = found.source.names
    known = found.columns.text if found.columns else None
    confirmed = found.columns is not None or chosen.text is not None
    records = [] if confirmed else _records(resources.workspace().pool_path(dataset.id), "pool")
    text = st.selectbox(
        "Pool passages",
        names,
        index=_index(names, chosen.text or known or _likely(names, records)[1]),
        placeholder="Choose a column",
        key=f"column-text-{dataset.id}",
        help="Candidates for negatives. The other columns of the pool are not used.",
    )
    if not confirmed:
        confirmed = st.button("Use this column", type="primary", disabled=text is None, icon=":material/check:", key="use-pool-column")
    if records:
        _sample(records)
    if picked is None or text is None or not confirmed:
        return None
    return msgspec.structs.replace(picked, text=None if text == known else text)


def _beir(dataset: Dataset, found: FileInfo, chosen: Columns | None) -> Columns:
    given = chosen or Columns()
    splits = found.source.names
    _format(dataset.name, found)
    split = st.selectbox(
        "Split (qrels)",
        splits,
        index=_index(splits, given.split) or 0,
        key=f"column-qrels-{dataset.id}",
        help="Each query with a relevant passage in this split becomes a row. The corpus is the pool, with title and text joined.",
        width=300,
    )
    return msgspec.structs.replace(given, split=None if split == splits[0] else split)
