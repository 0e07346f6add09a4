"""Rows within one object (`{"set": {...}}`, `{"set": ["query", "positive"]}`), texts as `[instruction, text]` pairs, and objects in fields.

The instruction of a query is kept as `prompt`. A query that is an object with a text is that text. Other objects are a
question: their fields are listed by dotted names, such as `input.question`, and the user names those to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.columns import Columns, query_among, training_columns
from hnmine.data.shapes.judged import passage_in, passages_in
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, inside_of, raw, text_in, value

__all__ = ["FLATTENED", "INSTRUCTED", "OBJECTS", "WRAPPED", "WRAPPED_TEXTS", "dotted"]


def _inside(record: Record) -> Any:
    return next(iter(record.values())) if len(record) == 1 else None


def _fits(records: Sequence[Record]) -> bool:
    return all(isinstance(_inside(each), dict) and "query" in _inside(each) and "pos" in _inside(each) for each in records)


def _unwrapped(fields: Fields) -> list[Fields]:
    inside = value(fields, next(iter(fields), ""))
    if len(fields) != 1 or not isinstance(inside, dict):
        raise ShapeError
    pos = inside.get("pos")
    return [{name: raw(item) for name, item in inside.items()} | ({"pos": raw([pos])} if isinstance(pos, str) else {})]


def _fits_texts(records: Sequence[Record]) -> bool:
    return all(
        isinstance(_inside(each), list) and len(_inside(each)) > 1 and all(isinstance(text, str) for text in _inside(each))
        for each in records
    )


def _from_texts(fields: Fields) -> list[Fields]:
    texts = value(fields, next(iter(fields), ""))
    if len(fields) != 1 or not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
        raise ShapeError
    return [{"query": raw(texts[0]), "pos": raw(texts[1:2]), **({"neg": raw(texts[2:])} if len(texts) > 2 else {})}]


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _pairs(item: Any) -> list[list[str]]:
    """Return one pair, or a list of pairs, as a list of pairs."""
    pairs = [item] if _is_pair(item) else item
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise ShapeError
    return pairs


def _fits_pairs(records: Sequence[Record]) -> bool:
    def fit(record: Record) -> bool:
        try:
            return _is_pair(record.get("query")) and bool(_pairs(record.get("pos")))
        except ShapeError:
            return False

    return all(map(fit, records))


def _from_pairs(fields: Fields) -> list[Fields]:
    (query,) = _pairs([value(fields, "query")])
    row = dict(fields) | {"query": raw(query[1]), "pos": raw([text for _, text in _pairs(value(fields, "pos"))])}
    if "neg" in fields:
        row["neg"] = raw([text for _, text in _pairs(value(fields, "neg") or [])])
    if query[0] and "prompt" not in fields:
        row["prompt"] = raw(query[0])
    return [row]


def _query_object(record: Record) -> str | None:
    """Return the name of the query if it is an object with a text."""
    name = query_among(list(record))
    return name if isinstance(record.get(name or ""), dict) and text_in(record[name or ""]) is not None else None


def _from_object(fields: Fields) -> list[Fields]:
    record = {name: value(fields, name) for name in fields}
    name = _query_object(record)
    if name is None:
        return [fields]
    return [fields | {name: raw(text_in(record[name]))} | inside_of(name, record[name])]


def _flat(item: Any, path: str = "") -> dict[str, Any]:
    """Return the values of an object by dotted names."""
    if not isinstance(item, dict) or not item or path.count(".") > 5:
        return {path: item}
    return {name: each for key, inside in item.items() for name, each in _flat(inside, f"{path}.{key}" if path else key).items()}


def _fits_flattened(records: Sequence[Record]) -> bool:
    """Return whether the columns are unknown, or those of the passages are objects without a text, and there are objects."""
    names = list(dict.fromkeys(name for record in records for name in record))
    found = training_columns(names, Columns(), "")
    if found is None:
        return any(isinstance(each, dict) for record in records for each in record.values())
    passages = [record[name] for record in records for name in found.pos or () if record.get(name) is not None]
    return bool(passages) and all(isinstance(each, dict) and text_in(each) is None for each in passages)


def _fits_objects(records: Sequence[Record]) -> bool:
    return any(_query_object(each) for each in records) and not _fits_flattened(records)


def dotted(names: Sequence[str]) -> Shape:
    """Return the shape of records whose columns of these names are in objects, such as `input.question`, or hold objects with texts."""

    def found(record: Record) -> dict[str, Any]:
        inside = {name: each for name in names if (each := record[name] if name in record else _at(record, name)) is not None}
        return {name: opened for name, each in inside.items() if (opened := _opened(each)) != each or name not in record}

    def rows(fields: Fields) -> list[Fields]:
        return [fields | {name: raw(each) for name, each in found({name: value(fields, name) for name in fields}).items()}]

    return Shape(name="objects", fits=lambda records: any(map(found, records)), rows=rows)


_READ = frozenset(("text", "passage", "contents", "content"))  # read in any row


def _opened(item: Any) -> Any:
    """Return a list of objects with texts of other names, such as `answer`, as passages; anything else as it is."""
    if isinstance(item, list) and item and all(isinstance(each, dict) and not _READ & each.keys() for each in item):
        return item if (passages := passages_in(item)) is None else [passage_in(each) for each in passages]
    return item


def _at(item: Any, path: str) -> Any:
    """Return the value that a dotted name leads to, or None."""
    for key in path.split("."):
        item = item.get(key) if isinstance(item, dict) else None
    return item


OBJECTS = Shape(name="queries as objects", fits=_fits_objects, rows=_from_object)
FLATTENED = Shape(
    name="objects",
    fits=_fits_flattened,
    asks=True,
    rows=lambda fields: [{name: raw(each) for name, each in _flat({name: value(fields, name) for name in fields}).items()}],
)
WRAPPED = Shape(name="rows within one object", fits=_fits, rows=_unwrapped)
WRAPPED_TEXTS = Shape(name="lists of a query and its passages", fits=_fits_texts, rows=_from_texts)
INSTRUCTED = Shape(name="texts with instructions", fits=_fits_pairs, rows=_from_pairs)
