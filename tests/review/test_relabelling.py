"""What a judge's grades stand for beside people's verdicts, and when they may become positives in bulk."""

from __future__ import annotations

import numpy as np
import pytest

from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.review.judgements import Judgement
from hnmine.review.relabelling import (
    LEAST_COMMON,
    effects,
    holds,
    judge_positives,
    judged_pairs,
    promotable,
    promote,
    read_by_people,
    relabelled,
)
from hnmine.review.store import ReviewStore
from tests.worlds import world


@pytest.fixture(scope="module")
def corpus():
    return world(30, 60)[0]


def pair(corpus, query, passage):
    return corpus.queries[query], corpus.passages[passage]


def judgement(corpus, query, passage, grade, **more):
    return Judgement(*pair(corpus, query, passage), grade, "because", **({"judge": "m", "prompt": "1"} | more))


def free(corpus, query, count):
    """Passages that are no positives of a query."""
    return [passage for passage in range(corpus.n_candidates) if passage not in corpus.positives(query)][:count]


def as_pairs(pairs):
    return list(zip(*(ids.tolist() for ids in pairs), strict=True))


def test_the_last_grade_of_a_pair_counts_and_other_texts_are_counted(corpus):
    one, other = free(corpus, 0, 2)
    given = [
        judgement(corpus, 0, one, 3),
        Judgement("elsewhere", "text", 3),
        judgement(corpus, 0, other, None),
        judgement(corpus, 0, one, 1),
    ]
    found = judged_pairs(corpus, given)
    assert as_pairs((found.queries, found.passages)) == [(0, one), (0, other)]
    assert np.array_equal(found.grades, np.array([1, np.nan], np.float32), equal_nan=True)
    assert found.judgements == (given[3], given[2])
    assert found.elsewhere == 1
    assert judged_pairs(corpus, given[1:2]).digest == ""
    assert judged_pairs(corpus, given[1:2]).elsewhere == 1
    assert judged_pairs(corpus, [given[3], given[2]]).digest == found.digest != judged_pairs(corpus, given[:1]).digest


@pytest.mark.parametrize("verdict", ["negative", "relevant", "positive", "junk"])
def test_a_person_s_verdict_wins_over_the_judge(corpus, verdict):
    one, other = free(corpus, 0, 2)
    people = match_verdicts(corpus, [Verdict(query=corpus.queries[0], passage=corpus.passages[one], verdict=verdict)])
    judged = judged_pairs(corpus, [judgement(corpus, 0, one, 3), judgement(corpus, 0, other, 2), judgement(corpus, 1, other, 1)])
    found = judge_positives(corpus, people, judged, 2)
    assert as_pairs(found) == [(0, other)]
    for action in ("keep", "drop", "promote", "leave_out"):
        merged = relabelled(people, found, action)
        assert (merged.applied, merged.digest, merged.counts["negative"]) == (people.applied, people.digest, people.counts["negative"])
        assert ((0, other) in as_pairs(merged.removed)) == (action == "drop")
        assert ((0, other) in as_pairs(merged.positive)) == (action == "promote")
        assert set(as_pairs(people.removed)) <= set(as_pairs(merged.removed))
        assert set(as_pairs(people.positive)) <= set(as_pairs(merged.positive))


def test_a_positive_of_the_data_is_nothing_to_relabel(corpus):
    own = int(corpus.positives(4)[0])
    found = judged_pairs(corpus, [judgement(corpus, 4, own, 3)])
    assert as_pairs(judge_positives(corpus, match_verdicts(corpus, ()), found, 2)) == []


