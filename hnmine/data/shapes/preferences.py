"""Answers that were compared: chosen and rejected (texts or chats), SHP's A and B, numbered answers with scores; and Alpaca's instructions.

The last question of the chat is the query. Of two numbered answers the one with the higher score is the positive; with the
same score the row is left out and counted. Alpaca's `input` belongs to its `instruction`, if that is not one for all rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.data.columns import is_label, query_among
from hnmine.data.shapes.judged import other_fields
from hnmine.data.shapes.messages import turns_in
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, inside_of, raw, text_in, value

__all__ = ["AB", "ALPACA", "KTO", "NUMBERED", "OPENAI", "PREFERENCES"]

_PROMPTS = ("prompt", "instruction", "input", "conversations", "messages")
_TURN = re.compile(r"\n\n(Human|Assistant): ?")
_NUMBER = re.compile(r"(.*?)_?(\d)")


def _decoded(fields: Fields) -> dict[str, Any]:
    return {name: value(fields, name) for name in fields}


def _turns(item: Any) -> list[tuple[str, str]] | None:
    """Return the turns of a chat, also of one that is written as one text (HH-RLHF)."""
    if isinstance(item, str) and (parts := _TURN.split(item)) and len(parts) > 2 and not parts[0].strip():
        return [("user" if role == "Human" else "assistant", text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True)]
    return turns_in(item)


def _answer(item: Any) -> str | None:
    """Return a text, or the last turn of a chat if it is the assistant's."""
    turns = _turns(item)
    if turns is None:
        return item if isinstance(item, str) else None
    return turns[-1][1] if turns[-1][0] == "assistant" else None


def _asked(item: Any) -> str | None:
    """Return a text, or the user's last turn of a chat."""
    turns = _turns(item)
    if turns is None:
        return text_in(item)
    return next((text for role, text in reversed(turns) if role == "user"), None)


def _preference(record: Mapping[str, Any]) -> tuple[str | None, str, str, str] | None:
    """Return the field of the query (None: it is in the chats), the query, and the chosen and rejected answer."""
    if "chosen" not in record or "rejected" not in record:
        return None
    chosen, rejected = (_answer(record[side]) or "" for side in ("chosen", "rejected"))
    if not all(record[side] is None or _answer(record[side]) is not None for side in ("chosen", "rejected")):
        return None
    name = query_among(list(record)) or next((name for name in _PROMPTS if name in record), None)
    chat = next((record[side] for side in ("chosen", "rejected") if _turns(record[side]) is not None), None)
    inside = None if chat is None else _asked(chat)
    query = inside or (_asked(record[name]) if name else None)
    return None if query is None else (name, query, chosen, rejected)


def _preferred(fields: Fields) -> list[Fields]:
    found = _preference(_decoded(fields))
    if found is None:
        raise ShapeError
    name, query, chosen, rejected = found
    if not chosen:  # null: there is no positive
        return [{}]
    others = {each: kept for each, kept in fields.items() if each not in (name, "chosen", "rejected")}
    return [{"query": raw(query), "pos": raw([chosen]), "neg": raw([rejected] if rejected else [])} | others]


