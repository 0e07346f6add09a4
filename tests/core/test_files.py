"""Files on disks that are full, read-only or have no folder for temporary files: the reason and the remedy, and nothing half done."""

from __future__ import annotations

import errno
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

from hnmine.core import scratch, small_files
from hnmine.core.errors import OutputError
from hnmine.core.files import cannot_write, write_all, write_atomic


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space there, then try again"),
        (errno.EDQUOT, "free some space there, then try again"),
        (errno.EROFS, "check the permissions there, or choose another folder"),
        (errno.EACCES, "check the permissions there, or choose another folder"),
        (errno.EIO, "check the folder and the disk, then try again"),
    ],
)
def test_a_message_gives_the_reason_and_the_remedy(number: int, remedy: str) -> None:
    reason = os.strerror(number)
    assert cannot_write("out.jsonl", OSError(number, reason)) == f"out.jsonl cannot be written ({reason}); {remedy}"


def test_a_disk_that_becomes_read_only_is_reported_and_the_old_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.write_bytes(b"old")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", read_only)
    monkeypatch.setattr(os, "unlink", read_only)
    with pytest.raises(OutputError, match=r"one cannot be written \(Read-only file system\); check the permissions there"):
        write_all([(path, [b"new"]) for path in paths])
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no folder for temporary files yet."""
    monkeypatch.setattr(scratch, "_folder", scratch._folder.__wrapped__)


@pytest.mark.usefixtures("new_process")
def test_a_folder_for_temporary_files_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match=r"TMPDIR is .*missing, which is no folder; make it, or set TMPDIR to a folder"):
        scratch.scratch_folder()
    with pytest.raises(OutputError, match="which is no folder"), scratch.temporary_files("hnmine-"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.usefixtures("new_process")
def test_a_folder_that_cannot_hold_files_is_not_said_to_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc")
    with pytest.raises(OutputError, match=r"/proc cannot be written \(.*\); check .*, or set TMPDIR to another folder"):
        scratch.scratch_folder()


def test_a_large_write_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert write_atomic(path, [b"x" * 3_000_000]) == 3_000_000
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("new_process")
def test_a_folder_that_was_removed_under_a_running_server_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_folder", cache(scratch._folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = scratch.scratch_folder()
    shutil.rmtree(first)
    with scratch.temporary_files("some-") as folder:
        assert folder.is_dir()
        assert folder.parent != first
    assert scratch.scratch_folder() == folder.parent


def test_what_a_killed_process_left_is_removed_by_the_next_write_in_the_folder(tmp_path: Path) -> None:
    """Files with random names are never written again, so their temporary files would stay."""
    numbers = {"gone": 2**22 + 1, "young": 2**22 + 1, "running": os.getpid()}
    gone, young, running = (tmp_path / f".{name}.json.{number}-0123abcd.tmp" for name, number in numbers.items())
    for path in (gone, young, running):
        path.write_bytes(b"half")
    for path in (gone, running):
        os.utime(path, (0, 0))
    small_files.write_text(tmp_path / "other", "whole", "it cannot be written")
    assert {path.name for path in tmp_path.iterdir()} == {"other", young.name, running.name}
