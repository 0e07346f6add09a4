"""Inspect in a real browser: what AppTest cannot do, which is click, type, press keys, step back, and measure places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hnmine.models.cards import ModelSettings
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.browser.server import Server, page_of, settled
from tests.conftest import Mined, mine

pytestmark = pytest.mark.browser

TOPICS = ["sea", "wing", "hull", "sail", "anchor", "tide"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a run of 130 queries: (folder, the run's id)."""
    folder = tmp_path_factory.mktemp("inspect-browser")
    lines = [
        {"query": f"question {number:03} about the {TOPICS[number % 6]}", "pos": [f"Answer {number} on the {TOPICS[number % 6]}."]}
        for number in range(130)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    space = Workspace(folder / "workspace")
    dataset = space.add_dataset("train.jsonl", folder / "train.jsonl")
    settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=2, window_end=30, negative_number=5))
    return space.root, mine(space, dataset.id, settings, 40)


@pytest.fixture(scope="module")
def server(workspace: tuple[Path, str]) -> Iterator[Server]:
    running = Server(workspace[0])
    yield running
    running.stop()


def opened(browser: Any, server: Server, run: str, address: str = "", *, width: int = 1400, height: int = 900) -> Any:
    """Open the screen in a window of its own."""
    page = page_of(browser, f"{server.url}/inspect?run={run}{address}")
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_role("option").first.wait_for()
    settled(page)
    return page


def go(page: Any, screen: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=screen).click()
    settled(page)


def shows(page: Any, query: str) -> None:
    """Wait until a query is shown, and marked in the list."""
    page.locator("li.query").filter(has_text=query).wait_for()
    page.locator("[role=option][aria-selected=true]").filter(has_text=query).wait_for()


def query_at(page: Any, place: int) -> str:
    return str(page.get_by_role("option").nth(place).locator(".text").inner_text())


def box(locator: Any) -> dict[str, float]:
    found = locator.bounding_box()
    assert found is not None
    return dict(found)


def test_query_positive_histogram_and_three_negatives_are_on_the_first_screen(browser: Any, example: Server, mined: Mined) -> None:
    page = opened(browser, example, mined.run)
    query, positive = page.locator("li.query"), page.locator("li.positive").first
    histogram = page.get_by_test_id("stVegaLiteChart").locator("svg").first
    negatives = page.locator("li.candidate")
    assert negatives.count() == 15
    held = box(page.get_by_role("list", name="Negatives, hardest first"))
    whole = [box(negatives.nth(number)) for number in range(3)]
    assert all(held["y"] <= each["y"] and each["y"] + each["height"] <= held["y"] + held["height"] for each in whole)
    for each in [box(query), box(positive), box(histogram), held, box(page.get_by_role("listbox", name="Queries"))]:
        assert each["y"] >= 0
        assert each["y"] + each["height"] <= 900
    main = page.get_by_test_id("stMain")
    assert main.evaluate("main => main.scrollHeight - main.clientHeight") <= 0, "the page does not scroll"
    cut = page.locator("li.candidate p").evaluate_all("all => all.filter(each => each.scrollHeight > each.clientHeight + 1).length")
    assert cut == 0, "whole texts"
    page.context.close()


