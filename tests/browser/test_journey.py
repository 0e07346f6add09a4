"""The journey of a user in a real browser: upload, mine, move the slider, inspect, download, compare with the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.server import WAIT, Server, page_of, settled
from tests.conftest import Mined

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"

pytestmark = pytest.mark.browser
Serve = Callable[..., Server]


def metric(page, label: str) -> str:  # type: ignore[no-untyped-def]
    return str(page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).get_by_test_id("stMetricValue").inner_text())


def test_from_upload_to_download_as_the_command_line_writes_it(browser, serve: Serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """40 rows and 250 passages of the example, so that the server loads the model but does not encode for long."""
    train, pool = tmp_path / "train.jsonl", tmp_path / "pool.jsonl"
    for file, count in ((train, 40), (pool, 250)):
        file.write_text("".join((EXAMPLE / file.name).read_text("utf-8").splitlines(keepends=True)[:count]))
    page = page_of(browser, serve(tmp_path / "workspace").url)
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files([train, pool])
    page.get_by_text("+ pool.jsonl").first.wait_for()
    page.get_by_text("40 rows · 39 queries").wait_for()
    page.get_by_role("button", name="Settings first").click()

    page.get_by_role("button", name="Mine 39 queries").click()
    page.get_by_role("button", name="Cancel").wait_for()
    second = page_of(browser, page.url)  # another tab sees the same job, or already its result
    page.get_by_text("Sample queries").wait_for(timeout=WAIT)
    second.get_by_text("Sample queries").wait_for(timeout=WAIT)
    second.context.close()
    settled(page)  # while the script runs, elements that it replaces are still there
    page.get_by_text("Details").last.click()
    page.get_by_text("600 negatives in 40 rows").wait_for()
    assert metric(page, "False negatives, est.").startswith("0-")  # as recommended, unless somebody says otherwise

    # Another way to choose, and its lower end to 0: nothing is encoded again, the negatives get harder.
    page.get_by_text("As hn_mine.py").click()
    page.get_by_text("Ranks 10-209, skips the top 10.").wait_for()
    settled(page)
    easy = float(metric(page, "Difficulty"))
    page.get_by_role("slider", name="Start of the rank range").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.get_by_text("Ranks 0-209.").wait_for()
    settled(page)
    page.wait_for_function(
        "easy => [...document.querySelectorAll('[data-testid=stMetric]')].some("
        "each => each.innerText.includes('Difficulty') && parseFloat(each.innerText.match(/0\\.\\d+/)?.[0] ?? '0') > easy)",
        arg=easy,
    )
    page.reload()
    page.get_by_text("Ranks 0-209.").wait_for()  # what was set is still set

    page.get_by_test_id("stTopNavLink").filter(has_text="Inspect").click()
    page.get_by_text("1 of 39", exact=True).wait_for()
    page.get_by_placeholder("Search queries and passages").fill("carry my dog")
    page.get_by_text("1 of 39", exact=True).wait_for(state="detached")
    page.locator("li.query").filter(has_text="carry my dog").wait_for()
    assert page.locator("li.candidate").count() == 15
    page.get_by_test_id("stVegaLiteChart").wait_for()

    page.get_by_test_id("stTopNavLink").filter(has_text="Export").click()
    button = page.get_by_test_id("stDownloadButton").filter(has_text="Download ")
    button.wait_for()
    command = page.get_by_test_id("stCode").filter(has_text="python -m hnmine mine").inner_text().split()
    with page.expect_download() as download:
        button.get_by_role("button").click()
    downloaded = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == "train_hn.jsonl"
    page.context.close()

    # The very command that the screen shows, but for the interpreter and where it writes.
    assert command[:4] == ["python", "-m", "hnmine", "mine"]
    assert command[command.index("--range_for_sampling") + 1] == "0-210"
    command[0] = sys.executable
    command[command.index("--output_file") + 1] = str(tmp_path / "cli.jsonl")
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert downloaded == (tmp_path / "cli.jsonl").read_bytes()
    rows = [json.loads(line) for line in downloaded.splitlines()]
    assert len(rows) == 40
    assert all(len(row["neg"]) == 15 for row in rows)


def test_an_address_of_a_screen_works_on_a_server_that_has_just_started(browser, serve: Serve, place: tuple[Path, str]) -> None:  # type: ignore[no-untyped-def]
    """It goes through app.py (the navigation is there), opens the run, and no page is said to be missing."""
    root, run = place
    page = page_of(browser, f"{serve(root).url}/inspect?run={run}")
    page.get_by_text("1 of 121", exact=True).wait_for()
    page.get_by_test_id("stTopNavLink").filter(has_text="Export").wait_for()
    assert page.get_by_text("Page not found").count() == 0
    assert page.get_by_text("bikeshare/train.jsonl + ").first.is_visible()
    page.context.close()


def test_one_step_back_is_the_screen_before(browser, example: Server, mined: Mined) -> None:  # type: ignore[no-untyped-def]
    page = page_of(browser, f"{example.url}/mine?run={mined.run}")
    page.get_by_text("Sample queries").wait_for()
    settled(page)
    page.get_by_test_id("stTopNavLink").filter(has_text="Inspect").click()
    page.get_by_text("1 of 121", exact=True).wait_for()
    settled(page)
    for _ in range(2):  # one step for the screen, at most one more for what is open on it
        page.go_back()
        settled(page)
        if page.url.split("?")[0].endswith("/mine"):
            break
    page.get_by_text("Sample queries").wait_for()
    page.context.close()


def test_the_first_paint_needs_no_model(browser, serve: Serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    server = serve(tmp_path / "workspace")
    page = page_of(browser, server.url)
    page.get_by_role("button", name="Open the example").wait_for()
    page.context.close()
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("the libraries of another process cannot be listed here")
    loaded = maps.read_text()
    assert "libtorch" not in loaded
    assert "_swigfaiss" not in loaded
