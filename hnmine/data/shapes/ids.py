"""Rows that name passages, and perhaps the query, by id; the texts are in other files, or in the same object (`queries`, `corpus`).

Values are ids if none of the first records has a text there: numbers, words with a digit and without a blank, objects with
an id and no text, or lists of these by source of negatives. A field named `..._id` needs no digit. Tables of ids without a
header are triples or, with few small numbers in the last column, judgements. The ids stand in `query`, `pos` and `neg` until
`data.joining` replaces them by texts; an id is never a passage. In the object of LlamaIndex and of sentence-transformers' evaluators
(`queries`, `corpus`, `relevant_docs`, each by id) a query with relevant passages becomes a row, and the corpus is the pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from hnmine.data.columns import is_label
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, joined, raw, value

__all__ = ["COLLECTION", "IDS", "IDS_ONLY", "ID_TABLE", "JUDGED_OBJECT", "JUDGED_TABLE", "ids_in", "looks_like_id"]


_QUERY = ("query", "question", "query_text", "anchor", "q")
_QUERY_ID = ("query_id", "qid", "question_id", "query-id", "queryid", "topic_id", "topic")
_KINDS = "(doc|document|passage|ctx|context|chunk|corpus|ans|answer|product|item|article|paragraph|para|candidate)"
_POSITIVE = re.compile(rf"(pos(itives?)?|relevant)([_-]?{_KINDS}s?)?([_-]?ids?)?|gold_docs?")
_PASSAGE = re.compile(rf"{_KINDS}[_-]?ids?|[pd]id|docno|cord_uid")
_NEGATIVE = re.compile(rf"(hard[_-]?)?neg(atives?)?([_-]?{_KINDS}s?)?([_-]?ids?)?|nid")
# A field with the texts of these passages; where it is complete, the ids beside it are not needed.
_PASSAGE_TEXT = re.compile(
    r"(pos(itives?)?|relevant|passage|document|doc|context|chunk|paragraph|sentence|text|content)s?([_-]?(doc|document|passage|ctx|context|chunk|text|content)s?)?"
)
_JUDGED = ("label", "score", "relevance", "rel", "relevancy", "grade", "judgement", "judgment", "rating")
_ID_KEYS = ("id", "_id", "docid", "doc_id", "document_id", "pid", "passage_id", "chunk_id", "corpus_id", "psg_id")
_ID = re.compile(r"(?=.*[0-9])[A-Za-z0-9_.:#/\-]{1,80}|https?://\S{1,300}")
_TEXT_KEYS = ("text", "contents", "content", "passage", "document", "body", "title")


def looks_like_id(text: str) -> bool:
    """Return whether a text is one word of ASCII letters and at least one digit, not longer than an id is."""
    return _ID.fullmatch(text) is not None


def _is_text(query: str) -> bool:
    """Return whether a query is several words, or in a script without blanks."""
    return re.search(r"\s|[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]", query.strip()) is not None


def _has_texts(item: Any) -> bool:
    """Return whether a value is a text, or a list of texts."""
    items = item if isinstance(item, list) else [item]
    return bool(items) and all(isinstance(each, str) and _is_text(each) for each in items)


def ids_in(item: Any) -> list[str] | None:
    """Return the ids in a value, or None if it holds anything else: texts with blanks, objects with texts, null."""
    if isinstance(item, bool) or item is None or isinstance(item, float):
        return None
    if isinstance(item, int):
        return [str(item)]
    if isinstance(item, str):
        return None if not item or any(map(str.isspace, item)) or len(item) > 80 else [item]
    if isinstance(item, dict):
        key = next((key for key in _ID_KEYS if key in item), None)
        if key is not None:
            return None if any(isinstance(item.get(text), str) for text in _TEXT_KEYS) else ids_in(item[key])
        item = list(item.values())  # by source of negatives
        if not all(isinstance(each, list) for each in item):
            return None
        item = [each for part in item for each in part]
    found: list[str] = []
    for each in item:
        if (inside := ids_in(each)) is None:
            return None
        found += inside
    return list(dict.fromkeys(found))


def _name(names: Iterable[str], wanted: re.Pattern[str]) -> str | None:
    return next((name for name in names if wanted.fullmatch(name.casefold())), None)


def _parts(names: Sequence[str]) -> tuple[str | None, str | None, str | None, str | None]:
    """Return the fields of query, query id, positives and negatives."""
    plain = {name.casefold(): name for name in names}
    query = next((plain[each] for each in _QUERY if each in plain), None)
    query_id = next((plain[each] for each in _QUERY_ID if each in plain), None)
    return (
        query,
        query_id,
        _name(names, _POSITIVE) or _name(names, _PASSAGE),
        _name([name for name in names if name not in (query, query_id)], _NEGATIVE),
    )


def _has_ids(records: Sequence[Record], with_query: bool) -> bool:
    names = list(dict.fromkeys(name for record in records for name in record))
    query, query_id, pos, neg = _parts(names)
    if pos is None or (query is None) == with_query or (query is None and query_id is None):
        return False
    if any(_PASSAGE_TEXT.fullmatch(name.casefold()) and all(_has_texts(record.get(name)) for record in records) for name in names):
        return False
    if not _POSITIVE.fullmatch(pos.casefold()) and any(
        name not in (query, pos) and all(_has_texts(record.get(name)) for record in records) for name in names
    ):  # an id beside the passage itself
        return False
    queries = [str(record.get(query)) for record in records] if query is not None else []
    if 2 * sum(map(_is_text, queries)) < len(queries):  # one word is a text here
        return False
    for name in (pos, *([neg] if neg else [])):
        items = [record[name] for record in records if record.get(name) not in (None, [], "")]
        found = [ids_in(item) for item in items]
        if any(each is None for each in found) or (name == pos and not items):
            return False
        ids = [each for part in found for each in part or ()]
        numbers = all(not isinstance(item, str) and not _strings(item) for item in items)
        sure = numbers or re.search(r"[_-]?(ids?|[pd]id)$", name.casefold()) is not None
        if name == pos and not sure and (sum(map(looks_like_id, ids)) < 0.9 * len(ids) or (with_query and len({*ids}) < 2)):
            return False
    return True


def _strings(item: Any) -> bool:
    if isinstance(item, dict):
        return not any(key in item for key in _ID_KEYS) and any(map(_strings, item.values()))
    return any(map(_strings, item)) if isinstance(item, list) else isinstance(item, str)


def _rows(fields: Fields) -> list[Fields]:
    query, query_id, pos, neg = _parts(list(fields))
    if pos is None or (query is None and query_id is None):
        raise ShapeError
    row: Fields = {}
    if query is not None:
        row["query"] = fields[query]
    else:
        asked = ids_in(value(fields, str(query_id)))
        if not asked:
            raise ShapeError
        row["query"] = raw(asked[0])
    for part, name in (("pos", pos), ("neg", neg)):
        if name is not None:
            found = ids_in(value(fields, name) or [])
            if found is None:
                raise ShapeError
            row[part] = raw(found)
    others = [name for name in fields if name not in (query, query_id, pos, neg)]
    if (judged := next((name for name in others if name.casefold() in _JUDGED or is_label(name)), None)) is not None:
        row["label"] = fields[judged]
        fields = {name: kept for name, kept in fields.items() if name != judged}
    return [row | {name: kept for name, kept in fields.items() if name not in (query, pos, neg, "query", "pos", "neg")}]


def _cells(record: Record) -> list[str] | None:
    """Return the cells of a record without names, if all are ids."""
    if any(name != f"column_{place}" for place, name in enumerate(record, 1)):
        return None
    cells = [each for cell in record.values() for each in (ids_in(cell) or [""])]
    return (
        cells
        if len(cells) == len(record) and all(map(looks_like_id, cells[:2])) and all(cell.isascii() for cell in cells if cell) and all(cells)
        else None
    )


def _fits_table(records: Sequence[Record]) -> bool:
    cells = [_cells(record) for record in records]
    return len(records[0]) in (2, 3, 4) and all(each is not None for each in cells)


def _is_judged(records: Sequence[Record]) -> bool:
    """Return whether the last column of a table of ids is a grade: a small number, few of them."""
    last = [ids_in(list(record.values())[-1]) for record in records]
    values = {each[0] for each in last if each}
    return values <= {"-2", "-1", "0", "1", "2", "3", "4", "5"} and len(values) * 2 <= max(len(records), 4)


def _table_rows(judged: bool) -> Callable[[Fields], list[Fields]]:
    def rows(fields: Fields) -> list[Fields]:
        cells = _cells({name: msgspec.json.decode(item) for name, item in fields.items()})
        if cells is None:
            raise ShapeError
        if judged:  # query, passage, grade; in a TREC file with an iteration between the first two
            return [{"query": raw(cells[0]), "pos": raw([cells[-2]]), "label": raw(cells[-1])}]
        return [{"query": raw(cells[0]), "pos": raw([cells[1]]), **({"neg": raw(cells[2:])} if len(cells) > 2 else {})}]

    return rows


def _fits_object(records: Sequence[Record]) -> bool:
    """Return whether the only record is an object of queries, each with an object of passages and their grades, as pytrec_eval has it."""
    judged = list(records[0].values())
    return (
        len(records) == 1
        and len(judged) > 1
        and all(isinstance(each, dict) and each and all(isinstance(grade, int) for grade in each.values()) for each in judged)
        and all(map(looks_like_id, records[0]))
    )


def _object_rows(fields: Fields) -> list[Fields]:
    judged = [(query, value(fields, query)) for query in fields]
    if not all(isinstance(each, dict) for _, each in judged):
        raise ShapeError
    return [{"query": raw(query), "pos": raw([each]), "label": raw(grade)} for query, found in judged for each, grade in found.items()]


JUDGED_OBJECT = Shape(
    name="judgements of queries and passages by id", fits=_fits_object, rows=_object_rows, joins=True, query_ids=True, passage_ids=True
)
JUDGED_TABLE = Shape(
    name="judgements of queries and passages by id",
    fits=lambda records: _fits_table(records) and len(records[0]) > 2 and _is_judged(records),
    rows=_table_rows(True),
    joins=True,
    query_ids=True,
    passage_ids=True,
)
ID_TABLE = Shape(name="queries and passages by id", fits=_fits_table, rows=_table_rows(False), joins=True, query_ids=True, passage_ids=True)
IDS = Shape(name="passages by id", fits=lambda records: _has_ids(records, True), rows=_rows, passage_ids=True)
IDS_ONLY = Shape(
    name="queries and passages by id",
    fits=lambda records: _has_ids(records, False),
    rows=_rows,
    joins=True,
    query_ids=True,
    passage_ids=True,
)


_COLLECTED = ("queries", "corpus", "relevant_docs")


def _fits_collection(records: Sequence[Record]) -> bool:
    return len(records) == 1 and all(isinstance(records[0].get(part), dict) for part in _COLLECTED)


def _collected_text(passage: Any) -> str:
    """Return a passage: a text, or an object with `text` and perhaps `title`."""
    if isinstance(passage, dict):
        return joined(passage.get("title"), passage.get("text"))
    if not isinstance(passage, str):
        raise ShapeError
    return passage


def _collected_rows(fields: Fields) -> list[Fields]:
    queries, corpus, relevant = (value(fields, part) for part in _COLLECTED)
    rows: list[Fields] = []
    for identity, found in relevant.items():
        ids = [each for each, grade in found.items() if grade > 0] if isinstance(found, dict) else list(found)
        if identity not in queries or not all(each in corpus for each in ids):
            raise ShapeError
        rows.append(
            {"query": raw(queries[identity]), "pos": raw([_collected_text(corpus[each]) for each in ids]), "id": raw(identity)}
            if ids
            else {}
        )
    return rows


def _collected_pool(fields: Fields) -> list[str]:
    return [text for passage in value(fields, "corpus").values() if (text := _collected_text(passage)).strip()]


COLLECTION = Shape(
    name="queries, corpus and relevant passages",
    fits=_fits_collection,
    rows=_collected_rows,
    pool=_collected_pool,
    left_out="query without a relevant passage",
)
