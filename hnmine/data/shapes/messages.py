"""Chat messages, as ms-swift trains on: `messages`, `positive_messages`, `negative_messages`, and perhaps a `label`.

The text of a side is that of the user's messages. The system message of the query is kept as `prompt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, message_text, raw, value

__all__ = ["MESSAGES"]


def _fits(records: Sequence[Record]) -> bool:
    return all(isinstance(each.get("messages"), list) and isinstance(each.get("positive_messages"), list) for each in records)


def _texts(chats: Any) -> list[str]:
    """Return the texts of a list of chats, or of one chat."""
    if chats is None:
        return []
    if not isinstance(chats, list):
        raise ShapeError
    if chats and all(isinstance(each, dict) for each in chats):
        chats = [chats]
    return [message_text(each) for each in chats]


def _rows(fields: Fields) -> list[Fields]:
    chat = value(fields, "messages")
    row: Fields = {"query": raw(message_text(chat)), "pos": raw(_texts(value(fields, "positive_messages")))}
    if "negative_messages" in fields:
        row["neg"] = raw(_texts(value(fields, "negative_messages")))
    system = [each["content"] for each in chat if each.get("role") == "system" and isinstance(each.get("content"), str)]
    if system and "prompt" not in fields:
        row["prompt"] = raw("\n".join(system))
    return [row | {name: kept for name, kept in fields.items() if name not in ("messages", "positive_messages", "negative_messages", *row)}]


MESSAGES = Shape(name="chat messages", fits=_fits, rows=_rows)
