"""A backup holds all of a workspace while servers use it, and a restore gives all of it back or nothing."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hnmine.core.errors import OutputError, VersionError, WorkspaceError
from hnmine.review.judgements import JudgementStore
from hnmine.runs import backup as backups
from hnmine.runs.backup import LIST, back_up
from hnmine.runs.judge_setup import read_judge
from hnmine.runs.restore import restore, verify_backup
from hnmine.runs.verification import verify
from hnmine.runs.workspace import Workspace
from tests.campaign.workspace import World, build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("made") / "workspace")


@pytest.fixture(scope="module")
def archive(made: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backups") / "backup.tar"
    back_up(Workspace(made.root), path)
    return path


def contents(root: Path) -> dict[str, bytes]:
    """The files that a backup is about; databases are compared by their rows."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock" and ".sqlite" not in path.name)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("vectors", [False, True])
def test_a_restored_workspace_is_the_one_that_was_backed_up(made: World, tmp_path: Path, vectors: bool) -> None:
    found = back_up(Workspace(made.root), tmp_path / "backup.tar", vectors=vectors)
    assert (found.runs, found.datasets, found.left_out) == (2, 1, ())
    assert verify_backup(tmp_path / "backup.tar") == (found, [])
    restore(tmp_path / "backup.tar", tmp_path / "new" / "home")
    space = Workspace(tmp_path / "new" / "home")
    wanted = contents(made.root)
    assert contents(space.root) == {name: each for name, each in wanted.items() if vectors or not name.startswith("vectors/")}
    assert space.reviews().verdicts() == Workspace(made.root).reviews().verdicts() != []
    assert verify(space).damages == ()
    assert [run.id for run in space.runs()] == [run.id for run in Workspace(made.root).runs()]
    if vectors:
        run = next(space.run_folder(made.runs[0]).glob("passage_vectors-0.npy"))
        assert run.stat().st_nlink > 1, "vectors of the store and of a run are one file again"
        assert space.store().usage() == Workspace(made.root).store().usage()


def test_a_backup_holds_verdicts_that_are_given_while_it_is_made(made: World, tmp_path: Path) -> None:
    space = Workspace(made.root)
    store = space.reviews()
    store.decide([("while", "a server runs")], "junk", "Ann")  # in the WAL, not in the file
    back_up(space, tmp_path / "backup.tar")
    restore(tmp_path / "backup.tar", tmp_path / "home")
    assert Workspace(tmp_path / "home").reviews().verdict("while", "a server runs") is not None


def test_a_backup_holds_the_grades_of_the_judge_and_its_settings(made: World, archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "home")
    held, again = (JudgementStore(root / "judgements.sqlite").all() for root in (made.root, tmp_path / "home"))
    assert held == again != []
    assert read_judge(tmp_path / "home") == read_judge(made.root) is not None


def test_a_run_that_is_deleted_meanwhile_is_left_out_as_a_whole(made: World, archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "home")
    space = Workspace(tmp_path / "home")
    gone, stays = sorted(made.runs)

    def deleting(done: int, total: int, note: str, /) -> None:
        if done and space.run_folder(gone).exists():
            space.delete_run(gone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "below", lambda root: [*sorted(root.rglob("*"), key=lambda path: gone not in path.parts)])
        patch.setattr(backups, "PROGRESS_EVERY", 4)
        found = back_up(space, tmp_path / "second.tar", on_progress=deleting)
    assert found.runs == 1
    restore(tmp_path / "second.tar", tmp_path / "again")
    assert [run.id for run in Workspace(tmp_path / "again").runs()] == [stays]
    assert verify(Workspace(tmp_path / "again")).damages == ()


