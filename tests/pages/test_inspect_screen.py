"""Inspect through app.py: the list, its address, a query with its passages, verdicts. Clicks are in tests/browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.text import normalize_text
from hnmine.data.verdicts import Verdict
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import encode
from hnmine.review.judgements import Judgement
from hnmine.review.store import ReviewStore
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from pages.inspect import candidates, verdicts
from pages.inspect.query_list import SHOW, shown_by
from tests.conftest import FakeEncoder, Mined, mine
from tests.pages.conftest import open_app, press, texts

TOPICS = ["sea", "Wing", "hull", "sail", "Anchor", "tide"]


class Encoder(FakeEncoder):
    """One whose weights can be compared with those of a run."""

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "weights_sha256": "0" * 64}


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Mined:
    """A run of 130 queries."""
    folder = tmp_path_factory.mktemp("inspect")
    lines = [
        {
            "query": f"question {number:03} about the {TOPICS[number % 6]}",
            "pos": [f"Answer {number} on the {TOPICS[number % 6]} and ropes."],
        }
        for number in range(130)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    space = Workspace(folder / "workspace")
    dataset = space.add_dataset("train.jsonl", folder / "train.jsonl")
    settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=2, window_end=30, negative_number=5))
    return Mined(space.root, dataset.id, mine(space, dataset.id, settings, 40, Encoder()))


class Reviews:
    """Verdicts that are there."""

    def __init__(self, verdicts: list[Verdict]) -> None:
        self.made = verdicts

    def version(self) -> int:
        return len(self.made)

    def verdicts(self) -> list[Verdict]:
        return self.made

    def replaced(self, since: int) -> bool:
        return True

    def verdict(self, query: str, passage: str) -> Verdict | None:
        return next((each for each in self.made if (each.query, each.passage) == (query, passage)), None)


def drawn(at: AppTest, key: str) -> dict[str, Any]:
    """What a component of the screen is given to draw."""
    (found,) = [each.proto for each in at.get("bidi_component") if each.proto.id.endswith(f"-{key}")]
    return dict(json.loads(found.json))


def listed(at: AppTest) -> list[str]:
    return [row["text"] for row in drawn(at, "inspect-queries")["rows"]]


def asked(at: AppTest) -> str:
    """The query that is shown."""
    return "".join(drawn(at, "inspect-texts")["rows"][0]["parts"])


def passages(at: AppTest) -> list[dict[str, Any]]:
    """The rows of the open tab."""
    return list(drawn(at, "inspect-passages")["rows"])


def open_tab(at: AppTest, label: str) -> AppTest:
    at.session_state["inspect-tab"] = next(each.label for each in at.tabs if each.label.startswith(label))
    at.run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def name_of(query: str, run: str) -> str:
    corpus = resources.open_run(run).inputs.corpus
    return f"{int(corpus.query_hashes[list(corpus.queries).index(query)]):016x}"


def test_a_page_is_sent_and_the_whole_is_sorted(run: str) -> None:
    at = open_app("inspect", run=run)
    assert len(listed(at)) == 50
    assert asked(at) == listed(at)[0], "the first one is shown"
    assert "1 of 130" in texts(at)
    corpus = resources.open_run(run).inputs.corpus
    at.selectbox(key="inspect-sort").select("query").run()
    assert not at.exception
    everything = sorted(corpus.queries, key=normalize_text)
    assert listed(at) == everything[:50], "ascending, as one expects of an alphabet"
    press(at, "inspect-reverse")
    assert listed(at) == everything[::-1][:50]
    assert asked(at) == everything[-1], "a new order starts at its top"
    at.selectbox(key="inspect-sort").select("margin").run()
    margins = [float(row["facts"].partition("Margin ")[2].split()[0]) for row in drawn(at, "inspect-queries")["rows"]]
    assert margins == sorted(margins)


def test_next_and_previous_walk_the_queries_over_pages(run: str) -> None:
    at = open_app("inspect", run=run)
    first = listed(at)
    assert at.button(key="inspect-previous").disabled
    press(at, "Next")
    assert asked(at) == first[1] == listed(at)[1]
    press(at, "Previous")
    assert asked(at) == first[0]
    state_of = drawn(at, "inspect-queries")
    assert state_of["picked"] == state_of["rows"][0]["id"]
    at = open_app("inspect", run=run, query=name_of(first[49], run))
    press(at, "Next")
    assert "51 of 130" in texts(at)
    assert asked(at) == listed(at)[0] not in first


def test_search_and_filters_narrow_the_list_and_say_how_many(run: str) -> None:
    at = open_app("inspect", run=run)
    show = at.selectbox(key="inspect-show")
    assert show.options[0] == "All (130)"
    above = int(next(option for option in show.options if option.startswith("Above the positive")).split("(")[1][:-1])
    assert 0 < above < 130
    show.select("above").run()
    assert f"1 of {above}" in texts(at)
    show.select("all").run()
    at.text_input(key="inspect-search").set_value('"WING and"').run()
    assert not at.exception
    assert listed(at)
    assert not any("Wing and" in query for query in listed(at)), "no query says this, but their passages"
    found = " ".join("".join(row["parts"]) for row in [*drawn(at, "inspect-texts")["rows"], *passages(at)])
    assert "Wing and" in found
    at.text_input(key="inspect-search").set_value("no text says this").run()
    assert "No matches." in [each.value for each in at.info]
    assert not at.get("bidi_component")
    press(at, "Clear filters")
    assert "1 of 130" in texts(at)


def test_the_address_names_the_query_and_the_list(run: str) -> None:
    corpus = resources.open_run(run).inputs.corpus
    last = sorted(corpus.queries, key=normalize_text)[0]
    at = open_app("inspect", run=run, query=name_of(last, run))
    assert asked(at) == last
    assert last in listed(at), "the page with that query is the one that is shown"
    at.selectbox(key="inspect-sort").select("query").run()
    at.text_input(key="inspect-search").set_value("the Wing").run()
    wanted = {"search": "the Wing", "sort": "query", "order": "up"}
    assert {name: at.query_params[name] for name in wanted} == wanted
    assert "query" not in at.query_params, "a new list starts at its top"
    press(at, "Next")
    there = {name: at.query_params[name] for name in at.query_params}
    assert "query" in there
    colleague = open_app("inspect", **there)
    assert listed(colleague) == listed(at)
    assert asked(colleague) == asked(at)
    link = colleague.code[0].value
    assert all(
        f"{name}={value}" in link for name, value in {"run": run, "variant": "mined", "query": there["query"], "sort": "query"}.items()
    )
    at.switch_page("pages/views/mine.py").run()
    assert "query" not in at.query_params
    at.switch_page("pages/views/inspect.py").run()
    assert asked(at) == asked(colleague), "it is still picked when one comes back"
    assert at.text_input(key="inspect-search").value == "the Wing"


def test_a_query_from_elsewhere_is_shown_whatever_the_filters_say(run: str) -> None:
    at = open_app("inspect", run=run)
    at.text_input(key="inspect-search").set_value("question 003").run()
    other = resources.open_run(run).inputs.corpus.queries[70]
    at.session_state["query"] = name_of(other, run)  # as a click on another screen does
    at.run()
    assert asked(at) == other
    assert at.text_input(key="inspect-search").value == ""


@pytest.mark.parametrize("name", ["0123456789abcdef", "no hash", "../..", "f" * 40, "-1"])
def test_an_address_that_names_no_query_is_said_and_the_first_is_shown(run: str, name: str) -> None:
    at = open_app("inspect", run=run, query=name, show="nothing known", sort="../..")
    assert asked(at) == listed(at)[0]
    assert "is not in this run" in "".join(each.value for each in at.info)
    assert "query" not in at.query_params
    assert "sort" not in at.query_params
    at.run()
    assert not at.info


def test_what_reviewers_decided_is_shown_and_can_be_filtered(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = resources.open_run(run)
    corpus, ranking = opened.inputs.corpus, opened.ranking
    choices = {0: "relevant", 4: "negative", 5: "relevant", 6: "positive"}
    query = 11
    own = set(corpus.positives(query).tolist())
    verdicts = [
        Verdict(query=corpus.queries[query], passage=corpus.passages[ranking.ids[query, rank]], verdict=choice)
        for rank, choice in choices.items()
        if int(ranking.ids[query, rank]) not in own
    ]
    monkeypatch.setattr(resources, "reviews", lambda: Reviews(verdicts))
    st.cache_resource.clear()
    at = open_app("inspect", run=run, query=name_of(corpus.queries[query], run))
    assert "negative" in {row["verdict"] for row in passages(at)}
    assert "added by a reviewer" in {row["status"] for row in drawn(at, "inspect-texts")["rows"]}
    (row,) = [row for row in drawn(at, "inspect-queries")["rows"] if row["text"] == corpus.queries[query]]
    assert f"{len(verdicts)} verdicts" in row["facts"]
    open_tab(at, "Not selected")
    assert {"relevant", "positive"} <= {row["verdict"] for row in passages(at)}
    at.selectbox(key="inspect-show").select("reviewed").run()
    assert "1 of 1" in texts(at)
    at.selectbox(key="inspect-show").select("unreviewed").run()
    assert "1 of 129" in texts(at)


def test_candidates_that_were_not_selected_say_why(run: str) -> None:
    at = open_tab(open_app("inspect", run=run), "Not selected")
    rows = passages(at)
    assert len(rows) == 25
    statuses = {row["status"] for row in rows}
    assert {"Above the rank range", "Not sampled"} <= statuses
    assert all(statuses)
    assert not any(row["name"] for row in rows)


def test_negatives_are_whole_hardest_first_with_their_numbers(run: str) -> None:
    at = open_app("inspect", run=run)
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    query = list(opened.inputs.corpus.queries).index(asked(at))
    rows = passages(at)
    assert [int(row["id"]) for row in rows] == selection.negatives[query].tolist()
    assert [row["name"] for row in rows] == [f"#{number}" for number in range(1, 6)]
    assert ["".join(row["parts"]) for row in rows] == [opened.inputs.corpus.passages[passage] for passage in selection.negatives[query]]
    assert [row["facts"].split(" · ")[1] for row in rows] == [f"similarity {score:.3f}" for score in selection.scores[query]]
    estimates = resources.fn_probabilities(opened, selection)
    assert estimates is not None
    assert np.nanmax(estimates) == np.nanmax(estimates[query]), "sorted by the estimate"
    number = int(np.nanargmax(estimates[query])) + 1
    assert f"Riskiest negative: #{number}, " in texts(at)
    marked = {part for row in rows for part in row["parts"][1::2]}
    assert "ropes" not in marked, "every passage has it"


def test_the_picked_candidate_has_its_signals_and_reasons(run: str) -> None:
    at = open_app("inspect", run=run)
    opened = resources.open_run(run)
    query = list(opened.inputs.corpus.queries).index(asked(at))
    rows = passages(at)
    assert not any(row["more"] for row in rows)
    at.session_state["inspect-passage"] = (query, rows[1]["id"])  # as a click on its row does
    at.run()
    (row,) = [row for row in passages(at) if row["more"]]
    assert row["id"] == rows[1]["id"]
    rank = opened.ranking.ids[query].tolist().index(int(row["id"]))
    assert f"overlap {100 * opened.ranking.signals['overlap'][query, rank]:.0f}%" in row["more"][0]
    assert "similarity to the positive passage" in row["more"][0]
    assert row["more"][1].startswith("Why")


def test_random_filled_negatives_have_no_rank(run: str) -> None:
    at = open_app("mine", run=run)
    at.slider(key=f"window-{run}").set_range(2, 4).run()
    at.switch_page("pages/views/inspect.py").run()
    assert not at.exception
    assert any(row["facts"].startswith("random fill") for row in passages(at))


def test_the_map_says_in_words_what_it_shows(run: str) -> None:
    at = open_tab(open_app("inspect", run=run), "Charts")
    at.radio(key="inspect-figure").set_value("near").run()
    assert not at.exception
    (words,) = [each.value for each in at.text if "of the variance" in each.value]
    assert "of 5 chosen negatives are more similar to a positive than the query is" in words
    assert "Most similar chosen negative:" in words


def test_words_find_the_nearest_passages_in_an_index_that_stays(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "encoder", lambda settings: Encoder())
    opened = resources.open_run(run)
    vectors = np.asarray(opened.ranking.passage_vectors, np.float64)[: opened.inputs.corpus.n_candidates]
    for text in ("ropes", "the anchor and the tide"):
        exact = (vectors @ encode(FakeEncoder(), [text], "queries")[0].astype(np.float64)).astype(np.float32)
        nearest = np.lexsort((np.arange(len(exact)), -exact))[:10]
        scores, ids = resources.nearest(run, text, 10)
        np.testing.assert_array_equal(ids, nearest)
        np.testing.assert_array_equal(scores, exact[nearest])
    assert resources._passage_index(opened) is resources._passage_index(resources.open_run(run))
    at = open_tab(open_app("inspect", run=run), "Search passages")
    at.text_input(key="inspect-ask").set_value("ropes").run()
    assert not at.exception
    scores, ids = resources.nearest(run, "ropes", 10)
    found = [("".join(row["parts"]), row["facts"]) for row in drawn(at, "inspect-nearest")["rows"]]
    assert found == [
        (opened.inputs.corpus.passages[passage], f"similarity {score:.3f}") for passage, score in zip(ids, scores, strict=True)
    ]


def test_review_these_hands_the_query_over(run: str) -> None:
    at = open_app("inspect", run=run)
    query = asked(at)
    press(at, "inspect-review")
    assert at.session_state["review-words"] == query


def test_a_verdict_is_stored_at_once_and_undone(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_app("inspect", run=run)
    query, first = asked(at), passages(at)[0]
    text = "".join(first["parts"])
    store.decide([(query, text)], "relevant", "Reviewer 1")
    at.session_state[verdicts.GIVEN] = 1  # as a press on its button does
    at.run()
    monkeypatch.setattr(verdicts, "reviewer", lambda: "Reviewer 1")
    press(at, "Undo")
    assert store.verdict(query, text) is None
    assert first in passages(at)


def test_corpus_text_is_shown_literally(run: str, space: Workspace, tmp_path: Path) -> None:
    nasty = "<b>bold</b> **stars** :material/home: $x$ [link](javascript:alert(1))"
    lines = [{"query": f"question {number} {nasty}", "pos": [f"{number} {nasty} positive"]} for number in range(12)]
    (tmp_path / "nasty.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = space.add_dataset(nasty, tmp_path / "nasty.jsonl")
    settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=0, window_end=8, negative_number=2))
    added = mine(space, dataset.id, settings, 8, Encoder())
    space.name_run(added, nasty)
    at = open_tab(open_app("inspect", run=added), "Charts")
    at.radio(key="inspect-figure").set_value("near").run()
    for page in ("inspect", "runs"):
        at.switch_page(f"pages/views/{page}.py").run()
        assert not at.exception
        rendering = (at.markdown, at.caption, at.title, at.subheader, at.header, at.warning, at.error, at.info, at.success)
        assert all("javascript" not in str(element.value) for kind in rendering for element in kind)


def test_a_choice_whose_count_has_changed_since_it_was_drawn_is_that_choice() -> None:
    assert [shown_by(f"{label} (7)") for label in SHOW.values()] == list(SHOW)
    assert [shown_by(name) for name in SHOW] == list(SHOW)
    assert shown_by("an option of before (7)") == "all"


def test_a_judge_s_grade_is_beside_the_signals_in_words(run: str) -> None:
    opened = resources.open_run(run)
    corpus = opened.inputs.corpus
    chosen = resources.selection(opened, opened.run.settings.selection).negatives
    given = [(int(chosen[0, 0]), 2, "It is **half** of it."), (int(chosen[0, 1]), None, "no grade in the answer")]
    resources.judgements().add(
        [Judgement(corpus.queries[0], corpus.passages[passage], grade, reason, "m", "1") for passage, grade, reason in given]
    )
    expected = {
        given[0][0]: "Judge m: grade 2, part of an answer. It is **half** of it.",
        given[1][0]: "Judge m: no grade. no grade in the answer",
    }
    opened = resources.open_run(run)
    found = candidates.details(opened, resources.selection(opened, opened.run.settings.selection), 0)
    for passage in (*expected, int(chosen[0, 2])):
        place = np.flatnonzero(found.ids == passage)
        (line,) = candidates.lines(opened, found, 0, place, str(passage))
        assert [text for text in line.more if text.startswith("Judge")] == [text for each, text in expected.items() if each == passage]
        assert not any("judge's grade" in text for text in line.more), "it is said once"
