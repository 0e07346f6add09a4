"""Background jobs: one at a time, their progress over all stages, a stop, and what a crash leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hnmine.core.errors import Cancelled, HnmineError, SettingsError
from hnmine.core.time_left import Work
from hnmine.runs.job_records import JobRecords, Request
from hnmine.runs.jobs import JobRunner
from hnmine.runs.mine import MineSettings
from tests.conftest import ROOT

REQUEST = Request(dataset_id="abc", settings=MineSettings(with_scores=True), depth=500)


def wait(runner: JobRunner, job_id: int) -> None:
    deadline = time.monotonic() + 120
    while runner.get(job_id).active:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_reports_progress_and_its_result() -> None:
    runner, gate = JobRunner(), threading.Event()

    def work(on_progress, should_stop):  # type: ignore[no-untyped-def]
        on_progress.plan([Work("encoding passages", 10, 20.0), Work("searching", 5, 5.0)], "a model")
        on_progress(3, 10, "encoding passages")
        on_progress(0, 5, "searching")
        assert gate.wait(120)
        return "run-1"

    job = runner.submit("data", work)
    deadline = time.monotonic() + 120
    while runner.get(job.id).stage != "searching":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    now = runner.get(job.id)
    assert (now.done, now.total, now.state) == (0, 5, "running")
    assert now.seconds_left == pytest.approx(5, abs=2)
    assert [job.id for job in runner.active()] == [job.id]
    assert runner.latest("data") is not None
    assert runner.latest("other") is None
    gate.set()
    wait(runner, job.id)
    assert runner.get(job.id).result == "run-1"
    assert runner.active() == []


def test_a_job_can_be_cancelled_while_it_waits_and_while_it_runs() -> None:
    runner = JobRunner()

    def work(on_progress, should_stop):  # type: ignore[no-untyped-def]
        while not should_stop():
            time.sleep(0.01)
        raise Cancelled("stopped")

    running, waiting = runner.submit("a", work), runner.submit("b", work)
    runner.cancel(waiting.id)
    runner.cancel(running.id)
    wait(runner, running.id)
    wait(runner, waiting.id)
    assert runner.get(running.id).state == runner.get(waiting.id).state == "cancelled"


@pytest.mark.parametrize(
    ("failure", "message"), [(SettingsError("the window is empty"), "the window is empty"), (KeyError("x"), "unexpected KeyError")]
)
def test_a_failed_job_says_why_and_the_next_one_runs(failure: Exception, message: str) -> None:
    runner = JobRunner()

    def fail(on_progress, should_stop):  # type: ignore[no-untyped-def]
        raise failure

    first, second = runner.submit("a", fail), runner.submit("a", lambda on_progress, should_stop: "fine")
    wait(runner, first.id)
    wait(runner, second.id)
    assert runner.get(first.id).state == "failed"
    assert message in str(runner.get(first.id).error)
    assert runner.get(second.id).result == "fine"
    assert isinstance(failure, HnmineError) or "KeyError" in str(runner.get(first.id).error)


def test_a_job_is_recorded_while_it_is_active(tmp_path: Path) -> None:
    runner, gate = JobRunner(tmp_path), threading.Event()
    job = runner.submit("abc", lambda on_progress, should_stop: str(gate.wait(120)), request=REQUEST)
    assert len(list((tmp_path / "jobs").glob("*.json"))) == 1
    assert JobRecords(tmp_path).interrupted() == [], "another server of the workspace does not take it for interrupted"
    gate.set()
    wait(runner, job.id)
    assert list((tmp_path / "jobs").iterdir()) == []


WORK = """
import sys, time
from pathlib import Path
from hnmine.core.progress import check_cancelled
from hnmine.core.time_left import Work
from hnmine.runs.jobs import JobRunner
from tests.runs.test_jobs import REQUEST

def work(on_progress, should_stop):
    on_progress.plan([Work("encoding passages", 1_000, 100.0)], "model")
    for done in range(1, 1_000):
        check_cancelled(should_stop)
        on_progress(done, 1_000, "encoding passages")
        time.sleep(0.05)

JobRunner(Path(sys.argv[1])).submit("abc", work, request=REQUEST)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_a_server_that_ends_leaves_what_is_needed_to_resume(tmp_path: Path, way: str) -> None:
    server = subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE)
    assert server.stdin is not None
    records, deadline = JobRecords(tmp_path), time.monotonic() + 300
    while not any(b'"done":0' not in path.read_bytes() for path in (tmp_path / "jobs").glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert records.interrupted() == [], "it runs"
    if way == "killed":
        os.kill(server.pid, signal.SIGKILL)
    server.stdin.close()
    server.wait(120)
    (found,) = records.interrupted()
    assert found.request == REQUEST
    assert (found.stage, found.total) == ("encoding passages", 1_000)
    assert 0 < found.done < 1_000
    assert 0 <= found.share < 1
    records.end(found.id)
    assert records.interrupted() == []


def test_a_damaged_record_hides_no_other(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    record = records.begin(REQUEST)
    (tmp_path / "jobs" / "aaaa.json").write_text("{")
    (tmp_path / "jobs" / "bbbb.json").write_bytes((tmp_path / "jobs" / f"{record.id}.json").read_bytes())
    records._locks.pop(record.id).close()
    assert [each.id for each in JobRecords(tmp_path).interrupted()] == [record.id]


def test_factors_of_earlier_runs_are_kept_by_model_and_device(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    (tmp_path / "timings.json").write_text("[")
    assert records.timings() == {}
    for number in range(25):
        records.save_timings(f"model {number}", {"searching": float(number)})
    records.save_timings("model 20", {"encoding passages": 2.0})
    found = JobRecords(tmp_path).timings()
    assert len(found) == 20
    assert found["model 20"] == {"searching": 20.0, "encoding passages": 2.0}
    assert "model 4" not in found
