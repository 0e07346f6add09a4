"""Signals against brute force, and that they are properties of texts: not of depth, order, or where the arrays lie."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from hnmine.core.errors import Cancelled
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.retrieval import signals
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.signals import BASIC, NEAR, RANDOM_QUERIES, scale_of, with_positive_similarity, with_signals
from hnmine.selection.promotions import apply_promotions
from tests.conftest import FakeEncoder
from tests.worlds import world


@pytest.fixture(scope="module", params=["extend", "replace"])
def made(request):
    """A corpus with up to three positives a query, its pool alone ranked or with the rows' passages, and the ranking."""
    return world(30, 120, depth=60, mode=request.param, positives=3)


def nearest_of(corpus, ranking, query, passage):
    """The similarity to the nearest positive but itself, in float64; NaN where there is none."""
    vectors = ranking.passage_vectors.astype(np.float64)
    others = [positive for positive in corpus.positives(query).tolist() if positive != passage]
    return max((float(vectors[positive] @ vectors[passage]) for positive in others), default=float("nan"))


def test_likeness_is_the_similarity_to_the_nearest_other_positive(made):
    corpus, ranking = made
    expected = [[nearest_of(corpus, ranking, query, passage) for passage in ids] for query, ids in enumerate(ranking.ids.tolist())]
    assert np.allclose(ranking.signals["positive_similarity"], np.array(expected, np.float32), rtol=0, atol=1e-6, equal_nan=True)
    assert max(np.diff(corpus.positive_starts)) == 3


def test_the_only_positive_has_no_likeness_and_no_overlap():
    corpus, ranking = world(30, 60, positives=1)
    own = ranking.ids == corpus.positive_ids[:, None]
    assert own.sum() > 20, "positives are ranked here"
    assert np.isnan(ranking.signals["positive_similarity"][own]).all()
    assert not np.isnan(ranking.signals["positive_similarity"][~own]).any()
    assert (ranking.signals["overlap"][own] == 0).all()


def test_overlap_is_that_with_the_positive_that_shares_most_where_vectors_are_alike(made):
    corpus, ranking = made
    index = LexicalIndex(corpus.passages)
    mean, spread = ranking.scale[1]
    alike = 0
    for query, ids in enumerate(ranking.ids.tolist()):
        for place, passage in enumerate(ids):
            expected = 0.0
            if ranking.signals["positive_similarity"][query, place] >= mean + NEAR * spread:
                others = corpus.positives(query)[corpus.positives(query) != passage]
                expected = float(index.overlap(np.full(len(others), passage), others).max())
                alike += expected > 0
            assert ranking.signals["overlap"][query, place] == np.float32(expected)
    assert alike or corpus.pool_mode == "replace", "near duplicates were planted among the rows' own passages"


def test_bm25_is_a_share_of_the_best_match_and_counts_who_is_better(made):
    corpus, ranking = made
    index = LexicalIndex(corpus.passages)
    for query, text in enumerate(corpus.queries):
        every = index.scores(text)
        own = slice(corpus.positive_starts[query], corpus.positive_starts[query + 1])
        sides = ((ranking.signals, query, ranking.ids[query]), (ranking.positive_signals, own, corpus.positive_ids[own]))
        for held, place, ids in sides:
            assert held["bm25_ratio"][place].tolist() == (every[ids] / every.max()).tolist()
            better = [(every[: corpus.n_candidates] > every[id_]).sum() if every[id_] else 1000 for id_ in ids]
            assert held["bm25_rank"][place].tolist() == better


def test_similarity_z_is_how_unusual_a_passage_is_for_its_query(made):
    """By the definition: the passage's similarities to the other queries, and those of random pairs as five more queries."""
    _, ranking = made
    every = np.asarray(ranking.query_vectors, np.float64) @ np.asarray(ranking.passage_vectors, np.float64).T
    (random_mean, random_spread), _ = ranking.scale
    known = (len(every) - 1) / (len(every) - 1 + RANDOM_QUERIES)
    for query in range(len(every)):
        others = np.delete(every, query, axis=0)[:, ranking.ids[query]]
        mean = known * others.mean(axis=0) + (1 - known) * random_mean
        spread = np.sqrt(known * others.var(axis=0) + (1 - known) * random_spread**2)
        assert ranking.signals["similarity_z"][query] == pytest.approx((every[query, ranking.ids[query]] - mean) / spread, abs=1e-4)


