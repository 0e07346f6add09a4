"""The Mine screen: settings on the left, their result on the right, variants. `test_browser_mine.py` moves the real sliders."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.analysis.fn_estimates import fn_rate
from hnmine.models.encoder import FlagEncoder
from hnmine.retrieval.ranking import Ranking
from hnmine.runs.variants import all_variants, save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.filters import FILTERS
from hnmine.selection.presets import PRESETS, preset_of, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.mine import result
from pages.mine.range_slider import sent
from pages.mine.samples import samples
from pages.shared.wording import FUNNEL
from tests.conftest import EXAMPLE
from tests.pages.conftest import open_app, press, texts

DRAWN: list[SelectionSettings] = []  # of each result that was drawn


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record what was drawn."""
    drawing = result.draw
    monkeypatch.setattr(result, "draw", lambda run, found: (DRAWN.append(found.settings), drawing(run, found)))
    DRAWN.clear()


def settings_of(run: str) -> SelectionSettings:
    """The settings of the last result that was drawn."""
    return DRAWN[-1]


def with_settings(run: str, settings: SelectionSettings) -> AppTest:
    """Open Mine at a variant with these settings."""
    variant = save_variant(resources.workspace(), run, "other", settings)
    at = open_app("mine", run=run, variant=variant.id)
    assert not at.exception, [each.value for each in at.exception]
    return at


def choose(at: AppTest, run: str, preset: str) -> AppTest:
    at.radio(key=f"preset-{run}").set_value(preset).run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def metric(at: AppTest, label: str) -> str:
    return next(each.value for each in at.metric if each.label.startswith(label))


def add_filter(at: AppTest, run: str, name: str) -> AppTest:
    at.menu_button(key=f"add-filter-{run}").set_value(name).run()
    assert not at.exception, [each.value for each in at.exception]
    return at


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_chosen_in_one_click_and_keeps_number_and_seed(run: str, name: str) -> None:
    at = open_app("mine", run=run)
    depth = resources.open_run(run).ranking.depth
    at.number_input(key=f"number-{run}").set_value(7).run()
    at.radio(key=f"strategy-{run}").set_value("random").run()
    at.number_input(key=f"seed-{run}").set_value(5).run()
    add_filter(at, run, "max_score")
    assert at.radio(key=f"preset-{run}").value is None
    choose(at, run, name)
    wanted = with_preset(name, SelectionSettings(negative_number=7, seed=5), deepest=depth)
    assert settings_of(run) == wanted
    assert at.radio(key=f"preset-{run}").value == name
    at.number_input(key=f"number-{run}").set_value(8).run()
    assert at.radio(key=f"preset-{run}").value == name, "the number is no part of a preset"
    at.slider(key=f"window-{run}").set_range(3, 60).run()
    assert at.radio(key=f"preset-{run}").value is None
    assert settings_of(run) == SelectionSettings(
        **{**json.loads(as_json(wanted)), "window_start": 3, "window_end": 60, "negative_number": 8}
    )


def as_json(settings: SelectionSettings) -> bytes:
    import msgspec

    return msgspec.json.encode(settings)


def test_a_new_data_set_starts_with_the_recommended_preset_and_the_command_line_does_not(run: str, space: Workspace) -> None:
    fresh = space.add_dataset("again.jsonl", EXAMPLE / "train.jsonl")
    at = open_app("mine", dataset=fresh.id)
    assert at.radio(key=f"preset-{fresh.id}").value == "balanced"
    assert at.radio(key=f"limit-{fresh.id}").value == "max_fn_rate"
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
    at.radio(key=f"pool-{dataset.id}").set_value("replace").run()
    assert not at.exception
    assert at.slider(key=f"window-{dataset.id}").value == (0, 50)
    assert at.radio(key=f"preset-{dataset.id}").value == "balanced"
    at.radio(key=f"pool-{dataset.id}").set_value("extend").run()
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
    assert "Changed:" not in texts(at)
    at.selectbox(key=key).set_value("").run()
    assert "Changed: query instruction. Mine again to update the result." in texts(at)


