"""Filling up what the rank window left short, safely and by seed.

A passage may fill a gap when it is no positive of the query, not the query itself, not chosen already, and passes the
guards: what a guard rejected must not come back by chance. Each short query walks its own pseudo-random permutation of
the corpus (`chance.permute`) as far as needed. Where guards let hardly anything through, walking would score nearly the
whole corpus pair by pair (73 s for 200 queries x 100,000 passages); so after two rounds a matrix product finds all
passages that can pass at all, and only those are looked at (0.5 s).

Passages that the window skipped (ranks below its start: often positives that nobody labelled) are taken last, when the
corpus has nothing else.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hnmine.chance import mix, permute, position_of, query_keys
from hnmine.corpus import Corpus
from hnmine.ranking import Ranking

__all__ = ["Guards", "backfill"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

# Pairs looked at together: bounds memory to some hundred megabytes.
BLOCK = 4_000_000
ROUNDS = 2


class Guards(Protocol):
    """What tells which scores may not become negatives."""

    @property
    def active(self) -> bool:
        """Whether any guard is in use."""

    def rejected(self, scores: Floats, queries: Rows, *, tolerance: float = 0.0) -> Bools:
        """Return which scores (p,) of `queries` (p,) are rejected, by more than `tolerance`."""


def backfill(corpus: Corpus, ranking: Ranking, guards: Guards, seed: int, negatives: Ids, scores: Floats, start: int) -> Bools:
    """Fill the free places of `negatives` and `scores` (q, N) in place, hardest first over all.

    Args:
        corpus, ranking: what there is.
        guards: what may not come back.
        seed: decides the draw.
        negatives: (q, N) int32, -1 where a place is free. scores: (q, N) float32, NaN there.
        start: where the rank window starts.

    Returns:
        (q, N) bool, the places filled here.
    """
    filled = np.zeros(negatives.shape, dtype=bool)
    short = np.flatnonzero(negatives[:, -1] < 0)
    keys = query_keys(corpus.query_hashes, seed, 2)
    position, width = 0, 2 * negatives.shape[1] + 8
    turn = 0
    while len(short) and position < corpus.n_candidates and not (guards.active and turn == ROUNDS):
        width = min(width, corpus.n_candidates - position)
        block = max(1, BLOCK // width)
        for first in range(0, len(short), block):
            _walk(corpus, ranking, guards, keys, negatives, filled, short[first : first + block], position, width, start)
        short = short[negatives[short, -1] < 0]
        position, width, turn = position + width, width * 4, turn + 1
    if position < corpus.n_candidates:
        block = max(1, BLOCK // corpus.n_candidates)
        for first in range(0, len(short), block):
            _sift(corpus, ranking, guards, keys, negatives, filled, short[first : first + block], position, start)
        short = short[negatives[short, -1] < 0]
    if start and len(short):
        _skipped(corpus, ranking, guards, keys, negatives, filled, short, start)
    queries, places = np.nonzero(filled)
    if len(queries):
        scores[queries, places] = ranking.score_pairs(queries.astype(np.int32), negatives[queries, places])
        touched = np.unique(queries)
        # NaN (nothing there) sorts last, equal scores by id.
        order = np.lexsort((negatives[touched], -scores[touched]))
        for array in (negatives, scores, filled):
            array[touched] = np.take_along_axis(array[touched], order, 1)
    return filled


def _walk(
    corpus: Corpus,
    ranking: Ranking,
    guards: Guards,
    keys: Any,
    negatives: Ids,
    filled: Bools,
    queries: Rows,
    position: int,
    width: int,
    start: int,
) -> None:
    """Try the next `width` passages of each query's permutation."""
    passages = permute(keys[queries], np.arange(position, position + width, dtype=np.uint64), corpus.n_candidates)
    count = np.int64(len(corpus.passages))
    base = np.arange(len(queries), dtype=np.int64)[:, None] * count
    rows, ids = _barred(corpus, ranking, negatives, queries, start)
    usable = ~np.isin(base + passages, rows * count + ids)
    if guards.active:
        flat = np.flatnonzero(usable)
        owners = np.repeat(queries, width)[flat]
        values = ranking.score_pairs(owners.astype(np.int32), passages.ravel()[flat])
        usable.ravel()[flat[guards.rejected(values, owners)]] = False
    rows, places = np.nonzero(usable)
    _take(negatives, filled, queries, rows, passages[rows, places])


