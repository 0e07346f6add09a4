"""Runs through app.py: a row for each variant, names and notes, deleting, and two variants side by side."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.errors import WorkspaceError
from hnmine.models.cards import ModelSettings
from hnmine.runs.dataset_notes import name_dataset
from hnmine.runs.jobs import mine_dataset
from hnmine.runs.mine import MineSettings
from hnmine.runs.selection_files import Exported, record_export
from hnmine.runs.variants import MINED, all_variants, save_note, save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.runs import figures
from pages.shared import state, wording
from tests.conftest import FakeEncoder, mine
from tests.pages.conftest import open_app, press, texts


class World:
    """A server's workspace with two runs of one data set, one of another, and a data set without a run."""

    def __init__(self, space: Workspace, ids: dict[str, str], runs: list[str]) -> None:
        self.space, self.ids = space, ids
        self.first, self.second, self.other = runs

    def mine(self, dataset: str) -> str:
        return mine_small(self.space, self.ids[dataset])


def mine_small(space: Workspace, dataset: str, **settings: int) -> str:
    selection = SelectionSettings(**{"window_start": 2, "window_end": 20, "negative_number": 4} | settings)
    return mine(space, dataset, MineSettings(selection=selection), 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], list[str]]:
    """That workspace: its folder, the ids of its data sets and of its runs."""
    folder = tmp_path_factory.mktemp("runs")
    space, ids = Workspace(folder / "workspace"), {}
    for name, first in (("one", 0), ("two", 30), ("three", 60)):
        file = folder / f"{name}.jsonl"
        rows = [{"query": f"question {number}", "pos": [f"answer {number}"]} for number in range(first, first + 40)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ids[name] = space.add_dataset(f"{name}.jsonl", file).id
    return (
        space.root,
        ids,
        [mine_small(space, ids["one"]), mine_small(space, ids["one"], seed=7, window_start=0), mine_small(space, ids["two"])],
    )


@pytest.fixture
def world(made: tuple[Path, dict[str, str], list[str]], fresh: Path) -> World:
    """A copy of it, as a new server finds it."""
    root, ids, runs = made
    shutil.copytree(root, fresh)
    return World(Workspace(fresh), dict(ids), runs)


def ticked(world: World, *keys: tuple[str, str]) -> AppTest:
    """The screen with some rows selected, as clicks on them do."""
    return open_app("runs", state={"runs-chosen": list(keys)}, run=world.first)


def test_each_variant_has_a_row_with_its_own_figures(world: World) -> None:
    settings = msgspec.structs.replace(world.space.run(world.first).settings.selection, negative_number=2)
    save_variant(world.space, world.first, "two only", settings)
    found = open_app("runs", run=world.first).dataframe[0].value
    assert list(found["data set"]) == ["two.jsonl", *["one.jsonl"] * 3], "data sets by their newest run"
    row = found[found["variant"] == "two only"].iloc[0]
    assert row["negatives"] == 80
    assert sum(row["similarities"]) == 80
    assert set(found["negatives"]) == {80, 160}
    selection = resources.selection(resources.open_run(world.first), settings)
    assert row["difficulty"] == pytest.approx(float(np.nanmean(selection.scores)), abs=1e-5)
    mined = found[(found["variant"] != "two only")]
    assert (mined["size"] > 0).all()
    assert np.isnan(row["size"]), "the disk space is the run's"


def test_figures_are_kept_and_follow_the_verdicts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    open_app("runs", run=world.first)
    st.cache_resource.clear()  # the server starts again
    computed: list[str] = []
    compute = figures._computed
    monkeypatch.setattr(figures, "_computed", lambda *args: computed.append("now") or compute(*args))
    assert len(open_app("runs", run=world.first).dataframe[0].value) == 3
    assert not computed, "stored beside the variants"
    corpus = resources.open_run(world.first).inputs.corpus
    resources.reviews().decide([(corpus.queries[0], corpus.passages[1])], "relevant", "Ann")
    found = open_app("runs", run=world.first).dataframe[0].value
    assert sorted(found["verdicts"]) == [0, 1, 1], "both runs of this data"
    assert len(computed) == 2, "the verdict is on a pair of two of the runs"


def test_figures_that_cannot_be_read_are_computed_again(world: World) -> None:
    open_app("runs", run=world.first)
    for path in world.space.run_folder(world.first).glob("figures/*"):
        path.write_text("no json")
    st.cache_resource.clear()
    assert set(open_app("runs", run=world.first).dataframe[0].value["negatives"]) == {160}


def test_figures_that_cannot_be_stored_do_not_keep_the_screen_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "keep_figures", lambda *args: None)
    assert open_app("runs", run=world.first).dataframe[0].value["negatives"].isna().all()


