"""The benchmarks run, in small: their figures mean nothing here, but each still measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["search", "select", "inspect", "rows", "scale", "quality", "audit"])
def test_a_benchmark_runs_and_writes_its_figures(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads((ROOT / "build" / "bench" / f"{name}-quick.json").read_text())
    assert written["rows"]
    assert written["facts"]["machine"]["cores"]


def test_without_a_gpu_its_check_says_so_and_is_no_failure() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu_check", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_benchmark_is_named_in_the_makefile() -> None:
    listed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS")).partition(":=")[2].split()
    helpers = {"__init__", "judged", "measure", "plain", "plot", "sets"}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers == set(listed)
