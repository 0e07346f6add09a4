"""Quality and Runs in a real browser: the sample is reviewed by keys, a row of a table leads to its query, two rows are compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnmine.runs.variants import save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.presets import with_preset
from tests.browser.server import Server, page_of, settled

pytestmark = pytest.mark.browser

ROW, HEADER = 35, 35  # pixels of the grid


def tick(page: Any, number: int, grid: Any) -> None:
    """Tick a row of a grid."""
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + HEADER + ROW * (number + 0.5))
    settled(page)


def test_the_sample_is_reviewed_by_keys_and_a_low_positive_is_inspected(
    browser: Any, place: tuple[Path, str], serve: Callable[..., Server]
) -> None:
    root, run = place
    page = page_of(browser, f"{serve(root).url}/quality?run={run}")
    page.get_by_role("heading", name="False-negative rate").wait_for()
    settled(page)
    page.get_by_role("button", name="Review 120 at random").click()
    page.get_by_text(re.compile(r"^0 of 1\d\d pairs of the audit sample")).wait_for()  # some pairs were drawn for two rows
    settled(page)
    for number, key in enumerate("kdj", 1):
        page.keyboard.press(key)
        page.get_by_text(re.compile(rf"^{number} of 1\d\d pairs of the audit sample")).wait_for()
    settled(page)
    page.get_by_test_id("stTopNavLink").filter(has_text="Quality").click()
    page.get_by_text(re.compile(r"^3 of 1\d\d pairs reviewed")).wait_for()
    page.get_by_text("A rate needs").wait_for()
    page.get_by_text("Data health in detail").click()
    settled(page)
    grid = page.get_by_test_id("stDataFrame").last
    grid.scroll_into_view_if_needed()
    settled(page)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + HEADER + ROW / 2)
    page.wait_for_url(re.compile("/inspect.*query="))


def test_two_variants_are_ticked_and_compared_and_a_query_is_opened_in_one(
    browser: Any, place: tuple[Path, str], serve: Callable[..., Server]
) -> None:
    root, run = place
    space = Workspace(root)
    saved = save_variant(space, run, "PercPos", with_preset("percpos", space.run(run).settings.selection))
    page = page_of(browser, f"{serve(root).url}/runs?run={run}")
    page.get_by_text("Select a second row").wait_for()
    settled(page)
    tick(page, 1, page.get_by_test_id("stDataFrame").first)  # the open variant is ticked
    page.get_by_text("Queries that changed most").wait_for()
    settled(page)
    query = page.get_by_text(re.compile("^Query: "))
    first = query.inner_text()
    changed = page.get_by_test_id("stDataFrame").filter(has=page.get_by_text("difficulty A"))
    changed.scroll_into_view_if_needed()
    tick(page, 1, changed)
    assert query.inner_text() != first
    page.get_by_role("button", name="Open in Inspect (B)").click()
    page.wait_for_url(re.compile(rf"/inspect.*variant={saved.id}.*query="))
