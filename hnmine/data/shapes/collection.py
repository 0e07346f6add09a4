"""One object with `queries`, `corpus` and `relevant_docs`, as LlamaIndex and sentence-transformers' evaluators have it.

Each is an object by id. A query with relevant passages becomes a row, and the corpus is the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, joined, raw, value

__all__ = ["COLLECTION"]

_PARTS = ("queries", "corpus", "relevant_docs")


def _fits(records: Sequence[Record]) -> bool:
    return len(records) == 1 and all(isinstance(records[0].get(part), dict) for part in _PARTS)


def _text(passage: Any) -> str:
    """Return a passage: a text, or an object with `text` and perhaps `title`."""
    if isinstance(passage, dict):
        return joined(passage.get("title"), passage.get("text"))
    if not isinstance(passage, str):
        raise ShapeError
    return passage


def _rows(fields: Fields) -> list[Fields]:
    queries, corpus, relevant = (value(fields, part) for part in _PARTS)
    rows: list[Fields] = []
    for identity, found in relevant.items():
        ids = [each for each, grade in found.items() if grade > 0] if isinstance(found, dict) else list(found)
        if identity not in queries or not all(each in corpus for each in ids):
            raise ShapeError
        rows.append(
            {"query": raw(queries[identity]), "pos": raw([_text(corpus[each]) for each in ids]), "id": raw(identity)} if ids else {}
        )
    return rows


def _pool(fields: Fields) -> list[str]:
    return [text for passage in value(fields, "corpus").values() if (text := _text(passage)).strip()]


COLLECTION = Shape(
    name="queries, corpus and relevant passages", fits=_fits, rows=_rows, pool=_pool, left_out="query without a relevant passage"
)
