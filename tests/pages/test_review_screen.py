"""The Review screen: what the server writes and answers to a desk, and the native part of the screen through app.py."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.text import normalize_text
from hnmine.review.queue import QueueSettings
from hnmine.review.store import ReviewStore
from hnmine.runs.workspace import Workspace
from pages.review import desk, exchange, guidelines, pair, session
from pages.review.session import ReviewSession
from pages.shared import reviewers
from tests.pages.conftest import open_app, press, texts


class State(dict[str, Any]):
    """A session's state without a server."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class Desk:
    """A browser with a desk: keeps its decisions until they are acknowledged, and the pairs that it got."""

    def __init__(self, patch: pytest.MonkeyPatch, review: ReviewSession, name: str, who: str = "") -> None:
        self.patch, self.review, self.name, self.who = patch, review, name, who
        self.state = State({session.KEY: review, "run": review.run.run.id})
        self.turn, self.outbox, self.pairs, self.answer = 0, list[dict[str, Any]](), dict[str, dict[str, Any]](), dict[str, Any]()
        self.current, self.mode, self.overlap, self.wanted = "", "pair", 0, ""

    def send(self, *boxes: dict[str, Any]) -> dict[str, Any]:
        """Send everything that is not acknowledged, and take the answer."""
        self.turn += 1
        self.patch.setattr(st, "session_state", self.state)
        self.patch.setattr(exchange, "session_id", lambda: self.name)
        self.patch.setattr(reviewers, "session_id", lambda: self.name)
        own = [{"desk": self.name, "actions": self.outbox}] if self.outbox else []
        message = {
            "desk": self.name,
            "turn": self.turn,
            "queue": self.answer.get("queue", ""),
            "who": self.who,
            "have": [*self.pairs],
            "current": self.current,
            "again": self.wanted,
        }
        self.state[desk.KEY] = {"sent": message | {"boxes": [*boxes, *own]}}
        exchange.receive()
        self.answer = exchange.answer(self.review, self.mode, self.overlap)  # type: ignore[arg-type]
        self.pairs |= {each["id"]: each for each in self.answer["pairs"]}
        done = self.answer["recorded"].get(self.name, 0)
        self.outbox = [each for each in self.outbox if each["seq"] > done]
        return self.answer

    def act(self, seq: int, kind: str = "decide", verdict: str | None = None, *pairs: str, **more: Any) -> None:
        """Note an action."""
        who = self.who or self.answer.get("who", "")
        run = self.review.run.run.id
        self.outbox.append({"seq": seq, "kind": kind, "run": run, "who": who, "pairs": [*pairs], "verdict": verdict, **more})

    def text(self, name: str) -> tuple[str, str]:
        """The texts of a pair as the desk draws them."""
        return "".join(self.pairs[name]["query"]), "".join(self.pairs[name]["candidate"])


@pytest.fixture
def review(run: str) -> ReviewSession:
    """The review of the mined example with the default settings."""
    found: ReviewSession = open_app("review", run=run).session_state["review-session"]
    return found


@pytest.fixture
def bob(monkeypatch: pytest.MonkeyPatch, review: ReviewSession) -> Desk:
    """A desk that has its first pairs."""
    monkeypatch.setattr(reviewers, "is_open", lambda session: True)
    found = Desk(monkeypatch, review, "bob", "Bob")
    found.send()
    return found


# What is written


def test_decisions_are_written_once_in_order_with_reviewer_and_note(bob: Desk, store: ReviewStore) -> None:
    first, second = bob.answer["order"][:2]
    bob.act(1, "decide", "relevant", first, note="says so in line 2")
    twice = bob.outbox[0]
    assert bob.send()["recorded"] == {"bob": 1}
    assert bob.outbox == []
    bob.outbox = [twice]  # the answer was lost
    bob.act(2, "decide", "junk", second)
    bob.send()
    found = store.verdicts()
    assert [(each.query, each.passage, each.verdict, each.who, each.note) for each in found] == [
        (*bob.text(first), "relevant", "Bob", "says so in line 2"),
        (*bob.text(second), "junk", "Bob", ""),
    ]
    assert bob.answer["done"] == 2
    assert [each["verdict"] for each in bob.answer["recent"]] == ["junk", "relevant"]
    assert not {first, second} & {*bob.answer["order"]}


