"""A wanted rate of false negatives: of all choices that keep to it, the hardest; whatever the order, the depth or the verdicts."""

from __future__ import annotations

import itertools
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core import arrays
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.selection import select as selecting
from hnmine.selection.fn_model import FNEstimator, default_fn_model
from hnmine.selection.presets import with_preset
from hnmine.selection.select import PENALTIES, select
from hnmine.selection.settings import Reason, SelectionSettings
from tests.worlds import toy, world

BALANCED = with_preset("balanced", SelectionSettings())


def tiny(queries=3, passages=8, seed=0):
    """A corpus whose queries share no positive, and its ranking; small enough to try every choice."""
    rows = [Row(number, f"q{seed} {number}", [f"right {seed} {number}"], [], {}) for number in range(queries)]
    corpus = build_corpus(rows, [f"p{seed} {number}" for number in range(passages)], pool_mode="replace")
    return corpus, toy(corpus, seed=str(seed))


def estimates(corpus, ranking):
    return FNEstimator(corpus, ranking, default_fn_model()).block(slice(0, len(corpus.queries)), slice(0, ranking.depth))


def taken(selection):
    """The chosen, as (query, rank)."""
    return [tuple(pair) for pair in np.argwhere(selection.reasons == Reason.CHOSEN).tolist()]


def totals(corpus, ranking, selection):
    """How many were chosen, their mean score and their mean estimate."""
    places = tuple(np.array(taken(selection)).T)
    return len(places[0]), float(ranking.scores[places].mean(dtype=float)), float(estimates(corpus, ranking)[places].mean(dtype=float))


def rates(rate, number=3, end=8, **more):
    return SelectionSettings(window_start=0, window_end=end, negative_number=number, strategy="hardest", max_fn_rate=rate, **more)


@given(st.integers(0, 40), st.sampled_from([0.0, 0.002, 0.005, 0.01, 0.02, 0.1, 1.0]), st.integers(1, 4))
def test_no_choice_at_all_is_harder_without_being_more_suspicious(seed, rate, number):
    """Every choice of so many candidates for each of three queries, tried."""
    corpus, ranking = tiny(3, 7, seed)
    chance = estimates(corpus, ranking).astype(float)
    selection = select(corpus, ranking, rates(rate, number))
    chosen = taken(selection)
    assert len(chosen) == 3 * number
    score, doubt = (sum(float(values[place]) for place in chosen) for values in (ranking.scores, chance))
    each = [
        [
            (sum(float(ranking.scores[query, rank]) for rank in ranks), sum(chance[query, rank] for rank in ranks))
            for ranks in itertools.combinations(range(ranking.depth), number)
        ]
        for query in range(3)
    ]
    # Of one query's choices only those that no other beats in both can be part of a better one.
    front = [[a for a in options if not any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in options)] for options in each]
    for choice in itertools.product(*front):
        if sum(doubtful for _, doubtful in choice) <= doubt - 1e-6:
            assert sum(hard for hard, _ in choice) <= score + 1e-5
    least = sum(min(doubtful for _, doubtful in options) for options in each)
    assert doubt <= rate * 3 * number + 1e-6 or doubt <= least + 0.02 * 3 * number


@given(st.integers(0, 40), st.sampled_from([0.0, 0.003, 0.01, 0.03, 0.1, 1.0]), st.integers(1, 5), st.integers(0, 3))
def test_one_penalty_serves_all_the_lowest_that_keeps_to_the_rate(seed, rate, number, start):
    """By a loop over all penalties and queries; ties go to the nearer one."""
    corpus, ranking = tiny(6, 9, seed)
    settings = msgspec.structs.replace(rates(rate, number), window_start=start)
    chance = estimates(corpus, ranking)
    for penalty in PENALTIES:
        expected = []
        for query in range(6):
            value = ranking.scores[query] - penalty * chance[query]
            running = range(start, min(8, ranking.depth))
            expected += sorted((query, rank) for rank in sorted(running, key=lambda rank: (-value[rank], rank))[:number])
        if np.mean([float(chance[place]) for place in expected]) <= rate:
            break
    assert taken(select(corpus, ranking, settings)) == expected


def test_the_rate_is_kept_and_a_higher_one_never_gives_easier_negatives():
    corpus, ranking = world(60, 320, depth=120)
    found = [totals(corpus, ranking, select(corpus, ranking, rates(rate, 8, 120))) for rate in (0.001, 0.004, 0.006, 0.01, 0.03, 0.1, 1.0)]
    for (count, _, estimate), rate in zip(found, (0.001, 0.004, 0.006, 0.01, 0.03, 0.1, 1.0), strict=True):
        assert count == 60 * 8
        assert estimate <= rate or rate == 0.001
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] - 0.05, "and the rate has a say"
    hardest = msgspec.structs.replace(rates(1.0, 8, 120), max_fn_rate=None)
    assert taken(select(corpus, ranking, hardest)) == taken(select(corpus, ranking, rates(1.0, 8, 120)))


def test_at_the_same_hardness_fewer_are_suspicious_than_below_one_limit_of_the_estimate():
    """Why there is a penalty and no limit: what the settings promise, by the estimate itself."""
    corpus, ranking = world(60, 320, depth=120)
    by_limit = SelectionSettings(window_start=0, window_end=120, negative_number=8, strategy="hardest", max_fn_probability=0.02)
    _, score, estimate = totals(corpus, ranking, select(corpus, ranking, by_limit))
    _, ours, kept = totals(corpus, ranking, select(corpus, ranking, rates(estimate, 8, 120)))
    assert kept <= estimate
    assert ours > score


