"""The layout of a delimited table: the separator of its cells, whether they may be quoted, and the lines before its first record.

These lines are blank ones, Excel's `sep=;`, comments with `#`, and titles: lines with fewer cells than the header below them. A
Markdown table, like one that psql prints, has a line of dashes below its header. Judgements of TREC are separated by blanks.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, takewhile
from typing import Literal

from hnmine.core.errors import InputError
from hnmine.core.text import shortened
from hnmine.data.columns import known_name

__all__ = ["DELIMITERS", "Layout", "cells_of", "cleaned", "judgements", "reader_of", "refuse_run", "table", "trimmed", "without_titles"]

DELIMITERS = (",", ";", "\t", "|")
_ROWS = 200
_TITLES = 20  # lines before a header
_LONGEST = 40  # characters of a name
# A quoted cell of TSV.
_QUOTED = re.compile(r'(?:^|\t)"((?:[^"]|"")*)"(?=\t|\r?$)', re.MULTILINE)
_EXCEL = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)
# The rule below the header of a Markdown table: dashes, and colons for the alignment.
_DASH = re.compile(r":?\s*[-\u2013\u2014]+\s*:?")
_BAR = re.compile(r"(?<!\\)\|")
_WORD = re.compile(r"[^\W\d][\w.\-]*")
_INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the lines of a delimited table are cut into cells.

    Attributes:
        delimiter: the separator; " " is any number of blanks.
        quoted: whether cells may be quoted.
        quote: the quotation mark.
        bars: a Markdown table: the second record is a line of dashes, and bars around the record are no separators.
        skipped: the lines before the first record.
    """

    delimiter: str = ","
    quoted: bool = True
    quote: str = '"'
    bars: bool = False
    skipped: int = 0


def reader_of(layout: Layout, lines: Iterator[str]) -> Iterator[list[str]]:
    """Return the records of these lines; a blank line is a record without cells.

    Raises:
        csv.Error: when a record is malformed; it is not guessed, and the next one can be read.
    """
    for _ in islice(lines, layout.skipped):
        pass
    if layout.bars:
        return _barred(lines)
    if layout.delimiter == " ":
        return map(str.split, lines)
    if layout.quoted:
        return csv.reader(lines, delimiter=layout.delimiter, quotechar=layout.quote, strict=True)
    return csv.reader(lines, delimiter=layout.delimiter, quoting=csv.QUOTE_NONE, strict=True)


def _barred(lines: Iterable[str]) -> Iterator[list[str]]:
    for number, line in enumerate(lines):
        yield [] if number == 1 else _between_bars(line)


def _between_bars(line: str) -> list[str]:
    text = line.strip()
    if text.startswith("|"):
        text = text[1:]
        if text.endswith("|") and not text.endswith("\\|"):
            text = text[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(text)] if text else []


def cells_of(layout: Layout, text: str) -> tuple[list[list[str]], int]:
    """Return the records of a sample, and the number of unreadable ones."""
    reader = reader_of(layout, io.StringIO(text, newline=""))
    records: list[list[str]] = []
    bad = 0
    while len(records) < _ROWS:
        try:
            if record := next(reader, None):
                records.append(record)
            elif record is None:
                break
        except csv.Error:
            bad += 1
    return records, bad


def cleaned(cell: str) -> str:
    """Return a name of a header without a byte order mark, quotes of its own, or the `#` of a comment."""
    name = cell.strip().strip("\ufeff").strip()
    bare = name.lstrip("#").strip()
    if bare != name and (known_name(bare) or _WORD.fullmatch(bare)):
        name = bare
    return name[1:-1].strip() if len(name) > 2 and name[0] == name[-1] == '"' else name


def trimmed(record: Sequence[str], width: int) -> Sequence[str]:
    """Return a record without empty cells beyond `width`."""
    return record[:width] if len(record) > width and not any(map(str.strip, record[width:])) else record


