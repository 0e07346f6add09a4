"""The measured rate on the Quality screen with a judge: what counts, what is greyed, who is asked next, and what names the judge."""

from __future__ import annotations

import re

import numpy as np
from streamlit.testing.v1 import AppTest

from hnmine import resources
from hnmine.review.audit_sample import Sample, pairs_in
from hnmine.review.judge_prompt import DEFAULT_PROMPT
from hnmine.review.judged_audit import to_judge
from hnmine.review.judgements import Judgement
from hnmine.review.store import ReviewStore
from hnmine.runs.selection_files import kept_sample
from hnmine.runs.workspace import Workspace
from tests.pages.conftest import go, open_app, press, texts

JUDGE = "rule-judge"


def sampled(run: str, space: Workspace) -> tuple[AppTest, Sample]:
    """The Quality screen with a sample of 120, and the draws of it that a judge grades."""
    at = go(press(open_app("quality", run=run), "audit-draw"), "quality")
    sample = kept_sample(space, run, space.run(run).settings.selection)
    assert sample is not None
    return at, to_judge(sample)


def texts_of(sample: Sample, run: str) -> list[tuple[str, str]]:
    corpus = resources.open_run(run).inputs.corpus
    return [(corpus.queries[q], corpus.passages[p]) for q, p in zip(*pairs_in(sample, corpus), strict=True)]


def tenth(sample: Sample, run: str) -> set[tuple[str, str]]:
    """Every tenth pair of each band, from its first one."""
    found: set[tuple[str, str]] = set()
    for band in range(len(sample.bands)):
        found |= set([pair for pair, each in zip(texts_of(sample, run), sample.reviewed_draws, strict=True) if each.band == band][::10])
    return found


def grade(pairs: list[tuple[str, str]], relevant: set[tuple[str, str]]) -> None:
    """Store a judge's grades of pairs."""
    grades = [Judgement(*pair, 3 if pair in relevant else 0, "because", JUDGE, DEFAULT_PROMPT.version) for pair in dict.fromkeys(pairs)]
    resources.judgements().add(grades)


def measured(at: AppTest) -> str:
    return next(str(each.value) for each in at.metric if each.label == "Measured")


def progress(at: AppTest) -> tuple[int, int]:
    """The pairs that people reviewed, and those that they review."""
    found = re.search(r"(\d+) of (\d+) pairs reviewed", "\n".join(str(each.proto) for each in at.get("progress")))
    assert found is not None
    return int(found[1]), int(found[2])


def details(at: AppTest) -> str:
    at.session_state["quality-audit"] = True
    return texts(at.run())


def queue_of(at: AppTest) -> list[tuple[int, int]]:
    queue = at.session_state["review-session"].queue
    return [queue.pair(place) for place in range(len(queue))]


def interval(at: AppTest) -> tuple[float, float]:
    found = re.search(r"interval \*\*(\d+\.\d)-(\d+\.\d)%", texts(at))
    assert found is not None
    return float(found[1]), float(found[2])


