"""What a data set's reviewers share, two files in its folder: the guidelines (Markdown) and the overlap of their work."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError

__all__ = ["OVERLAPS", "Setup", "read_guidelines", "read_overlap"]

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
