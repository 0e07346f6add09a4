"""Where positives rank, hubs, lengths and separation, against plain counting."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.analysis import diagnostics
from hnmine.analysis.explanation import HUB_LEAST, HUB_SHARE
from hnmine.core import arrays
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, SelectionSettings, select


def world(seed: int, *, pool_mode: str = "extend", queries: int = 9, passages: int = 40, depth: int = 12) -> tuple[Corpus, Ranking]:
    """Queries with one to three positives, some of them shared, among random vectors in few directions, so that scores tie."""
    chance = np.random.default_rng(seed)
    texts = [f"p{number} {'x' * int(chance.integers(1, 30))}" for number in range(passages)]
    rows = [
        Row(1, f"q{number}", [texts[place] for place in chance.choice(12, int(chance.integers(1, 4)), replace=False)], [], {})
        for number in range(queries)
    ]
    corpus = build_corpus(rows, texts[6:] if pool_mode == "replace" else texts, pool_mode=pool_mode)  # type: ignore[arg-type]
    asked, held = (chance.integers(-2, 3, (len(each), 3)).astype(np.float32) for each in (corpus.queries, corpus.passages))
    scores, ids = top_k(asked, held, depth, count=corpus.n_candidates)
    positive = pair_scores(asked, corpus.positive_queries, held, corpus.positive_ids)
    return corpus, Ranking(ids=ids, scores=scores, positive_scores=positive, query_vectors=asked, passage_vectors=held)


def chosen(given: tuple[Corpus, Ranking], **settings: int) -> Selection:
    return select(*given, SelectionSettings(**({"window_start": 0, "window_end": 12, "negative_number": 4} | settings)))


@given(st.integers(0, 200), st.sampled_from(["extend", "replace"]), st.sampled_from([1, 10**6]))
def test_positives_are_where_they_are_and_below_what_is_above_them(seed: int, pool_mode: str, elements: int) -> None:
    corpus, ranking = given_world = world(seed, pool_mode=pool_mode)
    selection = chosen(given_world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "ELEMENTS", elements)
        found = diagnostics.positives(corpus, ranking, selection)
    place = 0
    for query in range(len(corpus.queries)):
        for passage in corpus.positives(query).tolist():
            ranked = ranking.ids[query].tolist()
            rank = ranked.index(passage) if passage in ranked else ranking.depth
            score = ranking.positive_scores[place]
            held = [value for value in selection.scores[query].tolist() if not math.isnan(value)]
            assert (found.queries[place], found.passages[place], found.ranks[place]) == (query, passage, rank)
            assert found.ranked[place] == (rank < ranking.depth)
            assert found.candidate[place] == (passage < corpus.n_candidates)
            assert (found.above[place], found.chosen[place]) == (sum(value > score for value in held), len(held))
            assert found.elsewhere[place] == sum(
                passage in corpus.positives(other) for other in range(len(corpus.queries)) if other != query
            )
            assert found.low[place] == (passage < corpus.n_candidates and rank >= diagnostics.LOW_RANK)
            place += 1
    assert place == len(found.queries)
    assert not found.promoted.any()


def test_promoted_passages_are_positives_and_are_marked() -> None:
    corpus, ranking = world(3)
    passage = next(p for p in range(len(corpus.passages)) if p not in corpus.positives(2))
    verdict = Verdict(query=corpus.queries[2], passage=corpus.passages[passage], verdict="positive")
    corpus, ranking = apply_promotions(corpus, ranking, match_verdicts(corpus, [verdict]))
    found = diagnostics.positives(corpus, ranking, chosen((corpus, ranking)))
    marked = np.flatnonzero(found.promoted)
    assert [(int(found.queries[place]), int(found.passages[place])) for place in marked] == [(2, passage)]


@given(st.integers(0, 200))
def test_hubs_are_counted_by_query_and_the_most_frequent_comes_first(seed: int) -> None:
    corpus, ranking = world(seed, queries=30)
    selection = chosen((corpus, ranking))
    found = diagnostics.hubs(corpus, selection)
    counts = {passage: int((selection.negatives == passage).any(axis=1).sum()) for passage in range(len(corpus.passages))}
    assert dict(zip(found.passages.tolist(), found.counts.tolist(), strict=True)) == {p: n for p, n in counts.items() if n}
    assert found.counts.tolist() == sorted(found.counts.tolist(), reverse=True)
    assert found.hubs == sum(n >= HUB_LEAST and n > HUB_SHARE * 30 for n in counts.values())
    assert (found.candidates, found.never) == (corpus.n_candidates, sum(n == 0 for p, n in counts.items() if p < corpus.n_candidates))
    assert found.top_share == pytest.approx(max(counts.values()) / sum(counts.values()))  # 1 % of 40 is one
    for passage, count in zip(found.passages.tolist(), found.positive_of.tolist(), strict=True):
        assert count == sum(passage in corpus.positives(query) for query in range(30))


def spearman(values: list[int]) -> float:
    """Rank correlation of values with their order, best first, by the definition."""

    def ranks(of: list[float]) -> np.ndarray:
        return np.array([sum(other < each for other in of) + (sum(other == each for other in of) - 1) / 2 for each in of])

    one, other = ranks([float(each) for each in values]), ranks([-float(place) for place in range(len(values))])
    return float(np.corrcoef(one, other)[0, 1]) if np.ptp(one) else math.nan


@given(st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_rank_correlation_is_spearmans_with_ties(rows: list[list[int]]) -> None:
    found = diagnostics._rank_correlation(np.array(rows, dtype=np.int64))
    np.testing.assert_allclose(found, [spearman(row) for row in rows], atol=1e-12)


def test_lengths_are_of_characters_and_count_as_often_as_they_are_used() -> None:
    corpus, ranking = world(5)
    selection = chosen((corpus, ranking))
    found = diagnostics.lengths(corpus, ranking, selection)
    of = [len(text) for text in corpus.passages]
    used = [of[passage] for passage in selection.negatives[selection.negatives >= 0]]
    assert found.chosen == (pytest.approx(np.mean(used)), np.median(used))
    assert found.positives[0] == pytest.approx(np.mean([of[passage] for passage in corpus.positive_ids]))
    assert found.candidates[1] == np.median(of)
    assert found.correlation == pytest.approx(np.mean([spearman([of[passage] for passage in row]) for row in ranking.ids.tolist()]))
    assert found.queries == len(corpus.queries)
    alike = replace(corpus, passages=["abc"] * len(corpus.passages))
    assert math.isnan(diagnostics.lengths(alike, ranking, selection).correlation)


@given(st.integers(0, 200))
def test_separation_counts_pairs(seed: int) -> None:
    corpus, ranking = world(seed)
    selection = chosen((corpus, ranking), negative_number=3)
    found = diagnostics.separation(corpus, ranking, selection)
    held = selection.scores[selection.negatives >= 0].tolist()
    wanted = ranking.positive_scores.tolist()
    pairs = [(one > other) + (one == other) / 2 for one in wanted for other in held]
    assert found.auc == pytest.approx(np.mean(pairs))
    own = [
        score > value
        for query, score in zip(corpus.positive_queries, wanted, strict=True)
        for value in selection.scores[query].tolist()
        if not math.isnan(value)
    ]
    assert found.in_order == pytest.approx(np.mean(own))
    assert (found.positives, found.chosen) == (pytest.approx(np.mean(wanted)), pytest.approx(np.mean(held)))
    shared = sum(min(wanted.count(value) / len(wanted), held.count(value) / len(held)) for value in set(wanted))  # scores are whole
    assert found.overlap == pytest.approx(shared)


def test_without_negatives_nothing_is_apart_and_nothing_fails() -> None:
    corpus, ranking = world(1)
    selection = select(corpus, ranking, SelectionSettings(window_start=0, window_end=12, max_score=-99.0))
    assert not selection.counts.any()
    found = diagnostics.separation(corpus, ranking, selection)
    assert math.isnan(found.auc)
    assert math.isnan(found.overlap)
    assert found.positives == pytest.approx(float(ranking.positive_scores.mean()))
    assert diagnostics.hubs(corpus, selection).hubs == len(diagnostics.hubs(corpus, selection).passages) == 0
    assert math.isnan(diagnostics.lengths(corpus, ranking, selection).chosen[0])
    assert not diagnostics.positives(corpus, ranking, selection).above.any()
