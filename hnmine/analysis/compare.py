"""Compare two runs: settings that differ, shared negatives, difference in hardness, queries that changed most.

Queries and passages are matched by the 64-bit hashes of their normalized texts, so runs of different data sets, pools and
models can be compared. Similarities of different models are on different scales; their ratios to the positive can be
compared. 100,000 queries x 15 negatives take 0.15 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection

__all__ = ["Comparison", "Side", "compare", "differences"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_NONE = np.uint64(2**64 - 1)
# A positive that scores near 0 (a wrong label) gives a ratio of thousands, which would dominate the mean.
RATIO_LIMIT = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One run: its corpus, ranking and selection."""

    corpus: Corpus
    ranking: Ranking
    selection: Selection


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two runs compared over the m queries that are in both; all arrays are (m,).

    Attributes:
        first, second: index of each query in the first and in the second run.
        only_first, only_second: number of queries that are in one run only.
        shared: number of negatives in both runs; counts_first, counts_second: number in each.
        overlap: `shared` divided by the longer list's length: 1 for the same negatives, NaN where both have none.
        hardness_first, hardness_second: mean similarity of the negatives to the query, NaN without any.
        ratio_first, ratio_second: `ratio_to_positive` of that mean, clipped to +-RATIO_LIMIT.
    """

    first: Ints
    second: Ints
    only_first: int
    only_second: int
    shared: Ints
    counts_first: Ints
    counts_second: Ints
    overlap: Floats
    hardness_first: Floats
    hardness_second: Floats
    ratio_first: Floats
    ratio_second: Floats

    @property
    def shift(self) -> Floats:
        """Mean similarity of the second run's negatives minus that of the first's: above 0, the second is harder."""
        return self.hardness_second - self.hardness_first

    @property
    def ratio_shift(self) -> Floats:
        """The same difference of the ratios to the positive, which can be compared between models."""
        return self.ratio_second - self.ratio_first

    def most_changed(self, count: int) -> Ints:
        """Return the indices of the queries that changed most: least overlap first, then the largest change of the ratio."""
        overlap = np.nan_to_num(self.overlap, nan=1.0)
        shift = np.nan_to_num(np.abs(self.ratio_shift), nan=0.0)
        return np.lexsort((-shift, overlap))[:count].astype(np.int64)


def compare(first: Side, second: Side) -> Comparison:
    """Compare two selections, query by query."""
    _, here, there = np.intersect1d(first.corpus.query_hashes, second.corpus.query_hashes, return_indices=True)
    shared = np.zeros(len(here), dtype=np.int64)
    width = first.selection.negatives.shape[1] + second.selection.negatives.shape[1]
    for start, end in row_blocks(len(here), width):
        shared[start:end] = _shared(_hashes(first, here[start:end]), _hashes(second, there[start:end]))
    counts = first.selection.counts[here], second.selection.counts[there]
    longer = np.maximum(*counts)
    with np.errstate(invalid="ignore"):
        overlap = np.where(longer > 0, shared / np.maximum(longer, 1), np.nan).astype(np.float32)
    hardness, ratios = zip(_hardness(first, here), _hardness(second, there), strict=True)
    return Comparison(
        first=here.astype(np.int64),
        second=there.astype(np.int64),
        only_first=len(first.corpus.queries) - len(here),
        only_second=len(second.corpus.queries) - len(there),
        shared=shared,
        counts_first=counts[0],
        counts_second=counts[1],
        overlap=overlap,
        hardness_first=hardness[0],
        hardness_second=hardness[1],
        ratio_first=ratios[0],
        ratio_second=ratios[1],
    )


def _hashes(side: Side, queries: Ints) -> Hashes:
    """Return the hashes of the queries' negatives: (b, N) uint64, _NONE where there is no negative."""
    chosen = side.selection.negatives[queries]
    return np.where(chosen >= 0, side.corpus.passage_hashes[chosen], _NONE)


def _shared(first: Hashes, second: Hashes) -> Ints:
    """Count the hashes in both rows. No row holds a passage twice, so equal neighbours after sorting come one from each."""
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    return np.asarray(((both[:, 1:] == both[:, :-1]) & (both[:, 1:] != _NONE)).sum(axis=1), dtype=np.int64)


def _hardness(side: Side, queries: Ints) -> tuple[Floats, Floats]:
    """Return the mean similarity of each query's negatives, and its ratio to the positive: (m,) float32 each."""
    counts = side.selection.counts[queries]
    sums = np.nansum(side.selection.scores[queries], axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        mean = np.where(counts > 0, sums / counts, np.nan).astype(np.float32)
    return mean, np.clip(ratio_to_positive(mean, side.selection.positive[queries]), -RATIO_LIMIT, RATIO_LIMIT)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, first, second) for each difference of two nested settings, sorted by name such as "selection.seed".

    A value that one of them lacks is None.
    """
    one, other = dict(_flat(first)), dict(_flat(second))
    return [(name, one.get(name), other.get(name)) for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