def test_a_click_an_arrow_and_j_and_k_pick_a_query(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = opened(browser, server, workspace[1])
    names = [query_at(page, number) for number in range(6)]
    shows(page, names[0])
    page.get_by_role("option").nth(3).click()
    shows(page, names[3])
    page.keyboard.press("ArrowDown")
    shows(page, names[4])
    page.keyboard.press("Home")
    shows(page, names[0])
    page.keyboard.press("j")
    shows(page, names[1])
    page.keyboard.press("j")
    shows(page, names[2])
    page.keyboard.press("k")
    shows(page, names[1])
    page.locator(".st-key-inspect-next button").click()
    shows(page, names[2])
    assert "query=" in page.url
    page.get_by_role("listbox", name="Queries").focus()  # by Tab, without a mouse
    page.keyboard.press("End")
    page.get_by_text("50 of 130").wait_for()
    page.locator(".st-key-inspect-next button").click()
    page.get_by_text("51 of 130").wait_for()
    shows(page, query_at(page, 0))
    page.context.close()


def test_search_as_one_types_finds_a_query_by_its_passages(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = opened(browser, server, workspace[1])
    page.get_by_role("searchbox").or_(page.get_by_role("textbox", name="Search")).first.press_sequentially("answer 77 on")
    page.get_by_text("1 of 130").wait_for(state="detached")
    settled(page)
    shown = page.locator("li.positive, li.candidate").all_inner_texts()
    assert any("Answer 77 on" in text for text in shown)
    assert "search=answer" in page.url
    count = page.get_by_role("option").count()
    page.reload()
    page.get_by_role("option").first.wait_for()
    settled(page)
    assert page.get_by_role("option").count() == count < 50
    page.context.close()


def test_an_address_opens_the_same_view_and_back_goes_to_the_query_before(
    browser: Any, server: Server, workspace: tuple[Path, str]
) -> None:
    page = opened(browser, server, workspace[1])
    page.get_by_role("button", name="Reverse").click()
    page.wait_for_url("**order=up**")
    settled(page)
    first, second = query_at(page, 2), query_at(page, 4)
    page.get_by_role("option").nth(2).click()
    shows(page, first)
    settled(page)
    page.get_by_role("option").nth(4).click()
    shows(page, second)
    settled(page)
    page.go_back()
    shows(page, first)
    page.get_by_role("button", name="Link").click()
    link = page.get_by_test_id("stCode").first.inner_text().strip()
    colleague = page_of(browser, link)
    shows(colleague, first)
    settled(colleague)
    assert query_at(colleague, 2) == first
    assert "order=up" in colleague.url
    colleague.context.close()
    page.keyboard.press("Escape")
    go(page, "Mine")
    page.wait_for_url(lambda url: "query=" not in url)
    go(page, "Inspect")
    shows(page, first)
    page.context.close()


def test_a_verdict_is_stored_at_once_and_undone(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = opened(browser, server, workspace[1])
    page.evaluate("localStorage.setItem('hnmine-reviewer', 'Ann')")  # as the Review screen does, in an earlier session
    row = page.locator("li.candidate").nth(1)
    text, query = row.locator("p").inner_text(), query_at(page, 0)
    row.get_by_role("button", name="Relevant: remove").click()
    page.get_by_text("1 verdict stored.").wait_for()
    settled(page)
    store = Workspace(workspace[0]).reviews()
    assert [(each.query, each.passage, each.verdict, each.who) for each in store.verdicts()] == [(query, text, "relevant", "Ann")]
    assert row.locator("p").inner_text() == text, "it stays in its place"
    assert row.get_by_role("button", name="Relevant: remove").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Apply to the list").click()
    page.get_by_text("1 verdict stored.").wait_for(state="detached")
    settled(page)
    assert text not in page.locator("li.candidate p").all_inner_texts(), "another passage took its place"
    row = page.locator("li.candidate").nth(1)
    row.get_by_role("button", name="Junk").click()
    page.get_by_text("1 verdict stored.").wait_for()
    settled(page)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("1 verdict stored.").wait_for(state="detached")
    settled(page)
    assert [each.verdict for each in store.verdicts()] == ["relevant"]
    assert page.locator("li.candidate button[aria-pressed=true]").count() == 0
    page.context.close()


def test_a_passage_and_its_point_in_the_histogram_mark_each_other(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = opened(browser, server, workspace[1])
    points = page.get_by_test_id("stVegaLiteChart").locator("svg .mark-symbol.role-mark path")
    assert points.count() == 5
    page.locator("li.candidate").nth(2).locator("p").click()
    page.wait_for_function("document.querySelectorAll('svg .mark-symbol.role-mark path').length === 6")
    settled(page)
    points.nth(4).click()
    page.locator("li.candidate.picked:not(:nth-child(3))").wait_for()
    page.context.close()


def test_on_a_phone_the_query_comes_after_the_list_and_there_is_a_way_back(
    browser: Any, server: Server, workspace: tuple[Path, str]
) -> None:
    page = opened(browser, server, workspace[1], width=390, height=844)
    name = query_at(page, 1)
    page.get_by_role("option").nth(1).click()
    shows(page, name)
    page.wait_for_function("document.querySelector('.st-key-inspect-texts').getBoundingClientRect().top < 300")
    page.get_by_role("button", name="Back to the list").click()
    page.wait_for_function("document.querySelector('.st-key-inspect-queries').getBoundingClientRect().top < 300")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()
