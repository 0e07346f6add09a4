"""JSON lines, read with every problem found: the part that rows and pools share.

`Reader.objects` yields the lines that are JSON objects; what is wrong with the others (not UTF-8, not JSON, too long, NaN, a field
twice) is reported with its line, and decided by `admit`: mended, skipped, or left open.

There are two ways through a line, with one result. The quick one decodes it with a typed decoder, and no more than a count of bytes tells
that no field stands twice: 2.3 µs for a pool line of 750 bytes, where `json.loads` takes 3.1 and `msgspec.json.decode` 1.1; a training row
of 4 kB takes 20 µs, 14 and 8, because its fields are kept undecoded beside its texts (`msgspec.Raw`, views of the line, which lives as long
as they do). At the first thing that is odd the careful way begins again from the bytes and finds out what, and where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from hnmine.data.problems import REPAIRS, Problem
from hnmine.data.tables import RecordReader

__all__ = ["Reader", "spelled"]

Fields = dict[str, msgspec.Raw]

_decode_object = msgspec.json.Decoder(Fields).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


class Reader(RecordReader):
    """Reads the objects of one file, and the texts in their fields."""

    def objects(
        self, *, text: str | None, lists: Sequence[str] = (), whole: bool = False
    ) -> Iterator[tuple[Fields, dict[str, Any], list[Problem]]]:
        """Yield each line that is a JSON object: its fields, their texts, and the problems found while parsing it.

        Args:
            text: the field that is a text; None when the fields alone are wanted.
            lists: the fields that are lists of texts; without any, the text is all that is wanted, and a good line may come without fields.
            whole: no line may.

        The texts are there if nothing at all is wrong with the line, else empty: then `self.text` and `self.texts` tell what is.
        """
        decoders: dict[str, Callable[[msgspec.Raw], Any]] = dict.fromkeys(lists, _quick_texts)
        if text is not None:
            decoders[text] = _quick_text
        read: Callable[[bytes], str] | None = None
        names: list[str] = []
        least = 0  # bytes that these names take, with what stands between them, and a second one of the shortest
        for raw in self.lines():
            if read is not None and (alone := read(raw)):
                yield {}, {text: alone}, []  # type: ignore[dict-item]  # `read` is made for a text
                continue
            found: list[Problem] = []
            try:
                fields = _decode_object(raw)
                values = {key: decoders[key](fields[key]) for key in decoders if key in fields}
                if not raw.isascii():  # msgspec looks at the bytes of what it decodes, not of what it passes over
                    for key, value in fields.items():
                        if key not in decoders:
                            str(value, "utf-8")
                if (present := list(fields)) != names:
                    names, least = present, sum(map(len, fields)) + 4 * len(fields) + 6 + min(map(len, fields), default=0)
                odd = len(raw) - sum(map(len, fields.values())) >= least and _twice(raw, fields) is not None
            except (ValueError, msgspec.MsgspecError, RecursionError):
                odd = True
            if odd:
                parsed, found = self._parse(raw)
                if parsed is None:
                    self.admit(found)
                    continue
                fields, values = parsed, {}
            elif values and text is not None and not lists and not whole and read is None:
                read = _alike(fields, text)  # nearly all lines that follow are
            yield fields, values, found

    def _parse(self, raw: bytes) -> tuple[Fields | None, list[Problem]]:
        """Parse one line with care; without fields when it is no JSON object."""
        try:
            raw.decode()
            fields = _decode_object(raw)
            if (twice := _twice(raw, fields)) is None:
                return fields, []
            return None, [self.problem(f"$.{twice}", "duplicate-key", f"`{twice}` stands twice", "keep one of them")]
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            return self._examine(raw, error)

    def _examine(self, raw: bytes, error: Exception) -> tuple[Fields | None, list[Problem]]:
        """Say what is wrong with a line that could not be parsed; with fields where NaN alone is at fault."""
        kind, message, remedy = "not-json", "nested too deeply to be read", "flatten the row, or skip it"
        try:
            if isinstance(error, UnicodeDecodeError):
                place = f"byte 0x{raw[error.start]:02x} at column {error.start + 1}"
                kind, message, remedy = "not-utf8", f"not UTF-8: {place}", "save the file as UTF-8"
            elif isinstance(error, msgspec.ValidationError):
                remedy = 'write one object a line, such as {"query": ..., "pos": [...]}'
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
        """Tell NaN and Infinity (which Python's own json writes) from what is no JSON at all."""
        remedy = "mend the line; one JSON object a line"
        if rows := _old_mac(raw):
            reason, remedy = f"CR alone stands between {rows:,} rows", "save the file with LF line ends (tr '\\r' '\\n' < IN > OUT)"
        elif half := next((match for match in _ESCAPES.finditer(raw) if match[1]), None):
            reason = f"{half[0].decode()} at column {half.start() + 1} is half a surrogate pair, as a cut through an emoji leaves it"
            remedy = "mend the line: write both halves, or remove this one"
        broken = [self.problem("$", "not-json", f"not JSON: {reason}", remedy)]
        found: list[Problem] = []
        fields: Fields = {}
        try:
            if not isinstance(json.loads(raw), dict):
                return None, broken
            for key, item, source in _members(raw.decode()):
                if places := list(_non_finite(item, f"$.{key}")):
                    found += [
                        self.problem(place, "nan", f"{number} is no JSON number", f"remove `{key}` from the row, or compute it again")
                        for place, number in places
                    ]
                else:
                    key.encode()  # half a surrogate pair could not be written again
                    fields[key] = msgspec.Raw(source.encode())
        except ValueError:
            return None, broken
        return (fields, found) if found else (None, broken)

    def text(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> str:
        """Decode a non-blank str, or report."""
        try:
            text = _decode_text(raw)
        except msgspec.ValidationError:
            found.append(self.problem(path, "wrong-type", f"expected a string, found {_kind(raw)}", "write it as a string"))
            return ""
        except msgspec.DecodeError as error:
            found.append(self.problem(path, "not-json", f"not a valid string: {error}", "mend the escape in the text"))
            return ""
        if not text.strip():
            found.append(self.problem(path, "empty-text", "the text is empty", "fill it in, or skip the row"))
        return text

    def texts(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> tuple[list[str], list[int] | None]:
        """Decode a list of non-blank strings; what can be mended is.

        Returns the list, and None where it stands as it came, else the indices that were dropped.
        """
        try:
            value: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            found.append(self.problem(path, "not-json", f"not valid: {error}", "mend the escape in the text"))
            return [], None
        dropped: list[int] | None = None if isinstance(value, list) else []
        if isinstance(value, str):
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
            elif not item.strip():
                found.append(self.problem(place, "blank-passage", "the passage is blank", REPAIRS["blank-passage"]))
                dropped = [*(dropped or []), index]
            else:
                kept.append(item)
        return kept, dropped


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
    # By the first byte: the value may be nested too deeply to be parsed.
    return _WORD_BY_FIRST_BYTE.get(chr(bytes(raw).lstrip()[0]), "a number")


_GAP = re.compile(r"[\s,:]*")
# Escapes one after the other, a surrogate pair as one; group 1 is a half without its other half.
_ESCAPES = re.compile(rb"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)


def _quick_text(raw: msgspec.Raw) -> str:
    text = _decode_text(raw)
    if not text or text.isspace():
        raise ValueError
    return text


def _quick_texts(raw: msgspec.Raw) -> list[str]:
    texts = _decode_texts(raw)
    if not all(texts) or any(map(str.isspace, texts)):
        raise ValueError
    return texts


# First byte of a value -> what takes a line's other values of its kind, and the quotes of such a member; a number else.
_KINDS: dict[bytes, tuple[Any, int]] = {b'"': (str, 4), **dict.fromkeys((b"t", b"f"), (bool, 2)), b"n": (None, 2)}


def _alike(fields: Fields, text: str) -> Callable[[bytes], str]:
    """Return what reads the field `text` of a line that has these fields, each once and of its kind; of any other line it is "".

    A name and a string take two quotes each, and a number none, so a line with just as many as the fields that must be there take has
    none of them twice. Nothing of the kind holds for lists and objects: with one among the fields, all lines are other lines.
    """
    kinds = [_KINDS.get(bytes(value)[:1], (int | float, 2)) for value in fields.values()]
    quotes = sum(count for _, count in kinds)
    names = ["text" if key == text else f"other{number}" for number, key in enumerate(fields)]
    members = [(name, kind, msgspec.field(name=key)) for name, (kind, _), key in zip(names, kinds, fields, strict=True)]
    try:
        decode = msgspec.json.Decoder(msgspec.defstruct("Line", members, forbid_unknown_fields=True, gc=False)).decode
    except ValueError:  # a name with quotes or control characters
        return lambda _: ""

    def read(raw: bytes) -> str:
        if raw.count(b'"') != quotes:
            return ""
        try:
            found: str = decode(raw).text  # type: ignore[attr-defined]
        except (ValueError, msgspec.MsgspecError):
            return ""
        return "" if found.isspace() else found

    return read


@lru_cache(maxsize=1024)
def _name(key: str) -> bytes:
    return msgspec.json.encode(key) + b": "


def spelled(fields: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    """Return the object of these undecoded values, on one line, with blanks as Python's own json sets them."""
    parts: list[msgspec.Raw | bytes] = []
    for key, value in fields.items():
        parts += (b", " if parts else b"{", _name(key), value)
    return b"".join((*parts, b"}")) if parts else b"{}"


def _twice(raw: bytes, fields: Fields) -> str | None:
    """Return the first field that stands twice: JSON keeps the last of them, and what the first said would be lost."""
    # It needs room for `,"name":0` beyond what is seen; in a line like most, there is none.
    room = len(raw) - sum(map(len, fields.values())) - sum(map(len, fields)) - 4 * len(fields) - 1
    tight = [key for key in fields if len(key) + 5 <= room]
    if not tight or spelled(fields) == raw:
        return None
    if b"\\u" not in raw and all(raw.count(b'"%s"' % key.encode()) < 2 for key in tight):
        return None
    names = [key for key, _, _ in _members(raw.decode())]
    return next((key for number, key in enumerate(names) if key in names[:number]), None)


def _old_mac(raw: bytes) -> int:
    """Return how many rows stand on this line with CR alone between them, or 0."""
    first, cr, rest = raw.partition(b"\r")
    try:
        _decode_object(first)
    except msgspec.DecodeError:
        return 0
    return rest.count(b"\r") + 2 if cr else 0


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and the value's own spelling for each member of an object that `json.loads` accepts."""
    scan = json.JSONDecoder(parse_int=str).raw_decode  # Python refuses to make a number of 4,301 digits

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
