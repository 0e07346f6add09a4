"""Uploads through a real browser: kept on disk, and gone once the data set is stored."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.browser.server import Server, page_of, settled

pytestmark = [pytest.mark.browser, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
MB = 60


def nameless(server: Server) -> int:
    """The bytes of the server's open files that have no name any longer."""
    folder, size = Path(f"/proc/{server.process.pid}/fd"), 0
    for each in folder.iterdir():
        if "(deleted)" in os.readlink(each) and (folder / each.name).stat().st_nlink == 0:
            size += (folder / each.name).stat().st_size
    return size


def test_an_upload_takes_no_memory_and_leaves_nothing(browser: Any, serve: Callable[..., Server], tmp_path: Path) -> None:
    training, pool = tmp_path / "train.jsonl", tmp_path / "pool.jsonl"
    training.write_text("".join(json.dumps({"query": f"q {n}", "pos": [f"answer {n}"]}) + "\n" for n in range(20)))
    line = json.dumps({"text": "a passage that is too short to be of any use " * 200}) + "\n"
    pool.write_text("".join(f"{n}" + line if n < 0 else line.replace("passage", f"passage {n}", 1) for n in range(MB * 10**6 // len(line))))
    server = serve(tmp_path / "workspace")
    page = page_of(browser, server.url)
    settled(page)
    page.locator("input[type=file]").first.set_input_files(str(training))
    page.get_by_text("Not mined yet").wait_for()  # what the server loads once is loaded now
    settled(page)
    page.get_by_role("button", name="Open another").first.click() if page.get_by_role("button", name="Open another").count() else page.goto(
        server.url
    )
    settled(page)
    before = psutil.Process(server.process.pid).memory_info().rss
    page.locator("input[type=file]").first.set_input_files([str(training), str(pool)])
    page.get_by_text("pool.jsonl").first.wait_for()
    settled(page)
    assert nameless(server) == 0
    assert psutil.Process(server.process.pid).memory_info().rss - before < 2 * MB * 10**6
