"""Uploads through a real browser: kept on disk, and gone once the data set is stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.server import Server, page_of, settled

pytestmark = [pytest.mark.browser, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def nameless(server: Server) -> int:
    """The bytes of the server's open files that have no name any longer."""
    folder, size = Path(f"/proc/{server.process.pid}/fd"), 0
    for each in folder.iterdir():
        if "(deleted)" in str(each.readlink()):
            size += each.stat().st_size
    return size


def test_uploads_are_stored_as_they_are_and_leave_nothing(browser: Any, serve: Callable[..., Server], tmp_path: Path) -> None:
    training, pool = tmp_path / "train.jsonl", tmp_path / "pool.jsonl"
    training.write_text("".join(json.dumps({"query": f"q {n}", "pos": [f"answer {n}"]}) + "\n" for n in range(20)))
    pool.write_text("".join(json.dumps({"text": f"passage {n} {'of some length ' * 10}"}) + "\n" for n in range(10_000)))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("[]\n" * 100_000)
    server = serve(tmp_path / "workspace")
    page = page_of(browser, server.url)
    settled(page)
    page.locator("input[type=file]").first.set_input_files(str(empty))
    page.get_by_text("Cannot use this file").wait_for()
    settled(page)
    assert nameless(server) == empty.stat().st_size, "it is kept as long as it is in the drop zone"
    page.get_by_role("button", name="Remove empty.jsonl").click()
    page.get_by_text("Cannot use this file").wait_for(state="detached")
    page.locator("input[type=file]").first.set_input_files([str(training), str(pool)])
    page.get_by_text("Not mined yet").wait_for()
    settled(page)
    (stored,) = (tmp_path / "workspace" / "datasets").iterdir()
    assert (stored / "train.jsonl").read_bytes() == training.read_bytes()
    assert (stored / "pool.jsonl").read_bytes() == pool.read_bytes()
    assert nameless(server) == 0