def test_a_data_set_has_the_name_that_a_person_gave_it(world: World) -> None:
    name_dataset(world.space, world.ids["one"], "help pages")
    assert set(open_app("runs", run=world.first).dataframe[0].value["data set"]) == {"help pages", "two.jsonl"}


def test_a_download_is_seen_at_its_variant(world: World) -> None:
    settings = world.space.run(world.first).settings.selection
    export = Exported(selection=settings, variant="mined", file_name="a.jsonl", output_format="flagembedding", rows=40, bytes=1, sha256="0")
    record_export(world.space, world.first, export)
    found = open_app("runs", run=world.first).dataframe[0].value
    assert found["exported (UTC)"].notna().sum() == 1


def test_a_workspace_without_runs_says_where_to_go(fresh: Path) -> None:
    assert "No runs yet" in texts(open_app("runs"))


def test_a_run_and_a_variant_are_named_and_have_a_note(world: World) -> None:
    saved = save_variant(world.space, world.first, "a", SelectionSettings(window_start=1, window_end=20))
    at = ticked(world, (world.first, saved.id))
    at.text_input(key=f"run-name-{world.first}").set_value("the  first of them").run()
    at.text_input(key=f"variant-name-{world.first}-{saved.id}").set_value("wide").run()
    at.text_input(key=f"note-{world.first}-{saved.id}").set_value("for the\nsecond training").run()
    assert not at.exception
    row = at.dataframe[0].value.set_index("variant").loc["wide"]
    assert (row["run"], row["note"]) == ("the first of them", "for the second training")
    assert any("the first of them / wide" in option for box in at.selectbox for option in box.options), "the context bar says so"
    at.text_input(key=f"variant-name-{world.first}-{saved.id}").set_value("  ").run()
    assert "a variant needs a name" in texts(at)
    assert at.text_input(key=f"variant-name-{world.first}-{saved.id}").value == "wide"
    assert not at.text_input(key=f"run-name-{world.first}").disabled
    assert ticked(world, (world.first, MINED)).text_input(key=f"variant-name-{world.first}-{MINED}").disabled
    at.text_input(key=f"run-name-{world.first}").set_value("").run()
    assert world.space.run_name(world.first) == ""


def test_no_two_runs_are_called_the_same(world: World) -> None:
    runs = {run.id: run for run in world.space.runs()}
    for run_id in (world.first, world.second):
        world.space.name_run(run_id, "guards at 0.95")
    labels = state.run_labels(runs.values())
    assert len(set(labels.values())) == len(runs)
    assert all(labels[run_id].startswith("guards at 0.95 · ") for run_id in (world.first, world.second))
    world.space.name_run(world.second, "no guards")
    labels = state.run_labels(runs.values())
    assert (labels[world.first], labels[world.second]) == ("guards at 0.95", "no guards"), "a name alone, when it is the only one"


def test_settings_that_differ_are_in_the_words_of_the_screens() -> None:
    assert wording.setting("selection.max_positive_ratio") == "PercPos: ratio to the positive"
    assert wording.setting("versions.torch") == "version: torch"
    assert wording.setting("something_new") == "something new"
    assert wording.value("selection.strategy", "hardest") == "hardest first"
    assert (wording.value("dev_share", 0.05), wording.value("repair_output", []), wording.value("use_gpu", False)) == ("5%", "–", "no")


def test_every_setting_of_a_selection_has_words() -> None:
    assert {f"selection.{name}" for name in SelectionSettings.__struct_fields__} <= wording._SETTINGS.keys()


def test_another_variant_is_opened(world: World) -> None:
    saved = save_variant(world.space, world.other, "a", SelectionSettings(window_start=1, window_end=20))
    at = press(ticked(world, (world.other, saved.id)), "open-run")
    assert (at.session_state["run"], at.session_state["variant"]) == (world.other, saved.id)
    assert at.text_input(key="inspect-search")


