"""Every screen, through app.py as a server runs it."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.runs import manifest
from hnmine.runs.find_knn_neg import find_knn_neg
from hnmine.runs.jobs import Job, JobRunner
from hnmine.runs.mine import MineSettings
from hnmine.runs.opened import verdict_file
from hnmine.runs.reproduce import reproduce
from hnmine.runs.workspace import Workspace
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings
from tests.conftest import EXAMPLE, FakeEncoder, add_example, mine
from tests.pages.conftest import command, open_app, texts

ROOT = Path(__file__).parents[2]


def test_the_first_screen_leads_to_the_example(fresh: Path) -> None:
    at = open_app()
    assert "Mine hard negatives for your embedding model" in texts(at)
    at.button(key="open-example").click().run()
    assert not at.exception
    assert "124 rows · 121 queries · 135 positives · 38 old negatives · 397 passages" in texts(at)
    assert not at.button(key="mine-now").disabled
    assert "prompt, id" in texts(at)
    assert at.dataframe[0].value["prompt"][0].startswith("Represent"), "text without the quotes of JSON"
    # The planted duplicates that are known before mining (examples/README.md, 2, 3 and 6).
    assert "3 queries in several rows" in texts(at)
    assert "3 duplicate passages: Equal up to case" in texts(at)
    assert "2 queries that are also passages" in texts(at)


def test_a_large_file_is_picked_from_the_workspace(fresh: Path) -> None:
    space = Workspace(fresh)
    (space.root / "files" / "big.jsonl").write_bytes((EXAMPLE / "train.jsonl").read_bytes())
    (space.root / "files" / "more.jsonl").write_bytes((EXAMPLE / "pool.jsonl").read_bytes())
    at = open_app()
    at.selectbox(key="pick-training").select("big.jsonl").run()
    at.selectbox(key="pick-pool").select("more.jsonl").run()
    at.button(key="open-files").click().run()
    assert not at.exception
    assert "397 passages" in texts(at)
    assert "more.jsonl" in texts(at)


@pytest.mark.parametrize("page", ["mine", "inspect", "export"])
def test_a_screen_without_data_says_where_to_go(fresh: Path, page: str) -> None:
    at = open_app(page)
    assert "No data is open" in texts(at) or "No run is open" in texts(at)


def problem_table(at: AppTest) -> pd.DataFrame:
    (found,) = [each.value for each in at.dataframe if "remedy" in each.value.columns]
    return found


def test_bad_rows_wait_for_a_decision_and_nothing_is_changed_before(fresh: Path, tmp_path: Path) -> None:
    lines = ['{"query": "a question", "pos": "one string"}', '{"query": "", "pos": ["x"]}', "not json at all"]
    lines += [json.dumps({"query": f"question {i}", "pos": [f"answer {i}"]}) for i in range(5)]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join(lines) + "\n", "utf-8")
    dataset = Workspace(fresh).add_dataset("bad.jsonl", bad)
    at = open_app(dataset=dataset.id)
    assert at.button(key="mine-now").disabled
    found = problem_table(at)
    assert list(found["line"]) == [1, 2, 3]
    assert found["remedy"].str.len().min() > 0
    at.switch_page("pages/views/mine.py").run()
    assert "has problems to resolve" in texts(at)

    at.switch_page("pages/views/data.py").run()
    at.checkbox(key=f"repair-string-instead-of-list-{dataset.id}").check().run()
    assert at.button(key="mine-now").disabled  # two rows cannot be mended
    at.checkbox(key=f"skip-{dataset.id}").check().run()
    assert not at.exception
    assert not at.button(key="mine-now").disabled
    assert "6 rows · " in texts(at)
    assert list(problem_table(at)["status"]) == ["repaired", "skipped", "skipped"]
    assert not open_app(dataset=dataset.id).button(key="mine-now").disabled  # the decision outlives the session
    assert bad.read_text("utf-8").startswith('{"query": "a question", "pos": "one string"}')


def test_a_file_that_cannot_be_read_is_refused_and_not_kept(fresh: Path) -> None:
    """Where its beginning tells, before it is opened; where only the rest does, on opening."""
    space = Workspace(fresh)
    rows = "".join(json.dumps({"query": f"{n} {hash(n * 7)}", "pos": [str(n**7)]}) + "\n" for n in range(20_000))
    (space.root / "files" / "cut.jsonl.gz").write_bytes(gzip.compress(rows.encode())[:-50])
    (space.root / "files" / "table.parquet").write_bytes(b"PAR1 and nothing else")
    at = open_app()
    at.selectbox(key="pick-training").select("table.parquet").run()
    assert "table.parquet: the Parquet file is damaged" in texts(at)
    assert not [button for button in at.button if button.key == "open-files"]
    at.selectbox(key="pick-training").select("cut.jsonl.gz").run()
    at.button(key="open-files").click().run()
    assert not at.exception
    assert "cut.jsonl.gz: the gzip file is damaged" in texts(at)
    assert "datasets" not in texts(at)
    assert space.datasets() == []


def test_a_run_of_repaired_rows_opens_with_its_decisions(fresh: Path, tmp_path: Path) -> None:
    """Whichever way the data set is opened: its result must not hide behind a decision that was made."""
    lines = [json.dumps({"query": f"question {i}", "pos": f"answer {i}"}) for i in range(6)]
    file = tmp_path / "strings.jsonl"
    file.write_text("\n".join(lines), "utf-8")
    space = Workspace(fresh)
    dataset = space.add_dataset("strings.jsonl", file)
    settings = MineSettings(model=ModelSettings(), repair=("string-instead-of-list",), selection=SelectionSettings(window_start=0))
    mine(space, dataset.id, settings)
    at = open_app("mine", dataset=dataset.id)
    assert "30 negatives in 6 rows" in texts(at)


def test_corpus_text_is_shown_literally(fresh: Path, tmp_path: Path) -> None:
    """Markdown, HTML and icon syntax of the data never reach an element that renders them."""
    nasty = "<b>bold</b> **stars** :material/home: $x$ [link](javascript:alert(1))"
    file = tmp_path / "nasty.jsonl"
    file.write_text(json.dumps({"query": nasty, "pos": [nasty + " positive"], nasty: 1}) + "\n", "utf-8")
    at = open_app(dataset=Workspace(fresh).add_dataset(nasty, file).id)
    rendering = (at.markdown, at.caption, at.title, at.subheader, at.header, at.warning, at.error, at.info, at.success)
    assert all("javascript" not in str(element.value) for kind in rendering for element in kind)
    assert any(nasty in str(element.value) for element in at.text)


def test_mining_runs_in_the_background_and_its_result_opens(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "encoder", lambda settings, on_progress=None: FakeEncoder())
    at = open_app()
    at.button(key="open-example").click().run()
    at.switch_page("pages/views/mine.py").run()
    at.button(key="mine").click().run()
    assert not at.exception
    job = resources.jobs().latest(at.session_state["dataset"])
    assert job is not None
    deadline = time.monotonic() + 120
    while resources.jobs().get(job.id).active:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert resources.jobs().get(job.id).error is None
    at = open_app("mine", run=str(resources.jobs().get(job.id).result))
    assert "1,860 negatives in 124 rows" in texts(at)
    assert at.radio(key=f"preset-{resources.jobs().get(job.id).result}").value == "balanced"


def test_a_slider_selects_again_without_encoding_or_searching(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("nothing may be encoded or searched for a slider")

    monkeypatch.setattr("hnmine.resources.encoder", never)
    monkeypatch.setattr("hnmine.retrieval.ranking.top_k", never)
    at = open_app("mine", run=run)
    before = {metric.label: metric.value for metric in at.metric}
    at.slider(key=f"window-{run}").set_range(0, 20).run()
    assert not at.exception
    after = {metric.label: metric.value for metric in at.metric}
    assert float(after["Difficulty"]) > float(before["Difficulty"])
    assert "Ranks 0-19." in texts(at)
    at.number_input(key=f"number-{run}").set_value(3).run()
    assert not at.exception
    assert "372 negatives in 124 rows" in texts(at)


def test_export_shows_the_command_that_writes_the_same_bytes(run: str, tmp_path: Path) -> None:
    at = open_app("mine", run=run)
    at.slider(key=f"window-{run}").set_range(5, 60).run()
    at.switch_page("pages/views/export.py").run()
    assert not at.exception
    shown = command(at)
    assert shown[shown.index("--range_for_sampling") + 1] == "5-60"
    opened = resources.open_run(run)
    (written,) = resources.export(opened, msgspec.structs.replace(opened.run.settings, selection=at.session_state[f"draft-{run}"].settings))
    out = tmp_path / "cli.jsonl"
    find_knn_neg(FakeEncoder(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", out, "5-60", 15)
    assert written.path.read_bytes() == out.read_bytes()
    assert written.bytes == out.stat().st_size


def test_a_balanced_reviewed_export_is_what_the_command_line_writes(run: str, tmp_path: Path) -> None:
    """The app ranked deeper than the command line does, and people judged there too: both estimate, and choose, the same."""
    opened, store = resources.open_run(run), resources.reviews()
    ids = opened.ranking.ids
    assert opened.ranking.depth > 300
    pairs = [(opened.inputs.corpus.queries[query], opened.inputs.corpus.passages[ids[query, 4 + 14 * query]]) for query in range(28)]
    try:
        for number, choice in enumerate(("relevant", "positive", "negative", "negative")):
            store.decide(pairs[number::4], choice, "Ann")
        opened = resources.open_run(run)
        chosen = with_preset("balanced", SelectionSettings(negative_number=10))
        (written,) = resources.export(opened, msgspec.structs.replace(opened.run.settings, selection=chosen))
        out = tmp_path / "out.jsonl"
        given = {"negative_number": 10, "preset": "balanced", "verdicts": verdict_file(resources.workspace(), opened)}
        find_knn_neg(FakeEncoder(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", out, **given)
    finally:
        store.decide(pairs, None, "Ann")
    assert opened.fn_model.verdicts > 0
    assert written.path.read_bytes() == out.read_bytes()


def test_an_address_that_names_nothing_is_explained(fresh: Path) -> None:
    at = open_app(run="20200101-000000-abcd")
    assert "there is no run" in texts(at)
    at = open_app(run="../../etc")
    assert "not an id of the workspace" in texts(at)


def test_a_run_that_is_damaged_while_it_is_open_breaks_no_screen(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_app("mine", run=run)
    monkeypatch.setattr(Workspace, "runs", lambda self, dataset_id=None: [])
    at.run()
    assert not at.exception
    assert "cannot be opened" in texts(at)


def test_exports_do_not_pile_up(run: str) -> None:
    opened = resources.open_run(run)

    def export(seed: int, output_format: str = "flagembedding") -> list[Path]:
        settings = MineSettings(selection=SelectionSettings(seed=seed, negative_number=1), output_format=output_format, dev_share=0.2)
        return [each.path for each in resources.export(opened, settings)]

    for seed in range(8):
        export(seed, ("flagembedding", "csv", "beir", "datasets")[seed % 4])
        names = {path.name.partition(".")[0] for path in resources.workspace().run_folder(run).glob("export-*")}
        assert len(names) <= resources.EXPORTS_KEPT
    first = export(0)
    assert [path.exists() for path in first] == [True, True], "written anew after it was cleared away"


def test_a_new_checkpoint_in_the_same_folder_is_another_model(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual loop is mine, train, mine again: a loaded model must not outlive its files."""
    loads: list[ModelSettings] = []

    def load(settings: ModelSettings, *, on_progress: object = None) -> object:
        loads.append(settings)
        return object()

    monkeypatch.setattr(FlagEncoder, "load", load)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"one")
    settings = ModelSettings(name_or_path=str(folder))
    first = resources.encoder(settings)
    assert resources.encoder(settings) is first
    (folder / "model.safetensors").write_bytes(b"another")
    assert resources.encoder(settings) is not first
    assert len(loads) == 2