def test_what_a_backup_cannot_hold_is_said(archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "home")
    space = Workspace(tmp_path / "home")
    (space.root / "files" / "folder").symlink_to(tmp_path)
    (space.root / "files" / "nothing").symlink_to(tmp_path / "nothing")
    (space.root / "files" / "good").symlink_to(archive)
    os.mkfifo(space.root / "files" / "pipe")
    found = back_up(space, tmp_path / "second.tar")
    assert sorted(each.rpartition("/")[2] for each in found.left_out) == [
        "folder is a link to a folder",
        "nothing is a link to a file that does not exist",
        "pipe is no ordinary file",
    ]
    restore(tmp_path / "second.tar", tmp_path / "again")
    assert (tmp_path / "again" / "files" / "good").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("name", ["in.tar", "files/in.tar", "../linked/in.tar"])
def test_a_backup_inside_the_workspace_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    """The next one would hold it."""
    restore(archive, tmp_path / "home")
    (tmp_path / "linked").symlink_to(tmp_path / "home" / "files")
    before = contents(tmp_path / "home")
    with pytest.raises(OutputError, match=r"in\.tar is inside the workspace .*; name a file outside"):
        back_up(Workspace(tmp_path / "home"), tmp_path / "home" / name)
    assert contents(tmp_path / "home") == before


def test_files_that_are_not_in_the_list_of_a_backup_are_counted_and_not_written(archive: Path, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "b.tar", lambda files: files.update({"runs/more": b"a", "files/more": b"b"}))
    held, damages = verify_backup(path)
    assert (held.left_out, damages) == (("2 files of the archive, not in its list",), [])
    assert restore(path, tmp_path / "home").left_out == held.left_out
    assert list((tmp_path / "home").rglob("more")) == []


@pytest.mark.parametrize("name", ["reviews", "judgements"])
def test_damaged_verdicts_are_not_backed_up_as_if_they_were_whole(archive: Path, tmp_path: Path, name: str) -> None:
    restore(archive, tmp_path / "home")
    (tmp_path / "home" / f"{name}.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (tmp_path / "kept.tar").write_bytes(b"an older backup")
    with pytest.raises(WorkspaceError, match=rf"{name}\.sqlite cannot be backed up .*verify has the remedy"):
        back_up(Workspace(tmp_path / "home"), tmp_path / "kept.tar")
    assert (tmp_path / "kept.tar").read_bytes() == b"an older backup"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kept.tar"]


def test_a_full_disk_leaves_the_older_backup(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept.tar").write_bytes(b"an older backup")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match=r"No space left on device.*; an existing file is unchanged"):
        back_up(Workspace(made.root), tmp_path / "kept.tar")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older backup"]


def test_a_restore_never_writes_over_data(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "runs").mkdir(parents=True)
    restore(archive, tmp_path / "home")  # folders alone, as a server that has just started leaves them
    before = contents(tmp_path / "home")
    with pytest.raises(WorkspaceError, match="is not empty; set HNMINE_HOME to a new folder"):
        restore(archive, tmp_path / "home")
    assert contents(tmp_path / "home") == before


def test_a_mounted_folder_is_restored_in_place(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    number = home.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == home)
    (home / ".restore-home" / "runs").mkdir(parents=True)
    (home / ".restore-home" / "runs" / "half").write_bytes(b"of a restore that was killed")
    restore(archive, home)
    assert home.stat().st_ino == number
    assert verify(Workspace(home)).damages == ()
    assert not list(home.glob(".restore-*"))


# Damaged and hostile archives


def rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None], *, more: tarfile.TarInfo | None = None) -> Path:
    """A copy of a backup with other members."""
    with tarfile.open(archive) as held:
        files = {member.name: held.extractfile(member).read() for member in held}  # type: ignore[union-attr]
    change(files)
    with tarfile.open(target, "w") as out:
        if more is not None:
            out.addfile(more, io.BytesIO(bytes(more.size)))
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return target


def listed(files: dict[str, bytes], change: Callable[[dict[str, object]], object]) -> None:
    value = json.loads(files[LIST])
    change(value)
    files[LIST] = json.dumps(value).encode()


def first_array(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.endswith("ids.npy"))