def test_grades_that_people_confirm_narrow_the_interval(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs, relevant = texts_of(judged, run), tenth(judged, run)
    reviewed = list(dict.fromkeys(pairs[:120]))
    store.decide([pair for pair in reviewed if pair in relevant], "relevant", "Ann")
    store.decide([pair for pair in reviewed if pair not in relevant], "negative", "Ann")
    low, high = interval(at.run())
    grade(pairs, relevant)
    first, last = interval(at.run())
    assert "600 judged, 120 reviewed by people" in texts(at)
    assert last - first < 0.7 * (high - low)


def test_grades_are_never_the_rate_and_do_not_widen_the_interval(run: str, space: Workspace, store: ReviewStore) -> None:
    """Where people found none, a judge that found some changes nothing: how many reviews found none is all that counts."""
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    store.decide(list(dict.fromkeys(pairs[:120])), "negative", "Ann")
    alone = measured(at.run())
    assert "120 reviewed, 0 false" in texts(at)
    first = interval(at)
    grade(pairs, tenth(judged, run))
    at.run()
    shown = texts(at)
    assert measured(at) == alone == "0.0%"
    assert "600 judged, 120 reviewed by people, 0 false" in shown
    assert interval(at) <= first
    assert first[0] == 0
    caption = next(str(each.value) for each in at.caption if "judge alone" in str(each.value))
    assert re.search(r"The judge alone finds \d+\.\d% relevant, and agrees with people on about \d+% of the negatives\.", caption)
    assert "600 judged, 120 reviewed by people" in texts(go(at, "mine")), "the bar of every page"


def test_twenty_more_are_those_that_help_most(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    store.decide(list(dict.fromkeys(pairs[:120])), "negative", "Ann")
    relevant = tenth(judged, run)
    grade(pairs, relevant)
    at.run()
    press(at, "Review 20 more")
    assert at.session_state["review-source"] == "audit"
    corpus = resources.open_run(run).inputs.corpus
    queue = at.session_state["review-session"].queue
    asked = [(corpus.queries[q], corpus.passages[p]) for place, (q, p) in enumerate(queue_of(at)) if queue.todo[place]]
    assert 18 <= len(asked) <= 20, "a pair on several rows is reviewed once"
    assert set(asked) <= set(pairs[120:])
    assert np.mean([pair in relevant for pair in asked]) > 0.2, "a tenth of all"
    store.decide(asked, "relevant", "Ann")
    go(at, "quality")
    assert re.search(r"600 judged, 1[34]\d reviewed by people", texts(at))
    assert [each.label for each in at.button if str(each.label).endswith("more")] == ["Review 20 more"]


def test_a_part_that_is_half_reviewed_goes_on(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    grade(pairs, tenth(judged, run))
    at.run()
    assert "600 judged, 0 reviewed by people. A rate needs 30 more reviews." in texts(at)
    press(at, "audit-review")
    before = queue_of(at)
    corpus = resources.open_run(run).inputs.corpus
    done = [(corpus.queries[q], corpus.passages[p]) for q, p in before[:50]]
    store.decide(done, "negative", "Ann")
    press(go(at, "quality"), "audit-review")
    after = queue_of(at)
    assert {*before} <= {*after}, "the same pairs"
    assert len(after) <= len(before) + 3, "a pair on several rows counts for each"
    go(at, "quality")
    assert measured(at) == "0.0%"
    assert re.search(r"600 judged, 5\d reviewed by people, 0 false", texts(at))


def test_few_grades_change_nothing(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    store.decide(list(dict.fromkeys(pairs[:120])), "negative", "Ann")
    shown = texts(at.run())
    grade(pairs[:20], set())
    at.run()
    assert "judged," not in next(line for line in texts(at).splitlines() if "95% confidence interval" in line)
    assert next(line for line in shown.splitlines() if "95% confidence" in line) in texts(at)


def test_positives_added_in_bulk_are_no_reviews(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    store.decide(list(dict.fromkeys(pairs[:120])), "negative", "Ann")
    relevant = tenth(judged, run)
    grade(pairs, relevant)
    at.run()
    assert "600 judged, 120 reviewed by people, 0 false" in texts(at)
    store.decide(sorted(relevant - set(pairs[:120])), "positive", "Ann", note=f"judge {JUDGE}: grade 3")
    at.run()
    assert measured(at) == "0.0%"
    assert "600 judged, 120 reviewed by people, 0 false" in texts(at)


def test_a_bulk_promotion_changes_no_count_of_reviews(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    relevant = tenth(judged, run)
    grade(pairs, relevant)
    store.decide(list(dict.fromkeys(pairs[:40])), "negative", "Ann")
    before = progress(at.run())
    promoted = relevant - set(pairs[:40])
    store.decide(sorted(promoted), "positive", "Ann", note=f"judge {JUDGE}: grade 3")
    assert progress(at.run()) == before
    assert re.search(r"\d+ draws were promoted in bulk, and not reviewed\.", details(at))
    press(at, "audit-review")
    corpus = resources.open_run(run).inputs.corpus
    asked = {(corpus.queries[q], corpus.passages[p]) for q, p in queue_of(at)}
    assert asked & promoted, "the audit asks people about some of what was promoted"
    store.decide(sorted(asked), "negative", "Ann")
    done, of = progress(go(at, "quality"))
    assert done == of


def test_verdicts_on_chosen_pairs_do_not_count_because_others_were_promoted(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = list(dict.fromkeys(texts_of(judged, run)))
    relevant = tenth(judged, run)
    grade(pairs, relevant)
    store.decide(pairs[:40], "negative", "Ann")
    chosen = [each for each in pairs[-200:] if each in relevant]
    store.decide(chosen, "relevant", "Ann")
    before = texts(at.run())
    assert "verdicts do not count yet" in details(at)
    store.decide(sorted(relevant - set(pairs[:40]) - set(chosen)), "positive", "Ann", note=f"judge {JUDGE}: grade 3")
    after = texts(at.run())
    said = [line for line in before.splitlines() if "95% confidence interval" in line or "reviewed by people" in line]
    assert said
    assert all(line in after for line in said)


def test_a_rate_of_negatives_that_are_gone_says_so(run: str, space: Workspace, store: ReviewStore) -> None:
    at, _ = sampled(run, space)
    sample = kept_sample(space, run, space.run(run).settings.selection)
    assert sample is not None
    pairs = list(dict.fromkeys(texts_of(sample, run)))
    store.decide(pairs, "negative", "Ann")
    assert "still selected" not in texts(at.run())
    store.decide(pairs[:3], "relevant", "Ann")
    assert re.search(r"^11\d of the 120 audited negatives are still selected\.$", texts(at.run()), re.MULTILINE)
    assert not [each for each in at.warning if "still selected" in str(each.value)]
    store.decide(pairs[:80], "relevant", "Ann")
    at.run()
    (warned,) = [str(each.value) for each in at.warning if "still selected" in str(each.value)]
    assert re.match(r"[34]\d of the 120 audited negatives are still selected\. Draw a new sample", warned)
    assert "not audited" in texts(go(at, "inspect")), "the rate of other negatives is not said of these"
    assert "of the 120 audited negatives are still selected." in texts(go(at, "export"))


def test_bar_export_and_manifest_name_the_judge(run: str, space: Workspace, store: ReviewStore) -> None:
    at, judged = sampled(run, space)
    pairs = texts_of(judged, run)
    store.decide(list(dict.fromkeys(pairs[:120])), "negative", "Ann")
    grade(pairs, tenth(judged, run))
    go(at, "export")
    assert re.search(r"Audited: 0\.0% false negatives .*600 judged, 120 reviewed by people\)\. Judge: rule-judge\.", texts(at))
    assert "Judge: rule-judge" in texts(go(at, "inspect"))
