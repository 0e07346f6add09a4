"""Time left over all stages: by the plan first, by what is measured as soon as it can be."""

from __future__ import annotations

import pytest

from hnmine.core import time_left
from hnmine.core.time_left import Forecast, Work, in_words
from tests.core.test_progress import Clock

PLAN = [Work("encoding passages", 1_000, 100.0), Work("encoding queries", 100, 10.0), Work("searching", 50, 5.0)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_left.time, "monotonic", clock)
    return clock


def advance(
    forecast: Forecast, clock: Clock, stage: str, total: int, seconds: float, *, until: int | None = None, steps: int = 100
) -> None:
    """Report a stage of even speed."""
    until = total if until is None else until
    for step in range(1, 101):
        clock.now += seconds / 100
        forecast(until * step // 100, total, stage)


def test_nothing_is_known_without_a_plan(clock: Clock) -> None:
    forecast = Forecast()
    forecast(3, 10, "encoding passages")
    assert (forecast.seconds_left, forecast.share) == (None, None)


def test_nothing_is_said_before_something_is_measured(clock: Clock) -> None:
    """The seconds of the plan are those of another machine and model: they may be wrong by a factor of 100."""
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    forecast(0, 0, "loading the model")
    clock.now += 30
    forecast(0, 1_000, "encoding passages")
    assert (forecast.seconds_left, forecast.share) == (None, None)
    advance(forecast, clock, "encoding passages", 1_000, 10, until=100)
    assert forecast.seconds_left == pytest.approx(90 + 10 + 5, rel=0.05)
    assert forecast.share == pytest.approx(10 / 115, rel=0.05), "loading the model is no part of it"


def test_a_slow_machine_is_measured_and_counts_for_all_that_is_encoded(clock: Clock) -> None:
    """Ten times as slow: 1,000 s for the passages, so 100 s for the queries; the search is another kind of work."""
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    advance(forecast, clock, "encoding passages", 1_000, 500, until=500)
    assert forecast.seconds_left == pytest.approx(500 + 100 + 5, rel=0.05)
    assert forecast.share == pytest.approx(500 / 1_105, rel=0.05)


def test_the_first_batches_do_not_count(clock: Clock) -> None:
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    forecast(0, 1_000, "encoding passages")
    clock.now += 60  # compilation
    forecast(20, 1_000, "encoding passages")
    for done in range(40, 201, 20):
        clock.now += 2
        forecast(done, 1_000, "encoding passages")
    assert forecast.seconds_left == pytest.approx(80 + 10 + 5, rel=0.1)


def test_a_change_of_speed_is_followed(clock: Clock) -> None:
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    advance(forecast, clock, "encoding passages", 1_000, 10, until=100)
    for done in range(110, 501, 10):  # another process takes nine tenths of the machine
        clock.now += 10
        forecast(done, 1_000, "encoding passages")
    assert forecast.seconds_left == pytest.approx(500 + 100, rel=0.2)


def test_stages_that_were_not_needed_are_over(clock: Clock) -> None:
    """All vectors are stored: the first progress is of the search."""
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    forecast(0, 50, "searching")
    assert forecast.seconds_left == 5


def test_a_resumed_stage_counts_what_is_missing(clock: Clock) -> None:
    forecast = Forecast({"model": {"encoding passages": 1.0}})
    forecast.plan(PLAN, "model")
    forecast(0, 100, "encoding passages")
    assert forecast.seconds_left == pytest.approx(10 + 10 + 5)


def test_an_earlier_run_tells_how_fast_this_machine_is(clock: Clock) -> None:
    first = Forecast()
    first.plan(PLAN, "model on cpu")
    advance(first, clock, "encoding passages", 1_000, 200)
    advance(first, clock, "encoding queries", 100, 5)
    advance(first, clock, "searching", 50, 50)
    again = Forecast({"model on cpu": first.factors()})
    again.plan(PLAN, "model on cpu")
    assert again.seconds_left == pytest.approx(200 + 5 + 50, rel=0.05)
    advance(again, clock, "encoding passages", 1_000, 400)  # busy today
    assert again.seconds_left == pytest.approx(10 + 50, rel=0.1)
    other = Forecast({"model on cpu": first.factors()})
    other.plan(PLAN, "another model")
    assert other.seconds_left is None


def test_the_share_never_falls_and_time_passes_between_reports(clock: Clock) -> None:
    forecast = Forecast()
    forecast.plan(PLAN, "model")
    advance(forecast, clock, "encoding passages", 1_000, 50, until=500)
    share, left = forecast.share, forecast.seconds_left
    assert left is not None
    clock.now += 10
    assert forecast.seconds_left == pytest.approx(left - 10)
    clock.now += 1_000
    assert (forecast.share or 0) >= (share or 0)


@pytest.mark.parametrize(("seconds", "text"), [(2, "about 5 s"), (42, "about 40 s"), (130, "about 2 min"), (7_800, "about 2 h 10 min")])
def test_a_time_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