def table(text: str, name: str, role: Literal["training", "pool"], *, cut: bool) -> tuple[Layout, list[list[str]], int] | None:
    """Return the layout of a table that begins with `text`, its first records, and how many names of its first record are well known.

    Args:
        text, cut: the beginning of the file; whether it ends within a record.
        name: of the file in lower case; it breaks ties.
        role: a pool is rather plain text than a table.

    Raises:
        InputError: a line with names of columns follows a record.
    """
    best: tuple[tuple[float, ...], tuple[Layout, list[list[str]], int]] | None = None
    for layout in _layouts(text, name):
        records, bad = cells_of(layout, text)
        delimiter = layout.delimiter
        if cut and bad:  # a quoted cell that the sample cuts through
            bad -= 1
        quotes = delimiter == "\t" and _uses_quotes(text, len(records))
        if not records or (layout.quoted and delimiter == "\t" and not quotes):
            continue
        width = len(records[0])
        named_cells = max((place for place, cell in enumerate(records[0], 1) if cell.strip()), default=width)
        fit = sum(len(record) == width or len(trimmed(record, named_cells)) == named_cells for record in records) / (len(records) + bad)
        named = layout.bars or name.endswith((".tsv", ".tab") if delimiter == "\t" else (".csv",))
        known = sum(map(known_name, records[0])) if quotes and not layout.quoted else _known(records[0])
        # Two well-known names make it a table, even if most of its records are malformed.
        least = 0.2 if known > 1 and (role == "training" or not layout.skipped) else 0.8
        if fit < least or not _is_table(records, width, known, named, delimiter, role):
            continue
        # Texts have commas, but rarely a tab each. A line without one may be the header of a table with commas.
        tabs = delimiter == "\t" and width > 1 and fit == 1 and (known > 0 or not layout.skipped)
        # In texts a blank follows a comma or a semicolon, between cells it does not.
        tight = sum(all(not cell.startswith(" ") for cell in record[1:]) for record in records) / len(records)
        rank = (float(tabs), float(known), tight, fit, float(width))
        if best is None or rank > best[0]:
            best = rank, (layout, records, known)
    return best[1] if best else None


def _layouts(text: str, name: str) -> Iterator[Layout]:
    """Yield the layouts that the text may have."""
    lines = text.splitlines()[: _TITLES + _ROWS]
    if (begin := _bars(lines)) is not None:
        yield Layout(delimiter="|", quoted=False, bars=True, skipped=begin)
        return
    excel = _EXCEL.fullmatch(lines[0]) if lines else None
    for delimiter in (excel[1],) if excel else DELIMITERS:
        # Texts rarely contain tabs, so most TSV is unquoted, and a quotation mark at the start of a cell is part of its text.
        for quoted in (True, False) if delimiter == "\t" else (True,):
            # SQL tools quote cells with apostrophes.
            quote = (
                "'"
                if quoted and len(lines) > 1 and all(re.fullmatch(rf"'.*'{re.escape(delimiter)}'.*'|", line) for line in lines[1:])
                else '"'
            )
            yield Layout(delimiter=delimiter, quoted=quoted, quote=quote, skipped=_start(lines, delimiter, name))


def _bars(lines: Sequence[str]) -> int | None:
    """Return the number of lines before a Markdown table, or None if there is none."""
    for place, (names, dashes) in enumerate(pairwise(lines[: _TITLES + 1])):
        width = len(_between_bars(names))
        if "|" in names and _are_dashes(dashes) and len(_between_bars(dashes.replace("+", "|"))) == width:
            below = [line for line in lines[place + 2 :] if line.strip()]
            return place if below and sum("|" in line for line in below) >= 0.8 * len(below) else None
    return None


def _are_dashes(line: str) -> bool:
    """Return whether a line is the rule of a table: cells of dashes, several or between bars."""
    cells = re.split(r"[|+]", line.strip())
    inner = cells[not cells[0] : len(cells) - (not cells[-1])]
    return (len(inner) > 1 or (len(inner) == 1 and line.strip()[0] == line.strip()[-1] == "|")) and all(
        _DASH.fullmatch(cell.strip()) for cell in inner
    )


