"""JSON lines, read with every problem found: the part that rows and pools share.

`Reader.objects` yields the lines that are JSON objects; what is wrong with the others (not UTF-8, not JSON, too long, NaN, a field
twice) is reported with its line, and decided by `admit`: mended, skipped, or left open.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from hnmine.errors import InputError
from hnmine.problems import REPAIRS, Problem, Resolution, repairs_from

__all__ = ["MAX_LINE_BYTES", "Reader"]

# A row of a few megabytes is legal; one of 32 MiB is nearly always a file without line ends, and would be tokenised whole.
MAX_LINE_BYTES = 32 * 2**20


class Reader:
    """Collects the problems of one file, and decides for each row whether it may pass."""

    def __init__(self, path: str | os.PathLike[str], repair: Iterable[str], skip_bad_rows: bool, max_line_bytes: int) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.repair = repairs_from(repair)
        self.skip_bad_rows = skip_bad_rows
        self.max_line_bytes = max_line_bytes
        self.problems: list[Problem] = []
        self.line = 0

    def problem(self, path: str, kind: str, message: str, remedy: str) -> Problem:
        return Problem(file=self.name, line=self.line, path=path, kind=kind, message=message, remedy=remedy)

    def notice(self, line: int, kind: str, message: str, remedy: str) -> None:
        self.problems.append(
            Problem(file=self.name, line=line, path="$", kind=kind, message=message, remedy=remedy, severity="notice", resolution="noted")
        )

    def admit(self, found: list[Problem]) -> bool:
        """Record the problems of the current line; True when all of them are mended, so the row may pass."""
        mended = all(problem.kind in self.repair for problem in found)
        resolution: Resolution = "repaired" if mended else "skipped" if self.skip_bad_rows else "open"
        self.problems += [replace(problem, resolution=resolution) for problem in found]
        return mended

    def objects(self) -> Iterator[tuple[dict[str, msgspec.Raw], list[Problem]]]:
        """Yield each line that is a JSON object, with the problems found while parsing it."""
        decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        for raw in self._lines():
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                self.admit(
                    [
                        self.problem(
                            "$",
                            "not-utf8",
                            f"not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}",
                            "save the file as UTF-8",
                        )
                    ]
                )
                continue
            try:
                fields, found = self._parse(decode, raw)
            except RecursionError:
                fields, found = None, [self.problem("$", "not-json", "nested too deeply to be read", "flatten the row, or skip it")]
            if fields is None:
                self.admit(found)
            else:
                yield fields, found

    def _parse(self, decode: Callable[[bytes], dict[str, msgspec.Raw]], raw: bytes) -> tuple[dict[str, msgspec.Raw] | None, list[Problem]]:
        """Parse one line; without fields when it is no JSON object."""
        try:
            return self._once_each(raw, decode(raw))
        except msgspec.ValidationError as error:
            try:
                msgspec.json.decode(raw)
                message, kind = f"expected an object, found {_kind(raw)}", "not-an-object"
            except msgspec.DecodeError:
                message, kind = f"not JSON: {error}", "not-json"
            return None, [self.problem("$", kind, message, 'write one object a line, such as {"query": ..., "pos": [...]}')]
        except msgspec.DecodeError as error:
            return self._constants(raw, str(error))

    def _once_each(self, raw: bytes, fields: dict[str, msgspec.Raw]) -> tuple[dict[str, msgspec.Raw] | None, list[Problem]]:
        """Refuse a row in which a field stands twice: JSON keeps the last one, and what the first said would be lost."""
        if all(raw.count(b'"%s"' % key.encode()) < 2 for key in fields):  # the usual row: no need to look closer
            return fields, []
        names = [key for key, _, _ in _members(raw.decode())]
        twice = next((key for number, key in enumerate(names) if key in names[:number]), None)
        if twice is None:
            return fields, []
        return None, [self.problem(f"$.{twice}", "duplicate-key", f"`{twice}` stands twice", "keep one of them")]

    def _constants(self, raw: bytes, reason: str) -> tuple[dict[str, msgspec.Raw] | None, list[Problem]]:
        """Tell NaN and Infinity (which Python's own json writes) from what is no JSON at all."""
        broken = [self.problem("$", "not-json", f"not JSON: {reason}", "mend the line; one JSON object a line")]
        found: list[Problem] = []
        fields: dict[str, msgspec.Raw] = {}
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

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines that hold something, without their ends; report marks, line ends and lines beyond the limit."""
        blank, crlf = [], []
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error}); check the path") from error
        with file:
            head = file.peek(4)[:4]
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(f"{self.path}:1 the file is UTF-16; save it as UTF-8")
            if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04")):
                raise InputError(f"{self.path}:1 the file is compressed or binary, not JSON lines; unpack it first")
            if head.startswith(codecs.BOM_UTF8):
                file.seek(len(codecs.BOM_UTF8))
                self.notice(1, "byte-order-mark", "the file begins with a byte order mark", "nothing to do: it is not read as text")
            first = True
            while raw := file.readline(self.max_line_bytes + 2):
                self.line += 1
                length = len(raw)
                if length > self.max_line_bytes and not raw.endswith(b"\n"):
                    while (rest := file.readline(2**20)) and not rest.endswith(b"\n"):
                        length += len(rest)
                    self.admit(
                        [
                            self.problem(
                                "$",
                                "line-too-long",
                                f"the line has over {length / 2**20:,.0f} MiB; the limit is {self.max_line_bytes / 2**20:,.0f} MiB",
                                "check for lost line ends, or split the row",
                            )
                        ]
                    )
                    continue
                if raw.endswith(b"\r\n"):
                    crlf.append(self.line)
                raw = raw.strip(b" \t\r\n")
                if not raw:
                    blank.append(self.line)
                    continue
                if first and (raw == b"[" or raw.startswith((b"[{", b"[ {"))):
                    raise InputError(f"{self.path}:{self.line} the file is one JSON array; write one object a line (jq -c '.[]' IN > OUT)")
                first = False
                yield raw
        if crlf:
            self.notice(
                crlf[0],
                "crlf",
                f"{len(crlf):,} {'line ends' if len(crlf) == 1 else 'lines end'} in CR LF",
                "nothing to do: they are read the same",
            )
        if blank:
            self.notice(
                blank[0],
                "blank-line",
                "a blank line" if len(blank) == 1 else f"{len(blank):,} blank lines, the first here",
                "nothing to do: they hold no row",
            )

    def text(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> str:
        """Decode a non-blank str, or report."""
        try:
            text = msgspec.json.decode(raw, type=str)
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


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and the value's own spelling for each member of an object that `json.loads` accepts."""
    scan = json.JSONDecoder().raw_decode

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
