"""Passages that people accepted or rejected in Prodigy, and lists that they sorted in Label Studio's ranker.

They become pairs with a label. What a person ignored or did not sort is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.data.columns import query_among
from hnmine.data.labels import is_known
from hnmine.data.shapes.judged import other_fields
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, joined, raw, text_in, value

__all__ = ["PRODIGY", "RANKER"]

_ANSWERS = ("accept", "reject", "ignore")
_REMEDY = "nothing to do, or judge it"


def _decision(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the fields of the query and the passage of a task with one decision."""
    query = query_among([name for name in record if name != "answer"])
    passage = next((name for name in ("passage", "document", "text") if name != query and isinstance(record.get(name), str)), None)
    whole = record.get("answer") in _ANSWERS and "accept" not in record
    return (query, passage) if whole and query is not None and passage is not None else None


def _decided(fields: Fields) -> list[Fields]:
    record = {name: value(fields, name) for name in fields}
    found = _decision(record)
    if found is None:
        raise ShapeError
    if record["answer"] == "ignore":
        return [{}]
    others = other_fields(fields, (*found, "answer", *(name for name in record if name.startswith("_"))))
    return [{"query": fields[found[0]], "passage": fields[found[1]], "label": raw(int(record["answer"] == "accept"))} | others]


def _sorted(record: Mapping[str, Any]) -> tuple[str, dict[str, str], dict[str, set[str]]] | None:
    """Return the query, the passages by id, and the ids in each bucket of each annotation that sorted them."""
    data = record.get("data")
    if not isinstance(data, dict) or not isinstance(record.get("annotations"), list):
        return None
    texts = [each for each in data.values() if isinstance(each, str)]
    items = next((each for each in data.values() if isinstance(each, list) and each and all(isinstance(one, dict) for one in each)), None)
    asked = query_among(list(data))
    query = data[asked] if asked is not None else texts[0] if len(texts) == 1 else None
    if not isinstance(query, str) or items is None:
        return None
    passages = {str(one.get("id")): joined(one.get("title"), text_in(one)) for one in items if text_in(one)}
    votes: dict[str, set[str]] = {}
    for annotation in record["annotations"]:
        for result in () if annotation.get("was_cancelled") else annotation.get("result") or ():
            for bucket, ids in ((result.get("value") or {}).get("ranker") or {}).items():
                for each in ids:
                    votes.setdefault(str(each), set()).add(bucket)
    return query, passages, votes


def _fits_ranker(records: Sequence[Record]) -> bool:
    found = [_sorted(each) for each in records]
    buckets = {bucket for each in found if each for votes in each[2].values() for bucket in votes}
    return all(each is not None for each in found) and bool(buckets) and any(map(is_known, buckets))


def _ranked(fields: Fields) -> list[Fields]:
    found = _sorted({name: value(fields, name) for name in fields})
    if found is None:
        raise ShapeError
    query, passages, votes = found
    sure = {each: next(iter(buckets)) for each, buckets in votes.items() if len(buckets) == 1 and each in passages}
    rows = [{"query": raw(query), "passage": raw(passages[each]), "label": raw(bucket)} for each, bucket in sure.items()]
    return rows + [{} for each in passages if each not in sure]


PRODIGY = Shape(
    name="decisions of Prodigy",
    fits=lambda records: all(_decision(each) is not None for each in records),
    rows=_decided,
    left_out="task that was ignored",
    remedy=_REMEDY,
)
RANKER = Shape(
    name="sorted lists of Label Studio",
    fits=_fits_ranker,
    rows=_ranked,
    left_out="passage that nobody sorted, or whose annotators disagree",
    remedy=_REMEDY,
)
