"""Every damage of a small file is one kind of error, and a file of a newer version is refused by its number and left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from hnmine.core import small_files
from hnmine.core.errors import VersionError, WorkspaceError
from hnmine.core.version import newer
from hnmine.data.columns import Columns


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    number: int = 0


def test_a_file_is_read_as_it_was_written_with_its_format(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    small_files.write(path, Thing(name="a", number=3), "it failed")
    assert json.loads(path.read_bytes()) == {"format": 1, "name": "a", "number": 3}
    assert small_files.find(path, Thing) == Thing(name="a", number=3)
    small_files.write(tmp_path / "columns.json", Columns(split="dev"), "it failed")
    assert small_files.find(tmp_path / "columns.json", Columns) == Columns(split="dev"), "renamed fields too"


def test_a_file_without_a_number_is_the_first_format_and_unknown_fields_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    path.write_text('{"name": "a", "colour": [1, {"deep": null}]}')
    assert small_files.find(path, Thing) == Thing(name="a")


DAMAGES = {
    "empty": b"",
    "zeros": bytes(50),
    "cut": b'{"name": "a',
    "not UTF-8": b'{"name": "\xff"}',
    "half a surrogate pair": b'{"name": "\\ud83d"}',
    "deep": b"[" * 100_000,
    "deep within": b'{"name": "a", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "null": b"null",
    "a list": b"[1]",
    "mistyped": b'{"name": [7]}',
    "a huge number": b'{"number": 1e999}',
    "a long number": b'{"number": ' + b"9" * 5000 + b"}",
    "a format that is none": b'{"format": "x"}',
    "format 0": b'{"format": 0}',
    "format true": b'{"format": true}',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_content_is_one_error_with_path_and_remedy(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(DAMAGES[damage])
    with pytest.raises(WorkspaceError, match=r"thing\.json is damaged .*; remove the file"):
        small_files.find(path, Thing, remedy="remove the file")


def test_a_folder_a_link_to_nothing_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    assert small_files.find(path, Thing) is None
    with pytest.raises(WorkspaceError, match="there is no thing"):
        small_files.read(path, Thing, "there is no thing")
    path.symlink_to(tmp_path / "nothing")
    for read in (small_files.find, lambda *given: small_files.find_text(path, remedy="remove it")):
        with pytest.raises(WorkspaceError, match=r"thing\.json is damaged \(it is a link to a file that does not exist\)"):
            read(path, Thing)
    path.unlink()
    path.mkdir()
    with pytest.raises(WorkspaceError, match=r"thing\.json is damaged \(it is a folder, not a file\)"):
        small_files.find(path, Thing)
    with pytest.raises(WorkspaceError, match=r"it failed: .*thing\.json"):
        small_files.write(path, Thing(), "it failed")


@pytest.mark.parametrize("content", ['{"format": 3, "name": [1]}', '{"format": 3}', '{"name": "a", "format": 3, "more": {}}'])
def test_a_newer_format_is_refused_by_its_number_and_never_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "thing.json"
    path.write_text(content)
    words = r"thing\.json was written by another version of hnmine \(format 3; this version reads format 1\); update hnmine$"
    with pytest.raises(VersionError, match=words):
        small_files.find(path, Thing)
    with pytest.raises(VersionError, match=f"it failed: .*{words}"):
        small_files.write(path, Thing(name="b"), "it failed")
    assert path.read_text() == content


def test_a_setting_that_this_version_does_not_know_is_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "columns.json"
    path.write_text('{"query": "a", "weight": "b"}')
    with pytest.raises(VersionError, match=r"unknown field `weight`.*; update hnmine"):
        small_files.find(path, Columns)


def test_a_text_is_read_as_it_can_be_and_removed_when_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "notes" / "name"
    small_files.write_text(path, "a name", "it failed", make_folder=True)
    assert small_files.find_text(path, remedy="") == "a name"
    path.write_bytes(b"a\xffb")
    assert small_files.find_text(path, remedy="") == "a\ufffdb"
    small_files.write_text(path, "", "it failed")
    assert not path.exists()
    with pytest.raises(WorkspaceError, match="it failed"):
        small_files.write_text(tmp_path / "no" / "folder", "a", "it failed")


@pytest.mark.parametrize(
    ("version", "wanted"), [("0.1.1", True), ("1.0", True), ("0.1.0", False), ("0.0.9", False), ("x", False), (7, False)]
)
def test_versions_are_compared_by_their_numbers(version: object, wanted: bool) -> None:
    assert newer(version) == wanted