def test_deleting_a_run_asks_says_what_goes_and_leaves_the_rest(world: World) -> None:
    at = press(open_app("runs", run=world.first), "delete-run")
    assert world.space.run_folder(world.first).exists(), "nothing goes before it is confirmed"
    said = texts(at)
    assert "Deletes" in said
    assert "all verdicts" in said
    assert "You are viewing this run" in said
    press(at, "Cancel")
    assert world.space.run_folder(world.first).exists()
    press(press(at, "delete-run"), "delete-confirmed")
    assert not world.space.run_folder(world.first).exists()
    assert {run.id for run in world.space.runs()} == {world.second, world.other}
    assert world.space.training_path(world.ids["one"]).exists()
    assert at.session_state["run"] == world.second, "another run of the same data is opened instead"
    assert len(at.dataframe[0].value) == 2


def test_deleting_a_variant_leaves_its_run(world: World) -> None:
    saved = save_variant(world.space, world.first, "a", SelectionSettings(window_start=1, window_end=20))
    save_note(world.space, world.first, saved.id, "gone with it")
    at = press(press(ticked(world, (world.first, saved.id)), "delete-variant"), "delete-confirmed")
    assert [each.id for each in all_variants(world.space, world.first)] == [MINED]
    assert not list(world.space.run_folder(world.first).glob(f"*/{saved.id}*"))
    assert not [each for each in ticked(world, (world.first, MINED)).button if each.key == "delete-variant"], "the mined one stays"
    assert len(at.dataframe[0].value) == 3


def test_a_data_set_is_deleted_with_its_runs(world: World) -> None:
    at = press(open_app("runs", run=world.first), "delete-dataset")
    assert "2 runs with all variants" in texts(at)
    press(at, "delete-confirmed")
    assert {dataset.id for dataset in world.space.datasets()} == {world.ids["two"], world.ids["three"]}
    assert [run.id for run in world.space.runs()] == [world.other]
    assert at.session_state["dataset"] is None


def test_a_data_set_without_runs_can_be_deleted(world: World) -> None:
    at = press(open_app("runs", run=world.first), f"delete-{world.ids['three']}")
    assert world.space.training_path(world.ids["three"]).exists()
    press(at, "delete-confirmed")
    assert {dataset.id for dataset in world.space.datasets()} == {world.ids["one"], world.ids["two"]}


def sides(world: World, *keys: tuple[str, SelectionSettings | None]) -> list[np.ndarray]:
    """The negatives of two selections, query by query."""
    opened = [(resources.open_run(run_id), settings) for run_id, settings in keys]
    return [resources.selection(run, settings or run.run.settings.selection).negatives for run, settings in opened]


def test_two_variants_of_one_run_side_by_side(world: World) -> None:
    settings = msgspec.structs.replace(world.space.run(world.first).settings.selection, window_start=0, seed=7)
    saved = save_variant(world.space, world.first, "other", settings)
    at = ticked(world, (world.first, MINED), (world.first, saved.id))
    different, table, changed, *lists = (each.value for each in at.dataframe[1:])
    assert dict(different.set_index("setting")["B"]) == {"seed": "7", "rank range: start": "0"}
    first, second = sides(world, (world.first, None), (world.first, settings))
    shared = [len(set(one) & set(two)) for one, two in zip(first.tolist(), second.tolist(), strict=True)]
    assert {each.label: each.value for each in at.metric}["Shared negatives"] == f"{100 * sum(shared) / 160:.0f}%"
    assert [int(text.split()[0]) for text in changed["shared"]] == sorted(shared)
    difficulty = table.set_index("figure").loc["Difficulty"]
    assert float(difficulty["B - A"]) == pytest.approx(float(difficulty["B"]) - float(difficulty["A"]), abs=0.0011)
    corpus = resources.open_run(world.first).inputs.corpus
    query = corpus.queries.index(changed["query"][0])
    for held, other, shown, only in ((first, second, lists[0], "only A"), (second, first, lists[1], "only B")):
        assert list(shown["passage"]) == [corpus.passages[each] for each in held[query]]
        assert [each == [only] for each in shown["in"]] == [each not in other[query] for each in held[query]]