def _openai(record: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return query, preferred and other answer of a record for OpenAI's preference tuning."""
    found = record.get("input")
    query = _asked(found.get("messages")) if isinstance(found, dict) else None
    pos, neg = (_answer(record.get(name)) for name in ("preferred_output", "non_preferred_output"))
    return None if query is None or pos is None or neg is None else (query, pos, neg)


def _tuned(fields: Fields) -> list[Fields]:
    found = _openai(_decoded(fields))
    if found is None:
        raise ShapeError
    others = {name: kept for name, kept in fields.items() if name not in ("input", "preferred_output", "non_preferred_output")}
    return [{"query": raw(found[0]), "pos": raw([found[1]]), "neg": raw([found[2]])} | others]


def _completed(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return query and answer of a record for KTO, which has a label of the answer."""
    query, answer = _asked(record.get("prompt")), _answer(record.get("completion"))
    return None if query is None or answer is None or not isinstance(record.get("label"), bool) else (query, answer)


def _labelled(fields: Fields) -> list[Fields]:
    found = _completed(_decoded(fields))
    if found is None:
        raise ShapeError
    others = {name: kept for name, kept in fields.items() if name not in ("prompt", "completion", "query", "passage")}
    return [{"query": raw(found[0]), "passage": raw(found[1])} | others]


def _compared(fields: Fields) -> list[Fields]:
    record = _decoded(fields)
    texts = [record.get("human_ref_A"), record.get("human_ref_B")]
    if str(record.get("labels")) not in ("0", "1") or not all(isinstance(text, str) for text in texts):
        raise ShapeError
    pos, neg = texts if str(record["labels"]) == "1" else texts[::-1]  # 1: A is preferred
    others = {name: kept for name, kept in fields.items() if name not in ("history", "human_ref_A", "human_ref_B", "labels")}
    return [{"query": fields["history"], "pos": raw([pos]), "neg": raw([neg])} | others]


def _scored(record: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """Return the fields of numbered answers and of their scores."""
    families: dict[str, dict[str, str]] = {}
    for name in record:
        if (match := _NUMBER.fullmatch(name)) is not None and match[1]:
            families.setdefault(match[1], {})[match[2]] = name
    scores = next((stem for stem, family in families.items() if len(family) > 1 and is_label(stem)), None)
    if scores is None:
        return None
    numbers = families[scores]
    stems = [
        stem
        for stem, family in families.items()
        if family.keys() == numbers.keys() and re.search("answer|response|passage|doc|text", stem) and _are_texts(record, family)
    ]
    return ([families[stems[0]][number] for number in numbers], list(numbers.values())) if len(stems) == 1 else None


def _are_texts(record: Mapping[str, Any], family: Mapping[str, str]) -> bool:
    return all(isinstance(record[name], str | None) for name in family.values())


def _number(item: Any) -> float | None:
    try:
        return float(item)
    except (TypeError, ValueError):
        return None


def _numbered(compared: bool) -> Shape:
    """Return the shape of two answers whose scores are compared, or of several passages with a label or grade each."""

    def fits(records: Sequence[Record]) -> bool:
        values: list[Any] = []
        pairs = True
        for record in records:
            if query_among(list(record)) is not None and (found := _scored(record)) is not None:
                values += [record[name] for name in found[1] if record[name] not in (None, "")]
                pairs = pairs and len(found[1]) == 2
        numbers = all(_number(each) is not None for each in values)
        return bool(values) and (pairs and numbers and not all(_number(each) in (0, 1) for each in values)) == compared

    def rows(fields: Fields) -> list[Fields]:
        record = _decoded(fields)
        asked, found = query_among(list(record)), _scored(record)
        if asked is None or found is None:
            raise ShapeError
        texts, scores = found
        first = {"query": raw(text_in(record[asked]))}
        others = inside_of(asked, record[asked]) | other_fields(fields, (asked, *texts, *scores))
        if not compared:
            name = re.sub(r"_?\d$", "", scores[0])
            return [
                first | {"passage": fields[text], name: fields[score]} | others
                for text, score in zip(texts, scores, strict=True)
                if record[text]
            ]
        one, other = (_number(record[name]) for name in scores)
        if one is None or other is None:
            raise ShapeError
        if one == other:
            return [{}]
        pos, neg = texts if one > other else texts[::-1]
        kept = {name: fields[name] for name in scores}
        return [first | {"pos": raw([record[pos]]), "neg": raw([record[neg]])} | kept | others]

    return Shape(
        name="numbered answers with scores",
        fits=fits,
        rows=rows,
        left_out="query whose answers have the same score",
        remedy="nothing to do: no answer is the better one",
    )


def _fits_alpaca(records: Sequence[Record]) -> bool:
    whole = all(isinstance(each.get(name), str) for each in records for name in ("instruction", "output"))
    asked = [each.get("instruction") for each in records]
    plain = (
        whole and not any(query_among(list(each)) for each in records) and all(isinstance(each.get("input", ""), str) for each in records)
    )
    return plain and any("input" in each for each in records) and len({*asked}) * 2 > len(asked)


def _instructed(fields: Fields) -> list[Fields]:
    record = _decoded(fields)
    if not all(isinstance(record.get(name, ""), str) for name in ("instruction", "input", "output")) or "output" not in record:
        raise ShapeError
    query = "\n".join(text for name in ("instruction", "input") if (text := record.get(name, "")))
    return [
        {"query": raw(query), "pos": raw([record["output"]])}
        | {n: kept for n, kept in fields.items() if n not in ("instruction", "input", "output")}
    ]


PREFERENCES = Shape(
    name="chosen and rejected answers",
    fits=lambda records: any(_preference(each) is not None for each in records),
    rows=_preferred,
    left_out="query without a chosen answer",
)
OPENAI = Shape(name="preferred and other outputs", fits=lambda records: all(_openai(each) is not None for each in records), rows=_tuned)
KTO = Shape(name="completions with labels", fits=lambda records: all(_completed(each) is not None for each in records), rows=_labelled)
AB = Shape(
    name="answers A and B with a preference",
    fits=lambda records: all({"history", "human_ref_A", "human_ref_B", "labels"} <= each.keys() for each in records),
    rows=_compared,
)
NUMBERED = (_numbered(True), _numbered(False))
ALPACA = Shape(name="instructions with outputs", fits=_fits_alpaca, rows=_instructed)
