"""Records of published data sets that keep their texts in forms of their own.

HotpotQA and 2Wiki (`context` as titles with sentences, and `supporting_facts`), GermanDPR (`positive_ctxs` as an object of lists), BioASQ
(`body` and `snippets`), MFAQ (a list of questions with answers), Quora (two questions and `is_duplicate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.data.columns import Columns, is_positive, query_among, training_columns
from hnmine.data.shapes.judged import other_fields, passage_in, passages_in
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, joined, raw, text_in, value

__all__ = ["COLUMNAR", "DUPLICATES", "MULTIHOP", "QUESTIONS", "SNIPPETS"]


def _decoded(fields: Fields) -> dict[str, Any]:
    return {name: value(fields, name) for name in fields}


def _titled(item: Any) -> list[tuple[str, Any]] | None:
    """Return (title, what is under it) of [[title, ...], ...], or of {"title": [...], ...: [...]}; None if it is neither."""
    if isinstance(item, dict):
        titles, others = item.get("title"), [each for name, each in item.items() if name != "title"]
        if len(others) != 1 or not isinstance(titles, list) or not isinstance(others[0], list) or len(titles) != len(others[0]):
            return None
        item = list(zip(titles, others[0], strict=True))
    if not isinstance(item, list) or not item or not all(isinstance(each, list | tuple) and len(each) == 2 for each in item):
        return None
    return [(title, each) for title, each in item] if all(isinstance(title, str) for title, _ in item) else None


def _hops(record: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]], set[str]] | None:
    """Return the field of the query, the paragraphs (title and text), and the titles of those that support the answer."""
    query, facts = query_among(list(record)), _titled(record.get("supporting_facts"))
    parts = _titled(record.get("context"))
    if query is None or facts is None or parts is None:
        return None
    if not all(isinstance(each, list) and all(isinstance(one, str) for one in each) for _, each in parts):
        return None
    return query, [(title, "".join(each).strip()) for title, each in parts], {title for title, _ in facts}


def _supported(fields: Fields) -> list[Fields]:
    found = _hops(_decoded(fields))
    if found is None:
        raise ShapeError
    query, parts, supporting = found
    texts = [(title in supporting, joined(title, text)) for title, text in parts if text]
    pos, neg = ([text for side, text in texts if side is wanted] for wanted in (True, False))
    if not pos:
        return [{}]
    others = other_fields(fields, (query, "context", "supporting_facts", "pos", "neg"))
    return [{"query": fields[query], "pos": raw(pos), "neg": raw(neg)} | others]


def _lists(record: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the positives and negatives that are objects of lists, as passages."""
    columns = training_columns(list(record), Columns(), "")
    names = (*(columns.pos or ()), *(columns.neg or ())) if columns is not None and is_positive(columns.pos) else ()
    found = {name: passages_in(record[name]) for name in names if isinstance(record.get(name), dict) and text_in(record[name]) is None}
    return {name: [passage_in(each) for each in passages] for name, passages in found.items() if passages is not None}


def _columnar(fields: Fields) -> list[Fields]:
    return [fields | {name: raw(passages) for name, passages in _lists(_decoded(fields)).items()}]


def _listed(record: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]] | None:
    """Return the only field with a list of questions with answers, if there is no question beside it."""
    found = [
        name
        for name, each in record.items()
        if isinstance(each, list) and each and all(isinstance(one, dict) and {"question", "answer"} <= one.keys() for one in each)
    ]
    return (found[0], record[found[0]]) if len(found) == 1 and query_among([name for name in record if name not in found]) is None else None


def _asked(fields: Fields) -> list[Fields]:
    found = _listed(_decoded(fields))
    if found is None:
        raise ShapeError
    name, pairs = found
    others = {each: kept for each, kept in fields.items() if each not in (name, "query", "pos", "neg")}
    return [
        {"query": raw(pair["question"]), "pos": raw([pair["answer"]])}
        | others
        | {each: raw(kept) for each, kept in pair.items() if each not in ("question", "answer", "query", "pos", "neg")}
        for pair in pairs
    ]


def _snippets(fields: Fields) -> list[Fields]:
    snippets = passages_in(value(fields, "snippets") or [])
    if snippets is None or "body" not in fields:
        raise ShapeError
    others = {name: kept for name, kept in fields.items() if name not in ("body", "snippets", "query", "pos", "neg")}
    return [{"query": fields["body"], "pos": raw([passage_in(each) for each in snippets])} | others] if snippets else [{}]


def _fits_snippets(records: Sequence[Record]) -> bool:
    whole = all(isinstance(each.get("body"), str) and "type" in each and query_among(list(each)) is None for each in records)
    return whole and any(passages_in(each.get("snippets")) for each in records)


def _two(record: Mapping[str, Any]) -> list[str] | None:
    """Return the two questions of a pair."""
    found = record.get("questions")
    texts = found.get("text") if isinstance(found, dict) else found
    whole = isinstance(texts, list) and len(texts) == 2 and all(isinstance(each, str) for each in texts)
    return texts if whole and "is_duplicate" in record else None


def _duplicates(fields: Fields) -> list[Fields]:
    texts = _two(_decoded(fields))
    if texts is None:
        raise ShapeError
    others = {name: kept for name, kept in fields.items() if name not in ("questions", "query", "passage")}
    return [{"query": raw(texts[0]), "passage": raw(texts[1])} | others]


MULTIHOP = Shape(
    name="paragraphs with supporting facts",
    fits=lambda records: all(_hops(each) is not None for each in records),
    rows=_supported,
    left_out="question without a supporting paragraph",
)
COLUMNAR = Shape(name="passages as lists of titles and texts", fits=lambda records: any(map(_lists, records)), rows=_columnar)
QUESTIONS = Shape(
    name="lists of questions with answers", fits=lambda records: all(_listed(each) is not None for each in records), rows=_asked
)
SNIPPETS = Shape(name="questions with snippets", fits=_fits_snippets, rows=_snippets, left_out="question without a snippet")
DUPLICATES = Shape(name="pairs of questions", fits=lambda records: all(_two(each) is not None for each in records), rows=_duplicates)
