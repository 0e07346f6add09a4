"""Lists and objects that are written as text in a cell: as JSON, as Python prints them, and as NumPy does.

NumPy puts no commas between the texts of an array (`['a' 'b']`), and Python joins such texts into one, so commas are put there first.
A text that looks like a list and is none, such as an array that NumPy shortened, is never a passage. Nor is a word for a missing value,
such as "nan" or "None", in any format: programs write it where a passage is missing. A query may be such a word: people type them.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

__all__ = ["LONGEST_MISSING", "is_missing", "list_in", "literal_in", "looks_like_list"]

# What pandas, Python and spreadsheets write for a missing value.
_MISSING = frozenset(("nan", "none", "null", "<na>", "n/a", "#n/a"))
LONGEST_MISSING = 8  # characters, with blanks around

# A text that is not closed ends with the cell: else each further quote would begin a search to its end.
_TEXT = re.compile(r"""('(?:[^'\\]|\\.)*+(?:'|\Z)|"(?:[^"\\]|\\.)*+(?:"|\Z))""", re.DOTALL)
_BEGINS = re.compile(r"""(?:array\()?\[\s*['"{]""")
_ENDS = re.compile(r"""['"}]\s*\](?:,\s*dtype=[^),]*)?\)?\Z""")
_END = 200  # characters
# Characters, quotes and separators of a cell in Python's notation, whose parser takes 7 s for a MiB of short texts; JSON has no limit.
_LONGEST_PYTHON, _MOST_MARKS = 2**20, 30_000


def literal_in(cell: str) -> Any:
    """Return the list or object in a cell (JSON, Python or NumPy), or None."""
    text = cell.strip()
    if not text.startswith(("[", "{", "array(")) or not text.endswith(("]", "}", ")")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > _LONGEST_PYTHON or sum(map(text.count, "'\",+-")) > _MOST_MARKS:
            return None
        try:
            found = ast.literal_eval(_with_commas(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    return found if isinstance(found, list | dict) else None


def list_in(cell: str) -> list[str] | None:
    """Return the list of strings in a cell, or None."""
    found = literal_in(cell)
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None


def is_missing(text: str) -> bool:
    """Return whether a text is a word for a missing value."""
    return len(text) <= LONGEST_MISSING and text.strip().casefold() in _MISSING


def looks_like_list(text: str) -> bool:
    """Return whether a text is a list of texts or objects, also a damaged one."""
    text = text.strip()
    begin = _BEGINS.match(text)
    return begin is not None and _ENDS.search(text, max(begin.end(), len(text) - _END)) is not None


def _with_commas(text: str) -> str:
    """Return the arrays in a text as lists, with commas between their items.

    Raises:
        ValueError: some texts are separated by commas and others by blanks.
    """
    parts = _TEXT.split(text)  # what is between the texts, and the texts
    between = parts[::2]
    if any(not part.strip() for part in between[1:-1]):
        if "" in between[1:-1] or any("," in part for part in between):
            raise ValueError
        between = [between[0], *(part if part.strip() else "," for part in between[1:-1]), between[-1]]
    between = [re.sub(r"\}\s+\{", "}, {", part) for part in between]
    if any("array(" in part for part in between):
        between = [re.sub(r"array\(|,\s*dtype=[^(),]*\)|(?<=\])\)", "", part) for part in between]
    return "".join(each for pair in zip(between, [*parts[1::2], ""], strict=True) for each in pair)
