"""Chat messages: `messages`, `positive_messages` and `negative_messages` as ms-swift trains on, and conversations with an assistant.

The text of a side in ms-swift is that of the user's messages; the system message of the query is kept as `prompt`. Of a
conversation (OpenAI's `role` and `content`, ShareGPT's `from` and `value`) the first question and its answer are a pair.
Later turns need those before: they are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hnmine.data.columns import is_passage, query_among
from hnmine.data.shapes.shape import Fields, Record, Shape, ShapeError, message_text, raw, value

__all__ = ["CONVERSATION", "MESSAGES", "turns_in"]

_ROLES = {"user": "user", "human": "user", "prompter": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
          "bot": "assistant", "model": "assistant", "system": "system"}  # fmt: skip


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


def turns_in(chat: Any) -> list[tuple[str, str]] | None:
    """Return (role, text) of each message: user, assistant, system or another; None if it is no list of messages."""
    if isinstance(chat, dict):
        chat = [chat]
    if not isinstance(chat, list) or not chat:
        return None
    turns = []
    for each in chat:
        if not isinstance(each, dict):
            return None
        role, text = each.get("role", each.get("from")), each.get("content", each.get("value"))
        if isinstance(text, list):  # OpenAI's parts
            text = "\n".join(str(part.get("text")) for part in text if isinstance(part, dict) and part.get("type") == "text")
        if not isinstance(role, str) or not isinstance(text, str):
            return None
        turns.append((_ROLES.get(role.casefold(), role), text))
    return turns


def _chat(record: Record) -> str | None:
    """Return the field with the conversation, if the record has one and no query or passages beside it."""
    found = [name for name, item in record.items() if isinstance(item, list) and turns_in(item) is not None]
    return found[0] if len(found) == 1 and query_among(list(record)) is None and not any(map(is_passage, record)) else None


def _first_answer(record: Record) -> tuple[str, str, str, int] | None:
    """Return the field, the first question with its answer, and the number of later questions."""
    if (name := _chat(record)) is None:
        return None
    turns = [each for each in turns_in(record[name]) or () if each[0] != "system"]
    if [role for role, _ in turns[:2]] != ["user", "assistant"]:
        return None
    return name, turns[0][1], turns[1][1], sum(role == "user" for role, _ in turns[2:])


def _answered(fields: Fields) -> list[Fields]:
    record = {name: value(fields, name) for name in fields}
    found = _first_answer(record)
    if found is None:
        if _chat(record) is None:
            raise ShapeError
        return [{}]
    name, query, answer, later = found
    row = {"query": raw(query), "pos": raw([answer])} | {each: kept for each, kept in fields.items() if each != name}
    system = [text for role, text in turns_in(record[name]) or () if role == "system"]
    return [row | ({"system": raw("\n".join(system))} if system and "system" not in row else {}), *({} for _ in range(later))]


MESSAGES = Shape(name="chat messages", fits=_fits, rows=_rows)
CONVERSATION = Shape(
    name="conversations",
    fits=lambda records: (
        all(_chat(each) is not None for each in records) and 2 * sum(_first_answer(each) is not None for each in records) > len(records)
    ),
    rows=_answered,
    left_out="turn of a conversation that is no first question with its answer",
    remedy="nothing to do, or write each as a query with its positive",
)
