"""The reranker on the screens: chosen on Mine, its scores written by Export, with what they lack scored by a job."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.cli.flags import settings_from
from hnmine.cli.main import parse
from hnmine.data.verdicts import Verdict
from hnmine.models.flag_reranker import CrossEncoder
from hnmine.models.reranker import RerankerSettings
from hnmine.runs.jobs import mine_dataset
from hnmine.runs.mine import MineSettings, mine_to_file
from hnmine.runs.variants import save_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.shared import reranker
from tests.conftest import FakeEncoder
from tests.pages.conftest import command, open_app, texts
from tests.rerankers import FakeReranker, fake_score

ROOT = Path(__file__).parents[2]
ROWS = [{"query": f"question {number}", "pos": [f"answer {number}"], "id": number} for number in range(30)]
RERANKER = RerankerSettings(name_or_path="org/fake", depth=8)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeReranker:
    """What loading a reranker gives, whichever is asked for."""
    found = FakeReranker()
    monkeypatch.setattr(CrossEncoder, "load", lambda settings, **_: found)
    return found


@pytest.fixture
def dataset(space: Workspace, write_jsonl) -> tuple[Workspace, str]:  # type: ignore[no-untyped-def]
    """A server's workspace with a data set."""
    return space, space.add_dataset("rows.jsonl", write_jsonl(ROWS)).id


def mined_with(dataset: tuple[Workspace, str], fake: FakeReranker | None) -> str:
    """A run of the data set; its id."""
    settings = MineSettings(
        reranker=None if fake is None else RERANKER,
        selection=SelectionSettings(window_start=0, window_end=8, negative_number=3),
    )
    load = {"load_reranker": lambda tell: fake or FakeReranker()}
    return mine_dataset(*dataset, settings, 30, lambda tell: FakeEncoder(), lambda *step: None, lambda: False, **load)


def finished(subject: str) -> None:
    deadline = time.monotonic() + 300
    while resources.jobs().latest(subject).active and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.02)
    assert resources.jobs().latest(subject).state == "done", resources.jobs().latest(subject)  # type: ignore[union-attr]


def open_variant(space: Workspace, run_id: str, page: str, settings: SelectionSettings) -> AppTest:
    return open_app(page, run=run_id, variant=save_variant(space, run_id, "other", settings).id)


def has(at: AppTest, kind: str, key: str) -> bool:
    return any(each.key == key for each in getattr(at, kind))