def test_every_step_of_the_funnel_has_a_label(run: str) -> None:
    funnel = resources.selection(resources.open_run(run), SelectionSettings()).funnel
    assert list(FUNNEL) == [step for step in funnel if step in FUNNEL]
    assert funnel.keys() - FUNNEL.keys() == {"random_filled", "short_queries"}


@pytest.mark.parametrize("setting", [name for name in FILTERS if name not in ("reranker_margin", "judge_grade")])
def test_each_filter_is_added_shows_what_it_removes_and_is_removed(run: str, setting: str) -> None:
    at = choose(open_app("mine", run=run), run, "hn_mine")
    at.slider(key=f"window-{run}").set_range(0, 300).run()
    assert "Filters (0 active)" in texts(at)
    add_filter(at, run, setting)
    assert "Filters (1 active)" in texts(at)
    slider, step = FILTERS[setting].slider, FILTERS[setting].step
    shown = slider.low if setting.startswith("max_") and setting not in ("max_positive_similarity", "max_score") else 0.3
    at.slider(key=f"{setting}-{run}").set_value(shown).run()
    assert not at.exception, [each.value for each in at.exception]
    assert getattr(settings_of(run), setting) == pytest.approx(shown / slider.scale)
    current = resources.selection(resources.open_run(run), settings_of(run))
    steps = list(current.funnel)
    removed = current.funnel[steps[steps.index(step) - 1]] - current.funnel[step]
    assert removed > 0
    assert f"Removes {removed:,} candidate" in texts(at)
    press(at, f"remove-{setting}-{run}")
    assert getattr(settings_of(run), setting) is None
    add_filter(at, run, setting)
    assert getattr(settings_of(run), setting) == pytest.approx(shown / slider.scale), "added again, it has its last value"


def test_a_filter_without_its_signal_is_not_offered(run: str) -> None:
    at = open_app("mine", run=run)
    menu = at.menu_button(key=f"add-filter-{run}")
    assert FILTERS["reranker_margin"].label not in menu.options
    assert menu.help == "Not available: Reranker margin. This run has no reranker scores."
    assert FILTERS["max_fn_probability"].label in menu.options


def test_the_minimum_score_cannot_pass_the_maximum_score(run: str) -> None:
    at = add_filter(open_app("mine", run=run), run, "max_score")
    at.slider(key=f"max_score-{run}").set_value(0.05).run()
    add_filter(at, run, "min_score")
    assert (settings_of(run).min_score, settings_of(run).max_score) == (0.05, 0.05)
    assert at.slider(key=f"min_score-{run}").max == 0.05


def test_a_run_of_an_earlier_version_says_what_it_lacks(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Ranking.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Ranking, "open", classmethod(lambda cls, folder: replace(opened(cls, folder), signals={}, positive_signals={}, scale=None))
    )
    at = open_app("mine", run=run)
    assert "Balanced (recommended): this run has no signals. Mine again to compute them." in texts(at)
    assert len(at.radio(key=f"preset-{run}").options) == len(PRESETS) - 1
    assert not [each for each in at.metric if "False negatives" in each.label]
    at.radio(key=f"strategy-{run}").set_value("hardest").run()
    assert not at.exception
    assert "No limit: takes the highest similarities. This run has no signals." in texts(at)
    assert settings_of(run).targets == ()


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
        assert metric(at, "False negatives, est.") == str(rate)
    assert "An estimate. To measure the rate, run an audit on Quality." in texts(at)
    assert at.radio(key=f"preset-{run}").value is None
    at.radio(key=f"strategy-{run}").set_value("random").run()
    assert settings_of(run).max_fn_rate is None
    at.radio(key=f"strategy-{run}").set_value("hardest").run()
    assert settings_of(run).max_fn_rate == 0.05, "switching to and fro forgets nothing"


