"""From nothing to a downloaded file of one's own: few clicks, none of them below the fold, and nothing to scroll for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnmine.runs.selection_files import last_export
from hnmine.runs.workspace import Workspace
from tests.browser.server import WAIT, Server, page_of, settled

FOLD = 900
CLICKS = 6

pytestmark = pytest.mark.browser
Serve = Callable[..., Server]


@pytest.fixture
def own_files(tmp_path: Path) -> list[Path]:
    """A training file and a pool of another subject."""
    things = ["lamp", "door", "chair", "window", "kettle", "ladder", "bicycle", "radio", "clock", "table"]
    rows = [{"query": f"how do I repair a {thing}", "pos": [f"Repair the {thing} with both hands, slowly."]} for thing in things]
    pool = [{"text": f"{verb} the {thing} twice a year, in spring."} for thing in things for verb in ("Paint", "Clean", "Oil")]
    train, passages = tmp_path / "repairs.jsonl", tmp_path / "passages.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    passages.write_text("".join(json.dumps(row) + "\n" for row in pool))
    return [train, passages]


class Hand:
    """Clicks as a person does: only what is on the screen, and counts."""

    def __init__(self, page: Any) -> None:
        self.page, self.clicks, self.places = page, 0, {}

    def reach(self, element: Any, name: str) -> None:
        settled(self.page)
        box = element.bounding_box()
        assert box is not None, f"{name} is not on the page"
        assert self.page.evaluate("window.scrollY") == 0
        assert box["y"] >= 0 and box["y"] + box["height"] <= FOLD, f"{name} is below the fold: {box}"
        self.places[name] = round(box["y"])
        self.clicks += 1

    def click(self, element: Any, name: str) -> None:
        self.reach(element, name)
        element.click()


def test_from_nothing_to_a_downloaded_file(browser: Any, serve: Serve, tmp_path: Path, own_files: list[Path]) -> None:
    root = tmp_path / "workspace"
    page = page_of(browser, serve(root).url)
    page.set_viewport_size({"width": 1400, "height": FOLD})
    hand = Hand(page)
    upload = page.get_by_role("button", name="Upload", exact=True)
    with page.expect_file_chooser() as chooser:
        hand.click(upload, "Upload")
    hand.clicks += 1  # "Open" in the dialog
    chooser.value.set_files(own_files)
    mine = page.get_by_role("button", name="Mine hard negatives")
    mine.wait_for()
    assert page.get_by_text("10 rows · 10 queries · 10 positives · 0 old negatives · 40 passages").is_visible()
    hand.click(mine, "Mine hard negatives")
    page.get_by_text("Sample queries").wait_for(timeout=WAIT)  # the context bar has the figures of the run
    hand.click(page.get_by_role("link", name="Export"), "Export")
    download = page.get_by_test_id("stDownloadButton").filter(has_text="Download repairs_hn.jsonl").get_by_role("button")
    download.wait_for()
    with page.expect_download() as file:
        hand.click(download, "Download")
    rows = [json.loads(line) for line in Path(file.value.path()).read_text("utf-8").splitlines()]
    assert len(rows) == 10
    assert all(len(row["neg"]) == 15 for row in rows)
    assert file.value.suggested_filename == "repairs_hn.jsonl"
    assert hand.clicks <= CLICKS, hand.places
    page.context.close()

    space = Workspace(root)
    (run,) = space.runs()
    recorded = last_export(space, run.id, run.settings.selection)
    assert recorded is not None, "Runs can say when it was exported"
    assert (recorded.file_name, recorded.rows) == ("repairs_hn.jsonl", 10)


def test_a_recent_data_set_is_renamed_and_opened_by_a_click(browser: Any, serve: Serve, tmp_path: Path, own_files: list[Path]) -> None:
    root = tmp_path / "workspace"
    space = Workspace(root)
    dataset = space.add_dataset(own_files[0].name, own_files[0])
    page = page_of(browser, serve(root).url)
    grid = page.get_by_test_id("stDataFrame")
    grid.wait_for()
    settled(page)
    box = grid.bounding_box()
    assert box is not None
    page.mouse.dblclick(box["x"] + 300, box["y"] + 52)
    page.locator("#portal textarea").fill("help centre")
    page.keyboard.press("Enter")
    name = grid.locator("[data-testid=glide-cell-1-0]").filter(has_text="help centre")
    name.wait_for(state="attached")
    settled(page)
    page.reload()
    name.wait_for(state="attached")
    grid.wait_for()
    settled(page)
    page.mouse.click(box["x"] + 80, box["y"] + 52)
    page.get_by_role("button", name="Mine hard negatives").wait_for()
    assert dataset.id in page.url
    assert json.loads((space.dataset_folder(dataset.id) / "note.json").read_bytes())["name"] == "help centre"
    page.context.close()


def test_the_tour_goes_through_five_screens(browser: Any, example: Server) -> None:
    """The example is mined in this workspace, so that nothing has to be waited for."""
    page = page_of(browser, example.url)
    page.get_by_role("button", name="Take the tour").click()
    page.get_by_text("Step 1 of 5").wait_for()
    for step in range(2, 6):
        settled(page)
        page.get_by_role("button", name="Next", exact=True).click()
        page.get_by_text(f"Step {step} of 5").wait_for()
    page.get_by_role("button", name="Finish").click()
    page.get_by_text("Step 5 of 5").wait_for(state="detached")
    page.context.close()
