"""The pictures of docs/, taken from the real app: `make screenshots`.

A server of its own, with a workspace of its own in a temporary folder, mines the bundled example with the packaged model; a
headless Chromium then opens each screen and photographs it. Nothing is staged but the verdicts, which a made-up reviewer gives,
so a picture cannot show what the app does not do. `--all --out FOLDER` takes every screen in light and dark, wide and narrow, to
look at after a change; that takes two minutes, most of them waiting until a page is done.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 300_000  # milliseconds: a busy machine takes its time over the example
# A page that does not change between two looks is done: charts and tables draw themselves after the script has ended.
PAUSE, LOOKS = 500, 12
TALLEST = 5_000  # pixels of a picture of a whole page
COLOURS = 128  # of a PNG with a palette: a third of the bytes, and no difference to be seen


@dataclass(frozen=True)
class Shot:
    """One picture: a screen, how wide, and in which colours."""

    screen: str
    width: int = 1400
    theme: str = "light"
    height: int | None = None  # None: the whole page

    @property
    def name(self) -> str:
        return f"{self.screen}-{self.width}-{self.theme}"


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Run the app on a free port with its workspace in `home`; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    # It runs in that folder, so that the paths on the screens are short and say nothing of the machine.
    (home / ".streamlit").symlink_to(ROOT / ".streamlit")
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pages.shared.serve", "--server.port", str(port)],
            cwd=home,
            env=os.environ | {"HNMINE_HOME": "workspace", "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server did not start:\n{(home / 'server.log').read_text()}") from None
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def tab(browser: Any, width: int, theme: str, height: int = 900) -> Iterator[Any]:
    """Open a page of its own session."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def stands_still(page: Any) -> bytes:
    """Wait until the script has ended and two looks at the page are the same; return the last look."""
    page.wait_for_function("() => document.querySelector('[data-test-script-state]')?.dataset.testScriptState === 'notRunning'")
    page.mouse.move(0, 0)
    seen = b""
    for _ in range(LOOKS):
        page.wait_for_timeout(PAUSE)
        before, seen = seen, page.screenshot()
        if seen == before and not page.get_by_test_id("stSkeleton").count():
            break
    return seen


def photograph(page: Any, height: int | None) -> bytes:
    """Return a PNG of the page: of its first `height` pixels, or of all that can be scrolled to."""
    seen = stands_still(page)
    if height is not None:
        return seen
    width = page.viewport_size["width"]
    for _ in range(3):  # a taller window can make a chart wider or a table longer
        inner, outer = page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]'); return [main.scrollHeight, main.clientHeight] }"
        )
        if inner <= outer or page.viewport_size["height"] >= TALLEST:
            break
        page.set_viewport_size({"width": width, "height": min(TALLEST, page.viewport_size["height"] + inner - outer)})
        seen = stands_still(page)
    return seen


def press(page: Any, key: str) -> None:
    """Click the button with that key."""
    page.locator(f".st-key-{key} button").first.click()


def small(png: bytes) -> Any:
    """Return the picture with a palette."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def save(png: bytes, path: Path) -> None:
    small(png).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:,.0f} kB", flush=True)


def screens() -> list[str]:
    """Return the screens in the order of the navigation."""
    return re.findall(r'st\.Page\(\s*"pages/views/(\w+)\.py"', (ROOT / "app.py").read_text("utf-8"))


class Journey:
    """What a user does, as far as the pictures need it."""

    def __init__(self, browser: Any, url: str, workspace: Path) -> None:
        self.browser, self.url, self.workspace = browser, url, workspace
        self.query = ""

    def at(self, screen: str) -> str:
        """Return the address of a screen; "start" is the first one with nothing open."""
        if screen == "start":
            return self.url
        return f"{self.url}/{'' if screen == 'data' else screen}?{self.query}"

    def open_example(self) -> None:
        """Open the example; from here on `at` opens it."""
        with tab(self.browser, 1400, "light") as page:
            page.goto(self.url)
            press(page, "open-example")
            page.wait_for_url("**dataset=**")
            self.query = page.url.partition("?")[2]

    def mine(self) -> None:
        """Mine the example as it comes, and save a second variant as hn_mine.py selects; the first stays open."""
        with tab(self.browser, 1400, "light") as page:
            page.goto(self.at("mine"))
            press(page, "mine")
            page.get_by_text("Sample queries").wait_for(timeout=PATIENCE)
            stands_still(page)
            self.query = page.url.partition("?")[2]
            page.locator("label").filter(has_text="As hn_mine.py").click()
            page.get_by_text("unsaved changes").wait_for()
            stands_still(page)
            page.get_by_role("button", name="Save as variant").click()
            press(page, "mine-save-variant")
            page.get_by_text("unsaved changes").wait_for(state="detached")
            stands_still(page)
        from hnmine.runs.workspace import Workspace

        space = Workspace(self.workspace)
        (run,) = space.runs()
        space.name_run(run.id, "first")

    def review(self) -> None:
        """Give some verdicts by keys, as a reviewer does."""
        with tab(self.browser, 1400, "light") as page:
            page.goto(self.at("review"))
            stands_still(page)
            page.get_by_label("Your name").fill("Ada")
            page.get_by_label("Your name").press("Enter")  # the desk hears keys now
            judge(page, "kkdkjskkd")


def judge(page: Any, keys: str) -> None:
    """Give verdicts on the desk by keys, and wait until they are on the disk."""
    page.get_by_role("button", name="Negative", exact=False).first.wait_for()
    for key in keys:
        page.keyboard.press(key)
    page.get_by_text("All saved").wait_for()
    stands_still(page)


def compare_runs(page: Any) -> None:
    """Put the two variants side by side: the open one is ticked."""
    page.get_by_test_id("stDataFrame").first.click(position={"x": 15, "y": 35 + 35 + 17})
    page.get_by_text("Queries that changed most").wait_for()


def show_filters(page: Any) -> None:
    """Show the filters that can be added."""
    page.get_by_role("button", name="Add filter").click()


def show_map(page: Any) -> None:
    """Show the map of a query's neighbourhood."""
    page.get_by_role("tab", name="Charts").click()
    page.locator(".st-key-inspect-figure").get_by_text("Map", exact=True).click()