def test_of_one_query_similarity_z_is_finite():
    corpus = build_corpus([Row(1, "who", ["right"], [], {})], [f"passage {number}" for number in range(6)])
    found = with_signals(corpus, rank(corpus, FakeEncoder(), 6)).signals["similarity_z"]
    assert np.isfinite(found).all()


def test_vectors_in_parts_give_the_same_similarity_z(made, monkeypatch):
    corpus, ranking = made
    monkeypatch.setattr(signals, "VECTORS", 3 * ranking.passage_vectors.shape[1])
    assert with_signals(corpus, ranking).signals["similarity_z"] == pytest.approx(ranking.signals["similarity_z"], abs=1e-5)


def test_the_scale_is_that_of_all_pairs_about(made):
    _, ranking = made
    passages = ranking.passage_vectors.astype(np.float64)
    between = passages @ passages.T
    between = between[~np.eye(len(passages), dtype=bool)]
    asked = ranking.query_vectors.astype(np.float64) @ passages.T
    for (mean, spread), values in zip(ranking.scale, (asked, between), strict=True):
        assert mean == pytest.approx(values.mean(), abs=0.03 * values.std())
        assert spread == pytest.approx(values.std(), rel=0.03)


def test_of_one_passage_the_scale_is_finite_and_no_spread_is_nought():
    corpus = build_corpus([Row(1, "who", ["right"], [], {})])
    found = scale_of(corpus, rank(corpus, FakeEncoder(), 1))
    assert np.isfinite(found).all()
    assert (found[:, 1] > 0).all()


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_a_deeper_ranking_has_the_same_signals_in_front_bit_for_bit(mode):
    """The app ranks deeper than the command line; both must estimate, and choose, the same."""
    _, short = world(20, 260, depth=50, mode=mode)
    _, deep = world(20, 260, depth=200, mode=mode)
    assert set(short.signals) == set(BASIC)
    for name, values in short.signals.items():
        assert values.dtype == np.float32
        assert values.tobytes() == np.ascontiguousarray(deep.signals[name][:, :50]).tobytes(), name
    assert short.scale.tobytes() == deep.scale.tobytes()
    assert {name: values.tobytes() for name, values in short.positive_signals.items()} == {
        name: values.tobytes() for name, values in deep.positive_signals.items()
    }


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_the_order_of_rows_and_of_the_pool_changes_nothing(mode):
    corpus, ranking = world(mode=mode)
    again, shuffled = world(mode=mode, shuffle=3)
    assert list(corpus.queries) == list(again.queries)
    for name in BASIC:
        assert ranking.signals[name].tobytes() == shuffled.signals[name].tobytes(), name
    assert ranking.scale.tobytes() == shuffled.scale.tobytes()


def test_many_positives_are_compared_in_parts_with_the_same_result(monkeypatch, made):
    corpus, ranking = made
    for size in (1, 7, 500):
        monkeypatch.setattr(signals, "AT_ONCE", size)
        again = with_signals(corpus, replace(ranking, signals={}, positive_signals={}, scale=None))
        for name in BASIC:
            assert again.signals[name].tobytes() == ranking.signals[name].tobytes(), (size, name)


def test_no_part_compares_much_more_than_it_may(monkeypatch):
    corpus, _ = world(30, 20, depth=5, positives=3)
    monkeypatch.setattr(signals, "AT_ONCE", 10)
    queries = np.repeat(np.arange(len(corpus.queries)), 4)
    parts = list(signals._parts(corpus, queries))
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(len(queries)))
    sizes = [int(np.diff(corpus.positive_starts)[queries[part]].sum()) for part in parts]
    assert max(sizes) < 10 + 3
    assert list(signals._parts(corpus, queries[:0])) == []


def test_what_was_saved_is_mapped_again(tmp_path, made):
    _, ranking = made
    ranking.save(tmp_path)
    opened = Ranking.open(tmp_path)
    assert {name: values.tobytes() for name, values in opened.signals.items()} == {
        name: values.tobytes() for name, values in ranking.signals.items()
    }
    assert {name: values.tobytes() for name, values in opened.positive_signals.items()} == {
        name: values.tobytes() for name, values in ranking.positive_signals.items()
    }
    assert opened.scale.tobytes() == ranking.scale.tobytes()
    assert all(isinstance(values, np.memmap) for values in opened.signals.values())


