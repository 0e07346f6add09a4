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
from hnmine.runs.mine import MineSettings
from hnmine.runs.selection_files import kept_sample
from hnmine.runs.variants import save_variant, variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings
from tests.conftest import mine
from tests.pages.conftest import go, open_app, press, texts


def measured(at: AppTest) -> str:
    return next(str(each.value) for each in at.metric if each.label == "Measured")


def audited(run: str, *, size: int | None = None) -> AppTest:
    """The screen after the first sample was drawn, which opens the Review screen."""
    at = open_app("quality", run=run)
    if size is not None:
        at.number_input(key="audit-size").set_value(size).run()
    return go(press(at, "audit-draw"), "quality")


def selection_of(space: Workspace, run: str) -> SelectionSettings:
    return space.run(run).settings.selection


def sample_of(space: Workspace, run: str) -> Sample:
    found = kept_sample(space, run, selection_of(space, run))
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


def test_without_a_sample_nothing_is_measured_and_one_is_offered(run: str, space: Workspace) -> None:
    at = open_app("quality", run=run)
    values = {each.label: each.value for each in at.metric}
    assert values["Measured"] == "not measured"
    assert re.fullmatch(r"\d+-\d+%", values["Estimated"])
    assert "Review a random sample of the negatives to measure the rate." in texts(at)
    at.number_input(key="audit-size").set_value(80).run()
    assert "80 verdicts give a margin of error of about ±" in texts(at)
    press(at, "audit-draw")
    assert at.session_state["review-source"] == "audit", "the Review screen is open"
    go(at, "quality")
    assert measured(at) == "not measured"
    assert "0 reviewed. A rate needs 30 more reviews." in texts(at)
    sample = sample_of(space, run)
    assert len(sample.reviewed_draws) == 80
    assert sample.negatives == 1_860  # 124 rows x 15: rows that ask the same count each


def test_the_sample_is_reviewed_in_its_order(run: str, space: Workspace, store: ReviewStore) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    assert at.selectbox(key="review-source").value == "audit"
    sample, corpus = sample_of(space, run), resources.open_run(run).inputs.corpus
    expected = list(zip(*(each.tolist() for each in different_pairs(*pairs_in(sample, corpus))), strict=True))
    queue = at.session_state["review-session"].queue
    assert [queue.pair(place) for place in range(len(queue))] == expected
    judge_all(store, sample, run)
    press(go(at, "quality"), "audit-review-again")
    assert at.session_state["review-session"].queue.todo.all()


