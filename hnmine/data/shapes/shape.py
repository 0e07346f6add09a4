"""What a shape is, and how its module reads the undecoded values of a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Fields", "Record", "Shape", "ShapeError", "inside_of", "joined", "message_text", "raw", "text_in", "value"]

Fields = dict[str, msgspec.Raw]
Record = dict[str, Any]


class ShapeError(Exception):
    """A record does not have the shape of the others; it is read as it is, so that its problems are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A shape of training data.

    Attributes:
        name: for messages, such as "chat messages".
        fits: whether the decoded first records have it.
        rows: turns the fields of a record into those of its rows, with `query`, `pos`, `neg` (lists of str), `label`; raises ShapeError.
        pool: the passages of a record that holds its own pool.
        joins: whether the rows of a query belong together.
        left_out: what an empty row stands for, for the notice that counts them, and what to do about it (`remedy`).
        noted: a sentence about a record, for the notice that counts them, or "".
        refused: why no file of this shape can be read, and what to do, or "".
        asks: the user must name the columns, whatever their names.
        query_ids, passage_ids: whether queries, or positives and negatives, are ids of texts in other files.
    """

    name: str
    fits: Callable[[Sequence[Record]], bool]
    rows: Callable[[Fields], list[Fields]]
    pool: Callable[[Fields], list[str]] | None = None
    left_out: str = ""
    joins: bool = False
    remedy: str = "nothing to do: it has no positive"
    noted: Callable[[Fields], str] | None = None
    refused: str = ""
    asks: bool = False
    query_ids: bool = False
    passage_ids: bool = False


def raw(item: object) -> msgspec.Raw:
    """Return a value as JSON."""
    return msgspec.Raw(msgspec.json.encode(item))


def value(fields: Fields, name: str) -> Any:
    """Return a decoded field, or None."""
    return msgspec.json.decode(fields[name]) if name in fields else None


def joined(title: str | None, text: str | None) -> str:
    """Return title and text joined by a space, as in BEIR and Tevatron."""
    return f"{title or ''} {text or ''}".strip()


# Names of the text in an object, the surest first.
TEXT_KEYS = ("text", "full_text", "passage_text", "query_text", "passage", "contents", "content", "document", "doc", "body", "paragraph",
             "paragraph_text", "sentence", "chunk", "snippet", "query", "question", "answer", "response")  # fmt: skip


def text_in(item: Any) -> str | None:
    """Return a text, also that of an object such as {"text": ...}, or None."""
    if not isinstance(item, dict):
        return item if isinstance(item, str) else None
    for key in TEXT_KEYS:
        if isinstance(text := item.get(key), str):
            return text
    return None


def inside_of(name: str, item: Any) -> Fields:
    """Return what an object has beside its text, by dotted names."""
    return {f"{name}.{key}": raw(each) for key, each in item.items() if each != text_in(item)} if isinstance(item, dict) else {}


def message_text(messages: Any) -> str:
    """Return the text of the user's messages of a chat, or its only text.

    Raises:
        ShapeError: it is not a list of messages with texts.
    """
    if isinstance(messages, dict):
        messages = [messages]
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise ShapeError
    chosen = [each for each in messages if each.get("role") == "user"] or [each for each in messages if each.get("role") != "system"]
    texts = [each.get("content") for each in chosen]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ShapeError
    return "\n".join(texts)
