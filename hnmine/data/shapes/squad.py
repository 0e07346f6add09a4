"""SQuAD: documents with paragraphs and questions, or flat rows with `question`, `context` and `answers`.

The paragraph is the positive, not the answer. A question without an answer is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, raw, value

__all__ = ["SQUAD", "SQUAD_FLAT"]


def _fits(records: Sequence[Record]) -> bool:
    return all(
        isinstance(each.get("paragraphs"), list) and all(isinstance(part, dict) and "qas" in part for part in each["paragraphs"])
        for each in records
    )


def _rows(fields: Fields) -> list[Fields]:
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


def _flat(fields: Fields) -> list[Fields]:
    answers = value(fields, "answers")
    if not isinstance(answers, dict):
        raise ShapeError
    if not answers.get("text"):
        return [{}]
    row = {"query": fields["question"], "pos": raw([value(fields, "context")])}
    return [row | {name: kept for name, kept in fields.items() if name not in ("question", "context", "query", "pos", "neg")}]


SQUAD = Shape(name="SQuAD documents", fits=_fits, rows=_rows, left_out="question without an answer")
SQUAD_FLAT = Shape(name="SQuAD rows", fits=_fits_flat, rows=_flat, left_out="question without an answer")
