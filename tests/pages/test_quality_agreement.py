"""The agreement of reviewers on the Quality screen: what it shows with and without common pairs, and the way to the disagreements."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.review.store import ReviewStore
from pages.quality import agreement
from tests.pages.conftest import go, open_app, press, texts


def section() -> None:
    from hnmine.resources import open_run
    from hnmine.selection.settings import SelectionSettings
    from pages.quality import agreement

    run = open_run(__import__("streamlit").session_state.run)
    agreement.draw(run, run.select(SelectionSettings()))


def opened(run: str) -> AppTest:
    at = AppTest.from_function(section, default_timeout=300)
    at.session_state["run"] = run
    at.run()
    assert not at.exception, [each.value for each in at.exception]
    return at


def judge(run: str, store: ReviewStore, common: int, different: int) -> list[tuple[str, str]]:
    corpus = resources.open_run(run).inputs.corpus
    pairs = [(corpus.queries[place], corpus.passages[place]) for place in range(common)]
    store.decide(pairs[: common // 2], "relevant", "Ann")
    store.decide(pairs[common // 2 :], "negative", "Ann")
    store.decide(pairs[:different], "junk", "Bob", note="not <b>a</b> passage")
    store.decide(pairs[different : common // 2], "positive", "Bob")  # counts as relevant
    store.decide(pairs[common // 2 :], "negative", "Bob")
    return pairs


def test_without_common_pairs_it_says_how_to_get_some(run: str, store: ReviewStore) -> None:
    corpus = resources.open_run(run).inputs.corpus
    store.decide([(corpus.queries[0], corpus.passages[0])], "relevant", "Ann")
    store.decide([("another data set", "x")], "relevant", "Ann")
    store.decide([("another data set", "x")], "negative", "Bob")
    at = opened(run)
    assert "choose an overlap of 10% under Setup on the Review screen" in texts(at)
    assert not at.metric
    assert not at.dataframe


def test_figures_reviewers_and_disagreements_are_shown(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = judge(run, store, 40, 2)
    at = opened(run)
    assert {each.label: each.value for each in at.metric} == {
        "Common pairs": "40",
        "Equal verdicts": "95%",
        "Cohen's kappa": "0.90",
        "Krippendorff's alpha": "0.91",
    }
    assert "The verdicts are reliable: alpha is at least 0.80 (Krippendorff 2004)." in texts(at)
    reviewers, found = (each.value for each in at.dataframe)
    assert reviewers.to_dict("list") == {
        "reviewer": ["Ann", "Bob"],
        "verdicts": [40, 40],
        "relevant": [50.0, 45.0],
        "common": [40, 40],
        "agreement": [95.0, 95.0],
    }
    assert found["verdicts"].tolist() == ["Ann: relevant · Bob: junk"] * 2
    assert found["notes"].tolist() == ["Bob: not <b>a</b> passage"] * 2
    assert set(zip(found["query"], found["passage"], strict=True)) == set(pairs[:2])
    assert "**2 disagreements**: 2 open, 0 settled by a later verdict." in texts(at)

    gone: list[str] = []
    monkeypatch.setattr(st, "switch_page", gone.append)
    press(at, "agreement-review")
    assert gone == ["pages/views/review.py"]
    assert at.session_state["review-source"] == "disagreements"

    store.decide(pairs[:2], "relevant", "Bob")  # not independent: the figures stay
    at.run()
    assert "**2 disagreements**: 0 open, 2 settled by a later verdict." in texts(at)
    assert next(each for each in at.button if each.key == "agreement-review").disabled
    assert next(each.value for each in at.metric if each.label == "Equal verdicts") == "95%"


@pytest.mark.parametrize(
    ("common", "different", "meaning"),
    [
        (10, 1, "10 common pairs give a rough estimate only."),
        (40, 5, "allow tentative conclusions"),
        (40, 12, "are not reliable: alpha is below 0.67"),
    ],
)
def test_a_sentence_says_what_alpha_means(run: str, store: ReviewStore, common: int, different: int, meaning: str) -> None:
    judge(run, store, common, different)
    assert meaning in texts(opened(run))


def test_many_disagreements_are_cut_to_the_latest(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "LATEST", 3)
    judge(run, store, 20, 5)
    at = opened(run)
    assert len(at.dataframe[1].value) == 3
    assert "The latest 3 of 5." in texts(at)


def test_the_disagreements_are_a_queue_of_the_review_screen(run: str, store: ReviewStore) -> None:
    pairs = judge(run, store, 20, 5)
    store.decide(pairs[:1], "junk", "Cy")  # settled
    at = go(open_app("quality", run=run, state={"review-source": "disagreements"}), "review")
    review = at.session_state["review-session"]
    places = [place for place in range(len(review.queue)) if review.queue.open("Ann")[place]]
    assert {review.texts(place) for place in places} == set(pairs[1:5])
    assert len(review.queue) == 4
