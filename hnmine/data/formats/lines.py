"""The lines of a file, and the problems of the file as a whole.

`LineReader` is the base of all readers: it opens the file, decompresses it, transcodes it to UTF-8, refuses files that are not
text, cuts it into lines, and collects problems, each decided by `admit`. The file is read once, in blocks of 1 MiB, and its
SHA-256 is computed on the way: 1 µs for a line of 800 bytes in all.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hnmine.core.errors import HnmineError, InputError
from hnmine.core.paths import open_input, shown
from hnmine.data.formats.encodings import encoding_named, encoding_of, transcoded
from hnmine.data.formats.streams import BLOCK, Packing, packing_of, unpacked
from hnmine.data.formats.unreadable import ARROW, reason_of, unreadable_as_input_error, unsupported
from hnmine.data.problems import InputFile, Problem, Resolution, Unit, repairs_from

__all__ = ["MAX_LINE_BYTES", "SEEKABLE", "LineReader", "chained"]

# A row of a few megabytes is valid; one of 32 MiB is nearly always a file without line ends.
MAX_LINE_BYTES = 32 * 2**20
# Bytes that the format is detected by; a pipe may return fewer at once.
_HEAD = 2**16
# First bytes of formats with a directory (Parquet, zip, Arrow): they need random access, and no more bytes to be detected.
SEEKABLE = (b"PAR1", b"PK\x03\x04", *ARROW)
_MARK = 6

T = TypeVar("T")


class LineReader:
    """Reads the lines of one file, collects its problems, and decides for each row whether it is used.

    Args:
        path: the file; for a part of an archive, its name in messages.
        repair, skip_bad_rows: as in `reading.read_training`.
        opener: opens the bytes if `path` is part of an archive.
        encoding: of a text file that is not UTF-8, such as "cp1252".
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        repair: Iterable[str] = (),
        skip_bad_rows: bool = False,
        *,
        opener: Callable[[], BinaryIO] | None = None,
        name: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self.repair = repairs_from(repair)
        self.skip_bad_rows = skip_bad_rows
        self.max_line_bytes = MAX_LINE_BYTES
        self.problems: list[Problem] = []
        self.line = 0
        self.unit: Unit = "line"  # that `line` counts
        self.packing: Packing = ""
        self.encoding = ""  # that the file is transcoded from, once open
        self._given_encoding = encoding_named(encoding)
        self._opener = opener
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._cut = 0  # bytes of the current line beyond the limit

    @property
    def where(self) -> str:
        """The file, for messages."""
        return shown(self.path)

    def net(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that raises InputError, with the current line, in place of any exception of a parser."""
        return unreadable_as_input_error(lambda: f"{self.where}:{self.line}" if self.line else self.where)

    @contextlib.contextmanager
    def net_of_line(self, found: list[Problem]) -> Iterator[None]:
        """Append a problem of the current line to `found` in place of any exception of a parser."""
        try:
            yield
        except (HnmineError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - as `net`
            found.append(self.problem("$", "bad-record", f"cannot be read ({reason_of(error)})", "correct the record, or skip it"))

    def problem(self, path: str, kind: str, message: str, remedy: str) -> Problem:
        return Problem(file=self.name, line=self.line, path=path, kind=kind, message=message, remedy=remedy, unit=self.unit)

    def undecodable(self, place: str) -> Problem:
        """Return the problem that the current line has a byte without a character at this place."""
        remedy = "correct the line, or name another encoding" if self.encoding else "save the file as UTF-8, or name its encoding"
        return self.problem("$", "not-utf8", f"not {self.encoding or 'UTF-8'}: {place}", remedy)

    def undecodable_at(self, raw: bytes, start: int) -> Problem:
        """Return the same of the byte at `start` of a line."""
        if self.encoding:  # the byte itself is lost
            return self.undecodable(f"a byte without a character at column {len(raw[:start].decode('utf-8', 'replace')) + 1}")
        return self.undecodable(f"byte 0x{raw[start]:02x} at column {start + 1}")

    def missing(self, name: str, fields: Iterable[str]) -> Problem:
        """Return the problem that a record, which has `fields`, lacks a field."""
        present = ", ".join(f"`{each}`" for each in list(fields)[:6]) or "no field"
        return self.problem(f"$.{name}", "missing-field", f"`{name}` is missing", f"add `{name}`; the record has {present}")

    def notice(self, line: int, kind: str, message: str, remedy: str) -> None:
        found = Problem(file=self.name, line=line, path="$", kind=kind, message=message, remedy=remedy, unit=self.unit)
        self.problems.append(replace(found, severity="notice", resolution="noted"))

    def admit(self, found: list[Problem]) -> bool:
        """Record the problems of the current line; return whether all of them are repaired, so that the row is used."""
        repaired = all(problem.kind in self.repair for problem in found)
        resolution: Resolution = "repaired" if repaired else "skipped" if self.skip_bad_rows else "open"
        self.problems += [replace(problem, resolution=resolution) for problem in found]
        return repaired

    def file(self, items: Sequence[T]) -> InputFile[T]:
        """Return the items with the problems, size and SHA-256 of the file; call it after the last line."""
        return InputFile(str(self.path), items, self.problems, self.line, self._size, self._sha256.hexdigest(), encoding=self.encoding)

    def lines(self) -> Iterator[bytes]:
        """Yield the non-blank lines without their ends; report byte order marks, CR LF, blank lines and lines beyond the limit."""
        with self.net():
            yield from self.cut(self.decoded(self.blocks()))

    def blocks(self) -> Iterator[bytes]:
        """Yield the file's bytes, decompressed; the first block is long enough to detect the format."""
        try:
            file = self._opener() if self._opener else open_input(self.path)
        except OSError as error:
            raise self._unreadable(error) from error
        with file:
            head = self._read(file, _MARK)
            while len(head) < _HEAD and not head.startswith(SEEKABLE) and (more := self._read(file, max(BLOCK, _HEAD) - len(head))):
                head += more
            self.packing = packing_of(head)
            if self.packing:
                stored = self._stored(head, file)
                inside = unpacked(self.packing, stored, self.where)
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
        """Yield the blocks as UTF-8 without a byte order mark.

        Raises:
            InputError: the file is of an unsupported format; as EncodingError, its encoding can only be guessed.
        """
        head = next(blocks, b"")
        if what := unsupported(head):
            raise InputError(f"{self.where}: the file is {what}")
        self.encoding = encoding_of(head, self._given_encoding, self.where)
        if head.startswith(codecs.BOM_UTF8):
            head = head.removeprefix(codecs.BOM_UTF8)
            self.notice(1, "byte-order-mark", "the file begins with a byte order mark", "nothing to do: it is ignored")
        blocks = chained(head, blocks)
        return transcoded(blocks, self.encoding) if self.encoding else blocks

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

    def sized(self, number: int, line: bytes) -> bool:
        """Make `number` the current line; return whether its record is within the limit, and report it if not."""
        self.line = number
        if len(line) > self.max_line_bytes:
            self.too_long(len(line))
            return False
        return True

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
        return InputError(f"{self.where}: cannot be read ({error.strerror or error}); check the path")


def chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `head`, unless it is empty, and the rest."""
    if head:
        yield head
    yield from rest
