"""The Quality screen through app.py: from nothing to a sample, its review, the rate, the manifest; and what else it counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.analysis import diagnostics
from hnmine.models.cards import ModelSettings
from hnmine.review.audit_sample import Sample, different_pairs, pairs_in
from hnmine.review.store import ReviewStore
from hnmine.runs.audit_samples import kept_sample
from hnmine.runs.mine import MineSettings
from hnmine.runs.variants import save_variant
from hnmine.runs.workspace import Workspace
from tests.conftest import mine
from tests.pages.conftest import go, open_app, press, texts


def headline(at: AppTest) -> str:
    return next(str(each.value) for each in at.subheader if "alse" in str(each.value)).replace("\u00a0%", "%").replace(" %", "%")


def sample_of(space: Workspace, run: str) -> Sample:
    found = kept_sample(space, run, space.run(run).settings.selection)
    assert found is not None
    return found


def judge_all(store: ReviewStore, sample: Sample, run: str, *, wrong: int = 0, first: int | None = None) -> list[tuple[str, str]]:
    """Judge the first pairs of a sample negative, but the first `wrong` of them relevant; return the pairs."""
    corpus = resources.open_run(run).inputs.corpus
    queries, passages = different_pairs(*pairs_in(sample, corpus))
    pairs = [(corpus.queries[q], corpus.passages[p]) for q, p in zip(queries, passages, strict=True)][:first]
    store.decide(pairs[:wrong], "relevant", "Ann")
    store.decide(pairs[wrong:], "negative", "Ann")
    return pairs


def test_without_a_sample_nothing_is_claimed_and_one_is_offered(run: str, space: Workspace) -> None:
    at = open_app("quality", run=run)
    assert headline(at) == "False negatives: not audited"
    assert "confidence interval" in texts(at)
    at.number_input(key="audit-size").set_value(80).run()
    assert "80 reviews give a margin of error of about ±" in texts(at)
    press(at, "audit-draw")
    assert headline(at) == "False negatives in this selection: not enough reviews"
    assert "No pair is reviewed yet. The estimate needs 30 more reviews." in texts(at)
    sample = sample_of(space, run)
    assert len(sample.reviewed_draws) == 80
    assert sample.negatives == 1_860  # 124 rows x 15: rows that ask the same count each


def test_the_sample_is_reviewed_in_its_order_and_its_rate_then_stands_on_the_screen(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    press(at, "audit-review")
    go(at, "review")  # where the button leads
    desk = at.session_state["review-session"]
    assert at.selectbox(key="review-source").value == "audit"
    sample = sample_of(space, run)
    corpus = resources.open_run(run).inputs.corpus
    expected = different_pairs(*pairs_in(sample, corpus))
    assert [desk.queue.pair(place) for place in range(len(desk.queue))] == list(zip(*(each.tolist() for each in expected), strict=True))
    store.decide([desk.texts(0)], "relevant", "Ann")
    (verdict,) = store.verdicts()
    assert verdict.passage == corpus.passages[expected[1][0]]
    judge_all(store, sample, run, wrong=1)  # somebody else does the rest
    at.run()
    assert not desk.queue.todo.any()
    go(at, "quality")
    shown = texts(at)
    assert headline(at).startswith("False negatives in the sampled selection: ")
    assert "120 reviewed, 1 false. Drawn at random from 1,860 negatives, within bands of the ratio to the positive" in shown
    assert "After removing the false negatives found" in shown
    press(at, "audit-review")
    go(at, "review")  # to look at them again
    assert at.session_state["review-session"].queue.todo.all()
    shown = {each.label: each.value for each in go(at, "mine").metric}
    assert re.fullmatch(r"\d+\.\d%", shown["False negatives"]), "in place of the estimate's range"
    assert "The false-negative rate is audited: 95% confidence interval " in texts(at)


def test_verdicts_on_other_pairs_make_no_rate(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    sample, opened = sample_of(space, run), resources.open_run(run)
    drawn = set(zip(*(each.tolist() for each in pairs_in(sample, opened.inputs.corpus)), strict=True))
    selection, corpus = resources.selection(opened, space.run(run).settings.selection), opened.inputs.corpus
    others = [
        (corpus.queries[q], corpus.passages[p])
        for q in range(len(corpus.queries))
        for p in selection.negatives[q].tolist()
        if p >= 0 and (q, p) not in drawn
    ]
    store.decide(others[:300], "relevant", "Ann")
    at.run()
    assert headline(at) == "False negatives in the sampled selection: not enough reviews"
    assert "No pair is reviewed yet" in texts(at)


def test_more_reviews_go_on_where_the_sample_ended(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    before = sample_of(space, run)
    judge_all(store, before, run)
    at.number_input(key="audit-precision").set_value(1.0).run()
    assert "more reviews at the rates found so far" in texts(at)
    added = int(at.button(key="audit-enlarge").label.split()[1])
    press(at, "audit-enlarge")
    after = sample_of(space, run)
    assert len(after.reviewed_draws) == 120 + added
    assert (after.reviewed_draws[:120], after.fingerprint, after.drawn) == (before.reviewed_draws, before.fingerprint, before.drawn)
    at.number_input(key="audit-precision").set_value(20.0).run()
    assert "Reached." in texts(at)
    at.number_input(key="audit-precision").set_value(0.1).run()
    assert "Needs " in texts(at)


def test_a_cut_is_recommended_only_from_enough_reviews(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    sample = sample_of(space, run)
    judge_all(store, sample, run, first=40)
    at.run()
    assert "Not enough reviews. A recommendation needs at least 60" in texts(at)
    corpus = resources.open_run(run).inputs.corpus
    last = len(sample.bands) - 1
    queries, passages = pairs_in(sample, corpus)
    pairs = [(corpus.queries[q], corpus.passages[p]) for q, p in zip(queries, passages, strict=True)]
    store.decide(pairs, "negative", "Ann")
    at.run()
    assert "No filter is needed" in texts(at)
    store.decide([pair for pair, draw in zip(pairs, sample.draws, strict=False) if draw.band == last], "positive", "Ann")
    at.run()
    at.number_input(key="audit-wanted").set_value(1.0).run()
    limit = sample.bands[last].low
    assert f"PercPos at **{limit:.3g}**: about **0.0%** false" in texts(at)
    assert any(each.value == f"--max_positive_ratio {limit:g}" for each in at.code)


def test_another_selection_has_no_audit_and_the_old_one_is_found_again(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    judge_all(store, sample_of(space, run), run)
    at.run()
    settings = space.run(run).settings.selection
    deeper = save_variant(space, run, "deeper", msgspec.structs.replace(settings, window_start=30))
    at = open_app("quality", run=run, variant=deeper.id)
    assert headline(at) == "False negatives: not audited"
    assert "audit" not in go(at, "review").selectbox(key="review-source").options
    assert "120 reviewed" in texts(open_app("quality", run=run))


def test_a_sample_that_is_gone_is_not_asked_for_on_the_review_screen(run: str, space: Workspace) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    press(at, "audit-review")
    go(at, "review")
    next(space.run_folder(run).glob("audit-*")).unlink()
    at.run()
    assert not at.exception
    assert at.selectbox(key="review-source").value == "chosen"


def test_a_new_sample_is_drawn_of_what_verdicts_have_changed(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    first = sample_of(space, run)
    judge_all(store, first, run, wrong=20)
    at.run()
    press(at, "audit-draw-anew")
    second = sample_of(space, run)
    assert second.fingerprint != first.fingerprint
    assert len(set(second.reviewed_draws) & set(first.reviewed_draws)) < 40
    assert "in this selection: not enough reviews" in headline(at)
    assert len(store.verdicts()) > 100


def test_the_manifest_and_the_export_screen_tell_of_the_audit(
    run: str, space: Workspace, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hnmine.runs import manifest

    written: list[dict[str, object]] = []
    monkeypatch.setattr(manifest, "encoded", lambda record: written.append(dict(record)) or manifest.msgspec.json.encode(record))
    at = open_app("export", run=run)
    assert "Not audited. The rate of false negatives is unknown." in texts(at)
    assert "audit" not in written[-1]
    press(go(at, "quality"), "audit-draw")
    sample = sample_of(space, run)
    judge_all(store, sample, run)
    at = go(at, "export")
    assert "Audited: 0.0% false negatives (95% confidence interval 0.0-" in texts(at)
    audit = written[-1]["audit"]
    assert isinstance(audit, dict)
    assert (audit["reviewed"], audit["false"], audit["seed"], audit["left"]) == (120, 0, 42, None)
    assert audit["selection"] == audit["exported"] == sample.fingerprint
    judge_all(store, sample, run, wrong=3)
    at = go(at, "export")
    assert "false negatives after the review" in texts(at)
    audit = written[-1]["audit"]
    assert isinstance(audit, dict)
    assert audit["selection"] != audit["exported"]
    assert audit["left"]["rate"] < audit["rate"]
    assert sum(band["false"] for band in audit["bands"]) == audit["false"] >= 3


def test_a_damaged_sample_is_told_and_the_other_screens_go_on(run: str, space: Workspace) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    next(space.run_folder(run).glob("audit-*")).write_text("no json")
    at.run()
    assert not at.exception
    assert "The audit cannot be read" in texts(at)
    assert "draw another" in texts(at)
    assert "The audit cannot be read" in texts(go(at, "export"))
    go(at, "review")


def test_the_parts_show_what_the_counts_say(run: str) -> None:
    at = open_app("quality", run=run)
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    positives = diagnostics.positives(opened.inputs.corpus, opened.ranking, selection)
    metrics = {each.label: each.value for each in at.metric}
    assert metrics["Low positives"] == f"{int(positives.low.sum()):,}"
    table = at.dataframe[0].value
    assert len(table) == min(50, int(positives.low.sum()))
    shown = [500 if rank == "500+" else int(rank) for rank in table["rank"]]
    assert shown == sorted(shown, reverse=True)
    assert min(shown) >= diagnostics.LOW_RANK
    at.segmented_control(key="quality-positives").set_value("below").run()
    assert len(at.dataframe[0].value) == min(50, int((positives.above > 0).sum()))
    at.segmented_control(key="quality-view").set_value("hubs").run()
    counts = at.dataframe[0].value["chosen for"].tolist()
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 50
    for view in ("lengths", "scores", "short"):
        at.segmented_control(key="quality-view").set_value(view).run()
        assert not at.exception
    assert "0 queries have fewer than 15 negatives" in texts(at)


def test_the_second_page_of_a_table_goes_on(run: str) -> None:
    at = open_app("quality", run=run, state={"quality-view": "hubs"})
    first = at.dataframe[0].value
    page_key = f"quality-hubs-{resources.open_run(run).key}-page"
    at.session_state[page_key] = 2
    at.run()
    second = at.dataframe[0].value
    assert second["chosen for"].iloc[0] <= first["chosen for"].iloc[-1]
    assert not set(second["passage"]) & set(first["passage"])
    assert "51 to 100 of" in texts(at)


def test_a_selection_without_negatives_says_so(run: str, space: Workspace) -> None:
    settings = msgspec.structs.replace(space.run(run).settings.selection, max_score=-0.99)
    at = open_app("quality", run=run, variant=save_variant(space, run, "none", settings).id)
    assert "This selection has no negatives" in texts(at)
    for view in ("positives", "hubs", "lengths", "scores", "short"):
        at.segmented_control(key="quality-view").set_value(view).run()
        assert not at.exception, view


def test_corpus_text_is_shown_literally(space: Workspace, tmp_path: Path) -> None:
    nasty = "<b>bold</b> **stars** :material/home: $x$ [link](javascript:alert(1))"
    (tmp_path / "nasty.jsonl").write_text(
        "".join(json.dumps({"query": f"{nasty} q{n}", "pos": [f"{nasty} p{n}"]}) + "\n" for n in range(40))
    )
    dataset = space.add_dataset("nasty", tmp_path / "nasty.jsonl")
    settings = MineSettings(
        model=ModelSettings(), selection=type(MineSettings().selection)(window_start=0, window_end=30, negative_number=5)
    )
    nasty_run = mine(space, dataset.id, settings, 30)
    at = press(open_app("quality", run=nasty_run), "audit-draw")
    for view in ("positives", "hubs", "short"):
        at.segmented_control(key="quality-view").set_value(view).run()
        assert not at.exception
        rendered = [str(each.value) for kind in (at.markdown, at.caption, at.subheader) for each in kind]
        assert not any("stars" in each for each in rendered)


def test_an_empty_server_says_where_to_go(fresh: Path) -> None:
    assert "No run is open" in texts(open_app("quality"))


def test_two_reviewers_see_the_same_sample(run: str, space: Workspace) -> None:
    press(open_app("quality", run=run), "audit-draw")
    first = sample_of(space, run)
    next(space.run_folder(run).glob("audit-*")).unlink()
    st.cache_resource.clear()
    press(open_app("quality", run=run), "audit-draw")
    assert msgspec.structs.replace(sample_of(space, run), drawn="") == msgspec.structs.replace(first, drawn="")
    assert np.unique([draw.band for draw in first.reviewed_draws]).tolist() == list(range(len(first.bands)))
