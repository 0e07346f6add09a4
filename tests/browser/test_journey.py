"""The journey of a user in a real browser: upload, mine, move the slider, inspect, download, compare with the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.server import Server, page_of, settled

if TYPE_CHECKING:
    from playwright.sync_api import Route

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"
WAIT = 300_000  # milliseconds: a busy machine loads the model in minutes

pytestmark = pytest.mark.browser
Serve = Callable[..., Server]


def metric(page, label: str) -> str:  # type: ignore[no-untyped-def]
    return str(page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True)).get_by_test_id("stMetricValue").inner_text())


def test_from_upload_to_download_as_the_command_line_writes_it(  # type: ignore[no-untyped-def]
    browser, serve: Serve, tmp_path: Path, example_vectors: Path
) -> None:
    """Most vectors are there already; a few new queries make the server load the model and encode."""
    shutil.copytree(example_vectors, tmp_path / "workspace" / "vectors")
    lines = (EXAMPLE / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    train = tmp_path / "train.jsonl"
    train.write_text("".join(line.replace('", "pos"', ' please", "pos"') if number < 5 else line for number, line in enumerate(lines)))
    page = page_of(browser, serve(tmp_path / "workspace").url)
    uploads = page.get_by_test_id("stFileUploaderDropzoneInput")
    uploads.nth(0).set_input_files(train)
    page.get_by_text("JSON lines, 5 fields").wait_for()  # of two files in the same moment, the page may take one: nobody is so quick
    settled(page)
    uploads.nth(1).set_input_files(EXAMPLE / "pool.jsonl")
    page.get_by_role("button", name="Open files").click()
    page.get_by_role("heading", name="Summary").wait_for()
    page.get_by_text("+ pool.jsonl").wait_for()
    assert metric(page, "Rows") == "124"
    page.get_by_role("button", name="Continue to Mine").click()

    page.get_by_role("button", name="Mine 121 queries").click()
    page.get_by_role("button", name="Cancel").wait_for()
    second = page_of(browser, page.url)  # another tab sees the same job, or already its result
    page.get_by_text("Mean similarity").wait_for(timeout=WAIT)
    second.get_by_text("Mean similarity").wait_for(timeout=WAIT)
    second.context.close()
    settled(page)  # while the script runs, elements that it replaces are still there
    assert metric(page, "Negatives") == "1,860"
    assert metric(page, "False negatives").startswith("0-")  # as recommended, unless somebody says otherwise

    # Another way to choose, and its lower end to 0: nothing is encoded again, the negatives get harder.
    page.get_by_text("as hn_mine.py", exact=True).click()
    page.get_by_text("Skips the first 10 ranks").wait_for()
    settled(page)
    easy = float(metric(page, "Mean similarity"))
    lower = page.get_by_role("slider").first
    lower.focus()
    for rank in range(9, -1, -1):  # one press at a time: the slider loses a press while the script answers the one before
        lower.press("ArrowLeft")
        page.get_by_text(f"Ranks {rank} to 209.").wait_for()
        settled(page)
    page.get_by_text("Skips nothing").wait_for()
    settled(page)
    page.wait_for_function(
        "easy => [...document.querySelectorAll('[data-testid=stMetric]')].some("
        "each => each.innerText.includes('Mean similarity') && parseFloat(each.innerText.match(/0\\.\\d+/)?.[0] ?? '0') > easy)",
        arg=easy,
    )
    page.reload()
    page.get_by_text("Skips nothing").wait_for()  # what was set is still set

    page.get_by_test_id("stTopNavLink").filter(has_text="Inspect").click()
    page.get_by_text("121 of 121 queries").wait_for()
    page.get_by_role("textbox", name="Search the queries").fill("helmet")
    page.get_by_role("textbox", name="Search the queries").press("Enter")
    page.get_by_text("of 121 queries").wait_for()
    page.get_by_text("Positive ·").first.wait_for()
    page.get_by_test_id("stVegaLiteChart").nth(1).wait_for()
    settled(page)
    assert page.get_by_test_id("stVegaLiteChart").count() == 2

    page.get_by_test_id("stTopNavLink").filter(has_text="Export").click()
    button = page.get_by_test_id("stDownloadButton").filter(has_text="124 rows")
    button.wait_for()
    command = page.get_by_test_id("stCode").inner_text().split()
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
    assert len(rows) == 124
    assert all(len(row["neg"]) == 15 for row in rows)


def test_what_is_opened_while_the_pool_is_on_its_way_is_told_on_the_button(browser, serve: Serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The server knows of a file when the whole of it is there; until then the training rows alone would be opened."""
    on_the_way: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if on_the_way:
            route.continue_()
        else:
            on_the_way.append(route)

    page = page_of(browser, serve(tmp_path / "workspace").url)
    uploads = page.get_by_test_id("stFileUploaderDropzoneInput")
    page.route("**/upload_file/**", hold_the_first)
    with page.expect_request("**/upload_file/**"):
        uploads.nth(1).set_input_files(EXAMPLE / "pool.jsonl")
    uploads.nth(0).set_input_files(EXAMPLE / "train.jsonl")
    page.get_by_text("JSON lines, 5 fields").wait_for()
    settled(page)
    assert page.get_by_role("button", name="Open without a pool").is_enabled()
    assert page.get_by_role("button", name="Open files").count() == 0
    on_the_way[0].continue_()
    page.get_by_role("button", name="Open files").click()
    page.get_by_text("+ pool.jsonl").wait_for()
    page.context.close()


def test_an_address_of_a_screen_works_on_a_server_that_has_just_started(browser, serve: Serve, place: tuple[Path, str]) -> None:  # type: ignore[no-untyped-def]
    """It goes through app.py (the navigation is there), opens the run, and no page is said to be missing."""
    root, run = place
    page = page_of(browser, f"{serve(root).url}/inspect?run={run}")
    page.get_by_text("121 of 121 queries").wait_for()
    page.get_by_test_id("stTopNavLink").filter(has_text="Export").wait_for()
    assert page.get_by_text("Page not found").count() == 0
    assert page.get_by_text("bikeshare/train.jsonl", exact=True).count() == 1
    page.context.close()


def test_one_step_back_is_the_screen_before(browser, serve: Serve, place: tuple[Path, str]) -> None:  # type: ignore[no-untyped-def]
    root, run = place
    page = page_of(browser, f"{serve(root).url}/mine?run={run}")
    page.get_by_text("Mean similarity").wait_for()
    settled(page)
    page.get_by_test_id("stTopNavLink").filter(has_text="Inspect").click()
    page.get_by_text("121 of 121 queries").wait_for()
    settled(page)
    for _ in range(2):  # one step for the screen, at most one more for what is open on it
        page.go_back()
        settled(page)
        if page.url.split("?")[0].endswith("/mine"):
            break
    page.get_by_text("Mean similarity").wait_for()
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
