"""`python -m hnmine workspace`: what it prints, and its exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hnmine.cli.main import main
from hnmine.runs.workspace import Workspace
from tests.campaign.workspace import build


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["workspace", *words])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_backup_verify_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = build(tmp_path / "home")
    monkeypatch.setenv("HNMINE_HOME", str(made.root))
    archive = str(tmp_path / "backup.tar")
    assert call(capsys, "backup", "--vectors", archive)[0] == 0
    status, said = call(capsys, "backup", archive)
    assert (status, f"backed up to {archive}, in place of the file that was there: 2 runs, 1 data set, " in said) == (0, True)
    assert call(capsys, "verify", "--quiet", archive)[0] == 0
    status, said = call(capsys, "verify")
    assert (status, said.startswith(f"{made.root}: 1 data set, 2 runs, 1 verdict, ")) == (0, True)
    assert said.endswith(" stored vectors: no damage\n")
    timings = made.root / "timings.json"
    held = timings.read_bytes()
    timings.write_text('{"format": 9}')
    status, said = call(capsys, "verify")
    assert (status, "update hnmine" in said, said.endswith(", 1 file of another version: no damage\n")) == (0, True, True)
    timings.write_bytes(held)
    status, said = call(capsys, "restore", archive)
    assert (status, "is not empty" in said) == (1, True)
    monkeypatch.setenv("HNMINE_HOME", str(tmp_path / "new"))
    status, said = call(capsys, "verify")
    assert (status, "there is no workspace in" in said, (tmp_path / "new").exists()) == (2, True, False)
    assert call(capsys, "restore", archive)[0] == 0
    assert call(capsys, "verify")[0] == 0
    (path,) = Workspace(tmp_path / "new").run_folder(made.runs[0]).glob("scores.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    status, said = call(capsys, "verify")
    assert status == 1
    assert "scores.npy is not the file that was saved with the run" in said
    assert said.endswith("1 damage\n")
    content = bytearray(Path(archive).read_bytes())
    content[content.index(b"NUMPY") + 140] ^= 1  # in the data of an array
    Path(archive).write_bytes(content)
    assert call(capsys, "verify", archive)[0] == 1
    shutil.rmtree(tmp_path / "new")
    assert call(capsys, "restore", archive)[0] == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [["backup"], ["restore"], ["restore", "x.tar", "--vectors"], ["forget"], ["verify", "--vector"], []])
def test_wrong_usage_has_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *words)[0] == 2
