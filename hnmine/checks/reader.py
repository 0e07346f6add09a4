"""Reads a training file for the check: rows of `query`, `pos` and `neg`, or of ms-swift's `messages`.

A passage of ms-swift is the text of its messages without the system's, and the images, videos and audios that belong to it: two pictures
are different passages. How ms-swift reads a row: docs/internals.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec

from hnmine.data.columns import Columns
from hnmine.data.formats.jsonl import Reader
from hnmine.data.problems import REPAIRS, Problem
from hnmine.data.rows import Row, training_rows

__all__ = ["READABLE", "RawReader", "top"]

Fields = dict[str, msgspec.Raw]

# Problems that the reader repairs, so that the row is checked.
READABLE = frozenset(REPAIRS) - {"duplicate-row"}
_ROLES = frozenset(
    ("system", "user", "human", "assistant", "gpt", "bot", "tool", "tool_call", "tool_response", "function_call", "function_response",
     "observation", "observations")
)  # fmt: skip
_MEDIA = ("images", "videos", "audios")
_ONE = 'write [{"role": "user", "content": TEXT}]'
_MANY = 'write [[{"role": "user", "content": TEXT}], ...], a list of messages for each passage'


def top(path: str) -> str:
    """Return the field of a JSON path such as `$.meta[0].year`."""
    return re.split(r"[.\[]", path[2:], maxsplit=1)[0]


class RawReader(Reader):
    """A reader that keeps the current line and its position in the file.

    Attributes:
        raw: the bytes of the line, without its end.
        start: the position of the line in bytes, without blank lines.
        messages: whether the rows have ms-swift's form, once open.
        lost: whether a bad line could not be read, so that a repair cannot copy it.
    """

    converts = False

    def __init__(self, path: str | os.PathLike[str], columns: Columns | None) -> None:
        super().__init__(path, READABLE, columns=columns)
        self.raw = b""
        self.start = 0
        self.messages = False
        self.lost = False
        self._end = 0
        self._taken = 0

    def open(self) -> None:
        super().open()
        named = {*self.source.names}
        self.messages = "messages" in named and not {"query", "pos"} <= named and not self.given.words() and self.source.format != "csv"

    def lines(self) -> Iterator[bytes]:
        for raw in super().lines():
            self.raw, self.start, self._taken = raw, self._end, self.line
            self._end += len(raw) + 1
            yield raw

    def admit(self, found: list[Problem]) -> bool:
        self.lost |= any(problem.line != self._taken for problem in found)
        return super().admit(found)

    def rows(self) -> Iterator[Row]:
        """Yield the usable rows one at a time, and close the file."""
        with closing(self):
            self.open()
            yield from self._rows_of_either_form()

    def _rows_of_either_form(self) -> Iterator[Row]:
        if not self.messages:
            yield from training_rows(self)
            return
        with self.net():
            for fields, _, found in self.objects(text=None):
                row = Row(self.line, "", [], [], fields)
                with self.net_of_line(found):
                    row = self._of_messages(fields, found)
                if not found or self.admit(found):
                    yield row

    def _of_messages(self, fields: Fields, found: list[Problem]) -> Row:
        """Read the texts of a row in ms-swift's form; append problems to `found`."""
        query = ""
        if "messages" in fields:
            before = len(found)
            query = self._joined(self._value(fields, "messages", found), "$.messages", found) + _media(self._attached(fields, "", found))
            if len(found) == before and not query.strip():
                found.append(self.problem("$.messages", "empty-text", "the text is empty", "fill it in, or remove the row"))
        else:
            found.append(self.missing("messages", fields))
        before = len(found)
        pos, neg = self._passages(fields, "positive", found), self._passages(fields, "negative", found)
        if "positive_messages" not in fields:
            found.append(self.missing("positive_messages", fields))
        elif not pos and all(problem.kind in REPAIRS for problem in found[before:]):
            message = "`positive_messages` has no passage"
            found.append(self.problem("$.positive_messages", "no-positive", message, "add a positive, or remove the row"))
        try:
            float(self._value(fields, "label", found) or 0)
        except (TypeError, ValueError):
            found.append(self.problem("$.label", "wrong-type", "expected a number", "write a number, or remove the field"))
        return Row(self.line, query, pos, neg, fields)

    def _value(self, fields: Fields, name: str, found: list[Problem]) -> Any:
        try:
            return msgspec.json.decode(fields[name]) if name in fields else None
        except (msgspec.DecodeError, RecursionError) as error:
            found.append(self.problem(f"$.{name}", "not-json", f"not valid: {error}", "correct the line"))
            return None

    def _attached(self, fields: Fields, prefix: str, found: list[Problem]) -> list[Any]:
        return [self._value(fields, f"{prefix}{kind}", found) for kind in _MEDIA]

    def _passages(self, fields: Fields, side: str, found: list[Problem]) -> list[str]:
        path, before = f"$.{side}_messages", len(found)
        value = self._value(fields, path[2:], found)
        if len(found) > before or value is None:
            return []
        if not isinstance(value, list):
            found.append(self.problem(path, "wrong-type", f"expected a list of lists of messages, found {_word(value)}", _MANY))
            return []
        attached = self._attached(fields, f"{side}_", found)
        texts: list[str] = []
        for place, item in enumerate(value):
            here, errors = f"{path}[{place}]", len(found)
            own = [each[place] if isinstance(each, list) and place < len(each) else None for each in attached]
            text = self._joined(item, here, found, _MANY) + _media(own)
            if text.strip():
                texts.append(text)
            elif len(found) == errors:
                found.append(self.problem(here, "blank-passage", "the passage is blank", REPAIRS["blank-passage"]))
        return texts

    def _joined(self, value: Any, path: str, found: list[Problem], remedy: str = _ONE) -> str:
        """Return the text of a list of messages, without the system's."""
        if not isinstance(value, list) or not value:
            found.append(self.problem(path, "wrong-type", f"expected a list of messages, found {_word(value)}", remedy))
            return ""
        texts: list[str] = []
        for place, message in enumerate(value):
            role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
            if not isinstance(message, dict):
                wrong = f"expected a message, found {_word(message)}"
            elif not isinstance(role, str) or (path == "$.messages" and role not in _ROLES):
                wrong = f"expected a role, such as user, found {role!r}" if "role" in message else "the message has no `role`"
            elif content is None:
                wrong = "the message has no `content`"
            else:
                if role != "system":
                    texts.append(content if isinstance(content, str) else _parts(content))
                continue
            found.append(self.problem(f"{path}[{place}]", "wrong-type", wrong, remedy))
        return "\n".join(texts)


def _parts(content: Any) -> str:
    """Return the text of a message whose content is a list of parts; what is not text is spelled as JSON."""
    parts = content if isinstance(content, list) else [content]
    return "".join(
        part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else json.dumps(part, sort_keys=True) for part in parts
    )


def _media(attached: Sequence[Any]) -> str:
    """Return what is attached to a text, as part of it; "" for nothing."""
    return " " + json.dumps(attached, sort_keys=True) if any(attached) else ""


def _word(value: Any) -> str:
    """Return the type of a JSON value in words."""
    if value == []:
        return "an empty list"
    words = {str: "a string", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")