def _sift(
    corpus: Corpus, ranking: Ranking, guards: Guards, keys: Any, negatives: Ids, filled: Bools, queries: Rows, position: int, start: int
) -> None:
    """Find all passages that can pass the guards by a matrix product, and take those first in each query's permutation.

    The product only rules out; what it leaves is scored exactly, so the result is the one that walking would have given.
    """
    count = corpus.n_candidates
    vectors = np.asarray(ranking.query_vectors[queries])
    rough = vectors @ np.asarray(ranking.passage_vectors[:count]).T
    # Twice the largest error of a float32 inner product, as in `search.top_k`.
    longest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0.0))) * max(1.0, float(np.abs(rough).max(initial=0.0)))
    tolerance = 2 * vectors.shape[1] * 2.0**-24 * max(1.0, longest)
    possible = ~guards.rejected(rough.ravel(), np.repeat(queries, count), tolerance=tolerance).reshape(rough.shape)
    rows, ids = _barred(corpus, ranking, negatives, queries, start)
    inside = ids < count
    possible[rows[inside], ids[inside]] = False
    rows, ids = np.nonzero(possible)
    places = position_of(keys[queries[rows]], ids.astype(np.int32), count)
    ahead = places >= position  # those before were tried by walking
    order = np.lexsort((places[ahead], rows[ahead]))
    rows, ids = rows[ahead][order], ids[ahead][order]
    values = ranking.score_pairs(queries[rows].astype(np.int32), ids.astype(np.int32))
    good = ~guards.rejected(values, queries[rows])
    _take(negatives, filled, queries, rows[good], ids[good].astype(np.int32))


def _skipped(corpus: Corpus, ranking: Ranking, guards: Guards, keys: Any, negatives: Ids, filled: Bools, queries: Rows, start: int) -> None:
    """Take from the ranks that the window skipped, in the order of their lots."""
    passages = np.asarray(ranking.ids[queries, :start])
    values = np.asarray(ranking.scores[queries, :start])
    count = np.int64(len(corpus.passages))
    base = np.arange(len(queries), dtype=np.int64)[:, None] * count
    rows, ids = _barred(corpus, ranking, negatives, queries, 0)
    usable = ~np.isin(base + passages, rows * count + ids)
    if guards.active:
        usable &= ~guards.rejected(values.ravel(), np.repeat(queries, passages.shape[1])).reshape(values.shape)
    lots = mix(keys[queries][:, None] ^ corpus.passage_hashes[passages])
    order = np.argsort(lots, axis=1, kind="stable")
    rows, places = np.nonzero(np.take_along_axis(usable, order, 1))
    _take(negatives, filled, queries, rows, np.take_along_axis(passages, order, 1)[rows, places])


def _barred(corpus: Corpus, ranking: Ranking, negatives: Ids, queries: Rows, start: int) -> tuple[Rows, Rows]:
    """Return what may not be taken, as (row in `queries`, passage) pairs: positives, the query's own text, taken ones, skipped ranks."""
    sizes = corpus.positive_starts[queries + 1] - corpus.positive_starts[queries]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = [np.repeat(np.arange(len(queries)), sizes)]
    ids = [corpus.positive_ids[np.repeat(corpus.positive_starts[queries], sizes) + within].astype(np.int64)]
    for more in (corpus.query_passages[queries][:, None], negatives[queries], np.asarray(ranking.ids[queries, :start])):
        row, place = np.nonzero(more >= 0)
        rows.append(row)
        ids.append(more[row, place].astype(np.int64))
    return np.concatenate(rows), np.concatenate(ids)


def _take(negatives: Ids, filled: Bools, queries: Rows, rows: Rows, passages: Ids) -> None:
    """Put each row's first passages into its free places; `rows` is ascending."""
    free = (negatives[queries] >= 0).sum(axis=1)
    turn = np.arange(len(rows)) - np.searchsorted(rows, rows)  # 0, 1, ... within each row
    place = free[rows] + turn
    fits = place < negatives.shape[1]
    negatives[queries[rows[fits]], place[fits]] = passages[fits]
    filled[queries[rows[fits]], place[fits]] = True
