"""Twenty browsers at once: what a slider step takes beside idle and beside active sessions, and what the server holds afterwards.

`size` is the number of seconds; under a minute two browsers use the example, both active, without a limit on times. The large workspace
has 10,500 queries x 300 with vectors made from hashes; CAMPAIGN_WORKSPACE=FOLDER=RUN takes another one. Nothing may fail in a page or in
the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil

from hnmine.runs.workspace import Workspace
from tests.browser.reviewing import DESK
from tests.browser.server import CHROMIUM, FLAGS, Server
from tests.campaign.campaign import Outcome
from tests.conftest import FakeEncoder, add_example, mine

SIZE = 1200
SESSIONS, PROCESSES = 20, 4
SCREENS = ("mine", "inspect", "review", "runs")
QUERIES, DEPTH = 10_500, 300
STEP_LIMIT = 1.0  # seconds of a slider step, of 95%, beside idle sessions
LEAST = 2  # actions of each browser, however busy the machine is
TTL = 5  # seconds that the server keeps a session whose browser has left
READY = "document.querySelector('[data-test-script-state]')?.dataset.testScriptState === 'notRunning'"

# From the press of a key to the frame in which the histogram has changed.
MEASURE = """() => {
    window.steps = [];
    let pressed = null;
    document.addEventListener('keydown', () => { pressed ??= performance.now(); }, true);
    new MutationObserver(() => {
        if (pressed === null) return;
        const began = pressed;
        pressed = null;
        requestAnimationFrame(() => window.steps.push((performance.now() - began) / 1000));
    }).observe(document.querySelector('[data-testid=stVegaLiteChart]'), {attributes: true, childList: true, subtree: true});
}"""


class HashEncoder(FakeEncoder):
    """Unit vectors from the hashes of texts, near a common centre of each hundred: 20,000 in a second."""

    def encode_batches(self, texts: Any, side: str, *, on_progress: Any = None, should_stop: Any = None) -> Any:
        centres = np.random.default_rng(0).standard_normal((100, self.dimension)).astype(np.float32)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for place, text in enumerate(texts):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            vectors[place] = centres[seed % 100] + 0.8 * np.random.default_rng(seed).standard_normal(self.dimension)
        yield np.arange(len(texts)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def example(folder: Path) -> str:
    """Mine the bundled example; return the run's id."""
    space = Workspace(folder)
    return mine(space, add_example(space))


def large(folder: Path) -> str:
    """Mine 10,500 queries; return the run's id."""
    text = "how long does it take until a returned bike is credited to the account of a customer who "
    rows = [{"query": f"{n} {text[: 30 + n % 50]}", "pos": [f"answer {n} {text * (1 + n % 4)}"]} for n in range(QUERIES)]
    training = folder.parent / "train.jsonl"
    training.write_text("".join(json.dumps(row) + "\n" for row in rows))
    space = Workspace(folder)
    return mine(space, space.add_dataset("train.jsonl", training).id, depth=DEPTH, encoder=HashEncoder())


class Session:
    """A browser window in which somebody works; `steps` are the seconds of each of their actions."""

    def __init__(self, page: Any, url: str, run: str, seed: int, outcome: Outcome) -> None:
        self.page, self.url, self.run, self.outcome = page, url, run, outcome
        self.random = random.Random(seed)
        self.name = f"session {seed}"
        self.steps: list[float] = []
        page.on("pageerror", lambda error: outcome.failed.append(f"{self.name}: {error}"))
        page.on("console", self._hear)

    def _hear(self, line: Any) -> None:
        # Streamlit looks for its server below the address of a screen first.
        if line.type == "error" and "/_stcore/" not in line.location.get("url", ""):
            self.outcome.failed.append(f"{self.name}: {line.text[:300]} ({line.location.get('url')})")

    async def open(self, screen: str) -> None:
        await self.page.goto(f"{self.url}/{screen}?run={self.run}")
        await self.page.wait_for_function(READY)

    async def act(self, work: Callable[[], AsyncIterator[float]], until: float) -> None:
        """Do something again and again, with the pauses of a person."""
        try:
            async for seconds in work():
                self.outcome.tried += 1
                self.steps.append(seconds)
                if time.monotonic() > until and len(self.steps) >= LEAST:
                    break
                await asyncio.sleep(self.random.uniform(0.3, 1.2))
            if await self.page.get_by_test_id("stException").count():
                self.outcome.failed.append(f"{self.name}: the page shows an exception")
        except Exception as error:  # one browser's fault is a line, the others go on
            self.outcome.failed.append(f"{self.name}, {work.__name__}: {str(error)[:300]}")

    async def slide(self) -> AsyncIterator[float]:
        await self.open("mine")
        thumb = self.page.get_by_role("slider", name="Start of the rank range")
        await thumb.focus()
        for _ in range(2):  # the first one begins a draft, which draws the whole page again
            await thumb.press("ArrowRight")
            await asyncio.sleep(1)
            await self.page.wait_for_function(READY)
        await self.page.evaluate(MEASURE)
        count = 0
        while True:
            await thumb.press("ArrowRight" if count % 40 < 20 else "ArrowLeft")
            count += 1
            await self.page.wait_for_function("count => window.steps.length >= count", arg=count)
            yield float(await self.page.evaluate("window.steps.at(-1)"))
            await self.page.wait_for_function(READY)
            count = await self.page.evaluate("window.steps.length")

    async def inspect(self) -> AsyncIterator[float]:
        await self.open("inspect")
        button = self.page.locator(".st-key-inspect-next button")
        while True:
            before, began = self.page.url, time.monotonic()
            await button.click()
            await self.page.wait_for_function("before => location.href !== before", arg=before)
            await self.page.wait_for_function(READY)
            yield time.monotonic() - began

    async def review(self) -> AsyncIterator[float]:
        await self.open("review")
        await self.page.wait_for_function(f"() => {DESK}?.querySelector('.candidate').textContent")
        await self.page.evaluate(f"() => {DESK}.focus()")
        while True:
            began = time.monotonic()
            await self.page.keyboard.press(self.random.choice("kds"))
            await self.page.wait_for_function(f"() => {DESK}?.querySelector('.saved').textContent === 'All saved'")
            yield time.monotonic() - began

    async def runs(self) -> AsyncIterator[float]:
        for turn in range(10**6):
            began = time.monotonic()
            await self.open(("runs", "quality", "", "export")[turn % 4])
            yield time.monotonic() - began