def _start(lines: Sequence[str], delimiter: str, name: str) -> int:
    """Return the number of lines before the header, or before the first record."""
    rows = [_alone(line, delimiter) for line in lines[: 3 * _TITLES]]
    begin = 0
    while begin < min(len(rows), _TITLES) and (not lines[begin].strip() or _EXCEL.fullmatch(lines[begin])):
        begin += 1
    found: list[tuple[int, bool, int]] = []
    for place in range(begin, min(len(rows), _TITLES)):
        cells = rows[place]
        before = range(begin, place)
        if _is_header(cells) and all(_is_title(lines[each], rows[each], len(cells)) for each in before):
            found.append((_known(cells), not lines[place].startswith("#"), -place))
        elif not found and begin < place <= 5 and 1 < len({*cells}) == len(cells) == len(rows[begin]) and _known(cells) == len(cells):
            shown = shortened(lines[begin].strip(), 60)
            raise InputError(
                f"{name}: line {place + 1:,} holds the names of columns, {delimiter.join(cells)!r}, but records come before it, such as "
                f"{shown!r} in line {begin + 1:,}; remove them, or move them below the names"
            )
    if found:
        return -max(found)[2]
    widths = Counter(len(row) for line, row in zip(lines[begin:], rows[begin:], strict=False) if line.strip())
    width, count = widths.most_common(1)[0] if widths else (1, 0)
    place = begin
    while width > 1 and place < min(len(rows), _TITLES) and len(rows[place]) != width and _is_title(lines[place], rows[place], width):
        place += 1
    return place if count >= 0.8 * sum(widths.values()) - (place - begin) else begin


def without_titles(layout: Layout, text: str) -> Layout:
    """Return the layout of a table without a header: lines with too few cells are faulty records there, and no titles."""
    lines = text.splitlines()[: layout.skipped]
    return replace(layout, skipped=sum(1 for _ in takewhile(lambda line: line[:1] in ("", "#") or _EXCEL.fullmatch(line), lines)))


def _alone(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line by itself."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _known(cells: Iterable[str]) -> int:
    return sum(known_name(cleaned(cell)) for cell in cells)


def _is_header(cells: Sequence[str]) -> bool:
    return _known(cells) > 0 and all(len(cell.strip()) <= _LONGEST for cell in cells) and any(map(str.strip, cells[1:])) == (len(cells) > 1)


def _is_title(line: str, cells: Sequence[str], width: int) -> bool:
    """Return whether a line is no record of a table with `width` cells: blank, a comment, or with fewer cells, at most one of three."""
    filled = sum(1 for cell in cells if cell.strip())
    return not filled or line.startswith("#") or (width > 1 and (filled == 1 or filled <= width // 3))


def judgements(text: str) -> tuple[Layout, list[list[str]], bool] | None:
    """Return the layout and records of judgements separated by blanks, and whether they have a header.

    A record is query, passage and grade; in TREC files the second of four cells is an iteration.
    """
    records = [line.split() for line in text.splitlines() if line.strip()][:_ROWS]
    if not records or len(records[0]) not in (3, 4) or any(len(record) != len(records[0]) for record in records):
        return None
    header = len(records) > 1 and not _INTEGER.fullmatch(records[0][-1]) and not any(map(str.isdecimal, records[0]))
    if not all(_INTEGER.fullmatch(record[-1]) for record in records[header:]):
        return None
    if len(records[0]) == 3 and not header and not all(re.search(r"\d", cell) for record in records for cell in record[:2]):
        return None  # three words with a number at the end may be text
    return Layout(delimiter=" ", quoted=False), records, header


def refuse_run(text: str, name: str) -> None:
    """Refuse a TREC run: query, `Q0`, passage, rank, score and the name of the run.

    Raises:
        InputError: the lines are those of a run.
    """
    records = [line.split() for line in text.splitlines() if line.strip()][:_ROWS]
    if records and all(len(record) == 6 and record[1].casefold() == "q0" and _INTEGER.fullmatch(record[3]) for record in records):
        raise InputError(
            f"{name}: the file is a TREC run (query, Q0, passage, rank, score, name of the run): it has the ranks of a search and no "
            "judgements, so its passages are neither positives nor negatives; give the judgements (qrels), or rows with texts"
        )


def _uses_quotes(text: str, records: int) -> bool:
    """Return whether cells of TSV are quoted: those that need it, or a column of them. Else a quotation mark is part of the text."""
    cells = _QUOTED.findall(text)
    return 2 * len(cells) >= records or any(re.search(r'[\t\n,]|""', cell) for cell in cells)


def _is_table(records: list[list[str]], width: int, known: int, named: bool, delimiter: str, role: str) -> bool:
    if width == 1:  # one column ties with plain text: the file name or the header decides
        return role == "pool" and delimiter == "," and (named or bool(known)) and len(records) > 1
    if role == "pool" and delimiter != "\t":
        return named or bool(known)
    return named or bool(known) or len(records) > 2
