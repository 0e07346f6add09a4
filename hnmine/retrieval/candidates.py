"""The passages that may still be among the k best of each query, while blocks of scores go by.

For each query a threshold runs along: no passage that scores below it can be among the k best, whatever the error of the
first pass. What reaches it is collected; when about 3 k have gathered, the k-th best of them raises it. So of 100,000
scores a query about 2,000 are ever touched for k = 210, and 220 (float32) to 300 (bfloat16) are scored exactly at the end.
Where raising it makes too little room (hundreds of equal or nearly equal vectors around the k-th place: texts cut at the same
tokens), the row is settled: its candidates are scored exactly and the k best stay. So memory is bounded by rows x room
whatever the vectors are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.retrieval.firstpass import Doubles, Product
from hnmine.vectors.similarity import Floats, Ids, VectorRows, pair_scores, pair_scores_here

__all__ = ["PIECE", "SCAN", "Candidates", "best_of", "room_for"]

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int64]
EMPTY = np.int64(0x7FFFFFFF_7FFFFFFF)  # behind every score; as an id it is never looked up
# Pairs scored exactly at a time, about 60 bytes each.
PIECE = 524_288
# Numbers compared at a time, so that they stay in a core's cache.
SCAN = 524_288


def room_for(k: int) -> int:
    """Return how many candidates are held for each query."""
    return _crowd(k) + 512


def _crowd(k: int) -> int:
    return 3 * k + 512


class Candidates:
    """Candidates of g queries; different rows may be offered to from different threads."""

    def __init__(self, queries: Floats, passages: VectorRows, k: int, product: Product) -> None:
        rows, room = len(queries), room_for(k)
        self._queries, self._passages, self._product, self._k = queries, passages, product, k
        self._keys = np.full((rows, room), EMPTY)  # beyond the count too, so that a row can be sorted
        self._counts = np.zeros(rows, np.int64)
        self._floor = np.full(rows, -np.inf)  # the k-th best true score, less the product's offset, is at least this
        self._error = np.zeros(rows)

    def expect(self, error: Doubles) -> None:
        """Take the error of the block that comes next, (g,)."""
        np.maximum(self._error, error, out=self._error)

    def offer(self, first: int, raw: npt.NDArray[Any], ids: npt.NDArray[np.int64]) -> None:
        """Collect from raw scores (r, b) of the rows from `first` on against passages `ids` (b,)."""
        if not raw.size:
            return
        here, room = slice(first, first + len(raw)), self._keys.shape[1]
        counts = self._counts[here]
        if np.isneginf(self._floor[here]).any() and raw.shape[1] > room - counts.max():
            # Everything would be a hit, so first find k scores to start from.
            if raw.shape[1] < self._k:
                self._offer_halves(first, raw, ids)
                return
            sample = self._product.values(_sample(raw, self._k))
            cut = sample.shape[1] - self._k
            self._raise_floor(np.arange(here.start, here.stop), np.partition(sample, cut, axis=1)[:, cut])
        rows, columns, values = self._product.hits(raw, self._threshold(here))
        found = np.bincount(rows, minlength=len(raw))
        if (counts + found).max() > room:
            self._tighten(first + np.flatnonzero(counts > self._k))
            self._offer_halves(first, raw, ids)
            return
        # Where each hit goes: behind what its row holds, in order.
        places = np.arange(len(rows)) + (counts - np.cumsum(found) + found + (first + np.arange(len(raw))) * room)[rows]
        self._keys.reshape(-1)[places] = _keys(values, ids[columns])
        counts += found
        self._tighten(first + np.flatnonzero(counts > _crowd(self._k)))

    def _offer_halves(self, first: int, raw: npt.NDArray[Any], ids: npt.NDArray[np.int64]) -> None:
        half = (raw.shape[1] + 1) // 2
        self.offer(first, raw[:, :half], ids[:half])
        self.offer(first, raw[:, half:], ids[half:])

    def _threshold(self, rows: Any) -> Floats:
        return self._product.rounded_down(self._floor[rows] - self._error[rows])

    def _raise_floor(self, rows: Rows, kth: Floats) -> None:
        """Raise the floors of rows by the k-th best of all or some of their scores, (r,)."""
        self._floor[rows] = np.maximum(self._floor[rows], self._product.least(kth) - self._error[rows])

    def _reaching(self, rows: Rows, keys: Keys) -> npt.NDArray[np.bool_]:
        return keys <= _keys(self._threshold(rows), np.int64(0xFFFFFFFF))[:, None]

    def _tighten(self, rows: Rows) -> None:
        """Raise the thresholds of rows to what their candidates say, and let go of what is below; the best come first."""
        if not len(rows):
            return
        width = self._counts[rows].max()
        keys = np.sort(self._keys[rows, :width], axis=1)
        self._raise_floor(rows, _scores(keys[:, self._k - 1]))
        reaching = self._reaching(rows, keys)
        self._keys[rows, :width] = np.where(reaching, keys, EMPTY)
        counts = reaching.sum(axis=1)
        self._counts[rows] = counts
        for row in rows[counts > _crowd(self._k)]:
            self._settle(row)

    def _settle(self, row: np.int64) -> None:
        """Score the candidates of a row exactly and keep the k best."""
        ids = self._keys[row, : self._counts[row]] & 0xFFFFFFFF
        scores = pair_scores_here(self._queries, np.full(len(ids), row), self._passages, ids)
        best, best_ids = best_of(scores[None], ids[None], self._k)
        self._keys[row] = EMPTY
        self._keys[row, : self._k] = _keys((best[0] - self._product.offset[row]).astype(np.float32), best_ids[0])
        self._counts[row] = self._k
        self._floor[row] = max(self._floor[row], _unrounded(best[0])[-1] - self._product.offset[row])

    def best(self) -> tuple[Floats, Ids]:
        """Return the k best of every row by exact score, then by id: (g, k) float32 and int32. All passages were offered."""
        scores, ids = np.empty((len(self._counts), self._k), np.float32), np.empty((len(self._counts), self._k), np.int32)
        step = max(1, PIECE // self._keys.shape[1])
        for start in range(0, len(scores), step):
            rows = np.arange(start, min(start + step, len(scores)))
            self._tighten(rows)
            keys = self._keys[rows, : self._counts[rows].max()]
            found = (keys & 0xFFFFFFFF).astype(np.int32)
            exact = np.full(found.shape, -np.inf, np.float32)
            wanted = np.zeros(found.shape, np.bool_)
            wanted[:, : self._k] = True
            self._score(exact, wanted, rows, found)
            # The k best of the first pass say how good the others must be, with half the doubt.
            least = _unrounded(exact[:, : self._k].min(axis=1))
            self._floor[rows] = np.maximum(self._floor[rows], least - self._product.offset[rows])
            self._score(exact, self._reaching(rows, keys) & ~wanted, rows, found)
            scores[rows], ids[rows] = best_of(exact, found, self._k)
        return scores, ids

    def _score(self, exact: Floats, wanted: npt.NDArray[np.bool_], rows: Rows, ids: Ids) -> None:
        exact[wanted] = pair_scores(self._queries, np.repeat(rows, wanted.sum(axis=1)), self._passages, ids[wanted])


def _sample(raw: npt.NDArray[Any], k: int) -> npt.NDArray[Any]:
    """Return the greatest of each group of columns, where there are enough for about 4 k groups: (r, c), c at least k.

    They stand for k different passages as all columns would, at a fraction of the cost of finding the k-th.
    """
    groups = max(1, raw.shape[1] // (4 * k))
    width = raw.shape[1] // groups
    # Negative bfloat16 are bits in reverse order here, so that a lesser one may stand for its group; a valid sample still.
    greatest: npt.NDArray[Any] = raw[:, : groups * width].reshape(len(raw), groups, width).max(axis=1)
    return greatest


def _unrounded(scores: Floats) -> Doubles:
    """Return the least that exact scores can have been before they were rounded to float32."""
    return scores - np.abs(scores) * np.float64(2.0**-23)


def best_of(scores: Floats, ids: npt.NDArray[Any], k: int) -> tuple[Floats, Ids]:
    """Return the k best columns of each row, (r, k) each: descending scores, equal ones in ascending id."""
    keys = np.sort(_keys(scores, ids), axis=1)[:, :k]
    return _scores(keys), (keys & 0xFFFFFFFF).astype(np.int32)


def _keys(scores: Floats, ids: Any) -> Keys:
    """Make one integer of score and id, ascending where scores descend and then by id: one plain sort orders both."""
    bits = (scores + np.float32(0)).view(np.int32)  # without the negative zero
    ordered = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    keys: Keys = (ordered.astype(np.int64) << 32) | ids
    return keys


def _scores(keys: Keys) -> Floats:
    bits = ~(keys >> 32).astype(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
