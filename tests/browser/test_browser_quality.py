"""The Quality screen in a real browser: the sample is reviewed by keys, and a row of a table leads to its query."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.server import Server, page_of, settled

pytestmark = pytest.mark.browser

ROW, HEADER = 35, 35  # pixels of the grid


def test_the_sample_is_reviewed_by_keys_and_a_low_positive_is_inspected(
    browser: Any, place: tuple[Path, str], serve: Callable[..., Server]
) -> None:
    root, run = place
    page = page_of(browser, f"{serve(root).url}/quality?run={run}")
    page.get_by_role("heading", name="Quality", level=1).wait_for()
    settled(page)
    page.get_by_role("button", name="Draw a sample").click()
    page.get_by_text("No pair is reviewed yet").wait_for()
    settled(page)
    page.get_by_role("button", name="Review the sample").click()
    page.get_by_role("heading", name="Review", level=1).wait_for()
    settled(page)
    page.get_by_text(re.compile(r"^0 of 1\d\d reviewed")).wait_for()  # some pairs were drawn for two rows
    for number, key in enumerate("kdj", 1):
        page.keyboard.press(key)
        page.get_by_text(re.compile(rf"^{number} of 1\d\d reviewed")).wait_for()
        settled(page)
    page.get_by_test_id("stTopNavLink").filter(has_text="Quality").click()
    page.get_by_text(re.compile(r"^3 of 1\d\d pairs reviewed")).wait_for()
    page.get_by_text("not enough reviews").wait_for()
    grid = page.get_by_test_id("stDataFrame").nth(1)  # below the bands
    grid.scroll_into_view_if_needed()
    settled(page)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + HEADER + ROW / 2)
    page.get_by_role("heading", name="Inspect", level=1).wait_for()
    settled(page)
    assert "query=" in page.url
    page.get_by_text("Positive · similarity").first.wait_for()
