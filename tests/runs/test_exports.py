"""The record of downloads: one for each selection, the last one, and a damaged one harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnmine.core.errors import WorkspaceError
from hnmine.runs.selection_files import Exported, last_export, record_export
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.conftest import Mined


def export_of(selection: SelectionSettings, file_name: str) -> Exported:
    return Exported(
        selection=selection, variant="Balanced", file_name=file_name, output_format="flagembedding", rows=3, bytes=9, sha256="ab"
    )


def test_each_selection_has_its_last_export(mined: Mined, tmp_path: Path) -> None:
    import shutil

    space = Workspace(shutil.copytree(mined.root, tmp_path / "workspace"))
    first, second = SelectionSettings(), SelectionSettings(negative_number=3)
    assert last_export(space, mined.run, first) is None
    record_export(space, mined.run, export_of(first, "a.jsonl"))
    stored = record_export(space, mined.run, export_of(first, "b.jsonl"))
    found = last_export(space, mined.run, first)
    assert found == stored
    assert found is not None
    assert (found.file_name, found.exported[:2]) == ("b.jsonl", "20")
    assert last_export(space, mined.run, second) is None
    (path,) = space.run_folder(mined.run).glob("exported-*.json")
    path.write_bytes(b"{")
    assert last_export(space, mined.run, first) is None
    with pytest.raises(WorkspaceError, match="no run"):
        record_export(space, "20200101-000000-0000", export_of(first, "c.jsonl"))
