"""The records of a delimited table as JSON objects, each fault with the line where its record begins.

A quote that is opened by mistake swallows the records up to the next quote into one cell. Such a cell is recognised by its lines:
each has as many separators as a record. Lines before the table, a line of totals after it, and the header where it comes again
(as in files that were put together) are left out and counted.
"""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from hnmine.core.text import counted, shortened
from hnmine.data.formats.delimited import cleaned, reader_of
from hnmine.data.formats.detect import Source
from hnmine.data.formats.lines import LineReader
from hnmine.data.formats.literals import list_in

__all__ = ["Again", "delimited_records", "report_titles"]

_encode = msgspec.json.Encoder(decimal_format="number").encode
# The last line of an export, such as "Total", "Sum", "12 rows" or "# end".
_TOTAL = re.compile(
    r"((grand )?total|sum|summe|gesamt|count|average|mean)( rows?)?:?|\(?[\d.,]+ (rows?|records?)( .*)?\)?\.?|# ?.*|-{3,}.*", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?[\d.,]*%?")
_FIELD_LIMIT = threading.Lock()  # csv has one limit per process


def delimited_records(reader: LineReader, source: Source, lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the records of the lines of a table; faults and notices go to `reader`."""
    names, lists, width = source.names, source.lists, len(source.names)
    with _FIELD_LIMIT:
        csv.field_size_limit(max(csv.field_size_limit(), reader.max_line_bytes))
    texts = _Numbered(lines, reader.max_line_bytes, source.layout.skipped)
    records = reader_of(source.layout, texts)
    header = source.header
    again = Again(reader)
    empty = first_empty = 0
    held: list[str] | None = None  # the record before: the last one may be a line of totals
    number = 0  # its line
    while True:
        begin = texts.number + 1
        texts.record_bytes = 0
        fault: csv.Error | None = None
        try:
            cells = next(records, None)
        except csv.Error as error:
            cells, fault = None, error
        if cells is not None and not cells:
            continue
        if held is not None:
            if cells is None and fault is None and _is_total(held, width):
                message = f"the last line is no record, {shortened(source.layout.delimiter.join(held), 60)!r}: left out"
                reader.notice(number, "record-left-out", message, "nothing to do, or remove it from the file")
            elif line := _record(reader, names, lists, number, held):
                yield line
            held = None
        if fault is not None:
            reader.line = begin
            _report(reader, texts, begin, fault)
        elif cells is None:
            break
        elif header:
            header, again.header = False, cells
        elif again.has(begin, cells):
            continue
        elif texts.number > begin and (message := _swallowed(cells, source.layout.delimiter, width)):
            reader.line = begin
            remedy = "remove the quote, or double it (two quotes inside a quoted cell)"
            reader.admit([reader.problem("$", "bad-record", f"{message} up to line {texts.number:,}", remedy)])
        else:
            if len(cells) > width and not any(map(str.strip, cells[width:])):
                empty, first_empty = empty + 1, first_empty or begin
                cells = cells[:width]
            held, number = cells, begin
    reader.line = texts.number
    again.report()
    report_titles(reader, texts.skipped, "line")
    if empty:
        message = f"{counted(empty, 'record')} with empty cells after the last column, the first here: these cells are left out"
        reader.notice(first_empty, "field-left-out", message, "nothing to do")


def report_titles(reader: LineReader, titles: Sequence[str], what: str) -> None:
    """Report the lines or rows before a table that were left out."""
    if titles:
        longest = max(map(str.strip, titles), key=len)
        message = f"{counted(len(titles), what)} before the table, such as {shortened(longest, 60)!r}: left out"
        reader.notice(1, "record-left-out", message, "nothing to do, or remove them from the file")


class Again:
    """The lines where the header of a table comes again; `header` has its cells, or none."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._lines: list[int] = []
        self.header: Sequence[Any] = ()

    def has(self, line: int, cells: Sequence[Any]) -> bool:
        """Return whether a record is the header."""
        if len(cells) != len(self.header) or cells[-1] != self.header[-1] or [*map(_bare, cells)] != [*map(_bare, self.header)]:
            return False
        self._lines.append(line)
        return True

    def report(self) -> None:
        """Report the lines that were left out."""
        if self._lines:
            others = ", ".join(f"{line:,}" for line in self._lines[1:6]) + (", ..." if len(self._lines) > 6 else "")
            message = f"the header comes again{f', also in the lines {others}' if others else ''}: left out"
            self._reader.notice(self._lines[0], "record-left-out", message, "nothing to do, or remove it from the file")


def _bare(cell: Any) -> Any:
    return cleaned(cell) if isinstance(cell, str) else cell


def _report(reader: LineReader, texts: _Numbered, begin: int, error: csv.Error) -> None:
    """Report a record that the csv module cannot read."""
    if texts.over:
        reader.too_long(texts.over)
        texts.over = 0
        return
    over = "" if texts.number == begin else f"; the record extends to line {texts.number:,}"
    reason = "a quote is not closed" if "unexpected end" in str(error) else str(error)
    remedy = "correct the quotes (double a quote inside a cell)"
    reader.admit([reader.problem("$", "bad-record", f"malformed record: {reason}{over}", remedy)])


def _is_total(cells: Sequence[str], width: int) -> bool:
    """Return whether the last record is a line of totals: a word for it, and numbers at most."""
    numbers = all(map(_NUMBER.fullmatch, map(str.strip, cells[1:])))
    return width > 1 and len(cells) <= width and numbers and _TOTAL.fullmatch(cells[0].strip()) is not None


def _record(reader: LineReader, names: Sequence[str], lists: Sequence[str], number: int, cells: list[str]) -> bytes | None:
    """Return a record as JSON, or None if it is faulty."""
    reader.line = number
    if len(cells) != len(names):
        message = f"expected {len(names):,} cells, found {len(cells):,}"
        reader.admit([reader.problem("$", "bad-record", message, "correct the record; quote a cell that contains the delimiter")])
        return None
    record: dict[str, Any] = dict(zip(names, cells, strict=True))
    for name in lists:
        if (found := list_in(record[name])) is not None:
            record[name] = found
    try:
        line = _encode(record)
    except UnicodeEncodeError:
        column = next(name for name, value in record.items() if not _is_text(value))
        reader.admit([reader.undecodable(f"in the column `{column}`")])
        return None
    return line if reader.sized(number, line) else None


def _swallowed(cells: Sequence[str], delimiter: str, width: int) -> str:
    """Return what a quoted cell swallowed: records, if its lines have the separators of records; else ""."""
    for place, cell in enumerate(cells):
        if "\n" not in cell:
            continue
        ends, separators = cell.count("\n"), cell.count(delimiter)
        if separators < 2 or separators != (width - 1) * ends or delimiter + " " in cell:  # in a text a blank follows a comma
            continue
        expected = [width - 1 - place, *[width - 1] * (ends - 1), place]
        if [line.count(delimiter) for line in cell.split("\n")] == expected:
            return f"a quote that opens in cell {place + 1:,} is closed too late: its cell has whole records in it,"
    return ""


class _Numbered:
    """Lines as text for the csv module; the lines of a record together have a limit.

    `skipped` are the lines before the first record.
    """

    def __init__(self, lines: Iterator[bytes], limit: int, skip: int) -> None:
        self._lines = lines
        self._limit = limit
        self._skip = skip
        self.skipped: list[str] = []
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
        text = raw.decode("utf-8", "surrogateescape") + "\n"
        if self.number <= self._skip:
            self.skipped.append(text)
        return text


def _is_text(value: str | list[str]) -> bool:
    try:
        _encode(value)
    except UnicodeEncodeError:
        return False
    return True
