"""A query with judged passages: objects with a flag or grade each, as MS MARCO, DPR's retriever and DuReader have them, or two lists.

They become pairs of `query` and `passage` with the flag under its own name, so labels are known or asked about as in a table of pairs.
Of several flags a judgement (`is_selected`, `label`) goes before a score of a retriever. Passages may be ids of texts in a pool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.data.columns import is_id, is_label, is_passage, is_positive, query_among
from hnmine.data.labels import is_known
from hnmine.data.shapes.ids import ids_in, looks_like_id
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, inside_of, raw, text_in, value

__all__ = ["JUDGED", "JUDGED_IDS", "has_texts", "judged", "other_fields", "passage_in", "passages_in"]

# A score of a machine, and names that are read as those of the pair's label.
_SCORE = re.compile(r"scor|similar|rank|distan|prob|logit|confiden|bm25", re.IGNORECASE)
_NEGATIVE = re.compile(r"neg|wrong|reject|incorrect|distract", re.IGNORECASE)
_ID_NAME = re.compile(r"[_-]?ids?$", re.IGNORECASE)
_TEXTS = frozenset(("title", "text", "url", "source"))


def passages_in(item: Any) -> list[Any] | None:
    """Return the texts and objects in a list of passages, or in an object of lists of the same length; None if it is neither."""
    if isinstance(item, dict):
        lists = {name: each for name, each in item.items() if isinstance(each, list)}
        if len({len(each) for each in lists.values()}) != 1:
            return None
        item = [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]
    if not isinstance(item, list) or not all(
        isinstance(each, str) or (isinstance(each, dict) and _text(each) is not None) for each in item
    ):
        return None
    return item


def _text(passage: Mapping[str, Any]) -> str | None:
    text, paragraphs = text_in(passage), passage.get("paragraphs")
    if text is None and isinstance(paragraphs, list) and paragraphs and all(isinstance(each, str) for each in paragraphs):
        best = passage.get("most_related_para")
        return paragraphs[best] if isinstance(best, int) and 0 <= best < len(paragraphs) else " ".join(paragraphs)
    return text


def passage_in(item: Any) -> Any:
    """Return a passage as a text, or as an object with title and text."""
    if isinstance(item, str):
        return item
    title, text = item.get("title"), _text(item)
    return {"title": title, "text": text} if isinstance(title, str) and title.strip() else text


def other_fields(fields: Fields, taken: Sequence[str | None]) -> Fields:
    """Return the other fields of a record; one that would be taken for the label of a pair gets a longer name."""
    return {
        f"{name}_" if is_label(name) or name in ("query", "passage") else name: kept for name, kept in fields.items() if name not in taken
    }


def _is_flag(each: Any) -> bool:
    return each is None or isinstance(each, bool | int | float) or (isinstance(each, str) and len(each) <= 24)


def _names_them(values: Sequence[Any]) -> bool:
    """Return whether values name the items of a list (A, B, C, or "1", "2", "3") and say nothing about them."""
    texts = [each.upper() for each in values if isinstance(each, str)]
    return len(texts) == len(values) > 1 and texts in ([chr(65 + n) for n in range(len(texts))], [str(n + 1) for n in range(len(texts))])


def _flag_name(flags: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the list that judges, of several by name: a label, values of 0 and 1, then scores."""
    found = {
        name: values
        for name, values in flags.items()
        if all(map(_is_flag, values))
        and any(each is not None for each in values)
        and not _names_them(values)
        and not is_id(name)
        and name.casefold() not in _TEXTS
    }
    sure = [name for name in found if is_label(name) and not _SCORE.search(name)]
    binary = [name for name, values in found.items() if {each for each in values if each is not None} <= {0, 1}]
    scores = [name for name in found if _SCORE.search(name)]
    return next(iter((*sure, *binary, *scores)), None)


def _named(name: str) -> bool:
    """Return whether a field is called positives or negatives, so that scores in it are no judgements."""
    return is_positive([name]) or _NEGATIVE.search(name) is not None