def test_a_reranker_is_chosen_told_of_and_used(dataset, fake, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, dataset_id = dataset
    monkeypatch.setattr(resources, "encoder", lambda *_: FakeEncoder())
    monkeypatch.setattr(reranker, "KNOWN", (str(cross_encoder),))  # AppTest cannot type what is not in the list
    at = open_app("mine", dataset=dataset_id)
    assert at.selectbox(key=f"reranker-{dataset_id}").value == "none"
    assert "The reranker scores" not in texts(at)
    assert "Reranker margin" not in at.menu_button(key=f"add-filter-{dataset_id}").options
    at.selectbox(key=f"reranker-{dataset_id}").set_value(str(cross_encoder)).run()
    assert not at.exception
    pairs = 30 * min(210, 30) + 30
    assert f"The reranker scores up to {pairs:,} pairs: the first" in texts(at)
    assert "512 tokens per pair" in texts(at)
    at.menu_button(key=f"add-filter-{dataset_id}").set_value("reranker_margin").run()  # what will be there may filter already
    at.button(key="mine").click().run()
    finished(dataset_id)
    run = space.runs(dataset_id)[0]
    at = open_app("mine", run=run.id)
    assert run.settings.reranker == RerankerSettings(name_or_path=str(cross_encoder), depth=run.settings.selection.window_end)
    assert f"Reranker: {len(fake.asked):,} pairs scored by this run, 0 from the store." in texts(at)
    assert "Changed:" not in texts(at)
    assert run.settings.selection.reranker_margin == 0
    # Mined again without one, nothing may guard by it.
    again = open_variant(space, run.id, "mine", SelectionSettings(window_start=0, window_end=8, negative_number=3, reranker_margin=0.0))
    again.selectbox(key=f"reranker-{dataset_id}").set_value("none").run()
    assert not again.exception
    again.button(key="mine").click().run()
    finished(dataset_id)
    assert space.runs(dataset_id)[0].settings.reranker is None


NO_RERANKERS = {
    "/no/such/folder": "model folder '/no/such/folder' does not exist",
    "BAAI/bge-reranker-v2-minicpm-layerwise": "does not run with transformers 5",
}


def test_a_reranker_that_cannot_be_used_is_told_and_not_mined_with(dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranker, "KNOWN", tuple(NO_RERANKERS))
    at = open_app("mine", dataset=dataset[1])
    assert not at.button(key="mine").disabled
    for name, said in NO_RERANKERS.items():
        at.selectbox(key=f"reranker-{dataset[1]}").set_value(name).run()
        assert not at.exception
        assert "Cannot use this reranker" in texts(at)
        assert said in texts(at)
        assert at.button(key="mine").disabled


def test_without_a_reranker_the_export_offers_none(dataset) -> None:
    at = open_app("export", run=mined_with(dataset, None))
    at.toggle(key="export-scores").set_value(True).run()
    assert not at.exception
    assert not any("Scores of" in str(each.label) for each in at.radio)


def test_teacher_scores_are_written_once_all_are_there_and_the_command_writes_the_same(dataset, fake, tmp_path: Path) -> None:
    space, dataset_id = dataset
    run_id = mined_with(dataset, fake)
    at = open_app("export", run=run_id)
    at.toggle(key="export-scores").set_value(True).run()
    assert at.radio(key="export-source").value == "model"
    at.radio(key="export-source").set_value("reranker").run()
    assert not at.exception
    assert at.get("download_button"), "everything that was chosen lies within what was scored"
    assert not has(at, "button", "score")

    # Deeper than what was scored, and a promoted passage that was not.
    wide = SelectionSettings(window_start=6, window_end=20, negative_number=9)
    variant = save_variant(space, run_id, "wide", wide)
    opened = resources.open_run(run_id)
    far = opened.inputs.corpus.passages[int(opened.ranking.ids[0, 25])]
    resources.reviews().decide([(opened.inputs.corpus.queries[0], far)], "positive", "ann")
    at = open_app("export", run=run_id, variant=variant.id)
    at.toggle(key="export-scores").set_value(True).run()
    at.radio(key="export-source").set_value("reranker").run()
    assert not at.exception
    assert "have no reranker score yet" in texts(at)
    assert not at.get("download_button")
    before = len(fake.asked)
    at.button(key="score").click().run()
    finished(f"scores of {run_id}")
    at.run()
    assert not at.exception
    assert len(fake.asked) > before
    assert len(set(fake.asked)) == len(fake.asked), "what the run had scored was not scored again"
    assert at.get("download_button")

    settings = settings_from(parse(command(at)[3:]))
    assert settings.reranker == RERANKER
    assert (settings.with_scores, settings.score_source) == (True, "reranker")
    (written,) = resources.export(resources.open_run(run_id), settings)
    rows = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]
    for row in rows:
        assert row["pos_scores"] == [float(str(fake_score(row["query"], text))) for text in row["pos"]]
        assert row["neg_scores"] == [float(str(fake_score(row["query"], text))) for text in row["neg"]]
    assert sum(len(row["pos"]) for row in rows) == len(ROWS) + 1
    verdict = Verdict(query=opened.inputs.corpus.queries[0], passage=far, verdict="positive")
    mine_to_file(
        FakeEncoder,
        space.training_path(dataset_id),
        None,
        tmp_path / "same.jsonl",
        settings,
        load_reranker=FakeReranker,
        verdicts=[verdict],
    )
    assert (tmp_path / "same.jsonl").read_bytes() == written.path.read_bytes()


def test_other_weights_than_the_runs_are_refused(dataset, fake) -> None:
    run_id = mined_with(dataset, fake)
    fake.weights = "ee" * 32
    at = open_variant(dataset[0], run_id, "export", SelectionSettings(window_start=6, window_end=20, negative_number=9))
    at.toggle(key="export-scores").set_value(True).run()
    at.radio(key="export-source").set_value("reranker").run()
    assert not at.exception
    assert "the reranker's weights have changed since this run was mined" in texts(at)
    assert not has(at, "button", "score")


def test_a_reranker_is_loaded_by_its_name(dataset, fake, tmp_path: Path, write_jsonl) -> None:
    settings = MineSettings(
        selection=SelectionSettings(window_start=0, window_end=8, negative_number=3),
        reranker=RERANKER,
        with_scores=True,
        score_source="reranker",
    )
    summary, _ = mine_to_file(FakeEncoder, write_jsonl(ROWS), None, tmp_path / "out.jsonl", settings)
    assert summary.pairs["scored"] == len(fake.asked)
    row = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert row["neg_scores"] == [float(str(fake_score(row["query"], text))) for text in row["neg"]]
