"""JSON files that are one object without a list of records: tables by columns, and records by key.

pandas writes `{"query": {"0": ..., "1": ...}}`, as the original MS MARCO has it, or lists in place of the inner objects. Others write
`{"21645374": {record}}` or `{"a question": ["a passage"]}`. What the names of fields are decides: well-known names, and keys that are
ids or texts. A key is kept, as `id` or, if it is a text, as `key_text`: whether that is a query is asked.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from hnmine.core.errors import InputError
from hnmine.core.text import shortened
from hnmine.data.columns import known_name, query_among
from hnmine.data.formats.documents import NAMES_OF_LISTS, items_in, members_in
from hnmine.data.formats.headers import DENSE, ID

__all__ = ["Turned", "records", "turned"]

Turned = Literal["", "columns", "keys"]

_MANY = 200  # values that decide
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def turned(head: bytes, *, whole: bool) -> Turned:
    """Return how the object that a file consists of holds a table, or "" if it holds none; `whole` if `head` is all of it."""
    text = head.decode("utf-8", "replace").lstrip()
    if not text.startswith("{"):
        return ""
    try:
        found, end = json.JSONDecoder().raw_decode(text)
        if not whole or text[end:].strip():  # other objects follow
            return ""
    except (ValueError, RecursionError):
        if whole:
            return ""
        found = _beginning(text, 1)
    if not found or (whole and len(found) < 2) or {key.casefold() for key in found} & NAMES_OF_LISTS:
        return ""
    values = list(found.values())[:_MANY]
    if all(isinstance(value, dict) for value in values):
        return _of_objects(list(found), values)
    by_key = len(found) > 2 and _are_keys(list(found))
    if all(isinstance(value, list) for value in values):
        lengths = {len(value) for value in values}
        if len(lengths) == 1 or not whole:
            query = query_among(list(found))
            if query is not None or (whole and lengths.pop() > len(found) and not all(re.fullmatch(ID, key) for key in found)):
                return "columns"
        return "keys" if by_key else ""
    return "keys" if by_key and all(isinstance(value, str) for value in values) else ""


def _of_objects(keys: Sequence[str], values: Sequence[dict[str, Any]]) -> Turned:
    inner = [key for value in values for key in list(value)[:_MANY]]
    ids = bool(inner) and all(re.fullmatch(ID, key) for key in inner)
    known, inner_known = any(map(known_name, keys)), sum(any(map(known_name, value)) for value in values) >= 0.8 * len(values)
    if ids and not inner_known and (known or (all(map(str.isdecimal, inner)) and not _are_keys(keys))):
        return "columns"
    return "keys" if not known and not ids and _are_keys(keys) and len({*inner}) <= 2 * max(map(len, values)) else ""


def _are_keys(keys: Sequence[str]) -> bool:
    """Return whether these are ids or texts, rather than names of fields."""
    return not any(map(known_name, keys)) and all(re.fullmatch(ID, key) or _is_text(key) for key in keys)


def _is_text(key: str) -> bool:
    return " " in key.strip() or DENSE.search(key) is not None


def _beginning(text: str, place: int) -> dict[str, Any]:
    """Return the members of an object that is cut off; the last may be incomplete."""
    found: dict[str, Any] = {}
    for key, begin in members_in(text, place):
        try:
            found[key] = json.JSONDecoder().raw_decode(text, begin)[0]
        except (ValueError, RecursionError):
            if text.startswith("{", begin):
                found[key] = _beginning(text, begin + 1)
            elif text.startswith("[", begin):
                found[key] = list(items_in(text, begin + 1))
    return found


def records(data: bytes, way: Turned, where: str) -> list[bytes]:
    """Return the records of an object, as JSON.

    Raises:
        InputError: the object is not valid JSON, a key occurs twice, or its columns do not have the same rows.
    """
    try:
        found = _members_of(data, where)
        return list(_by_columns(found, where) if way == "columns" else _by_keys(found, where))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: the file begins like a JSON object but is not valid: {error}; correct it") from error


def _members_of(raw: bytes | msgspec.Raw, where: str) -> dict[str, msgspec.Raw]:
    """Return the members of an object, none of which is lost."""
    found = _object(raw)
    key, count = Counter(key for key, _ in members_in(bytes(raw).decode().lstrip(), 1)).most_common(1)[0] if found else ("", 0)
    if count > 1:
        raise InputError(f"{where}: the key {shortened(key, 60)!r} occurs {count:,} times in one object; put its values together")
    return found


def _by_columns(found: dict[str, msgspec.Raw], where: str) -> Iterator[bytes]:
    columns: dict[str, dict[str, msgspec.Raw]] = {}
    for name, raw in found.items():
        if bytes(raw)[:1] == b"{":
            columns[name] = _members_of(raw, where)
        else:
            columns[name] = {str(number): each for number, each in enumerate(_list(raw))}
        first = next(iter(columns))
        if columns[name].keys() != columns[first].keys():
            odd = next(iter(columns[name].keys() ^ columns[first].keys()))
            raise InputError(
                f"{where}: the file is a table by columns, and its columns `{first}` and `{name}` do not have the same rows: only one "
                f"has the row {shortened(odd, 60)!r}; write an object a row"
            )
    keys = list(columns[next(iter(columns))])
    name = "" if _numbered(keys) else _free("id", columns)
    for key in keys:
        record: dict[str, Any] = {name: key} if name else {}
        record.update((column, values[key]) for column, values in columns.items())
        yield msgspec.json.encode(record)


def _by_keys(found: dict[str, msgspec.Raw], where: str) -> Iterator[bytes]:
    name, numbered = "key_text" if any(map(_is_text, found)) else "id", _numbered(list(found))
    for key, raw in found.items():
        first = bytes(raw)[:1]
        if first == b"{":
            record: dict[str, Any] = _members_of(raw, where)
            yield msgspec.json.encode(record if numbered else {_free(name, record): key, **record})
        else:
            yield msgspec.json.encode({name: key, "text" if first == b'"' and name == "id" else "value": raw})


def _numbered(keys: Sequence[str]) -> bool:
    """Return whether these are the numbers of rows, which say nothing."""
    return [*keys] == [str(number) for number in range(len(keys))]


def _free(name: str, taken: dict[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name
