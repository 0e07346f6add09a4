"""Runs through app.py: the list, names, deleting, and two side by side."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from hnmine import resources
from hnmine.core.errors import WorkspaceError
from hnmine.models.cards import ModelSettings
from hnmine.runs.jobs import mine_dataset
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.shared import state, wording
from tests.conftest import FakeEncoder, mine
from tests.pages.conftest import open_app, texts


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


def test_runs_are_listed_with_what_tells_them_apart(world: World) -> None:
    at = open_app("runs", run=world.first)
    found = at.dataframe[0].value
    assert sorted(found["data set"]) == ["one.jsonl", "one.jsonl", "two.jsonl"]
    assert set(found["window"]) == {"2-20", "0-20"}
    assert set(found["negatives"]) == {160}
    assert (found["size"] > 0).all()
    assert found["similarity"].notna().all()
    assert "Data sets without runs (1)" in "".join(each.label for each in at.expander)


def test_a_workspace_without_runs_says_where_to_go(fresh: Path) -> None:
    assert "No runs yet" in texts(open_app("runs"))


def test_a_run_is_named_and_the_context_bar_says_so(world: World) -> None:
    at = open_app("runs", run=world.first)
    at.text_input(key=f"run-name-{world.first}").set_value("the  first of them").run()
    assert not at.exception
    assert world.space.run_name(world.first) == "the first of them"
    assert "the first of them" in list(at.dataframe[0].value["name"])
    assert any("the first of them" in option for box in at.selectbox for option in box.options)
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


def test_another_run_is_opened(world: World) -> None:
    at = open_app("runs", run=world.first)
    assert at.button(key="open-run").disabled, "it is open"
    at.session_state["runs-chosen"] = world.other  # as a click on its row does
    at.run()
    at.button(key="open-run").click().run()
    assert not at.exception
    assert at.session_state["run"] == world.other
    assert at.title[0].value == "Inspect"


def test_deleting_asks_says_what_goes_and_leaves_the_rest(world: World) -> None:
    at = open_app("runs", run=world.first)
    at.button(key="delete-run").click().run()
    assert world.space.run_folder(world.first).exists(), "nothing goes before it is confirmed"
    said = texts(at)
    assert "Deletes" in said
    assert "all verdicts" in said
    assert "This run is open now" in said
    at.button(key="delete-confirmed").click().run()
    assert not at.exception
    assert not world.space.run_folder(world.first).exists()
    assert {run.id for run in world.space.runs()} == {world.second, world.other}
    assert world.space.training_path(world.ids["one"]).exists()
    assert at.session_state["run"] == world.second, "another run of the same data is opened instead"
    assert len(at.dataframe[0].value) == 2


def test_a_data_set_without_runs_can_be_deleted_and_others_cannot(world: World) -> None:
    at = open_app("runs", run=world.first)
    assert not [button for button in at.button if button.key == f"delete-{world.ids['one']}"]
    at.button(key=f"delete-{world.ids['three']}").click().run()
    assert world.space.training_path(world.ids["three"]).exists()
    at.button(key="delete-dataset-confirmed").click().run()
    assert not at.exception
    assert {dataset.id for dataset in world.space.datasets()} == {world.ids["one"], world.ids["two"]}


def test_two_runs_of_one_data_set_side_by_side(world: World) -> None:
    at = open_app("runs", run=world.first)
    at.selectbox(key=f"compare-with-{world.first}").select(world.second).run()
    assert not at.exception
    settings = at.dataframe[1].value.set_index("setting")
    assert dict(settings["A"]) == {"seed": "42", "rank window: start": "2"}
    assert dict(settings["B"]) == {"seed": "7", "rank window: start": "0"}
    values = {metric.label: metric.value for metric in at.metric}
    assert values["Queries in both"] == "40"
    first, second = (resources.selection(run, run.run.settings.selection) for run in map(resources.open_run, (world.first, world.second)))
    shared = [len(set(one) & set(two)) / 4 for one, two in zip(first.negatives.tolist(), second.negatives.tolist(), strict=True)]
    assert values["Shared negatives"] == f"{100 * sum(shared) / 40:.0f}%"
    changed = at.dataframe[2].value
    assert len(changed) == 40
    assert [int(text.split()[0]) for text in changed["shared"]] == sorted(round(4 * share) for share in shared)


def test_runs_of_other_data_are_compared_where_they_overlap(world: World) -> None:
    at = open_app("runs", run=world.first)
    at.selectbox(key=f"compare-with-{world.first}").select(world.other).run()
    assert not at.exception
    assert {metric.label: metric.value for metric in at.metric}["Queries in both"] == "10"
    assert "30 queries only in A, 30 queries only in B" in texts(at)
    assert "data set" in set(at.dataframe[1].value["setting"])


def test_a_damaged_run_is_said_where_it_is_compared(world: World) -> None:
    (world.space.run_folder(world.other) / "ids.npy").write_bytes(b"no array")
    at = open_app("runs", run=world.first)
    at.selectbox(key=f"compare-with-{world.first}").select(world.other).run()
    assert not at.exception
    assert "Cannot compare" in "".join(each.value for each in at.error)
    assert "cannot be opened" in texts(at)


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
    resources.jobs().submit(dataset_id, lambda on_progress, should_stop: str(go.wait(20)))
    try:
        at = open_app("runs")
        at.button(key=f"delete-{dataset_id}").click().run()
        at.button(key="delete-dataset-confirmed").click().run()
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
