"""Data sets and runs survive the server, and a half-written one is never seen."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from hnmine.core.errors import WorkspaceError
from hnmine.models.cards import ModelSettings
from hnmine.retrieval.ranking import Ranking
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings


def ranking() -> Ranking:
    rng = np.random.default_rng(0)
    return Ranking(
        ids=np.arange(6, dtype=np.int32).reshape(2, 3),
        scores=rng.random((2, 3), dtype=np.float32),
        positive_scores=rng.random(2, dtype=np.float32),
        query_vectors=rng.random((2, 4), dtype=np.float32),
        passage_vectors=rng.random((6, 4), dtype=np.float32),
        signals={"bm25_ratio": rng.random((2, 3), dtype=np.float32)},
    )


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    first = space.add_dataset("a.jsonl", io.BytesIO(b'{"query": 1}\n'))
    again = space.add_dataset("b.jsonl", io.BytesIO(b'{"query": 1}\n'))
    other = space.add_dataset("a.jsonl", io.BytesIO(b'{"query": 1}\n'), "pool.jsonl", io.BytesIO(b"{}\n"))
    assert first == again
    assert other.id != first.id
    assert {dataset.id for dataset in space.datasets()} == {first.id, other.id}
    assert space.training_path(first.id).read_bytes() == b'{"query": 1}\n'
    assert space.pool_path(first.id) is None
    assert space.pool_path(other.id) is not None
    assert not list((tmp_path / "datasets").glob(".new*"))


def test_a_run_is_found_again_with_all_its_arrays(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    settings = MineSettings(model=ModelSettings(name_or_path="x", devices=("cpu",)), repair=("nan",), selection=SelectionSettings(seed=7))
    run = space.save_run("abc", settings, ranking(), {"model": {"name": "x"}})
    reopened = Workspace(tmp_path)
    assert reopened.runs() == [run] == reopened.runs("abc")
    assert reopened.runs("other") == []
    assert reopened.run(run.id).settings == settings
    found = reopened.ranking(run.id)
    for name in ("ids", "scores", "positive_scores", "query_vectors", "passage_vectors"):
        assert np.array_equal(getattr(found, name), getattr(ranking(), name))
        assert isinstance(getattr(found, name), np.memmap)
    assert np.array_equal(found.signals["bm25_ratio"], ranking().signals["bm25_ratio"])


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a b"])
def test_ids_cannot_lead_out_of_the_workspace(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkspaceError):
        Workspace(tmp_path).run(name)
    with pytest.raises(WorkspaceError):
        Workspace(tmp_path).dataset(name)


def test_only_listed_files_can_be_picked(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "space")
    (tmp_path / "secret.jsonl").write_text("{}")
    (space.root / "files" / "big.jsonl").write_text("{}")
    assert space.files() == ["big.jsonl"]
    assert space.file("big.jsonl").read_text() == "{}"
    with pytest.raises(WorkspaceError, match="no file"):
        space.file("../../secret.jsonl")


def test_a_damaged_manifest_names_the_file(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    run = space.save_run("abc", MineSettings(), ranking(), {})
    (space.run_folder(run.id) / "manifest.json").write_text("{")
    with pytest.raises(WorkspaceError, match=r"manifest\.json is damaged"):
        space.run(run.id)


def test_one_damaged_run_hides_no_other(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    good = space.save_run("abc", MineSettings(), ranking(), {})
    bad = space.save_run("abc", MineSettings(), ranking(), {})
    (space.run_folder(bad.id) / "manifest.json").write_text("{")
    assert space.runs("abc") == [good]


def test_a_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, *args: object) -> bytes:
            raise OSError("no more")

    space = Workspace(tmp_path)
    with pytest.raises(WorkspaceError):
        space.add_dataset("a", Broken(b"x"))
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_manifest_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rerun of every screen lists the runs."""
    space = Workspace(tmp_path)
    first, second = (space.save_run("abc", MineSettings(), ranking(), {"number": number}) for number in range(2))
    asked: list[str] = []
    read = Workspace.run
    monkeypatch.setattr(Workspace, "run", lambda self, run_id: asked.append(run_id) or read(self, run_id))
    assert {run.id for run in space.runs()} == {first.id, second.id} == set(asked)
    assert space.runs() == space.runs()
    assert len(asked) == 2
    changed = space.run_folder(first.id) / "manifest.json"
    changed.write_bytes(changed.read_bytes().replace(b'"number":0', b'"number":7'))
    assert {run.id: run.manifest["number"] for run in space.runs()} == {first.id: 7, second.id: 1}
    assert len(asked) == 3
    space.delete_run(second.id)
    assert [run.id for run in space.runs()] == [first.id]


def test_a_run_has_a_name_until_it_is_taken_away(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    run = space.save_run("abc", MineSettings(), ranking(), {})
    assert space.run_name(run.id) == ""
    assert space.name_run(run.id, "  with the\nnew guards ✓ ") == "with the new guards ✓"
    assert Workspace(tmp_path).run_name(run.id) == "with the new guards ✓"
    assert len(space.name_run(run.id, "x" * 500)) == 80
    assert space.name_run(run.id, " ") == "" == space.run_name(run.id)
    assert not list(space.run_folder(run.id).glob("*name*"))
    with pytest.raises(WorkspaceError, match="no run"):
        space.name_run("20200101-000000-abcd", "x")
    assert space.run_name("20200101-000000-abcd") == ""


def test_deleting_a_run_leaves_its_data_and_stored_vectors(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    dataset = space.add_dataset("a.jsonl", io.BytesIO(b'{"query": 1}\n'))
    gone, stays = (space.save_run(dataset.id, MineSettings(), ranking(), {}) for _ in range(2))
    stored = tmp_path / "vectors" / "shard.npy"
    stored.parent.mkdir()
    stored.write_bytes(b"0" * 1000)
    os.link(stored, space.run_folder(gone.id) / "passage_vectors-0.npy")
    size = space.run_size(gone.id)
    assert size.shared_bytes == 1000
    assert size.files == 8
    assert size.bytes == sum(path.stat().st_size for path in space.run_folder(gone.id).iterdir()) - 1000
    with pytest.raises(WorkspaceError, match="has runs"):
        space.remove_dataset(dataset.id)
    space.delete_run(gone.id)
    assert [run.id for run in space.runs()] == [stays.id]
    assert stored.read_bytes() == b"0" * 1000
    assert space.training_path(dataset.id).exists()
    assert not list((tmp_path / "runs").glob(".gone*"))
    with pytest.raises(WorkspaceError, match="no run"):
        space.delete_run(gone.id)
    space.delete_run(stays.id)
    space.remove_dataset(dataset.id)
    assert space.datasets() == []


def test_a_kill_while_a_run_is_deleted_leaves_no_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Workspace(tmp_path)
    first, second = (space.save_run("abc", MineSettings(), ranking(), {}) for _ in range(2))

    def killed(path: Path, ignore_errors: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hnmine.runs.workspace.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            space.delete_run(first.id)
    assert [run.id for run in Workspace(tmp_path).runs()] == [second.id]
    assert list((tmp_path / "runs").glob(".gone*"))
    space.delete_run(second.id)
    assert list((tmp_path / "runs").iterdir()) == []