def test_each_preset_says_how_difficult_it_is_on_this_run(run: str) -> None:
    at = open_app("mine", run=run)
    presets = at.radio(key=f"preset-{run}")
    assert not [label for label in presets.options if re.search(r"\d\.\d{3}", label)], "what changes is no part of what the browser sends"
    for name, caption in zip(PRESETS, presets.proto.captions, strict=True):
        choose(at, run, name)
        difficulty, rate = metric(at, "Difficulty"), metric(at, "False negatives, est.")
        assert caption == f"Difficulty {difficulty} · false negatives est. {rate}"


def test_the_end_of_the_range_says_when_it_matters_little(run: str) -> None:
    at = choose(open_app("mine", run=run), run, "balanced")
    assert "so the end matters little" in texts(at)
    choose(at, run, "hn_mine")
    assert "Ranks 10-209, skips the top 10. These often contain unlabeled positives." in texts(at)
    assert "so the end matters little" not in texts(at)


def test_a_difficulty_limits_the_negatives_live_and_is_kept(run: str) -> None:
    at = choose(open_app("mine", run=run), run, "percpos")
    wanted = metric(at, "Difficulty")
    rate = highest(metric(at, "False negatives"))
    choose(at, run, "balanced")
    easier = metric(at, "Difficulty")
    at.radio(key=f"limit-{run}").set_value("hardness").run()
    assert at.selectbox(key=f"hardness-of-{run}").value == "percpos"
    assert (settings_of(run).hardness, settings_of(run).max_fn_rate) == ("percpos", None)
    assert 0 <= float(metric(at, "Difficulty")) - float(wanted) < 0.005 < abs(float(easier) - float(wanted))
    assert highest(metric(at, "False negatives")) < rate
    at.selectbox(key=f"hardness-of-{run}").set_value("number").run()
    assert 0 <= float(wanted) - at.slider(key=f"hardness-{run}").value < 0.011, "begins at the present difficulty"
    for number in (0.25, 0.3):
        at.slider(key=f"hardness-{run}").set_value(number).run()
        assert settings_of(run).hardness == number
        assert float(metric(at, "Difficulty")) == pytest.approx(number, abs=0.005)
    at.switch_page("pages/views/data.py").run()
    at.switch_page("pages/views/mine.py").run()
    assert at.slider(key=f"hardness-{run}").value == 0.3, "another screen in between loses nothing"
    at.slider(key=f"hardness-{run}").set_value(0.99).run()
    assert "A mean similarity of 0.9900 is out of reach: the hardest possible negatives have 0." in texts(at)
    at.radio(key=f"limit-{run}").set_value("nothing").run()
    assert settings_of(run).targets == ()
    assert "out of reach" not in texts(at)
    choose(at, run, "balanced")
    assert at.radio(key=f"limit-{run}").value == "max_fn_rate"
    assert settings_of(run).max_fn_rate == 0.01


@pytest.mark.parametrize("hardness", ["hn_mine", 1.25])
def test_the_difficulty_of_a_variant_is_shown_as_it_is(run: str, hardness: float | str) -> None:
    wanted = SelectionSettings(strategy="hardest", hardness=hardness)
    at = with_settings(run, wanted)
    assert settings_of(run) == wanted
    assert at.selectbox(key=f"hardness-of-{run}").value == ("number" if hardness == 1.25 else hardness)


def test_settings_beyond_the_sliders_are_kept(run: str) -> None:
    """A run of the command line may have any: opening the screen must not change it."""
    wanted = SelectionSettings(
        strategy="hardest", max_fn_rate=0.5, max_positive_ratio=1.75, margin=0.7, max_fn_probability=0.9, positive_score="min", seed=-3
    )
    at = with_settings(run, wanted)
    assert settings_of(run) == wanted
    assert at.button(key="discard").disabled, "nothing has changed"
    at.selectbox(key=f"positive_score-{run}").select("max").run()
    assert settings_of(run).positive_score == "max"
    at.slider(key=f"margin-{run}").set_value(0.1).run()
    assert settings_of(run) == SelectionSettings(**{**json.loads(as_json(wanted)), "positive_score": "max", "margin": 0.1})


