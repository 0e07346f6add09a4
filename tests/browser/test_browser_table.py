"""The Table mode of the Review screen in Chromium: a cell that is edited is on the disk, and no edit comes back after an undo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnmine.runs.workspace import Workspace
from pages.review.table import ROW
from tests.browser.server import Server, page_of, settled

pytestmark = pytest.mark.browser

NOTE, VERDICT = 240, 60  # inside the columns, in pixels from the left
HEADER = 36


def test_cells_are_edited_in_place_and_an_undone_edit_does_not_come_back(
    browser: Any, serve: Callable[..., Server], place: tuple[Path, str]
) -> None:
    root, run = place
    space = Workspace(root)
    store = space.reviews()
    lines = space.training_path(space.run(run).dataset_id).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:4]]
    for number, row in enumerate(rows):
        store.decide([(row["query"], rows[(number + 1) % 4]["pos"][0])], "negative", "Ann", note=f"note {number}")
    before = store.version()
    page = page_of(browser, f"{serve(root).url}/review?run={run}")
    settled(page)
    page.get_by_text("Table", exact=True).first.click()
    grid = page.get_by_test_id("stDataFrame").first
    grid.wait_for()
    settled(page)

    def edit(column: int, row: int, text: str) -> None:
        settled(page)
        box = grid.bounding_box()
        page.mouse.click(box["x"] + column, box["y"] + HEADER + ROW * row + ROW / 2)
        page.wait_for_timeout(400)
        page.keyboard.press("Enter")
        page.wait_for_timeout(900)
        page.keyboard.press("Control+A")
        page.keyboard.type(text, delay=30)
        count = store.version()
        page.keyboard.press("Enter")
        for _ in range(60):
            if store.version() > count:
                break
            page.wait_for_timeout(100)
        settled(page)

    def state() -> list[tuple[str, str, str]]:
        """Of the rows as they are listed: the latest first."""
        held = [store.verdict(row["query"], rows[(number + 1) % 4]["pos"][0]) for number, row in enumerate(rows)]
        return [(each.verdict, each.note, each.who) for each in reversed(held) if each]

    edit(NOTE, 0, "a reason")
    edit(VERDICT, 1, "Junk")
    assert state()[:2] == [("negative", "a reason", "Reviewer 1"), ("junk", "note 2", "Reviewer 1")]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone: 1 pair.").wait_for()
    assert state()[1] == ("negative", "note 2", "Ann")
    edit(NOTE, 2, "another")
    assert state() == [
        ("negative", "a reason", "Reviewer 1"),
        ("negative", "note 2", "Ann"),
        ("negative", "another", "Reviewer 1"),
        ("negative", "note 0", "Ann"),
    ]
    assert len(store.changes(before)) == 4  # three edits and an undo