def test_a_query_of_the_comparison_is_opened_in_its_variant(world: World) -> None:
    settings = msgspec.structs.replace(world.space.run(world.first).settings.selection, seed=7)
    saved = save_variant(world.space, world.first, "other", settings)
    at = ticked(world, (world.first, MINED), (world.first, saved.id))
    changed = at.dataframe[3].value["query"][0]
    press(at, "compare-inspect-B")
    assert at.text_input(key="inspect-search")
    assert at.session_state["variant"] == saved.id
    corpus = resources.open_run(world.first).inputs.corpus
    assert corpus.queries[state.query_of(corpus, at.session_state["query"])] == changed


def test_runs_of_other_data_are_compared_where_they_overlap(world: World) -> None:
    at = ticked(world, (world.first, MINED), (world.other, MINED))
    assert {each.label: each.value for each in at.metric}["Queries with the same negatives"].endswith("of 10")
    assert "30 queries only in A. 30 queries only in B." in texts(at)
    assert "data set" in set(at.dataframe[1].value["setting"])


def test_three_rows_are_not_compared(world: World) -> None:
    assert "3 are selected" in texts(ticked(world, (world.first, MINED), (world.second, MINED), (world.other, MINED)))


def test_a_damaged_run_is_said_in_the_list_and_where_it_is_compared(world: World) -> None:
    (world.space.run_folder(world.other) / "ids.npy").write_bytes(b"no array")
    at = ticked(world, (world.first, MINED), (world.other, MINED))
    assert "Cannot compare" in "".join(each.value for each in at.error)
    assert "cannot be opened" in texts(at)
    assert "1 run or data set cannot be read" in texts(at)
    assert set(at.dataframe[0].value["negatives"].dropna()) == {160}, "the others have their figures"


PAGES = ("data", "mine", "inspect", "review", "runs", "export")


@pytest.mark.parametrize("page", PAGES)
def test_a_run_that_somebody_else_deleted_is_let_go(world: World, page: str) -> None:
    run_id = world.mine("one")
    at = open_app(page, run=run_id)
    world.space.delete_run(run_id)
    at.run()
    assert not at.exception
    assert "has been deleted" in texts(at)
    at.run()
    assert not at.exception
    assert "has been deleted" not in texts(at), "said once"


@pytest.mark.parametrize("page", PAGES)
def test_a_data_set_that_somebody_else_deleted_is_let_go(world: World, page: str) -> None:
    at = open_app(page, dataset=world.ids["three"])
    world.space.remove_dataset(world.ids["three"])
    at.run()
    assert not at.exception
    assert "The open data set has been deleted" in texts(at)
    assert at.session_state.dataset is None


def test_a_data_set_that_is_being_mined_is_not_deleted(world: World) -> None:
    dataset_id, go = world.ids["three"], threading.Event()
    resources.jobs().submit(dataset_id, lambda on_progress, should_stop: str(go.wait(120)))
    try:
        at = press(press(open_app("runs"), f"delete-{dataset_id}"), "delete-confirmed")
        assert "being mined" in texts(at)
        assert world.space.dataset(dataset_id)
    finally:
        go.set()


def test_no_run_is_stored_without_its_data_set(world: World) -> None:
    dataset_id = world.ids["three"]

    def load(tell: object) -> FakeEncoder:
        world.space.remove_dataset(dataset_id)
        return FakeEncoder()

    settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=0, window_end=20))
    with pytest.raises(WorkspaceError, match="no data set"):
        mine_dataset(world.space, dataset_id, settings, 20, load, lambda done, total, note: None, lambda: False)
    assert not world.space.runs(dataset_id)
    world.space.remove_dataset(dataset_id)  # twice is no failure


@pytest.mark.parametrize("page", ["mine", "inspect", "review", "runs", "export"])
def test_settings_that_cannot_be_read_cost_no_run(world: World, page: str) -> None:
    (world.space.run_folder(world.first) / "selection.json").write_text('{"window_start": 1, "of a later version": 2}')
    at = open_app(page, run=world.first)
    assert not at.exception
    assert not at.error


def test_names_of_columns_are_shown_as_they_are(world: World, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        'query,pos,"![t](https://example.org/t.png) :red[**x**]"\n' + "".join(f"question {n},answer {n},z\n" for n in range(30))
    )
    world.ids["table"] = world.space.add_dataset("table.csv", table).id
    at = open_app("mine", run=world.mine("table"))
    said = [str(each.value) for kind in (at.caption, at.markdown) for each in kind]
    assert not [each for each in said if "![t]" in each or ":red[" in each]
