"""The commands and the code of the README work as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hnmine.cli.flags import settings_from
from hnmine.cli.main import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_library_call_runs_as_written(tmp_path: Path) -> None:
    """In a fresh process, in a folder with the example's files and an empty workspace, without a GPU."""
    shutil.copytree(ROOT / "examples" / "bikeshare", tmp_path / "examples" / "bikeshare")
    (call,) = blocks("python")
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{call}"],
        cwd=tmp_path,
        env=os.environ | {"HNMINE_HOME": str(tmp_path / "workspace")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (tmp_path / "train_hn.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 124
    assert all(len(row["neg"]) == 15 for row in rows)
    printed = dict(re.findall(r"^(\w+) +(.+)$", ended.stdout, re.MULTILINE))
    assert printed["rows"].startswith("124 ")
    assert printed["funnel"].endswith("chosen 1,815")
    assert printed["negatives"].startswith("1,860, ")
    assert printed["similarity"].startswith("negatives 0.32")
    assert printed["estimate"].startswith("0-6% ")
    manifest = json.loads((tmp_path / "train_hn.manifest.json").read_text("utf-8"))
    assert manifest["settings"]["selection"]["max_fn_rate"] == 0.01


def test_every_hnmine_command_can_be_parsed_and_its_inputs_exist() -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if "-m hnmine" in line]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        arguments = parse(words[words.index("hnmine") + 1 :])
        if arguments.command != "mine" or arguments.from_manifest:
            continue
        assert settings_from(arguments).selection.window_end == (300 if arguments.preset == "balanced" else 210)
        assert all((ROOT / path).exists() for path in (*arguments.input_file, *arguments.candidate_pool))


def test_the_mining_and_checking_commands_run_one_after_the_other_as_written(tmp_path: Path, example_vectors: Path) -> None:
    """Each in a fresh process, beside the example; what one writes the next one reads, and none has to encode."""
    shutil.copytree(example_vectors, tmp_path / "workspace" / "vectors")
    shutil.copytree(ROOT / "examples" / "bikeshare", tmp_path / "examples" / "bikeshare")
    section = README.split("## From the command line")[1].split("\n## ")[0]
    commands = [line for line in section.splitlines() if line.startswith("python -m hnmine")]
    assert any("--from_manifest" in command for command in commands)
    for command in commands:
        ended = subprocess.run(
            [sys.executable, *shlex.split(command, comments=True)[1:]],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HNMINE_HOME": str(tmp_path / "workspace")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stderr}{ended.stdout}"
        if "--from_manifest" in command:
            assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "train_hn.jsonl").read_bytes()


def test_every_make_target_and_picture_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", README, re.MULTILINE))
    assert {name for pair in named for name in pair if name} <= targets
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)
    assert pictures
    for alt, path in pictures:
        assert (ROOT / path).stat().st_size > 10_000
        assert len(alt) > 20


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / name).parent / target).exists(), target
