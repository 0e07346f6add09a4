"""Random fill: passages from outside the rank window for queries that have too few negatives.

A filled passage is not a positive, the query itself, chosen, removed by a reviewer or rejected by a filter. Each query walks its own
pseudo-random permutation of the corpus; after two rounds a matrix product finds all passages that can pass. Confirmed passages come
first, at any rank; passages before the window come last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.hashing import keyed_permutation, position_of, query_keys, splitmix64
from hnmine.data.verdicts import VerdictPairs
from hnmine.selection.active_filters import ActiveFilters
from hnmine.vectors.similarity import walk

__all__ = ["random_fill"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

# Rounds of walking before the matrix product, if filters are in use.
ROUNDS = 2
# Queries and passages of one matrix product: 32 MiB of scores. Each vector that is read serves 2,048 queries, so reading takes less time
# than the arithmetic.
SIFT_QUERIES, SIFT_PASSAGES = 2_048, 4_096


def random_fill(filters: ActiveFilters, verdict_pairs: VerdictPairs, negatives: Ids, scores: Floats, start: int) -> Bools:
    """Fill the free places of `negatives` and `scores` (q, N) in place, and sort each row hardest first.

    Args:
        filters, verdict_pairs: passages to leave out; the seed is that of the filters' settings.
        negatives: (q, N) int32, free places are -1 and come last. scores: (q, N) float32, NaN in free places.
        start: the start of the rank window.

    Returns:
        (q, N) bool, the filled places.
    """
    fill = _Fill(filters, verdict_pairs, negatives, scores, start)
    short = np.flatnonzero(negatives[:, -1] < 0)
    if not len(short):
        return fill.filled
    if len(verdict_pairs.negative[0]):
        fill.confirmed(short)
    # Filters reject part of what is walked; without them nearly everything fits.
    width = negatives.shape[1] * (2 if filters.active else 1) + 8
    position = fill.walk(fill.short(short), width)
    if filters.active and position < filters.corpus.n_candidates:
        left = fill.short(short)
        for first in range(0, len(left), SIFT_QUERIES):
            fill.sift(left[first : first + SIFT_QUERIES], position)
    for first, stop in row_blocks(len(short), max(start, negatives.shape[1])):
        fill.finish(short[first:stop])
    return fill.filled


class _Fill:
    """The state of `random_fill`; its methods work on some of the queries."""

    def __init__(self, filters: ActiveFilters, verdict_pairs: VerdictPairs, negatives: Ids, scores: Floats, start: int) -> None:
        self.corpus, self.ranking, self.filters, self.verdict_pairs = filters.corpus, filters.ranking, filters, verdict_pairs
        self.keys = query_keys(self.corpus.query_hashes, filters.settings.seed, 2)
        self.negatives, self.scores, self.start = negatives, scores, start
        self.filled = np.zeros(negatives.shape, dtype=bool)

    def short(self, queries: Rows) -> Rows:
        """Return those of `queries` that have a free place."""
        return np.asarray(queries[self.negatives[queries, -1] < 0])

    def confirmed(self, queries: Rows) -> None:
        """Take confirmed passages first, at any rank and whether or not a filter rejects them."""
        rows, passages = _of_queries(self.verdict_pairs.negative, queries)
        count = len(self.corpus.passages)
        barred_rows, barred_ids = self._barred(queries, self.start)
        usable = (passages < self.corpus.n_candidates) & ~np.isin(rows * count + passages, barred_rows * count + barred_ids)
        rows, passages = rows[usable], passages[usable]
        order = np.lexsort((splitmix64(self.keys[queries[rows]] ^ self.corpus.passage_hashes[passages]), rows))
        self._take(queries, rows[order], passages[order].astype(np.int32))

    def walk(self, queries: Rows, width: int) -> int:
        """Walk each query's permutation, `width` passages and then four times as many per round; return the position reached."""
        position, turn, count = 0, 0, self.corpus.n_candidates
        while position < count and not (self.filters.active and turn == ROUNDS):
            width = min(width, count - position)
            for first, stop in row_blocks(len(queries), width):
                self._try(queries[first:stop], position, width)
            queries = self.short(queries)
            position, width, turn = position + width, width * 4, turn + 1
        return position

    def _try(self, queries: Rows, position: int, width: int) -> None:
        """Try the next `width` passages of each query's permutation."""
        passages = keyed_permutation(self.keys[queries], np.arange(position, position + width, dtype=np.uint64), self.corpus.n_candidates)
        usable = self._free(queries, passages, self.start)
        if self.filters.active:
            rows, places = np.nonzero(usable)
            values = self.ranking.score_pairs(queries[rows].astype(np.int32), passages[rows, places])
            usable[rows, places] = ~self.filters.rejected(values, queries[rows])
            rows, places = np.nonzero(usable)
            usable[rows, places] = ~self.filters.rejected_pairs(queries[rows], passages[rows, places])
        rows, places = np.nonzero(usable)
        self._take(queries, rows, passages[rows, places])

    def sift(self, queries: Rows, position: int) -> None:
        """Find all passages that can pass the filters by matrix products, and take the first of each query's permutation.

        Products decide only beyond their rounding error; other scores are computed exactly, so the result equals that of walking from
        `position` on. At most as many passages per query are held as it has free places.
        """
        count = self.corpus.n_candidates
        vectors = np.asarray(self.ranking.query_vectors[queries], dtype=np.float32)
        free = np.count_nonzero(self.negatives[queries] < 0, axis=1)
        barred_rows, barred_ids = self._barred(queries, self.start)
        barred_rows, barred_ids = barred_rows[barred_ids < count], barred_ids[barred_ids < count]
        column = np.full(count, -1, dtype=np.int32)
        row, step, held = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
        for ids, block in walk(self.ranking.passage_vectors, SIFT_PASSAGES, count):
            rough = vectors @ block.T
            # Twice the largest error of a float32 inner product, as in `search.top_k`.
            tolerance = 2 * vectors.shape[1] * 2.0**-24 * max(1.0, _longest(vectors) * _longest(block))
            possible = ~self.filters.rejected(rough, queries, tolerance=tolerance)
            column[ids] = np.arange(len(ids), dtype=np.int32)
            places = column[barred_ids]
            possible[barred_rows[places >= 0], places[places >= 0]] = False
            column[ids] = -1
            rows, places = np.divmod(np.flatnonzero(possible), len(ids))
            found, values = ids[places].astype(np.int32), rough[rows, places]
            near = np.flatnonzero(self.filters.rejected(values, queries[rows], tolerance=-tolerance))
            exact = self.ranking.score_pairs(queries[rows[near]].astype(np.int32), found[near])
            good = np.ones(len(rows), dtype=bool)
            good[near] = ~self.filters.rejected(exact, queries[rows[near]])
            steps = position_of(self.keys[queries[rows]], found, count)
            good &= steps >= position  # earlier ones were tried by walking
            good[good] = ~self.filters.rejected_pairs(queries[rows[good]], found[good])
            row, step, held = np.append(row, rows[good]), np.append(step, steps[good]), np.append(held, found[good])
            order = np.lexsort((step, row))
            order = order[_turns(row[order], len(queries)) < free[row[order]]]
            row, step, held = row[order], step[order], held[order]
        self._take(queries, row, held)

    def finish(self, queries: Rows) -> None:
        """Fill the rest from the skipped ranks, score the filled passages, and sort each row hardest first."""
        left = self.short(queries)
        if self.start and len(left):
            self._skipped(left)
        queries = queries[self.filled[queries].any(axis=1)]
        negatives, scores, filled = self.negatives[queries], self.scores[queries], self.filled[queries]
        rows, places = np.nonzero(filled)
        scores[rows, places] = self.ranking.score_pairs(queries[rows].astype(np.int32), negatives[rows, places])
        # NaN (free places) sorts last, equal scores by id.
        order = np.lexsort((negatives, -scores))
        for array, values in ((self.negatives, negatives), (self.scores, scores), (self.filled, filled)):
            array[queries] = np.take_along_axis(values, order, 1)

    def _skipped(self, queries: Rows) -> None:
        """Take from the ranks before the window, in the order of their random keys."""
        passages = np.asarray(self.ranking.ids[queries, : self.start])
        usable = self._free(queries, passages, 0)
        if self.filters.active:
            usable &= ~self.filters.rejected(np.asarray(self.ranking.scores[queries, : self.start]), queries)
            rows, places = np.nonzero(usable)
            usable[rows, places] = ~self.filters.rejected_pairs(queries[rows], passages[rows, places])
        random_keys = splitmix64(self.keys[queries][:, None] ^ self.corpus.passage_hashes[passages])
        order = np.argsort(random_keys, axis=1, kind="stable")
        rows, places = np.nonzero(np.take_along_axis(usable, order, 1))
        self._take(queries, rows, np.take_along_axis(passages, order, 1)[rows, places])

    def _free(self, queries: Rows, passages: Ids, start: int) -> Bools:
        """Return which of the passages (queries, w) may be taken, before filters."""
        count = np.int64(len(self.corpus.passages))
        rows, ids = self._barred(queries, start)
        barred = np.sort(np.append(rows * count + ids, np.iinfo(np.int64).max))
        wanted = np.arange(len(queries), dtype=np.int64)[:, None] * count + passages
        return np.asarray(barred[np.searchsorted(barred, wanted)] != wanted)

    def _barred(self, queries: Rows, start: int) -> tuple[Rows, Rows]:
        """Return the passages to leave out as (row in `queries`, passage): positives, removed, the query itself, taken, skipped ranks."""
        corpus = self.corpus
        sizes = corpus.positive_starts[queries + 1] - corpus.positive_starts[queries]
        owners = np.repeat(np.arange(len(queries)), sizes)
        rows = [owners]
        ids = [corpus.positive_ids[corpus.positive_starts[queries][owners] + _turns(owners, len(queries))].astype(np.int64)]
        owners, removed = _of_queries(self.verdict_pairs.removed, queries)
        rows.append(owners)
        ids.append(removed)
        skipped = np.asarray(self.ranking.ids[queries, :start])
        for more in (corpus.query_passages[queries][:, None], self.negatives[queries], skipped):
            row, place = np.nonzero(more >= 0)
            rows.append(row)
            ids.append(more[row, place].astype(np.int64))
        return np.concatenate(rows), np.concatenate(ids)

    def _take(self, queries: Rows, rows: Rows, passages: Ids) -> None:
        """Put the first passages of each row into its free places; `rows` ascends."""
        place = np.count_nonzero(self.negatives[queries] >= 0, axis=1)[rows] + _turns(rows, len(queries))
        fits = place < self.negatives.shape[1]
        self.negatives[queries[rows[fits]], place[fits]] = passages[fits]
        self.filled[queries[rows[fits]], place[fits]] = True


def _turns(rows: Rows, count: int) -> Rows:
    """Return 0, 1, ... within each row; `rows` ascends and is below `count`."""
    return np.asarray(np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows])


def _of_queries(pairs: tuple[Ids, Ids], queries: Rows) -> tuple[Rows, Rows]:
    """Return the pairs of `queries` as (row in `queries`, passage); `pairs` are sorted by query."""
    begins = np.searchsorted(pairs[0], queries)
    rows = np.repeat(np.arange(len(queries)), np.searchsorted(pairs[0], queries, side="right") - begins)
    return rows, pairs[1][begins[rows] + _turns(rows, len(queries))].astype(np.int64)


def _longest(vectors: Floats) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0.0)))
