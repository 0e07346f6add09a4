"""Signals: further numbers about each candidate, beside its similarity to the query; (queries x candidates) arrays on the Ranking.

`positive_similarity`: to the nearest positive passage of the query. `similarity_z`: the similarity, less the mean and over the standard
deviation of the passage's similarities to the other queries (Z-norm of speaker verification): high where a passage is near to *this* query.
`overlap`: Jaccard index of three-word runs with the closest positive. `bm25_ratio`: BM25 relative to the query's best match. `bm25_rank`:
how many passages match better. `second_model`, `reranker`: scores of another model. `scale`: mean and standard deviation of the similarity
of random pairs, as unrelated texts score 0.1 by one model and 0.7 by another. All depend on the pair and the corpus, never on the depth.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.hashing import splitmix64
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.data.corpus import Corpus
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.vectors.similarity import pair_scores

__all__ = ["BASIC", "JUDGE", "positive_similarity", "scale_of", "with_judge", "with_positive_similarity", "with_signals", "without_judge"]


Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

# The signals of every run that has any.
BASIC = ("positive_similarity", "similarity_z", "overlap", "bm25_ratio", "bm25_rank")
# Random pairs that estimate the scale: the mean to 1% of the standard deviation.
RANDOM_PAIRS = 20_000
# Texts less similar than so many standard deviations above the mean are not near duplicates: their words are not compared.
NEAR = 3.0
# Mean and variance over the other queries of a run are combined with those of random pairs, which count as so many queries.
RANDOM_QUERIES = 5
# Vectors that are read at a time, and numbers of them in float64: 32 MB.
VECTORS = 2**22
# Pairs with positives that are compared at a time: some 30 MB. A query may have hundreds of positives.
AT_ONCE = 1_000_000


def with_signals(
    corpus: Corpus,
    ranking: Ranking,
    *,
    index: LexicalIndex | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Ranking:
    """Return the ranking with the signals of BASIC and with `scale`; `index`: that of the corpus' passages, if it exists already.

    Raises:
        Cancelled: `should_stop` returned True.
    """
    ranking = replace(ranking, scale=scale_of(corpus, ranking))
    ranking = with_positive_similarity(
        corpus, ranking, np.arange(len(corpus.queries), dtype=np.int32), on_progress=on_progress, should_stop=should_stop
    )
    ranking = replace(ranking, signals=ranking.signals | {"similarity_z": _similarity_z(ranking, should_stop)})
    if index is None:
        index = LexicalIndex(corpus.passages, on_progress=on_progress, should_stop=should_stop)
    ratios, ranks = np.zeros(ranking.ids.shape, np.float32), np.zeros(ranking.ids.shape, np.float32)
    own_ratios, own_ranks = np.zeros(len(corpus.positive_ids), np.float32), np.zeros(len(corpus.positive_ids), np.float32)
    for query, match in enumerate(index.matches(corpus.queries, corpus.n_candidates, on_progress=on_progress, should_stop=should_stop)):
        ids, own = ranking.ids[query], slice(corpus.positive_starts[query], corpus.positive_starts[query + 1])
        ratios[query], ranks[query] = match.ratios(ids), match.ranks(ids)
        own_ratios[own], own_ranks[own] = match.ratios(corpus.positive_ids[own]), match.ranks(corpus.positive_ids[own])
    check_cancelled(should_stop)
    return replace(
        ranking,
        signals=ranking.signals | {"overlap": _overlap(corpus, ranking, index), "bm25_ratio": ratios, "bm25_rank": ranks},
        positive_signals=ranking.positive_signals | {"bm25_ratio": own_ratios, "bm25_rank": own_ranks},
    )


def with_positive_similarity(
    corpus: Corpus, ranking: Ranking, queries: Ids, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Ranking:
    """Return the ranking with `positive_similarity` computed again for some queries, whose positives have changed.

    NaN for a candidate that is the only positive of its query.
    """
    found = ranking.signals.get("positive_similarity")
    values = np.full(ranking.ids.shape, np.nan, np.float32) if found is None else _writable(found)
    depth = ranking.depth
    for first, stop in row_blocks(len(queries), depth):
        check_cancelled(should_stop)
        if on_progress is not None:
            on_progress(first, len(queries), "comparing with positives")
        rows = queries[first:stop]
        nearest = positive_similarity(corpus, ranking, np.repeat(rows, depth), ranking.ids[rows].ravel())
        values[rows] = np.where(np.isfinite(nearest), nearest, np.float32(np.nan)).reshape(-1, depth)
    return replace(ranking, signals=ranking.signals | {"positive_similarity": values})


def _writable(values: Floats) -> Floats:
    """Return a writable copy; of a memory-mapped file, only changed pages are copied."""
    if isinstance(values, np.memmap) and values.mode == "r" and values.filename is not None:
        with contextlib.suppress(OSError):  # a run that was deleted meanwhile stays readable as long as it is mapped
            return np.load(values.filename, mmap_mode="c", allow_pickle=False)  # type: ignore[no-any-return]
    return np.array(values)


def positive_similarity(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids) -> Floats:
    """Return the similarity of passages to the nearest positive of their queries, other than themselves: (p,) float32.

    -inf where a query has no other positive.
    """
    nearest = np.empty(len(queries), np.float32)
    for part in _parts(corpus, queries):
        owners, positives, firsts = _pairs(corpus, queries[part])
        own = passages[part][owners]
        found = pair_scores(ranking.passage_vectors, positives, ranking.passage_vectors, own)
        found[positives == own] = -np.inf
        nearest[part] = np.maximum.reduceat(found, firsts)
    return nearest


def scale_of(corpus: Corpus, ranking: Ranking) -> npt.NDArray[np.float64]:
    """Return mean and standard deviation of the similarity of random pairs: (2, 2) float64, query-passage and passage-passage.

    Passages are in the order of their hashes, and pairs are drawn by the hash of their number: the order of the rows has no effect.
    """
    random_keys = splitmix64(np.arange(3 * RANDOM_PAIRS, dtype=np.uint64)).reshape(3, -1)
    left, right = (random_keys[number] % np.uint64(len(corpus.passages)) for number in (0, 1))
    queries = random_keys[2] % np.uint64(len(corpus.queries))
    found = []
    for vectors, ids in ((ranking.query_vectors, queries), (ranking.passage_vectors, left)):
        scores = pair_scores(vectors, ids.astype(np.int32), ranking.passage_vectors, right.astype(np.int32))
        if vectors is ranking.passage_vectors:
            scores = scores[left != right] if (left != right).any() else scores
        found.append((scores.mean(dtype=np.float64), max(float(scores.std(dtype=np.float64)), 1e-6)))
    return np.array(found)


def _similarity_z(ranking: Ranking, should_stop: ShouldStop | None) -> Floats:
    """Return the similarities, standardised by the passage's similarities to all other queries: (q, k) float32.

    For a passage v, the mean of v · q over the queries q is v · mean(q), and the variance is v' cov(q) v: no similarity is computed again.
    """
    assert ranking.scale is not None
    (random_mean, random_spread), _ = ranking.scale
    queries, width = ranking.query_vectors, ranking.query_vectors.shape[1]
    count, size = len(queries), max(1, VECTORS // ranking.query_vectors.shape[1])
    parts = [slice(first, first + size) for first in range(0, count, size)]
    mean = sum(np.asarray(queries[part], np.float64).sum(axis=0) for part in parts) / count
    scatter = np.zeros((width, width))
    for part in parts:
        check_cancelled(should_stop)
        centred = np.asarray(queries[part], np.float64) - mean
        scatter += centred.T @ centred
    passages, place = np.unique(ranking.ids, return_inverse=True)
    means, squares = np.empty(len(passages)), np.empty(len(passages))
    for first in range(0, len(passages), size):
        check_cancelled(should_stop)
        vectors = np.asarray(ranking.passage_vectors[passages[first : first + size]], np.float64)
        means[first : first + size] = vectors @ mean
        squares[first : first + size] = ((vectors @ scatter) * vectors).sum(axis=1)
    place = place.reshape(ranking.ids.shape)
    values = np.empty(ranking.ids.shape, np.float32)
    others = count - 1
    known = others / (others + RANDOM_QUERIES)
    for first, stop in row_blocks(len(values), ranking.depth):
        at, scores = place[first:stop], ranking.scores[first:stop].astype(np.float64)
        # Without the query itself, as in a leave-one-out mean and variance.
        distance = scores - means[at]
        other_means = means[at] - distance / max(1, others)
        variances = np.maximum(squares[at] - distance**2 * count / max(1, others), 0) / max(1, others)
        spread = np.sqrt(known * variances + (1 - known) * random_spread**2)
        values[first:stop] = (scores - known * other_means - (1 - known) * random_mean) / spread
    return values


def _overlap(corpus: Corpus, ranking: Ranking, index: LexicalIndex) -> Floats:
    """Return the highest overlap of every candidate with a positive: (q, k); 0 where the vectors are not similar."""
    assert ranking.scale is not None
    mean, spread = ranking.scale[1]
    values = np.zeros(ranking.ids.shape, np.float32)
    rows, ranks = np.nonzero(np.asarray(ranking.signals["positive_similarity"]) >= mean + NEAR * spread)
    for part in _parts(corpus, rows):
        owners, positives, firsts = _pairs(corpus, rows[part])
        own = ranking.ids[rows[part], ranks[part]][owners]
        found = index.overlap(own, positives)
        found[positives == own] = 0
        values[rows[part], ranks[part]] = np.maximum.reduceat(found, firsts)
    return values


def _parts(corpus: Corpus, queries: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield slices of `queries` whose positives number about AT_ONCE together."""
    before = np.cumsum(np.diff(corpus.positive_starts)[queries]) // AT_ONCE
    bounds = [0, *(np.flatnonzero(np.diff(before)) + 1).tolist(), len(queries)]
    for first, stop in itertools.pairwise(bounds):
        if first < stop:
            yield slice(first, stop)


