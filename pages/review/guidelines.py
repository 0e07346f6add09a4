"""What a data set's reviewers share: the guidelines (Markdown) and the overlap, as files in the folder of the data set."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hnmine import resources
from hnmine.core.errors import WorkspaceError
from hnmine.core.files import write_atomic

OVERLAPS = (0, 10, 100)


class Setup(msgspec.Struct, frozen=True):
    """How a data set is reviewed: percent of its pairs that two reviewers judge."""

    overlap: int = 0


def _path(dataset_id: str, name: str) -> Path:
    return resources.workspace().dataset_folder(dataset_id) / name


def guidelines(dataset_id: str) -> str:
    """Return the guidelines of a data set, empty without any.

    Raises:
        WorkspaceError: the file cannot be read.
    """
    path = _path(dataset_id, "guidelines.md")
    try:
        return path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"the guidelines in {path} cannot be read ({error}); repair the file or delete it") from error


def write_guidelines(dataset_id: str, text: str) -> None:
    """Write the guidelines of a data set.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(_path(dataset_id, "guidelines.md"), [text.encode("utf-8", "replace")])


def overlap(dataset_id: str) -> int:
    """Return the percent of a data set's pairs that two reviewers judge.

    Raises:
        WorkspaceError: the file is damaged.
    """
    path = _path(dataset_id, "review.json")
    if not path.exists():
        return 0
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Setup).overlap
    except (OSError, msgspec.DecodeError) as error:
        raise WorkspaceError(f"the settings of the review in {path} cannot be read ({error}); delete the file") from error
    if found not in OVERLAPS:
        raise WorkspaceError(f"the overlap in {path} is {found}; it must be one of {', '.join(map(str, OVERLAPS))}; delete the file")
    return found


def write_overlap(dataset_id: str, percent: int) -> None:
    """Write the percent of a data set's pairs that two reviewers judge.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(_path(dataset_id, "review.json"), [msgspec.json.encode(Setup(overlap=percent))])
