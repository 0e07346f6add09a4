"""The question which columns of a file to read: with an answer that works as it is printed, and an example of each column.

The answer names the texts that are most likely query, positive and negative; numbers, ids, dates, addresses and hashes never. If a
column may hold labels, the question includes them, so that one answer is enough.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from hnmine.core.text import counted, shortened
from hnmine.data.columns import Columns, is_id, is_label, is_passage, is_positive, is_query, training_columns
from hnmine.data.formats.detect import Role, Source
from hnmine.data.labels import label_of, seen, suggestion
from hnmine.data.names import is_answer, is_retrieved, says_negative, side
from hnmine.data.resolving import doubt, query_first
from hnmine.data.shapes.ids import looks_like_id
from hnmine.data.shapes.shape import text_in

__all__ = ["unknown_columns"]

# Dates, addresses, paths and hashes: one word each, and a date may have a time.
_NO_TEXT = re.compile(
    r"\w+://\S+|www\.\S+|\S+@\S+|[/~]\S+|[0-9a-fA-F-]{16,}|[-+]?[\d.,:%]+|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([T ].*)?|\w{3} \d{1,2} [\d: ]+"
)

_COUNT = re.compile(r"(^|_)(num|number|idx|index|count|turns?)(_|$)", re.IGNORECASE)


def unknown_columns(path: str, role: Role, source: Source, examples: Mapping[str, str], records: Iterable[bytes]) -> str:
    """Return the question for columns: each with an example, and the setting that names them.

    Args:
        path: the file.
        role: of the file.
        source: its format and columns.
        examples: the first value of each column.
        records: the first ones, for the kinds of columns and the values of a label.
    """
    names = source.names
    shown = "".join(f"\n  {name}: {shortened(examples.get(name, ''), 80)!r}" for name in names[:20])
    first = [values for record in records if (values := _decoded(record))]
    texts = _texts([name for name in names if name not in source.labels], first)
    reason = labelled = ""
    if role == "pool":
        wanted = "the passages"
        setting = _word("text=" + max(texts, key=texts.__getitem__, default="NAME"))
    else:
        wanted = "the query and its positives"
        query, pos, neg = _sides(source, texts, first)
        if not source.header and source.lengths and not query_first(source):
            reason = " The file has no header, and its first column does not look like queries."
        if (found := training_columns(names, Columns(), path, unread=source.flags)) is not None:
            reason = f" {doubt(found, source, Columns())}"
        label = _label(source, (query, pos, *neg), pos in source.several)
        counts = _values(first, label) if label is not None else None
        answer = Columns(query=query, pos=(pos,), neg=neg or None, label=label if counts else None)
        setting = " ".join(map(_word, answer.words()))
        if label is not None and counts:
            example, unknown = suggestion(counts, label)
            labelled = (
                f" If `{label}` is no label, leave it out; if it is one, say which values make a passage positive, such as {example}. "
                f"{unknown}In the first rows {seen(counts, label)}."
            )
    return (
        f"{path}: the columns of {wanted} are not known.{reason.rstrip()} Name them, for example: --columns {setting}.{labelled} "
        f"The file has {counted(len(names), 'column')}:{shown}"
    )


def _word(text: str) -> str:
    """Return a word of a command line, quoted if a shell would part it or read it."""
    return f"'{text}'" if re.search(r"[\s&|;<>()$`*?#!]", text) and "'" not in text else text


def _decoded(record: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(record, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _inside(item: Any) -> str:
    """Return a text, the first text of a list, or the text of an object, or ""."""
    item = item[0] if isinstance(item, list) and item else item
    return (text_in(item) or "").strip()


def _texts(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the columns of texts with their median length; words without blanks count only if no column has texts with blanks."""
    found: dict[str, float] = {}
    single: dict[str, float] = {}
    inside: dict[str, list[str]] = {name: [] for name in names}
    for record in records:  # records may have many fields, and few in common
        for name in record.keys() & inside.keys():
            if text := _inside(record[name]):
                inside[name].append(text)
    for name, values in inside.items():
        texts = [text for text in values if not _NO_TEXT.fullmatch(text) and not looks_like_id(text)]
        if not values or 2 * len(texts) < len(values) or is_id(name):
            continue
        blanks = sum(" " in text or not text.isascii() for text in texts)
        if len({*texts}) > 1 or len(texts) < 3:
            (found if 2 * blanks >= len(texts) else single)[name] = median(map(len, texts))
    return found if len(found) > 1 else found | single


def _sides(source: Source, texts: Mapping[str, float], records: Sequence[Mapping[str, Any]]) -> tuple[str, str, tuple[str, ...]]:
    """Return the most likely query, positive and negatives: by name, else short texts that differ, and the longest other ones."""
    neg = tuple(name for name in texts if says_negative(_last(name)))
    others = [name for name in texts if name not in neg]
    listed = {name for name in others if any(isinstance(record.get(name), list) for record in records)}
    if not source.header and source.lengths and others and query_first(source):
        query = others[0]
    else:

        def rank(name: str) -> tuple[bool | float, ...]:
            values = [text for record in records if (text := _inside(record.get(name)))]
            asks = 2 * sum(text.rstrip().endswith(("?", "？")) for text in values) > len(values)
            answer = is_answer(_last(name)) or side(_last(name)) == "pos"
            repeated = 3 * len({*values}) < len(values)
            named = is_query(_last(name)) or side(_last(name)) == "query"
            return (name in listed, not named, answer, not asks, repeated or is_label(name), texts[name])

        query = min(others, key=rank, default="NAME")
    left = [name for name in others if name != query]
    end = query.rpartition("_")[2]

    def worth(name: str) -> tuple[bool | float, ...]:
        filled = sum(bool(_inside(record.get(name))) for record in records)
        return (
            is_positive([_last(name)]) or side(_last(name)) == "pos",
            "_" in query and name.rpartition("_")[2] == end,
            10 * filled >= 9 * len(records),
            is_passage(_last(name)) and not is_retrieved(_last(name)),
            texts[name],
        )

    pos = max(left, key=worth, default="NAME")
    if pos == "NAME" and neg:
        pos, neg = max(neg, key=texts.__getitem__), ()
    return query, pos, neg


def _last(name: str) -> str:
    """Return the last part of a dotted name."""
    return name.rpartition(".")[2]


def _label(source: Source, taken: Sequence[str], several: bool) -> str | None:
    """Return the column that may hold labels of single passages: one with the name of a label, else the only one with few values."""
    others = [name for name in source.names if name in (*source.labels, *source.numbers) and name not in taken]
    short = [name for name in others if name in source.labels and not is_id(name) and not _COUNT.search(name)]
    if several or "NAME" in taken:
        return None
    return next((name for name in others if is_label(name)), short[0] if len(short) == 1 else None)


def _values(records: Iterable[Mapping[str, Any]], name: str) -> Counter[str]:
    values = [record[name] for record in records if record.get(name) is not None]
    return Counter(label for each in values if (label := label_of(msgspec.Raw(msgspec.json.encode(each)))))