def test_the_measured_rate_is_beside_the_estimate(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    judge_all(store, sample_of(space, run), run, wrong=1)
    at.run()
    shown = texts(at)
    assert re.fullmatch(r"\d+\.\d%", measured(at))
    assert re.search(r"95% confidence interval \*\*\d\.\d-\d\.\d%\*\*, 120 reviewed, 1 false", shown)
    assert "Before these were removed, the rate was " in shown
    shown_on_mine = {each.label: each.value for each in go(at, "mine").metric}
    assert measured(go(at, "quality")) in shown_on_mine.values(), "in place of the estimate's range"


def test_verdicts_on_other_pairs_make_no_rate(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    sample, opened = sample_of(space, run), resources.open_run(run)
    drawn = set(zip(*(each.tolist() for each in pairs_in(sample, opened.inputs.corpus)), strict=True))
    selection, corpus = resources.selection(opened, selection_of(space, run)), opened.inputs.corpus
    others = [
        (corpus.queries[q], corpus.passages[p])
        for q in range(len(corpus.queries))
        for p in selection.negatives[q].tolist()
        if p >= 0 and (q, p) not in drawn
    ]
    store.decide(others[:300], "relevant", "Ann")
    at.run()
    assert measured(at) == "not measured"
    assert "0 reviewed. A rate needs 30 more" in texts(at)


def test_forty_more_are_added_and_reviewed_when_the_sample_is_done(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    before = sample_of(space, run)
    judge_all(store, before, run)
    press(at.run(), "Review 40 more")
    assert at.session_state["review-source"] == "audit", "the Review screen is open"
    after = sample_of(space, run)
    assert len(after.reviewed_draws) == 160
    assert (after.reviewed_draws[:120], after.fingerprint, after.drawn) == (before.reviewed_draws, before.fingerprint, before.drawn)
    at = go(at, "quality")
    assert re.search(r"Review \d\d more", at.button(key="audit-review").label), "those that are left"


def test_reviews_for_a_margin_of_error_are_planned(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    judge_all(store, sample_of(space, run), run)
    at.session_state["quality-audit"] = True  # as a click on the expander does
    at.run()
    at.number_input(key="audit-precision").set_value(1.0).run()
    assert "more reviews at the rates found so far" in texts(at)
    added = int(at.button(key="audit-enlarge").label.split()[1])
    press(at, "audit-enlarge")
    assert len(sample_of(space, run).reviewed_draws) == 120 + added
    at.number_input(key="audit-precision").set_value(20.0).run()
    assert "Reached." in texts(at)
    at.number_input(key="audit-precision").set_value(0.1).run()
    assert "Needs " in texts(at)


def test_a_threshold_is_suggested_only_from_enough_reviews(run: str, space: Workspace, store: ReviewStore) -> None:
    assert "Needs 60 verdicts of a random sample: has 0." in texts(open_app("quality", run=run))
    at = audited(run)
    sample = sample_of(space, run)
    judge_all(store, sample, run, first=40)
    at.run()
    assert "Needs 60 verdicts of the sample: has 40." in texts(at)
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
    assert {each.label: each.value for each in at.metric}["PercPos at most"] == f"{limit:.3g}"
    assert "Leaves about **0.0%** false negatives" in texts(at)
    press(at, "threshold-save")
    assert any(each.key == "mine" for each in at.button)
    saved = variant(space, run, at.session_state["variant"])
    assert saved.settings == msgspec.structs.replace(selection_of(space, run), max_positive_ratio=limit)
    assert saved.name.endswith(f", PercPos {limit:.3g}")


def test_settings_changed_since_the_audit_are_said_and_the_audit_returns_with_them(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    judge_all(store, sample_of(space, run), run)
    changed = save_variant(space, run, "later ranks", msgspec.structs.replace(selection_of(space, run), window_start=30))
    at = open_app("quality", run=run, variant=changed.id)
    assert measured(at) == "not measured"
    assert "Settings changed since the audit of " in texts(at)
    assert "Settings changed since the audit." in texts(go(at, "export"))
    assert "120 reviewed" in texts(open_app("quality", run=run))


def test_a_sample_that_is_gone_is_not_asked_for_on_the_review_screen(run: str, space: Workspace) -> None:
    at = press(open_app("quality", run=run), "audit-draw")
    go(at, "review")
    next(space.run_folder(run).glob("audit-*")).unlink()
    at.run()
    assert not at.exception
    assert at.selectbox(key="review-source").value == "chosen"


def test_a_new_sample_is_drawn_of_what_verdicts_have_changed(run: str, space: Workspace, store: ReviewStore) -> None:
    at = audited(run)
    first = sample_of(space, run)
    judge_all(store, first, run, wrong=20)
    at.session_state["quality-audit"] = True
    at.run()
    press(at, "audit-draw-anew")
    second = sample_of(space, run)
    assert second.fingerprint != first.fingerprint
    assert len(set(second.reviewed_draws) & set(first.reviewed_draws)) < 40
    assert "A rate needs " in texts(at)
    assert len(store.verdicts()) > 100


def test_the_manifest_and_the_export_screen_tell_of_the_audit(
    run: str, space: Workspace, store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hnmine.runs import manifest

    written: list[dict[str, object]] = []
    monkeypatch.setattr(manifest, "encoded", lambda record: written.append(dict(record)) or manifest.msgspec.json.encode(record))
    at = open_app("export", run=run)
    assert "The false-negative rate is not measured." in texts(at)
    assert "audit" not in written[-1]
    at = audited(run)
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
    at = audited(run)
    next(space.run_folder(run).glob("audit-*")).write_text("no json")
    at.run()
    assert not at.exception
    assert "The audit cannot be read" in texts(at)
    assert "draw another" in texts(at)
    assert "The audit cannot be read" in texts(go(at, "export"))
    go(at, "review")


def test_the_health_of_the_data_leads_to_its_queries_and_pairs(run: str) -> None:
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    low = int(diagnostics.positives(opened.inputs.corpus, opened.ranking, selection).low.sum())
    reused = diagnostics.hubs(opened.inputs.corpus, selection).hubs
    at = open_app("quality", run=run)
    assert f"**{low} positives are not in the top 10.**" in texts(at)
    assert f"**{reused} passages are reused.**" in texts(at)
    press(at, "health-low")
    assert at.text_input(key="inspect-search")
    assert at.session_state["inspect-show"] == "low"
    at = press(open_app("quality", run=run), "health-hubs")
    assert (at.session_state["review-source"], at.session_state["review-order"]) == ("chosen", "hubs")
    at = press(open_app("quality", run=run), "health-lengths")
    assert at.radio(key="quality-view").value == "lengths"


def detailed(run: str, **state: object) -> AppTest:
    """The screen with the details of the data's health unfolded."""
    return open_app("quality", run=run, state={"quality-details": True} | state)


def test_the_details_show_what_the_counts_say(run: str) -> None:
    at = detailed(run)
    opened = resources.open_run(run)
    selection = resources.selection(opened, opened.run.settings.selection)
    positives = diagnostics.positives(opened.inputs.corpus, opened.ranking, selection)
    table = at.dataframe[0].value
    assert len(table) == min(50, int(positives.low.sum()))
    shown = [500 if rank == "500+" else int(rank) for rank in table["rank"]]
    assert shown == sorted(shown, reverse=True)
    assert min(shown) >= diagnostics.LOW_RANK
    at.radio(key="quality-positives").set_value("below").run()
    assert len(at.dataframe[0].value) == min(50, int((positives.above > 0).sum()))
    at.radio(key="quality-view").set_value("hubs").run()
    counts = at.dataframe[0].value["chosen for"].tolist()
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 50
    for view in ("lengths", "scores", "short"):
        at.radio(key="quality-view").set_value(view).run()
        assert not at.exception
    assert "0 queries have fewer than 15 negatives" in texts(at)


def test_the_second_page_of_a_table_goes_on(run: str) -> None:
    at = detailed(run, **{"quality-view": "hubs"})
    first = at.dataframe[0].value
    page_key = f"quality-hubs-{resources.open_run(run).key}-page"
    at.session_state[page_key] = 2
    at.run()
    second = at.dataframe[0].value
    assert second["chosen for"].iloc[0] <= first["chosen for"].iloc[-1]
    assert not set(second["passage"]) & set(first["passage"])
    assert "51 to 100 of" in texts(at)


def test_a_selection_without_negatives_says_so(run: str, space: Workspace) -> None:
    nothing = save_variant(space, run, "nothing", msgspec.structs.replace(selection_of(space, run), max_score=-0.99))
    at = open_app("quality", run=run, variant=nothing.id, state={"quality-details": True})
    assert "This selection has no negatives" in texts(at)
    assert "too few negatives" in texts(at)
    for view in ("positives", "hubs", "lengths", "scores", "short"):
        at.radio(key="quality-view").set_value(view).run()
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
    at = audited(nasty_run)
    at.session_state["quality-details"] = True
    at.run()
    for view in ("positives", "hubs", "short"):
        at.radio(key="quality-view").set_value(view).run()
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
