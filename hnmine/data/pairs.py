"""Rows of single pairs or triples, joined by query; a label decides whether a pair's passage is positive.

Passages with other labels become the query's old negatives. A field that differs
between the rows of a query cannot be kept, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hnmine.data.columns import Columns
from hnmine.data.formats.jsonl import Reader
from hnmine.data.labels import label_of, positive_among
from hnmine.data.rows import Row, array

__all__ = ["join_pairs"]


def join_pairs(rows: Iterable[Row], reader: Reader, columns: Columns, *, alike: bool) -> list[Row]:
    """Return one row a query, in the order of the queries' first rows.

    Args:
        rows: with one or more passages each; read once, and only the texts of further rows of a query are kept.
        reader: gets the notices.
        columns: `label`, if any, decides whether `pos` of a row is positive, by `positive_labels`.
        alike: return the rows as they are if all labels are positive.

    Raises:
        LabelsError: the values of the label are unknown.
    """
    label, counts = columns.label, Counter[str]()
    held: list[Row] = []
    first: dict[str, Row] = {}
    parts: dict[str, list[tuple[str, list[str], list[str]]]] = {}
    dropped: Counter[str] = Counter()
    labels: dict[bytes, str] = {}  # a few values, each decoded once
    for row in rows:
        found = ""
        if label:
            value = bytes(row.fields[label])
            found = labels.get(value) or labels.setdefault(value, label_of(row.fields[label]))
        counts[found] += 1
        if alike:
            held.append(row)
        known = first.setdefault(row.query, row)
        parts.setdefault(row.query, []).append((found, row.pos, row.neg))
        if known is not row and not alike:
            dropped.update(_differing(known, row))
    positive = positive_among(counts, columns.positive_labels, label, reader.where) if label else {""}
    if alike and positive.issuperset(counts):  # the label says nothing
        return held
    for row in held:
        if (known := first[row.query]) is not row:
            dropped.update(_differing(known, row))
    made: list[Row] = []
    without: list[int] = []
    for query, row in first.items():
        pos = dict.fromkeys(text for found, texts, _ in parts[query] if found in positive for text in texts)
        neg = dict.fromkeys(text for found, texts, old in parts[query] for text in (*(() if found in positive else texts), *old))
        if not pos:
            without.append(row.line)
            continue
        row.fields.pop(label or "", None)
        row.fields.pop("neg", None)
        row.pos, row.neg = list(pos), list(neg)
        row.fields |= {"pos": array(row.pos)} | ({"neg": array(row.neg)} if neg else {})
        made.append(row)
    if without:
        message = f"{len(without):,} of {len(first):,} queries have no positive and are left out"
        reader.notice(without[0], "no-positive", message, "nothing to do, or correct the labels")
    for name, count in dropped.items():
        if name != label:
            message = f"`{name}` differs between the rows of {count:,} queries and is left out there"
            reader.notice(1, "field-left-out", message, "nothing to do")
    return made


def _differing(first: Row, other: Row) -> list[str]:
    """Remove the fields of the first row that another row of its query does not share, and return their names."""
    names = [name for name, value in first.fields.items() if name not in ("query", "pos", "neg") and other.fields.get(name) != value]
    for name in names:
        del first.fields[name]
    return names