def _pairs(corpus: Corpus, queries: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Ids, npt.NDArray[np.int64]]:
    """Return for each entry of `queries` its positives: (place in `queries`, passage), and where each entry's begin."""
    starts, counts = corpus.positive_starts[queries], np.diff(corpus.positive_starts)[queries]
    owners = np.repeat(np.arange(len(queries)), counts)
    firsts = np.cumsum(counts) - counts
    return owners, corpus.positive_ids[np.repeat(starts - firsts, counts) + np.arange(len(owners))], firsts


JUDGE = "judge"


def with_judge(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, grades: npt.NDArray[np.float32]) -> Ranking:
    """Return the ranking with the grades of some pairs as its signal "judge"; the same ranking if there are none.

    Args:
        queries, passages: (p,) int32, each pair once. grades: (p,) float32, NaN where the judge gave none.
    """
    if not len(queries):
        return ranking
    found = np.full(ranking.ids.shape, np.nan, np.float32)
    ranks = ranks_of(ranking.ids, queries, passages)
    ranked = ranks >= 0
    found[queries[ranked], ranks[ranked]] = grades[ranked]
    count = len(corpus.passages)
    held = corpus.positive_queries.astype(np.int64) * count + corpus.positive_ids  # sorted
    asked = queries.astype(np.int64) * count + passages
    places = np.minimum(np.searchsorted(held, asked), len(held) - 1)
    own = held[places] == asked
    positives = np.full(len(held), np.nan, np.float32)
    positives[places[own]] = grades[own]
    return replace(ranking, signals=ranking.signals | {JUDGE: found}, positive_signals=ranking.positive_signals | {JUDGE: positives})


def without_judge(ranking: Ranking) -> Ranking:
    """Return the ranking without the signal "judge"."""
    signals, positive = (
        {name: values for name, values in each.items() if name != JUDGE} for each in (ranking.signals, ranking.positive_signals)
    )
    return replace(ranking, signals=signals, positive_signals=positive)
