"""Arrays, data and versions: what a run was stored with is what it opens with, or it says why not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core import array_files
from hnmine.core.errors import VersionError, WorkspaceError
from hnmine.core.files import locked
from hnmine.runs.folders import RunSize
from hnmine.runs.job_records import JobRecords
from hnmine.runs.uploads import below, list_files, stamp
from hnmine.runs.verification import verify
from hnmine.runs.workspace import Workspace
from hnmine.vectors.store import VectorStore
from tests.campaign.workspace import World, build, negatives, screens_of
from tests.pages.conftest import go, open_app, press, texts
from tests.review.test_migration import old_file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("made") / "workspace")


@pytest.fixture
def world(made: World, fresh: Path) -> World:
    """A copy of that workspace, as a new server finds it."""
    shutil.copytree(made.root, fresh)
    return made._replace(root=fresh)


def array(world: World, name: str, run: int = 0) -> Path:
    return world.root / "runs" / world.runs[run] / f"{name}.npy"


def before_fingerprints(world: World) -> None:
    """Make the first run one of before: its manifest has neither fingerprints nor a format."""
    path = world.root / "runs" / world.runs[0] / "manifest.json"
    value = json.loads(path.read_bytes())
    del value["arrays"], value["format"]
    path.write_text(json.dumps(value))


def change(path: Path, edit: Callable[[np.ndarray], object]) -> None:
    values = np.load(path)
    edit(values)
    np.save(path, values)


NAMES = ("ids", "scores", "positive_scores", "query_vectors-0", "query_vectors-places", "passage_vectors-0", "passage_vectors-places")


@pytest.mark.parametrize("name", NAMES)
def test_an_array_with_other_values_of_the_same_shape_is_refused(world: World, name: str) -> None:
    """As an array of another run, or one with a hole after a power cut."""
    space = Workspace(world.root)
    space.ranking(world.runs[0])
    change(array(world, name), lambda values: values.reshape(-1).__setitem__(slice(-1, None), 0 if values.reshape(-1)[-1] else 1))
    words = rf"{name}\.npy is not the file that was saved with the run.*; mine again"
    with pytest.raises(WorkspaceError, match=words):
        space.ranking(world.runs[0])
    assert [each for each in verify(space).damages if name in each]
    Workspace(world.root).ranking(world.runs[1])


def test_an_array_of_another_run_is_refused_on_all_screens_while_the_run_is_open(world: World) -> None:
    wanted = negatives(world.runs[1])
    at = open_app("inspect", run=world.runs[0])
    array(world, "ids").unlink()
    shutil.copy(array(world, "ids", 1), array(world, "ids"))
    said = screens_of(at)
    assert "ids.npy is not the file that was saved with the run" in said
    assert negatives(world.runs[1]) == wanted


def test_an_array_too_many_is_refused(world: World) -> None:
    shutil.copy(array(world, "scores"), array(world, "signal-reranker"))
    with pytest.raises(WorkspaceError, match=r"signal-reranker\.npy was not saved with the run"):
        Workspace(world.root).ranking(world.runs[0])


def test_arrays_are_read_once_in_a_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Workspace(world.root)
    space.ranking(world.runs[0])
    os.link(array(world, "passage_vectors-0"), world.root / "another name")  # as another run that is stored meanwhile
    monkeypatch.setattr(array_files, "fingerprint", lambda path: pytest.fail(f"{path} was read again"))
    space.ranking(world.runs[0])


OLD: dict[str, tuple[str, Callable[[np.ndarray], object], str]] = {
    "an id out of range": ("ids", lambda values: values.__setitem__((0, 0), 10_000), "ids has passages from"),
    "a negative id": ("ids", lambda values: values.__setitem__((0, 0), -7), "ids has passages from"),
    "a hole of zeros in ids": ("ids", lambda values: values[3].fill(0), "ids has a passage twice in a row"),
    "nan in scores": ("scores", lambda values: values.__setitem__((2, 3), np.nan), "scores has a NaN"),
    "infinite positive": ("positive_scores", lambda values: values.__setitem__(0, np.inf), "positive_scores has a NaN"),
    "nan in vectors": ("passage_vectors-0", lambda values: values.__setitem__((0, 0), np.nan), "passage_vectors has a NaN"),
    "an infinite signal": ("signal-overlap", lambda values: values.__setitem__((0, 0), np.inf), "signal overlap has an infinity"),
    "a hole of zeros in scores": ("scores", lambda values: values.fill(0), "scores has a hole of zeros"),
    "scores of another run": ("scores", lambda values: np.copyto(values, values[::-1].copy()), "scores are not those of the vectors"),
}


@pytest.mark.parametrize("kind", OLD)
def test_a_run_without_fingerprints_is_checked_by_its_values(world: World, kind: str) -> None:
    before_fingerprints(world)
    Workspace(world.root).ranking(world.runs[0])
    name, edit, message = OLD[kind]
    change(array(world, name), edit)
    with pytest.raises(WorkspaceError, match=rf"{message}.*; mine again"):
        Workspace(world.root).ranking(world.runs[0])


def test_a_run_that_does_not_say_what_it_was_mined_from_is_not_opened_unchecked(world: World) -> None:
    path = world.root / "runs" / world.runs[0] / "manifest.json"
    value = json.loads(path.read_bytes())
    del value["manifest"]["inputs"]
    path.write_text(json.dumps(value))
    with pytest.raises(WorkspaceError, match="does not say which files it was mined from; mine again"):
        resources.open_run(world.runs[0])


def test_a_ranking_of_other_lengths_than_the_data_is_refused(world: World) -> None:
    """As after an update that reads the same bytes as more rows."""
    before_fingerprints(world)
    for name in ("ids", "scores", *(path.stem for path in array(world, "ids").parent.glob("signal-*.npy")), "query_vectors-places"):
        np.save(array(world, name), np.load(array(world, name))[:-1])
    with pytest.raises(WorkspaceError, match="the ranking has 11 queries, and the data as it is read now 12; mine again"):
        resources.open_run(world.runs[0])


# Versions


def of_newer_version(world: World, change: Callable[[dict[str, object]], object], file: str = "manifest.json") -> None:
    folder = world.root / "runs" / world.runs[0] if file == "manifest.json" else world.root / "datasets" / world.dataset
    value = json.loads((folder / file).read_bytes())
    change(value)
    (folder / file).write_text(json.dumps(value))


def versioned(value: dict[str, object], version: str, **more: object) -> None:
    value["manifest"]["versions"]["hnmine"] = version  # type: ignore[index]
    value["settings"] |= more  # type: ignore[operator]


NEWER: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "a format": (lambda value: value.update(format=3), "format 3; this version reads format 1"),
    "a format with other types": (lambda value: value.update(format=2, settings=[1]), "format 2; this version reads format 1"),
    "an unknown setting": (lambda value: versioned(value, "9.0.0", colour="red"), "9.0.0; this is 0.1.0"),
    "another type of a setting": (lambda value: versioned(value, "9.0.0", use_gpu="yes"), "9.0.0; this is 0.1.0"),
}


@pytest.mark.parametrize("kind", NEWER)
def test_a_run_of_a_newer_version_is_named_as_that_and_stays(world: World, kind: str) -> None:
    edit, message = NEWER[kind]
    of_newer_version(world, edit)
    space = Workspace(world.root)
    with pytest.raises(VersionError, match=r"manifest\.json was written by another version of hnmine \(" + message):
        space.run(world.runs[0])
    assert space.damaged() == []
    (said,) = space.damaged(other_version=True)
    assert "update hnmine" in said
    assert "remove" not in said
    at = open_app("runs", run=world.runs[1])
    assert "1 run or data set is of another version of hnmine" in texts(at)
    assert said in texts(at)
    with pytest.raises(WorkspaceError, match=r"has runs, which need it|may need the data set"):
        space.remove_dataset(world.dataset)


@pytest.mark.parametrize("path", ["runs/{run}/manifest.json", "runs/{run}/drafts/draft-01234567.json", "timings.json"])
def test_a_file_of_a_newer_version_is_verified_as_that_and_not_as_damage(world: World, path: str) -> None:
    file = world.root / path.format(run=world.runs[0])
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"format": 9}))
    found = verify(Workspace(world.root))
    assert found.damages == ()
    assert [file.name in each and "update hnmine" in each for each in found.other_versions] == [True]


def test_a_folder_that_was_renamed_or_copied_is_named_with_its_id(world: World) -> None:
    run, folder = world.runs[0], world.root / "runs" / world.runs[0]
    folder.rename(folder.with_name("other"))
    space = Workspace(world.root)
    (said,) = space.damaged()
    assert said.endswith(f"(it describes {run!r}); rename its folder back to {run}")
    shutil.copytree(folder.with_name("other"), folder)
    (said,) = Workspace(world.root).damaged()
    assert said.endswith("; move that folder or this one out of the workspace")


@pytest.mark.parametrize("files", [["train.jsonl"], ["pool.jsonl"], ["train.jsonl", "pool.jsonl"]])
@pytest.mark.parametrize("runs", [True, False])
def test_verify_names_the_data_that_changed(world: World, files: list[str], runs: bool) -> None:
    """The id is that of all files together; a run has the fingerprint of each."""
    folder = world.root / "datasets" / world.dataset
    for file in files:
        (folder / file).write_bytes((folder / file).read_bytes().replace(b"ung", b"enk", 1))
    if not runs:
        shutil.rmtree(world.root / "runs")
    (said,) = verify(Workspace(world.root)).damages
    wanted = " or ".join(str(folder / name) for name in (files if runs else ["train.jsonl", "pool.jsonl"]))
    assert said.startswith(f"{wanted} is not what was uploaded as the data set 'rows.jsonl'; put it back")


@pytest.mark.parametrize("statement", ["DELETE FROM current", "UPDATE judged SET who = 'Bob'"])
def test_verdicts_whose_tables_were_changed_are_damaged(world: World, statement: str) -> None:
    with sqlite3.connect(world.root / "reviews.sqlite") as db:
        db.execute(statement)
    db.close()
    (said,) = verify(Workspace(world.root)).damages
    assert "are damaged (the table " in said
    assert "move it away together with the files ending in -wal and -shm, then put the one of a backup in its place" in said


@pytest.mark.parametrize("content", [b"\xff" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_verify_names_a_damaged_file_of_grades(world: World, content: bytes) -> None:
    assert "5 judgements" in verify(Workspace(world.root)).read
    for path in world.root.glob("judgements.sqlite*"):
        path.unlink()
    (world.root / "judgements.sqlite").write_bytes(content)
    (said,) = verify(Workspace(world.root)).damages
    assert said.startswith(f"the judgements in {world.root / 'judgements.sqlite'} are damaged (")
    assert said.endswith("or judge again")


@pytest.mark.parametrize("version", [1, 2])
def test_verdicts_of_an_older_format_are_not_damaged(world: World, version: int) -> None:
    for path in world.root.glob("reviews.sqlite*"):
        path.unlink()
    old_file(world.root / "reviews.sqlite", version)
    assert verify(Workspace(world.root)).damages == ()


def test_a_newer_version_with_fields_that_change_nothing_here_opens(world: World) -> None:
    wanted = negatives(world.runs[0])
    of_newer_version(world, lambda value: value.update(colour="red"))
    of_newer_version(world, lambda value: versioned(value, "9.0.0"))
    of_newer_version(world, lambda value: value.update(colour="red"), "dataset.json")
    assert negatives(world.runs[0]) == wanted


def test_a_data_set_of_a_newer_version_is_not_replaced_by_an_upload_of_the_same_bytes(world: World) -> None:
    of_newer_version(world, lambda value: value.update(format=3), "dataset.json")
    space, folder = Workspace(world.root), world.root / "datasets" / world.dataset
    before = (folder / "dataset.json").read_bytes()
    with pytest.raises(VersionError, match=r"dataset\.json was written by another version"):
        space.add_dataset("rows.jsonl", folder / "train.jsonl", "pool.jsonl", folder / "pool.jsonl")
    assert (folder / "dataset.json").read_bytes() == before


def test_an_upload_of_the_same_bytes_puts_a_damaged_data_set_back(world: World, made: World) -> None:
    space, folder, whole = Workspace(world.root), world.root / "datasets" / world.dataset, made.root / "datasets" / made.dataset
    wanted = negatives(world.runs[0])
    (folder / "pool.jsonl").write_bytes(b"{}")
    (folder / "dataset.json").write_bytes(b"{}")
    assert space.add_dataset("rows.jsonl", whole / "train.jsonl", "pool.jsonl", whole / "pool.jsonl").id == world.dataset
    assert negatives(world.runs[0]) == wanted
    assert (folder / "guidelines.md").read_bytes() == (whole / "guidelines.md").read_bytes(), "what people wrote stays"
    assert verify(space).damages == ()


# The store of vectors


def test_the_index_of_a_newer_version_is_not_moved_away(world: World) -> None:
    path = world.root / "vectors" / "index.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {0x686E6D33}")
    db.close()
    store = VectorStore(path.parent)
    with pytest.raises(VersionError, match=r"its index was written by another version of hnmine \(format 3; this version reads format 1\)"):
        store.usage()
    found = verify(Workspace(world.root))
    assert (found.damages, len(found.other_versions)) == ((), 1)
    assert [each.name for each in path.parent.glob("*damaged*")] == []


@pytest.mark.parametrize("reason", ["Read-only file system", "No space left on device"])
def test_a_store_on_a_disk_that_cannot_be_written_is_shown_and_verified(world: World, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, reason)

    wanted = VectorStore(world.root / "vectors").usage()
    monkeypatch.setattr("hnmine.vectors.index.locked", refused)
    assert VectorStore(world.root / "vectors").usage() == wanted
    assert VectorStore(world.root / "vectors").verify() == []
    (shard,) = list((world.root / "vectors").glob("*.vectors.npy"))[:1]
    shard.write_bytes(shard.read_bytes()[:-4])
    (note,) = VectorStore(world.root / "vectors").verify()
    assert "is damaged" in note
    assert "cannot be removed" in note
    with pytest.raises(WorkspaceError, match="check its disk and your permissions, or choose another folder"):
        VectorStore(world.root / "vectors").prune(everything=True)


# Jobs, servers, sizes


def test_a_damaged_record_of_a_job_is_shown_and_dismissed(world: World) -> None:
    (path,) = (world.root / "jobs").glob("*.json")
    path.write_bytes(b"{")
    at = open_app(run=world.runs[0])
    for screen in ("data", "mine", "inspect", "review", "quality", "runs", "export"):
        assert "A job was interrupted, and its record cannot be read." in texts(go(at, screen))
        assert (f"{path} is damaged" in texts(at)) == (screen == "runs"), "in full where damages are listed"
    assert "its record cannot be read" not in texts(press(at, "dismiss-job"))
    assert not path.exists()


def test_a_record_of_a_newer_version_is_shown_and_stays(world: World) -> None:
    (path,) = (world.root / "jobs").glob("*.json")
    path.write_text(json.dumps({"format": 3} | {key: each for key, each in json.loads(path.read_bytes()).items() if key != "format"}))
    at = open_app("runs", run=world.runs[0])
    assert f"{path} was written by another version of hnmine" in texts(at)
    assert [each.label for each in at.button if each.label == "Dismiss"] == []


def test_a_job_whose_data_set_is_damaged_waits_for_its_repair(world: World) -> None:
    path = world.root / "datasets" / world.dataset / "dataset.json"
    content = path.read_bytes()
    path.write_bytes(b"{")
    at = open_app()
    assert "A job was interrupted, and its data set cannot be opened." in texts(at)
    path.write_bytes(content)
    assert [each.label for each in at.run().button if each.label == "Resume"] == ["Resume"]


def test_another_server_on_the_workspace_is_shown_and_its_job_is_not_offered(world: World) -> None:
    (path,) = (world.root / "jobs").glob("*.json")
    (world.root / "servers").mkdir(exist_ok=True)
    with locked(world.root / "servers" / "another.lock", wait=False), locked(path.with_suffix(".lock"), wait=False):
        at = open_app(run=world.runs[0])
        assert "1 other server on this workspace" in texts(at)
        assert "interrupted" not in texts(at)
    assert "other server" not in texts(at.run())
    assert "interrupted" in texts(at)
    assert JobRecords(world.root).other_servers() == 0


def test_files_that_are_deleted_meanwhile_count_as_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.root / "runs" / world.runs[0]
    whole = Workspace(world.root).run_size(world.runs[0])
    walk = os.walk

    def deleting(path: Path, *given: object, **more: object) -> object:
        for step in walk(path, *given, **more):  # type: ignore[arg-type]
            yield step
            shutil.rmtree(folder / "variants", ignore_errors=True)

    monkeypatch.setattr(os, "walk", deleting)
    found = Workspace(world.root).run_size(world.runs[0])
    assert 0 < found.files < whole.files
    shutil.rmtree(folder)
    assert Workspace(world.root).run_size(world.runs[0]) == RunSize(files=0, bytes=0, shared_bytes=0)
    assert below(folder) == list_files(folder) == []
    assert stamp(folder) == ()


# Changed data


def edit(world: World) -> None:
    path = world.root / "datasets" / world.dataset / "pool.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ung", b"enk", 1))


def opened_review(world: World) -> AppTest:
    at = open_app("review", run=world.runs[0])
    assert "not the file" not in texts(at)
    return at


def test_a_review_that_is_open_stops_when_its_data_changes(world: World) -> None:
    at = opened_review(world)
    edit(world)
    assert "pool.jsonl is not the file that the run" in texts(at.run())


def test_a_run_that_cannot_be_opened_is_mined_again_with_its_settings(world: World) -> None:
    edit(world)
    at = open_app("export", run=world.runs[0])
    assert "Mine again with its settings" in [each.proto.label for each in at.get("page_link")]
    at = go(at, "mine")
    assert "Mine again with its settings, which are chosen here." in texts(at)
    assert at.session_state[f"settings-{world.dataset}"][0] == Workspace(world.root).run(world.runs[0]).settings.selection
