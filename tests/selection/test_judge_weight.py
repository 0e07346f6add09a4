"""The judge in the estimate: it moves the pairs that it graded, by as much as people agree with it, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.signals import with_judge, without_judge
from hnmine.selection.fn_model import FNEstimator, default_fn_model, refit
from tests.worlds import world

DEPTH = 120


@pytest.fixture(scope="module")
def made():
    """A world, and for each candidate its log-odds by the default model, whether it is a false negative, and what a good judge says."""
    corpus, ranking = world(60, 320, depth=DEPTH, positives=2)
    chance = np.random.default_rng(4)
    estimate = FNEstimator(corpus, ranking, default_fn_model()).block(slice(0, 60), slice(0, DEPTH)).astype(np.float64)
    false = chance.random(estimate.shape) < estimate
    good = np.where(chance.random(false.shape) < 0.9, np.where(false, 3, 0), np.where(false, 1, 2))
    return corpus, ranking, false, good.astype(np.float32)


def open_places(corpus, ranking):
    """The candidates that are no positives, in random order: (p, 2)."""
    positive = np.array([np.isin(ids, corpus.positives(query)) for query, ids in enumerate(ranking.ids)])
    return np.random.default_rng(5).permutation(np.argwhere(~positive))


def graded(corpus, ranking, places, grades):
    queries, ranks = places.T
    order = np.lexsort((ranking.ids[queries, ranks], queries))
    queries, ranks = queries[order].astype(np.int32), ranks[order]
    return with_judge(corpus, ranking, queries, ranking.ids[queries, ranks], grades[queries, ranks].astype(np.float32))


def fitted(corpus, ranking, places, false):
    verdicts = [
        Verdict(
            query=corpus.queries[query],
            passage=corpus.passages[ranking.ids[query, rank]],
            verdict="relevant" if false[query, rank] else "negative",
        )
        for query, rank in places.tolist()
    ]
    model = refit(corpus, ranking, match_verdicts(corpus, verdicts))
    return model, FNEstimator(corpus, ranking, model).block(slice(0, 60), slice(0, DEPTH)).astype(np.float64)


def log_loss(estimate, false, places):
    known = np.clip(estimate[tuple(places.T)], 1e-6, 1 - 1e-6)
    true = false[tuple(places.T)]
    return float(-np.where(true, np.log(known), np.log(1 - known)).mean())


def apart(places, others):
    """Those places that are not among the others."""
    taken = set(map(tuple, others.tolist()))
    return np.array([place for place in places.tolist() if tuple(place) not in taken])


def test_without_verdicts_a_grade_changes_no_estimate(made):
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    model, found = fitted(corpus, graded(corpus, ranking, places[:500], good), places[:0], false)
    assert model == default_fn_model()
    assert found.tobytes() == fitted(corpus, ranking, places[:0], false)[1].tobytes()


def test_a_judge_without_a_usable_grade_changes_no_estimate(made):
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    silent = graded(corpus, ranking, places[:500], np.full_like(good, np.nan))
    assert "judge" in silent.signals
    assert fitted(corpus, silent, places[:100], false)[0] == fitted(corpus, ranking, places[:100], false)[0]


@given(st.integers(1, 40), st.integers(0, 60), st.sampled_from([0, 1, 2, 3]), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_pairs_that_were_not_asked_keep_their_estimate(made, asked, judged, grade, seed):
    """Few pairs are graded, all alike or by what they are: the others have the estimate that they have without a judge."""
    corpus, ranking, false, good = made
    chance = np.random.default_rng(seed)
    places = chance.permutation(open_places(corpus, ranking))
    given, verdicts = places[:asked], np.concatenate([places[:asked], places[asked : asked + judged]])
    grades = np.full_like(good, grade) if chance.random() < 0.5 else good
    model, found = fitted(corpus, graded(corpus, ranking, given, grades), verdicts, false)
    plain, expected = fitted(corpus, ranking, verdicts, false)
    others = tuple(apart(places, given).T)
    assert np.allclose(found[others], expected[others], rtol=1e-4), "up to the rounding of a sum"
    assert model.weights[: len(plain.weights)] == plain.weights
    assert model.bias == plain.bias


def test_a_good_judge_improves_the_estimate_of_what_it_graded_and_nobody_reviewed(made):
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    asked, verdicts = places[:600], places[:100]
    model, found = fitted(corpus, graded(corpus, ranking, asked, good), verdicts, false)
    assert model.features[-1] == "judge"
    assert model.weights[-1] > 1
    _, before = fitted(corpus, ranking, verdicts, false)
    assert log_loss(found, false, asked[100:]) < 0.6 * log_loss(before, false, asked[100:])
    others = apart(places, asked)
    assert log_loss(found, false, others) < 1.05 * log_loss(before, false, others)


def test_a_judge_that_people_contradict_gets_no_say(made):
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    noise = np.random.default_rng(6).integers(0, 4, good.shape)
    model, found = fitted(corpus, graded(corpus, ranking, places[:600], noise), places[:200], false)
    assert abs(model.weights[-1]) < 0.5
    _, before = fitted(corpus, ranking, places[:200], false)
    assert log_loss(found, false, places[200:600]) < 1.1 * log_loss(before, false, places[200:600])


def test_who_reviews_what_the_judge_calls_relevant_raises_all_others_less(made):
    """Without the grades, these false negatives would look like a sample of all candidates."""
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    asked = places[:600]
    verdicts = asked[good[tuple(asked.T)] >= 2][:60]
    _, found = fitted(corpus, graded(corpus, ranking, asked, good), verdicts, false)
    _, before = fitted(corpus, ranking, verdicts, false)
    others = tuple(apart(places, asked).T)
    wrong = [abs(float(estimate[others].mean()) - float(false[others].mean())) for estimate in (found, before)]
    assert wrong[0] < 0.7 * wrong[1]
    assert log_loss(found, false, apart(places, asked)) < log_loss(before, false, apart(places, asked))


def test_the_reasons_name_the_judge_only_where_it_was_asked(made):
    corpus, ranking, false, good = made
    places = open_places(corpus, ranking)
    known = graded(corpus, ranking, places[:600], good)
    estimator = FNEstimator(corpus, known, fitted(corpus, known, places[:100], false)[0])
    said = {place: {text for text, _ in estimator.reasons(*place)} for place in map(tuple, places[:700].tolist())}
    for place in list(said)[:600]:
        assert ("relevant by the judge" in said[place]) == (good[place] >= 2)
        assert ("not relevant by the judge" in said[place]) == (good[place] < 2)
    assert not any(text.endswith("by the judge") for place in list(said)[600:] for text in said[place])


def test_a_positive_has_its_grade_too_and_other_pairs_none(made):
    corpus, ranking, _, _ = made
    queries, passages = corpus.positive_queries[:3], corpus.positive_ids[:3]
    found = with_judge(corpus, ranking, queries, passages, np.array([3, np.nan, 1], np.float32))
    assert np.array_equal(found.positive_signals["judge"][:4], [3, np.nan, 1, np.nan], equal_nan=True)
    ranked = np.argwhere(~np.isnan(found.signals["judge"]))
    assert {(int(query), int(ranking.ids[query, rank])) for query, rank in ranked} <= {
        (int(query), int(passage)) for query, passage in zip(queries, passages, strict=True)
    }
    assert "judge" not in ranking.signals, "the given ranking stays as it is"
    assert "judge" not in without_judge(found).signals
