"""What people decide about a data set, a small file each in its folder: its bad rows, its columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core import small_files
from hnmine.data.columns import Columns

__all__ = ["SETTINGS", "Decisions", "read_setting"]

REMEDY = "remove the file, and choose again"


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions about the bad rows of a data set: kinds of problems to repair, and whether to skip the other rows."""

    repair: tuple[str, ...] = ()
    skip_bad_rows: bool = False


def _older(value: Any) -> Any:
    """Convert the pair that the file held before."""
    return dict(zip(("repair", "skip_bad_rows"), value, strict=True)) if isinstance(value, list) else value


# The type of each file, and what converts older ones.
SETTINGS: dict[str, tuple[type[Any], Callable[[Any], Any] | None]] = {
    "decisions.json": (Decisions, _older),
    "columns.json": (Columns, None),
}


def read_setting(path: Path) -> Any:
    """Return the content of one of SETTINGS, or None where there is no such file.

    Raises:
        WorkspaceError: it is damaged.
    """
    kind, convert = SETTINGS[path.name]
    return small_files.find(path, kind, remedy=REMEDY, convert=convert)