def test_what_people_kept_is_always_in_and_counts_as_no_risk():
    corpus, ranking = world(40, 200, depth=100)
    chance = estimates(corpus, ranking)
    worst = [
        (
            query,
            max(
                (rank for rank in range(100) if ranking.ids[query, rank] not in corpus.positives(query)),
                key=lambda r, q=query: chance[q, r],
            ),
        )
        for query in range(40)
    ]
    kept = [Verdict(query=corpus.queries[q], passage=corpus.passages[ranking.ids[q, r]], verdict="negative") for q, r in worst]
    settings = msgspec.structs.replace(rates(0.004, 6, 100), window_start=5)
    for penalised in (settings, msgspec.structs.replace(settings, max_fn_rate=1.0), msgspec.structs.replace(settings, negative_number=1)):
        selection = select(corpus, ranking, penalised, match_verdicts(corpus, kept))
        assert set(worst) <= set(taken(selection))
    others = [place for place in taken(select(corpus, ranking, settings, match_verdicts(corpus, kept))) if place not in worst]
    assert sum(float(chance[place]) for place in others) <= 0.004 * (len(others) + 40)
    gone = [msgspec.structs.replace(each, verdict="relevant") for each in kept]
    assert not set(worst) & set(taken(select(corpus, ranking, settings, match_verdicts(corpus, gone))))


def named(corpus, selection):
    return {
        text: [corpus.passages[passage] for passage in selection.negatives[query].tolist() if passage >= 0]
        for query, text in enumerate(corpus.queries)
    }


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_neither_the_order_of_rows_nor_a_deeper_ranking_changes_a_negative(mode):
    settings = msgspec.structs.replace(BALANCED, window_end=80, negative_number=6)
    corpus, ranking = world(50, 300, depth=80, mode=mode)
    expected = select(corpus, ranking, settings)
    assert len({name for names in named(corpus, expected).values() for name in names}) > 50
    for shuffle, depth in ((3, 80), (None, 250), (4, 170)):
        again, deeper = world(50, 300, depth=depth, mode=mode, shuffle=shuffle)
        assert named(again, select(again, deeper, settings)) == named(corpus, expected)


@given(st.integers(0, 20), st.sampled_from([0.001, 0.01, 0.05]), st.sampled_from([1, 13, 40]))
def test_the_size_of_a_block_changes_nothing(seed, rate, elements):
    corpus, ranking = tiny(6, 9, seed)
    kept = [Verdict(query=corpus.queries[2], passage=corpus.passages[ranking.ids[2, 0]], verdict="negative")]
    settings = msgspec.structs.replace(rates(rate), window_start=1)
    whole = select(corpus, ranking, settings, match_verdicts(corpus, kept))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "ELEMENTS", elements)
        parts = select(corpus, ranking, settings, match_verdicts(corpus, kept))
    assert parts.negatives.tobytes() == whole.negatives.tobytes()
    assert parts.reasons.tobytes() == whole.reasons.tobytes()


@pytest.mark.parametrize(("limit", "value"), [("SAMPLE", 4), ("SAMPLED", 4 * 8 + 7)])
def test_the_penalty_is_found_on_a_sample_that_many_candidates_make_smaller(monkeypatch, limit, value):
    """Of 20 queries, four decide: theirs keep to the rate, and the others go by their penalty."""
    corpus, ranking = tiny(20, 12, 5)
    chance = estimates(corpus, ranking)
    some = (0.005, 0.007, 0.01, 0.014, 0.02, 0.03)
    by_all = [taken(select(corpus, ranking, rates(rate))) for rate in some]
    monkeypatch.setattr(selecting, limit, value)
    by_four = [taken(select(corpus, ranking, rates(rate))) for rate in some]
    for rate, places in zip(some, by_four, strict=True):
        assert np.mean([float(chance[place]) for place in places if place[0] < 4]) <= rate
    assert by_all != by_four


def test_filters_come_first_and_what_is_missing_is_filled():
    """A limit beside the rate: what it rejects is out of the running, and gaps are filled as ever."""
    corpus, ranking = world(40, 200, depth=60)
    settings = msgspec.structs.replace(rates(0.01, 12, 14), max_fn_probability=0.01)
    selection = select(corpus, ranking, settings)
    chance = estimates(corpus, ranking)
    assert max(float(chance[place]) for place in taken(selection)) <= 0.01
    assert selection.random_filled.any()
    assert not selection.short.any()


def test_a_rate_that_nothing_keeps_to_gives_the_least_suspicious():
    corpus, ranking = tiny(4, 8, 1)
    chance = estimates(corpus, ranking)
    selection = select(corpus, ranking, rates(0.0, 1))
    lowest = np.mean([chance[place] for place in taken(selection)])
    for query, rank in taken(selection):
        assert chance[query, rank] <= chance[query, : ranking.depth].min() + 0.01
    assert selection.out_of_reach == f"an estimated false-negative rate of 0.00% is out of reach: the lowest possible is {lowest:.2%}"
    assert not select(corpus, ranking, rates(1.0, 1)).out_of_reach


def test_random_windows_of_a_thousand_draws_hold_no_surprise():
    """Any settings with a rate give each query its number, no positive and nothing twice."""
    chance = random.Random(0)
    for turn in range(30):
        corpus, ranking = tiny(chance.randint(1, 5), chance.randint(1, 14), turn)
        start = chance.randint(0, 5)
        settings = msgspec.structs.replace(
            rates(chance.random() / 20, chance.randint(1, 9), start + chance.randint(1, 20)), window_start=start
        )
        selection = select(corpus, ranking, settings)
        for query, names in enumerate(named(corpus, selection).values()):
            assert len(set(names)) == len(names) == min(settings.negative_number, corpus.n_candidates)
            assert not {corpus.passages[passage] for passage in corpus.positives(query)} & set(names)
