"""Inspect through app.py: the list by our own query, pages, deep links, what reviewers decided, maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import AttributeDictionary

from hnmine import resources
from hnmine.core.text import normalize_text
from hnmine.data.verdicts import Verdict
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import encode
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder, Mined, mine
from tests.pages.conftest import open_app, texts

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


def listed(at: AppTest) -> list[str]:
    return list(at.dataframe[0].value["query"])


def figures(at: AppTest, column: str) -> list[Any]:
    return list(at.dataframe[0].value[column])


def asked(at: AppTest) -> str:
    """The query whose candidates are shown."""
    return next(element.value for element in at.text if element.value.startswith("question "))


def name_of(query: str, run: str) -> str:
    corpus = resources.open_run(run).inputs.corpus
    return f"{int(corpus.query_hashes[list(corpus.queries).index(query)]):016x}"


def test_a_page_is_sent_and_the_whole_is_sorted(run: str) -> None:
    at = open_app("inspect", run=run)
    assert len(listed(at)) == 50
    assert "130 of 130 queries · 1 to 50 on this page" in texts(at)
    corpus = resources.open_run(run).inputs.corpus
    at.selectbox(key="inspect-sort").select("query").run()
    assert not at.exception
    everything = sorted(corpus.queries, key=normalize_text)
    assert listed(at) == everything[:50], "ascending, as one expects of an alphabet"
    at.segmented_control(key="inspect-order").set_value("down").run()
    assert listed(at) == everything[::-1][:50]
    at.selectbox(key="inspect-size").select(100).run()
    assert listed(at) == everything[::-1][:100]
    at.selectbox(key="inspect-sort").select("margin").run()
    margins = figures(at, "margin")
    assert margins == sorted(margins)
    assert "sorted by margin" in texts(at)


def test_search_and_filters_narrow_the_list_and_say_how_many(run: str) -> None:
    at = open_app("inspect", run=run)
    at.text_input(key="inspect-search").set_value("WING about").run()
    assert "22 of 130 queries" in texts(at)
    assert all("Wing" in query for query in listed(at))
    at.text_input(key="inspect-search").set_value('"wing about"').run()
    assert "No matches" in texts(at)
    at.text_input(key="inspect-search").set_value("").run()
    at.segmented_control(key="inspect-filter").set_value("above").run()
    assert not at.exception
    assert all(margin < 0 for margin in figures(at, "margin"))
    assert 0 < len(listed(at)) < 130


def test_an_address_opens_the_query_that_it_names_on_its_page(run: str) -> None:
    corpus = resources.open_run(run).inputs.corpus
    last = sorted(corpus.queries, key=normalize_text)[0]
    at = open_app("inspect", run=run, query=name_of(last, run))
    assert asked(at) == last
    assert last in listed(at), "the page with that query is the one that is shown"
    assert at.query_params["query"] in (name_of(last, run), [name_of(last, run)])
    link = at.code[0].value
    assert f"run={run}" in link
    assert f"query={name_of(last, run)}" in link
    at.switch_page("pages/views/mine.py").run()
    assert "query" not in at.query_params
    at.switch_page("pages/views/inspect.py").run()
    assert asked(at) == last, "it is still picked when one comes back"


@pytest.mark.parametrize("name", ["0123456789abcdef", "no hash", "../..", "f" * 40, "-1"])
def test_an_address_that_names_no_query_is_said_and_the_first_is_shown(run: str, name: str) -> None:
    at = open_app("inspect", run=run, query=name)
    assert asked(at) == listed(at)[0]
    assert "is not in this run" in "".join(each.value for each in at.info)
    assert "query" not in at.query_params
    at.run()
    assert not at.info


def test_a_step_back_in_the_browser_goes_to_the_query_before(run: str) -> None:
    corpus = resources.open_run(run).inputs.corpus
    one, other = corpus.queries[3], corpus.queries[70]
    at = open_app("inspect", run=run, query=name_of(one, run))
    at.session_state["query"] = name_of(other, run)  # as a click on its row does
    at.run()
    assert asked(at) == other
    assert at.query_params["query"] in (name_of(other, run), [name_of(other, run)])
    at.query_params["query"] = name_of(one, run)
    at.run()
    assert asked(at) == one
    assert one in listed(at)


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
    states = " / ".join(at.dataframe[1].value["status"])
    assert "removed by a reviewer" in states
    assert "judged negative by a reviewer" in states
    assert "positive of this query, added as positive by a reviewer" in states
    assert "· added as positive by a reviewer" in texts(at)
    assert max(figures(at, "reviewed")) == len(verdicts)
    for choice, expected in (("reviewed", 1), ("positive", 1), ("unreviewed", 129)):
        at.selectbox(key="inspect-reviewed").select(choice).run()
        assert f"{expected} of 130 queries" in texts(at)


def test_no_cell_reads_none(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random-filled candidates have no rank, and a query without a negative no margin."""
    at = open_app("mine", run=run)
    at.slider(key=f"window-{run}").set_range(2, 4).run()
    at.switch_page("pages/views/inspect.py").run()
    assert not at.exception
    found = at.dataframe[1].value
    filled = found[found["status"].str.contains("random fill")]
    assert len(filled)
    assert set(filled["rank"]) == {""}
    for frame in at.dataframe:
        assert frame.proto.placeholder == "–" or not frame.value.isna().any().any()
        assert not frame.value.map(lambda cell: cell in (None, "None")).any().any()


