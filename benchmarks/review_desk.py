"""Measure the review desk in Chromium: no decision is lost or doubled, and how long a key takes to the next pair.

python -m benchmarks.review_desk failures   500 decisions at 10 a second, three kills of the server, two cuts of the network
python -m benchmarks.review_desk two        two people, 400 decisions, 10% overlap: none lost, none doubled outside the overlap
python -m benchmarks.review_desk keys HOME RUN   200 keys at 5 a second in a copy of a workspace: milliseconds to the next pair
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.models.encoder import FlagEncoder
from hnmine.review.agreement import agreement
from hnmine.review.store import ReviewStore
from hnmine.runs.jobs import mine_dataset
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace
from tests.browser.reviewing import events, open_desk, saved, stream, through_failures
from tests.browser.server import CHROMIUM, FLAGS, Server

EXAMPLE = Path(__file__).parents[1] / "examples" / "bikeshare"
MIXED = "kdkjskpkkd"


def mined(root: Path) -> str:
    """Make a workspace with the mined example; return the run."""
    space = Workspace(root)
    dataset = space.add_dataset("train.jsonl", EXAMPLE / "train.jsonl", "pool.jsonl", EXAMPLE / "pool.jsonl")
    model = ModelSettings(name_or_path=str(packaged_folder()))
    return mine_dataset(
        space, dataset.id, MineSettings(model=model), 500, lambda _: FlagEncoder.load(model), lambda *_: None, lambda: False
    )


def failures(browser: Any, root: Path, run: str, serve: Any) -> str:
    """Review through kills and cuts."""
    found = through_failures(browser, root, run, serve, MIXED * 50, kills=3, cuts=2)
    same = found["wanted"] == found["written"]
    first = f"{len(found['wanted'])} pressed, {len(found['written'])} written, {found['counted']} on the desk, in order and equal: {same}"
    if not same:
        at = next(
            (number for number, (one, two) in enumerate(zip(*(found[name] for name in ("wanted", "written")), strict=False)) if one != two),
            -1,
        )
        first += f"; the first difference is at {at}"
    return f"{first}\n{times(found['drawn'], found['frames'])}"


def two(browser: Any, root: Path, run: str, serve: Any) -> str:
    """Review with two browsers in turns, so that each gets the other's shared pairs."""
    space = Workspace(root)
    (space.dataset_folder(space.run(run).dataset_id) / "review.json").write_text('{"overlap": 10}', "utf-8")
    server = serve(root)
    pages = [open_desk(browser, server.url, run, name=name) for name in ("Ann", "Bob")]
    pressed = [stream(page, keys, 10) for _ in range(20) for page, keys in zip(pages, ("kdkkkdkkkk", "kkkkkkkkkk"), strict=True)]
    for page in pages:
        saved(page)
    written = events(root)
    wanted = sorted((query, passage) for each in pressed for query, passage, *_ in each)
    lost = "equal" if wanted == sorted((query, passage) for _, query, passage, _ in written) else "NOT equal"
    twice = Counter((query, passage) for _, query, passage, _ in written)
    by_one = sum(number > 1 for number in Counter((who, query, passage) for who, query, passage, _ in written).values())
    os.environ["HNMINE_HOME"] = str(root)
    from hnmine import resources

    found = agreement(resources.open_run(run).inputs.corpus, ReviewStore(root / "reviews.sqlite").decisions())
    relevant: dict[tuple[str, str], set[bool]] = {}
    for _, query, passage, verdict in written:
        relevant.setdefault((query, passage), set()).add(verdict != "negative")
    both = [each for pair, each in relevant.items() if twice[pair] == 2]
    raw = sum(len(each) == 1 for each in both) / max(1, len(both))
    return (
        f"{len(wanted)} pressed, {len(written)} written, {lost}; judged by both: {sum(number == 2 for number in twice.values())}, "
        f"by more: {sum(number > 2 for number in twice.values())}, twice by one: {by_one}; "
        f"agreement on {found.pairs} pairs: raw {found.raw} (counted here: {raw}), kappa {found.kappa}"
    )


def keys(browser: Any, root: Path, run: str, serve: Any) -> str:
    """Press keys at the rate of a fast reviewer."""
    page = open_desk(browser, serve(root).url, run)
    pressed = stream(page, MIXED * 20, 5)
    saved(page)
    return times(sorted(each[3] for each in pressed), sorted(each[4] for each in pressed))


def times(drawn: list[float], frames: list[float]) -> str:
    """Return median, 95th percentile and maximum of two sorted series, in milliseconds."""
    lines = [
        f"{name}: median {each[len(each) // 2]:.1f} ms, p95 {each[int(0.95 * len(each))]:.1f}, max {each[-1]:.1f} ({len(each)} keys)"
        for name, each in (("key to the next pair in the page", drawn), ("key to the frame after it", frames))
    ]
    return "\n".join(lines)


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("failures", "two", "keys"))
    parser.add_argument("home", nargs="?", type=Path)
    parser.add_argument("run", nargs="?")
    given = parser.parse_args()
    servers: list[Server] = []

    def serve(*args: Any, **options: Any) -> Server:
        servers.append(Server(*args, **options))
        return servers[-1]

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder) / "workspace"
        run = given.run or mined(root)
        if given.home:
            shutil.copytree(given.home, root)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            print({"failures": failures, "two": two, "keys": keys}[given.what](browser, root, run, serve))
        finally:
            browser.close()
            for server in servers:
                if server.process.poll() is None:
                    server.stop()


if __name__ == "__main__":
    main()
