"""The Mine screen in a real browser: what is seen without scrolling, and that the slider sends while it moves and loses no key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.server import WAIT, Server, page_of, settled
from tests.conftest import Mined

pytestmark = pytest.mark.browser

CHART = "[data-testid=stVegaLiteChart]"


def mine_page(browser: Any, example: Server, mined: Mined) -> Any:
    page = page_of(browser, f"{example.url}/mine?run={mined.run}")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.get_by_role("radio", name="Balanced (recommended)").wait_for(state="attached", timeout=WAIT)
    settled(page)
    return page


def thumb(page: Any, end: str) -> Any:
    return page.get_by_role("slider", name=f"{end} of the rank range")


def bottom(found: Any) -> float:
    box = found.bounding_box()
    return float(box["y"] + box["height"])


def drawn(page: Any) -> str:
    """The histogram in words, which name the mean of the negatives."""
    return str(page.locator(CHART).first.get_attribute("aria-label"))


def until_range(page: Any, words: str) -> None:
    page.get_by_text(words).wait_for(timeout=WAIT)


def test_setting_and_result_are_on_one_screen(browser: Any, example: Server, mined: Mined) -> None:
    page = mine_page(browser, example, mined)
    sample = page.locator(".sample").first
    for what in (page.get_by_role("button", name="Mine again"), thumb(page, "End"), page.locator(CHART).first, sample):
        assert bottom(what) <= 900
    assert sample.locator(".line").count() == 4
    for label in ("Difficulty", "False negatives, est.", "Above positive", "Incomplete rows"):
        assert bottom(page.get_by_test_id("stMetric").filter(has_text=label)) <= 900
    assert thumb(page, "End").bounding_box()["x"] < page.locator(CHART).first.bounding_box()["x"], "two panes"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    page.set_viewport_size({"width": 1024, "height": 900})
    settled(page)
    assert thumb(page, "End").bounding_box()["x"] < page.locator(CHART).first.bounding_box()["x"]
    page.set_viewport_size({"width": 390, "height": 844})
    settled(page)
    assert bottom(page.locator(CHART).first) - thumb(page, "End").bounding_box()["y"] <= 844, "slider and histogram fit on a phone"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_the_slider_sends_while_it_moves_and_always_its_last_value(browser: Any, example: Server, mined: Mined) -> None:
    page = mine_page(browser, example, mined)
    box = thumb(page, "Start").bounding_box()
    x, y = box["x"] + 8 + 10 / int(thumb(page, "Start").get_attribute("max")) * (box["width"] - 16), box["y"] + box["height"] / 2
    assert thumb(page, "Start").input_value() == "10"
    page.mouse.move(x, y)
    page.mouse.down()
    seen = set()
    for step in range(60):
        page.mouse.move(x + 2 * step, y)
        page.wait_for_timeout(50)
        seen.add(drawn(page))
    assert len(seen) > 2, "the histogram moves before the mouse is released"
    page.mouse.up()
    start = int(thumb(page, "Start").input_value())
    assert start > 50
    until_range(page, f"skips the top {start}.")
    page.get_by_role("button", name="Discard changes").last.wait_for()
    # Keys in quick succession: each counts, though the script still answers the first.
    thumb(page, "Start").focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    assert thumb(page, "Start").input_value() == str(start - 30)
    until_range(page, f"skips the top {start - 30}.")
    settled(page)
    assert thumb(page, "Start").input_value() == str(start - 30), "no answer moves the thumb back"
    # A preset sets the slider, and a number can be typed.
    page.get_by_text("Balanced (recommended)").click()
    until_range(page, "Ranks 0-299")
    assert thumb(page, "Start").input_value() == "0"
    number = page.get_by_role("spinbutton", name="End of the rank range")
    number.fill("120")
    number.press("Enter")
    until_range(page, "Ranks 0-119")
    page.reload()
    until_range(page, "Ranks 0-119")
    page.context.close()


def test_a_sample_query_opens_in_inspect(browser: Any, example: Server, mined: Mined) -> None:
    page = mine_page(browser, example, mined)
    query = page.locator(".sample .query").first
    words = query.inner_text()
    page.get_by_role("button", name="Other examples").click()
    page.wait_for_function("words => document.body.innerText.includes('Sample queries')", arg=words)
    page.wait_for_timeout(500)
    settled(page)
    assert query.inner_text() != words
    words = query.inner_text()
    query.click()
    page.wait_for_url("**/inspect?**query=**", timeout=WAIT)
    page.get_by_text(words).first.wait_for(timeout=WAIT)
    page.context.close()
