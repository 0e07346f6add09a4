"""How the files of a data set are read: the mapping of their columns as pickers, and the facts that `python -m hnmine read` prints."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.core.text import counted, visible
from hnmine.data.columns import Columns
from hnmine.data.dataset import Files, Inputs
from hnmine.runs.uploads import FileInfo
from hnmine.runs.workspace import Dataset
from pages.data import columns as pickers
from pages.data import looks
from pages.shared import state

_TEXT_FORMATS = ("jsonl", "json", "csv", "text")


def mapping(dataset: Dataset, detected: tuple[FileInfo, FileInfo | None], chosen: Columns) -> None:
    """Draw which column is what, as pickers, and the answers that can be given again."""
    with st.container(border=True, key="mapping"):
        _pickers(dataset, detected, chosen)
        again(dataset.id, chosen)


def facts(dataset: Dataset, detected: tuple[FileInfo, FileInfo | None], chosen: Columns, files: Files | None, read: Inputs | None) -> None:
    """Draw format, columns and counts of each file, as `python -m hnmine read` prints them.

    Args:
        detected: the formats of the files without the chosen columns.
        files: as read; None while a question is open.
        read: the same with its corpus; None while problems are open too.
    """
    training, pool = detected
    space = resources.workspace()
    if chosen != Columns(encoding=chosen.encoding):
        path = space.training_path(dataset.id)
        training = looks.look(path, path.name, columns=chosen)
        if (path_of_pool := space.pool_path(dataset.id)) is not None:
            pool = looks.look(path_of_pool, path_of_pool.name, "pool", columns=chosen)
    rows, passages = ([], []) if files is None else (_counts(files, read), _pool_counts(files))
    own = looks.names(space.training_path(dataset.id), training, "training", chosen.encoding)
    _file(dataset.name, replace(training, source=replace(training.source, names=tuple(own))), rows if pool is not None else rows + passages)
    if pool is not None:
        _file(str(dataset.pool_name), pool, passages)


def _file(name: str, found: FileInfo, counts: list[str]) -> None:
    """Draw the facts of a file. All texts are literal, because names are untrusted."""
    with st.container(gap="xxsmall"):
        if found.files:
            st.text(visible(f"{name}: {found.files}"))
            name = "first file of rows"
        encoding = found.source.encoding or ("UTF-8" if found.source.format in _TEXT_FORMATS else "")
        st.text(visible(f"{name}: {replace(found.source, encoding=encoding)}"))
        if parts := _parts(found):
            st.text(visible(parts))
        for line in counts:
            st.text(visible(line))


def _parts(found: FileInfo) -> str:
    """Return which column is what, unless the shape of the rows says so."""
    columns, names = found.columns, found.source.names
    if columns is None or found.source.shape or found.source.format in ("text", "beir"):
        return ""
    parts = {
        "query": (columns.query,),
        "positives": columns.pos,
        "old negatives": columns.neg,
        "label": (columns.label,),
        "passages": (columns.text,),
        "ids": (columns.id,),
    }
    read = {part: [name for name in given or () if name in names] for part, given in parts.items()}
    return " · ".join(f"{part} = {' + '.join(map(str, given))}" for part, given in read.items() if given)


def _counts(files: Files, read: Inputs | None) -> list[str]:
    rows = files.training.items
    queries = len(read.corpus.queries) if read else len({row.query for row in rows})
    parts = (
        counted(len(rows), "row"),
        counted(queries, "query", "queries"),
        counted(sum(len(row.pos) for row in rows), "positive"),
        counted(sum(len(row.neg) for row in rows), "old negative"),
    )
    return [", ".join(parts)]


def _pool_counts(files: Files) -> list[str]:
    if files.pool is None:
        return []
    named = f", {len(files.pool.by_id):,} of them named by id in the rows" if files.pool.by_id else ""
    return [f"{counted(len(files.pool.items), 'passage')} in the pool{named}"]


def _pickers(dataset: Dataset, detected: tuple[FileInfo, FileInfo | None], chosen: Columns) -> None:
    """Draw the pickers of the files that have columns."""
    training, pool = detected
    if len(training.splits) > 1 or training.source.format == "beir":
        pickers.split(dataset.id, training, chosen)
    if training.source.format == "beir":
        return
    if pool is not None and (pool.source.format in ("text", "beir") or not pool.source.names):
        pool = None
    named = looks.names(resources.workspace().training_path(dataset.id), training, "training", chosen.encoding)
    by_id = training.source.shape.endswith("by id") and chosen.query is None
    if by_id:
        st.text("The rows name passages by id. Name their columns only if their values are texts.")
    pickers.pick(dataset, training if named else None, pool, chosen, by_id=by_id)


def again(dataset_id: str, chosen: Columns) -> None:
    """Draw a button for each answer that can be given again."""
    answers = (
        ("labels", "Choose the labels again", ("label", "positive_labels"), chosen.positive_labels is not None or chosen.label == ""),
        ("encoding", "Choose the encoding again", ("encoding",), chosen.encoding is not None),
        (
            "columns",
            "Detect the columns again",
            ("query", "pos", "neg", "label", "positive_labels", "text", "id"),
            any(part is not None for part in (chosen.query, chosen.pos, chosen.neg, chosen.label or None, chosen.text, chosen.id)),
        ),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen.positive_labels is not None:
            st.text(f"Positive labels: {', '.join(chosen.positive_labels)}")
        elif chosen.label == "":
            st.text("The label column is not used.")
        for key, text, parts, given in answers:
            if given and st.button(text, type="tertiary", key=f"{key}-again"):
                state.choose_columns(dataset_id, msgspec.structs.replace(chosen, **dict.fromkeys(parts)))
                st.rerun()
