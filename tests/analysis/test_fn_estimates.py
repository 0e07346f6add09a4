"""What the model says of a selection: ranks and chances of what was chosen, against looking each up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hnmine.analysis import queries
from hnmine.analysis.fn_estimates import can_estimate_fn, chosen_ranks, fn_probabilities, fn_rate
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.ranking import rank
from hnmine.retrieval.signals import with_signals
from hnmine.selection.fn_model import FNEstimator, FNRate, default_fn_model
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder
from tests.review.test_queue import WORDS


def world(verdicts: int = 0, depth: int = 25) -> tuple:
    rows = [
        Row(
            number + 1, f"how do I mend a {word} {WORDS[(number * 5 + 3) % 16]}", [f"To mend the {word} take it off.", f"A {word}."], [], {}
        )
        for number, word in enumerate(WORDS)
    ]
    pool = [f"The {one} is next to the {two}, number {number}." for number, one in enumerate(WORDS) for two in WORDS[number % 3 :: 3]]
    plain = build_corpus(rows, pool)
    ranking = with_signals(plain, rank(plain, FakeEncoder(), depth))
    choices = ["negative", "relevant", "positive"]
    judged = match_verdicts(
        plain,
        [
            Verdict(
                query=plain.queries[number % 16],
                passage=plain.passages[ranking.ids[number % 16, 2 + number // 3]],
                verdict=choices[number % 3],
            )
            for number in range(verdicts)
        ],
    )
    return *apply_promotions(plain, ranking, judged), judged


@pytest.mark.parametrize("verdicts", [0, 24])
@pytest.mark.parametrize(
    "settings",
    [
        SelectionSettings(window_start=0, window_end=25, negative_number=6),
        SelectionSettings(window_start=5, window_end=9, negative_number=7),  # too few: most are filled from elsewhere
        SelectionSettings(window_start=3, window_end=20, negative_number=5, strategy="hardest", max_score=0.5),
        SelectionSettings(window_start=0, window_end=25, negative_number=4, strategy="hardest", max_fn_rate=0.05),
    ],
)
def test_ranks_and_chances_are_those_of_looking_each_up(settings: SelectionSettings, verdicts: int) -> None:
    corpus, ranking, judged = world(verdicts)
    selection = select(corpus, ranking, settings, judged)
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    ranks, estimated = chosen_ranks(ranking, selection), fn_probabilities(estimator, selection)
    everything = estimator.block(slice(0, 16), slice(0, ranking.depth))
    kept = set(zip(judged.negative[0].tolist(), judged.negative[1].tolist(), strict=True))
    for (query, place), passage in np.ndenumerate(selection.negatives):
        found = np.flatnonzero(ranking.ids[query] == passage) if passage >= 0 else []
        assert ranks[query, place] == (found[0] if len(found) else -1)
        if not len(found):
            expected = 0.0 if (query, int(passage)) in kept else np.nan
        else:
            expected = 0.0 if (query, int(passage)) in kept else everything[query, found[0]]
        np.testing.assert_allclose(estimated[query, place], expected, atol=1e-7)
    table = queries.query_table(corpus, ranking, selection, estimated)
    assert table.fn_probability is not None
    np.testing.assert_array_equal(table.fn_probability, [max(row[~np.isnan(row)], default=np.nan) for row in estimated])


@pytest.mark.parametrize("verdicts", [0, 24])
def test_the_rate_is_the_mean_of_what_is_known_within_its_range(verdicts: int) -> None:
    corpus, ranking, judged = world(verdicts)
    settings = SelectionSettings(window_start=5, window_end=9, negative_number=7)  # most are filled from elsewhere
    selection = select(corpus, ranking, settings, judged)
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    known = fn_probabilities(estimator, selection)
    rate = fn_rate(estimator, selection)
    assert rate is not None
    assert rate.estimate == pytest.approx(np.nanmean(known.astype(np.float64)))
    assert 0 < rate.low < rate.estimate < rate.high < 1
    if verdicts:
        assert (known == 0).any(), "confirmed negatives are in, and count as true"


def test_without_a_ranked_negative_there_is_no_rate_and_confirmed_ones_are_true() -> None:
    corpus, ranking, _ = world()
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=25, negative_number=2))
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    nothing = replace(selection, negatives=np.full_like(selection.negatives, -1), reasons=np.ones_like(selection.reasons))
    assert fn_rate(estimator, nothing) is None
    queries, places = np.nonzero(selection.negatives >= 0)
    every = replace(selection.verdict_pairs, negative=(queries.astype(np.int32), selection.negatives[queries, places]))
    assert fn_rate(estimator, replace(selection, verdict_pairs=every)) == FNRate(estimate=0.0, low=0.0, high=0.0)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.0004, 0.0661, "0-7%"), (0.013, 0.0601, "1-7%"), (0.0021, 0.0156, "0.2-1.6%"), (0, 0, "0.0-0.0%"), (0.3, 1, "30-100%")],
)
def test_the_text_of_a_rate_is_its_range_rounded_outwards(low: float, high: float, text: str) -> None:
    assert str(FNRate(estimate=(low + high) / 2, low=low, high=high)) == text


def test_the_false_rate_that_is_asked_for_is_kept_to() -> None:
    corpus, ranking, judged = world(24, depth=60)
    estimator = FNEstimator(corpus, ranking, default_fn_model())
    free = fn_rate(estimator, select(corpus, ranking, SelectionSettings(window_start=0, window_end=60, strategy="hardest"), judged))
    assert free is not None
    settings = SelectionSettings(window_start=0, window_end=60, strategy="hardest", max_fn_rate=free.estimate * 0.8)
    held = fn_rate(estimator, select(corpus, ranking, settings, judged))
    assert held is not None
    assert held.estimate <= free.estimate * 0.8 + 1e-7
    assert held.high < free.high


def test_a_ranking_without_signals_can_be_estimated_nothing() -> None:
    corpus, ranking, _ = world()
    assert can_estimate_fn(ranking)
    assert not can_estimate_fn(rank(corpus, FakeEncoder(), 25))