def test_shared_words_leave_out_what_every_passage_has(run: str) -> None:
    corpus = resources.open_run(run).inputs.corpus
    query = next(text for text in corpus.queries if text.endswith("hull"))
    at = open_app("inspect", run=run, query=name_of(query, run))
    shared = set(", ".join(at.dataframe[1].value["shared words"]).split(", "))
    assert "ropes" not in shared


def test_both_maps_say_in_words_what_they_show(run: str) -> None:
    at = open_app("inspect", run=run)
    at.segmented_control(key="inspect-figure").set_value("near").run()
    assert not at.exception
    (words,) = [each.value for each in at.caption if "principal components" in each.value]
    assert "of 5 chosen negatives are more similar to a positive than the query is" in words
    assert "Most similar chosen negative:" in words
    at.segmented_control(key="inspect-figure").set_value("set").run()
    assert not at.exception
    (words,) = [each.value for each in at.caption if "principal components" in each.value]
    assert "130 passages:" in words
    counts = [int(part.split()[0]) for part in words.partition(": ")[2].partition(".")[0].split(", ")]
    assert sum(counts) == 130


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
    at = open_app("inspect", run=run)
    at.text_input(key="inspect-ask").set_value("ropes").run()
    assert not at.exception
    scores, ids = resources.nearest(run, "ropes", 10)
    assert at.dataframe[-1].value["passage"].tolist() == [opened.inputs.corpus.passages[passage] for passage in ids]


def test_review_these_hands_the_query_over(run: str) -> None:
    at = open_app("inspect", run=run)
    query = asked(at)
    at.button(key="inspect-review").click().run()
    assert not at.exception
    assert at.title[0].value == "Review"
    assert query in texts(at)


def test_corpus_text_is_shown_literally(run: str, space: Workspace, tmp_path: Path) -> None:
    nasty = "<b>bold</b> **stars** :material/home: $x$ [link](javascript:alert(1))"
    lines = [{"query": f"question {number} {nasty}", "pos": [f"{number} {nasty} positive"]} for number in range(12)]
    (tmp_path / "nasty.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = space.add_dataset(nasty, tmp_path / "nasty.jsonl")
    settings = MineSettings(model=ModelSettings(), selection=SelectionSettings(window_start=0, window_end=8, negative_number=2))
    added = mine(space, dataset.id, settings, 8, Encoder())
    space.name_run(added, nasty)
    at = open_app("inspect", run=added)
    at.segmented_control(key="inspect-figure").set_value("near").run()
    for page in ("inspect", "runs"):
        at.switch_page(f"pages/views/{page}.py").run()
        assert not at.exception
        rendering = (at.markdown, at.caption, at.title, at.subheader, at.header, at.warning, at.error, at.info, at.success)
        assert all("javascript" not in str(element.value) for kind in rendering for element in kind)


def test_the_query_with_the_highest_estimate_comes_first(run: str) -> None:
    at = open_app("inspect", run=run)
    fn_model = figures(at, "fn_probability")
    assert fn_model == sorted(fn_model, reverse=True)
    assert "sorted by est. false-negative probability, high to low" in texts(at)
    opened = resources.open_run(run)
    selection = resources.selection(opened, resources.workspace().run(run).settings.selection)
    fn_probabilities = resources.fn_probabilities(opened, selection)
    assert fn_probabilities is not None
    corpus = opened.inputs.corpus
    query = list(corpus.queries).index(listed(at)[0])
    assert fn_model[0] == pytest.approx(100 * np.nanmax(fn_probabilities), rel=1e-5)
    assert np.nanmax(fn_probabilities) == np.nanmax(fn_probabilities[query])
    rank = int(opened.ranking.ids[query].tolist().index(selection.negatives[query, int(np.nanargmax(fn_probabilities[query]))]))
    assert f"Most likely false negative: rank {rank}, estimated probability" in texts(at)


def test_candidates_have_their_signals_once_by_name(run: str) -> None:
    at = open_app("inspect", run=run)
    found = at.dataframe[1].value
    columns = json.loads(at.dataframe[1].proto.columns)
    assert [name for name in found if columns[name]["label"] == "sim. to positive"] == ["positive_similarity"]
    assert columns["bm25_ratio"]["label"] == "BM25"
    assert columns["bm25_ratio"]["type_config"]["format"] == "%.0f%%"
    opened = resources.open_run(run)
    query = list(opened.inputs.corpus.queries).index(asked(at))
    shown = found[found["rank"] != ""]
    ranks = shown["rank"].astype(int).to_numpy()
    for name, factor in (("overlap", 100), ("bm25_ratio", 100), ("bm25_rank", 1)):
        np.testing.assert_allclose(shown[name], factor * opened.ranking.signals[name][query, ranks], rtol=1e-5)
    estimator = resources.estimator(opened)
    assert estimator is not None
    np.testing.assert_allclose(shown["fn_probability"], 100 * estimator.pairs(np.full(len(ranks), query), ranks), rtol=1e-4)


def test_a_selected_candidate_shows_its_reasons(run: str) -> None:
    at = open_app("inspect", run=run)
    key = at.dataframe[1].key
    at.session_state[key] = AttributeDictionary({"selection": {"rows": [1], "columns": [], "cells": []}})
    at.run()
    assert not at.exception
    assert "This candidate, estimated probability" in texts(at)
    assert any(each in texts(at) for each in ("the query", "similar to a positive", "not similar to the positives"))
