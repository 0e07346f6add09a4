"""The context bar: what is open, its figures, the jobs of any data set, and a job that a crash interrupted."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest
import streamlit as st

from hnmine import resources
from hnmine.runs.job_records import JobRecords, Request
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from pages.shared import frame, job_progress
from pages.shared.printable import literal
from tests.conftest import FakeEncoder, add_example
from tests.pages.conftest import open_app, press, texts


def bar(at: object) -> str:
    return texts(at) + " ".join(each.label for each in at.get("popover"))  # type: ignore[attr-defined]


def ended() -> None:
    deadline = time.monotonic() + 120
    while resources.jobs().active():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("page", ["data", "mine", "inspect", "review", "quality", "runs", "export"])
def test_every_page_names_what_is_open(run: str, page: str) -> None:
    said = texts(open_app(page, run=run))
    assert "Data set: bikeshare/train.jsonl + bikeshare/pool.jsonl" in said
    assert "Negatives: 1,860" in said
    assert "False negatives: est. " in said
    assert "not audited" in said


def test_the_figures_are_those_of_the_open_settings(run: str) -> None:
    at = open_app("mine", run=run)
    at.number_input(key=f"number-{run}").set_value(3).run()
    assert "Negatives: 372" in texts(at)
    assert "Variant: " in texts(at)
    assert "unsaved changes" in texts(at)


def test_long_names_are_cut_and_told_in_full(fresh: Path, tmp_path: Path) -> None:
    name = "a very long name of a data set that somebody gave to the file of a whole quarter.jsonl"
    row = json.dumps({"query": "q", "pos": ["p"]}) + "\n"
    dataset = Workspace(fresh).add_dataset(name, io.BytesIO(row.encode()))
    at = open_app(dataset=dataset.id)
    (short,) = [each for each in at.text if each.value.startswith("a very long") and len(each.value) <= frame.NAME]
    assert short.help == name


def test_names_are_shown_literally() -> None:
    assert literal("a_b_*c*[d](e) :f:") == r"a\_b\_\*c\*\[d\]\(e\) \:f\:"


def test_a_job_of_another_data_set_is_shown_and_can_be_cancelled(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Event()

    def work(on_progress, should_stop):  # type: ignore[no-untyped-def]
        while not should_stop():
            seen.set()
            time.sleep(0.01)
        return "no run"

    resources.jobs().submit("another", work, name="Mining other.jsonl")
    assert seen.wait(120)
    at = open_app("inspect", run=run)
    assert "Mining other.jsonl" in texts(at)
    press(at, "Cancel")
    ended()
    at.run()
    assert not at.exception
    assert "Mining is done." in texts(at)
    assert "Mining other.jsonl" not in texts(at)


def test_the_end_of_a_job_is_said_and_its_result_is_offered(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    resources.jobs().submit(resources.workspace().run(run).dataset_id, lambda *given: str(go.wait(120) and run), name="Mining train.jsonl")
    at = open_app("data", dataset=resources.workspace().run(run).dataset_id)
    at.session_state.run = None
    at.run()
    go.set()
    ended()
    at.run()
    assert "Mining is done." in texts(at)
    press(at, "open-finished")
    assert at.session_state.run == run


def interrupt(space: Workspace, dataset: str) -> None:
    """Leave what a killed server leaves."""
    records = JobRecords(space.root)
    record = records.begin(Request(dataset_id=dataset, settings=MineSettings(), depth=500))
    changed = {"share": 0.12, "stage": "encoding passages", "done": 155_648, "total": 1_272_463}
    records.write(type(record)(id=record.id, request=record.request, started=record.started, **changed))
    records._locks.pop(record.id).close()


def test_an_interrupted_job_is_resumed_with_its_settings(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "encoder", lambda settings, on_progress=None: FakeEncoder())
    space = Workspace(fresh)
    interrupt(space, add_example(space))
    at = open_app()
    assert "Mining bikeshare/train.jsonl: interrupted at 12%. 155,648 of 1,272,463 tokens are stored." in texts(at)
    press(at, "resume-job")
    ended()
    at.run()
    assert "interrupted at" not in texts(at)
    (found,) = space.runs()
    assert found.settings == MineSettings()
    assert list((fresh / "jobs").iterdir()) == []
    assert resources.jobs().records is not None
    assert "encoding passages" in next(iter(resources.jobs().records.timings().values()))


def test_an_interrupted_job_is_dismissed_or_forgotten_with_its_data(fresh: Path) -> None:
    space = Workspace(fresh)
    interrupt(space, add_example(space))
    at = press(open_app(), "dismiss-job")
    assert "interrupted at" not in texts(at)
    interrupt(space, "0123456789ab")
    assert "interrupted at" not in texts(open_app())
    assert JobRecords(fresh).interrupted() == []


def test_the_bar_is_cheap(run: str) -> None:
    """The medians of what a rerun of a page costs are in the report; here it may be no computation."""
    at = open_app("inspect", run=run)
    opened = resources.open_run(run)
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pages.shared.statistics.summarise", lambda *args, **kwargs: calls.append("summary"))
        patch.setattr(type(opened), "select", lambda *args: calls.append("select"))
        at.run()
    assert not at.exception
    assert calls == []


def test_links_name_the_public_address(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_app("inspect", run=run)
    assert "Only this machine can open it" in texts(at)
    (shown,) = [each.value for each in at.code if "/inspect?" in each.value]
    assert f"run={run}&variant=mined" in shown
    assert "&query=" in shown
    monkeypatch.setenv("HNMINE_PUBLIC_URL", "https://mining.example.org/hn/")
    at.run()
    (shown,) = [each.value for each in at.code if "/inspect?" in each.value]
    assert shown.startswith(f"https://mining.example.org/hn/inspect?run={run}&variant=mined")
    assert "Only this machine" not in texts(at)


def test_a_queued_job_waits(run: str) -> None:
    go = threading.Event()
    for name in ("Mining a.jsonl", "Mining b.jsonl"):
        resources.jobs().submit("another", lambda *given: str(go.wait(120)), name=name)
    running, queued = resources.jobs().active()
    assert job_progress.in_short(queued) == "waiting"
    at = open_app(run=run)
    assert "Mining a.jsonl: starting, 1 waiting" in texts(at)
    go.set()
    ended()
    assert running.name == "Mining a.jsonl"
    st.cache_resource.clear()