def test_what_a_closed_page_left_unsaved_is_written_under_its_own_number(bob: Desk, store: ReviewStore) -> None:
    first = bob.answer["order"][0]
    left = {"seq": 1, "kind": "decide", "run": bob.review.run.run.id, "who": "Bob", "pairs": [first], "verdict": "relevant"}
    for _ in range(2):  # two pages find it
        assert bob.send({"desk": "before", "actions": [left]})["recorded"] == {"before": 1}
    assert [each.verdict for each in store.verdicts()] == ["relevant"]


def test_an_error_of_the_store_keeps_decisions_unsaved_until_it_is_gone(
    bob: Desk, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.act(1, "decide", "relevant", bob.answer["order"][0])

    def full(*_: object) -> int:
        raise WorkspaceError("the verdicts cannot be written: the disk is full; free some space, then try again")

    with monkeypatch.context() as patch:
        patch.setattr(ReviewStore, "record", full)
        assert "free some space" in bob.send()["error"]
    assert len(bob.outbox) == 1
    assert bob.send()["error"] == ""
    assert bob.outbox == []
    assert len(store.verdicts()) == 1


@pytest.mark.parametrize("name", ["0.0.000000000000", "1.2", "a.b.c", "-1.-1.x", "999999.1.abc"])
def test_a_decision_on_texts_that_the_data_lacks_is_refused_and_not_written_elsewhere(bob: Desk, store: ReviewStore, name: str) -> None:
    bob.act(1, "decide", "relevant", name)
    assert "does not have; restore the data" in bob.send()["error"]
    assert store.verdicts() == []
    assert len(bob.outbox) == 1


def test_a_message_that_no_desk_sends_is_an_error_on_the_desk(bob: Desk, store: ReviewStore) -> None:
    bob.state[desk.KEY] = {"sent": {"desk": 7, "boxes": "all"}}
    exchange.receive()
    assert "cannot be read" in session.at_desk().error
    assert bob.send()["error"] == ""


def test_an_undo_of_what_the_page_no_longer_has_is_done_by_the_server_and_shows_the_pair(bob: Desk, store: ReviewStore) -> None:
    first = bob.answer["order"][0]
    store.decide([bob.text(first)], "relevant", "Bob")  # yesterday
    bob.send()
    bob.act(1, "undo", asked=True)
    answer = bob.send()
    assert answer["message"]["text"] == "Undone: 1 pair."
    assert answer["show"]["id"] == first
    assert store.verdicts() == []
    bob.act(2, "undo", asked=True)
    assert bob.send()["message"]["text"] == "Nothing to undo."
    bob.act(3, "redo", asked=True)
    assert bob.send()["message"]["text"] == "Redone: 1 pair."
    assert len(store.verdicts()) == 1


# What is sent


def test_a_desk_gets_only_pairs_that_it_does_not_have(bob: Desk) -> None:
    assert len(bob.answer["order"]) == len(bob.answer["pairs"]) == 50
    assert bob.send()["pairs"] == []
    bob.act(1, "decide", "unsure", *bob.answer["order"][:3])
    before = bob.answer["order"]
    answer = bob.send()
    assert answer["order"][:47] == before[3:]
    assert [each["id"] for each in answer["pairs"]] == answer["order"][47:]


def test_two_desks_have_different_pairs_and_a_closed_one_frees_its_own(bob: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Desk(monkeypatch, bob.review, "ann", "Ann")
    assert not {*ann.send()["order"]} & {*bob.answer["order"]}
    monkeypatch.setattr(reviewers, "is_open", lambda session: session != "bob")
    assert ann.send()["order"][:10] == ann.answer["order"][:10]
    third = Desk(monkeypatch, bob.review, "cy", "Cy")
    assert third.send()["order"] == bob.answer["order"]


def test_a_server_that_starts_again_leaves_a_desk_its_pairs(bob: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Desk(monkeypatch, bob.review, "ann", "Ann")
    hers = ann.send()["order"]
    st.cache_resource.clear()
    for each in (ann, bob):
        each.state.pop("review-desk-state")
    assert ann.send()["order"] == hers, "hers come after those of Bob in the queue"
    assert not {*bob.send()["order"]} & {*hers}


def test_pairs_of_a_desk_count_in_the_queue_of_a_server_that_starts_again(bob: Desk) -> None:
    """Its selection honours the verdicts so far, and may have other negatives."""
    kept, order = bob.review.queue, bob.answer["order"]
    names = ("queries", "passages", "scores", "ratios", "verdicts", "todo", "overlap")
    bob.review.queue = replace(kept, **{name: getattr(kept, name)[60:] for name in names}, _sorted=None)
    st.cache_resource.clear()
    bob.state.pop("review-desk-state")
    bob.current = order[1]
    bob.act(1, "decide", "relevant", order[0])
    answer = bob.send()
    assert (answer["done"], answer["total"]) == (1, len(kept) - 10)
    assert answer["order"][:49] == order[1:], "the desk goes on with the pairs that it has"


def test_a_pair_that_another_has_judged_leaves_the_list_and_is_named_on_the_desk(bob: Desk, store: ReviewStore) -> None:
    first, second, third = bob.answer["order"][:3]
    store.decide([bob.text(second)], "relevant", "Ann")
    bob.current = first
    assert bob.send()["order"][:2] == [first, third]
    assert bob.answer["taken"] == {}
    store.decide([bob.text(first)], "positive", "Ann")
    taken = bob.send()["taken"]
    assert taken == {
        first: "Ann marked this pair as relevant (added as positive) while it was on your screen. Your verdict replaces theirs."
    }


def test_overlap_gives_shared_pairs_to_a_second_reviewer(bob: Desk, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Desk(monkeypatch, bob.review, "ann", "Ann")
    for each in (ann, bob):
        each.overlap = 100
    judged = bob.answer["order"][:5]
    bob.act(1, "decide", "relevant", *judged)
    bob.send()
    assert not {*judged} & {*bob.answer["order"]}
    assert ann.send()["order"][:5] == judged
    ann.act(1, "decide", "negative", *judged)
    ann.send()
    assert {(each.who, each.verdict) for each in store.by_reviewer()} == {("Bob", "relevant"), ("Ann", "negative")}
    assert not {*judged} & {*ann.answer["order"]} | {*judged} & {*bob.send()["order"]}


def test_a_pair_is_drawn_with_its_facts_and_rare_common_words(bob: Desk) -> None:
    described = bob.pairs[bob.answer["order"][0]]
    query, passage = pair.numbers_of(described["id"], bob.review.run.inputs.corpus)  # type: ignore[misc]
    corpus = bob.review.run.inputs.corpus
    assert "".join(described["query"]) == corpus.queries[query]
    assert "".join(described["candidate"]) == corpus.passages[passage]
    assert "".join(described["positives"][0]["text"]) in {corpus.passages[each] for each in corpus.positives(query)}
    assert described["facts"].startswith("rank ")
    assert "similarity 0." in described["facts"]
    assert "% likely relevant" in described["facts"]
    assert any("ratio to the positive" in each for each in described["scores"])


def test_words_of_two_letters_and_common_words_are_not_highlighted() -> None:
    text = "It's a trail, the trail to Söl 漢字"
    found = pair.parts(text, ["it s a the TRAIL Söl 漢字"], frozenset({"the"}))
    assert found == ["It's a ", "trail", ", the ", "trail", " to ", "Söl", " ", "漢字", ""]


def test_a_pair_is_shown_again_for_a_change_of_its_verdict(bob: Desk, store: ReviewStore) -> None:
    first = bob.answer["order"][0]
    bob.act(1, "decide", "relevant", first)
    bob.send()
    bob.pairs.clear()
    bob.wanted = first
    bob.send()
    assert bob.pairs[first]["verdict"] == "relevant (removed)"
    bob.act(2, "decide", "negative", first)
    bob.send()
    assert [each.verdict for each in store.verdicts()] == ["negative"]


def test_query_mode_gives_the_negatives_of_a_query_together(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_app("review", run=run, state={"review-mode": "query"})
    found = Desk(monkeypatch, at.session_state["review-session"], "bob", "Bob")
    found.mode = "query"
    found.send()
    queries = [found.pairs[each]["query_id"] for each in found.answer["order"]]
    assert len(queries) == 120
    assert len([*dict.fromkeys(queries)]) == 1 + sum(one != two for one, two in pairwise(queries))
    assert queries.count(queries[0]) == 15


@pytest.mark.parametrize("order", ["fn_probability", "ratio", "random", "query", "hubs"])
@pytest.mark.parametrize("source", ["chosen", "window", "nearest"])
def test_every_order_of_every_source_opens(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch, order: str, source: str) -> None:
    at = open_app("review", run=run, state={"review-source": source, "review-order": order})
    found = Desk(monkeypatch, at.session_state["review-session"], "bob", "Bob")
    assert found.review.queue.settings == QueueSettings(source=source, order=order)  # type: ignore[arg-type]
    found.send()
    found.act(1, "decide", "unsure", found.answer["order"][0])
    found.send()
    assert len(store.verdicts()) == 1


def test_disagreements_are_a_queue(run: str, store: ReviewStore, bob: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = bob.text(bob.answer["order"][0]), bob.text(bob.answer["order"][1])
    for who, verdict in (("Ann", "relevant"), ("Bob", "negative")):
        store.decide([one], verdict, who)  # type: ignore[arg-type]
        store.decide([two], "negative", who)
    monkeypatch.undo()
    at = open_app("review", run=run, state={"review-source": "disagreements"})
    assert len(at.session_state["review-session"].queue) == 1


# Reviewers


def test_a_default_name_is_one_that_no_decision_and_no_other_desk_has(
    run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewers, "is_open", lambda session: session != "closed")
    store.decide([("q", "p")], "relevant", "Reviewer 1")
    found = reviewers.Desks()
    assert found.new_name("a") == "Reviewer 2"
    assert found.new_name("closed") == "Reviewer 3"
    assert found.new_name("b") == "Reviewer 3"
    found.enter("a", "desk a", "Ann")
    assert found.new_name("c") == "Reviewer 2"


# The data set's guidelines and overlap


def test_guidelines_and_overlap_are_kept_with_the_data_set(run: str, space: Workspace) -> None:
    at = open_app("review", run=run)
    dataset_id = at.session_state["dataset"]
    at.text_area(key=f"review-guidelines-{dataset_id}").set_value("Relevant: **answers** the question.").run()
    press(at, "Save guidelines")
    at.radio(key=f"review-overlap-{dataset_id}").set_value(10).run()
    assert (space.dataset_folder(dataset_id) / "guidelines.md").read_text("utf-8") == "Relevant: **answers** the question."
    other = open_app("review", run=run)
    assert "Relevant: **answers** the question." in texts(other)
    assert other.radio(key=f"review-overlap-{dataset_id}").value == 10
    for name in ("guidelines.md", "review.json"):
        (space.dataset_folder(dataset_id) / name).write_bytes(b"\xff\xfe{")
    for read in (guidelines.guidelines, guidelines.overlap):
        with pytest.raises(HnmineError, match="delete"):
            read(dataset_id)


# The native part of the screen


def queue_of(at: AppTest) -> Any:
    return at.session_state["review-session"].queue


def test_filters_are_counted_and_cleared(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run, state={"review-query": "HELMET"})
    assert 0 < len(queue_of(at)) < 200
    at.number_input(key="review-min-score").set_value(0.3).run()
    assert "Filters (2)" in [each.proto.popover.label for each in at.get("popover")]
    press(at, "review-clear")
    assert len(queue_of(at)) == 1_815
    assert at.text_input(key="review-words").value == ""


def test_one_verdict_goes_to_all_of_a_queue_and_new_pairs_come_in(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run, state={"review-query": "helmet"})
    matching = len(queue_of(at))
    at.radio(key="review-all-choice").set_value("relevant").run()
    press(at, f"Relevant: remove ({matching} pairs)")
    assert {each.verdict for each in store.verdicts()} == {"relevant"}
    assert len(store.verdicts()) == matching
    assert not queue_of(at).todo.any()
    state = at.session_state["review-desk-state"]
    assert state.batches == 1, "so that Undo on the desk reverts it first"
    assert "Undo reverts all of them" in state.message["text"]
    at.session_state["review-refreshes"] = 1  # as "Look for new pairs" does, which shows once a desk has said that it is there
    at.run()
    assert len(queue_of(at)) == 2 * matching
    assert queue_of(at).todo.sum() == matching


def test_judged_pairs_can_be_reviewed_again(run: str, store: ReviewStore, bob: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store.decide([bob.text(bob.answer["order"][0])], "relevant", "Ann")
    monkeypatch.undo()
    at = open_app("review", run=run)
    at.multiselect(key="review-states").set_value(["relevant"]).run()
    assert len(queue_of(at)) == queue_of(at).todo.sum() == 1
    at.multiselect(key="review-states").set_value([]).run()  # nothing chosen: what is not reviewed
    assert queue_of(at).todo.sum() == 1_815


def test_signals_have_names_and_filter(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    at.selectbox(key="review-signal").select("bm25_ratio").run()
    at.number_input(key="review-min-signal").set_value(0.5).run()
    assert not at.exception
    assert 0 < len(queue_of(at)) < 1_815


def test_the_order_is_that_of_the_estimate_and_stays_while_it_is_read(run: str, store: ReviewStore, bob: Desk) -> None:
    order = [bob.review.queue.pair(place) for place in range(len(bob.review.queue))]
    for number, verdict in enumerate(("relevant", "negative", "relevant", "negative"), start=1):
        bob.act(number, "decide", verdict, bob.answer["order"][0])
        bob.send()
    assert [bob.review.queue.pair(place) for place in range(len(bob.review.queue))] == order
    bob.patch.undo()
    again = open_app("review", run=run)
    assert "The order uses an estimate updated with 4 verdicts." in texts(again)
    assert resources.open_run(run).fn_model.verdicts == 4


def test_a_promoted_passage_leaves_the_negatives_of_the_selection(run: str, store: ReviewStore, bob: Desk) -> None:
    bob.act(1, "decide", "positive", bob.answer["order"][0])
    bob.send()
    (verdict,) = store.verdicts()
    opened = resources.open_run(run)
    chosen = resources.selection(opened, bob.review.selection.settings)
    corpus = opened.inputs.corpus
    query = next(number for number, text in enumerate(corpus.queries) if normalize_text(text) == normalize_text(verdict.query))
    passage = next(number for number, text in enumerate(corpus.passages) if normalize_text(text) == normalize_text(verdict.passage))
    assert passage in corpus.positives(query)
    assert passage not in chosen.negatives[query]


def test_an_audit_sample_has_a_goal(run: str, review: ReviewSession, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.shared import audit

    audit.draw(review.run, review.selection, 120)
    at = open_app("review", run=run, state={"review-audit": ["unreviewed"]})
    found = Desk(monkeypatch, at.session_state["review-session"], "bob", "Bob")
    assert "more to reach ±3 points" in found.send()["goal"]
    before = int("".join(filter(str.isdigit, found.answer["goal"].split(" more")[0])))
    found.act(1, "decide", "negative", *found.answer["order"][:4])
    assert f"about {before - 4} more" in found.send()["goal"]


def test_verdicts_are_downloaded_and_imported(run: str, store: ReviewStore, tmp_path: Path) -> None:
    from pages.review import files

    for number, verdict in enumerate(("relevant", "positive", "unsure")):
        store.decide([("q", f"p{number}")], verdict, "Ann")  # type: ignore[arg-type]
    lines = files.lines()
    assert [json.loads(line)["verdict"] for line in lines.splitlines()] == ["relevant", "positive", "unsure"]
    verdicts = store.verdicts()
    for _ in range(3):
        store.undo("Ann")
    assert store.verdicts() == []
    at = open_app("review", run=run)
    at.file_uploader(key="review-upload").upload("verdicts.jsonl", lines, "application/jsonl").run()
    press(at, "Import")
    assert "3 new verdicts, 0 changed, 0 unchanged" in texts(at)
    assert store.verdicts() == verdicts
    at.file_uploader(key="review-upload").upload("bad.jsonl", b'{"query": "q"}\n', "application/jsonl").run()
    press(at, "Import")
    assert "The verdicts were not imported" in texts(at)
    assert "bad.jsonl:1 is not a valid verdict" in texts(at)


def test_a_file_of_verdicts_that_is_moved_away_is_begun_anew(run: str, store: ReviewStore, bob: Desk, tmp_path: Path) -> None:
    bob.act(1, "decide", "relevant", bob.answer["order"][0])
    bob.send()
    for path in store.path.parent.glob("reviews.sqlite*"):
        path.rename(tmp_path / path.name)
    assert session.outdated(bob.review)
    bob.patch.undo()
    at = open_app("review", run=run)
    assert np.count_nonzero(queue_of(at).verdicts) == 0
    assert [each.verdict for each in ReviewStore(tmp_path / "reviews.sqlite").verdicts()] == ["relevant"]


def test_an_empty_server_says_where_to_go(fresh: Path) -> None:
    assert "No run is open" in texts(open_app("review"))


def test_a_damaged_file_of_verdicts_is_told_on_the_screen(run: str, space: Workspace) -> None:
    (space.root / "reviews.sqlite").write_bytes(b"no database at all " * 300)
    assert "are damaged" in texts(open_app("review", run=run))
