"""An LLM's grades on the Review screen: after the reviewer's own verdict, as queues and in the table; and judging from there."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.models.served.server import Server
from hnmine.retrieval.ranking import ranks_of
from hnmine.review.judge_prompt import DEFAULT_PROMPT
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import Judgement
from hnmine.review.store import ReviewStore
from hnmine.runs.judge_setup import write_judge
from hnmine.runs.workspace import Workspace
from pages.review import filters, pair, session
from pages.review.session import ReviewSession
from pages.shared import judging, reviewers
from tests.pages.conftest import go, open_app, press, texts
from tests.pages.test_review_screen import Desk

REASON = "It says <b>so</b> in **line 2**"


@pytest.fixture
def settings(run: str, space: Workspace) -> JudgeSettings:
    found = JudgeSettings(model="an LLM", server=Server(address="http://127.0.0.1:9/v1"))
    write_judge(space.root, found)
    return found


def grade(pairs: list[tuple[str, str]], *grades: int | None) -> None:
    resources.judgements().add(
        [Judgement(*each, one, REASON, "an LLM", DEFAULT_PROMPT.version) for each, one in zip(pairs, grades, strict=True)]
    )


def chosen(run: str, count: int) -> list[tuple[str, str]]:
    """The first negatives of the first queries."""
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    corpus = opened.inputs.corpus
    return [(corpus.queries[query], corpus.passages[int(selection.negatives[query, 0])]) for query in range(count)]


def desk_of(at: AppTest, monkeypatch: pytest.MonkeyPatch, who: str = "Bob") -> Desk:
    monkeypatch.setattr(reviewers, "is_open", lambda session: True)
    found = Desk(monkeypatch, at.session_state["review-session"], who.lower(), who)
    found.send()
    return found


def name_of(review: ReviewSession, texts_of_pair: tuple[str, str]) -> str:
    return next(review.id_of(review.queue.pair(place)) for place in range(len(review.queue)) if review.texts(place) == texts_of_pair)


def test_a_grade_shows_after_the_reviewers_own_verdict_and_not_before(
    run: str, store: ReviewStore, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = chosen(run, 60)
    grade(pairs, *[3, 0] * 30)
    store.decide(pairs[20:60], "negative", "Ann")  # so that the grade moves the estimate
    bob = desk_of(open_app("review", run=run, state={"review-source": "judged", "review-order": "random"}), monkeypatch)
    first = bob.answer["order"][0]
    sent = json.dumps(bob.answer)
    assert "an LLM" not in sent
    assert "judge" not in json.dumps([{**each, "judge": each["judge"] or None, "id": ""} for each in bob.answer["pairs"]]).replace(
        '"judge": null', ""
    )

    bob.act(1, "decide", "negative", first)
    bob.send()
    said = bob.answer["judged"][first]
    assert said.startswith("Judge (an LLM): grade ")
    assert said.endswith(REASON)
    assert [each["judge"] for each in bob.answer["recent"] if each["id"] == first] in (["judge: 3"], ["judge: 0"])
    assert [each["judge"] for each in bob.answer["recent"] if each["id"] != first] == [""], "of another reviewer"
    bob.pairs.clear()
    bob.wanted = first
    bob.send()
    assert bob.pairs[first]["judge"] == said

    bob.wanted = ""
    bob.act(2, "undo")
    bob.send()
    assert first not in bob.answer["judged"]


def test_the_grade_of_a_pair_that_another_reviewer_judged_stays_hidden(
    run: str, store: ReviewStore, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = chosen(run, 5)
    grade(pairs, 3, 3, 3, 3, 3)
    at = open_app("review", run=run)
    bob, ann = desk_of(at, monkeypatch), desk_of(at, monkeypatch, "Ann")
    name = name_of(bob.review, pairs[0])
    store.decide(pairs[:1], "relevant", "Ann")
    bob.wanted = ann.wanted = name
    bob.send()
    ann.send()
    assert bob.pairs[name]["judge"] == ""
    assert ann.pairs[name]["judge"].startswith("Judge (an LLM): grade 3")


def test_a_setting_shows_grades_first(run: str, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = chosen(run, 30)
    grade(pairs, *[None] * 30)
    at = open_app("review", run=run, state={"review-source": "judged"})
    assert not at.toggle(key=session.GRADES_FIRST).value, "off by default"
    bob = desk_of(at, monkeypatch)
    bob.state[session.GRADES_FIRST] = True
    bob.pairs.clear()
    bob.send()
    assert {each["judge"] for each in bob.pairs.values()} == {f"Judge (an LLM): no usable grade. {REASON}"}


def test_without_the_grade_the_estimate_is_that_of_the_other_signals(run: str, store: ReviewStore, settings: JudgeSettings) -> None:
    pairs = chosen(run, 60)
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    grade(pairs, *[3] * 20 + [0] * 40)
    store.decide(pairs[:20], "relevant", "Ann")
    store.decide(pairs[20:40], "negative", "Ann")
    opened = resources.open_run(run)
    corpus = opened.inputs.corpus
    place = corpus.queries.index(pairs[50][0]), corpus.passages.index(pairs[50][1])
    with_grade = pair.pair_details(corpus, opened.ranking, selection, *place, resources.estimator(opened))
    moved = sum(amount for words, amount in with_grade.reasons if "by the judge" in words)
    assert moved < -0.5, "the judge has a weight"
    hidden = pair.pair_details(corpus, opened.ranking, selection, *place, pair.estimator_without_judge(opened))
    assert hidden.estimate is not None
    assert with_grade.estimate is not None
    odds = [each / (1 - each) for each in (hidden.estimate, with_grade.estimate)]
    assert odds[0] == pytest.approx(odds[1] * math.exp(-moved), rel=1e-3)
    shown = pair.described(opened, selection, frozenset(), *place)
    assert pair.facts(hidden, float(selection.positive[place[0]])) == shown["facts"]
    assert "judge" not in json.dumps(shown["scores"])
    assert any("judge" in each for each in pair.scores(with_grade))


def test_the_order_of_review_is_that_without_the_grades(run: str, store: ReviewStore, settings: JudgeSettings) -> None:
    pairs = chosen(run, 60)
    grade(pairs, *[3] * 20 + [0] * 20 + [3] * 20)
    store.decide(pairs[:20], "relevant", "Ann")
    store.decide(pairs[20:40], "negative", "Ann")
    review = open_app("review", run=run).session_state["review-session"]
    known, blind = resources.estimator(review.run), pair.estimator_without_judge(review.run)
    assert known is not None
    assert blind is not None
    queries, passages = review.queue.queries, review.queue.passages
    at = queries, ranks_of(review.run.ranking.ids, queries, passages)
    assert np.all(np.diff(blind.pairs(*at)) <= 0)
    assert not np.all(np.diff(known.pairs(*at)) <= 0), "the judge has a weight"


@pytest.mark.parametrize(("source", "wanted"), [("judged", [0, 1, 2, 3, 4]), ("judged_relevant", [0, 1, 2]), ("judge_differs", [1, 3])])
def test_judged_pairs_are_queues(run: str, store: ReviewStore, settings: JudgeSettings, source: str, wanted: list[int]) -> None:
    pairs = chosen(run, 5)
    grade(pairs, 3, 2, 3, 0, None)
    store.decide([pairs[0], pairs[3]], "relevant", "Ann")
    store.decide([pairs[1]], "junk", "Ann")
    store.decide([pairs[4]], "negative", "Ann")
    at = open_app("review", run=run, state={"review-source": source})
    review = at.session_state["review-session"]
    assert sorted(pairs.index(review.texts(place)) for place in range(len(review.queue))) == wanted
    todo = [pairs.index(review.texts(place)) for place in range(len(review.queue)) if review.queue.todo[place]]
    assert sorted(todo) == (wanted if source == "judge_differs" else [2])


def test_without_grades_the_screen_is_as_before(run: str) -> None:
    at = open_app("review", run=run, state={"review-source": "judged_relevant"})
    assert at.session_state["review-source"] == "chosen"
    assert filters.SOURCES.keys().isdisjoint(judging.SOURCES)
    assert [each for each in at.toggle if each.key == session.GRADES_FIRST] == []


def test_the_table_has_the_grade_beside_the_verdict(run: str, store: ReviewStore, settings: JudgeSettings) -> None:
    pairs = chosen(run, 3)
    store.decide(pairs, "negative", "Ann")
    at = open_app("review", run=run, state={"review-mode": "table"})
    assert "judge" not in at.dataframe[0].value
    grade(pairs[:2], 2, None)
    at.run()
    table = at.dataframe[0].value
    held = dict(zip(table["query"], table["judge"], strict=True))
    assert held == {pairs[0][0]: "2", pairs[1][0]: "", pairs[2][0]: ""}


def test_judging_from_the_queue_names_its_pairs_and_their_cost(
    run: str, space: Workspace, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[judging.Pairs, JudgeSettings, bool]] = []
    monkeypatch.setattr(judging, "start", lambda run, pairs, settings, *, ask_again: started.append((pairs, settings, ask_again)))
    at = open_app("review", run=run, state={"review-judge": True})
    assert "200 pairs: 0 judged before, 200 calls" in texts(at)
    press(at, "review-judge-start")
    review = at.session_state["review-session"]
    ((pairs, given, again),) = started
    assert (given, again) == (settings, False)
    assert [*zip(*(ids.tolist() for ids in pairs), strict=True)] == [review.queue.pair(place) for place in range(200)]


def test_without_an_llm_the_way_to_choose_one_is_shown(run: str) -> None:
    at = open_app("review", run=run, state={"review-judge": True})
    assert "Choose an LLM in the card Judge on Quality first." in texts(at)


@pytest.mark.parametrize("file", ["judgements.sqlite", "judge.json"])
def test_a_damaged_file_of_the_judge_is_an_error_and_no_lost_screen(run: str, space: Workspace, store: ReviewStore, file: str) -> None:
    store.decide(chosen(run, 1), "negative", "Ann")
    (space.root / file).write_bytes(b"\xff" * 5000)
    at = open_app("review", run=run, state={"review-judge": True})
    for page in ("quality", "review", "inspect", "export"):
        go(at, page)
        assert file in texts(at) or file == "judge.json"
    go(at, "quality")
    assert file in texts(at)


def test_grades_of_another_prompt_are_not_those_of_the_chosen_judge(run: str, space: Workspace, settings: JudgeSettings) -> None:
    pairs = chosen(run, 2)
    grade(pairs, 3, 3)
    opened = resources.open_run(run)
    assert len(judging.graded(opened).by_pair) == 2
    write_judge(space.root, msgspec.structs.replace(settings, model="another"))
    assert judging.graded(opened).judge == (settings.model, settings.prompt.version), "until the chosen one has judged"
    query, passage = pairs[0]
    resources.judgements().add([Judgement(query, passage, 0, "because", "another", settings.prompt.version)])
    found = judging.graded(opened)
    assert found.judge == ("another", settings.prompt.version)
    assert found.grades.tolist() == [0.0]
