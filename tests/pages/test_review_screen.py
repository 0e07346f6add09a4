"""The Review screen through app.py: what a press writes and shows, filters, one verdict for all, files, names, empty states."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.core.text import normalize_text
from hnmine.models.cards import ModelSettings
from hnmine.retrieval.ranking import ranks_of
from hnmine.review.store import ReviewStore
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Workspace
from hnmine.selection.fn_model import FNEstimator
from pages.review.session import ReviewSession
from tests.conftest import mine
from tests.pages.conftest import open_app, press, texts


def counts(at: AppTest) -> str:
    return str(at.get("progress")[0].proto.text)


def query_shown(at: AppTest) -> str:
    return str(next(each.value for each in at.main.text if not each.value.startswith("Also")))


def test_a_press_writes_the_verdict_of_the_pair_shown_and_goes_on(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    assert counts(at).startswith("**0 of 1,815 reviewed**")
    query = query_shown(at)
    press(at, "Relevant: remove")
    (verdict,) = store.verdicts()
    assert (verdict.query, verdict.verdict, verdict.who) == (query, "relevant", "Reviewer 1")
    assert counts(at).startswith("**1 of 1,815 reviewed**")
    assert verdict.passage[:60] in texts(at)  # among the last decisions
    for label in ("Negative", "Relevant: add as positive", "Junk: remove", "Unsure"):
        press(at, label)
    assert [each.verdict for each in store.verdicts()] == ["relevant", "negative", "positive", "junk", "unsure"]
    assert len({(each.query, each.passage) for each in store.verdicts()}) == 5


def test_undo_shows_the_pair_again_and_redo_judges_it_again(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    press(at, "Relevant: remove")
    (first,) = store.verdicts()
    press(at, "Negative")
    press(at, "Undo")
    press(at, "Undo")
    assert store.verdicts() == []
    assert query_shown(at) == first.query
    assert next(each for each in at.button if each.label == "Undo").disabled
    press(at, "Redo")
    (again,) = store.verdicts()
    assert (again.passage, again.verdict) == (first.passage, "relevant")


def test_what_somebody_else_judges_is_not_shown_again(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    press(at, "Negative")
    place, desk = at.session_state["review-session"].place, at.session_state["review-session"]
    following = [desk.texts(each) for each in range(place, place + 3)]
    store.decide(following[1:2], "relevant", "Ann")
    press(at, "Negative")
    assert desk.texts(desk.place) == following[2]
    assert counts(at).startswith("**3 of")
    store.decide(following[2:3], "positive", "Ann")  # the very pair that is being read
    at.run()
    assert "Ann marked this pair as relevant (added as positive) while it was on your screen" in texts(at)
    press(at, "Next pair")
    assert store.verdict(*following[2]).who == "Ann"  # type: ignore[union-attr]
    assert desk.texts(desk.place) != following[2]


def test_a_pair_that_another_leaves_at_this_moment_is_not_given_again(
    run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have written their verdict and gone on after this screen has asked for news, before it takes its next pair."""
    from pages.review.claims import Claims

    at = open_app("review", run=run)
    desk = at.session_state["review-session"]
    following = [desk.texts(desk.place + number) for number in range(3)]
    take = Claims.take

    def late(self: Claims, *args: object) -> int | None:
        store.decide(following[1:2], "relevant", "Ann")
        return take(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "take", late)
        press(at, "Negative")
    assert desk.texts(desk.place) == following[2]


