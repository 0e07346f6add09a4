"""Variants of a run and drafts: named selections that never change, and unsaved settings that a restart keeps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hnmine.core.errors import WorkspaceError
from hnmine.runs.mine import MineSettings
from hnmine.runs.selection_files import DRAFTS_KEPT, Draft, delete_draft, new_id, read_draft, write_draft
from hnmine.runs.variants import MINED, all_variants, damaged, delete_variant, rename_variant, save_variant, variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.runs.test_workspace import ranking

HARD = SelectionSettings(seed=4, margin=0.1)


@pytest.fixture
def run(tmp_path: Path) -> str:
    return Workspace(tmp_path).save_run("abc", MineSettings(selection=SelectionSettings(seed=3)), ranking(), {}).id


def test_a_variant_is_found_by_another_server(tmp_path: Path, run: str) -> None:
    saved = save_variant(Workspace(tmp_path), run, "  mine,\n harder ", HARD)
    mined, found = all_variants(Workspace(tmp_path), run)
    assert (mined.id, mined.settings) == (MINED, SelectionSettings(seed=3))
    assert found == saved == variant(Workspace(tmp_path), run, saved.id)
    assert (found.name, found.settings) == ("mine, harder", HARD)


def test_the_same_settings_are_one_variant_and_a_name_is_taken_once(tmp_path: Path, run: str) -> None:
    space = Workspace(tmp_path)
    saved = save_variant(space, run, "harder", HARD)
    assert save_variant(space, run, "another name", HARD) == saved
    assert save_variant(space, run, "as mined", SelectionSettings(seed=3)).id == MINED
    for name in ("Harder", " "):
        with pytest.raises(WorkspaceError, match=r"already has a variant|needs a name"):
            save_variant(space, run, name, SelectionSettings(seed=9))
    assert rename_variant(space, run, saved.id, "hardest").settings == HARD
    assert [each.name for each in all_variants(space, run)][1:] == ["hardest"]
    delete_variant(space, run, saved.id)
    assert [each.id for each in all_variants(space, run)] == [MINED]
    for change in (lambda: rename_variant(space, run, MINED, "x"), lambda: delete_variant(space, run, MINED)):
        with pytest.raises(WorkspaceError, match="mined with cannot be"):
            change()


def test_the_last_settings_of_an_older_workspace_become_a_variant(tmp_path: Path, run: str) -> None:
    space = Workspace(tmp_path)
    path = space.run_folder(run) / "selection.json"
    path.write_bytes(msgspec.json.encode(HARD))
    (found,) = all_variants(space, run)[1:]
    assert (found.name, found.settings) == ("Earlier settings", HARD)
    assert not path.exists()
    path.write_text("{")
    assert all_variants(space, run)[1:] == [found]
    assert "selection.json is damaged" in damaged(space, run)[0]


def test_a_draft_is_kept_and_old_ones_are_cleared(tmp_path: Path, run: str) -> None:
    space = Workspace(tmp_path)
    drafts = [Draft(id=new_id(), variant=MINED, settings=SelectionSettings(seed=seed)) for seed in range(DRAFTS_KEPT + 5)]
    for each in drafts:
        write_draft(space, run, each)
    changed = msgspec.structs.replace(drafts[-1], settings=HARD)
    write_draft(space, run, changed)
    assert read_draft(Workspace(tmp_path), run, changed.id) == changed
    assert len(list((space.run_folder(run) / "drafts").iterdir())) == DRAFTS_KEPT
    with pytest.raises(WorkspaceError, match="not kept any longer"):
        read_draft(space, run, drafts[0].id)
    delete_draft(space, run, changed.id)
    delete_draft(space, run, changed.id)
    with pytest.raises(WorkspaceError, match="not an id"):
        read_draft(space, run, "../../manifest")
