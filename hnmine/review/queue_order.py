"""The orders of review: by estimated false-negative probability, ratio to the positive, query, hubs, or random.

A run without signals is ordered by similarity to the query plus similarity to the nearest positive. Ties are broken by query and rank,
which depend only on the texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.signals import positive_similarity
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.select import Selection

__all__ = ["Order", "RankedPairs", "order_pairs"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

Order = Literal["fn_probability", "ratio", "random", "query", "hubs"]

# Pairs that similarity to the positive orders: the most similar to the query, and those of the highest ratio to the positive.
HEAD, HEAD_BY_RATIO = 500_000, 50_000
# Makes the random order independent of other random draws.
_PURPOSE = 3


@dataclass(frozen=True, slots=True, eq=False)
class RankedPairs:
    """Pairs with similarity and rank, each (m,); the rank is -1 for a passage that is not ranked."""

    queries: Ids
    passages: Ids
    scores: Floats
    ranks: Ids

    def at(self, places: npt.NDArray[Any]) -> RankedPairs:
        """Return the pairs at some indices or under a mask."""
        return RankedPairs(self.queries[places], self.passages[places], self.scores[places], self.ranks[places])

    def followed_by(self, others: RankedPairs) -> RankedPairs:
        """Return these pairs, then others."""
        both = ((getattr(self, name), getattr(others, name)) for name in ("queries", "passages", "scores", "ranks"))
        return RankedPairs(*(np.concatenate(each) for each in both))


def order_pairs(
    corpus: Corpus,
    ranking: Ranking,
    selection: Selection,
    pairs: RankedPairs,
    ratios: Floats,
    estimator: FNEstimator | None,
    order: Order,
    seed: int,
) -> Rows:
    """Return the order of the pairs; `estimator` is for "fn_probability", `seed` for "random"."""
    queries, passages, scores = pairs.queries, pairs.passages, pairs.scores
    if order == "random":
        random_keys = query_keys(corpus.query_hashes, seed, _PURPOSE)[queries]
        random_keys ^= corpus.passage_hashes[passages]
        return np.argsort(splitmix64(random_keys), kind="stable")
    if order == "query":
        first = np.empty(len(corpus.queries), dtype=np.int64)
        rows = corpus.row_queries[::-1]
        first[rows] = np.arange(len(rows))[::-1]  # the first of several rows is written last
        return np.lexsort((-scores, first[queries]))
    if order == "hubs":
        chosen = np.bincount(selection.negatives[selection.negatives >= 0], minlength=len(corpus.passages))
        return np.lexsort((-scores, passages.astype(np.int64) - chosen[passages] * len(corpus.passages)))
    if order == "ratio":
        return _by_ratio(corpus, ranking, queries, passages, ratios)
    return _by_similarities(corpus, ranking, queries, passages, scores) if estimator is None else _by_fn_probability(estimator, pairs)


def _by_fn_probability(estimator: FNEstimator, pairs: RankedPairs) -> Rows:
    """Return the order by the estimate, highest first; pairs that are not ranked have none and come last, by score."""
    fn_probabilities = np.full(len(pairs.queries), -1, dtype=np.float32)
    for first in range(0, len(fn_probabilities), HEAD):  # in parts, to bound the memory
        part = np.flatnonzero(pairs.ranks[first : first + HEAD] >= 0) + first
        fn_probabilities[part] = estimator.pairs(pairs.queries[part], pairs.ranks[part])
    return np.lexsort((-pairs.scores, -fn_probabilities))


def _by_similarities(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, scores: Floats) -> Rows:
    """Return the order by similarity to the query plus that to its nearest positive; beyond HEAD, by similarity to the query."""
    order = np.argsort(-scores, kind="stable")
    head = order[:HEAD]
    order[:HEAD] = head[np.argsort(-scores[head] - positive_similarity(corpus, ranking, queries[head], passages[head]), kind="stable")]
    return order


def _by_ratio(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, ratios: Floats) -> Rows:
    """Return the order by ratio to the positive in whole percent, then similarity to the positive; undefined ratios come first."""
    ratios = np.nan_to_num(ratios, nan=np.inf, posinf=np.inf)
    order = np.argsort(-ratios, kind="stable")
    head = order[:HEAD_BY_RATIO]
    percent = np.round(100 * np.minimum(ratios[head], 100))
    order[:HEAD_BY_RATIO] = head[np.lexsort((-positive_similarity(corpus, ranking, queries[head], passages[head]), -percent))]
    return order
