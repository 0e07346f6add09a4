"""Records of every format as JSON lines, so that one reader finds the problems of all formats.

Each problem has its place (the line where a record begins, the row, the element), column and remedy. Values keep their types:
numbers and lists of Parquet stay so, a cell of CSV stays text ("007") unless all cells of its column are lists. A record that is
a list becomes an object with `column_1`, `column_2` and so on. JSON lines pass through unchanged, 20 µs for a row of 4 kB; as CSV
it takes 70, as Parquet 40.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import Any, BinaryIO, Literal, Self, TypeVar

import msgspec

from hnmine.core.errors import ColumnsError, InputError
from hnmine.data.columns import Columns
from hnmine.data.formats import arrow, documents, spreadsheet, turned
from hnmine.data.formats.arrow_files import opened_ipc, opened_parquet
from hnmine.data.formats.cells import Again, delimited_records, report_titles
from hnmine.data.formats.detect import Role, Source, detect, read_as, sheet
from hnmine.data.formats.headers import doubt
from hnmine.data.formats.lines import SEEKABLE, LineReader, chained
from hnmine.data.formats.literals import list_in
from hnmine.data.formats.streams import check_growth, single
from hnmine.data.formats.unreadable import ARROW
from hnmine.data.problems import InputFile
from hnmine.data.questions import unknown_columns
from hnmine.data.resolving import resolve
from hnmine.data.shapes.shape import Shape
from hnmine.data.shapes.shaped import Shaped

__all__ = ["RecordReader"]

# A JSON document is parsed in memory.
MAX_ARRAY_BYTES = 512 * 2**20
_LOOKED_AT = 1_000  # records that a question about columns looks at
_FIRST = 200  # rows of a sheet to detect its columns

T = TypeVar("T")
_A_FILE = {"parquet": "a Parquet file", "arrow": "an Arrow file"}
_encode = msgspec.json.Encoder(decimal_format="number").encode


class RecordReader(LineReader):
    """Detects the format of a file, and yields its records as JSON lines.

    Attributes:
        source: the detected format, once open.
        columns: the columns to read; None to report missing fields line by line.
        plain: no column is renamed.
        shape: of rows that are more than columns, if any.
        pool: the passages of a file that holds its own pool, filled while it is read.
        packed: the fields that hold lists or objects as text.
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
        encoding: str | None = None,
    ) -> None:
        if encoding is None and columns is not None:
            encoding = columns.encoding
        super().__init__(path, repair, skip_bad_rows, opener=opener, name=name, encoding=encoding)
        self.role = role
        self.given = columns or Columns()
        self.source = Source(format="jsonl")
        self.columns: Columns | None = None
        self.shape: Shape | None = None
        self.pool: list[str] | None = None
        self.packed: tuple[str, ...] = ()
        self.titled: dict[str, str] = {}
        self.plain = True
        self._records: Iterator[bytes] | None = None
        self._unread: Iterator[bytes] = iter(())  # bytes that only the SHA-256 needs
        self._handle: Any = None  # of a seekable file

    def renewed(self, columns: Columns) -> Self:
        """Return a reader of the same file that is not open yet, with other columns."""
        return type(self)(self.path, self.repair, self.skip_bad_rows, role=self.role, columns=columns, opener=self._opener, name=self.name)

    def open(self) -> None:
        """Read the beginning of the file and detect its format.

        Raises:
            ColumnsError: the columns of a table must be named.
            InputError: the file cannot be read, or a named column does not exist.
        """
        if self._records is not None:
            return
        with self.net():
            self._open()

    def _open(self) -> None:
        try:
            self._detect()
        except BaseException:
            self.close()
            raise
        examples: dict[str, str] = {}
        if self.source.format != "text":
            shaped = Shaped(self, self._records or iter(()), self.given if self.converts and self.role == "training" else None)
            self._records, self.shape, self.pool, examples = iter(shaped), shaped.shape, shaped.pool, shaped.examples
            self.packed = shaped.packed
            self.source = replace(self.source, **shaped.kinds)
            if shaped.shape is not None:
                self.source = replace(self.source, names=shaped.names, shape=shaped.shape.name, header=True, lists=(), ids=())
        if twice := next((name for name, count in Counter(self.source.names).items() if count > 1), None):
            raise InputError(f"{self.where}: two columns are named `{twice}`; rename one of them")
        self.columns, self.plain = resolve(self.source, self.role, self.given, self.where)
        if self.columns is None and not self.converts and self.source.format in ("jsonl", "json"):
            self.plain = True  # the missing fields are reported line by line
        unsure = self.shape is None and not self._named() and bool(self.source.doubtful)
        in_doubt = unsure and not self.source.header  # a header read as a record would be a wrong row
        if (self.columns is None and not self.plain) or (self.shape is not None and self.shape.asks) or in_doubt:
            first = list(islice(self._records or (), _LOOKED_AT))
            self._records = chain(first, self._records or ())  # a screen shows them with the question
            question = unknown_columns(self.where, self.role, self.source, examples, first)
            more = doubt(self.source.doubtful, self.role, header=self.source.header) if unsure else ""
            raise ColumnsError(question + more, self.source.names)

    def _named(self) -> set[str]:
        """Return the columns that the user names."""
        given = self.given
        names = (given.text, given.id) if self.role == "pool" else (given.query, given.label, *(given.pos or ()), *(given.neg or ()))
        return {name for name in names if name}

    def _detect(self) -> None:
        stored = self.blocks()
        head = next(stored, b"")
        if head.startswith(SEEKABLE):
            self._unread = stored
        if head.startswith((b"PAR1", *ARROW)):
            self.source, self._records = self._columnar("parquet" if head.startswith(b"PAR1") else "arrow")
        elif head.startswith(b"PK\x03\x04") and spreadsheet.is_workbook(file := self._file()):
            self.source, self._records = self._workbook(file)
        else:
            if head.startswith(b"PK\x03\x04"):
                file.seek(0)
                stored = single(file, self.where)
                head = next(stored, b"")
            blocks = self.decoded(chained(head, stored))
            head = next(blocks, b"")
            second = next(blocks, b"")
            source = detect(head, self.where, self.role, whole=not second, named=self._named())
            if not self.converts and source.format == "jsonl" and source.listed:
                source = Source(format="jsonl")  # lists in place of objects are faults of their lines
            self.source = replace(source, packing=self.packing, encoding=self.encoding)
            blocks = chained(head, chained(second, blocks))
            ways = {"csv": self._table, "text": self._texts, "json": self._turned if source.turned else self._document}
            records = ways.get(source.format, self.cut)(blocks)
            self._records = self._lists(records) if source.listed else records

    def lines(self) -> Iterator[bytes]:
        """Yield the records as JSON objects; once only."""
        try:
            if self._records is None:
                self.open()
            with self.net():
                yield from self._records or ()
                for _ in self._unread:
                    pass
        finally:
            self.close()

    def file(self, items: Sequence[T]) -> InputFile[T]:
        """Return the items with the problems, SHA-256, format and columns of the file; call it after the last line."""
        found = super().file(items)
        found.read_as = read_as(self.source, self.columns)
        found.plain = self.plain and self.source.format == "jsonl" and not self.encoding
        found.names = self.source.names
        found.columns = self.columns or Columns()
        if self.shape is not None:
            found.ids = (self.shape.query_ids, self.shape.passage_ids)
        found.titled, found.pool = self.titled, self.pool
        return found

    def close(self) -> None:
        """Close the file."""
        self._records = self._unread = iter(())
        if self._handle is not None:
            self._handle.close()

    def _file(self) -> Any:
        """Open the file for random access."""
        if self._opener is None and not self.path.is_file():
            raise InputError(f"{self.where}: a file of this format cannot be read from a pipe; save it to disk first")
        self._handle = self._opener() if self._opener else self.path.open("rb")
        return self._handle

    def _texts(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for raw in self.cut(blocks):
            try:
                yield b'{"text":' + _encode(raw.decode()) + b"}"
            except UnicodeDecodeError as error:
                self.admit([self.undecodable_at(raw, error.start)])

    def _whole(self, blocks: Iterator[bytes]) -> bytes:
        """Return the bytes of a JSON document."""
        parts: list[bytes] = []
        size = 0
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size > MAX_ARRAY_BYTES:
                way = "pandas.read_json(IN).to_json(OUT, orient='records', lines=True)" if self.source.turned else "jq -c '.[]' IN > OUT"
                raise InputError(
                    f"{self.where}: the file is one JSON array or object and has over {MAX_ARRAY_BYTES // 2**20:,} MiB; "
                    f"write one object per line ({way})"
                )
        return b"".join(parts)

    def _document(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        items, places, by_element = documents.records(self._whole(blocks), self.where)
        self.unit = "element" if by_element else "line"
        yield from self._elements(items, places)

    def _turned(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Return the records of an object that holds them by columns or keys, whose fields are known once it is read."""
        items = turned.records(self._whole(blocks), self.source.turned, self.where)
        self.unit = "element"
        names = dict.fromkeys(name for item in items[:_FIRST] for name in msgspec.json.decode(item, type=dict[str, msgspec.Raw]))
        self.source = replace(self.source, names=tuple(names))
        return self._elements(items, range(1, len(items) + 1))

    def _elements(self, items: Iterable[bytes | msgspec.Raw], places: Iterable[int]) -> Iterator[bytes]:
        for item, place in zip(items, places, strict=True):
            raw = bytes(item)
            # In JSON a line break can only occur between values.
            if self.sized(place, raw):
                yield raw.replace(b"\r", b" ").replace(b"\n", b" ")

    def _lists(self, records: Iterator[bytes]) -> Iterator[bytes]:
        """Yield records that are lists as objects, by the names of the columns."""
        names = [_encode(name) for name in self.source.names]
        for raw in islice(records, 1 if self.source.header else 0, None):
            values = documents.list_in_line(raw)
            if values is None:  # reported by the reader
                yield raw
            elif len(values) != len(names):
                message = f"expected {len(names):,} values, found {len(values):,}"
                self.admit([self.problem("$", "bad-record", message, "correct the record")])
            else:
                yield b"{" + b", ".join(name + b": " + bytes(value) for name, value in zip(names, values, strict=True)) + b"}"

    def _table(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        return delimited_records(self, self.source, self._split(blocks))

    def _workbook(self, handle: Any) -> tuple[Source, Iterator[bytes]]:
        where = self.where
        found, sheets = spreadsheet.first_sheet(handle, handle.seek(0, os.SEEK_END), where)
        first = [cells for _, cells in islice(spreadsheet.rows(found, where), _FIRST)]
        width = max(map(len, first))
        source = sheet([cells + [None] * (width - len(cells)) for cells in first], found.title if sheets > 1 else "", self._named())
        return source, self._cells(spreadsheet.rows(found, where))

    def _cells(self, rows: Iterator[tuple[int, list[Any]]]) -> Iterator[bytes]:
        names, lists = self.source.names, self.source.lists
        header, skipped = self.source.header, self.source.layout.skipped
        again = Again(self)
        titles = [" ".join(str(cell) for cell in cells if cell is not None) for _, cells in islice(rows, skipped)]
        for number, cells in rows:
            self.line = number
            if header:
                header, again.header = False, cells
                continue
            if again.has(number, cells):
                continue
            if len(cells) > len(names):
                message = f"expected {len(names):,} cells, found {len(cells):,}"
                self.admit([self.problem("$", "bad-record", message, "correct the row, or name the column in the first row")])
                continue
            record = dict(zip_longest(names, cells))
            for name in lists:
                if isinstance(record[name], str) and (found := list_in(record[name])) is not None:
                    record[name] = found
            line = _encode(record)
            if self.sized(number, line):
                yield line
        again.report()
        report_titles(self, titles, "row")

    def _columnar(self, kind: Literal["parquet", "arrow"]) -> tuple[Source, Iterator[bytes]]:
        import pyarrow as pa

        if self.packing:
            raise InputError(f"{self.where}: {_A_FILE[kind]} inside {self.packing}; unpack it first")
        handle = self._file()
        try:
            size = handle.seek(0, os.SEEK_END)
            if kind == "arrow" and self._opener is None:
                handle.close()
                handle = self._handle = pa.memory_map(str(self.path))
            file = (opened_parquet if kind == "parquet" else opened_ipc)(handle, size, self.where)
            names = tuple(file.schema.names)
            kept = arrow.texts_in(file.schema) if len({*names}) == len(names) else []
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise self._damaged(kind, error) from error
        return Source(format=kind, names=names), self._rows(kind, file, handle, size, kept)

    def _rows(self, kind: Literal["parquet", "arrow"], file: arrow.Opened, handle: Any, size: int, kept: list[str]) -> Iterator[bytes]:
        import pyarrow as pa

        with handle:
            read = {*kept}
            if left_out := [name for name in self.source.names if name not in read]:
                names = ", ".join(f"`{name}`" for name in left_out)
                self.notice(1, "field-left-out", f"{names} has binary values and is left out", "join it again by `id`")
            number = given = 0
            found = arrow.lines(file, kept, self.max_line_bytes)
            while True:
                try:
                    line = next(found, None)
                except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError) as error:
                    raise self._damaged(kind, error, f"after row {number:,}") from error
                if line is None:
                    break
                number += 1
                if isinstance(line, arrow.Fault):
                    self.line = number
                    if line.kind == "line-too-long":
                        self.too_long(line.size)
                    else:
                        self.admit([self.problem("$", line.kind, line.message, line.remedy)])
                    continue
                given += len(line)
                check_growth(given, size, self.where)
                if self.sized(number, line):
                    yield line
            self.line = number

    def _damaged(self, kind: Literal["parquet", "arrow"], error: Exception, place: str = "") -> InputError:
        if isinstance(error, InputError):
            return error
        reason = str(error).split("\n")[0].rstrip(".") + (f", {place}" if place else "")
        return InputError(f"{self.where}: the {_A_FILE[kind][2:].strip()} is damaged or not supported ({reason}); write it again")