def flip(files: dict[str, bytes]) -> None:
    name = first_array(files)
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


DAMAGED: dict[str, Callable[[dict[str, bytes]], object]] = {
    "a bit": flip,
    "a file is gone": lambda files: files.pop(first_array(files)),
    "a file is shorter": lambda files: files.update({first_array(files): b""}),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_backup_restores_nothing(archive: Path, tmp_path: Path, damage: str) -> None:
    path = rewritten(archive, tmp_path / "b.tar", DAMAGED[damage])
    (found,) = verify_backup(path)[1]
    assert "ids.npy" in found
    assert "use another backup" in found
    with pytest.raises(WorkspaceError, match=r"ids\.npy .*nothing was restored"):
        restore(path, tmp_path / "home")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 100, 5_000, 100_000])
def test_a_backup_that_was_cut_restores_nothing(archive: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(archive.read_bytes()[:size])
    for call in (lambda: verify_backup(path), lambda: restore(path, tmp_path / "home")):
        with pytest.raises(WorkspaceError, match="use another one"):
            call()
    assert list(tmp_path.iterdir()) == [path]


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size
    return found


HOSTILE = {
    "a path that leads out": entry("../out"),
    "a path that leads out within": entry("runs/../../out"),
    "an absolute path": entry("/tmp/out"),
    "a hidden file": entry("runs/.hidden"),
    "a drive": entry("C:/out"),
    "a backslash": entry("runs\\..\\out"),
    "a symbolic link": entry("runs/link", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": entry("runs/link", tarfile.LNKTYPE, "/etc/passwd"),
    "a device": entry("runs/null", tarfile.CHRTYPE),
    "a pipe": entry("runs/pipe", tarfile.FIFOTYPE),
    "a folder": entry("runs/folder", tarfile.DIRTYPE),
    "a name twice": entry(LIST),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_as_a_whole(archive: Path, tmp_path: Path, kind: str) -> None:
    path = rewritten(archive, tmp_path / "b.tar", lambda files: None, more=HOSTILE[kind])
    with pytest.raises(WorkspaceError, match="is not a backup of a workspace"):
        restore(path, tmp_path / "home")
    assert list(tmp_path.iterdir()) == [path]


LISTS: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "a path that leads out": (lambda value: value["files"].update({"../out": {"bytes": 0, "sha256": ""}}), "is not a name inside"),  # type: ignore[attr-defined]
    "no files": (lambda value: value.pop("files"), "is damaged"),
    "another type": (lambda value: value.update(files=[7]), "is damaged"),
    "content of nothing": (
        lambda value: value["files"].update({"runs/x": {"bytes": 0, "sha256": "", "same_as": "runs/y"}}),  # type: ignore[attr-defined]
        "is not listed",
    ),
    "huge": (lambda value: value["files"].update({"runs/x": {"bytes": 10**18, "sha256": ""}}), "free some space"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_hostile_list_is_refused(archive: Path, tmp_path: Path, kind: str) -> None:
    change, message = LISTS[kind]
    path = rewritten(archive, tmp_path / "b.tar", lambda files: listed(files, change))
    with pytest.raises(WorkspaceError, match=message):
        restore(path, tmp_path / "home")
    assert list(tmp_path.iterdir()) == [path]


def test_a_backup_of_a_newer_version_is_refused_by_its_number(archive: Path, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "b.tar", lambda files: listed(files, lambda value: value.update(format=3)))
    with pytest.raises(
        VersionError, match=r"b\.tar was written by another version of hnmine \(format 3; this version reads format 1\); update"
    ):
        restore(path, tmp_path / "home")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(600), b"\x1f\x8b" + bytes(600), bytes(20_000), b"text\n" * 500])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="use another one"):
        verify_backup(path)


def test_verdicts_of_a_backup_are_a_whole_database(archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "home")
    with sqlite3.connect(tmp_path / "home" / "reviews.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
