"""Which columns of a detected file are read: by their names, their kinds of values, and what the user names.

Names decide, but flags, ids and numbers are never read as texts, and what may be read wrongly is a question: several passages in a row
that nothing judges, the results of a search, labels that contradict each other, a short answer beside a longer text.
"""

from __future__ import annotations

import msgspec

from hnmine.data.columns import (
    Columns,
    is_context,
    is_id,
    is_label,
    is_positive,
    is_reply,
    is_text,
    pool_columns,
    training_columns,
)
from hnmine.data.formats.detect import Role, Source
from hnmine.data.names import is_retrieved, side

__all__ = ["doubt", "query_first", "resolve"]


def resolve(source: Source, role: Role, given: Columns, where: str) -> tuple[Columns | None, bool]:
    """Return (columns to read, or None if the user must name them; whether the fields need no renaming).

    Raises:
        InputError: a named column does not exist; `where` is the file.
    """
    names = source.names
    if source.format == "text":
        return Columns(text="text"), True
    plain = source.format in ("jsonl", "json") and source.header
    if role == "pool":
        found = pool_columns(names, given, where)
        if found is None and source.is_table and (len(names) == 1 or (len(names) == 2 and names[0] in source.ids)):
            found = Columns(text=names[-1])
        if found is None and plain:
            return (Columns(text="text"), True) if not names else (None, False)
        return found, plain
    usual = Columns(query="query", pos=("pos",), neg=("neg",))
    default_names = given.query in (None, "query") and given.pos in (None, ("pos",)) and given.neg in (None, ("neg",))
    unread = _unread(source, given, where)
    others = {"query", "pos"} <= {*names} and "neg" not in names and training_columns(names, Columns(query="query", pos=("pos",)), where)
    known = not names or ({"query", "pos"} <= {*names} and "query" not in unread)
    if plain and default_names and known and not (others and others.neg):
        return _with_label(usual, source, given), True
    found = training_columns(names, given, where, unread=unread)
    if found is None and plain and default_names and (not names or ({"query", "pos"} & {*names} and not source.several)):
        return None, True  # reported line by line
    unnamed = not source.header and (given.query, given.pos) == (None, None)
    if found is None and unnamed and len(names) in (2, 3) and not {*names[:2]} & {*source.ids} and query_first(source):
        found = Columns(query=names[0], pos=(names[1],), neg=names[2:])
    found = None if found is None else _judged_text(_with_label(found, source, given), source, given)
    return (None if found is None or doubt(found, source, given) else found), False


def _unread(source: Source, given: Columns, where: str) -> tuple[str, ...]:
    """Return the columns that hold no texts whatever their names: flags, numbers called negatives, and ids beside a column of texts.

    A flag is read as a query or an answer if no other column is one.
    """
    numbers = tuple(name for name in source.numbers if side(name) == "neg")
    # `negative` may be read beside `negative_1`, and is the id of a `negative_text`.
    texts = [name for name in source.names if name not in (*source.flags, *numbers, *source.codes) and not name[-1:].isdigit()]
    codes = tuple(code for code in source.codes if side(code) != "neg" or any(name.startswith(code) for name in texts))
    surely = tuple(name for name in source.flags if side(name) == "neg" or is_positive([name]))
    for unread in ((*source.flags, *numbers, *codes), (*source.flags, *numbers)):
        if training_columns(source.names, given, where, unread=unread) is not None:
            return unread
    return (*surely, *numbers)


def _judged_text(columns: Columns, source: Source, given: Columns) -> Columns:
    """Return the columns with the text that a label is about in place of a short answer beside it."""
    longer = _longer(columns, source)
    if given.pos is None and len(named := [name for name in longer if is_text(name)]) == 1:
        return msgspec.structs.replace(columns, pos=(named[0],))
    return columns


def _longer(columns: Columns, source: Source) -> list[str]:
    """Return the columns of much longer texts than a labelled answer."""
    (pos, *others), sizes = columns.pos or ("",), source.sizes
    if not columns.label or others or not is_reply(pos) or pos not in sizes:
        return []
    return [name for name, size in sizes.items() if name not in (pos, columns.query, columns.label) and size >= 2 * sizes[pos]]


def doubt(columns: Columns, source: Source, given: Columns) -> str:
    """Return why these columns must be confirmed by the user, or ""."""
    pos = (columns.pos or ("",))[0]
    if source.contrary is not None and given.label is None and columns.label in source.contrary:
        return f"The labels `{source.contrary[0]}` and `{source.contrary[1]}` contradict each other: name the one that counts."
    if given.pos is not None or is_positive(columns.pos):
        return ""
    if _longer(columns, source):
        return f"`{pos}` has short answers, and `{columns.label}` may be about a longer text."
    retrieved = next((name for name in (pos, *source.names) if is_retrieved(name)), None)
    if retrieved is not None and not columns.label:
        return f"`{retrieved}` has the results of a search, which may be relevant or not."
    answered = any(map(is_reply, source.names))  # the contexts of an answer, as RAGAS has them
    if pos in source.several and not columns.label and not is_reply(pos) and not (answered and is_context(pos)):
        return f"`{pos}` has several passages in a row, and nothing says which of them are positives; if all are, name it."
    return ""


def query_first(source: Source) -> bool:
    """Return whether the first column of a table without a header may be the query.

    Another column is more likely if its texts are shorter by half, or a little shorter and its values repeat.
    """
    first, *others = zip(source.names, source.lengths, strict=True)
    texts = [(name, length) for name, length in others if length and name not in (*source.labels, *source.numbers, *source.ids)]
    repeated = () if first[0] in source.repeated else source.repeated
    return not any(first[1] >= length + 10 and (first[1] > 1.5 * length or name in repeated) for name, length in texts)


def _with_label(columns: Columns, source: Source, given: Columns) -> Columns:
    """Return the columns with the one that holds labels, which decides whether a passage is positive.

    It is a `label`; else, beside a passage that is not called positive, a column of numbers or few, short values: one with the name
    of a label, the third without a header, or any if queries repeat. Values of the last are always asked about.
    """
    label = columns.label if given.label is None else given.label
    named = (columns.query, *(columns.pos or ()), *((columns.neg or ()) if source.header else ()))
    if label is None:
        label = next((name for name in source.labels if name.casefold() in ("label", "labels") and name not in named), None)
    others = [name for name in source.names if name not in named and name in (*source.labels, *source.numbers)]
    if label is None and not (source.header and is_positive(columns.pos)) and len(columns.pos or ()) == 1:
        label = next((name for name in others if is_label(name)), None)
        short = [name for name in others if not is_id(name)]
        if label is None and not source.header and len(source.names) == 3 and others == [source.names[2]]:
            label = others[0]
        if label is None and source.header and short and (columns.query in source.repeated):
            label = short[0]
    if label is None:  # `negative` with 0 and 1 judges the passage
        varied = [name for name in others if name in source.labels or name not in source.flags]
        label = next((name for name in varied if side(name) == "neg"), None)
    neg = tuple(name for name in columns.neg or () if name != label)
    return msgspec.structs.replace(columns, label=label or None, neg=neg, positive_labels=given.positive_labels)