def test_what_is_told_of_verdicts_is_of_this_moment(run: str) -> None:
    """The same pairs may have been decided again by somebody else, which changes no negative but what is said of it."""
    opened = resources.open_run(run)
    settings = resources.workspace().run(run).settings.selection
    corpus, selection = opened.inputs.corpus, resources.selection(opened, settings)
    pair = (corpus.queries[0], corpus.passages[selection.negatives[0, 0]])
    store = resources.reviews()
    try:
        store.decide([pair], "relevant", "Ann")
        dropped = resources.open_run(run)
        assert selection.negatives[0, 0] not in resources.selection(dropped, settings).negatives[0]
        store.decide([pair], "relevant", "Bob")
        store.decide([("a question of other data", "a text")], "negative", "Bob")
        again = resources.open_run(run)
        assert again.key == dropped.key
        assert [each.who for each in again.verdict_pairs.applied] == ["Bob"]
        assert resources.selection(again, settings).verdict_pairs.elsewhere == 1
        assert "Bob" in verdict_file(resources.workspace(), again).read_text("utf-8")
    finally:
        store.decide([pair, ("a question of other data", "a text")], None, "Bob")


def test_a_reviewed_export_is_made_again_from_its_manifest(fresh: Path, tmp_path: Path, example_vectors: Path) -> None:
    """As the Export screen writes both, with the real model; a split, scores and every kind of verdict in it."""
    shutil.copytree(example_vectors, fresh / "vectors")
    space = Workspace(fresh)
    run = mine(space, add_example(space), encoder=FlagEncoder.load(ModelSettings()))
    opened, store = resources.open_run(run), resources.reviews()
    selection = resources.selection(opened, resources.workspace().run(run).settings.selection)
    pairs = [(opened.inputs.corpus.queries[query], opened.inputs.corpus.passages[selection.negatives[query, 1]]) for query in range(9)]
    try:
        for number, choice in enumerate(("relevant", "positive", "negative")):
            store.decide(pairs[number::3], choice, "Ann")
        opened = resources.open_run(run)
        settings = msgspec.structs.replace(
            opened.run.settings, selection=SelectionSettings(seed=7, max_positive_ratio=0.9), with_scores=True, dev_share=0.2
        )
        written = resources.export(opened, settings)
        record = manifest.of_export(
            opened.run.manifest,
            settings=settings,
            names={"input_file": "bikeshare/train.jsonl", "candidate_pool": "bikeshare/pool.jsonl"},
            verdicts=opened.verdict_pairs.applied,
            summary={},
            fn_model=None,
            outputs=manifest.fingerprints(written),
        )
        (tmp_path / "manifest.json").write_bytes(manifest.encoded(record))
        summary = reproduce(tmp_path / "manifest.json", tmp_path / "again.jsonl", store=resources.workspace().root / "vectors")
    finally:
        store.decide(pairs, None, "Ann")
    assert summary.verdicts == {"negative": 3, "relevant": 3, "positive": 3, "junk": 0, "elsewhere": 0}
    assert (tmp_path / "again.jsonl").read_bytes() == next(each.path for each in written if each.part == "train").read_bytes()
    assert (tmp_path / "again.dev.jsonl").read_bytes() == next(each.path for each in written if each.part == "dev").read_bytes()


def test_a_job_that_ends_before_the_next_screen_is_drawn_has_its_result_opened(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small data set is mined faster than a busy server draws a screen."""
    submit = JobRunner.submit

    def finished(runner: JobRunner, *given: Any, **more: Any) -> Job:
        job = submit(runner, *given, **more)
        while runner.get(job.id).active:
            time.sleep(0.01)
        return job

    monkeypatch.setattr(JobRunner, "submit", finished)
    monkeypatch.setattr(resources, "encoder", lambda *_: FakeEncoder())
    at = open_app()
    at.button(key="open-example").click().run()
    at.button(key="mine-now").click().run()
    assert not at.exception
    assert "Sample queries" in texts(at)
