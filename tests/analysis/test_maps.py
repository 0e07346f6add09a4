"""Maps against a plain principal component analysis."""

from __future__ import annotations

import numpy as np
import pytest

from hnmine.analysis.maps import Kind, neighbourhood, plane_of
from hnmine.analysis.queries import candidates_of
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings


def cloud(count: int, dimension: int = 12, seed: int = 0) -> np.ndarray:
    """Points that spread differently along each axis of a turned frame."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    return ((rng.standard_normal((count, dimension)) * 0.7 ** np.arange(dimension)) @ turned + rng.standard_normal(dimension)).astype(
        np.float32
    )


def oracle(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Two components by the eigenvectors of numpy's own covariance, each with its largest loading positive; the explained shares."""
    values, found = np.linalg.eigh(np.atleast_2d(np.cov(vectors.astype(np.float64), rowvar=False)))
    axes = found.T[::-1][:2]
    axes = np.array([axis * np.sign(axis[np.abs(axis).argmax()]) for axis in axes])
    points = (vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)) @ axes.T
    return points, (values[::-1][:2] / values.sum()).tolist()


@pytest.mark.parametrize("count", [3, 40, 500])
def test_points_lie_where_the_covariance_says(count: int) -> None:
    vectors = cloud(count)
    plane = plane_of(vectors)
    points, shares = oracle(vectors)
    assert plane.place(vectors) == pytest.approx(points, abs=1e-5)
    assert plane.explained == pytest.approx(shares)
    assert np.linalg.norm(plane.axes, axis=1) == pytest.approx([1, 1])
    assert (plane.axes[np.arange(2), np.abs(plane.axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 5), np.float32), np.full((7, 5), 0.3, np.float32), np.tile(cloud(1, 64), (3000, 1)), np.zeros((4, 3), np.float32)],
    ids=["one point", "equal points", "many equal points", "nothing but zeros"],
)
def test_what_does_not_spread_is_one_point(vectors: np.ndarray) -> None:
    plane = plane_of(vectors)
    assert plane.explained == (0.0, 0.0)
    assert not plane.place(vectors).any()


def test_a_line_has_one_axis() -> None:
    vectors = np.outer(np.arange(9), [0.0, 3.0, -4.0]).astype(np.float32)
    plane = plane_of(vectors)
    assert plane.explained == (pytest.approx(1.0), 0.0)
    assert plane.place(vectors)[:, 0] == pytest.approx(-5 * (np.arange(9) - 4), abs=1e-4)
    assert not plane.place(vectors)[:, 1].any()
    one = plane_of(np.arange(4, dtype=np.float32)[:, None])
    assert one.place(np.array([[1.5]]))[0].tolist() == [0, 0]
    assert one.explained == (1.0, 0.0)


def example() -> tuple:
    rng = np.random.default_rng(3)
    rows = [Row(1, f"q{i}", [f"right {i}", f"right {i + 1}"], [], {}) for i in range(9)]
    corpus = build_corpus(rows, [f"p{i}" for i in range(60)])
    vectors = []
    for texts in (corpus.queries, corpus.passages):
        each = rng.standard_normal((len(texts), 6)).astype(np.float32)
        vectors.append(each / np.linalg.norm(each, axis=1, keepdims=True))
    scores, ids = top_k(vectors[0], vectors[1], 40)
    positive = pair_scores(vectors[0], corpus.positive_queries, vectors[1], corpus.positive_ids)
    ranking = Ranking(ids=ids, scores=scores, positive_scores=positive, query_vectors=vectors[0], passage_vectors=vectors[1])
    settings = SelectionSettings(window_start=3, window_end=14, negative_number=5, max_score=0.5)
    return corpus, ranking, select(corpus, ranking, settings)


def test_a_neighbourhood_says_what_each_point_is_and_how_near_the_positive() -> None:
    corpus, ranking, selection = example()
    seen = set()
    for query in range(len(corpus.queries)):
        candidates = candidates_of(corpus, ranking, selection, query)
        near = neighbourhood(corpus, ranking, selection, candidates, query)
        assert near.kinds[0] == Kind.QUERY
        assert near.ids[near.kinds == Kind.POSITIVE].tolist() == corpus.positives(query).tolist()
        chosen = selection.negatives[query][selection.negatives[query] >= 0].tolist()
        assert sorted(near.ids[near.kinds == Kind.CHOSEN].tolist()) == sorted(chosen)
        assert len(set(near.ids.tolist())) == len(near.ids)
        seen |= set(near.kinds.tolist())
        vectors = np.concatenate([ranking.query_vectors[query : query + 1], ranking.passage_vectors[near.ids[1:]]])
        assert near.points == pytest.approx(oracle(vectors)[0], abs=1e-5)
        # In the room of all dimensions, not on the map.
        positives = ranking.passage_vectors[corpus.positives(query)]
        like = (ranking.passage_vectors[chosen] @ positives.T).max(axis=1)
        level = (ranking.query_vectors[query] @ positives.T).max()
        assert near.nearer_than_query == (int((like > level).sum()), len(chosen))
        place = near.nearest_to_positive(Kind.CHOSEN)
        assert near.ids[place] == chosen[int(like.argmax())]
        for number in range(1, len(near.ids)):
            assert near.scores[number] == pytest.approx(ranking.query_vectors[query] @ ranking.passage_vectors[near.ids[number]], abs=1e-6)
            if near.order[number] >= 0:
                assert candidates.ids[near.order[number]] == near.ids[number]
    assert seen == set(Kind)
    assert near.nearest_to_positive(Kind.QUERY) == 0
