"""Records of every format as JSON lines, so that one reader finds the problems of all formats.

Each problem has its place (the line where a record begins, or the Parquet row), column and remedy. Values keep their types:
numbers and lists of Parquet stay so, a cell of CSV stays text ("007") unless all cells of its column are lists. JSON lines
pass through unchanged, 20 µs for a row of 4 kB; as CSV it takes 70, as Parquet 40.
"""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, TypeVar

import msgspec

from hnmine.core.errors import ColumnsError, InputError
from hnmine.core.text import counted, shortened
from hnmine.data import parquet
from hnmine.data.columns import Columns
from hnmine.data.detect import Role, Source, detect, list_in, read_as, reader_of, resolve
from hnmine.data.lines import SEEKABLE, LineReader
from hnmine.data.problems import InputFile
from hnmine.data.shapes.shape import Shape
from hnmine.data.shapes.shaped import Shaped
from hnmine.data.streams import check_growth, single

__all__ = ["RecordReader"]

# A JSON array is parsed in memory.
MAX_ARRAY_BYTES = 512 * 2**20

T = TypeVar("T")
_encode = msgspec.json.Encoder(decimal_format="number").encode


class RecordReader(LineReader):
    """Detects the format of a file, and yields its records as JSON lines.

    Attributes:
        source: the detected format, once open.
        columns: the columns to read; None to report missing fields line by line.
        plain: no column is renamed.
        shape: of rows that are more than columns, if any.
        titled: the passages of rows that have titles of their own: text -> title and text.
        converts: whether records of a known shape are read as rows.
    """

    converts = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        repair: Iterable[str] = (),
        skip_bad_rows: bool = False,
        *,
        role: Role = "training",
        columns: Columns | None = None,
        opener: Callable[[], BinaryIO] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(path, repair, skip_bad_rows, opener=opener, name=name)
        self.role = role
        self.given = columns or Columns()
        self.source = Source(format="jsonl")
        self.columns: Columns | None = None
        self.shape: Shape | None = None
        self.titled: dict[str, str] = {}
        self.plain = True
        self._records: Iterator[bytes] | None = None
        self._unread: Iterator[bytes] = iter(())  # bytes that only the SHA-256 needs
        self._handle: Any = None  # of a seekable file

    def open(self) -> None:
        """Read the beginning of the file and detect its format.

        Raises:
            ColumnsError: the columns of a table must be named.
            InputError: the file cannot be read, or a named column does not exist.
        """
        if self._records is not None:
            return
        examples: dict[str, str] = {}
        stored = self.blocks()
        head = next(stored, b"")
        if head.startswith(SEEKABLE):
            self._unread = stored
        if head.startswith(b"PAR1"):
            self.source, self._records = self._parquet()
        else:
            if head.startswith(b"PK\x03\x04"):
                stored = single(self._file(), str(self.path))
                head = next(stored, b"")
            blocks = self.decoded(_chain(head, stored))
            head = next(blocks, b"")
            second = next(blocks, b"")
            source = detect(head, self.name, self.role, whole=not second)
            self.source = replace(source, packing=self.packing)
            blocks = _chain(head, _chain(second, blocks)) if second else _chain(head, blocks)
            ways = {"csv": self._delimited, "text": self._texts, "json": self._array}
            self._records = ways.get(source.format, self.cut)(blocks)
        if self.source.format != "text":
            unnamed = (self.given.query, self.given.pos) == (None, None)
            shaped = Shaped(self, self._records, known=self.converts and self.role == "training" and unnamed)
            self._records, self.shape, examples = iter(shaped), shaped.shape, shaped.examples
            self.source = replace(self.source, labels=shaped.labels)
            if shaped.shape is not None:
                self.source = replace(self.source, names=shaped.names, shape=shaped.shape.name, header=True, lists=(), ids=())
        if twice := next((name for name in self.source.names if self.source.names.count(name) > 1), None):
            raise InputError(f"{self.path}: two columns are named `{twice}`; rename one of them")
        self.columns, self.plain = resolve(self.source, self.role, self.given, str(self.path))
        if self.columns is None and not self.plain:
            raise ColumnsError(_unknown_columns(str(self.path), self.role, self.source.names, examples), self.source.names)

    def lines(self) -> Iterator[bytes]:
        """Yield the records as JSON objects; once only."""
        try:
            if self._records is None:
                self.open()
            yield from self._records or ()
            for _ in self._unread:
                pass
        finally:
            self.close()

    def file(self, items: list[T]) -> InputFile[T]:
        """Return the items with the problems, SHA-256, format and columns of the file; call it after the last line."""
        found = super().file(items)
        found.read_as = read_as(self.source, self.columns)
        found.plain = self.plain and self.source.format == "jsonl"
        found.names = self.source.names
        found.columns = self.columns or Columns()
        if self.shape is not None:
            found.ids = (self.shape.query_ids, self.shape.passage_ids)
        found.titled = self.titled
        return found

    def close(self) -> None:
        """Close the file."""
        self._records = self._unread = iter(())
        if self._handle is not None:
            self._handle.close()

    def _file(self) -> Any:
        """Open the file for random access."""
        if self._opener is None and not self.path.is_file():
            raise InputError(f"{self.path}: a file of this format cannot be read from a pipe; save it to disk first")
        self._handle = self._opener() if self._opener else self.path.open("rb")
        return self._handle

    def _sized(self, number: int, line: bytes) -> bool:
        self.line = number
        if len(line) > self.max_line_bytes:
            self.too_long(len(line))
            return False
        return True

    def _texts(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for raw in self.cut(blocks):
            try:
                yield b'{"text":' + _encode(raw.decode()) + b"}"
            except UnicodeDecodeError as error:
                self._not_utf8(f"byte 0x{raw[error.start]:02x} at column {error.start + 1}")

    def _not_utf8(self, place: str) -> None:
        self.admit([self.problem("$", "not-utf8", f"not UTF-8: {place}", "save the file as UTF-8")])

    def _array(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size > MAX_ARRAY_BYTES:
                raise InputError(
                    f"{self.path}: the file is one JSON array of over {MAX_ARRAY_BYTES // 2**20:,} MiB; write one object per line "
                    "(jq -c '.[]' IN > OUT)"
                )
        data = b"".join(parts)
        try:
            items = msgspec.json.decode(data, type=list[msgspec.Raw])
            data.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            remedy = "correct it, or write one object per line"
            raise InputError(f"{self.path}: the file begins like a JSON array but is not valid: {error}; {remedy}") from error
        place, line = 0, 1
        for item in items:
            raw = bytes(item)
            found = data.index(raw, place)
            line += data.count(b"\n", place, found)
            # In JSON a line break can only occur between values.
            if self._sized(line, raw):
                yield raw.replace(b"\r", b" ").replace(b"\n", b" ")
            line += raw.count(b"\n")
            place = found + len(raw)

    def _delimited(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        names, lists, width = self.source.names, self.source.lists, len(self.source.names)
        with _FIELD_LIMIT:
            csv.field_size_limit(max(csv.field_size_limit(), self.max_line_bytes))
        lines = _Numbered(self._split(blocks), self.max_line_bytes)
        reader = reader_of(self.source, lines)
        header = self.source.header
        while True:
            begin = lines.number + 1
            lines.record_bytes = 0
            try:
                cells = next(reader, None)
            except csv.Error as error:
                self.line = begin
                if lines.over:
                    self.too_long(lines.over)
                    lines.over = 0
                    continue
                over = "" if lines.number == begin else f"; the record extends to line {lines.number:,}"
                reason = "a quote is not closed" if "unexpected end" in str(error) else str(error)
                remedy = "correct the quotes (double a quote inside a cell)"
                self.admit([self.problem("$", "bad-record", f"malformed record: {reason}{over}", remedy)])
                continue
            if cells is None:
                self.line = lines.number
                return
            self.line = begin
            if not cells:
                continue
            if header:
                header = False
                continue
            if len(cells) != width:
                message = f"expected {width:,} cells, found {len(cells):,}"
                self.admit([self.problem("$", "bad-record", message, "correct the record; quote a cell that contains the delimiter")])
                continue
            record: dict[str, Any] = dict(zip(names, cells, strict=True))
            for name in lists:
                if (found := list_in(record[name])) is not None:
                    record[name] = found
            try:
                line = _encode(record)
            except UnicodeEncodeError:
                column = next(name for name, value in record.items() if not _is_text(value))
                self._not_utf8(f"in the column `{column}`")
                continue
            if self._sized(begin, line):
                yield line

    def _parquet(self) -> tuple[Source, Iterator[bytes]]:
        import pyarrow as pa

        if self.packing:
            raise InputError(f"{self.path}: a Parquet file inside {self.packing}; unpack it first")
        handle = self._file()
        try:
            size = handle.seek(0, os.SEEK_END)
            file = parquet.opened(handle, size, str(self.path))
            names = tuple(file.schema_arrow.names)
            kept = parquet.texts_in(file) if len({*names}) == len(names) else []
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            handle.close()
            raise self._damaged(error) from error
        return Source(format="parquet", names=names), self._rows(file, handle, size, kept)

    def _rows(self, file: Any, handle: Any, size: int, kept: list[str]) -> Iterator[bytes]:
        import pyarrow as pa

        with handle:
            if left_out := [name for name in self.source.names if name not in kept]:
                names = ", ".join(f"`{name}`" for name in left_out)
                self.notice(1, "field-left-out", f"{names} has binary values and is left out", "join it again by `id`")
            number = given = 0
            found = parquet.lines(file, kept, self.max_line_bytes)
            while True:
                try:
                    line = next(found, None)
                except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError) as error:
                    raise self._damaged(error, f"after row {number:,}") from error
                if line is None:
                    break
                number += 1
                if isinstance(line, parquet.Fault):
                    self.line = number
                    if line.kind == "line-too-long":
                        self.too_long(line.size)
                    else:
                        self.admit([self.problem("$", line.kind, line.message, line.remedy)])
                    continue
                given += len(line)
                check_growth(given, size, str(self.path))
                if self._sized(number, line):
                    yield line
            self.line = number

    def _damaged(self, error: Exception, place: str = "") -> InputError:
        if isinstance(error, InputError):
            return error
        reason = str(error).split("\n")[0].rstrip(".") + (f", {place}" if place else "")
        return InputError(f"{self.path}: the Parquet file is damaged or not supported ({reason}); write it again")


def _unknown_columns(path: str, role: Role, names: Sequence[str], examples: Mapping[str, str]) -> str:
    """Return the message for columns that must be named: each with an example, and the setting that names them."""
    shown = "".join(f"\n  {name}: {shortened(examples.get(name, ''), 80)!r}" for name in names[:20])
    texts = [name for name in names if " " in examples.get(name, "").strip()] or list(names)
    by_length = sorted(texts, key=lambda name: -len(examples.get(name, "")))
    if role == "pool":
        wanted, setting = "the passages", f"text={next(iter(by_length), 'NAME')}"
    else:
        query = texts[0] if len(texts) > 1 else "NAME"
        pos = next((name for name in by_length if name != query), "NAME")
        wanted, setting = "the query and its positives", f"query={query} pos={pos}"
    return (
        f"{path}: the columns of {wanted} are not known. Name them, for example: --columns {setting}. "
        f"The file has {counted(len(names), 'column')}:{shown}"
    )


_FIELD_LIMIT = threading.Lock()  # csv has one limit per process


class _Numbered:
    """Lines as text for the csv module; the lines of a record together have a limit."""

    def __init__(self, lines: Iterator[bytes], limit: int) -> None:
        self._lines = lines
        self._limit = limit
        self.number = 0
        self.record_bytes = 0
        self.over = 0  # bytes of a record beyond the limit

    def __iter__(self) -> _Numbered:
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        self.number += 1
        self.record_bytes += len(raw)
        if self.record_bytes > self._limit:
            self.over = self.record_bytes
            raise csv.Error("a record is beyond the limit")
        return raw.decode("utf-8", "surrogateescape") + "\n"


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _is_text(value: str | list[str]) -> bool:
    try:
        _encode(value)
    except UnicodeEncodeError:
        return False
    return True
