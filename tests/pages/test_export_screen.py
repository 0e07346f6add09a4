"""The Export screen: what it offers is what is written, and nothing in it is changed unasked."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.cli.flags import settings_from
from hnmine.cli.main import parse
from hnmine.export.formats import FORMATS
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.export import checks
from tests.conftest import Mined, mine
from tests.pages.conftest import open_app, texts

ROOT = Path(__file__).parents[2]
ROWS = [
    {"query": f"question {i % 7}", "pos": [f"answer {i}", f"**bold** :red[{i}]"], "id": i if i % 2 else str(i)}
    | ({"prompt": "p"} if i % 3 else {})
    | ({"pos_scores": [1] if i else ["one", 2], "level": i if i % 4 else "high"} if i % 5 == 0 else {})
    for i in range(12)
]


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Mined:
    """A run of rows that a trainer would trip over."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    space = Workspace(folder / "workspace")
    dataset = space.add_dataset("my **rows**.jsonl", folder / "train.jsonl").id
    settings = MineSettings(selection=SelectionSettings(window_start=0, window_end=20, negative_number=3))
    return Mined(space.root, dataset, mine(space, dataset, settings, 20))


def labels(at: AppTest) -> list[str]:
    return [each.proto.label for each in at.get("download_button")]


def shown(at: AppTest) -> MineSettings:
    """The settings that the command on the screen stands for."""
    line = shlex.split(at.code[0].value)
    return settings_from(parse(line[3:]))


@pytest.mark.parametrize("family", dict.fromkeys(each.family for each in FORMATS.values()))
def test_every_format_can_be_chosen_and_is_what_the_command_writes(run: str, family: str) -> None:
    at = open_app("export", run=run)
    at.selectbox(key="export-format").select(family).run()
    assert not at.exception
    form = FORMATS[family]
    assert form.description in texts(at)
    if f"{family}-parquet" in FORMATS:
        at.segmented_control(key="export-encoding").set_value("Parquet").run()
        assert not at.exception
        form = FORMATS[f"{family}-parquet"]
    assert bool(form.scores) == any(each.key == "export-scores" for each in at.toggle)
    at.toggle(key="export-split").set_value(True).run()
    at.slider(key="export-share").set_value(30).run()
    assert not at.exception
    settings = shown(at)
    assert settings.output_format == form.name
    assert settings.dev_share == 0.3
    opened = resources.open_run(run)
    written = resources.export(opened, settings)
    assert [label for label in labels(at) if form.records in label] == [
        f"Download{f' {each.part}:' if each.part != 'all' else ''} {each.rows:,} {form.records}, {size(each.bytes)}" for each in written
    ]


def size(count: int) -> str:
    return f"{count / 1024:,.0f} kB" if count >= 1024 else f"{count} bytes"


def test_the_checks_show_problems_and_text_of_the_data_literally(run: str) -> None:
    at = open_app("export", run=run)
    shown_words = texts(at)
    assert any(icon in shown_words for icon in (":material/check:", ":material/info:", ":material/priority_high:"))
    assert "have no" in shown_words
    assert "prompt" in shown_words
    assert not any("**bold**" in str(each.value) for each in (*at.markdown, *at.caption))
    # Without a choice nothing is repaired: the file is as find_knn_neg writes it, and the command has no flag for it.
    assert "--repair_output" not in at.code[0].value
    opened = resources.open_run(run)
    (written,) = resources.export(opened, shown(at))
    rows = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert sum("prompt" in row for row in rows) == 8
    # Other trainers' formats have no prompt to miss.
    at.selectbox(key="export-format").select("st-triplet").run()
    assert not at.checkbox
    assert "these fields have no place in this format" in texts(at).replace("&#44;", ",")


def test_a_repair_is_chosen_and_in_the_file_the_command_and_the_manifest(run: str) -> None:
    at = open_app("export", run=run)
    at.checkbox(key="repair-missing-prompt").check().run()
    assert not at.exception
    settings = shown(at)
    assert settings.repair_output == ("missing-prompt",)
    (written,) = resources.export(resources.open_run(run), settings)
    rows = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == [row.get("prompt", "") for row in ROWS]
    assert written.rows == 12


def test_a_large_file_waits_until_somebody_asks(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKED_AT_ONCE", 10)
    at = open_app("export", run=run)
    assert "prompt" not in texts(at).replace("`prompt`", "")
    at.button(key="check").click().run()
    assert not at.exception
    assert "no" in texts(at)
    assert at.checkbox
    at.run()
    assert at.checkbox, "asked once, it stays"


def test_verdicts_are_told_and_travel_with_the_command(run: str) -> None:
    opened = resources.open_run(run)
    passage = opened.inputs.corpus.passages[int(opened.ranking.ids[0, 5])]
    query = opened.inputs.corpus.queries[0]
    resources.reviews().decide([(query, passage)], "positive", "ann")
    at = open_app("export", run=run)
    assert "Verdicts applied: 1 positive." in texts(at)
    line = shlex.split(at.code[0].value)
    path = Path(line[line.index("--reviews") + 1])
    assert json.loads(path.read_text("utf-8"))["passage"] == passage
