"""Rows within objects: of one object (`{"set": {...}}`), `[instruction, text]` pairs, objects in fields, SQuAD.

The instruction of a query is kept as `prompt`. A query that is an object with a text is that text. Other objects are a
question: their fields are listed by dotted names, such as `input.question`, and the user names those to read. In SQuAD the paragraph is
the positive, not the answer. A question without an answer is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.columns import Columns, query_among, training_columns
from hnmine.data.shapes.judged import passage_in, passages_in
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, inside_of, raw, text_in, value

__all__ = ["FLATTENED", "INSTRUCTED", "OBJECTS", "SQUAD", "SQUAD_FLAT", "WRAPPED", "WRAPPED_TEXTS", "dotted"]


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


def _fits_documents(records: Sequence[Record]) -> bool:
    return all(
        isinstance(each.get("paragraphs"), list) and all(isinstance(part, dict) and "qas" in part for part in each["paragraphs"])
        for each in records
    )


def _questions(fields: Fields) -> list[Fields]:
    rows: list[Fields] = []
    for part in value(fields, "paragraphs"):
        if not isinstance(part, dict) or not isinstance(part.get("qas"), list):
            raise ShapeError
        for asked in part["qas"]:
            if not isinstance(asked, dict):
                raise ShapeError
            if asked.get("is_impossible") or not asked.get("answers", True):
                rows.append({})  # left out
                continue
            row = {"query": raw(asked.get("question")), "pos": raw([part.get("context")])}
            row |= {name: raw(asked[name]) for name in ("id", "answers") if name in asked}
            rows.append(row | {name: fields[name] for name in ("title",) if name in fields})
    return rows


def _fits_flat(records: Sequence[Record]) -> bool:
    return all("question" in each and isinstance(each.get("context"), str) and isinstance(each.get("answers"), dict) for each in records)


def _question(fields: Fields) -> list[Fields]:
    answers = value(fields, "answers")
    if not isinstance(answers, dict):
        raise ShapeError
    if not answers.get("text"):
        return [{}]
    row = {"query": fields["question"], "pos": raw([value(fields, "context")])}
    return [row | {name: kept for name, kept in fields.items() if name not in ("question", "context", "query", "pos", "neg")}]


SQUAD = Shape(name="SQuAD documents", fits=_fits_documents, rows=_questions, left_out="question without an answer")
SQUAD_FLAT = Shape(name="SQuAD rows", fits=_fits_flat, rows=_question, left_out="question without an answer")
