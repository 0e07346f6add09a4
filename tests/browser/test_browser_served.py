"""The example is mined in a real browser with a model that another program serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnmine.models.cards import ModelSettings
from hnmine.models.served.server import Server as Address
from hnmine.runs.workspace import Workspace
from pages.shared.served import SERVED
from tests.browser.server import WAIT, Server, page_of, settled
from tests.conftest import add_example
from tests.served import fake_server

pytestmark = pytest.mark.browser


def test_a_served_model_is_chosen_checked_and_mined_with(browser: Any, serve: Callable[..., Server], tmp_path: Path) -> None:
    space = Workspace(tmp_path / "workspace")
    dataset = add_example(space)
    with fake_server() as answering:
        page = page_of(browser, f"{serve(space.root).url}/mine?dataset={dataset}")
        page.set_viewport_size({"width": 1400, "height": 900})
        page.get_by_role("button", name="Change").click(timeout=WAIT)
        page.get_by_role("combobox", name="Model").first.click()
        page.get_by_role("option", name=SERVED).click()
        field = page.get_by_label("Address of the server (model)", exact=True)
        field.fill(f"{answering.address}/v1", timeout=WAIT)
        field.press("Enter")
        settled(page)
        assert answering.headers == [], "nothing is asked before the check"
        page.get_by_role("button", name="Check the model").click()
        page.get_by_text("Dimensions: 64").wait_for(timeout=WAIT)
        page.keyboard.press("Escape")
        page.get_by_text(f"trigrams · served at {answering.address}/v1", exact=True).wait_for(timeout=WAIT)
        page.get_by_role("button", name="Mine 121 queries").click()
        page.get_by_role("button", name="Mine again").wait_for(timeout=WAIT)
        settled(page)
        (run,) = space.runs(dataset)
        assert run.settings.model == ModelSettings(name_or_path="trigrams", server=Address(address=f"{answering.address}/v1"))
        asked = len(answering.headers)
        page.reload()
        page.get_by_role("button", name="Mine again").wait_for(timeout=WAIT)
        settled(page)
        assert page.get_by_text("Changed:").count() == 0
        assert len(answering.headers) == asked, "looking at the run asks nothing"
    page.context.close()
