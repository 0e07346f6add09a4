"""The Export screen: what it offers is what is written, and nothing in it is changed unasked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.cli.flags import command_line, settings_from
from hnmine.cli.main import main, parse
from hnmine.export.formats import FORMATS
from hnmine.export.preview import first_records
from hnmine.models.cards import ModelSettings
from hnmine.runs.mine import MineSettings
from hnmine.runs.variants import all_variants
from hnmine.runs.workspace import Workspace
from hnmine.selection.presets import with_preset
from hnmine.selection.settings import SelectionSettings
from pages.export import checks, snippets
from pages.shared import audit
from tests.conftest import Mined, mine
from tests.pages.conftest import command, go, open_app, press, texts

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
    return settings_from(parse(command(at)[3:]))


def preview(at: AppTest) -> str:
    """The first rows on the screen."""
    return str(at.code[0].value)


@pytest.mark.parametrize("family", dict.fromkeys(each.family for each in FORMATS.values()))
def test_every_format_can_be_chosen_and_is_what_the_command_writes(run: str, family: str) -> None:
    at = open_app("export", run=run)
    at.radio(key="export-format").set_value(family).run()
    assert not at.exception
    form = FORMATS[family]
    assert form.description.replace("`", "") in texts(at)
    if f"{family}-parquet" in FORMATS:
        at.radio(key="export-encoding").set_value("Parquet").run()
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
    stem = "my __rows___hn" + ("" if form.family == "flagembedding" else f"_{form.family}")
    names = [f"{stem}.zip"] if form.folder else [f"{stem}{'.dev' if each.part == 'dev' else ''}{form.suffix}" for each in written]
    assert [label for label in labels(at) if label.startswith("Download")] == [
        f"Download {literal(name)} · {size(each.bytes)}" for name, each in reversed(list(zip(names, written, strict=True)))
    ]
    assert first_records(written[0].path).rstrip() == preview(at).rstrip()
    assert "answer" in preview(at)


def literal(name: str) -> str:
    return re.sub(r"([*_.-])", r"\\\1", name)


def size(count: int) -> str:
    return f"{count / 1024:,.0f} kB" if count >= 1024 else f"{count} bytes"


def test_the_checks_show_problems_and_text_of_the_data_literally(run: str) -> None:
    at = open_app("export", run=run)
    shown_words = texts(at)
    assert ":material/error:" in shown_words
    assert "have no" in shown_words
    assert "prompt" in shown_words
    assert not any("**bold**" in str(each.value) for each in (*at.markdown, *at.caption))
    # Without a choice nothing is repaired: the file is as find_knn_neg writes it, and the command has no flag for it.
    assert "--repair_output" not in command(at)
    opened = resources.open_run(run)
    (written,) = resources.export(opened, shown(at))
    rows = [json.loads(line) for line in written.path.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert sum("prompt" in row for row in rows) == 8
    # Other trainers' formats have no prompt to miss.
    at.radio(key="export-format").set_value("st-triplet").run()
    assert not at.checkbox
    assert "These fields have no place in this format" in texts(at).replace("&#44;", ",")


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
    said = texts(at).replace(preview(at), "")
    assert "prompt" not in said
    assert "Not checked yet." in said
    assert "Every row has" not in said, "a check that did not run has not passed"
    assert ":material/check_circle:" not in said
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
    assert "Verdicts: 1 positive" in texts(at)
    line = command(at)
    path = Path(line[line.index("--reviews") + 1])
    assert json.loads(path.read_text("utf-8"))["passage"] == passage


def test_the_first_rows_are_whole_and_literal(run: str) -> None:
    at = open_app("export", run=run)
    opened = resources.open_run(run)
    (written,) = resources.export(opened, shown(at))
    lines = written.path.read_text("utf-8").splitlines()[:3]
    decoder, rows, place = json.JSONDecoder(), [], 0
    while place < len(preview(at).rstrip()):
        row, place = decoder.raw_decode(preview(at), place)
        rows.append(row)
        place += 1
    assert rows == [json.loads(line) for line in lines]


def test_what_it_is_made_of_is_said_in_words(run: str) -> None:
    said = texts(open_app("export", run=run))
    assert "Model: trigrams" in said
    assert "Ranks: 0-19, at random, seed 42" in said
    assert "Negatives: 36 in 12 rows, 3 per query" in said
    assert "Filters: none" in said


def test_an_unsaved_draft_is_named_and_can_be_saved(run: str, space: Workspace) -> None:
    at = open_app("mine", run=run)
    harder = SelectionSettings(window_start=0, window_end=10, negative_number=2, strategy="hardest")
    at.number_input(key=f"number-{run}").set_value(2).run()
    go(at, "export")
    assert "unsaved changes" in texts(at)
    at.text_input(key="variant-name").set_value("two each")
    press(at, "save-variant")
    assert "Selection: two each" in texts(at)
    assert [each.name for each in all_variants(space, run)][1:] == ["two each"]
    assert harder.negative_number == all_variants(space, run)[1].settings.negative_number


def test_settings_that_changed_since_the_audit_are_said(run: str) -> None:
    opened = resources.open_run(run)
    audit.draw(opened, resources.selection(opened, opened.run.settings.selection), 5)
    assert "Settings changed since the audit" not in texts(open_app("export", run=run))
    at = open_app("mine", run=run)
    at.number_input(key=f"number-{run}").set_value(2).run()
    assert "Settings changed since the audit" in texts(go(at, "export"))


@pytest.mark.parametrize("preset", [None, "balanced", "percpos"])
def test_the_library_writes_the_same_bytes(tmp_path: Path, preset: str | None) -> None:
    """What the screen shows as Python runs, and writes what the app writes; with a model, so on the example alone."""
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps({"query": f"how do I mend {i}", "pos": [f"Mend {i} by hand."]}) + "\n" for i in range(9)))
    selection = SelectionSettings(window_start=1, window_end=7, negative_number=3, seed=5, max_score=0.9)
    if preset is not None:
        selection = with_preset(preset, selection, deepest=9)
    settings = MineSettings(selection=selection, model=ModelSettings(), dev_share=0.3, with_scores=True)
    expected = tmp_path / "expected.jsonl"
    line = command_line(settings, input_file=str(rows), candidate_pool=None, output_file=str(expected))
    assert main([*line[3:], "--quiet"]) == 0
    code = snippets.python(settings, input_file=str(rows), pool=None, output_file=str(tmp_path / "found.jsonl"), verdicts=None)
    exec(code, {})
    for ending in (".jsonl", ".dev.jsonl"):
        assert (tmp_path / f"found{ending}").read_bytes() == (tmp_path / f"expected{ending}").read_bytes()
