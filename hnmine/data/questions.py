"""The question which columns of a file to read: with an answer to begin with, and an example of each column.

If a column may hold labels, the question includes them, so that one answer is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from hnmine.core.text import counted, shortened
from hnmine.data.columns import is_id, is_label, likely_columns
from hnmine.data.formats.detect import Role, Source, query_first
from hnmine.data.labels import label_of, seen, suggestion

__all__ = ["unknown_columns"]

_COUNTED = 1_000  # records whose labels are counted


def unknown_columns(path: str, role: Role, source: Source, examples: Mapping[str, str], records: Iterable[bytes] | None) -> str:
    """Return the question for columns: each with an example, and the setting that names them.

    Args:
        path: the file.
        role: of the file.
        source: its format and columns.
        examples: the first value of each column.
        records: the first records are read for the values of a label.
    """
    names = source.names
    shown = "".join(f"\n  {name}: {shortened(examples.get(name, ''), 80)!r}" for name in names[:20])
    query, passage = likely_columns(names, examples)
    order = ""
    if role == "training" and not source.header and source.lengths and not query_first(source):
        query, passage = _by_length(source)
        order = " The file has no header, and its first column does not look like queries."
    label = _label(source, query, passage) if role == "training" else None
    labelled = ""
    if role == "pool":
        wanted, setting = "the passages", f"text={_word(passage)}"
    else:
        wanted, setting = "the query and its positives", f"{_word('query=' + (query or 'NAME'))} {_word('pos=' + (passage or 'NAME'))}"
        if label is not None and (counts := _values(records or (), label)):
            setting += f" {_word('label=' + label)}"
            example, unknown = suggestion(counts, label)
            labelled = (
                f" If `{label}` is no label, leave it out; if it is one, say which values make a passage positive, such as {example}. "
                f"{unknown}In the first rows {seen(counts, label)}."
            )
    return (
        f"{path}: the columns of {wanted} are not known.{order} Name them, for example: --columns {setting}.{labelled} "
        f"The file has {counted(len(names), 'column')}:{shown}"
    )


def _word(text: str | None) -> str:
    """Return a word of a command line, quoted if it has blanks."""
    text = text or "NAME"
    return f"'{text}'" if any(map(str.isspace, text)) and "'" not in text else text


def _by_length(source: Source) -> tuple[str, str]:
    """Return the column with the shortest texts, and the first other one."""
    texts = [
        (length, name)
        for name, length in zip(source.names, source.lengths, strict=True)
        if length and name not in (*source.labels, *source.numbers, *source.ids)
    ]
    query = min(texts)[1]
    return query, next(name for _, name in texts if name != query)


def _label(source: Source, query: str | None, passage: str | None) -> str | None:
    """Return the column that may hold labels: one with the name of a label, else the only one with few values."""
    others = [name for name in source.names if name in (*source.labels, *source.numbers) and name not in (query, passage)]
    short = [name for name in others if name in source.labels and not is_id(name)]
    return next((name for name in others if is_label(name)), short[0] if len(short) == 1 and query and passage else None)


def _values(records: Iterable[bytes], name: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _, record in zip(range(_COUNTED), records, strict=False):
        try:
            value = msgspec.json.decode(record, type=dict[str, msgspec.Raw]).get(name)
        except msgspec.MsgspecError:
            continue
        if value is not None and (label := label_of(value)):
            counts[label] += 1
    return counts
