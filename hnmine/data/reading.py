"""Training rows and pools, read from files of any format and shape."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import msgspec

from hnmine.data.columns import Columns, is_positive
from hnmine.data.jsonl import Reader
from hnmine.data.pairs import join_pairs
from hnmine.data.problems import REPAIRS, InputFile
from hnmine.data.rows import Row, training_rows

__all__ = ["read_pool", "read_training"]


def read_training(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> InputFile[Row]:
    """Read training rows: `query` (str), `pos` (list of str), optional `neg` (list of str), any other fields.

    Args:
        path: a file in any format of `detect`, optionally compressed with gzip or Zstandard; for BEIR data sets see `beir`.
        columns: the columns to read; a part that is None is found by name.
        repair: kinds of REPAIRS to repair, or "all".
        skip_bad_rows: leave out the other bad rows.

    Raises:
        InputError: the file cannot be read.
        ColumnsError: the columns must be named. Bad rows do not raise: see `problems.require_decided`.
    """
    reader = Reader(path, repair, skip_bad_rows, columns=columns)
    reader.open()
    found = reader.columns or Columns()
    if found.label or not reader.source.header:
        labelled = (row for row in training_rows(reader) if not found.label or _has_label(reader, row, found.label))
        return reader.file(join_pairs(labelled, reader, found, alike=reader.source.header and is_positive(found.pos)))
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for row in training_rows(reader):
        # Same query and positives: a trainer would see the row twice.
        first = seen.setdefault((row.query, *row.pos), row.line)
        if first != row.line:
            repeat = reader.problem("$", "duplicate-row", f"repeats line {first}", REPAIRS["duplicate-row"])
            removed = "duplicate-row" in reader.repair
            reader.problems.append(replace(repeat, severity="notice", resolution="repaired" if removed else "noted"))
            if removed:
                continue
        rows.append(row)
    return reader.file(rows)


def _has_label(reader: Reader, row: Row, label: str) -> bool:
    """Return whether a row has a label; report it if not."""
    if bytes(row.fields.get(label, b"null")) not in (b"null", b'""'):
        return True
    reader.admit([reader.missing(label, row.fields)])
    return False


def read_pool(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    wanted: Collection[str] | None = None,
) -> InputFile[str]:
    """Read a candidate pool: a `text` (str) per line, or a passage per line. A `title` is kept apart; other fields are ignored.

    Arguments and errors as in `read_training`; a blank `text` is repaired by leaving the line out. The texts of the ids in `wanted` are
    in `by_id`, found in the column `columns.id`, or in the one that has most of them.
    """
    reader = Reader(path, repair, skip_bad_rows, role="pool", columns=columns)
    reader.open()
    name = (reader.columns and reader.columns.text) or "text"
    titles: list[str | None] = []
    whole = wanted is not None or "title" in reader.source.names
    found_by: dict[str, dict[str, str]] = {}
    texts: list[str] = []
    for fields, quick, found in reader.objects(text=name, whole=whole):
        if quick:
            text = quick[name]
        else:
            text = ""
            if name in fields:
                text = reader.text(fields[name], f"$.{name}", found)
            else:
                found.append(reader.missing(name, fields))
            if [problem.kind for problem in found] == ["empty-text"]:
                reader.admit([replace(found[0], kind="blank-passage", remedy=REPAIRS["blank-passage"])])
                continue
            if found and not reader.admit(found):
                continue
        texts.append(text)
        if whole:
            titles.append(_title(fields))
            if wanted is not None:
                _by_id(fields, name, text, wanted, columns.id if columns else None, found_by)
    file = reader.file(texts)
    file.titles = titles if any(titles) else None
    file.by_id = max(found_by.values(), key=len, default={})
    return file


def _title(fields: Mapping[str, msgspec.Raw]) -> str | None:
    raw = fields.get("title")
    if raw is None or bytes(raw)[:1] != b'"':
        return None
    return msgspec.json.decode(raw, type=str).strip() or None


def _by_id(
    fields: Mapping[str, msgspec.Raw],
    text_name: str,
    text: str,
    wanted: Collection[str],
    column: str | None,
    found: dict[str, dict[str, str]],
) -> None:
    """Add a passage to the texts of each column whose value is a wanted id; the first passage of an id counts."""
    for name in (column,) if column else fields:
        if name == text_name or name not in fields or bytes(fields[name])[:1] in b"[{":
            continue
        value = msgspec.json.decode(fields[name])
        if isinstance(value, str | int) and str(value) in wanted:
            found.setdefault(name, {}).setdefault(str(value), text)
