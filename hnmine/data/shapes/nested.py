"""Rows within one object (`{"set": {...}}`, `{"set": ["query", "positive"]}`), and texts as `[instruction, text]` pairs.

The instruction of a query is kept as `prompt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, raw, value

__all__ = ["INSTRUCTED", "WRAPPED", "WRAPPED_TEXTS"]


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


WRAPPED = Shape(name="rows within one object", fits=_fits, rows=_unwrapped)
WRAPPED_TEXTS = Shape(name="lists of a query and its passages", fits=_fits_texts, rows=_from_texts)
INSTRUCTED = Shape(name="texts with instructions", fits=_fits_pairs, rows=_from_pairs)
