"""A data set has a name of its own beside its files, and the counts of its last use."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.core.errors import WorkspaceError
from hnmine.runs.dataset_notes import DatasetNote, name_dataset, note_of, note_use, title
from hnmine.runs.workspace import Workspace
from tests.conftest import add_example


def test_a_name_stays_beside_the_counts_and_can_be_removed(fresh: Path) -> None:
    space = Workspace(fresh)
    dataset = space.dataset(add_example(space))
    assert title(space, dataset) == "bikeshare/train.jsonl + bikeshare/pool.jsonl"
    assert name_dataset(space, dataset.id, "  help \n centre ") == "help centre"
    note_use(space, dataset.id, rows=124, passages=None)
    found = note_of(space, dataset.id)
    assert (found.name, found.rows, found.passages, found.used[:2]) == ("help centre", 124, None, "20")
    assert title(Workspace(fresh), dataset) == "help centre"
    assert name_dataset(space, dataset.id, "") == ""
    assert title(space, dataset).startswith("bikeshare/train.jsonl")
    (space.dataset_folder(dataset.id) / "note.json").write_bytes(b"{")
    assert note_of(space, dataset.id) == DatasetNote()
    with pytest.raises(WorkspaceError, match="no data set"):
        name_dataset(space, "0123456789ab", "x")