def test_a_changed_selection_is_saved_as_a_variant_or_discarded(run: str, space: Workspace) -> None:
    at = open_app("mine", run=run)
    mined = settings_of(run)
    assert at.button(key="discard").disabled
    at.slider(key=f"window-{run}").set_range(5, 50).run()
    assert all_variants(space, run)[0].settings == mined, "what the run was mined with stays"
    changes = {each.label: each.delta for each in at.metric}
    assert changes["Difficulty"].startswith("+")
    press(at, "discard")
    assert settings_of(run) == mined
    assert {each.delta for each in at.metric} == {""}
    at.slider(key=f"window-{run}").set_range(5, 50).run()
    (name,) = [each for each in at.text_input if each.label == "Name"]
    assert name.value == "Random of ranks 5-49"
    name.set_value(all_variants(space, run)[0].name)
    press(at, "mine-save-variant")
    assert "already has a variant" in texts(at)
    next(each for each in at.text_input if each.label == "Name").set_value("Near the top")
    press(at, "mine-save-variant")
    saved = all_variants(space, run)[1]
    assert (saved.name, saved.settings) == ("Near the top", settings_of(run))
    assert at.button(key="discard").disabled
    (compare,) = [each for each in at.selectbox if each.label == "Compare with"]
    compare.set_value("mined").run()
    assert not at.exception
    assert next(each.delta for each in at.metric if each.label == "Difficulty") == changes["Difficulty"]


def test_samples_stay_while_the_settings_change_and_mark_what_is_new(run: str) -> None:
    opened = resources.open_run(run)
    before, after = (resources.selection(opened, with_preset(name, SelectionSettings())) for name in ("hn_mine", "percpos"))
    same, changed = samples(opened, before, before, 0), samples(opened, after, before, 0)
    assert [each.query for each in same] == [each.query for each in changed]
    assert {each.query for each in same}.isdisjoint({each.query for each in samples(opened, before, before, 1)})
    assert not any(passage.changed for each in same for passage in each.passages)
    assert any(passage.changed for each in changed for passage in each.passages)
    for each in changed:
        assert [passage.positive for passage in each.passages] == [True, False, False, False]
        corpus = opened.inputs.corpus
        query = corpus.queries.index(each.query)
        for passage in each.passages[1:]:
            rank = int(passage.kind.removeprefix("rank "))
            assert corpus.passages[opened.ranking.ids[query, rank]].split() == passage.text.split()
            assert passage.score == f"{opened.ranking.scores[query, rank]:.3f}"


def test_those_above_their_positive_are_one_click_away(run: str) -> None:
    at = choose(open_app("mine", run=run), run, "percpos")
    at.radio(key=f"limit-{run}").set_value("nothing").run()
    for name, _ in settings_of(run).filters:
        press(at, f"remove-{name.name}-{run}")
    share = metric(at, "Above positive")
    assert f"{share} of the negatives score above their positive." in texts(at)
    press(at, "show-above")
    assert at.session_state["inspect-show"] == "above"
    assert at.query_params["show"] == "above"


@pytest.mark.parametrize(
    "moved",
    [
        None,
        {},
        {"values": "10-20"},
        {"values": [10]},
        {"values": [20, 10]},
        {"values": [10, 10]},
        {"values": [-1, 10]},
        {"values": [0, 501]},
        {"values": [0, float("nan")]},
        {"values": [0, None]},
    ],
)
def test_what_is_no_range_is_ignored(moved: object) -> None:
    assert sent(moved, 2, 0, 500, 1) is None


def test_a_range_of_the_browser_is_taken() -> None:
    assert sent({"values": [10, 210], "turn": 3}, 2, 0, 500, 1) == (10, 210)
    assert sent({"values": [0.5], "turn": 3}, 1, 0.1, 20) == (0.5,)
