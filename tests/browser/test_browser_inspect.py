"""Inspect and Runs in a real browser: what AppTest cannot do, which is drag, click rows and headers, and step back."""

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
from tests.conftest import mine

pytestmark = pytest.mark.browser

TOPICS = ["sea", "wing", "hull", "sail", "anchor", "tide"]
ROW, HEADER = 35, 35  # pixels of the grid


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with two runs of 130 queries: (folder, the newest run's id)."""
    folder = tmp_path_factory.mktemp("inspect-browser")
    lines = [
        {"query": f"question {number:03} about the {TOPICS[number % 6]}", "pos": [f"Answer {number} on the {TOPICS[number % 6]}."]}
        for number in range(130)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    space = Workspace(folder / "workspace")
    dataset = space.add_dataset("train.jsonl", folder / "train.jsonl")
    runs = []
    for start in (0, 2):
        settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=start, window_end=30, negative_number=5))
        runs.append(mine(space, dataset.id, settings, 40))
        space.name_run(runs[-1], f"from {start}")
    return space.root, runs[-1]


@pytest.fixture(scope="module")
def server(workspace: tuple[Path, str]) -> Iterator[Server]:
    running = Server(workspace[0])
    yield running
    running.stop()


def go(page: Any, screen: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=screen).click()
    page.get_by_role("heading", name=screen, level=1).wait_for()
    settled(page)


def click_row(page: Any, row: int, *, table: int = 0) -> None:
    """Tick a row's box, counted from 0."""
    grid = page.get_by_test_id("stDataFrame").nth(table)
    grid.click(position={"x": 15, "y": HEADER + ROW * row + ROW // 2})
    settled(page)


def cell(page: Any, row: int, column: int, *, table: int = 0, like: str = "question") -> str:
    """A cell as screen readers find it, once it holds a text like that: the grid is drawn after the page has settled."""
    found = page.get_by_test_id("stDataFrame").nth(table).locator(f"[data-testid=glide-cell-{column}-{row}]").filter(has_text=like)
    found.wait_for(state="attached")
    return str(found.text_content())


def drag(page: Any, start: float, end: float) -> None:
    """Draw a range across the histogram, in parts of its width."""
    box = page.get_by_test_id("stVegaLiteChart").first.locator("svg").bounding_box()
    page.mouse.move(box["x"] + start * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + box["height"] / 2, steps=6)
    page.mouse.up()


def wait_brushed(page: Any, wanted: bool) -> None:
    """Wait until a range is drawn on the histogram, or none."""
    page.wait_for_function(
        """wanted => wanted === [...document.querySelector('[data-testid=stVegaLiteChart]').querySelectorAll('svg .brush_brush path')]
            .some(path => path.getBoundingClientRect().width > 2)""",
        arg=wanted,
    )


def test_a_range_drawn_across_the_histogram_narrows_the_list_and_stays(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = page_of(browser, f"{server.url}/inspect?run={workspace[1]}")
    page.get_by_text("130 of 130 queries").wait_for()
    drag(page, 0.75, 0.95)
    page.get_by_text("with a chosen negative between").wait_for()
    page.get_by_text("130 of 130 queries").wait_for(state="detached")
    settled(page)
    said = page.get_by_text("with a chosen negative between").inner_text()
    page.get_by_role("textbox", name="Search the queries").fill("question")
    page.get_by_role("textbox", name="Search the queries").press("Enter")
    settled(page)
    assert page.get_by_text("with a chosen negative between").inner_text() == said, "it stays over reruns"
    go(page, "Mine")
    go(page, "Inspect")
    assert page.get_by_text("with a chosen negative between").inner_text() == said, "and when one comes back"
    wait_brushed(page, True)
    assert page.get_by_role("textbox", name="Search the queries").input_value() == "question"
    page.get_by_role("button", name="Clear the range").click()
    page.get_by_text("130 of 130 queries").wait_for()
    wait_brushed(page, False)
    page.context.close()


def test_headers_sort_all_queries_and_pages_turn(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = page_of(browser, f"{server.url}/inspect?run={workspace[1]}")
    page.get_by_text("130 of 130 queries").wait_for()
    settled(page)
    header = page.get_by_test_id("stDataFrame").first
    header.click(position={"x": 120, "y": HEADER // 2})  # the column "query"
    page.get_by_text("sorted by query (alphabetical)").wait_for()
    settled(page)
    cell(page, 0, 1, like="question 000")
    header.click(position={"x": 120, "y": HEADER // 2})  # once more: the other way round
    settled(page)
    cell(page, 0, 1, like="question 129")
    page.get_by_role("button", name="Next page").click()
    page.get_by_text("51 to 100 on this page").wait_for()
    settled(page)
    cell(page, 0, 1, like="question 079")
    go(page, "Mine")
    go(page, "Inspect")
    page.get_by_text("51 to 100 on this page").wait_for()
    page.get_by_text("sorted by query (alphabetical)").wait_for()
    page.context.close()


def test_a_picked_query_is_in_the_address_which_opens_it_for_a_colleague(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = page_of(browser, f"{server.url}/inspect?run={workspace[1]}")
    page.get_by_text("130 of 130 queries").wait_for()
    settled(page)
    click_row(page, 2)
    page.wait_for_url("**query=*")
    first, first_text = page.url, cell(page, 2, 1)
    page.get_by_test_id("stText").filter(has_text=first_text).wait_for()
    click_row(page, 4)
    page.wait_for_function("was => location.href !== was", arg=first)
    settled(page)
    second_text = cell(page, 4, 1)
    page.get_by_test_id("stText").filter(has_text=second_text).wait_for()

    page.go_back()  # to the query before
    page.get_by_test_id("stText").filter(has_text=first_text).wait_for()
    assert page.url == first

    settled(page)
    page.get_by_role("button", name="Link").click()
    link = page.get_by_test_id("stCode").first.inner_text().strip()
    colleague = page_of(browser, link)
    colleague.get_by_test_id("stText").filter(has_text=first_text).wait_for()
    settled(colleague)
    assert "query=" in colleague.url
    colleague.context.close()

    go(page, "Mine")
    assert "query=" not in page.url
    go(page, "Inspect")
    page.get_by_test_id("stText").filter(has_text=first_text).wait_for()
    page.context.close()


def test_a_query_that_changed_opens_in_inspect(browser: Any, server: Server, workspace: tuple[Path, str]) -> None:
    page = page_of(browser, f"{server.url}/runs?run={workspace[1]}")
    page.get_by_role("heading", name="Compare").wait_for()
    settled(page)
    page.get_by_role("combobox", name="Compare this run").click()
    page.get_by_role("option").first.click()
    page.get_by_role("heading", name="Queries that changed most").wait_for()
    settled(page)
    page.get_by_test_id("stDataFrame").nth(2).scroll_into_view_if_needed()
    text = cell(page, 1, 1, table=2)
    click_row(page, 1, table=2)
    page.get_by_role("heading", name="Inspect", level=1).wait_for()
    page.get_by_test_id("stText").filter(has_text=text).wait_for()
    settled(page)
    assert "query=" in page.url
    assert workspace[1] not in page.url, "in the other run, B"
    page.context.close()
