"""The audit: who is drawn, what verdicts on the sample say, how often the interval covers the truth, what is planned and recommended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import InputError, SettingsError, WorkspaceError
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import CHOICES, Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.review import audit_plan, audit_sample
from hnmine.review.audit import FEWEST, AuditRecord, Estimate, estimate, record
from hnmine.review.audit_plan import FEWEST_FOR_CUT, Cut, Few, more_reviews, recommend
from hnmine.review.audit_sample import AuditSettings, Band, Draw, Sample, different_pairs, draw, fingerprint, pairs_in
from hnmine.review.intervals import rate_interval
from hnmine.review.queue import STATES, QueueSettings, build, pairs_with_verdict
from hnmine.runs.manifest import compose, encoded, of_export, read_manifest
from hnmine.runs.selection_files import keep_sample, kept_sample
from hnmine.runs.workspace import Workspace
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

NEGATIVE, RELEVANT, POSITIVE, JUNK, UNSURE = (STATES.index(name) for name in CHOICES)
World = tuple[Corpus, Ranking]


def world(queries: int = 60, passages: int = 400, *, repeated: int = 0, order: int | None = None, dimension: int = 6) -> World:
    """Queries with a positive each among random vectors; the first `repeated` stand on three rows."""
    rows = [Row(1, f"q{number}", [f"p{number}"], [], {}) for number in range(queries)]
    rows += [Row(1, f"q{number % repeated}", [f"p{number % repeated}"], [], {}) for number in range(2 * repeated)]
    pool = [f"p{number}" for number in range(passages)]
    if order is not None:
        chance = np.random.default_rng(order)
        rows = [rows[place] for place in chance.permutation(len(rows))]
        pool = [pool[place] for place in chance.permutation(len(pool))]
    corpus = build_corpus(rows, pool)
    counts = {"q": queries, "p": passages}
    vectors = {kind: np.random.default_rng(ord(kind)).normal(size=(count, dimension)) for kind, count in counts.items()}
    vectors["p"][:queries] += vectors["q"]  # positives are near
    asked, held = (
        np.array([vectors[text[0]][int(text[1:])] for text in texts], dtype=np.float32) for texts in (corpus.queries, corpus.passages)
    )
    asked, held = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (asked, held))
    scores, ids = top_k(asked, held, 60)
    positive = pair_scores(asked, corpus.positive_queries, held, corpus.positive_ids)
    return corpus, Ranking(ids=ids, scores=scores, positive_scores=positive, query_vectors=asked, passage_vectors=held)


SELECTION = SelectionSettings(window_start=0, window_end=60, negative_number=8)


def selected(given: World, settings: SelectionSettings = SELECTION, verdicts: tuple[Verdict, ...] = ()) -> Selection:
    return select(*given, settings, match_verdicts(given[0], verdicts))


def texts(sample: Sample, corpus: Corpus) -> list[tuple[str, str]]:
    return [(corpus.queries[query], corpus.passages[passage]) for query, passage in zip(*pairs_in(sample, corpus), strict=True)]


# Who is drawn


def test_the_same_selection_gives_the_same_sample_in_any_order_of_the_rows() -> None:
    first, second = world(repeated=5), world(repeated=5, order=9)
    assert second[0].row_queries.tolist() != first[0].row_queries.tolist()
    samples = [draw(*each, selected(each), AuditSettings()) for each in (first, second)]
    assert samples[0] == samples[1]
    assert texts(samples[0], first[0]) == texts(samples[1], second[0])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 3), st.sampled_from(["ratio", "risk"]))
def test_a_larger_sample_begins_with_the_smaller_one(one: int, other: int, seed: int, by: str) -> None:
    given = WORLD
    selection = selected(given)
    risk = None if by == "ratio" else np.nan_to_num(selection.scores)
    small, large = (draw(*given, selection, AuditSettings(size=size, seed=seed, by=by), risk=risk) for size in sorted((one, other)))  # type: ignore[arg-type]
    assert large.reviewed_draws[: len(small.reviewed_draws)] == small.reviewed_draws
    assert small.of_size(max(one, other)) == large


WORLD = world()


def test_another_seed_draws_others() -> None:
    selection = selected(WORLD)
    first, second = (set(draw(*WORLD, selection, AuditSettings(size=100, seed=seed)).reviewed_draws) for seed in (1, 2))
    assert len(first & second) < 60


@pytest.mark.parametrize("by", ["ratio", "risk"])
def test_bands_are_of_what_they_say_and_every_draw_is_a_negative_of_its_band(by: str) -> None:
    given = world(repeated=6)
    corpus, ranking = given
    selection = selected(given)
    shares = ratio_to_positive(selection.scores, selection.positive[:, None])
    values = shares if by == "ratio" else np.random.default_rng(0).normal(size=shares.shape)
    sample = draw(corpus, ranking, selection, AuditSettings(size=500, by=by), risk=None if by == "ratio" else values)  # type: ignore[arg-type]
    rows = np.bincount(corpus.row_queries)
    assert sample.negatives == int((selection.counts * rows).sum())
    for number, band in enumerate(sample.bands):
        inside = selection.negatives >= 0
        inside &= values > (-np.inf if band.low is None else band.low)
        inside &= values <= (np.inf if band.high is None else band.high)
        weights = np.broadcast_to(rows[:, None], inside.shape)[inside]
        assert band.negatives == weights.sum() > 0
        assert band.similarity == pytest.approx(np.average(selection.scores[inside], weights=weights), abs=1e-6)
        queries, passages = (each[[one.band == number for one in sample.reviewed_draws]] for each in pairs_in(sample, corpus))
        for query, passage in zip(queries, passages, strict=True):
            assert inside[query][selection.negatives[query] == passage].all()
    drawn = [(one.query, one.passage) for one in sample.draws]
    limit = {f"{int(corpus.query_hashes[query]):016x}": rows[query] for query in range(len(rows))}
    assert all(drawn.count(pair) <= limit[pair[0]] for pair in set(drawn))


def test_all_of_a_small_selection_is_drawn_once_for_each_row() -> None:
    given = world(queries=20, passages=90, repeated=4)
    selection = selected(given)
    sample = draw(*given, selection, AuditSettings(size=2_000))
    rows = np.bincount(given[0].row_queries)
    assert len(sample.draws) == sample.negatives == int((selection.counts * rows).sum())
    queries, passages = different_pairs(*pairs_in(sample, given[0]))
    assert len(queries) == int(selection.counts.sum())
    assert {(int(q), int(p)) for q, p in zip(queries, passages, strict=True)} == {
        (q, int(p)) for q in range(20) for p in selection.negatives[q] if p >= 0
    }


def test_within_a_band_every_negative_is_as_likely_as_any_other() -> None:
    selection = selected(WORLD)
    seen: dict[tuple[str, str], int] = {}
    seeds = 300
    for seed in range(seeds):
        sample = draw(*WORLD, selection, AuditSettings(size=120, seed=seed))
        for one in sample.reviewed_draws:
            seen[one.query, one.passage] = seen.get((one.query, one.passage), 0) + 1
    every = draw(*WORLD, selection, AuditSettings(size=2_000))
    taken = np.bincount([one.band for one in every.draws[:120]], minlength=len(every.bands))
    for number, band in enumerate(every.bands):
        expected = seeds * taken[number] / band.negatives
        counts = [seen.get((one.query, one.passage), 0) for one in every.draws if one.band == number]
        chi_square = sum((count - expected) ** 2 for count in counts) / expected / (1 - taken[number] / band.negatives)
        assert abs(chi_square - len(counts)) < 5 * math.sqrt(2 * len(counts)), f"band {number}"


def test_an_edge_belongs_to_the_band_that_a_guard_at_it_lets_pass() -> None:
    selection = selected(WORLD)
    every = draw(*WORLD, selection, AuditSettings(size=2_000))
    limit = next(band.high for band in every.bands if band.high is not None and band.high >= 0.8)
    below = sum(band.negatives for band in every.bands if band.high is not None and band.high <= limit)
    shares = ratio_to_positive(selection.scores, selection.positive[:, None])
    guarded = selected(WORLD, msgspec.structs.replace(SELECTION, max_positive_ratio=limit))
    assert below == int((shares <= limit).sum())
    assert not (ratio_to_positive(guarded.scores, guarded.positive[:, None]) > limit + 1e-6)[~guarded.random_filled].any()


def test_small_bands_join_a_neighbour_and_positives_without_a_score_count_as_the_riskiest() -> None:
    corpus, ranking = WORLD
    anchors = ranking.positive_scores.copy()
    anchors[:15] = -0.1
    ranking = replace(ranking, positive_scores=anchors)
    sample = draw(corpus, ranking, select(corpus, ranking, SELECTION), AuditSettings(size=2_000))
    assert sample.bands[-1].high is None
    assert sample.bands[-1].negatives >= 15 * 8
    assert all(band.negatives >= audit_sample.SMALLEST * sample.negatives for band in sample.bands)
    assert [band.high for band in sample.bands[:-1]] == [band.low for band in sample.bands[1:]]
    easy = selected(WORLD, msgspec.structs.replace(SELECTION, max_score=0.2, window_start=30))
    assert len(draw(*WORLD, easy, AuditSettings()).bands) <= 3


def test_the_fingerprint_is_of_the_pairs_alone() -> None:
    corpus, _ = WORLD
    negatives = selected(WORLD).negatives
    shuffled = np.random.default_rng(0).permuted(negatives, axis=1)
    assert fingerprint(corpus, shuffled) == fingerprint(corpus, negatives)
    assert fingerprint(*[(each := world(order=4))[0], selected(each).negatives]) == fingerprint(corpus, negatives)
    changed = negatives.copy()
    changed[3, 2] = next(p for p in range(len(corpus.passages)) if p not in negatives[3])
    assert fingerprint(corpus, changed) != fingerprint(corpus, negatives)
    swapped = negatives.copy()
    swapped[[3, 4]] = swapped[[4, 3]]  # the same passages, of other queries
    assert fingerprint(corpus, swapped) != fingerprint(corpus, negatives)


def test_a_selection_that_an_audit_has_cleaned_is_drawn_anew_and_its_rate_is_found_again() -> None:
    """By the same lots the cleaned sample would be drawn again, and tell a rate of almost nothing."""
    corpus, ranking = WORLD
    chance = np.random.default_rng(3)
    false = {(q, p) for q in range(len(corpus.queries)) for p in range(len(corpus.passages)) if chance.random() < 0.2}
    rates, truths = [], []
    for seed in range(12):
        selection = selected(WORLD)
        verdicts: list[Verdict] = []
        for turn in range(2):
            sample = draw(corpus, ranking, selection, AuditSettings(size=200, seed=seed))
            queries, passages = pairs_in(sample, corpus)
            wrong = [(int(q), int(p)) in false for q, p in zip(queries, passages, strict=True)]
            if turn == 1:
                found = estimate(sample, np.where(wrong, RELEVANT, NEGATIVE))
                assert found.rate is not None
                rates.append(found.rate.rate)
                held = [(q, int(p)) in false for q in range(len(corpus.queries)) for p in selection.negatives[q] if p >= 0]
                truths.append(np.mean(held))
            verdicts = [
                Verdict(query=corpus.queries[q], passage=corpus.passages[p], verdict="relevant" if bad else "negative")
                for q, p, bad in zip(queries, passages, wrong, strict=True)
            ]
            selection = selected(WORLD, verdicts=tuple(verdicts))
    assert np.mean(truths) > 0.08
    assert np.mean(rates) == pytest.approx(np.mean(truths), abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": 0}, "size is 0"), ({"size": 2_001}, "1 to 2,000"), ({"size": True}, "size is True"), ({"by": "score"}, "by is 'score'")],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AuditSettings(**settings)  # type: ignore[arg-type]


def test_risk_must_be_given_where_it_is_wanted_in_the_shape_of_the_negatives() -> None:
    selection = selected(WORLD)
    with pytest.raises(SettingsError, match="risk was not given"):
        draw(*WORLD, selection, AuditSettings(by="risk"))
    with pytest.raises(SettingsError, match="risk was given"):
        draw(*WORLD, selection, AuditSettings(), risk=selection.scores)
    with pytest.raises(SettingsError, match=r"\(60, 8\)"):
        draw(*WORLD, selection, AuditSettings(by="risk"), risk=selection.scores[:, :3])
    nothing = selected(WORLD, msgspec.structs.replace(SELECTION, max_score=-1.0))
    with pytest.raises(InputError, match="no negative"):
        draw(*WORLD, nothing, AuditSettings())


def test_risk_that_is_the_same_everywhere_makes_one_band() -> None:
    selection = selected(WORLD)
    sample = draw(*WORLD, selection, AuditSettings(by="risk"), risk=np.full(selection.scores.shape, 0.3))
    assert [(band.low, band.high, band.negatives) for band in sample.bands] == [(None, None, sample.negatives)]


def test_riskier_bands_are_drawn_from_more_often_than_their_size() -> None:
    selection = selected(WORLD)
    sample = draw(*WORLD, selection, AuditSettings(size=200, by="risk"), risk=selection.scores)
    taken = np.bincount([one.band for one in sample.reviewed_draws])
    parts = taken / [band.negatives for band in sample.bands]
    assert (np.diff(parts) > 0).all()
    assert (taken >= np.minimum(audit_sample.FLOOR, [band.negatives for band in sample.bands])).all()


# Intervals


def binomial(p: float, n: int, counts: Iterable[int]) -> float:
    """How likely one of these counts is."""
    return math.fsum(math.comb(n, count) * p**count * (1 - p) ** (n - count) for count in counts)


def test_one_band_of_a_large_population_has_clopper_and_pearsons_interval() -> None:
    rate, low, high = rate_interval([[3], [0], [50]], [[50], [60], [50]], [10**9])
    assert rate.tolist() == [0.06, 0.0, 1.0]
    for x, n, first, last in ((3, 50, low[0], high[0]), (0, 60, 0.0, high[1]), (50, 50, low[2], 1.0)):
        assert x == 0 or binomial(first, n, range(x, n + 1)) == pytest.approx(0.025, rel=1e-4)
        assert x == n or binomial(last, n, range(x + 1)) == pytest.approx(0.025, rel=1e-4)


counts_of_bands = st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)


@given(counts_of_bands)
def test_the_interval_holds_what_is_known_and_mirrors_itself(bands: list[tuple[int, float, float]]) -> None:
    size = np.array([band[0] for band in bands])
    n = np.array([math.ceil(part * most) for most, part, _ in bands])
    x = np.array([math.floor(part * given) for given, (_, _, part) in zip(n, bands, strict=True)])
    rate, low, high = rate_interval(x, n, size)
    total = size.sum()
    assert x.sum() / total <= low <= high <= 1 - (n - x).sum() / total + 1e-12
    if (n > 0).all():
        assert low - 1e-9 <= rate <= high + 1e-9
        other = rate_interval(n - x, n, size)
        assert (1 - other[2], 1 - other[1]) == pytest.approx((low, high), abs=1e-9)
    else:
        assert np.isnan(rate)
        assert high - low >= size[n == 0].sum() / total - 1e-12
    if (n == size).all():
        assert low == high == pytest.approx(rate)


def test_more_reviews_of_the_same_narrow_the_interval() -> None:
    factors = np.arange(1, 30)
    _, low, high = rate_interval(factors[:, None] * [1, 2], factors[:, None] * [40, 20], [10_000, 2_000])
    assert (np.diff(high - low) < 0).all()


# Populations as audits meet them: sizes of bands, and how often they are false compared with one another.
RISKY = (np.array([10_000, 6_000, 3_000, 800, 200]), np.array([0.05, 0.3, 2, 8, 20]))
FLAT = (np.array([5_000, 4_000, 4_000, 3_000, 2_000, 1_600, 400]), np.ones(7))
SHARES = (FLAT[0], np.array([0.2, 0.3, 1, 2, 4, 4, 3]))
WRONG = (RISKY[0], np.array([1.5, 0.5, 0.5, 0.5, 0.5]))  # the least suspicious are false
SMALL = (RISKY[0] // 40, RISKY[1])


@pytest.mark.parametrize("population", [RISKY, FLAT, SHARES, WRONG, SMALL], ids=["risky", "flat", "shares", "wrong", "small"])
@pytest.mark.parametrize("true_rate", [0.003, 0.01, 0.03, 0.1])
def test_of_500_simulated_audits_93_in_100_cover_the_true_rate(population: tuple[np.ndarray, np.ndarray], true_rate: float) -> None:
    sizes, profile = population
    false = np.round(np.minimum(true_rate * profile / np.average(profile, weights=sizes), 1) * sizes).astype(int)
    expected = np.array(audit_sample.EXPECTED_BY_RISK if len(sizes) == 5 else audit_sample.EXPECTED_BY_RATIO)
    turns = np.array(audit_sample._band_order(sizes, expected))
    chance = np.random.default_rng(17)
    for reviewed in (60, 120, 250, 400):
        taken = np.bincount(turns[:reviewed], minlength=len(sizes))
        found = np.stack([chance.hypergeometric(k, size - k, n, 500) for k, size, n in zip(false, sizes, taken, strict=True)], axis=1)
        different, back = np.unique(found, axis=0, return_inverse=True)
        _, low, high = (each[back.ravel()] for each in rate_interval(different, taken, sizes))
        truth = false.sum() / sizes.sum()
        assert np.mean((low <= truth + 1e-9) & (truth <= high + 1e-9)) >= 0.93, f"{reviewed} reviews"
        _, low, high = rate_interval([reviewed * truth], [reviewed], [sizes.sum()])  # of a sample without bands
        one = high - low
        _, low, high = rate_interval(found.mean(axis=0), taken, sizes)
        assert high - low < 1.35 * one, f"{reviewed} reviews"


def test_audits_of_a_selection_from_the_draw_to_the_interval_cover_its_rate() -> None:
    given = world(repeated=10)
    corpus, ranking = given
    selection = selected(given)
    shares = ratio_to_positive(selection.scores, selection.positive[:, None])
    wrong = np.random.default_rng(8).random(shares.shape) < np.where(shares > 0.9, 0.15, 0.02)
    pairs = {(int(q), int(selection.negatives[q, n])) for q, n in zip(*np.nonzero(wrong), strict=True)}
    weights = np.bincount(corpus.row_queries)[:, None]
    truth = float((wrong * weights).sum() / (np.ones(wrong.shape) * weights).sum())
    covered, estimates = [], []
    for seed in range(120):
        sample = draw(corpus, ranking, selection, AuditSettings(size=100, seed=seed))
        states = [
            RELEVANT if pair in pairs else NEGATIVE for pair in zip(*(each.tolist() for each in pairs_in(sample, corpus)), strict=True)
        ]
        rate = estimate(sample, np.array(states)).rate
        assert rate is not None
        covered.append(rate.low <= truth <= rate.high)
        estimates.append(rate.rate)
    assert np.mean(covered) >= 0.93
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / math.sqrt(120))


# What verdicts say


def sampled(sizes: list[int], order: list[int], size: int | None = None) -> Sample:
    edges: list[float | None] = [None, *(0.5 + 0.1 * number for number in range(len(sizes) - 1)), None]
    return Sample(
        settings=AuditSettings(size=size or len(order)),
        selection=SELECTION,
        fingerprint="ab" * 8,
        negatives=sum(sizes),
        bands=tuple(
            Band(low=edges[number], high=edges[number + 1], negatives=count, similarity=0.3 + 0.1 * number)
            for number, count in enumerate(sizes)
        ),
        draws=tuple(Draw(f"{number:016x}", f"{number:016x}", band) for number, band in enumerate(order)),
    )


def test_relevant_and_positive_are_false_negative_is_not_and_unsure_is_left_out() -> None:
    sample = sampled([1_000, 100], [0, 1] * 40)
    states = np.full(80, NEGATIVE)
    states[[0, 2, 1]] = RELEVANT, POSITIVE, RELEVANT
    states[[4, 6]] = UNSURE
    found = estimate(sample, states)
    assert (found.reviewed, found.false, found.unsure, found.open, found.waiting) == (78, 3, 2, 0, 0)
    assert [(band.reviewed, band.false) for band in found.bands] == [(38, 2), (40, 1)]
    assert found.rate is not None
    assert found.rate.rate == pytest.approx((1_000 * 2 / 38 + 100 / 40) / 1_100)
    assert found.left is not None
    assert found.left.rate == pytest.approx((found.rate.rate * 1_100 - 3) / 1_097)
    assert found.left.low < found.left.rate < found.left.high < found.rate.high


def test_junk_counts_as_reviewed_and_not_false_and_leaves_the_selection() -> None:
    sample = sampled([1_000, 100], [0, 1] * 40)
    states = np.full(80, NEGATIVE)
    states[[0, 2]], states[[4, 1, 3]] = RELEVANT, JUNK
    found = estimate(sample, states)
    assert (found.reviewed, found.false, found.junk) == (80, 2, 3)
    assert found.rate is not None
    assert found.rate.rate == pytest.approx(1_000 * 2 / 40 / 1_100)
    assert found.left is not None
    assert found.left.rate == pytest.approx((found.rate.rate * 1_100 - 2) / (1_100 - 2 - 3))
    kept = record(sample, found, sample.fingerprint)
    assert kept is not None
    assert (kept.false, kept.junk) == (2, 3)
    assert estimate(sampled([40], [0] * 40), np.full(40, JUNK)).left is None


def test_verdicts_behind_one_that_is_missing_in_their_band_wait() -> None:
    """Somebody has reviewed the most suspicious first: those of them that were drawn are no random sample until all before them are."""
    sample = sampled([1_000, 100], [0, 1] * 40)
    states = np.zeros(80, dtype=int)
    states[:64] = NEGATIVE
    states[[20, 70, 72]] = 0, RELEVANT, RELEVANT
    found = estimate(sample, states)
    assert [band.reviewed for band in found.bands] == [10, 32]
    assert (found.false, found.waiting, found.open) == (0, 64 - 42 - 1 + 2, 15)
    states[20] = NEGATIVE
    assert [band.reviewed for band in estimate(sample, states).bands] == [32, 32]
    assert estimate(sample, states).false == 0
    states[states == 0] = NEGATIVE
    assert estimate(sample, states).false == 2


def test_only_draws_that_are_to_be_reviewed_count() -> None:
    sample = sampled([1_000, 100], [0, 1] * 60, size=80)
    assert estimate(sample, np.full(80, NEGATIVE)).reviewed == 80
    with pytest.raises(SettingsError, match="120 states for a sample of 80"):
        estimate(sample, np.full(120, NEGATIVE))


def test_no_rate_is_told_from_too_few_reviews_or_of_a_band_that_nobody_looked_at() -> None:
    sample = sampled([1_000, 100], [0] * 60 + [1] * 20)
    states = np.zeros(80, dtype=int)
    states[: FEWEST - 4] = NEGATIVE
    few = estimate(sample, states)
    assert (few.rate, few.left, few.missing) == (None, None, 4)
    states[:60] = NEGATIVE
    one_sided = estimate(sample, states)
    assert (one_sided.rate, one_sided.missing) == (None, 1)
    assert one_sided.bands[0].rate is not None
    assert one_sided.bands[1].rate is None
    states[60] = NEGATIVE
    assert estimate(sample, states).rate is not None


def test_a_selection_that_was_reviewed_whole_is_known() -> None:
    sample = sampled([6, 3], [0, 0, 1, 0, 1, 0, 1, 0, 0])
    states = np.array([NEGATIVE, RELEVANT, NEGATIVE, NEGATIVE, RELEVANT, NEGATIVE, NEGATIVE, NEGATIVE, NEGATIVE])
    found = estimate(sample, states)
    assert found.rate is not None
    assert (found.rate.low, found.rate.rate, found.rate.high) == pytest.approx((2 / 9, 2 / 9, 2 / 9))
    assert found.left is not None
    assert (found.left.rate, found.left.high) == (0.0, 0.0)
    assert estimate(sample, np.full(9, RELEVANT)).left is None


# Planning


def test_a_finer_precision_takes_more_reviews_and_what_is_reached_takes_none() -> None:
    sample = sampled([9_000, 900, 100], [0, 0, 0, 1, 1, 2] * 300, size=120)
    states = np.full(120, NEGATIVE)
    states[[0, 3, 4, 5, 11]] = RELEVANT
    needed = [more_reviews(sample, states, half_width) for half_width in (0.2, 0.05, 0.03, 0.02, 0.015)]
    assert needed[0] == 0
    assert all(one is not None and other is not None and one <= other for one, other in pairwise(needed))
    assert more_reviews(sample, states, 0.0001) is None
    with pytest.raises(SettingsError, match="half_width"):
        more_reviews(sample, states, 0.0)


@pytest.mark.parametrize("reviewed", [0, 60, 240])
def test_a_plan_is_about_what_it_takes_when_it_goes_on_as_it_was(reviewed: int) -> None:
    sample = sampled([9_000, 1_000], [0, 0, 0, 1] * 450, size=max(1, reviewed))
    wrong = np.tile([False] * 49 + [True], 36)  # 2 %
    states = np.where(wrong[: max(1, reviewed)], RELEVANT, NEGATIVE) * (reviewed > 0)
    more = more_reviews(sample, states, 0.015)
    assert more is not None
    after = sample.of_size(reviewed + more)
    rate = estimate(after, np.where(wrong[: reviewed + more], RELEVANT, NEGATIVE)).rate
    assert rate is not None
    assert (rate.high - rate.low) / 2 == pytest.approx(0.015, rel=0.15)


def found_in(*bands: tuple[int, int, int]) -> Estimate:
    """An estimate from (negatives, reviewed, false) of bands that end at 0.5, 0.6, ..."""
    order = [number for number, (_, reviewed, _) in enumerate(bands) for _ in range(reviewed)]
    states = [RELEVANT if place < false else NEGATIVE for _, reviewed, false in bands for place in range(reviewed)]
    return estimate(sampled([band[0] for band in bands], order), np.array(states))


def test_the_widest_cut_with_the_wanted_rate_is_recommended() -> None:
    found = found_in((1_000, 100, 0), (500, 50, 1), (200, 40, 4), (100, 40, 20))
    cut = recommend(found, 0.02)
    assert isinstance(cut, Cut)
    assert cut.limit == pytest.approx(0.7)
    assert cut.rate.rate == pytest.approx((500 / 50 + 200 / 10) / 1_700)
    assert (cut.reviewed, cut.fraction) == (190, pytest.approx(1_700 / 1_800))
    assert cut.similarity == pytest.approx((1_000 * 0.3 + 500 * 0.4 + 200 * 0.5) / 1_700)
    stricter = recommend(found, 0.01)
    assert isinstance(stricter, Cut)
    assert stricter.limit == pytest.approx(0.6)
    assert recommend(found, 0.1) == "unneeded"
    assert recommend(found_in((1_000, 100, 10), (500, 50, 10)), 0.02) == "none"


def test_no_cut_is_recommended_from_too_few_reviews() -> None:
    assert recommend(found_in((1_000, 25, 0), (500, 25, 9)), 0.02) == Few(limit=None, needed=FEWEST_FOR_CUT, reviewed=50)
    below = recommend(found_in((1_000, FEWEST_FOR_CUT - 1, 0), (500, 60, 9)), 0.02)
    assert isinstance(below, Few)
    assert below.limit is not None
    assert (below.needed, below.reviewed) == (FEWEST_FOR_CUT, FEWEST_FOR_CUT - 1)
    assert isinstance(recommend(found_in((1_000, FEWEST_FOR_CUT, 0), (500, 60, 9)), 0.02), Cut)
    assert isinstance(recommend(found_in((20, 20, 0), (40, 40, 9)), 0.02), Cut), "all of them were reviewed"


# Where it goes


def test_a_record_says_whether_it_is_of_the_very_selection_and_goes_through_a_manifest(tmp_path: Path) -> None:
    sample = sampled([1_000, 100], [0, 1] * 40)
    found = estimate(sample, np.array([RELEVANT] + [NEGATIVE] * 79))
    same, changed = record(sample, found, sample.fingerprint), record(sample, found, "cd" * 8)
    assert same is not None
    assert changed is not None
    assert (same.left, same.selection == same.exported) == (None, True)
    assert (changed.left, changed.selection == changed.exported) == (found.left, False)
    assert record(sample, estimate(sample, np.zeros(80, dtype=int)), "") is None
    run = {"inputs": {"input_file": {"name": "a", "bytes": 1, "sha256": "0"}}, "model": {"name": "m"}}
    written = of_export(run, settings={}, names={}, verdicts=(), summary=None, fn_model=None, outputs=[], audit=changed)
    (tmp_path / "m.json").write_bytes(encoded(written))
    read = read_manifest(tmp_path / "m.json")
    assert msgspec.convert(read.audit, AuditRecord) == changed
    assert read.audit is not None
    assert read.audit["rate"] == pytest.approx(1_000 / 40 / 1_100)


def test_a_manifest_without_an_audit_is_as_it_was(tmp_path: Path) -> None:
    written = compose(settings={}, inputs={}, model={}, verdicts=(), summary=None)
    assert "audit" not in written
    (tmp_path / "m.json").write_text(json.dumps(written))
    assert read_manifest(tmp_path / "m.json").audit is None


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    (made.root / "runs" / "r1").mkdir()
    monkeypatch.setattr(Workspace, "run", lambda self, run_id: None)
    return made


def test_a_sample_is_kept_for_each_selection_of_a_run(space: Workspace) -> None:
    sample = draw(*WORLD, selected(WORLD), AuditSettings())
    kept = keep_sample(space, "r1", sample)
    assert kept.drawn
    assert msgspec.structs.replace(kept, drawn="") == sample
    assert kept_sample(space, "r1", SELECTION) == kept
    other = msgspec.structs.replace(SELECTION, seed=1)
    assert kept_sample(space, "r1", other) is None
    larger = keep_sample(space, "r1", kept.of_size(200))
    assert larger.drawn == kept.drawn
    assert kept_sample(space, "r1", SELECTION) == larger
    (path,) = (space.root / "runs" / "r1").glob("audit-*.json")
    path.write_text("{")
    with pytest.raises(WorkspaceError, match="draw another"):
        kept_sample(space, "r1", SELECTION)


def test_the_queue_of_a_sample_is_in_its_order_each_pair_once_though_the_selection_has_changed() -> None:
    given = world(repeated=20)
    corpus, ranking = given
    before = selected(given)
    sample = draw(corpus, ranking, before, AuditSettings(size=150))
    pairs = different_pairs(*pairs_in(sample, corpus))
    assert len(pairs[0]) < 150
    verdicts = [
        Verdict(query=corpus.queries[pairs[0][place]], passage=corpus.passages[pairs[1][place]], verdict=verdict)
        for place, verdict in ((0, "relevant"), (1, "negative"), (2, "unsure"))
    ]
    elsewhere = next(p for p in before.negatives[int(pairs[0][0])] if p != pairs[1][0])
    verdicts.append(Verdict(query=corpus.queries[pairs[0][0]], passage=corpus.passages[elsewhere], verdict="relevant"))
    after = selected(given, verdicts=tuple(verdicts))
    settings = QueueSettings(source="audit", order="hubs")
    queue = build(corpus, ranking, after, settings, pairs_with_verdict(corpus, after.verdict_pairs, verdicts), sample=pairs)
    assert (queue.queries.tolist(), queue.passages.tolist()) == (pairs[0].tolist(), pairs[1].tolist())
    assert [STATES[each] for each in queue.verdicts[:4]] == ["relevant", "negative", "unsure", "unreviewed"]
    assert np.flatnonzero(queue.open("Ann"))[0] == 3
    np.testing.assert_array_equal(queue.scores, ranking.score_pairs(*pairs))
    with pytest.raises(SettingsError, match="Quality screen"):
        build(corpus, ranking, after, settings, pairs_with_verdict(corpus, after.verdict_pairs, verdicts))


def test_plans_and_estimates_agree_on_what_counts() -> None:
    """A verdict that waits for others is planned with as one still to be given."""
    sample = sampled([1_000, 100], [0, 1] * 600, size=200)
    states = np.full(200, NEGATIVE)
    states[0] = 0
    blocked, free = more_reviews(sample, states, 0.02), more_reviews(sample, np.full(200, NEGATIVE), 0.02)
    assert blocked is not None
    assert free is not None
    assert blocked > free
    assert audit_plan.ASSUMED < 0.1
