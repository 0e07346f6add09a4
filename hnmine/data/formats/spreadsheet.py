"""The first sheet of an Excel workbook (.xlsx), row by row.

openpyxl is an optional extra and reads the rows one at a time; only the texts that cells share are in memory. Numbers and truth
values keep their type, times become ISO 8601 texts, an empty cell is null.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

from hnmine.core.errors import InputError
from hnmine.data.formats.streams import check_growth

__all__ = ["first_sheet", "is_workbook", "rows"]

# What openpyxl raises on a damaged file.
_FAULTS = (zipfile.BadZipFile, zlib.error, ParseError, KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, EOFError,
           RuntimeError, ArithmeticError)  # fmt: skip


def is_workbook(handle: Any) -> bool:
    """Return whether an open zip archive is an Excel workbook."""
    try:
        names = zipfile.ZipFile(handle).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):  # the reader of archives reports it
        return False
    return "xl/workbook.xml" in names and any(name.startswith("xl/worksheets/") for name in names)


def first_sheet(handle: Any, size: int, where: str) -> tuple[Any, int]:
    """Return the first sheet with a value, and the number of such sheets.

    Raises:
        InputError: openpyxl is not installed, or the workbook is damaged or empty.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise InputError(f"{where}: an Excel workbook needs openpyxl; install it (pip install openpyxl), or save it as CSV") from error
    try:
        check_growth(sum(info.file_size for info in zipfile.ZipFile(handle).infolist()), size, where)
        book = openpyxl.load_workbook(handle, read_only=True, data_only=True, keep_links=False)
        sheets = list(book.worksheets)
    except InputError:
        raise
    except _FAULTS as error:
        raise _damaged(where, error) from error
    filled = [sheet for sheet in sheets if next(rows(sheet, where), None)]
    if not filled:
        raise InputError(f"{where}: the Excel workbook has no row; add a header and rows to its first sheet")
    return filled[0], len(filled)


def rows(sheet: Any, where: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield the number from 1 and the cells of each row that is not empty, without empty cells at the end.

    Raises:
        InputError: the workbook is damaged.
    """
    try:
        sheet.reset_dimensions()  # some programs write wrong ones, and cells beyond would be lost
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells = list(row)
            while cells and (cells[-1] is None or cells[-1] == ""):
                cells.pop()
            if cells:
                yield number, cells
    except _FAULTS as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> InputError:
    reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
    return InputError(f"{where}: the Excel workbook is damaged or not supported ({reason}); save it again, or save it as CSV")
