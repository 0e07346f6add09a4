"""The lines of a file, and the problems of the file as a whole.

`LineReader` is the base of all readers: it opens the file, decompresses it, refuses files that are not text, cuts it into
lines, and collects problems, each decided by `admit`. The file is read once, in blocks of 1 MiB, and its SHA-256 is
computed on the way: 1 µs for a line of 800 bytes in all.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hnmine.core.errors import InputError
from hnmine.data.problems import InputFile, Problem, Resolution, repairs_from
from hnmine.data.streams import BLOCK, Packing, packing_of, unpacked

__all__ = ["MAX_LINE_BYTES", "SEEKABLE", "LineReader"]

# A row of a few megabytes is valid; one of 32 MiB is nearly always a file without line ends.
MAX_LINE_BYTES = 32 * 2**20
# Bytes that the format is detected by; a pipe may return fewer at once.
_HEAD = 2**16
# First bytes of formats with a directory (Parquet, zip): they need random access, and no more bytes to be detected.
SEEKABLE = (b"PAR1", b"PK\x03\x04")
_MARK = 4
# First bytes of unsupported formats -> format and remedy.
_OTHERS = {
    b"PAR1": "a Parquet file, which is not supported here; write it as JSON lines",
    b"PK\x03\x04": "a zip archive, which is not supported here; unpack it first",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first (unxz)",
    b"ARROW1": "an Arrow file; write it as Parquet (pyarrow.parquet.write_table)",
    b"SQLite format 3\0": "an SQLite database; export the table as CSV or JSON lines",
    b"\xd0\xcf\x11\xe0": "an old Office document; save it as CSV",
}

T = TypeVar("T")


class LineReader:
    """Reads the lines of one file, collects its problems, and decides for each row whether it is used.

    Args:
        path: the file; for a part of an archive, its name in messages.
        repair, skip_bad_rows: as in `reading.read_training`.
        opener: opens the bytes if `path` is part of an archive.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        repair: Iterable[str] = (),
        skip_bad_rows: bool = False,
        *,
        opener: Callable[[], BinaryIO] | None = None,
        name: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self.repair = repairs_from(repair)
        self.skip_bad_rows = skip_bad_rows
        self.max_line_bytes = MAX_LINE_BYTES
        self.problems: list[Problem] = []
        self.line = 0
        self.packing: Packing = ""
        self._opener = opener
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._cut = 0  # bytes of the current line beyond the limit

    def problem(self, path: str, kind: str, message: str, remedy: str) -> Problem:
        return Problem(file=self.name, line=self.line, path=path, kind=kind, message=message, remedy=remedy)

    def missing(self, name: str, fields: Iterable[str]) -> Problem:
        """Return the problem that a record, which has `fields`, lacks a field."""
        present = ", ".join(f"`{each}`" for each in list(fields)[:6]) or "no field"
        return self.problem(f"$.{name}", "missing-field", f"`{name}` is missing", f"add `{name}`; the record has {present}")

    def notice(self, line: int, kind: str, message: str, remedy: str) -> None:
        self.problems.append(
            Problem(file=self.name, line=line, path="$", kind=kind, message=message, remedy=remedy, severity="notice", resolution="noted")
        )

    def admit(self, found: list[Problem]) -> bool:
        """Record the problems of the current line; return whether all of them are repaired, so that the row is used."""
        repaired = all(problem.kind in self.repair for problem in found)
        resolution: Resolution = "repaired" if repaired else "skipped" if self.skip_bad_rows else "open"
        self.problems += [replace(problem, resolution=resolution) for problem in found]
        return repaired

    def file(self, items: list[T]) -> InputFile[T]:
        """Return the items with the problems, size and SHA-256 of the file; call it after the last line."""
        return InputFile(str(self.path), items, self.problems, self.line, self._size, self._sha256.hexdigest())

    def lines(self) -> Iterator[bytes]:
        """Yield the non-blank lines without their ends; report byte order marks, CR LF, blank lines and lines beyond the limit."""
        return self.cut(self.decoded(self.blocks()))

    def blocks(self) -> Iterator[bytes]:
        """Yield the file's bytes, decompressed; the first block is long enough to detect the format."""
        try:
            file = self._opener() if self._opener else self.path.open("rb", buffering=0)
        except OSError as error:
            raise self._unreadable(error) from error
        with file:
            head = self._read(file, _MARK)
            while len(head) < _HEAD and not head.startswith(SEEKABLE) and (more := self._read(file, max(BLOCK, _HEAD) - len(head))):
                head += more
            self.packing = packing_of(head)
            if self.packing:
                stored = self._stored(head, file)
                inside = unpacked(self.packing, stored, str(self.path))
                head = b""
                while len(head) < _HEAD and (block := next(inside, b"")):
                    head += block
                yield head
                yield from inside
                for _ in stored:  # trailing bytes count for the SHA-256
                    pass
            else:
                yield from self._stored(head, file)

    def _stored(self, block: bytes, file: Any) -> Iterator[bytes]:
        while block:
            yield block
            block = self._read(file)

    def decoded(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the blocks without a byte order mark.

        Raises:
            InputError: the file is UTF-16 or of an unsupported format.
        """
        head = next(blocks, b"")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{self.path}:1 the file is UTF-16; save it as UTF-8")
        for first, what in _OTHERS.items():
            if head.startswith(first):
                raise InputError(f"{self.path}: the file is {what}")
        if head.startswith(codecs.BOM_UTF8):
            head = head.removeprefix(codecs.BOM_UTF8)
            self.notice(1, "byte-order-mark", "the file begins with a byte order mark", "nothing to do: it is ignored")
        if head:
            yield head
        yield from blocks

    def cut(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the lines of these blocks, as `lines`."""
        blanks = crlfs = first_blank = first_crlf = 0
        for raw in self._split(blocks):
            self.line += 1
            ends_in_cr = raw.endswith(b"\r")
            if len(raw) - ends_in_cr > self.max_line_bytes:
                self.too_long(len(raw) + self._cut)
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
            yield raw
        if crlfs:
            ends = "1 line ends" if crlfs == 1 else f"{crlfs:,} lines end"
            self.notice(first_crlf, "crlf", f"{ends} in CR LF", "nothing to do: they are read like LF")
        if blanks:
            message = "a blank line" if blanks == 1 else f"{blanks:,} blank lines, the first here"
            self.notice(first_blank, "blank-line", message, "nothing to do: they are skipped")

    def too_long(self, size: int) -> None:
        """Report that the current line is beyond the limit."""
        message = f"the line has over {size // 2**20:,} MiB; the limit is {self.max_line_bytes // 2**20:,} MiB"
        self.admit([self.problem("$", "line-too-long", message, "check for missing line ends, or split the row")])

    def _split(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the lines of a file without LF, cut off at the limit."""
        rest = b""
        for block in blocks:
            lines = block.split(b"\n")
            lines[0] = rest + lines[0]
            rest = lines.pop()
            yield from lines
            if len(rest) > self.max_line_bytes + 2:
                self._cut += len(rest) - self.max_line_bytes - 2
                rest = rest[: self.max_line_bytes + 2]
        if rest:
            yield rest.removesuffix(b"\r")

    def _read(self, file: Any, size: int = BLOCK) -> bytes:
        try:
            block: bytes = file.read(size) or b""
        except OSError as error:
            raise self._unreadable(error) from error
        self._size += len(block)
        self._sha256.update(block)
        return block

    def _unreadable(self, error: OSError) -> InputError:
        return InputError(f"{self.path}: cannot be read ({error.strerror or error}); check the path")
