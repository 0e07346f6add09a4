"""Judge-positive pairs on the Export screen: counted before the download, and relabelled as the command line does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.cli.flags import settings_from
from hnmine.cli.main import parse
from hnmine.data.verdicts import read_verdicts
from hnmine.review.judgements import Judgement, read_judgements
from hnmine.review.relabelling import promotable
from hnmine.runs.mine import mine_to_file
from tests.conftest import EXAMPLE, FakeEncoder
from tests.pages.conftest import command, open_app, texts


def judge(run: str, grades: tuple[int, ...], *, queries: int = 6) -> list[Judgement]:
    """Grade the first negatives of some queries of a run, as one judge; return the judgements."""
    opened = resources.open_run(run)
    corpus, negatives = opened.inputs.corpus, resources.selection(opened, opened.run.settings.selection).negatives
    found = [
        Judgement(corpus.queries[query], corpus.passages[negatives[query, place]], grade, "because", "m", "1")
        for query in range(queries)
        for place, grade in enumerate(grades)
    ]
    resources.judgements().add(found)
    return found


def has_control(at: AppTest) -> bool:
    return any(each.key == "export-relabel" for each in at.radio)


def test_without_grades_there_is_nothing_to_choose(run: str) -> None:
    at = open_app("export", run=run)
    assert not has_control(at)
    assert not {"--relabel", "--judgements"} & set(command(at))
    assert "Judge:" not in texts(at)
    assert not (resources.workspace().root / "judgements.sqlite").exists(), "a workspace without a judge gets no file for it"


@pytest.mark.parametrize("action", ["keep", "drop", "promote", "leave_out"])
def test_the_relabelled_file_is_what_the_command_writes(run: str, tmp_path: Path, action: str) -> None:
    judged = judge(run, (3, 2, 1))
    corpus = resources.open_run(run).inputs.corpus
    resources.reviews().decide([(judged[0].query, judged[0].passage)], "negative", "Ann")  # a person wins
    at = open_app("export", run=run)
    rows = int(np.isin(corpus.row_queries, range(6)).sum())
    shown = at.radio(key="export-relabel").proto.captions
    assert list(shown) == ["no change", f"11 pairs, 11 selected in {rows} rows", f"11 pairs in {rows} rows", f"{rows} rows"]
    at.radio(key="export-relabel").set_value(action).run()
    assert not at.exception
    words = command(at)
    assert ("--relabel" in words) == (action != "keep")
    arguments = parse(words[3:])
    settings = settings_from(arguments)
    assert settings.relabel == action
    (written,) = resources.export(resources.open_run(run), settings)
    out = tmp_path / "out.jsonl"
    mine_to_file(
        FakeEncoder,
        EXAMPLE / "train.jsonl",
        EXAMPLE / "pool.jsonl",
        out,
        settings,
        verdicts=read_verdicts(arguments.reviews),
        judgements=read_judgements(arguments.judgements),
        manifest=False,
    )
    assert written.path.read_bytes() == out.read_bytes()
    count = len(out.read_text("utf-8").splitlines())
    assert count == len(corpus.row_queries) - (rows if action == "leave_out" else 0)
    done = {
        "keep": "",
        "drop": ", 11 pairs dropped from the candidates",
        "promote": ", 11 pairs added as positives",
        "leave_out": f", {rows} rows left out",
    }[action]
    assert f"Judge: m, prompt 1: 18 pairs graded, 11 relevant candidates without a verdict{done}" in texts(at)
    kept = len(corpus.row_queries) - (rows if action == "leave_out" else 0)
    assert f" in {kept} rows, {settings.selection.negative_number} per query" in texts(at), "what is written"
    snippet = next(str(each.value) for each in at.code if str(each.value).startswith("import hnmine"))
    assert ("relabel=" in snippet) == (action != "keep")
    assert "judgements=" in snippet


def test_a_new_grade_is_in_the_next_export(run: str) -> None:
    judge(run, (3,), queries=1)
    before = resources.open_run(run)
    assert len(before.judged.queries) == 1
    judge(run, (1, 3), queries=1)
    after = resources.open_run(run)
    assert after.key != before.key
    assert after.judged.grades.tolist().count(3) == 1
    assert resources.open_run(run).key == after.key


@pytest.mark.parametrize("family", ["st-triplet", "datasets", "beir"])
def test_other_formats_and_their_card_follow(run: str, family: str) -> None:
    judged = judge(run, (3,), queries=2)
    at = open_app("export", run=run)
    at.radio(key="export-format").set_value(family).run()
    at.radio(key="export-relabel").set_value("leave_out").run()
    assert not at.exception
    settings = settings_from(parse(command(at)[3:]))
    (written,) = resources.export(resources.open_run(run), settings)
    preview = str(at.code[0].value)
    assert not any(json.dumps(each.query)[1:-1] in preview for each in judged)
    if family == "datasets":
        card = (written.path / "README.md").read_text("utf-8")
        assert re.search(r"2 pairs graded by a judge \(`m`\), 2 relevant, \d+ rows with such negatives left out", card)
        assert re.search(rf"- {written.rows:,} rows with \d+ different queries, \d+ left out", card)


def test_the_pairs_are_as_many_as_quality_offers_to_promote(run: str) -> None:
    """Also where none of them is a negative of the selection that is exported."""
    judged = judge(run, (3, 2, 1))
    found = resources.open_run(run).judged
    offered = promotable(resources.open_run(run).inputs.corpus, judged, [], 2, 0.9)
    at = open_app("export", run=run)
    assert at.radio(key="export-relabel").proto.captions[2].startswith(f"{len(offered.pairs)} pairs in ")
    assert len(offered.pairs) == int((found.grades >= 2).sum()) == 12


def test_the_filter_by_grade_is_offered_only_with_grades(run: str) -> None:
    at = open_app("mine", run=run)
    menu = at.menu_button(key=f"add-filter-{run}")
    assert "Judge's grade" not in menu.options
    judge(run, (3, 2, 1))
    at = open_app("mine", run=run)
    menu = at.menu_button(key=f"add-filter-{run}")
    assert "Judge's grade" in menu.options
    menu.set_value("judge_grade").run()
    assert not at.exception
    assert "Removes 12 candidates." in texts(at), "six queries with the grades 3 and 2"
