"""The Inspect screen with 100,000 queries: time of a filter, a sort, a page and the first opening, and the server's memory.

The workspace is made without a model: random unit vectors (a query is close to its positive), ranked by the real search and
stored as a run, with random signals. Each step is measured three times: the calls behind it, the screen's script in one
process (AppTest), and a real server in Chromium, from the action until its result is visible. Memory is that of the server,
without a model, after each step. Without Chromium the last measurement is left out.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.measure import ROOT, arguments, report
from hnmine.data.dataset import read_inputs
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.retrieval.signals import BASIC
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.browser.server import CHROMIUM, FLAGS, Server, settled

DIMENSION, DEPTH = 64, 200
TERMS = """sea wing hull rudder sail keel mast anchor tide harbour wind storm cargo crew deck captain compass chart lighthouse
buoy rope knot engine propeller fuel valve pump bolt rivet weld steel timber paint rust salt depth sounding current swell"""
WORDS = TERMS.split()
LIMIT_GIB = 1.5
WINDOW = {"width": 1400, "height": 1200}
# The address and the first row of the list: they change when the result is visible.
SHOWN = """(location.search + document.querySelector(".st-key-inspect-queries [data-testid=stBidiComponentIsolated]")
    ?.shadowRoot.querySelector("[role=option]")?.textContent)"""


def make_world(root: Path, queries: int, passages: int) -> str:
    """Fill a workspace with one run; return the run's id."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(WORDS), (passages, 80))
    texts = [f"passage {number}: " + " ".join(WORDS[place] for place in row) for number, row in enumerate(picks.tolist())]
    asked = rng.integers(0, len(WORDS), (queries, 5))
    positives = rng.integers(0, passages, queries)
    training = root / "train.jsonl"
    with training.open("w") as file:
        for number in range(queries):
            query = f"question {number} about " + " ".join(WORDS[place] for place in asked[number].tolist())
            file.write(json.dumps({"query": query, "pos": [texts[positives[number]]]}) + "\n")
    pool = root / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    space = Workspace(root / "workspace")
    dataset = space.add_dataset("synthetic.jsonl", training, "pool.jsonl", pool)
    read = read_inputs(space.training_path(dataset.id), space.pool_path(dataset.id))
    corpus = read.corpus

    held = unit(rng.standard_normal((len(corpus.passages), DIMENSION), dtype=np.float32))
    own = held[corpus.positive_ids[corpus.positive_starts[:-1]]]
    asks = unit(own + 1.5 * unit(rng.standard_normal(own.shape, dtype=np.float32)))
    scores, ids = top_k(asks, held, DEPTH)
    ranking = Ranking(
        ids=ids,
        scores=scores,
        positive_scores=pair_scores(asks, corpus.positive_queries, held, corpus.positive_ids),
        query_vectors=asks,
        passage_vectors=held,
        signals={name: rng.random(ids.shape, dtype=np.float32) for name in BASIC},
        scale=np.array([[0.0, 0.13], [0.0, 0.13]]),
    )
    settings = MineSettings(selection=SelectionSettings(window_start=5, window_end=DEPTH))
    return space.save_run(dataset.id, settings, ranking, {"model": {"name": "random unit vectors"}, "inputs": read.files}).id


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def milliseconds(work: Callable[[], Any]) -> float:
    """Return the seconds of one call; it is not repeated, because the second one would be cached."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def calls(run_id: str) -> dict[str, float]:
    """Time the calls behind each step, without a screen."""
    from hnmine import resources
    from hnmine.analysis import compare, histograms, maps
    from hnmine.analysis import queries as quality
    from hnmine.analysis.listing import Listing, Texts, alphabetical, found, matching
    from hnmine.core.text import normalize_text

    times: dict[str, float] = {}
    kept: dict[str, Any] = {}

    def step(name: str, work: Callable[[], Any]) -> None:
        def keep() -> None:
            kept[name] = work()

        times[name] = milliseconds(keep)

    step("open", lambda: resources.open_run(run_id))
    run = kept["open"]
    corpus, ranking = run.inputs.corpus, run.ranking
    step("select", lambda: resources.selection(run, run.run.settings.selection))
    selection = kept["select"]
    step("estimates", lambda: resources.fn_probabilities(run, selection))
    step("table of queries", lambda: quality.query_table(corpus, ranking, selection, kept["estimates"]))
    step("histograms", lambda: histograms.score_histograms(ranking, selection))
    times["first opening"] = sum(times.values())
    table = kept["table of queries"]
    step("fold texts", lambda: Texts(*([normalize_text(text) for text in texts] for texts in (corpus.queries, corpus.passages))))
    folded = kept["fold texts"]
    step("alphabet", lambda: alphabetical(folded.queries))

    def search() -> None:
        found(Listing(words="anchor tide"), table, selection, matching("anchor tide", corpus, selection, folded))

    times["search for two words"] = milliseconds(search)
    times["filter"] = milliseconds(lambda: found(Listing(show="close"), table, selection))
    times["sort by margin"] = milliseconds(lambda: found(Listing(sort="margin", descending=False), table, selection))
    times["sort by query"] = milliseconds(lambda: found(Listing(sort="query"), table, selection, None, kept["alphabet"]))
    step("candidates of a query", lambda: quality.candidates_of(corpus, ranking, selection, 7))
    times["map of the neighbourhood"] = milliseconds(
        lambda: maps.neighbourhood(corpus, ranking, selection, kept["candidates of a query"], 7)
    )
    side = compare.Side(corpus, ranking, selection)
    times["compare two runs"] = milliseconds(lambda: compare.compare(side, side))
    return times


def script(run_id: str) -> dict[str, float]:
    """Time the screen's script in this process; the results of the calls are already cached."""
    from streamlit.testing.v1 import AppTest

    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    at.query_params["run"] = run_id
    at.run()
    times = {"first opening": milliseconds(lambda: at.switch_page("pages/views/inspect.py").run())}

    def step(name: str, change: Callable[[], Any]) -> None:
        times[name] = milliseconds(lambda: change().run())
        assert not at.exception, [each.value for each in at.exception]

    step("search for two words", lambda: at.text_input(key="inspect-search").set_value("anchor tide"))
    at.text_input(key="inspect-search").set_value("").run()
    step("filter", lambda: at.selectbox(key="inspect-show").select("close"))
    at.selectbox(key="inspect-show").select("all").run()
    step("sort by margin", lambda: at.selectbox(key="inspect-sort").select("margin"))
    step("sort by query", lambda: at.selectbox(key="inspect-sort").select("query"))
    step("next query", lambda: at.button(key="inspect-next").click())
    return times


