"""Rows of single pairs or triples, joined by query; a label decides whether a pair's passage is positive.

Labels such as 1 and 0, true and false, relevant and irrelevant are known. For grades and other words the user says which values count as
positive, and sees how often each occurs. Passages with other labels become the query's old negatives. A field that differs
between the rows of a query cannot be kept, and is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from hnmine.core.errors import LabelsError
from hnmine.data.columns import Columns, is_label
from hnmine.data.jsonl import Reader
from hnmine.data.rows import Row, array

__all__ = ["is_positive", "join_pairs", "label_of"]

_POSITIVE = frozenset((
    "1", "true", "yes", "y", "t", "relevant", "positive", "pos", "match", "matched", "entailment", "duplicate", "correct", "good",
    "similar", "ja", "oui", "si", "sí", "是", "相关",
))  # fmt: skip
_NEGATIVE = frozenset((
    "0", "-1", "false", "no", "n", "f", "irrelevant", "not relevant", "not_relevant", "non-relevant", "nonrelevant", "negative", "neg",
    "no match", "no_match", "mismatch", "not duplicate", "not_duplicate", "incorrect", "wrong", "bad", "dissimilar", "nein", "non",
    "否", "不相关",
))  # fmt: skip
# Values that an error lists; more than these are a scale.
_LISTED = 20


def label_of(raw: msgspec.Raw) -> str:
    """Return a label as text: 1.0 and "1" are 1."""
    value = msgspec.json.decode(raw)
    if isinstance(value, str):
        text = re.sub(r"^([-+]?\d+),(\d+)$", r"\1.\2", value.strip())  # a decimal comma
        try:
            value = float(text)
        except ValueError:
            return text
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _threshold(given: Sequence[str] | None) -> float | None:
    """Return X of a single ">=X", else None."""
    if given and len(given) == 1 and given[0].startswith(">="):
        try:
            return float(given[0][2:])
        except ValueError:
            return None
    return None


def is_positive(label: str, given: Sequence[str]) -> bool:
    """Return whether a label counts as positive by `Columns.positive_labels`."""
    least = _threshold(given)
    found = label_of(msgspec.Raw(msgspec.json.encode(label)))
    return float(found) >= least if least is not None else found in {label_of(msgspec.Raw(msgspec.json.encode(each))) for each in given}


def _positive_among(counts: Counter[str], given: Sequence[str] | None, name: str, file: str) -> set[str]:
    """Return the labels that count as positive.

    Raises:
        LabelsError: they are unknown, or one that the user named does not occur.
    """
    if (least := _threshold(given)) is not None:
        return {label for label in counts if _number(label) is not None and float(label) >= least}
    if given:
        wanted = {label_of(msgspec.Raw(msgspec.json.encode(each))) for each in given}
        if strange := sorted(wanted - counts.keys()):
            raise LabelsError(f"{file}: no row has the label {strange[0]!r}; {_seen(counts, name)}", name, counts)
        return wanted
    known = {label: label.casefold() for label in counts}
    clear = is_label(name) or name.startswith("column_")
    if clear and all(plain in _POSITIVE or plain in _NEGATIVE for plain in known.values()):
        return {label for label, plain in known.items() if plain in _POSITIVE}
    example = max(counts, key=lambda label: _number(label) or 0.0)
    raise LabelsError(
        f"{file}: which values of `{name}` make a passage positive? {_seen(counts, name)}. Set positive_labels, such as "
        f"--positive_labels {example} or --positive_labels '>={example}'; if `{name}` is no label, set columns to label=",
        name,
        counts,
    )


def _seen(counts: Counter[str], name: str) -> str:
    if len(counts) > _LISTED:
        numbers = [number for label in counts if (number := _number(label)) is not None]
        span = f", from {min(numbers):g} to {max(numbers):g}" if numbers else ""
        return f"`{name}` has {len(counts):,} different values{span}"
    return f"`{name}` is " + ", ".join(f"{label!r} in {count:,} rows" for label, count in counts.most_common())


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


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
    positive = _positive_among(counts, columns.positive_labels, label, reader.name) if label else {""}
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
