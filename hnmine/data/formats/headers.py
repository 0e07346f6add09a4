"""Whether the first record of a table, or one of the first rows of a sheet, holds the names of its columns.

Names are short, end no sentence and are unlike the values below them: shorter than texts, words above numbers. Where this is
likely but not certain the user is asked, because a header read as a row is a wrong row, and a row read as a header is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median
from typing import Any, Literal

from hnmine.data.columns import known_name
from hnmine.data.formats.delimited import cleaned

__all__ = ["DENSE", "ID", "doubt", "header_in", "header_of_sheet"]

ID = r"[!-~]*\d[!-~]*"
_LONGEST = 40  # characters of a name
_TITLES = 20  # rows of a sheet before its header
_WORD = re.compile(r"[^\W\d][\w.\-]{0,39}")
_SENTENCE = re.compile(r"[.!?…。！？｡]['\")\]»”』」]*$")
# Letters of scripts without blanks between words (Thai, Chinese, Japanese): a text looks like a name there.
DENSE = re.compile(r"[\u0e00-\u0eff\u2e80-\u9fff]")


def header_in(first: Sequence[str], rows: Sequence[Sequence[str]]) -> Literal["yes", "maybe", "no"]:
    """Return whether `first` holds the names of the columns of `rows`, which are as long."""
    if len({*first}) < len(first):
        return "no"
    if all(map(_WORD.fullmatch, first)):
        longest = max((len(cell) for row in rows for cell in row), default=0)
        if longest >= 2 * max(map(len, first)) and all(map(_is_above, first, zip(*rows, strict=True))):
            return "yes"
        if rows and all(any(" " in cell.strip() for cell in row) for row in rows):
            return "yes"
    below = [[cell.strip() for row in rows if [*row] != [*first] and (cell := row[place]).strip()] for place in range(len(first))]
    columns = [(name.strip(), cells) for name, cells in zip(first, below, strict=True) if cells]
    if not all(_is_name(name) for name in first) or any(name in cells for name, cells in columns):
        return "no"
    texts = [(name, [*map(len, cells)]) for name, cells in columns if _is_texts(cells)]
    if not texts:
        return "no"
    name, lengths = max(texts, key=lambda each: median(each[1]))
    if _typed(columns) and len(name) < median(lengths):
        return "yes"
    far = 3 * len(name) < 2 * min(lengths)
    shorter = all(len(name) < min(lengths) for name, lengths in texts)
    return "yes" if far and shorter and len(rows) > 2 else "maybe" if far or shorter else "no"


def doubt(first: Sequence[str], role: str, *, header: bool) -> str:
    """Return the end of a question for columns: the first record may be their names, or may be none of them if it is read as a `header`."""
    if header:
        return "\n  The first record is read as the names of the columns. If it is a record, name them `column_1`, `column_2` and so on."
    words = [f"text={first[-1]}"] if role == "pool" else [f"{part}={name}" for part, name in zip(("query", "pos"), first, strict=False)]
    setting = " ".join(f"'{word}'" if any(map(str.isspace, word)) else word for word in words)
    shown = ", ".join(f"`{name}`" for name in first[:20])
    return (
        f"\n  The first record may hold the names of the columns: {shown}. If it does, name the columns by them "
        f"(--columns {setting}); with `column_1` and so on it is read as a record."
    )


def _is_name(cell: str) -> bool:
    name = cell.strip()
    sentence = _SENTENCE.search(name) and (name.count(" ") > 1 or DENSE.search(name))
    return 0 < len(name) <= _LONGEST and not sentence and any(map(str.isalpha, name))


def _is_texts(cells: Sequence[str]) -> bool:
    return median(map(len, cells)) >= (6 if any(map(DENSE.search, cells)) else 12)


def _typed(columns: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Return whether a name without a digit is above numbers or ids."""
    return any(len(cells) > 2 and not re.search(r"\d", name) and all(re.fullmatch(ID, cell) for cell in cells) for name, cells in columns)


def _is_above(name: str, cells: Sequence[str]) -> bool:
    """Return whether a name in a script without blanks is shorter than every text below it; True for other scripts."""
    return not DENSE.search(name) or all(len(name) < len(cell.strip()) or re.fullmatch(ID, cell.strip()) for cell in cells)


def header_of_sheet(rows: Sequence[Sequence[Any]]) -> tuple[int, list[Any]]:
    """Return the number of rows before the header of a sheet, or before its first record, and the cells of that row.

    Titles have fewer cells than the header. A cell that is merged over several columns is above names of its own; one that is
    merged over two rows is a name itself.

    Args:
        rows: the first rows, all of one length; empty cells are None.
    """
    width = max(map(_filled, rows))
    found: list[tuple[int, int, list[Any]]] = []
    for place, row in enumerate(rows[:_TITLES]):
        cells = [*row]
        if place and _filled(rows[place - 1]) > 1:
            cells = [above if cell is None else cell for above, cell in zip(rows[place - 1], row, strict=True)]
        known = sum(known_name(cleaned(cell)) for cell in cells if isinstance(cell, str))
        full = _filled(cells) == width
        if (known and place == 0 and (full or _filled(row) > 1)) or (full and _are_names(cells, rows[place + 1 :], known)):
            found.append((known, -place, cells))
        if _filled(row) == width:
            break
    if not found:
        return 0, [*rows[0]]
    _, place, cells = max(found, key=lambda each: each[:2])
    return -place, cells


def _filled(row: Sequence[Any]) -> int:
    return sum(1 for cell in row if cell is not None and cell != "")


def _are_names(cells: Sequence[Any], below: Sequence[Sequence[Any]], known: int) -> bool:
    names = [cell for cell in cells if cell is not None]
    if not below or not all(isinstance(cell, str) and _is_name(cell) for cell in names):
        return False
    kept = [place for place, cell in enumerate(cells) if cell is not None]
    texts = [["" if row[place] is None else str(row[place]) for place in kept] for row in below]
    return len({*names}) == len(names) and (known > 0 or header_in(names, texts) == "yes")