def resident(pid: int, field: str) -> float:
    """Return VmRSS or VmHWM of a process in GiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**20


def browser(run_id: str, home: Path) -> tuple[dict[str, float], dict[str, float], float] | None:
    """Time each step in Chromium against a real server; return the times, its memory after each, and the most it had."""
    if CHROMIUM is None or not Path("/proc/self/status").exists():
        return None
    from playwright.sync_api import sync_playwright

    server = Server(home)
    pid = server.process.pid
    times: dict[str, float] = {}
    memory: dict[str, float] = {}
    try:
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS).new_page(viewport=WINDOW)
            page.set_default_timeout(120_000)

            def step(name: str, *acts: Callable[[], Any]) -> None:
                """Do several uncached actions of a kind, each until the list or the query has changed; the fastest counts."""
                taken = []
                for act in acts:
                    settled(page)
                    before = page.evaluate(SHOWN)
                    page.wait_for_timeout(300)
                    began = time.perf_counter()
                    act()
                    page.wait_for_function(f"before => {SHOWN} !== before", arg=before)
                    settled(page)
                    taken.append(1000 * (time.perf_counter() - began))
                times[name], memory[name] = min(taken), resident(pid, "VmRSS:")

            def choose(key: str, *options: str) -> list[Callable[[], None]]:
                def choice(option: str) -> None:
                    page.locator(f".st-key-inspect-{key}").get_by_role("combobox").click()
                    page.locator("[role=option]").filter(has_text=option).last.click()

                return [partial(choice, option) for option in options]

            def search(*words: str) -> list[Callable[[], None]]:
                return [partial(page.locator(".st-key-inspect-search input").fill, each) for each in words]

            began = time.perf_counter()
            page.goto(f"{server.url}/inspect?run={run_id}")
            page.get_by_role("option").first.wait_for()
            settled(page)
            times["first opening"], memory["first opening"] = 1000 * (time.perf_counter() - began), resident(pid, "VmRSS:")
            step("filter", *choose("show", "Above the positive", "Near the positive", "Positive not in top 10"))
            choose("show", "All (")[0]()
            step("search for two words", *search("anchor tide", "sail rope", '"keel mast"'))
            search("")[0]()
            step("sort by margin", *choose("sort", "Margin", "Hardest negative", "Positive rank"))
            step("sort by query", *choose("sort", "Query (A to Z)"))
            step("next page", *[page.get_by_role("button", name="Next page").click] * 3)
            step("next query", *[page.locator(".st-key-inspect-next button").click] * 3)
        return times, memory, resident(pid, "VmHWM:")
    finally:
        server.stop()


def main() -> None:
    """Make the workspace, time all steps, and print the table."""
    options = arguments(__doc__)
    queries, passages = (1_000, 500) if options.quick else (100_000, 20_000)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "workspace"
        run_id = make_world(Path(folder), queries, passages)
        with mock.patch.dict(os.environ, {"HNMINE_HOME": str(home)}):
            seen = None if options.quick else browser(run_id, home)
            behind, scripted = calls(run_id), script(run_id)
    times, memory, most = seen or ({}, {}, None)
    rows = [
        {
            "step": name,
            "calls ms": behind.get(name),
            "script ms": scripted.get(name),
            "browser ms": times.get(name),
            "server GiB": memory.get(name),
        }
        for name in dict.fromkeys([*behind, *scripted, *times])
    ]
    answers = [
        value for name, value in times.items() if name in ("filter", "search for two words", "next page", "next query") or "sort" in name
    ]
    facts = {"queries": queries, "ranked": DEPTH, "passages": passages, "dimension": DIMENSION}
    if seen:
        facts |= {
            "slowest filter or sort in the browser, ms": max(answers),
            "most memory of the server, GiB": most,
            "allowed, GiB": LIMIT_GIB,
        }
    report("inspect", rows, facts)


if __name__ == "__main__":
    main()
