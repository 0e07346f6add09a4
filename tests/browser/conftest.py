"""What the browser tests share: Chromium, servers, and that no page asks anything of another host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.server import CHROMIUM, FLAGS, OUTSIDE, Server
from tests.conftest import Mined


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one the test is skipped, but fails where CI promises to have it."""
    if CHROMIUM is None:
        reason = "no Chromium on PATH: install it (Debian: apt install chromium) to run the browser tests"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(autouse=True)
def nothing_outside() -> Iterator[None]:
    """Corpora are private, and there may be no network: no page asks anything of another host."""
    OUTSIDE.clear()
    yield
    assert [url for url in OUTSIDE if not url.startswith(("data:", "blob:"))] == []


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers, which are stopped after the test."""
    started: list[Server] = []

    def start(*args: Any, **kwargs: Any) -> Server:
        started.append(Server(*args, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def example(mined: Mined, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a copy of the mined example, for tests that store nothing but drafts."""
    started = Server(Path(shutil.copytree(mined.root, tmp_path_factory.mktemp("example-server") / "workspace")))
    yield started
    started.stop()


@pytest.fixture
def place(mined: Mined, tmp_path: Path) -> tuple[Path, str]:
    """A workspace of the test's own with the mined example, and the run's id."""
    return Path(shutil.copytree(mined.root, tmp_path / "workspace")), mined.run