def test_a_verdict_that_cannot_be_written_keeps_the_pair(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from hnmine.core.errors import WorkspaceError

    at = open_app("review", run=run)
    query = query_shown(at)

    def full(*args: object) -> int:
        raise WorkspaceError("the verdicts cannot be written: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ReviewStore, "decide", full)
        press(at, "Relevant: remove")
    assert "the disk is full" in texts(at)
    assert query in texts(at)
    press(at, "Relevant: remove")
    assert store.verdicts()[0].query == query
    assert "the disk is full" not in texts(at)
    assert len(store.verdicts()) == 1


def test_filters_narrow_the_queue_and_one_verdict_goes_to_all_of_it(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    at.text_input(key="review-words").set_value("HELMET").run()
    matching = int(counts(at).split(" of ")[1].split(" ")[0])
    assert 0 < matching < 200
    press(at, "Negative")
    at.segmented_control(key="review-all-choice").set_value("relevant").run()
    press(at, f"Relevant: remove ({matching - 1} pairs)")
    verdicts = store.verdicts()
    assert len(verdicts) == matching
    assert all("helmet" in each.query.casefold() for each in verdicts)
    assert [each.verdict for each in verdicts].count("relevant") == matching - 1
    assert "This queue is reviewed" in texts(at)
    press(at, "Undo")
    assert len(store.verdicts()) == 1
    at.text_input(key="review-words").set_value("no query says this").run()
    assert "No pairs match these filters" in texts(at)


def test_a_reviewed_queue_leads_to_the_negatives_that_came_in(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run, state={"review-query": "helmet"})
    assert at.text_input(key="review-words").value == "helmet"
    matching = len(at.session_state["review-session"].queue)
    at.segmented_control(key="review-all-choice").set_value("relevant").run()
    press(at, f"Relevant: remove ({matching} pairs)")
    press(at, "Look for new pairs")
    assert counts(at).startswith(f"**{matching} of {2 * matching} reviewed**")
    assert at.session_state["review-session"].queue.todo.sum() == matching


def test_dropped_pairs_can_be_looked_at_again_and_judged_anew(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    press(at, "Relevant: remove")
    press(at, "Negative")
    at.pills(key="review-states").set_value(["relevant"]).run()
    assert "1 left in this queue" in counts(at)
    press(at, "Negative")
    assert [each.verdict for each in store.verdicts()] == ["negative", "negative"]
    at.pills(key="review-states").set_value([]).run()  # nothing chosen: what is not reviewed
    assert "1,814 left" in counts(at) or "1,813 left" in counts(at)


@pytest.mark.parametrize("order", ["fn_probability", "ratio", "random", "query", "hubs"])
@pytest.mark.parametrize("source", ["chosen", "window", "nearest"])
def test_every_order_of_every_source_opens(run: str, store: ReviewStore, order: str, source: str) -> None:
    at = open_app("review", run=run)
    at.selectbox(key="review-source").set_value(source)
    at.selectbox(key="review-order").set_value(order).run()
    press(at, "Unsure")
    assert len(store.verdicts()) == 1


def test_the_name_stands_beside_the_verdict_and_undo_goes_by_it(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    at.text_input(key="review-who").set_value("Ann <b>").run()
    press(at, "Relevant: remove")
    assert store.verdicts()[0].who == "Ann <b>"
    at.text_input(key="review-who").set_value("Bob").run()
    assert next(each for each in at.button if each.label == "Undo").disabled


def test_a_name_that_stands_beside_a_decision_is_given_to_nobody_else(run: str, store: ReviewStore) -> None:
    store.decide([("q", "p")], "relevant", "Reviewer 1")  # in a tab that is closed, or at another server
    store.decide([("q", "r")], "relevant", "Reviewer 3")
    at = open_app("review", run=run)
    assert at.text_input(key="review-who").value == "Reviewer 2"
    assert next(each for each in at.button if each.label == "Undo").disabled
    press(at, "Negative")
    press(at, "Negative")
    assert at.text_input(key="review-who").value == "Reviewer 2"  # its own decisions do not take it away
    assert [each.who for each in store.verdicts()][2:] == ["Reviewer 2"] * 2
    st.cache_resource.clear()  # the server starts again
    at = open_app("review", run=run)
    assert at.text_input(key="review-who").value == "Reviewer 4"
    at.text_input(key="review-who").set_value("Reviewer 1").run()  # whoever types a name says that it is theirs
    press(at, "Undo")
    assert len(store.verdicts()) == 3


def test_a_page_loaded_again_keeps_its_name(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.review import claims

    names = claims.Names()
    at_work = {"first"}
    monkeypatch.setattr(claims, "is_open", at_work.__contains__)
    assert names.of("first", "a") == "Reviewer 1"
    store.decide([("q", "p")], "relevant", "Reviewer 1")
    assert names.of("other tab", "a") == "Reviewer 2"
    at_work.clear()
    store.decide([("q", "p")], "relevant", "Reviewer 2")
    assert names.of("stranger", "b") == names.of("stranger", "b") == "Reviewer 3"
    at_work.add("stranger")
    assert names.of("reloaded", "a") == "Reviewer 2"
    at_work.add("reloaded")
    assert names.of("no browser known", "") == "Reviewer 4"


def test_the_mask_of_a_browser_s_token_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

    from pages.review import claims

    cookies: dict[str, str] = {}
    monkeypatch.setattr(claims.st, "context", SimpleNamespace(cookies=cookies))
    found = []
    for token in (b"a" * 16, b"a" * 16, b"b" * 16, None):
        cookies["_streamlit_xsrf"] = generate_xsrf_token_string(token, 7)
        found.append(claims.browser_mark())
    assert found[0] == found[1]
    assert len(set(found)) == 3
    for bad in ("", "1|2", "2|zz|zz|7"):
        cookies["_streamlit_xsrf"] = bad
        assert claims.browser_mark() == ""


def test_an_earlier_decision_about_many_pairs_is_changed_as_one(run: str, store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.review import session

    batch = store.decide([("q", f"p{number}") for number in range(3_000)], "relevant", "Ann")
    with monkeypatch.context() as patch:
        patch.setattr(ReviewStore, "pairs", None)  # a screen asks for no texts
        at = open_app("review", run=run)
        press(at, "Negative")
    assert "3,000 pairs" in texts(at)
    store.decide([("q", "p0")], "unsure", "Bob")
    at.run()
    assert "2,999 pairs" in texts(at)
    monkeypatch.setattr(session.st, "session_state", {session.KEY: at.session_state[session.KEY], "picked": "negative", "review-who": "Cy"})
    session.change(batch, "picked")
    assert sum((each.verdict, each.who) == ("negative", "Cy") for each in store.verdicts()) == 2_999
    session.change(batch, "picked")
    assert "replaced or undone" in at.session_state[session.KEY].message
    assert store.verdict("q", "p0").verdict == "unsure"  # type: ignore[union-attr]


def test_a_file_of_verdicts_that_is_moved_away_is_begun_anew_on_the_screen(run: str, store: ReviewStore, tmp_path: Path) -> None:
    at = open_app("review", run=run)
    press(at, "Relevant: remove")
    press(at, "Relevant: remove")
    for path in store.path.parent.glob("reviews.sqlite*"):
        path.rename(tmp_path / path.name)
    at.run()
    assert counts(at).startswith("**0 of 1,815 reviewed**")
    query = query_shown(at)
    press(at, "Negative")
    assert counts(at).startswith("**1 of 1,815 reviewed**")
    assert [(each.query, each.verdict) for each in store.verdicts()] == [(query, "negative")]
    assert [each.verdict for each in ReviewStore(tmp_path / "reviews.sqlite").verdicts()] == ["relevant", "relevant"]


def test_verdicts_are_downloaded_and_imported(run: str, store: ReviewStore, tmp_path: Path) -> None:
    from pages.review import files

    at = open_app("review", run=run)
    for label in ("Relevant: remove", "Relevant: add as positive", "Unsure"):
        press(at, label)
    lines = files.lines()
    assert [json.loads(line)["verdict"] for line in lines.splitlines()] == ["relevant", "positive", "unsure"]
    verdicts = store.verdicts()
    for _ in range(3):
        press(at, "Undo")
    assert store.verdicts() == []
    at.file_uploader(key="review-upload").upload("verdicts.jsonl", lines, "application/jsonl").run()
    press(at, "Import")
    assert "3 new verdicts, 0 changed, 0 unchanged" in texts(at)
    assert store.verdicts() == verdicts
    assert counts(at).startswith("**3 of")
    at.file_uploader(key="review-upload").upload("bad.jsonl", b'{"query": "q"}\n', "application/jsonl").run()
    press(at, "Import")
    assert "The verdicts were not imported" in texts(at)
    assert "bad.jsonl:1 is not a valid verdict" in texts(at)


def test_corpus_text_is_shown_literally(space: Workspace, tmp_path: Path) -> None:
    nasty = "<b>bold</b> **stars** :material/home: $x$ [link](javascript:alert(1)) pump"
    file = tmp_path / "nasty.jsonl"
    rows = [{"query": f"{nasty} q{number}", "pos": [f"{nasty} positive {number}"]} for number in range(8)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    dataset = space.add_dataset("nasty", file)
    settings = MineSettings(model=ModelSettings(), selection=type(MineSettings().selection)(window_start=0, negative_number=3))
    nasty_run = mine(space, dataset.id, settings, 8)
    at = open_app("review", run=nasty_run)
    press(at, "Relevant: remove")
    rendered = [str(each.value) for kind in (at.markdown, at.caption, at.toast) for each in kind]
    assert rendered
    assert not any("javascript:" in each or "**stars" in each or "<b>" in each or "$x$" in each for each in rendered)
    assert sum(nasty in str(each.value) for each in at.text) >= 3
    shown = [each.proto.body for each in at.get("html")]
    assert {tag for body in shown for tag in re.findall(r"</?\w+", body)} == {"<div", "</div", "<mark", "</mark"}
    assert any("&lt;b&gt;bold&lt;/b&gt;" in re.sub("</?mark[^>]*>", "", body) for body in shown)


def test_an_empty_server_says_where_to_go(fresh: Path) -> None:
    assert "No run is open" in texts(open_app("review"))


def test_a_damaged_file_of_verdicts_is_told_on_the_screen(run: str, space: Workspace) -> None:
    (space.root / "reviews.sqlite").write_bytes(b"no database at all " * 300)
    assert "are damaged" in texts(open_app("review", run=run))


def test_a_promoted_passage_leaves_the_negatives_of_the_selection(run: str, store: ReviewStore) -> None:
    from hnmine import resources

    at = open_app("review", run=run)
    press(at, "Relevant: add as positive")
    (verdict,) = store.verdicts()
    opened = resources.open_run(run)
    chosen = resources.selection(opened, resources.workspace().run(run).settings.selection)
    corpus = opened.inputs.corpus
    query = next(number for number, text in enumerate(corpus.queries) if normalize_text(text) == normalize_text(verdict.query))
    passage = next(number for number, text in enumerate(corpus.passages) if normalize_text(text) == normalize_text(verdict.passage))
    assert passage in corpus.positives(query)
    assert passage not in chosen.negatives[query]


def test_the_order_is_that_of_the_estimate_and_stays_while_it_is_read(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    assert "fitted on" not in texts(at)
    assert "false-negative probability " in texts(at)
    desk = at.session_state["review-session"]
    opened = resources.open_run(run)
    estimator = resources.estimator(opened)
    assert estimator is not None

    def highest(desk: ReviewSession, estimator: FNEstimator) -> list[float]:
        ranks = ranks_of(opened.ranking.ids, desk.queue.queries, desk.queue.passages)
        return estimator.pairs(desk.queue.queries[ranks >= 0], ranks[ranks >= 0]).tolist()

    found = highest(desk, estimator)
    assert found == sorted(found, reverse=True)
    order = [desk.queue.pair(place) for place in range(len(desk.queue))]
    for label in ("Relevant: remove", "Negative", "Relevant: remove", "Negative"):
        press(at, label)
    assert resources.open_run(run).fn_model.verdicts == 4, "the model has learnt"
    desk = at.session_state["review-session"]
    assert [desk.queue.pair(place) for place in range(len(desk.queue))] == order, "and the queue has not moved"
    assert "fitted on" not in texts(at)
    judging_again = open_app("review", run=run)
    assert "The model is fitted on 4 verdicts." in texts(judging_again)
    learnt = highest(judging_again.session_state["review-session"], resources.estimator(resources.open_run(run)))
    assert learnt == sorted(learnt, reverse=True)


def test_signals_have_names_and_filter(run: str, store: ReviewStore) -> None:
    at = open_app("review", run=run)
    shown = next(each.value for each in at.caption if "**Candidate**" in each.value)
    assert "% of the best match" in shown
    assert "positive_similarity" not in shown
    at.selectbox(key="review-signal").select("bm25_ratio").run()
    at.number_input(key="review-min-signal").set_value(0.5).run()
    assert not at.exception
    desk = at.session_state["review-session"]
    ranks = ranks_of(desk.run.ranking.ids, desk.queue.queries, desk.queue.passages)
    assert 0 < len(desk.queue) < 1_815
    assert (desk.run.ranking.signals["bm25_ratio"][desk.queue.queries, ranks] >= 0.5).all()