def test_the_effects_count_rows_that_share_a_query():
    from hnmine.data.corpus import build_corpus
    from hnmine.data.rows import Row

    rows = [Row(1, "q", ["a"], [], {}), Row(2, "q", ["b"], [], {}), Row(3, "other", ["c"], [], {})]
    corpus = build_corpus(rows, ["x", "y", "z"])
    query = corpus.queries.index("q") if isinstance(corpus.queries, list) else list(corpus.queries).index("q")
    ids = {text: number for number, text in enumerate(corpus.passages)}
    negatives = np.full((2, 2), -1, np.int32)
    negatives[query] = ids["x"], ids["y"]
    negatives[1 - query, 0] = ids["x"]
    judged = np.array([query, query], np.int32), np.array(sorted([ids["x"], ids["z"]]), np.int32)
    found = effects(corpus, negatives, judged)
    assert (found.pairs, found.grown, found.negatives, found.rows) == (2, 2, 1, 2)
    assert holds(negatives, judged).sum() == 1


# Promotion in bulk


def agreeing(corpus, common, right):
    """A judge's grades of 60 pairs, and people's verdicts on the first `common` of those with 3; `right` of these agree."""
    grades = [judgement(corpus, number % 30, free(corpus, number % 30, 2)[number // 30], 3 if number % 2 else 1) for number in range(60)]
    high = [each for each in grades if each.grade == 3]
    said = ["relevant" if number < right else "negative" for number in range(common)]
    people = [Verdict(query=each.query, passage=each.passage, verdict=verdict) for each, verdict in zip(high, said, strict=False)]
    return grades, people


@pytest.mark.parametrize(
    ("common", "right", "allowed"),
    [(LEAST_COMMON, LEAST_COMMON, True), (LEAST_COMMON - 1, LEAST_COMMON - 1, False), (20, 18, True), (20, 17, False), (0, 0, False)],
)
def test_pairs_are_promoted_in_bulk_where_people_agree_on_enough_of_them(corpus, tmp_path, common, right, allowed):
    grades, people = agreeing(corpus, common, right)
    found = promotable(corpus, grades, people, 2, 0.9)
    assert (found.common, found.allowed) == (common, allowed)
    assert found.agreement == (pytest.approx(right / common) if common else None)
    assert len(found.pairs) == 30 - common
    assert set(found.grades) == {3}
    store = ReviewStore(tmp_path / "reviews.sqlite")
    batch = promote(store, found, "Ann")
    verdicts = store.verdicts()
    assert bool(batch) == allowed
    assert len(verdicts) == (len(found.pairs) if allowed else 0)
    assert {(each.verdict, each.who, each.note) for each in verdicts} <= {("positive", "Ann", "judge m: grade 3")}
    if allowed:
        store.undo("Ann")
        assert not store.verdicts(), "one undo reverts it"


def test_what_a_person_saw_is_not_promoted_even_if_unsure(corpus):
    grades, people = agreeing(corpus, 20, 20)
    offered = promotable(corpus, grades, people, 2, 0.9)
    unsure = Verdict(query=offered.pairs[0][0], passage=offered.pairs[0][1], verdict="unsure")
    again = promotable(corpus, grades, [*people, unsure], 2, 0.9)
    assert again.pairs == offered.pairs[1:]
    assert again.common == offered.common


def test_promoted_pairs_are_no_agreement_and_nothing_is_fitted_to_them(corpus, tmp_path):
    grades, people = agreeing(corpus, 20, 20)
    store = ReviewStore(tmp_path / "reviews.sqlite")
    for each in people:
        store.decide([(each.query, each.passage)], "positive", "Bob")
    promote(store, promotable(corpus, grades, store.by_reviewer(), 2, 0.9), "Ann")
    assert promotable(corpus, grades, store.by_reviewer(), 2, 0.9).common == 20
    whole = match_verdicts(corpus, store.verdicts())
    read = read_by_people(whole)
    assert (whole.counts["positive"], read.counts["positive"]) == (30, 20)
    assert set(as_pairs(read.positive)) == set(as_pairs(match_verdicts(corpus, people).relevant))
    assert read.digest != whole.digest
    plain = match_verdicts(corpus, people)
    assert read_by_people(plain) is plain


def test_the_note_names_the_grades(corpus):
    grades, people = agreeing(corpus, 20, 20)
    found = promotable(corpus, [*grades, judgement(corpus, 0, free(corpus, 0, 3)[2], 2)], people, 2, 0.9)
    assert found.note == "judge m: grade 2-3"
