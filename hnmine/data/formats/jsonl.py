"""JSON lines for rows and pools, with every problem reported.

`Reader.objects` yields the lines that are JSON objects; `admit` decides the problems of the others (not UTF-8, not JSON,
too long, NaN, a duplicate key). A fast path reads what is regular, and a slow one parses the same bytes again to find a problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from hnmine.data.formats.literals import LONGEST_MISSING, is_missing, list_in, looks_like_list
from hnmine.data.formats.tables import RecordReader
from hnmine.data.problems import REPAIRS, Problem

__all__ = ["Reader", "members", "spelled"]

Fields = dict[str, msgspec.Raw]

_decode_object = msgspec.json.Decoder(Fields).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


class Reader(RecordReader):
    """Reads the objects of one file, and the texts in their fields."""

    def objects(
        self, *, text: str | None, lists: Sequence[str] = (), whole: bool = False
    ) -> Iterator[tuple[Fields, dict[str, Any], list[Problem]]]:
        """Yield (fields, values, problems) of each line that is a JSON object.

        Args:
            text: the field that holds a text; None to decode no field.
            lists: the fields that hold lists of texts; without any, `fields` may be empty for a good line.
            whole: always return the fields.

        `values` are the decoded texts of a line without problems, and its `title` where `fields` is empty, else empty: then `self.text`
        and `self.texts` find the problems.
        """
        decoders: dict[str, Callable[[msgspec.Raw], Any]] = dict.fromkeys(lists, _quick_texts)
        if text is not None:
            decoders[text] = _quick_text
        read: Callable[[bytes], dict[str, Any] | None] | None = None
        names: list[str] = []
        least = 0  # bytes of these names and separators, plus a second copy of the shortest
        for raw in self.lines():
            if read is not None and (alone := read(raw)):
                yield {}, alone, []
                continue
            found: list[Problem] = []
            try:
                fields = _decode_object(raw)
                values = {key: decoders[key](fields[key]) for key in decoders if key in fields}
                if not raw.isascii():  # msgspec validates UTF-8 only in what it decodes
                    for key, value in fields.items():
                        if key not in decoders:
                            str(value, "utf-8")
                if (present := list(fields)) != names:
                    names, least = present, sum(map(len, fields)) + 4 * len(fields) + 6 + min(map(len, fields), default=0)
                odd = len(raw) - sum(map(len, fields.values())) >= least and _duplicate_key(raw, fields) is not None
            except (ValueError, msgspec.MsgspecError, RecursionError):
                odd = True
            if odd:
                parsed, found = self._parse(raw)
                if parsed is None:
                    self.admit(found)
                    continue
                fields, values = parsed, {}
            elif values and text is not None and not lists and not whole and read is None:
                read = _fixed_reader(fields, text)  # nearly all lines have the same fields
            yield fields, values, found

    def _parse(self, raw: bytes) -> tuple[Fields | None, list[Problem]]:
        """Parse one line on the slow path; the fields are None if it is not a JSON object."""
        try:
            raw.decode()
            fields = _decode_object(raw)
            if (duplicate := _duplicate_key(raw, fields)) is None:
                return fields, []
            return None, [self.problem(f"$.{duplicate}", "duplicate-key", f"`{duplicate}` occurs twice", "keep one of them")]
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            return self._examine(raw, error)

    def _examine(self, raw: bytes, error: Exception) -> tuple[Fields | None, list[Problem]]:
        """Return the problem of a line that could not be parsed; with fields if NaN is the only one."""
        kind, message, remedy = "not-json", "nested too deeply to be read", "flatten the row, or skip it"
        try:
            if isinstance(error, UnicodeDecodeError):
                return None, [self.undecodable_at(raw, error.start)]
            if isinstance(error, msgspec.ValidationError):
                remedy = 'write one object per line, such as {"query": ..., "pos": [...]}'
                try:
                    msgspec.json.decode(raw)
                    kind, message = "not-an-object", f"expected an object, found {_kind(raw)}"
                except msgspec.DecodeError:
                    message = f"not JSON: {error}"
            elif isinstance(error, msgspec.DecodeError):
                return self._constants(raw, str(error))
        except RecursionError:
            pass
        return None, [self.problem("$", kind, message, remedy)]

    def _constants(self, raw: bytes, reason: str) -> tuple[Fields | None, list[Problem]]:
        """Distinguish NaN and Infinity (which Python's json module writes) from invalid JSON."""
        remedy = "correct the line: one JSON object per line"
        if rows := _old_mac(raw):
            reason, remedy = f"{rows:,} rows are separated by CR alone", "save the file with LF line ends (tr '\\r' '\\n' < IN > OUT)"
        elif half := next((match for match in _ESCAPES.finditer(raw) if match[1]), None):
            reason = f"{half[0].decode()} at column {half.start() + 1} is half of a surrogate pair, such as half of an emoji"
            remedy = "correct the line: write both halves, or remove this one"
        broken = [self.problem("$", "not-json", f"not JSON: {reason}", remedy)]
        found: list[Problem] = []
        fields: Fields = {}
        try:
            if not isinstance(json.loads(raw), dict):
                return None, broken
            for key, item, source in members(raw.decode()):
                if places := list(_non_finite(item, f"$.{key}")):
                    found += [
                        self.problem(place, "nan", f"{number} is not valid JSON", f"remove `{key}` from the row, or compute it again")
                        for place, number in places
                    ]
                else:
                    key.encode()  # half of a surrogate pair cannot be written
                    fields[key] = msgspec.Raw(source.encode())
        except ValueError:
            return None, broken
        return (fields, found) if found else (None, broken)

    def text(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> str:
        """Return a non-blank str, or append the problem to `found`."""
        try:
            text = _decode_text(raw)
        except msgspec.ValidationError:
            if number := self.number(raw):
                return number
            found.append(self.problem(path, "wrong-type", f"expected a string, found {_kind(raw)}", "write it as a string"))
            return ""
        except msgspec.DecodeError as error:
            found.append(self.problem(path, "not-json", f"not a valid string: {error}", "correct the escape in the text"))
            return ""
        if not text.strip():
            found.append(self.problem(path, "empty-text", "the text is empty", "fill it in, or skip the row"))
        return text

    def number(self, raw: msgspec.Raw) -> str:
        """Return the number in a cell of Excel as the text that CSV would have, or "" for other values: a query may be 404."""
        if self.source.format != "excel" or bytes(raw)[:1] not in _DIGITS:
            return ""
        value = msgspec.json.decode(raw)
        return str(int(value) if value == int(value) else value)

    def texts(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> tuple[list[str], list[int] | None]:
        """Return (list of non-blank strings, None if it is unchanged, else the removed indices); append problems to `found`."""
        try:
            value: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            found.append(self.problem(path, "not-json", f"not valid: {error}", "correct the escape in the text"))
            return [], None
        dropped: list[int] | None = None if isinstance(value, list) else []
        inside = list_in(value) if isinstance(value, str) else None
        if inside is not None and self.converts:
            value = inside
        elif inside is not None or (isinstance(value, str) and looks_like_list(value)):
            found.append(self.damaged_list(path))
            return [], None
        elif isinstance(value, str):
            found.append(self.problem(path, "string-instead-of-list", "expected a list, found a string", REPAIRS["string-instead-of-list"]))
            value = [value]
        elif value is None:
            found.append(self.problem(path, "null-instead-of-list", "expected a list, found null", REPAIRS["null-instead-of-list"]))
            value = []
        elif not isinstance(value, list):
            found.append(self.problem(path, "wrong-type", f"expected a list of strings, found {_kind(raw)}", "write a list of strings"))
            return [], None
        kept: list[str] = []
        for index, item in enumerate(value):
            place = f"{path}[{index}]"
            if not isinstance(item, str):
                found.append(
                    self.problem(place, "wrong-type", f"expected a string, found {_WORD[type(item).__name__]}", "write it as a string")
                )
            elif not item.strip() or is_missing(item):
                found.append(self.blank_passage(place, item))
                if dropped is None:
                    dropped = []
                dropped.append(index)
            else:
                kept.append(item)
        return kept, dropped

    def blank_passage(self, path: str, text: str) -> Problem:
        """Return the problem that a passage is blank, or a word for a missing value."""
        what = f"{text.strip()!r}, a word for a missing value" if text.strip() else "blank"
        return self.problem(path, "blank-passage", f"the passage is {what}", REPAIRS["blank-passage"])

    def damaged_list(self, path: str) -> Problem:
        """Return the problem that a list is written as text, and perhaps shortened."""
        return self.problem(path, "wrong-type", "expected a list, found the text of one", 'write a JSON list, such as ["one", "other"]')


_WORD = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "null",
    "list": "a list",
    "dict": "an object",
}


_WORD_BY_FIRST_BYTE = {'"': "a string", "[": "a list", "{": "an object", "n": "null", "t": "true or false", "f": "true or false"}


def _kind(raw: msgspec.Raw | bytes) -> str:
    # By the first byte: the value may be nested too deeply to parse.
    return _WORD_BY_FIRST_BYTE.get(chr(bytes(raw).lstrip()[0]), "a number")


_GAP = re.compile(r"[\s,:]*")
_SEARCHED = 50  # fields
# Escapes, a surrogate pair as one match; group 1 is an unpaired half.
_ESCAPES = re.compile(rb"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)


def _quick_text(raw: msgspec.Raw) -> str:
    text = _decode_text(raw)
    if not text or text.isspace():
        raise ValueError
    return text


def _quick_texts(raw: msgspec.Raw) -> list[str]:
    texts = _decode_texts(raw)
    shortest = min(map(len, texts), default=1)
    if not shortest or any(map(str.isspace, texts)) or (shortest <= LONGEST_MISSING and any(map(is_missing, texts))):
        raise ValueError
    return texts


_DIGITS = (*(b"%d" % digit for digit in range(10)), b"-")  # first bytes of a number
# First byte of a value -> its type, and the quotes of such a member; otherwise a number.
_KINDS: dict[bytes, tuple[Any, int]] = {b'"': (str, 4), **dict.fromkeys((b"t", b"f"), (bool, 2)), b"n": (None, 2)}


def _fixed_reader(fields: Fields, text: str) -> Callable[[bytes], dict[str, Any] | None]:
    """Return a function that reads the field `text`, and a title, of a line with exactly these fields and types; None for other lines.

    A name and a string have two quotes each and a number none, so a line with the expected number of quotes has no duplicate key.
    This does not hold for lists and objects, so with one of these among the fields the function always returns None.
    """
    kinds = [_KINDS.get(bytes(value)[:1], (int | float, 2)) for value in fields.values()]
    quotes = sum(count for _, count in kinds)
    known = {text: "text", "title": "title"} if text != "title" else {text: "text"}
    names = [known.get(key, f"other{number}") for number, key in enumerate(fields)]
    members = [(name, kind, msgspec.field(name=key)) for name, (kind, _), key in zip(names, kinds, fields, strict=True)]
    titled = "title" in names
    try:
        decode: Any = msgspec.json.Decoder(msgspec.defstruct("Line", members, forbid_unknown_fields=True, gc=False)).decode
    except ValueError:  # a name with quotes or control characters
        return lambda _: None

    def read(raw: bytes) -> dict[str, Any] | None:
        if raw.count(b'"') != quotes:
            return None
        try:
            line = decode(raw)
        except (ValueError, msgspec.MsgspecError):
            return None
        found = line.text
        if not found or found.isspace():
            return None
        return {text: found, "title": line.title} if titled else {text: found}

    return read


@lru_cache(maxsize=1024)
def _name(key: str) -> bytes:
    return msgspec.json.encode(key) + b": "


def spelled(fields: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    """Return a JSON object of undecoded values on one line, with the spaces of Python's json module."""
    parts: list[msgspec.Raw | bytes] = []
    for key, value in fields.items():
        parts += (b", " if parts else b"{", _name(key), value)
    return b"".join((*parts, b"}")) if parts else b"{}"


def _duplicate_key(raw: bytes, fields: Fields) -> str | None:
    """Return the first duplicate key or None; a decoder keeps the last value, so the first one would be lost."""
    # A duplicate needs the bytes of `,"name":0` beyond the known fields; most lines have no room for it.
    room = len(raw) - sum(map(len, fields.values())) - sum(map(len, fields)) - 4 * len(fields) - 1
    tight = [key for key in fields if len(key) + 5 <= room]
    if not tight or spelled(fields) == raw:
        return None
    # Each search goes through the whole line, so many are as slow as they are useless.
    if len(tight) <= _SEARCHED and b"\\u" not in raw and all(raw.count(b'"%s"' % key.encode()) < 2 for key in tight):
        return None
    seen: set[str] = set()
    for key, _, _ in members(raw.decode()):
        if key in seen:
            return key
        seen.add(key)
    return None


def _old_mac(raw: bytes) -> int:
    """Return the number of rows on this line that are separated by CR alone, or 0."""
    first, cr, rest = raw.partition(b"\r")
    try:
        _decode_object(first)
    except msgspec.DecodeError:
        return 0
    return rest.count(b"\r") + 2 if cr else 0


def members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and source text of each member of an object that `json.loads` accepts."""
    scan = json.JSONDecoder(parse_int=str).raw_decode  # Python refuses to parse integers of 4,301 digits

    def skip(place: int) -> int:
        gap = _GAP.match(text, place)
        return gap.end() if gap else place

    place = skip(text.index("{") + 1)
    while text[place] != "}":
        key, place = scan(text, place)
        start = skip(place)
        value, place = scan(text, start)
        yield key, value, text[start:place]
        place = skip(place)


def _non_finite(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        yield path, "NaN" if value != value else "Infinity"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _non_finite(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{path}.{key}")
