"""The container's files: the linter has no word, the versions are ours, and no secret can get into the image."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter, "pip install -r requirements-dev.txt"
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_and_the_page_name_the_version_of_authlib_that_is_tested() -> None:
    (pinned,) = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["auth"]
    assert pinned in (ROOT / "Dockerfile").read_text("utf-8").split()
    assert f"pip install {pinned}`" in (ROOT / "docs" / "serving.md").read_text("utf-8")


def test_only_what_the_app_runs_from_is_sent_to_the_build() -> None:
    """A list of exceptions from "everything": a new file with a secret is left out by itself."""
    first, *lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert first == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / each).exists() for each in kept)
    for secret in (".streamlit/secrets.toml", "secrets/secrets.toml", ".env", "workspace/reviews.sqlite", ".git/config"):
        assert not any(fnmatch.fnmatch(secret, each) or secret.startswith(f"{each}/") for each in kept)


def test_compose_mounts_what_the_image_writes_and_nothing_else_is_writable() -> None:
    image = (ROOT / "Dockerfile").read_text("utf-8")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["hnmine"]
    mounted = {each.split(":")[1] for each in service["volumes"]}
    assert {*re.findall(r"(?:HNMINE_HOME|HF_HOME|TMPDIR)=(\S+)", image)} <= mounted
    assert service["read_only"] is True
    assert service["ports"] == ["127.0.0.1:8501:8501"], "only the proxy on this machine reaches it"
    assert service["command"][1].startswith(next(each for each in mounted if each == "/run/hnmine"))
    assert re.search(r"^USER 1000$", image, re.M)
