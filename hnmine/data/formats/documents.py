"""JSON files that are one document: an array, an object with a list of records inside, or objects over several lines each.

The beginning tells a document from JSON lines: a line that is a record by itself is followed by another one. An object is a record
if one of its fields has a well-known name, such as `query` or `positive_passages`, and its list is not named like `data` or `rows`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from hnmine.core.errors import InputError
from hnmine.data.columns import known_name

__all__ = ["NAMES_OF_LISTS", "almost", "beginning", "items_in", "list_in_line", "members_in", "records"]

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
NAMES_OF_LISTS = _LISTS | _BESIDE | _MAPS


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
        return "", list(items_in(text, 1))
    if not text.startswith("{") or (rest.strip() and _is_json(first)):
        return None
    if _follows(text):
        return "", [item for _, item in zip(range(_FIRST), _objects(text), strict=False)]
    members: dict[str, int] = {}
    lists: list[str] = []
    for key, place in members_in(text, 1):
        members[key] = place
        if _LIST.match(text[place : place + 1_000].encode()):
            lists.append(key)
        elif key in _MAPS and text.startswith("{", place):
            return "", []
    if name := _chosen(list(members), lists, where):
        return name, list(items_in(text, members[name] + 1))
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
            if _follows(text := data.decode()):
                return _one_after_another(text, where)
            members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            name = _chosen(list(members), [key for key, raw in members.items() if _LIST.match(bytes(raw))], where)
            if name:
                begin = data.index(bytes(members[name]))
                items = msgspec.json.decode(members[name], type=list[msgspec.Raw])
            else:
                items = [msgspec.Raw(data.strip())]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = almost(data) or "correct it, or write one object per line"
        raise InputError(f"{where}: the file begins like a JSON {kind} but is not valid: {error}; {remedy}") from error
    lines, line, place = [], 1 + data.count(b"\n", 0, begin), begin
    for item in items:
        found = data.index(item, place)
        line += data.count(b"\n", place, found)
        lines.append(line)
        line += data.count(b"\n", found, found + len(item))
        place = found + len(item)
    return items, *_places(lines)


def _places(lines: list[int]) -> tuple[list[int], bool]:
    if any(one == other for one, other in pairwise(lines)):
        return list(range(1, len(lines) + 1)), True
    return lines, False


def _follows(text: str) -> bool:
    """Return whether a text is an object, and another one follows on another line, perhaps after a comma."""
    try:
        item, end = json.JSONDecoder().raw_decode(text, _skip(text, 0))
    except (ValueError, RecursionError):
        return False
    following = _skip(text, end)
    return isinstance(item, dict) and text.startswith("{", following) and "\n" in text[:following]


def _objects(text: str) -> Iterator[Any]:
    """Yield the objects of a text, one after another; the last may be cut off."""
    scan, place = json.JSONDecoder().raw_decode, _skip(text, 0)
    try:
        while place < len(text):
            value, place = scan(text, place)
            yield value
            place = _skip(text, place)
    except (ValueError, RecursionError):
        return


def _one_after_another(text: str, where: str) -> tuple[list[msgspec.Raw], list[int], bool]:
    """Return `records` of objects over several lines each."""
    scan, place = json.JSONDecoder().raw_decode, _skip(text, 0)
    items, lines, line, counted = [], [], 1, 0
    while place < len(text):
        line += text.count("\n", counted, place)
        counted = place
        try:
            _, end = scan(text, place)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}:{line}: the object that begins here is not valid JSON ({error}); correct it") from error
        items.append(msgspec.Raw(text[place:end].encode()))
        lines.append(line)
        place = _skip(text, end)
    return items, *_places(lines)


def almost(data: bytes) -> str:
    """Return the remedy if a file would be JSON but for comments, commas before a closing bracket, or Python's notation; else ""."""
    text = data.decode("utf-8", "replace").strip()
    bare = _COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else "", text)
    tidy = _COMMA.sub(lambda found: found[1] or found[0], bare)
    for changed, before, what in ((bare, text, "comments"), (tidy, bare, "commas before a closing bracket")):
        if changed != before and any(map(_is_valid, (tidy.strip(), tidy.strip().partition("\n")[0]))):
            return f"it has {what}, which JSON does not allow; remove them"
    first = text.partition("\n")[0]
    if first[:1] in "{[":
        for source in (first, text):
            try:
                if len(source) < _PYTHON and isinstance(ast.literal_eval(source.rstrip(",")), dict | list) and not _is_valid(source):
                    return "it is written as Python prints it (single quotes, None, True); write it with json.dumps, an object a line"
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return ""


_PYTHON = 2**16  # characters of a document that are parsed as Python
# A string or comment that is not closed ends with the text: else each further quote would begin a search to its end.
_STRING = r'"(?:\\.|[^"\\])*+(?:"|\Z)'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)|(?<![^\n])[ \t\r]*#[^\n]*", re.DOTALL)
_COMMA = re.compile(rf"{_STRING}|,(\s*[\]}}])", re.DOTALL)


def _is_valid(text: str) -> bool:
    """Return whether a text begins with an object or list of JSON."""
    try:
        return text[:1] in ("{", "[") and bool(json.JSONDecoder().raw_decode(text))
    except (ValueError, RecursionError):
        return False


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


def items_in(text: str, place: int) -> Iterator[Any]:
    """Yield the first values of an array in `text`; the last may be cut off."""
    scan = json.JSONDecoder().raw_decode
    try:
        for _ in range(_FIRST):
            value, place = scan(text, _skip(text, place))
            yield value
    except (ValueError, RecursionError):
        return


def members_in(text: str, place: int) -> Iterator[tuple[str, int]]:
    """Yield the name of each member of an object and the place of its value; the last value may be cut off or wrong.

    `place` is that after the bracket which opens the object.
    """
    scan = json.JSONDecoder().raw_decode
    place = _skip(text, place)
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
