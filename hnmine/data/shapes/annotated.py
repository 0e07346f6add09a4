"""Pairs that people labelled in Label Studio (JSON export) or Argilla (records, or the columns of its data sets).

A record becomes a row of its fields with the `label` of its annotators. If they disagree, the label of the majority counts, and
a notice says how often; without a majority or an annotation a record is left out and counted. A model's suggestion counts only
without a response.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hnmine.data.columns import is_label, query_among
from hnmine.data.labels import is_known
from hnmine.data.shapes.judged import other_fields
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, joined, raw, text_in, value

__all__ = ["ARGILLA", "ARGILLA_FLAT", "LABEL_STUDIO", "PRODIGY", "RANKER"]


_Votes = list[str | int | float]
_VALUES = ("choices", "rating", "number", "taxonomy")
_LEFT_OUT = "record without an annotation, or without a majority of its annotators"
_REMEDY = "nothing to do, or label it"


def _decoded(fields: Fields) -> dict[str, Any]:
    return {name: value(fields, name) for name in fields}


def _single(answer: Any) -> str | int | float | None:
    """Return the answer to a question, the only one of a list, or None."""
    while isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if answer is None or isinstance(answer, str | int | float):
        return answer
    raise ShapeError


def _question(names: Iterable[str]) -> str | None:
    """Return the question that is about the label: one that is called so, else the only one."""
    every = list(dict.fromkeys(names))
    named = [name for name in every if is_label(name)]
    if len(every) > 1 and len(named) != 1:
        raise ShapeError
    return next(iter(named or every), None)


def _studio(record: Mapping[str, Any]) -> tuple[dict[str, Any], _Votes]:
    """Return the fields of a task, and the labels of its annotations."""
    answers: list[tuple[str, Any]] = []
    for each in record["annotations"]:
        if each.get("was_cancelled"):
            continue
        for result in each.get("result") or ():
            given = result.get("value") or {}
            if (kind := next((kind for kind in _VALUES if kind in given), None)) is not None:
                answers.append((str(result.get("from_name", "")), given[kind]))
    question = _question(name for name, _ in answers)
    votes = [_single(answer) for name, answer in answers if name == question]
    return {"id": record.get("id")} | record["data"], [vote for vote in votes if vote is not None]


def _responses(given: Any) -> dict[str, list[Any]]:
    """Return the answers to each question, of Argilla's responses or suggestions in one of their forms."""
    found: dict[str, list[Any]] = {}
    if isinstance(given, dict):  # by question
        for name, answers in given.items():
            for each in answers if isinstance(answers, list) else [answers]:
                if isinstance(each, dict) and each.get("status", "submitted") not in ("submitted", None):
                    continue
                found.setdefault(name, []).append(each.get("value") if isinstance(each, dict) else each)
        return found
    for each in given or ():  # by user, or one suggestion a question
        if each.get("status", "submitted") not in ("submitted", None):
            continue
        values = each.get("values") or {}
        answers = {each["question_name"]: each.get("value")} if "question_name" in each else values
        for name, answer in answers.items():
            found.setdefault(name, []).append(answer.get("value") if isinstance(answer, dict) else answer)
    return found


def _voted(responses: Mapping[str, list[Any]], suggestions: Mapping[str, list[Any]]) -> tuple[_Votes, bool]:
    """Return the labels, and whether they are suggestions."""
    question = _question([*responses, *suggestions])
    votes = [vote for each in responses.get(question or "", ()) if (vote := _single(each)) is not None]
    suggested = [vote for each in suggestions.get(question or "", ()) if (vote := _single(each)) is not None]
    return (votes, False) if votes or not suggested else (suggested, True)


def _argilla(record: Mapping[str, Any]) -> tuple[dict[str, Any], _Votes, bool]:
    votes, suggested = _voted(_responses(record.get("responses")), _responses(record.get("suggestions")))
    return {"id": record.get("id")} | record["fields"], votes, suggested


def _columns(record: Mapping[str, Any]) -> list[str]:
    """Return the questions of a record of columns: `label.responses`, `label.suggestion`, or `label-suggestion` beside `label`."""
    ends = (".responses", ".suggestion", "-suggestion")
    return list(dict.fromkeys(name.removesuffix(end) for name in record for end in ends if name.endswith(end)))


def _flat(record: Mapping[str, Any]) -> tuple[dict[str, Any], _Votes, bool]:
    responses: dict[str, list[Any]] = {}
    suggestions: dict[str, list[Any]] = {}
    for name in _columns(record):
        given = record.get(f"{name}.responses", record.get(name))
        states = record.get(f"{name}.responses.status") or []
        answers = given if isinstance(given, list) else [given]
        if len(states) == len(answers):
            answers = [each for each, state in zip(answers, states, strict=True) if state in ("submitted", None)]
        responses |= _responses({name: answers})
        suggestions[name] = [record.get(f"{name}.suggestion", record.get(f"{name}-suggestion"))]
    names = _columns(record)
    kept = {key: each for key, each in record.items() if not any(key == name or key.startswith((f"{name}.", f"{name}-")) for name in names)}
    return kept, *_voted(responses, suggestions)


def _row(fields: Mapping[str, Any], votes: _Votes) -> list[Fields]:
    counts = Counter(votes).most_common()
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return [{}]
    kept = {f"{name}_" if is_label(name) else name: raw(each) for name, each in fields.items() if each is not None}
    return [kept | {"label": raw(counts[0][0])}]


def _note(votes: _Votes, suggested: bool) -> str:
    if suggested:
        return "record without a response: the model's suggestion is its label"
    return "record whose annotators disagree: the label of the majority counts" if len({*votes}) > 1 and _row({}, votes)[0] else ""


def _fits_studio(records: Sequence[Record]) -> bool:
    return all(isinstance(each.get("data"), dict) and isinstance(each.get("annotations"), list) for each in records)


def _fits_argilla(records: Sequence[Record]) -> bool:
    return all(isinstance(each.get("fields"), dict) and ("responses" in each or "suggestions" in each) for each in records)


LABEL_STUDIO = Shape(
    name="tasks of Label Studio",
    fits=_fits_studio,
    rows=lambda fields: _row(*_studio(_decoded(fields))),
    noted=lambda fields: _note(_studio(_decoded(fields))[1], False),
    left_out=_LEFT_OUT,
    remedy=_REMEDY,
)
ARGILLA = Shape(
    name="records of Argilla",
    fits=_fits_argilla,
    rows=lambda fields: _row(*_argilla(_decoded(fields))[:2]),
    noted=lambda fields: _note(*_argilla(_decoded(fields))[1:]),
    left_out=_LEFT_OUT,
    remedy=_REMEDY,
)
ARGILLA_FLAT = Shape(
    name="columns of Argilla",
    fits=lambda records: any(map(_columns, records)),
    rows=lambda fields: _row(*_flat(_decoded(fields))[:2]),
    noted=lambda fields: _note(*_flat(_decoded(fields))[1:]),
    left_out=_LEFT_OUT,
    remedy=_REMEDY,
)


_ANSWERS = ("accept", "reject", "ignore")
_REMEDY_OF_DECISIONS = "nothing to do, or judge it"


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
    remedy=_REMEDY_OF_DECISIONS,
)
RANKER = Shape(
    name="sorted lists of Label Studio",
    fits=_fits_ranker,
    rows=_ranked,
    left_out="passage that nobody sorted, or whose annotators disagree",
    remedy=_REMEDY_OF_DECISIONS,
)
