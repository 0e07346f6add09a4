"""The lines of a file, and what is odd about the file as a whole.

`LineReader` is what every reader of JSON lines stands on: it opens the file, refuses what is no text, cuts it into lines, and keeps the
problems, each decided by `admit`. The file is read once, in blocks of 1 MiB, and fingerprinted on the way: the hash is that of the very
bytes that were parsed, and reading, hashing and cutting together take 1 µs for a line of 800 bytes.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import TypeVar

from hnmine.errors import InputError
from hnmine.problems import InputFile, Problem, Resolution, repairs_from

__all__ = ["MAX_LINE_BYTES", "LineReader"]

# A row of a few megabytes is legal; one of 32 MiB is nearly always a file without line ends, and would be tokenised whole.
MAX_LINE_BYTES = 32 * 2**20
# Read at once: fits the processor's cache, and is large enough that the call costs nothing.
_BLOCK = 2**20

T = TypeVar("T")


class LineReader:
    """Collects the problems of one file, and decides for each row whether it may pass."""

    def __init__(self, path: str | os.PathLike[str], repair: Iterable[str], skip_bad_rows: bool, max_line_bytes: int) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.repair = repairs_from(repair)
        self.skip_bad_rows = skip_bad_rows
        self.max_line_bytes = max_line_bytes
        self.problems: list[Problem] = []
        self.line = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._cut = 0  # bytes of the present line that were passed over

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

    def file(self, items: list[T]) -> InputFile[T]:
        """Return what was read once `objects` has come to its end, with the fingerprint of the very bytes."""
        return InputFile(str(self.path), items, self.problems, self.line, self._size, self._sha256.hexdigest())

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that hold something, without their ends; report marks, line ends and lines beyond the limit."""
        blanks = crlfs = first_blank = first_crlf = 0
        first = True
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error}); check the path") from error
        with file:
            for raw in self._split(file):
                self.line += 1
                ends_in_cr = raw.endswith(b"\r")
                if len(raw) - ends_in_cr > self.max_line_bytes:
                    size, limit = (len(raw) + self._cut) // 2**20, self.max_line_bytes // 2**20
                    message = f"the line has over {size:,} MiB; the limit is {limit:,} MiB"
                    self.admit([self.problem("$", "line-too-long", message, "check for lost line ends, or split the row")])
                    self._cut = 0
                    continue
                if ends_in_cr:
                    crlfs += 1
                    first_crlf = first_crlf or self.line
                raw = raw.strip(b" \t\r")
                if not raw:
                    blanks += 1
                    first_blank = first_blank or self.line
                    continue
                if first and (raw == b"[" or raw.startswith((b"[{", b"[ {"))):
                    raise InputError(f"{self.path}:{self.line} the file is one JSON array; write one object a line (jq -c '.[]' IN > OUT)")
                first = False
                yield raw
        if crlfs:
            ends = "1 line ends" if crlfs == 1 else f"{crlfs:,} lines end"
            self.notice(first_crlf, "crlf", f"{ends} in CR LF", "nothing to do: they are read the same")
        if blanks:
            message = "a blank line" if blanks == 1 else f"{blanks:,} blank lines, the first here"
            self.notice(first_blank, "blank-line", message, "nothing to do: they hold no row")

    def _split(self, file: FileIO) -> Iterator[bytes]:
        """Yield the lines of a file without LF, those beyond the limit cut off there."""
        rest, start = b"", True
        while block := self._read(file):
            if start:
                start = False
                if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise InputError(f"{self.path}:1 the file is UTF-16; save it as UTF-8")
                if block.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04")):
                    raise InputError(f"{self.path}:1 the file is compressed or binary, not JSON lines; unpack it first")
                if block.startswith(codecs.BOM_UTF8):
                    block = block.removeprefix(codecs.BOM_UTF8)
                    self.notice(1, "byte-order-mark", "the file begins with a byte order mark", "nothing to do: it is not read as text")
            lines = block.split(b"\n")
            lines[0] = rest + lines[0]
            rest = lines.pop()
            yield from lines
            if len(rest) > self.max_line_bytes + 2:
                self._cut += len(rest) - self.max_line_bytes - 2
                rest = rest[: self.max_line_bytes + 2]
        if rest:
            yield rest.removesuffix(b"\r")

    def _read(self, file: FileIO) -> bytes:
        try:
            block = file.read(_BLOCK) or b""
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error}); check the path") from error
        self._size += len(block)
        self._sha256.update(block)
        return block
