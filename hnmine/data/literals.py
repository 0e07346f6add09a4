"""Lists and objects that are written as text in a cell: as JSON, as Python prints them, and as NumPy does.

NumPy puts no commas between the texts of an array (`['a' 'b']`), and Python joins such texts into one, so they are cut apart here.
A text that looks like a list and is none, such as an array that NumPy shortened, is never a passage.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

__all__ = ["list_in", "literal_in", "looks_like_list"]

_ARRAY = re.compile(r"array\((\[.*\])(?:,\s*dtype=[^)]*)?\)", re.DOTALL)
_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_WITHOUT_COMMAS = re.compile(rf"\[\s*(?:{_TEXT})(?:\s+(?:{_TEXT}))+\s*\]", re.DOTALL)
_LOOKS = re.compile(r"""(?:array\()?\[\s*['"{].*['"}]\s*\](?:,\s*dtype=[^)]*)?\)?""", re.DOTALL)


def literal_in(cell: str) -> Any:
    """Return the list or object in a cell (JSON, Python or NumPy), or None."""
    text = cell.strip()
    if (array := _ARRAY.fullmatch(text)) is not None:
        text = array[1]
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    if _WITHOUT_COMMAS.fullmatch(text):
        return [ast.literal_eval(each) for each in re.findall(_TEXT, text, re.DOTALL)]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if _joins_texts(text):
            return None
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    return found if isinstance(found, list | dict) else None


def list_in(cell: str) -> list[str] | None:
    """Return the list of strings in a cell, or None."""
    found = literal_in(cell) if cell.lstrip().startswith(("[", "array(")) else None
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None


def looks_like_list(text: str) -> bool:
    """Return whether a text is a list of texts or objects, also a damaged one."""
    return _LOOKS.fullmatch(text.strip()) is not None


def _joins_texts(text: str) -> bool:
    """Return whether two texts follow each other without a comma, which Python reads as one."""
    return re.search(r"\0\s*\0", re.sub(_TEXT, "\0", text, flags=re.DOTALL)) is not None
