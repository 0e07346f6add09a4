"""Training rows and pool passages, read with all problems: each with its line, field and remedy.

A reader changes nothing on its own. It reports all problems of the file; a row with one is used only if `repair` names its
kind, `skip_bad_rows` leaves the others out, and `InputFile.require_decided` raises if any is left open. Fields other than
`query`, `pos` and `neg` are never parsed: `Row.fields` holds the bytes of each value (`msgspec.Raw`), so `1.0`, `1e5` and
`"\\u00e9"` are written as they were read. A training file therefore takes 2.6 times its size in memory (`json.loads`: 1.6); of a
pool only the texts are kept. Data sets with other column names are renamed to `query`, `pos` and `neg` (`Renamer`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec

from hnmine.data.columns import Columns
from hnmine.data.fields import Renamer, array, without
from hnmine.data.jsonl import Reader
from hnmine.data.lines import MAX_LINE_BYTES
from hnmine.data.problems import REPAIRS, InputFile, Problem

__all__ = ["Row", "read_pool", "read_training", "training_rows"]


@dataclass(slots=True, eq=False)
class Row:
    """One training row: the parsed texts, and the bytes of every field in file order."""

    line: int
    query: str
    pos: list[str]
    neg: list[str]
    fields: dict[str, msgspec.Raw]


def read_training(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> InputFile[Row]:
    """Read training rows: `query` (str), `pos` (list of str), optional `neg` (list of str), any other fields.

    Args:
        path: a file in any format of `detect`, optionally compressed with gzip or Zstandard; for BEIR data sets see `beir`.
        columns: the columns to read; a part that is None is found by name.
        repair: kinds of REPAIRS to repair, or "all".
        skip_bad_rows: leave out the other bad rows.
        max_line_bytes: longer lines are reported and not read.

    Raises:
        InputError: the file cannot be read.
        ColumnsError: the columns must be named. Bad rows do not raise: see `InputFile.require_decided`.
    """
    reader = Reader(path, repair, skip_bad_rows, max_line_bytes, columns=columns)
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for row in training_rows(reader):
        # Same query and positives: a trainer would see the row twice.
        first = seen.setdefault((row.query, *row.pos), row.line)
        if first != row.line:
            repeat = reader.problem("$", "duplicate-row", f"repeats line {first}", REPAIRS["duplicate-row"])
            if "duplicate-row" in reader.repair:
                reader.problems.append(replace(repeat, severity="notice", resolution="repaired"))
                continue
            reader.problems.append(replace(repeat, severity="notice", resolution="noted"))
        rows.append(row)
    return reader.file(rows)


def training_rows(reader: Reader) -> Iterator[Row]:
    """Yield the usable rows of `reader` one at a time, without holding all of them in memory as `read_training` does."""
    reader.open()
    renamer = None if reader.plain or reader.columns is None else Renamer(reader, reader.columns)
    for fields, texts, found in reader.objects(text=None) if renamer else reader.objects(text="query", lists=("pos", "neg")):
        if "query" in texts and texts.get("pos"):
            query, pos, neg = texts["query"], texts["pos"], texts.get("neg", [])
        else:
            query, pos, neg = renamer.row(fields, found) if renamer else _examine(reader, fields, found)
            if found and not reader.admit(found):
                continue
        yield Row(reader.line, query, pos, neg, fields)


def _examine(reader: Reader, fields: dict[str, msgspec.Raw], found: list[Problem]) -> tuple[str, list[str], list[str]]:
    """Read the texts of a row that may have problems; append these to `found`, and repair `fields` where possible."""
    query = ""
    pos: list[str] = []
    neg: list[str] = []
    if "query" in fields:
        query = reader.text(fields["query"], "$.query", found)
    else:
        found.append(reader.problem("$.query", "missing-field", "`query` is missing", _missing("query", fields)))
    if "pos" in fields:
        before = len(found)
        pos, dropped = reader.texts(fields["pos"], "$.pos", found)
        if dropped is not None:
            fields["pos"] = array(pos)
            if "pos_scores" in fields:
                fields["pos_scores"] = without(fields["pos_scores"], dropped, len(pos))
        if not pos and all(problem.kind in REPAIRS for problem in found[before:]):
            found.append(reader.problem("$.pos", "no-positive", "`pos` has no passage", "add a positive, or skip the row"))
    else:
        found.append(reader.problem("$.pos", "missing-field", "`pos` is missing", _missing("pos", fields)))
    if "neg" in fields:
        neg, dropped = reader.texts(fields["neg"], "$.neg", found)
        if dropped is not None:
            fields["neg"] = array(neg)
            if "neg_scores" in fields:
                fields["neg_scores"] = without(fields["neg_scores"], dropped, len(neg))
    return query, pos, neg


def read_pool(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> InputFile[str]:
    """Read a candidate pool: a `text` (str) per line, or a passage per line; other fields are ignored.

    Arguments and errors as in `read_training`; a blank `text` is repaired by leaving the line out.
    """
    reader = Reader(path, repair, skip_bad_rows, max_line_bytes, role="pool", columns=columns)
    reader.open()
    name = (reader.columns and reader.columns.text) or "text"
    texts: list[str] = []
    for fields, quick, found in reader.objects(text=name):
        if quick:
            texts.append(quick[name])
            continue
        text = ""
        if name in fields:
            text = reader.text(fields[name], f"$.{name}", found)
        else:
            found.append(reader.problem(f"$.{name}", "missing-field", f"`{name}` is missing", _missing(name, fields)))
        if [problem.kind for problem in found] == ["empty-text"]:
            reader.admit([replace(found[0], kind="blank-passage", remedy=REPAIRS["blank-passage"])])
        elif not found or reader.admit(found):
            texts.append(text)
    return reader.file(texts)


def _missing(wanted: str, fields: dict[str, msgspec.Raw]) -> str:
    present = ", ".join(f"`{key}`" for key in list(fields)[:6]) or "no field"
    return f"add `{wanted}`; the line has {present}"
