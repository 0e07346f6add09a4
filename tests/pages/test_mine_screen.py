"""The settings of a selection on the Mine screen: presets, filters, the estimate of the result."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.analysis.fn_estimates import fn_rate
from hnmine.models.encoder import FlagEncoder
from hnmine.retrieval.ranking import Ranking
from hnmine.runs.workspace import Workspace
from hnmine.selection.filters import FILTERS
from hnmine.selection.presets import PRESETS, preset_of, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.shared.wording import FUNNEL
from tests.conftest import EXAMPLE
from tests.pages.conftest import open_app, texts


def settings_of(run: str) -> SelectionSettings:
    return resources.workspace().selection(run)


def choose(at: AppTest, run: str, preset: str) -> AppTest:
    at.segmented_control(key=f"preset-{run}").set_value(preset).run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def metric(at: AppTest, label: str) -> str:
    return next(each.value for each in at.metric if each.label == label)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_chosen_in_one_click_and_keeps_number_and_seed(run: str, name: str) -> None:
    at = open_app("mine", run=run)
    depth = resources.open_run(run).ranking.depth
    at.number_input(key=f"number-{run}").set_value(7).run()
    at.number_input(key=f"seed-{run}").set_value(5).run()
    at.toggle(key=f"max_score-{run}-on").set_value(True).run()
    assert at.segmented_control(key=f"preset-{run}").value == "own"
    choose(at, run, name)
    wanted = with_preset(name, SelectionSettings(negative_number=7, seed=5), deepest=depth)
    assert settings_of(run) == wanted
    assert at.segmented_control(key=f"preset-{run}").value == name
    assert PRESETS[name].reason in texts(at)
    assert "custom" not in at.segmented_control(key=f"preset-{run}").options
    at.number_input(key=f"number-{run}").set_value(8).run()
    assert at.segmented_control(key=f"preset-{run}").value == name, "the number is no part of a preset"
    at.slider(key=f"window-{run}").set_range(3, 60).run()
    assert at.segmented_control(key=f"preset-{run}").value == "own"
    assert settings_of(run) == SelectionSettings(
        **{**json.loads(as_json(wanted)), "window_start": 3, "window_end": 60, "negative_number": 8}
    )


def as_json(settings: SelectionSettings) -> bytes:
    import msgspec

    return msgspec.json.encode(settings)


def test_a_new_data_set_starts_with_the_recommended_preset_and_the_command_line_does_not(run: str, space: Workspace) -> None:
    fresh = space.add_dataset("again.jsonl", EXAMPLE / "train.jsonl")
    at = open_app("mine", dataset=fresh.id)
    assert at.segmented_control(key=f"preset-{fresh.id}").value == "balanced"
    assert at.segmented_control(key=f"limit-{fresh.id}").value == "max_fn_rate"
    assert at.slider(key=f"max_fn_rate-{fresh.id}").value == 1.0
    assert at.slider(key=f"window-{fresh.id}").value[0] == 0
    assert SelectionSettings().strategy == "random"
    at.slider(key=f"window-{fresh.id}").set_range(4, 40).run()
    at.switch_page("pages/views/data.py").run()
    at.switch_page("pages/views/mine.py").run()
    assert at.slider(key=f"window-{fresh.id}").value == (4, 40), "what was set before mining is still set"


@pytest.mark.parametrize(("deepest", "window"), [(1, (0, 1)), (39, (0, 39)), (40, (10, 40)), (209, (10, 209)), (5_000, (10, 210))])
def test_a_preset_of_a_small_corpus_ends_where_the_corpus_does(deepest: int, window: tuple[int, int]) -> None:
    found = with_preset("hn_mine", SelectionSettings(), deepest=deepest)
    assert (found.window_start, found.window_end) == window
    for name in PRESETS:
        assert preset_of(with_preset(name, SelectionSettings(negative_number=3), deepest=deepest), deepest=deepest) == name


def test_the_pool_alone_keeps_the_preset_and_ends_the_window_at_it(run: str, space: Workspace, tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": f"passage {number}"}) + "\n" for number in range(50)))
    dataset = space.add_dataset("small pool.jsonl", EXAMPLE / "train.jsonl", "pool.jsonl", pool)
    at = open_app("mine", dataset=dataset.id)
    end = at.slider(key=f"window-{dataset.id}").value[1]
    assert end > 50
    at.segmented_control(key=f"pool-{dataset.id}").set_value("replace").run()
    assert not at.exception
    assert at.slider(key=f"window-{dataset.id}").value == (0, 50)
    assert at.segmented_control(key=f"preset-{dataset.id}").value == "balanced"
    at.segmented_control(key=f"pool-{dataset.id}").set_value("extend").run()
    assert at.slider(key=f"window-{dataset.id}").value == (0, end)


def test_rows_with_instructions_offer_their_field(fresh: Path, space: Workspace, tmp_path: Path, monkeypatch, flag_model) -> None:
    def page(name: str, rows: list[dict[str, object]]) -> tuple[AppTest, str]:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        dataset = space.add_dataset(name, tmp_path / name).id
        return open_app("mine", dataset=dataset), f"prompt-field-{dataset}"

    rows: list[dict[str, object]] = [{"query": f"question {number}", "pos": [f"answer {number}"]} for number in range(30)]
    at, key = page("plain.jsonl", rows)
    assert not [each for each in at.selectbox if each.key == key]

    monkeypatch.setattr(resources, "encoder", lambda settings, on_progress=None: FlagEncoder(flag_model))
    at, key = page("asked.jsonl", [row | {"prompt": f"Find answers {number % 2}"} for number, row in enumerate(rows)])
    assert at.selectbox(key=key).value == ""
    assert at.selectbox(key=key).options == ["the query instruction of the model settings", "the field `prompt`"]
    at.selectbox(key=key).set_value("prompt").run()
    at.button(key="mine").click().run()
    job = resources.jobs().latest(at.session_state["dataset"])
    assert job is not None
    deadline = time.monotonic() + 120
    while resources.jobs().get(job.id).active:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert resources.jobs().get(job.id).error is None
    (run,) = space.runs(at.session_state["dataset"])
    assert run.settings.query_prompt_field == "prompt"
    assert run.manifest["model"]["query_prompts"] == {"field": "prompt", "different": 2, "rows_without": 0}
    at = open_app("mine", run=run.id)
    assert at.selectbox(key=key).value == "prompt"
    assert "mined with another model" not in texts(at)
    at.selectbox(key=key).set_value("").run()
    assert "mined with another model" in texts(at)


def test_every_step_of_the_funnel_has_a_label(run: str) -> None:
    funnel = resources.selection(resources.open_run(run), SelectionSettings()).funnel
    assert list(FUNNEL) == [step for step in funnel if step in FUNNEL]
    assert funnel.keys() - FUNNEL.keys() == {"random_filled", "short_queries"}


@pytest.mark.parametrize("setting", [name for name in FILTERS if name != "reranker_margin"])
def test_each_filter_sets_its_field_and_shows_what_it_removes(run: str, setting: str) -> None:
    at = open_app("mine", run=run)
    at.slider(key=f"window-{run}").set_range(0, 300).run()
    at.toggle(key=f"{setting}-{run}-on").set_value(True).run()
    slider, step = FILTERS[setting].slider, FILTERS[setting].step
    shown = slider.low if setting.startswith("max_") and setting not in ("max_positive_similarity", "max_score") else 0.3
    at.slider(key=f"{setting}-{run}").set_value(shown).run()
    assert not at.exception, [each.value for each in at.exception]
    assert getattr(settings_of(run), setting) == pytest.approx(shown / slider.scale)
    current = resources.selection(resources.open_run(run), settings_of(run))
    steps = list(current.funnel)
    removed = current.funnel[steps[steps.index(step) - 1]] - current.funnel[step]
    assert removed > 0
    assert f"{FILTERS[setting].short} removes {removed:,}" in texts(at)
    assert FUNNEL[step] in texts(at)


def test_a_filter_without_its_signal_is_disabled(run: str) -> None:
    at = open_app("mine", run=run)
    assert at.toggle(key=f"reranker_margin-{run}-on").disabled
    assert "This run has no reranker scores." in texts(at)
    assert not at.toggle(key=f"max_fn_probability-{run}-on").disabled


def test_a_run_of_an_earlier_version_says_what_it_lacks(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Ranking.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Ranking, "open", classmethod(lambda cls, folder: replace(opened(cls, folder), signals={}, positive_signals={}, scale=None))
    )
    at = open_app("mine", run=run)
    assert "balanced (recommended). Mine again to compute them." in texts(at)
    assert PRESETS["balanced"].label not in at.segmented_control(key=f"preset-{run}").options
    assert "False negatives" not in [each.label for each in at.metric]
    at.segmented_control(key=f"strategy-{run}").set_value("hardest").run()
    assert at.segmented_control(key=f"limit-{run}").disabled
    assert settings_of(run).targets == ()
    assert at.toggle(key=f"max_fn_probability-{run}-on").disabled
    for page in ("inspect", "review"):
        at.switch_page(f"pages/views/{page}.py").run()
        assert not at.exception, [each.value for each in at.exception]
        assert "estimate" not in texts(at)


def highest(rate: str) -> float:
    """The high end of a range such as "0-7%"."""
    return float(rate.rstrip("%").split("-")[1])


def test_the_estimate_is_shown_as_one_and_follows_the_rate(run: str) -> None:
    at = choose(open_app("mine", run=run), run, "balanced")
    for percent in (0.5, 5.0):
        at.slider(key=f"max_fn_rate-{run}").set_value(percent).run()
        assert settings_of(run).max_fn_rate == percent / 100
        opened = resources.open_run(run)
        rate = fn_rate(opened.estimator(), resources.selection(opened, settings_of(run)))
        assert rate.estimate <= percent / 100 + 1e-6
        assert metric(at, "False negatives") == str(rate)
    assert "The false-negative rate is unaudited: a model estimate from other data." in texts(at)
    assert "A model estimate. Run an audit to measure the rate." in texts(at)
    assert at.segmented_control(key=f"preset-{run}").value == "own"
    at.segmented_control(key=f"strategy-{run}").set_value("random").run()
    assert settings_of(run).max_fn_rate is None
    at.segmented_control(key=f"strategy-{run}").set_value("hardest").run()
    assert settings_of(run).max_fn_rate == 0.05, "switching to and fro forgets nothing"


def test_a_hardness_limits_the_negatives_live_and_is_kept(run: str) -> None:
    at = choose(open_app("mine", run=run), run, "percpos")
    wanted = metric(at, "Mean similarity")
    rate = highest(metric(at, "False negatives"))
    choose(at, run, "balanced")
    assert [each.label for each in at.slider if "rate" in each.label] == ["Max. estimated false-negative rate"]
    easier = metric(at, "Mean similarity")
    at.segmented_control(key=f"limit-{run}").set_value("hardness").run()
    assert at.segmented_control(key=f"hardness-of-{run}").value == "percpos"
    assert at.segmented_control(key=f"preset-{run}").value == "own"
    assert (settings_of(run).hardness, settings_of(run).max_fn_rate) == ("percpos", None)
    assert 0 <= float(metric(at, "Mean similarity")) - float(wanted) < 0.005 < abs(float(easier) - float(wanted))
    assert highest(metric(at, "False negatives")) < rate
    at.segmented_control(key=f"hardness-of-{run}").set_value("number").run()
    assert 0 <= float(wanted) - at.slider(key=f"hardness-{run}").value < 0.011, "begins at the present hardness"
    for number in (0.25, 0.3):
        at.slider(key=f"hardness-{run}").set_value(number).run()
        assert settings_of(run).hardness == number
        assert float(metric(at, "Mean similarity")) == pytest.approx(number, abs=0.005)
    at.switch_page("pages/views/data.py").run()
    at.switch_page("pages/views/mine.py").run()
    for page in (at, open_app("mine", run=run)):
        assert not page.exception, [each.value for each in page.exception]
        assert page.segmented_control(key=f"limit-{run}").value == "hardness"
        assert page.segmented_control(key=f"hardness-of-{run}").value == "number"
        assert page.slider(key=f"hardness-{run}").value == 0.3
        assert metric(page, "Mean similarity").startswith("0.30")
    at.slider(key=f"hardness-{run}").set_value(0.99).run()
    assert "A mean similarity of 0.9900 is out of reach: the hardest possible negatives have 0." in texts(at)
    at.segmented_control(key=f"limit-{run}").set_value("nothing").run()
    assert settings_of(run).targets == ()
    assert "out of reach" not in texts(at)
    at.segmented_control(key=f"limit-{run}").set_value("hardness").run()
    assert settings_of(run).hardness == pytest.approx(float(metric(at, "Mean similarity")), abs=0.011), "the hardest possible"
    choose(at, run, "balanced")
    assert at.segmented_control(key=f"limit-{run}").value == "max_fn_rate"
    assert settings_of(run).max_fn_rate == 0.01


@pytest.mark.parametrize("hardness", ["hn_mine", 1.25])
def test_the_hardness_of_a_run_is_shown_as_it_is(run: str, hardness: float | str) -> None:
    wanted = SelectionSettings(strategy="hardest", hardness=hardness)
    resources.workspace().save_selection(run, wanted)
    at = open_app("mine", run=run)
    assert not at.exception, [each.value for each in at.exception]
    assert settings_of(run) == wanted
    assert at.segmented_control(key=f"hardness-of-{run}").value == ("number" if hardness == 1.25 else hardness)


def test_settings_beyond_the_sliders_are_kept(run: str) -> None:
    """A run of the command line may have any: opening the screen must not change it."""
    wanted = SelectionSettings(
        strategy="hardest", max_fn_rate=0.5, max_positive_ratio=1.75, margin=0.7, max_fn_probability=0.9, positive_score="min", seed=-3
    )
    resources.workspace().save_selection(run, wanted)
    at = open_app("mine", run=run)
    assert not at.exception, [each.value for each in at.exception]
    assert settings_of(run) == wanted
    at.selectbox(key=f"positive_score-{run}").select("max").run()
    assert settings_of(run).positive_score == "max"
    at.slider(key=f"margin-{run}").set_value(0.1).run()
    at.slider(key=f"margin-{run}").set_value(0.2).run()
    assert settings_of(run).margin == 0.2
