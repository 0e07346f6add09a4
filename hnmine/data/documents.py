"""JSON files that are one document: an array, or an object with a list of records inside.

The beginning tells a document from JSON lines: a line that is a record by itself is followed by another one. An object is a record
if one of its fields has a well-known name, such as `query` or `positive_passages`, and its list is not named like `data` or `rows`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from hnmine.core.errors import InputError
from hnmine.data.columns import known_name

__all__ = ["beginning", "list_in_line", "records"]

_FIRST = 200  # records
# Of objects, texts or lists; lists nested deeper are no records.
_ARRAY = re.compile(r'\[\s*([{"]|\[\s*[^\s\[]|\Z)')
# A list of objects or lists.
_LIST = re.compile(rb"\s*\[\s*[\[{]")
# Names of a list of records, and known names that are also those of a whole data set.
_LISTS = frozenset(("data", "rows", "examples", "records", "items", "samples", "train", "test", "dev", "validation"))
# Lists beside that of the records: NeMo's paths of passages, the types of the columns in files of the Hugging Face viewer.
_BESIDE = frozenset(("corpus", "features"))
_TITLES = frozenset(("id", "_id", "title", "prompt"))
# An object with these maps is read elsewhere, as rows and pool.
_MAPS = frozenset(("queries", "corpus", "relevant_docs"))


def list_in_line(line: bytes) -> list[msgspec.Raw] | None:
    """Return the values of a JSON list on one line, or None."""
    if not line.lstrip().startswith(b"["):
        return None
    try:
        return msgspec.json.decode(line, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def beginning(head: bytes, *, whole: bool, where: str) -> tuple[str, list[Any]] | None:
    """Return the name of the list ("" for an array) and the first records of a document, or None if the file is no document.

    Args:
        head: the beginning of the file; `whole` if it is all of it.
        where: the file, for messages.

    Raises:
        InputError: several lists could hold the records.
    """
    text = head.decode("utf-8", "replace").lstrip()
    first, _, rest = text.partition("\n")
    if _ARRAY.match(text):
        return "", list(_items(text, 1))
    if not text.startswith("{") or (rest.strip() and _is_json(first)):
        return None
    members: dict[str, int] = {}
    lists: list[str] = []
    for key, place in _members(text):
        members[key] = place
        if _LIST.match(text[place : place + 1_000].encode()):
            lists.append(key)
        elif key in _MAPS and text.startswith("{", place):
            return "", []
    if name := _chosen(list(members), lists, where):
        return name, list(_items(text, members[name] + 1))
    if rest.strip() and members and whole and _is_json(text):  # one record over several lines
        return "", [json.loads(text)]
    return None


def records(data: bytes, where: str) -> tuple[list[msgspec.Raw], list[int], bool]:
    """Return the records of a document, their places, and whether the places are numbers of elements; else they are lines.

    Raises:
        InputError: the document is not valid JSON, or several lists could hold the records.
    """
    begin, kind = 0, "array"
    try:
        if data.lstrip()[:1] == b"[":
            items = msgspec.json.decode(data, type=list[msgspec.Raw])
        else:
            kind = "object"
            members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            name = _chosen(list(members), [key for key, raw in members.items() if _LIST.match(bytes(raw))], where)
            if name:
                begin = data.index(bytes(members[name]))
                items = msgspec.json.decode(members[name], type=list[msgspec.Raw])
            else:
                items = [msgspec.Raw(data.strip())]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "correct it, or write one object per line"
        raise InputError(f"{where}: the file begins like a JSON {kind} but is not valid: {error}; {remedy}") from error
    lines, line, place = [], 1 + data.count(b"\n", 0, begin), begin
    for item in items:
        found = data.index(item, place)
        line += data.count(b"\n", place, found)
        lines.append(line)
        line += data.count(b"\n", found, found + len(item))
        place = found + len(item)
    if any(one == other for one, other in pairwise(lines)):
        return items, list(range(1, len(items) + 1)), True
    return items, lines, False


def _chosen(names: Sequence[str], lists: Sequence[str], where: str) -> str:
    """Return the name of the list that holds the records, or "" if the object is a record."""
    plain = [name.casefold() for name in names]
    is_record = any(name not in _TITLES and (known_name(name) or name.endswith("messages")) for name in plain)
    if not lists or (is_record and not any(name.casefold() in _LISTS for name in lists)):
        return ""
    lists = [name for name in lists if name not in _BESIDE] or lists
    if len(lists) > 1:
        shown = ", ".join(f"`{name}`" for name in lists[:6])
        remedy = f"write the records of one of them to a file of its own (jq -c '.{lists[0]}[]' IN > OUT)"
        raise InputError(f"{where}: the file is a JSON object with {len(lists):,} lists of records: {shown}; {remedy}")
    return lists[0]


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _items(text: str, place: int) -> Iterator[Any]:
    """Yield the first values of an array in `text`; the last may be cut off."""
    scan = json.JSONDecoder().raw_decode
    try:
        for _ in range(_FIRST):
            value, place = scan(text, _skip(text, place))
            yield value
    except (ValueError, RecursionError):
        return


def _members(text: str) -> Iterator[tuple[str, int]]:
    """Yield the name of each member of an object and the place of its value; the last value may be cut off or wrong."""
    scan = json.JSONDecoder().raw_decode
    place = _skip(text, 1)
    while text.startswith('"', place):
        try:
            key, place = scan(text, place)
            place = _skip(text, place)
            yield key, place
            _, place = scan(text, place)
        except (ValueError, RecursionError):
            return
        place = _skip(text, place)


_GAP = re.compile(r"[\s,:]*")


def _skip(text: str, place: int) -> int:
    gap = _GAP.match(text, place)
    return gap.end() if gap else place