def percentiles(steps: list[float]) -> str:
    return "none" if not steps else f"p50 {np.percentile(steps, 50):.2f} s, p95 {np.percentile(steps, 95):.2f} s of {len(steps):,}"


async def opened(play: Any, server: Server, run_id: str, sessions: int, seed: int, outcome: Outcome) -> tuple[list[Any], list[Session]]:
    """Open browsers with a screen each, a few at a time."""
    browsers = [await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS) for _ in range(min(PROCESSES, sessions))]
    people: list[Session] = []
    for number in range(sessions):
        context = await browsers[number % len(browsers)].new_context(viewport={"width": 1400, "height": 900})
        page = await context.new_page()
        page.set_default_timeout(120_000)
        people.append(Session(page, server.url, run_id, seed + number, outcome))
    for first in range(0, sessions, PROCESSES):
        some = people[first : first + PROCESSES]
        await asyncio.gather(*(person.open(SCREENS[number % len(SCREENS)]) for number, person in enumerate(some)))
    return browsers, people


async def place(name: str, folder: Path, run_id: str, sessions: int, seconds: float, seed: int, outcome: Outcome) -> str:
    """Let browsers work on a workspace; return the figures."""
    from playwright.async_api import async_playwright

    with mock.patch.dict(os.environ, STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL=str(TTL)):
        server = Server(folder)
    process = psutil.Process(server.process.pid)
    started, peak, left, figures = process.memory_info().rss, 0, [], []

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.2)

    watcher = asyncio.create_task(watch())
    try:
        async with async_playwright() as play:
            parts = [("idle", 1, 0.3), ("active", sessions, 0.7)]
            for beside, active, part in parts if sessions == SESSIONS else parts[1:]:
                browsers, people = await opened(play, server, run_id, sessions, seed, outcome)
                before, until = sum(process.cpu_times()[:2]), time.monotonic() + seconds * part
                works = [(person.slide, person.inspect, person.review, person.runs)[number % 4] for number, person in enumerate(people)]
                await asyncio.gather(*(person.act(work, until) for person, work in zip(people[:active], works, strict=False)))
                cores = (sum(process.cpu_times()[:2]) - before) / max(1.0, seconds * part)
                for browser in browsers:
                    await browser.close()
                slid = [step for person in people[:active:4] for step in person.steps]
                others = [step for number, person in enumerate(people[:active]) if number % 4 for step in person.steps]
                figures.append(f"beside {sessions - 1} {beside} (server {cores:.2f} cores): slider {percentiles(slid)}")
                if others:
                    figures.append(f"other actions {percentiles(others)}")
                if beside == "idle" and sessions == SESSIONS and (not slid or np.percentile(slid, 95) > STEP_LIMIT):
                    outcome.failed.append(f"{name}: a slider step beside idle sessions, {percentiles(slid)}; at most {STEP_LIMIT} s")
                await asyncio.sleep(TTL + 5 if sessions == SESSIONS else 0)
                left.append(process.memory_info().rss)
    finally:
        watcher.cancel()
        server.stop()
    memory = f"memory {started >> 20:,} MiB at the start, peak {peak >> 20:,}"
    figures.append(f"{memory}, after all have left {left[0] >> 20:,}, after the second time {left[-1] >> 20:,}")
    log = server.log.read_text()
    if "Traceback" in log or "ERROR" in log:
        outcome.failed.append(f"{name}: the log has an error: {log[-6000:]}")
    return f"{name}: {', '.join(figures)}"


def run(size: int, seed: int) -> Outcome:
    outcome = Outcome(name="load")
    if CHROMIUM is None:
        outcome.failed.append("no Chromium on PATH")
        return outcome
    sessions = SESSIONS if size >= 60 else 2
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        places = [("example", example)] + ([("large", large)] if sessions == SESSIONS else [])
        for name, build in places:
            given = os.environ.get("CAMPAIGN_WORKSPACE", "").rpartition("=") if name == "large" else ("", "", "")
            root = Path(given[0]) if given[0] else Path(folder) / name / "workspace"
            root.parent.mkdir(parents=True, exist_ok=True)
            run_id = given[2] if given[0] else build(root)
            try:
                lines.append(asyncio.run(place(name, root, run_id, sessions, size / len(places), seed, outcome)))
            except Exception as error:  # the other place is tried
                outcome.failed.append(f"{name}: {str(error)[:500]}")
    outcome.figures = "; ".join(lines)
    return outcome