def _judgements(record: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str, list[Any], list[Any]] | None:
    """Return the field of the passages and the one of the flags (of each passage, or beside them), the passages and the flags."""
    names = sorted(names, key=is_passage, reverse=True)
    listed = {name: found for name in names if not _named(name) and (found := passages_in(record.get(name)))}
    for name, found in listed.items():
        if all(isinstance(each, dict) for each in found):
            keys = dict.fromkeys(key for each in found for key in each)
            if (flag := _flag_name({key: [each.get(key) for each in found] for key in keys})) is not None:
                return name, flag, found, [each.get(flag) for each in found]
    for name, found in listed.items():
        beside = {key: each for key, each in record.items() if key != name and isinstance(each, list) and len(each) == len(found)}
        if (flag := _flag_name(beside)) is not None and (is_label(flag) or is_passage(name)):
            return name, flag, found, record[flag]
    return None


def _unjudged(record: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str, list[Any], list[Any]] | None:
    """Return the same of a record without flags, whose passages are then reported one by one."""
    listed = [(name, found) for name in names if not _named(name) and (found := passages_in(record.get(name))) is not None]
    place = next((each for each in listed if is_passage(each[0])), listed[0] if listed else None)
    return None if place is None else (place[0], "", place[1], [None] * len(place[1]))


def _with_ids(record: Mapping[str, Any]) -> Record:
    """Return a record with its passages by id as objects whose text is the id."""
    named: Record = {}
    for name, items in record.items():
        if not isinstance(items, list) or not items:
            continue
        found = [ids_in(each) if isinstance(each, dict) or _ID_NAME.search(name) else None for each in items]
        if all(each is not None and len(each) == 1 for each in found):
            ids = [each[0] for each in found if each]
            named[name] = [{**(each if isinstance(each, dict) else {}), "text": one} for each, one in zip(items, ids, strict=True)]
    return dict(record) | named


def has_texts(item: Any) -> bool:
    """Return whether a value is a text, or a list of texts or passages."""
    return passages_in([item] if isinstance(item, str) else item) is not None


def judged(query: str | None = None, passages: Sequence[str] | None = None, *, ids: bool = False) -> Shape:
    """Return the shape, for the fields that the user names or for well-known ones; with `ids` for passages by id."""

    def opened(record: Mapping[str, Any]) -> Mapping[str, Any]:
        return _with_ids(record) if ids else record

    def names(record: Mapping[str, Any]) -> tuple[str | None, Sequence[str]]:
        asked = query or query_among(list(record))
        return asked, passages or [name for name in record if name != asked]

    def fits(records: Sequence[Record]) -> bool:
        graded: list[tuple[Any, bool]] = []  # of the records with judgements: the passages, and whether the flag is a label
        for record in map(opened, records):
            asked, places = names(record)
            found = _judgements(record, places)
            if found is None:  # reported when it is read
                continue
            # Where another field holds the passages, these are answers or the like.
            others = [name for name in record if name not in (asked, found[0]) and not (name == found[1] and all(map(is_known, found[3])))]
            if text_in(record.get(asked or "")) is None or (not passages and any(is_passage(n) and has_texts(record[n]) for n in others)):
                return False
            graded.append((found[2], is_label(found[1])))
        texts = [_text(each) or "" if isinstance(each, dict) else each for found, _ in graded for each in found]
        by_id = sum(map(looks_like_id, texts)) >= 0.9 * len(texts) and len({*texts}) > 1
        return bool(texts) and by_id == ids and (not ids or all(label for _, label in graded)) and len(passages or "1") == 1

    def rows(fields: Fields) -> list[Fields]:
        record = opened({name: value(fields, name) for name in fields})
        asked, places = names(record)
        text = text_in(record.get(asked or ""))
        if asked is None or text is None:
            raise ShapeError
        found = _judgements(record, places) or _unjudged(record, places)
        if found is None:
            raise ShapeError
        if not found[2]:
            return [{}]
        place, flag, texts, flags = found
        kept = inside_of(asked, record[asked]) | other_fields(fields, (asked, place, flag))
        if ids:
            named = [(_text(each) if isinstance(each, dict) else each, grade) for each, grade in zip(texts, flags, strict=True)]
            return [{"query": raw(text), "pos": raw([one]), "label": raw(grade)} | kept for one, grade in named]
        name, passage = query or "query", passages[0] if passages else "passage"
        graded = [{flag: raw(int(grade) if isinstance(grade, bool) else grade)} if flag else {} for grade in flags]
        return [{name: raw(text), passage: raw(passage_in(each))} | grade | kept for each, grade in zip(texts, graded, strict=True)]

    name = "judged passages by id" if ids else "judged passages"
    return Shape(name=name, fits=fits, rows=rows, left_out="query without a passage", passage_ids=ids)


JUDGED = judged()
JUDGED_IDS = judged(ids=True)
