"""A query with candidates, and which of them is right: a place (`label: 2`), a letter, or its text.

Places count from 0 if one of the first records has 0, and from 1 if one has the number of its candidates; else the user is asked.
Candidates are a list, an object of lists (ARC: `choices.text`, `choices.label`), or fields such as `option_a`, `option_b`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.data.columns import is_passage, query_among
from hnmine.data.shapes.judged import has_texts, other_fields, passage_in, passages_in
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, inside_of, raw, text_in, value

__all__ = ["CHOICES"]

# Names of the right one, the surest first, and of the candidates.
_RIGHT = (
    re.compile(r"(\w+_)?(idx|index|indices)", re.IGNORECASE),
    re.compile(r"answer_?key|(correct|right)(_?(answer|option|choice))?|(answer|correct|label|gold)_?(id|position|num)", re.IGNORECASE),
    re.compile(r"answer|gold|target|solution", re.IGNORECASE),
    re.compile(r"labels?", re.IGNORECASE),
)
_LISTED = ("candidates", "choices", "options", "endings", "passages", "documents", "docs", "ctxs", "contexts", "responses", "answers")
_FIELD = re.compile(r"((?:option|opt|choice|candidate|answer|passage|ending)s?[_ -]?|)([a-h]|\d)", re.IGNORECASE)
_KEYS = ("label", "key", "letter", "id")


def _asked(record: Mapping[str, Any]) -> str | None:
    """Return the field of the query; that of HellaSwag and SWAG is `ctx`, the beginning of a text."""
    return query_among(list(record)) or ("ctx" if {"ctx", "endings"} <= record.keys() else None)


def _candidates(record: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Any], list[str]] | None:
    """Return the fields of the candidates, the candidates, and what each is called (letters or numbers), if it is."""
    for name in sorted((name for name in record if name in _LISTED), key=_LISTED.index):
        if (found := passages_in(record[name])) and len(found) > 1:
            keys = next((key for key in _KEYS if all(isinstance(each, dict) and isinstance(each.get(key), str) for each in found)), None)
            called = [each[keys] for each in found] if keys else []
            return (name,), found, called if len({*called}) == len(found) else []
    matches = {name: match for name in record if (match := _FIELD.fullmatch(name)) and isinstance(record[name], str)}
    first = next(iter(matches.values()), None)
    chosen = [name for name, match in matches.items() if first and match[1] == first[1]]
    return (tuple(chosen), [record[name] for name in chosen], [matches[name][2] for name in chosen]) if len(chosen) > 1 else None


def _right(record: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Any], list[str], str] | None:
    found = _candidates(record)
    if found is None or _asked(record) is None:
        return None
    name = next((name for names in _RIGHT for name in record if name not in found[0] and names.fullmatch(name)), None)
    # Where another field holds the passages, these are answers or the like.
    other = any(is_passage(each) and each not in (*found[0], name) and has_texts(record[each]) for each in record)
    return None if name is None or other else (*found, name)


def _place(answer: Any, texts: Sequence[Any], called: Sequence[str]) -> int | tuple[int, ...] | None:
    """Return the place of the right candidate (certain), the number that was written (in a tuple), or None."""
    if isinstance(answer, str):
        answer = answer.strip()
        plain = [text_in(each) for each in texts]
        if plain.count(answer) == 1:
            return plain.index(answer)
        names = [each.casefold() for each in called] or [chr(ord("a") + place) for place in range(len(texts))]
        if answer.casefold() in names:
            return names.index(answer.casefold())
        if not re.fullmatch(r"\d+", answer):
            return None
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int):
        return None
    if called and str(answer) in called:
        return called.index(str(answer))
    return (answer,)


def _places(record: Mapping[str, Any]) -> list[int | tuple[int, ...]] | None:
    """Return the places of the right candidates of a record, as `_place`; none if it names none, and None for another shape."""
    found = _right(record)
    if found is None:
        return None
    _, texts, called, name = found
    answers = record[name] if isinstance(record[name], list) else [record[name]]
    places = [_place(each, texts, called) for each in answers if each not in (None, "", -1, "-1")]
    return None if None in places else [each for each in places if each is not None]


def _base(records: Sequence[Record]) -> int | None:
    """Return the first place that these records count from, -1 if it is unknown, or None if they have another shape."""
    numbers: list[tuple[int, int]] = []
    shaped = named = False
    for record in records:
        found = _right(record)
        if found is None:  # reported when it is read
            continue
        if (places := _places(record)) is None:
            return None
        shaped, named = shaped or bool(places), named or found[3].casefold() in ("label", "labels")
        numbers += [(each[0], len(found[1])) for each in places if isinstance(each, tuple)]
    if not shaped or any(not 0 <= number <= count for number, count in numbers):
        return None
    first, last = any(number == 0 for number, _ in numbers), any(number == count for number, count in numbers)
    if named and numbers and all(number < 2 for number, _ in numbers) and any(count > 2 for _, count in numbers):
        return -1  # perhaps labels of the whole row
    return None if first and last else 0 if first or not numbers else 1 if last else -1


def _shape(base: int) -> Shape:
    def label(place: int, right: set[int]) -> int | str:
        if base < 0 and place in right:
            return "counted-from-0"
        return "counted-from-1" if base < 0 and place + 1 in right else int(place in right)

    def rows(fields: Fields) -> list[Fields]:
        record = {name: value(fields, name) for name in fields}
        found, places, asked = _right(record), _places(record), _asked(record)
        if found is None or places is None or asked is None:
            raise ShapeError
        if not places:
            return [{}]
        names, texts, _, name = found
        right = {each[0] - max(base, 0) if isinstance(each, tuple) else each for each in places}
        if not all(0 <= each < len(texts) + (base < 0) for each in right):
            raise ShapeError
        kept = inside_of(asked, record[asked]) | other_fields(fields, (asked, name, *names))
        return [
            {"query": raw(text_in(record[asked])), "passage": raw(passage_in(text)), "label": raw(label(place, right))} | kept
            for place, text in enumerate(texts)
        ]

    return Shape(
        name="candidates and the place of the right one",
        fits=lambda records: _base(records) == base,
        rows=rows,
        left_out="query whose right candidate is not named",
    )


CHOICES = (_shape(0), _shape(1), _shape(-1))
