"""An LLM judges in a real browser, with a judge by rule on this machine: chosen, asked, reloaded, compared with people, reviewed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.served_judge import NAME, completion
from examples.served_models import ServedModels
from hnmine.review.judgements import JudgementStore
from tests.browser import reviewing
from tests.browser.reviewing import DESK
from tests.browser.server import WAIT, Server, page_of, settled
from tests.browser.test_browser_accessibility import violations

pytestmark = pytest.mark.browser


class NoModels:
    """For a server that is a judge alone."""

    name, max_tokens = "none", 1


def test_an_llm_is_chosen_judges_and_its_grade_shows_after_the_verdict(
    browser: Any, place: tuple[Path, str], serve: Callable[..., Server]
) -> None:
    root, run = place
    first, go_on = threading.Semaphore(20), threading.Event()

    def held(body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        """Answer 20 questions; the others until the test goes on."""
        if not first.acquire(blocking=False):
            go_on.wait(WAIT / 1000)
        return completion(body, fault)

    with ServedModels(NoModels(), chat=held) as judge:  # type: ignore[arg-type]
        page = page_of(browser, f"{serve(root).url}/quality?run={run}")
        page.get_by_role("heading", name="Judge").wait_for()
        settled(page)
        page.get_by_role("button", name="Choose an LLM").click()
        page.get_by_role("textbox", name="Address of the server").fill(judge.address)
        page.keyboard.press("Tab")
        settled(page)
        name = page.get_by_role("combobox", name="Name of the model")
        name.fill(NAME)
        name.press("Enter")
        settled(page)
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("200 pairs: 0 judged before, 200 calls").wait_for()
        settled(page)
        assert violations(page) == []
        assert judge.asked == []

        page.get_by_role("button", name="Judge 200 pairs").click()
        page.get_by_text(re.compile(r"\d+ of 200 pairs .* tokens so far")).wait_for()
        page.reload()  # the job is the server's
        page.get_by_text(re.compile(r"\d+ of 200 pairs .* tokens so far")).wait_for()
        page.get_by_text("Judging:").wait_for()  # in the bar
        assert violations(page) == []
        page.get_by_role("button", name="Cancel").last.click()
        page.get_by_text("Stopping. Nothing more is asked, and the answers under way are stored.").wait_for()
        page.get_by_text("Judging: stopping").wait_for()
        go_on.set()
        page.get_by_text("Cancelled. What is judged is stored.").wait_for()
        page.get_by_role("button", name="Dismiss").click()
        settled(page)
        kept = len(JudgementStore(root / "judgements.sqlite").all())
        assert 20 < kept <= 24, "with those that were under way"

        page.get_by_role("button", name="Judge 200 pairs").click()  # the next 200 without a grade
        page.get_by_test_id("stMetricValue").filter(has_text=str(kept + 200)).wait_for(timeout=WAIT)
        settled(page)
        assert len(JudgementStore(root / "judgements.sqlite").all()) == kept + 200
        assert judge.seen["/v1/chat/completions"]["repeated"] == 0
        page.get_by_test_id("stToast").first.wait_for(state="detached")  # Streamlit gives it no name
        assert violations(page) == []

        page.get_by_role("button", name="Review 20 at random").click()
        reviewing.ready(page)
        assert page.evaluate(f"() => {DESK}.querySelector('.progress').textContent") == "0 of 20 judged pairs reviewed"
        assert page.evaluate(f"() => {DESK}.querySelector('.judge').hidden"), "not before the verdict"
        assert NAME not in page.evaluate(f"() => {DESK}.textContent")
        reviewing.press(page, "k")
        reviewing.saved(page)
        page.wait_for_function(f"() => /^negative judge: \\d/.test({DESK}.querySelector('.last button')?.textContent)")
        assert page.evaluate(f"() => {DESK}.querySelector('.judge').hidden"), "the next pair has no verdict"
        page.evaluate(f"() => {DESK}.querySelector('.last button').click()")
        page.wait_for_function(f"() => {DESK}.querySelector('.judge').textContent.startsWith('Judge ({NAME}): grade ')")
        settled(page)
        assert violations(page) == []
        page.context.close()