def test_a_ranking_without_signals_stays_without(tmp_path):
    corpus, ranking = world(5, 10, depth=5)
    replace(ranking, signals={}, positive_signals={}, scale=None).save(tmp_path)
    opened = Ranking.open(tmp_path)
    assert (opened.signals, opened.positive_signals, opened.scale) == ({}, {}, None)
    assert apply_promotions(corpus, opened, match_verdicts(corpus, [promote(corpus, ranking, 0, 3)]))[1].signals == {}


def promote(corpus, ranking, query, rank):
    return Verdict(query=corpus.queries[query], passage=corpus.passages[ranking.ids[query, rank]], verdict="positive")


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def far(corpus, ranking, query):
    """A rank whose passage is no positive of the query."""
    return next(rank for rank in range(5, 60) if ranking.ids[query, rank] not in corpus.positives(query))


def test_a_promotion_changes_the_likeness_of_its_query_alone_and_no_file(tmp_path, made):
    corpus, ranking = made
    ranking.save(tmp_path)
    before = contents(tmp_path)
    opened = Ranking.open(tmp_path)
    amended, after = apply_promotions(corpus, opened, match_verdicts(corpus, [promote(corpus, ranking, 4, far(corpus, ranking, 4))]))
    expected = np.array([nearest_of(amended, ranking, 4, passage) for passage in ranking.ids[4].tolist()], np.float32)
    assert np.allclose(after.signals["positive_similarity"][4], expected, rtol=0, atol=1e-6, equal_nan=True)
    assert (after.signals["positive_similarity"][4] != ranking.signals["positive_similarity"][4]).any()
    others = np.arange(len(corpus.queries)) != 4
    assert after.signals["positive_similarity"][others].tobytes() == ranking.signals["positive_similarity"][others].tobytes()
    assert after.signals["bm25_ratio"] is opened.signals["bm25_ratio"]
    assert contents(tmp_path) == before
    assert opened.signals["positive_similarity"].tobytes() == ranking.signals["positive_similarity"].tobytes(), "nor the run that is open"


def test_a_promoted_candidate_brings_what_was_known_of_it(made):
    corpus, ranking = made
    rank = far(corpus, ranking, 4)
    amended, after = apply_promotions(corpus, ranking, match_verdicts(corpus, [promote(corpus, ranking, 4, rank)]))
    place = int(amended.positive_starts[4]) + amended.positives(4).tolist().index(ranking.ids[4, rank])
    for name in ("bm25_ratio", "bm25_rank"):
        assert after.positive_signals[name][place] == ranking.signals[name][4, rank]
        assert np.delete(after.positive_signals[name], place).tolist() == ranking.positive_signals[name].tolist()


def test_promotions_upon_promotions_keep_what_the_first_ones_changed(tmp_path, made):
    corpus, ranking = made
    first, second = promote(corpus, ranking, 4, far(corpus, ranking, 4)), promote(corpus, ranking, 9, far(corpus, ranking, 9))
    at_once = apply_promotions(corpus, ranking, match_verdicts(corpus, [first, second]))[1]
    ranking.save(tmp_path)
    amended, once = apply_promotions(corpus, Ranking.open(tmp_path), match_verdicts(corpus, [first]))
    twice = apply_promotions(amended, once, match_verdicts(amended, [second]))[1]
    assert twice.signals["positive_similarity"].tobytes() == at_once.signals["positive_similarity"].tobytes()


def test_a_run_that_is_deleted_while_it_is_open_can_still_be_amended(tmp_path, made):
    corpus, ranking = made
    ranking.save(tmp_path)
    opened = Ranking.open(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    verdict_pairs = match_verdicts(corpus, [promote(corpus, ranking, 4, far(corpus, ranking, 4))])
    after, expected = (apply_promotions(corpus, each, verdict_pairs)[1].signals["positive_similarity"] for each in (opened, ranking))
    assert after.tobytes() == expected.tobytes()


def test_work_on_signals_stops_on_request():
    corpus, ranking = world(10, 20, depth=10)
    for work in (with_signals, lambda *given, **more: with_positive_similarity(*given, np.arange(10, dtype=np.int32), **more)):
        with pytest.raises(Cancelled):
            work(corpus, ranking, should_stop=lambda: True)
