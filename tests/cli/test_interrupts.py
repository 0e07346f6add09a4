"""A signal at any moment of `python -m hnmine` ends it with 130 or 143 and one line, and leaves no half of an output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A child that sends itself a signal when a function of a module is called; "<module>" is its import.
CHILD = """
import os, runpy, signal, sys

MODULE, FUNCTION, NUMBER = sys.argv[1:4]

def watch(frame, event, _):
    if event == "call" and frame.f_globals.get("__name__") == MODULE and frame.f_code.co_name == FUNCTION:
        sys.setprofile(None)
        os.write(2, b"|")
        os.kill(os.getpid(), int(NUMBER))

sys.argv = ["hnmine", *sys.argv[4:]]
sys.setprofile(watch)
runpy.run_module("hnmine", run_name="__main__", alter_sys=True)
"""
MOMENTS = [
    ("hnmine.cli.main", "<module>", signal.SIGTERM),
    ("hnmine.data.dataset", "<module>", signal.SIGINT),
    ("hnmine.cli.parser", "parse", signal.SIGTERM),
    ("hnmine.data.formats.jsonl", "objects", signal.SIGINT),
    ("hnmine.checks.survey", "take", signal.SIGTERM),
    ("hnmine.core.files", "_write", signal.SIGINT),
]


@pytest.mark.parametrize(("module", "function", "number"), MOMENTS)
def test_a_signal_at_any_moment_is_one_line_and_its_status(tmp_path, module, function, number):
    rows, output = tmp_path / "train.jsonl", tmp_path / "out.jsonl"
    rows.write_text(
        "".join(json.dumps({"query": f"question {n}", "pos": [f"answer {n}"], "neg": ["", f"no {n}"]}) + "\n" for n in range(30))
    )
    output.write_text("what was there before\n")
    arguments = ["check", str(rows), "--no_lengths", "--repair", "all", "--output_file", str(output)]
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, module, function, str(int(number)), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    before, met, said = ended.stderr.partition("|")
    assert (before, met, ended.returncode) == ("", "|", 128 + number)
    assert said.startswith("hnmine: stopped on request")
    assert said.count("\n") == 1
    assert ended.stdout == ""
    assert output.read_text() == "what was there before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "train.jsonl"]
