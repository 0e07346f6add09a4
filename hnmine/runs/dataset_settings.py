"""What people decide about a data set, a small file each in its folder: bad rows, columns, guidelines (Markdown), overlap of reviews."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.data.columns import Columns

__all__ = ["OVERLAPS", "SETTINGS", "Decisions", "Setup", "read_guidelines", "read_overlap", "read_setting"]


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


OVERLAPS = (0, 10, 100)


class Setup(msgspec.Struct, frozen=True):
    """How a data set is reviewed: percent of its pairs that two reviewers judge."""

    overlap: int = 0

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS:
            raise ValueError(f"the overlap is {self.overlap}, and must be one of {', '.join(map(str, OVERLAPS))}")


def read_guidelines(path: Path) -> str | None:
    """Return the text of a file of guidelines, or None where there is none; bytes that are not UTF-8 are an error, so nothing is lost.

    Raises:
        WorkspaceError: the file cannot be read.
    """
    text = small_files.find_text(path, remedy="repair the file or delete it")
    if text is not None and "\ufffd" in text and "\ufffd".encode() not in path.read_bytes():
        raise WorkspaceError(f"{path} is damaged (it is not UTF-8); repair the file or delete it")
    return text


def read_overlap(path: Path) -> int:
    """Return the percent of a data set's pairs that two reviewers judge, 0 where there is no such file.

    Raises:
        WorkspaceError: the file is damaged.
    """
    found = small_files.find(path, Setup, remedy="delete the file, and set the overlap again")
    return 0 if found is None else found.overlap
