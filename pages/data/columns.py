"""Pickers for the columns of a data set's files, with the first rows as they would be read.

Changed columns are stored as settings of the run; detected ones are not, so the command on the Export screen stays short.
Nothing is used before a press of the button, because the whole file is then read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.core.errors import InputError
from hnmine.core.text import visible
from hnmine.data.columns import Columns, likely_columns
from hnmine.data.formats.detect import Role
from hnmine.data.resolving import resolve
from hnmine.runs.uploads import FileInfo
from hnmine.runs.workspace import Dataset
from pages.data import first_rows, looks
from pages.shared import state

# Query, positives, old negatives, label; passages and ids of the pool.
PARTS = ("query", "pos", "neg", "label", "text", "id")


def ask(dataset: Dataset, training: FileInfo, pool: FileInfo | None, chosen: Columns) -> None:
    """Draw the question for the columns of each file whose names are unknown, with a suggestion."""
    space = resources.workspace()
    files: list[tuple[str, FileInfo, Path | None, Role]] = []
    if _read_by_name(training, "training", chosen) is None:
        files.append((dataset.name, training, space.training_path(dataset.id), "training"))
    if pool is not None and _read_by_name(pool, "pool", chosen) is None:
        files.append((str(dataset.pool_name), pool, space.pool_path(dataset.id), "pool"))
    with st.container(border=True):
        st.subheader("Choose the columns", anchor=False)
        st.write("The column names are not known. Check the suggestion and the rows below it.")
        for name, found, path, role in files:
            st.text(visible(f"{name}: {found.source}"))  # literal: names are untrusted text
            first_rows.draw_records(looks.sample(path, role, chosen.encoding))
        shown = {role: found for _, found, _, role in files}
        pick(dataset, shown.get("training"), shown.get("pool"), chosen, asked=True, by_id=False)


def pick(dataset: Dataset, training: FileInfo | None, pool: FileInfo | None, chosen: Columns, *, asked: bool = False, by_id: bool) -> None:
    """Draw the pickers of the files that are given, and with other columns than `chosen` the rows that these would give, and a button.

    Args:
        asked: the columns are unknown, and the pickers begin with a suggestion to confirm.
        by_id: the rows name passages by id.
    """
    space = resources.workspace()
    values, options = _values(dataset, training, pool, chosen)
    _fill(dataset.id, chosen, values)
    picked: Columns | None = chosen
    now = dict(values)
    with st.grid(4 if pool is None else 5 if training is not None and not by_id else 6, min_column_width=180):
        if training is not None:
            now |= _training(dataset.id, options["training"], "As detected" if training.source.shape else "")
            picked = _training_settings(training, chosen, now)
        if pool is not None:
            now |= _pool(dataset.id, options["pool"], by_id)
            picked = None if picked is None else _pool_settings(pool, picked, now)
    if now == values and not asked:
        return
    used = [[name for part in parts for name in _listed(now.get(part))] for parts in (PARTS[:4], PARTS[4:])]
    if any(len({*names}) < len(names) for names in used):
        st.warning("Use each column only once.", icon=":material/warning:")
        picked = None
    changed = {part for part in now if asked or now[part] != values[part]}
    if picked is not None and changed & {*PARTS[:4]}:
        _preview(space.training_path(dataset.id), picked)
    if picked is not None and changed & {*PARTS[4:]} and (path := space.pool_path(dataset.id)) is not None:
        _pool_preview(looks.sample(path, "pool", chosen.encoding), now)
    if st.button("Use these columns", type="primary", disabled=picked is None, icon=":material/check:", key="use-columns"):
        assert picked is not None  # the button is disabled without them
        state.choose_columns(dataset.id, picked)
        st.rerun()


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _read_by_name(found: FileInfo, role: Role, chosen: Columns) -> Columns | None:
    """Return the columns that are read, without those that the file lacks; None if they are unknown, or the file has another shape."""
    if found.source.shape and role == "training":
        return chosen
    names = found.source.names
    try:
        read, _ = resolve(found.source, role, chosen, "")
    except InputError:  # a column that was chosen for another file, or is gone
        return None
    if read is None:
        return None
    pos, neg = (tuple(name for name in part or () if name in names) for part in (read.pos, read.neg))
    return msgspec.structs.replace(read, query=read.query if read.query in names else None, pos=pos, neg=neg)


def _values(
    dataset: Dataset, training: FileInfo | None, pool: FileInfo | None, chosen: Columns
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the first value of each picker, and the columns to choose from: what is read, else a suggestion."""
    space = resources.workspace()
    values: dict[str, Any] = {}
    options: dict[str, list[str]] = {}
    if training is not None:
        path = space.training_path(dataset.id)
        names = looks.names(path, training, "training", chosen.encoding)
        read = _read_by_name(training, "training", chosen)
        if read is None:
            query, passage = likely_columns(names, _examples(looks.sample(path, "training", chosen.encoding)))
            suggested = msgspec.structs.replace(chosen, query=chosen.query or query, pos=chosen.pos or ((passage,) if passage else None))
            read = _read_by_name(training, "training", suggested) or suggested
        options["training"] = names
        values |= {"query": read.query or None, "pos": list(read.pos or ()), "neg": list(read.neg or ()), "label": read.label or None}
    if pool is not None:
        names = options["pool"] = list(pool.source.names)
        known = _read_by_name(pool, "pool", chosen)
        records = [] if known else looks.sample(space.pool_path(dataset.id), "pool", chosen.encoding)
        text = known.text if known else _longest(names, _examples(records))
        values |= {"text": text if text in names else None, "id": chosen.id if chosen.id in names else None}
    return values, options


