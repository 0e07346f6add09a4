"""How quickly the screens answer, in Chromium: `python -m benchmarks.screens mine|inspect WORKSPACE RUN`.

Times are taken in the page, from the key press to the frame in which the answer is drawn. The workspace is changed only by a draft.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.server import CHROMIUM, FLAGS, Server, settled

# Measures from a key press on an element to the frame after something within another one has changed, and to the end of the script, when
# all of the answer is there.
MEASURE = """([element, selector]) => {
    [window.times, window.ends] = [[], []];
    let pressed = null, running = null;
    element.addEventListener('keydown', () => { pressed ??= performance.now(); running ??= pressed; });
    const script = document.querySelector('[data-test-script-state]');
    new MutationObserver(() => {
        if (running === null || script.dataset.testScriptState !== 'notRunning') return;
        const began = running;
        running = null;
        requestAnimationFrame(() => window.ends.push(performance.now() - began));
    }).observe(script, {attributes: true});
    new MutationObserver(() => {
        if (pressed === null) return;
        const began = pressed;
        pressed = null;
        requestAnimationFrame(() => window.times.push(performance.now() - began));
    }).observe(document.querySelector(selector), {attributes: true, childList: true, subtree: true});
}"""


def mine(page: Any, server: Server, run: str, moves: int) -> list[float]:
    """Move the start of the rank range by keys; return the milliseconds until the histogram has changed, and print those of the whole."""
    page.goto(f"{server.url}/mine?run={run}")
    settled(page)
    thumb = page.get_by_role("slider", name="Start of the rank range")
    thumb.focus()
    for _ in range(2):  # the first move begins a draft, which draws the whole page again
        thumb.press("ArrowRight")
        page.wait_for_timeout(1_000)
        settled(page)
    page.evaluate(MEASURE, [thumb.element_handle(), "[data-testid=stVegaLiteChart]"])
    for move in range(moves):
        thumb.press("ArrowRight" if move % 40 < 20 else "ArrowLeft")
        page.wait_for_function("count => window.times.length >= count", arg=move + 1)
        page.wait_for_timeout(50)
        page.wait_for_function("document.querySelector('[data-test-script-state]').dataset.testScriptState === 'notRunning'")
    ends = page.evaluate("window.ends")
    print(f"mine, until figures and samples are there too: p50 {np.percentile(ends, 50):.0f} ms, p95 {np.percentile(ends, 95):.0f} ms")
    return list(page.evaluate("window.times"))


# Clicks a row of the list; resolves with the milliseconds to the frame in which its query is drawn.
PICK = """place => new Promise(resolve => {
    const within = key => document.querySelector(`.st-key-${key} [data-testid=stBidiComponentIsolated]`).shadowRoot;
    const row = within('inspect-queries').querySelectorAll('[role=option]')[place];
    const wanted = row.querySelector('.text').textContent.trim(), texts = within('inspect-texts'), began = performance.now();
    const look = () => texts.querySelector('li.query p').textContent.trim() === wanted
        ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
    row.click();
    look();
})"""


def inspect(page: Any, server: Server, run: str, moves: int) -> list[float]:
    """Click rows of the list; return the milliseconds until the query, its histogram and its passages have come."""
    page.goto(f"{server.url}/inspect?run={run}")
    page.get_by_role("option").first.wait_for()
    settled(page)
    times = []
    for move in range(moves):
        times.append(float(page.evaluate(PICK, 1 + 7 * move % 49)))
        page.wait_for_timeout(50)
        page.wait_for_function("document.querySelector('[data-test-script-state]').dataset.testScriptState === 'notRunning'")
    return times


SCREENS: dict[str, Callable[[Any, Server, str, int], list[float]]] = {"mine": mine, "inspect": inspect}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screen", choices=[*SCREENS])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--moves", type=int, default=200)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    server = Server(args.workspace)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM or shutil.which("chromium"), args=FLAGS)
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.set_default_timeout(60_000)
            before = os.getloadavg()[0]
            times = SCREENS[args.screen](page, server, args.run, args.moves)
            browser.close()
    finally:
        server.stop()
    p50, p95 = np.percentile(times, [50, 95])
    print(f"{args.screen}: {len(times)} moves, p50 {p50:.0f} ms, p95 {p95:.0f} ms, least {min(times):.0f} ms")
    print(f"{os.cpu_count()} CPUs, load {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
