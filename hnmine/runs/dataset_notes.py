"""What people see of a data set in a list: its name, and what it held when it was last read.

The name of a file is part of manifests and commands, so another name is kept beside it. The counts spare the list from reading every file.
"""

from __future__ import annotations

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.core.text import line_of, visible
from hnmine.runs.workspace import NAME_LENGTH, Dataset, Workspace

__all__ = ["DatasetNote", "name_dataset", "note_of", "note_use", "title"]

REMEDY = "remove the file, and name the data set again"


class DatasetNote(msgspec.Struct, frozen=True, kw_only=True):
    """A note about a data set.

    Attributes:
        name: given by a user; "" for the names of its files.
        rows, passages: when it was last read; None before.
        used: when it was last open, an ISO 8601 time in UTC; "" where unknown.
    """

    name: str = ""
    rows: int | None = None
    passages: int | None = None
    used: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", visible(self.name))


def note_of(space: Workspace, dataset_id: str) -> DatasetNote:
    """Return the note of a data set; an empty one where there is none or it is damaged."""
    try:
        return _read(space, dataset_id)
    except WorkspaceError:  # the files have all that a note has, but for the name
        return DatasetNote()


def title(space: Workspace, dataset: Dataset) -> str:
    """Return the name of a data set: the one that a user gave it, or those of its files."""
    return note_of(space, dataset.id).name or dataset.name + (f" + {dataset.pool_name}" if dataset.pool_name else "")


def name_dataset(space: Workspace, dataset_id: str, name: str) -> str:
    """Give a data set a name, one line of at most NAME_LENGTH characters; an empty one removes it. Returns the stored name.

    Raises:
        WorkspaceError: there is no such data set, or the disk is full.
    """
    space.dataset(dataset_id)
    kept = line_of(name, NAME_LENGTH)
    _write(space, dataset_id, msgspec.structs.replace(note_of(space, dataset_id), name=kept))
    return kept


def note_use(space: Workspace, dataset_id: str, *, rows: int, passages: int | None) -> None:
    """Note that a data set is open now, with these counts; `passages` is None while problems are open.

    Raises:
        WorkspaceError: the disk is full, or the note is damaged: it stays, because its name may be read in it.
    """
    known = _read(space, dataset_id)
    _write(space, dataset_id, msgspec.structs.replace(known, rows=rows, passages=passages, used=small_files.now()))


def _read(space: Workspace, dataset_id: str) -> DatasetNote:
    return small_files.find(space.dataset_folder(dataset_id) / "note.json", DatasetNote, remedy=REMEDY) or DatasetNote()


def _write(space: Workspace, dataset_id: str, note: DatasetNote) -> None:
    small_files.write(space.dataset_folder(dataset_id) / "note.json", note, f"the note of the data set {dataset_id} cannot be stored")