def audit(page: Any) -> None:
    """Draw the audit's sample and review it, once: some pairs by keys, the others at once."""
    if not page.locator(".st-key-audit-draw button").count():
        return
    press(page, "audit-draw")
    page.get_by_text("pairs of the audit sample reviewed").wait_for()
    stands_still(page)
    judge(page, "kkdkkkpk")
    press(page, "review-all")
    page.locator(".st-key-review-all-choice").get_by_text("Negative", exact=True).click()
    page.get_by_role("button", name="Negative (").click()
    page.get_by_role("link", name="See the rate on Quality").click()
    page.get_by_text("Suggested threshold").wait_for()
    page.wait_for_function("() => !document.querySelector('[data-testid=stToast]')")  # news of the screen before


# What is done on a screen before its picture is taken; a name with a dash is the same screen in another state.
PREPARED: dict[str, Callable[[Any], None]] = {
    "mine-filters": show_filters,
    "runs": compare_runs,
    "inspect-map": show_map,
    "quality": audit,
}

# The pictures of the guide, with their heights; and those of the README's tour, of which the upper part is shown.
PICTURES = {"data": 900, "mine": 1000, "inspect": 900, "review": 900, "quality": 900, "runs": 1180, "export": 900}
TOUR, TOUR_SIZE, TOUR_SECONDS = ("data", "mine", "inspect", "review", "export"), (1050, 675), 2.5


def take(browser: Any, journey: Journey, shots: list[Shot], faults: list[str]) -> Iterator[tuple[Shot, bytes]]:
    """Take pictures; add to `faults` what went wrong, such as an exception that a screen shows."""
    for shot in shots:
        with tab(browser, shot.width, shot.theme, shot.height or 900) as page:
            page.goto(journey.at(shot.screen.partition("-")[0]))
            if shot.screen in PREPARED:
                stands_still(page)
                try:
                    PREPARED[shot.screen](page)
                except Exception as error:  # noqa: BLE001  # the picture shows best what is there instead
                    faults.append(f"{shot.name}: {str(error).splitlines()[0]}")
            yield shot, photograph(page, shot.height)
            if page.get_by_test_id("stException").count() or page.get_by_text("Page not found").count():
                faults.append(f"{shot.name} shows an exception")


def tour(frames: dict[str, bytes], path: Path) -> None:
    """Write the upper parts of some screens as an animation."""
    from PIL import Image

    pictures = []
    for screen in TOUR:
        with Image.open(io.BytesIO(frames[screen])) as whole:
            part = whole.convert("RGB").crop((0, 0, whole.width, whole.width * TOUR_SIZE[1] // TOUR_SIZE[0]))
            pictures.append(part.resize(TOUR_SIZE, Image.Resampling.LANCZOS))
    together = Image.new("RGB", (TOUR_SIZE[0], TOUR_SIZE[1] * len(pictures)))
    for number, picture in enumerate(pictures):
        together.paste(picture, (0, number * TOUR_SIZE[1]))
    palette = together.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    first.save(path, save_all=True, append_images=others, duration=int(1000 * TOUR_SECONDS), loop=0, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:,.0f} kB", flush=True)


def main() -> None:
    """Take the pictures of docs/, or all there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="every screen, light and dark, 1400 and 700 pixels wide, whole pages")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for the pictures")
    parser.add_argument("--only", nargs="*", metavar="SCREEN", help=f"some screens alone: start {' '.join(screens())}")
    given = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium on PATH: install it (Debian: apt install chromium)")
    given.out.mkdir(parents=True, exist_ok=True)
    known = [name for screen in ("start", *screens()) for name in (screen, *(each for each in PREPARED if each.startswith(f"{screen}-")))]
    wanted = [name for name in known if not given.only or name in given.only]
    looks = [(width, theme) for width in (1400, 700) for theme in ("light", "dark")]

    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="hnmine-screenshots-") as name, server(Path(name)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        journey = Journey(browser, url, Path(name) / "workspace")
        journey.open_example()
        faults: list[str] = []
        if given.all and "mine" in wanted:
            for shot, png in take(browser, journey, [Shot("mine-before", *look) for look in looks], faults):
                save(png, given.out / f"{shot.name}.png")
        journey.mine()
        journey.review()
        if given.all:
            for shot, png in take(browser, journey, [Shot(screen, *look) for screen in wanted for look in looks], faults):
                save(png, given.out / f"{shot.name}.png")
        else:
            shots = [Shot(screen, height=height) for screen, height in PICTURES.items() if screen in wanted]
            frames = {}
            for shot, png in take(browser, journey, shots, faults):
                save(png, given.out / f"{shot.screen}.png")
                frames[shot.screen] = png
            if set(TOUR) <= frames.keys():
                tour(frames, given.out / "tour.gif")
        browser.close()
        log = (Path(name) / "server.log").read_text("utf-8", "replace")
    if faults:
        print(log[-4_000:], file=sys.stderr)
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