def _fill(dataset_id: str, chosen: Columns, values: dict[str, Any]) -> None:
    """Set the pickers to `values` where they are new, or the chosen columns changed elsewhere."""
    shown = f"columns-shown-{dataset_id}"
    new = st.session_state.get(shown) != chosen
    for part, value in values.items():
        key = f"column-{part}-{dataset_id}"
        if new or key not in st.session_state:
            st.session_state[key] = value
    st.session_state[shown] = chosen


def _examples(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return of each column its first value as text."""
    return {name: text for record in reversed(records) for name, value in record.items() if (text := first_rows.cell(value))}


def _longest(names: Sequence[str], examples: dict[str, str]) -> str | None:
    return max(names, key=lambda name: len(examples.get(name, "")), default=None)


def _training(dataset_id: str, names: Sequence[str], empty: str) -> dict[str, Any]:
    """Draw the pickers of the training file, with the text `empty` for nothing; return what is picked."""
    query = st.selectbox(
        "Query",
        names,
        format_func=visible,
        index=None,
        placeholder=empty or "Choose a column",
        key=f"column-query-{dataset_id}",
        help="The text to search with, such as a question.",
    )
    pos = st.multiselect(
        "Positives",
        names,
        format_func=visible,
        placeholder=empty or "Choose one or more",
        key=f"column-pos-{dataset_id}",
        help="Passages that answer the query, one or a list in a cell. Titles are joined with their passages.",
    )
    neg = st.multiselect(
        "Old negatives (optional)",
        names,
        format_func=visible,
        placeholder=empty or "None",
        key=f"column-neg-{dataset_id}",
        help="Kept as candidates and replaced in the export. All other columns are kept.",
    )
    label = st.selectbox(
        "Label (optional)",
        names,
        format_func=visible,
        index=None,
        placeholder=empty or "None",
        key=f"column-label-{dataset_id}",
        help="Says whether the passage of the row is a positive, such as 1 and 0, or a grade. The other passages of a query become "
        "its old negatives.",
    )
    return {"query": query, "pos": pos, "neg": neg, "label": label}


def _training_settings(found: FileInfo, chosen: Columns, now: dict[str, Any]) -> Columns | None:
    """Return the columns as settings, which name as little as detection needs; None while a required one is missing."""
    query, pos, neg, label = now["query"], tuple(now["pos"]), tuple(now["neg"]), now["label"]
    if found.source.shape and not (query or pos or neg or label):
        return msgspec.structs.replace(chosen, query=None, pos=None, neg=None, label=None)
    if not query or not pos:
        return None
    same_label = label is not None and label == (chosen.label or (found.columns and found.columns.label))
    positive = chosen.positive_labels if same_label else None
    whole = msgspec.structs.replace(chosen, query=query, pos=pos, neg=neg, label=label or "", positive_labels=positive)
    if found.source.shape:
        return whole
    detected = _read_by_name(found, "training", Columns()) or Columns()
    short = msgspec.structs.replace(
        whole,
        query=None if query == detected.query else query,
        pos=None if pos == detected.pos else pos,
        neg=None if neg == detected.neg else neg,
        label=None if label == detected.label else label or "",
    )
    read = _read_by_name(found, "training", short)
    same = read is not None and (read.query, read.pos, read.neg, read.label) == (query, pos, neg, label)
    return short if same else whole


def _pool(dataset_id: str, names: Sequence[str], by_id: bool) -> dict[str, Any]:
    """Draw the pickers of the pool; return what is picked."""
    text = st.selectbox(
        "Pool passages",
        names,
        format_func=visible,
        index=None,
        placeholder="Choose a column",
        key=f"column-text-{dataset_id}",
        help="Candidates for negatives. A title is joined with its passage where the rows have titles.",
    )
    if not by_id:
        return {"text": text}
    identity = st.selectbox(
        "Pool ids (optional)",
        names,
        format_func=visible,
        index=None,
        placeholder="Found by its values",
        key=f"column-id-{dataset_id}",
        help="The ids by which the rows name passages.",
    )
    return {"text": text, "id": identity}


def _pool_settings(found: FileInfo, picked: Columns, now: dict[str, Any]) -> Columns | None:
    if now["text"] is None:
        return None
    known = found.columns.text if found.columns else None
    return msgspec.structs.replace(picked, text=None if now["text"] == known else now["text"], id=now["id"])


def _preview(path: Path, picked: Columns) -> None:
    """Draw the first rows of a training file as they would be read."""
    st.markdown("**With these columns, the first rows are**")
    try:
        rows = looks.first_rows(path, picked)
    except InputError as error:
        st.warning("No row can be read with these columns.", icon=":material/warning:")
        st.text(str(error))
        return
    first_rows.draw(rows)
    if any(row.label is not None for row in rows):
        st.text("The next question is which labels are positive.")


def _pool_preview(records: Sequence[dict[str, Any]], now: dict[str, Any]) -> None:
    """Draw the first passages of a pool with their ids."""
    parts = {"passage": now["text"], "id": now.get("id")}
    first_rows.draw_records([{part: record.get(name) for part, name in parts.items() if name} for record in records])


def split(dataset_id: str, found: FileInfo, chosen: Columns) -> None:
    """Draw the choice of a data set's split, which is used at once."""
    splits = found.source.names if found.source.format == "beir" else (*found.splits, "all")
    picked = st.selectbox(
        "Split",
        splits,
        index=splits.index(chosen.split) if chosen.split in splits else 0,
        key=f"column-split-{dataset_id}",
        help="The rows of this split are read. In a BEIR data set these are the queries with a relevant passage in its qrels.",
        width=300,
    )
    name = None if picked == splits[0] else picked
    if name != chosen.split:
        state.choose_columns(dataset_id, msgspec.structs.replace(chosen, split=name))
        st.rerun()
