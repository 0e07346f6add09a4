"""Paths that no file can have, devices and pipes: each flag refuses them by name, with exit status 2, before any work."""

from __future__ import annotations

import json
import os
import threading

import pytest

from hnmine.cli.main import main
from hnmine.core import paths
from hnmine.data.dataset import read_files
from hnmine.models.encoder import FlagEncoder

ROW = {"query": "what is a rank window", "pos": ["the slice of ranks that negatives come from"]}
JUDGE = ["--judge_model", "m", "--judge_server", "http://127.0.0.1:9"]
# A flag or argument -> the call, with @ in its place. GOOD, MINED and OUT are files that are there.
CALLS = {
    "read": ["read", "@"],
    "read, second": ["read", "GOOD", "@"],
    "read --pool": ["read", "GOOD", "--pool", "@"],
    "check": ["check", "@", "--no_lengths"],
    "check --output_file": ["check", "GOOD", "--no_lengths", "--repair", "all", "--output_file", "@"],
    "push": ["push", "@", "owner/name"],
    "--input_file": ["mine", "--input_file", "@", "--output_file", "OUT"],
    "--candidate_pool": ["mine", "--input_file", "GOOD", "--candidate_pool", "@", "--output_file", "OUT"],
    "--output_file": ["mine", "--input_file", "GOOD", "--output_file", "@"],
    "--manifest_file": ["mine", "--input_file", "GOOD", "--output_file", "OUT", "--manifest_file", "@"],
    "--reviews": ["mine", "--input_file", "GOOD", "--output_file", "OUT", "--reviews", "@"],
    "--store": ["mine", "--input_file", "GOOD", "--output_file", "OUT", "--store", "@"],
    "--from_manifest": ["mine", "--from_manifest", "@", "--output_file", "OUT"],
    "cache --store": ["cache", "--store", "@"],
    "judge --input_file": ["judge", "--input_file", "@", "--output_file", "OUT", *JUDGE],
    "judge --output_file": ["judge", "--input_file", "MINED", "--output_file", "@", *JUDGE],
    "judge --prompt_file": ["judge", "--input_file", "MINED", "--output_file", "OUT", "--prompt_file", "@", *JUDGE],
    "judge --store": ["judge", "--input_file", "MINED", "--output_file", "OUT", "--store", "@", *JUDGE],
}
WRITES = ("check --output_file", "judge --output_file", "--output_file", "--manifest_file", "--store")
IMPOSSIBLE = {"empty": "", "blank": " ", "dash": "-", "long": "x" * 300, "NUL": "a\0b", "deep": "a/" * 3_000, "loop": "loop"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HNMINE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(FlagEncoder, "load", lambda *_, **__: pytest.fail("a model is loaded"))
    (tmp_path / "good.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "mined.jsonl").write_text(json.dumps(ROW | {"neg": ["another passage"]}) + "\n")
    (tmp_path / "out.jsonl").write_text("the output of before\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def called(call: str, name: str) -> int:
    return main([{"@": name, "GOOD": "good.jsonl", "MINED": "mined.jsonl", "OUT": "out.jsonl"}.get(each, each) for each in CALLS[call]])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_path_that_no_file_can_have_is_refused_before_any_work(here, capsys, call, kind):
    before = sorted(here.iterdir())
    assert called(call, IMPOSSIBLE[kind]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hnmine: ")
    assert "unexpected" not in said
    assert len(said) < 1_000
    assert said.replace("\n", "").isprintable()
    assert (here / "out.jsonl").read_text() == "the output of before\n"
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("call", [each for each in CALLS if "store" not in each])
@pytest.mark.parametrize("name", ["folder", "/dev/zero", "pipe", "none/there.jsonl", "good.jsonl/x", "/"])
def test_a_folder_a_device_and_a_pipe_without_a_writer_are_refused_and_never_wait(here, capsys, monkeypatch, call, name):
    if name.startswith("/") and call in WRITES:
        pytest.skip("a fault must not cost this machine a device: the pipe stands for it")
    monkeypatch.setattr(paths, "PATIENCE", 0.05)
    if call == "push":
        monkeypatch.setenv("HF_TOKEN", "none")  # refused before the hub is asked
    assert called(call, name) == 2
    said = capsys.readouterr().err
    assert "unexpected" not in said
    assert len(said) < 1_000
    assert (here / "out.jsonl").read_text() == "the output of before\n"


def test_a_pipe_is_read_and_its_writer_may_come_late(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Timer(0.1, lambda: pipe.write_text(json.dumps(ROW) + "\n"))
    writer.start()
    assert [row.query for row in read_files(pipe).training.items] == [ROW["query"]]
    writer.join()


def test_the_longest_name_that_a_system_takes_is_written(tmp_path):
    from hnmine.core.files import write_atomic

    for name in ("é" * 127, "x" * 255):
        assert write_atomic(tmp_path / name, [b"whole"]) == 5
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_a_folder_of_everything_is_given_up_early(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hnmine.data.folders._MOST", 20)
    for number in range(30):
        (tmp_path / f"{number}.bin").touch()
    assert main(["read", str(tmp_path)]) == 2
    assert "over 20 files" in capsys.readouterr().err
