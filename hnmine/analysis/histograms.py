"""Histograms of similarities, in bins that are fixed for a run.

A slider must not move the axis, so bins and axis depend on the ranking and the positives alone. The ranked candidates are counted once, by
rank: those of any rank range are then a difference of two rows, and a slider costs 2 ms instead of 60 ms at 10,529 queries x 500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.analysis.compare import Side
from hnmine.core.arrays import row_blocks
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection

__all__ = [
    "Histograms",
    "Overlay",
    "RunBins",
    "mini_histogram",
    "mini_histograms",
    "overlay",
    "run_bins",
    "score_histograms",
]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Bins of every histogram, a multiple of MINI_BINS, those of the small ones in tables.
BINS = 48
MINI_BINS = 16
# Edges are multiples of 1/GRID.
GRID = 1_000
# The y axis ends this much above the highest bar of the positives, of all ranked candidates, and of the first ranks. It depends on the run
# alone, so that a slider does not move it; only where a setting's bar would be cut off, it grows in steps.
ROOM = 1.2
STEP = 1.5
FIRST_RANKS = 15
# Ratios to the positive (%) beyond these are counted at them: a positive that scores near 0 gives ratios of thousands.
RATIOS = (0, 150)


@dataclass(frozen=True, slots=True, eq=False)
class RunBins:
    """The bins of a run, and the counts that no setting changes.

    Attributes:
        step: width of a bin in 1/GRID; first: the number of the first bin, so that it begins at first * step / GRID.
        ranked: (k + 1, b) int64, candidates of the ranks before each rank, over all queries; sums: (k + 1,), their summed similarities.
        positives: (b,) int64. mean_positive: NaN without any.
        top: the end of the y axis, in % of a group.
    """

    step: int
    first: int
    ranked: Ints
    sums: Doubles
    positives: Ints
    mean_positive: float
    top: float

    @property
    def edges(self) -> Doubles:
        """Edges of the bins, (b + 1,): from the lowest to the highest similarity of the ranked candidates and the positives."""
        return _edges(self.step, self.first)


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Histograms of similarities: `edges` (b + 1,) and, for each group, counts (b,) int64.

    Groups: positives, chosen negatives (random-filled ones too), all candidates in the rank window.

    Attributes:
        means: mean similarity of each group, NaN for an empty one.
        above_positive: part of the chosen negatives that score above their query's positive (0 to 1), NaN without any.
        outside: chosen negatives beyond the edges, which are counted in the first or the last bin: random-filled ones are not ranked.
        top: the end of the y axis, in % of a group; that of the run, raised by half where a bar would be cut off.
    """

    edges: Doubles
    positives: Ints
    chosen: Ints
    candidates: Ints
    means: tuple[float, float, float]
    above_positive: float
    outside: int
    top: float


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The chosen negatives of two selections in common bins: `edges` (b + 1,), counts (b,) int64, means (NaN where empty).

    `candidates` are those in the first one's rank window. `ratios`: the values are ratios to the positive in %, clipped to RATIOS, not
    similarities.
    """

    edges: Doubles
    first: Ints
    second: Ints
    candidates: Ints
    means: tuple[float, float]
    ratios: bool


def run_bins(ranking: Ranking) -> RunBins:
    """Count a run's ranked candidates and positives; 60 ms at 10,529 queries x 500."""
    scores, positives = ranking.scores, ranking.positive_scores
    step, first = _bins(scores, positives)
    ranked = np.zeros((scores.shape[1] + 1, BINS), dtype=np.int64)
    sums = np.zeros(scores.shape[1] + 1)
    for start, end in row_blocks(len(scores), scores.shape[1]):
        block = np.asarray(scores[start:end])
        places = _places(block, step, first) + np.arange(block.shape[1], dtype=np.int64) * BINS
        ranked[1:] += np.bincount(places.ravel(), minlength=ranked[1:].size).reshape(ranked[1:].shape)
        sums[1:] += block.sum(axis=0, dtype=np.float64)
    ranked, sums = ranked.cumsum(axis=0), sums.cumsum()
    counts = _counted(positives, step, first)
    highest = max(_peak(each) for each in (counts, ranked[-1], ranked[min(FIRST_RANKS, len(ranked) - 1)]))
    return RunBins(
        step=step,
        first=first,
        ranked=ranked,
        sums=sums,
        positives=counts,
        mean_positive=_mean(float(positives.sum(dtype=np.float64)), len(positives)),
        top=ROOM * highest or 100.0,
    )


def score_histograms(ranking: Ranking, selection: Selection, bins: RunBins | None = None) -> Histograms:
    """Count the similarities of positives, chosen negatives and the window's candidates; `bins` are those of `run_bins`, counted before."""
    bins = bins or run_bins(ranking)
    start, end = min(selection.settings.window_start, ranking.depth), min(selection.settings.window_end, ranking.depth)
    candidates = bins.ranked[max(start, end)] - bins.ranked[start]
    held = selection.negatives >= 0
    scores = selection.scores[held]
    places = _places(scores, bins.step, bins.first)
    inside = np.clip(places, 0, BINS - 1)
    counts = (bins.positives, np.bincount(inside, minlength=BINS), candidates)
    top = bins.top
    while top < max(_peak(each) for each in counts):
        top *= STEP
    return Histograms(
        bins.edges,
        *counts,
        means=(
            bins.mean_positive,
            _mean(float(scores.sum(dtype=np.float64)), len(scores)),
            _mean(float(bins.sums[max(start, end)] - bins.sums[start]), int(candidates.sum())),
        ),
        above_positive=_mean(int(np.count_nonzero(selection.scores > selection.positive[:, None])), len(scores)),
        outside=int(np.count_nonzero(places != inside)),
        top=top,
    )


def mini_histograms(scores: Floats, edges: Doubles) -> list[list[int]]:
    """Count each row's scores (r, n) in MINI_BINS bins over the run's axis, for a column of bars; NaN counts nowhere."""
    ends = edges[:: (len(edges) - 1) // MINI_BINS]
    known = ~np.isnan(scores)
    places = np.clip(np.searchsorted(ends, np.where(known, scores, ends[0]), side="right") - 1, 0, MINI_BINS - 1)
    places += np.arange(len(scores), dtype=np.int64)[:, None] * MINI_BINS
    counts: list[list[int]] = np.bincount(places[known], minlength=len(scores) * MINI_BINS).reshape(-1, MINI_BINS).tolist()
    return counts


def mini_histogram(counts: Ints) -> list[int]:
    """Merge the bins of a histogram to MINI_BINS, for a column of bars."""
    merged: list[int] = counts.reshape(MINI_BINS, -1).sum(axis=1).tolist()
    return merged


def overlay(first: Side, second: Side, *, same_model: bool) -> Overlay:
    """Count two selections in common bins; by ratio to the positive where the models differ, for their similarities are on other scales."""
    found = []
    for side in (first, second):
        settings, scores = side.selection.settings, np.asarray(side.ranking.scores)
        window, chosen = scores[:, settings.window_start : settings.window_end], side.selection.scores
        if not same_model:
            positive = side.selection.positive[:, None]
            window, chosen = (np.clip(100 * ratio_to_positive(each, positive), *RATIOS) for each in (window, chosen))
        found.append((chosen[side.selection.negatives >= 0], window))
    (one, candidates), (other, _) = found
    candidates = candidates[~np.isnan(candidates)]
    one, other = (each[~np.isnan(each)] for each in (one, other))
    step, start = _bins(one, other, candidates)
    return Overlay(
        edges=_edges(step, start),
        first=_counted(one, step, start),
        second=_counted(other, step, start),
        candidates=_counted(candidates, step, start),
        means=(_mean(float(one.sum(dtype=np.float64)), len(one)), _mean(float(other.sum(dtype=np.float64)), len(other))),
        ratios=not same_model,
    )


def _bins(*groups: Floats) -> tuple[int, int]:
    """Return the width of the bins in 1/GRID and the number of the first one, so that BINS bins hold all values, centred."""
    filled = [group for group in groups if group.size]
    low = GRID * min((float(group.min()) for group in filled), default=0.0)
    high = GRID * max((float(group.max()) for group in filled), default=1.0)
    step = max(1, math.ceil((high - low) / BINS))
    while math.floor(high / step) - math.floor(low / step) >= BINS:  # the first bin begins before the lowest value
        step += 1
    first, last = math.floor(low / step), math.floor(high / step)
    return step, first - (BINS - 1 - (last - first)) // 2


def _edges(step: int, first: int) -> Doubles:
    return np.asarray((first + np.arange(BINS + 1)) * step / GRID)


def _places(values: Floats, step: int, first: int) -> Ints:
    """Return the bin of each value, in one pass of float64: a float32 times GRID is exact there, as np.histogram counts it."""
    numbers = np.multiply(values, float(GRID), dtype=np.float64)
    if step > 1:
        numbers /= step
    np.floor(numbers, out=numbers)
    numbers -= first
    return numbers.astype(np.int64)


def _counted(values: Floats, step: int, first: int) -> Ints:
    """Count (n,) values in the bins; none is outside."""
    counts = np.zeros(BINS, dtype=np.int64)
    for start, end in row_blocks(len(values), 1):
        counts += np.bincount(_places(np.asarray(values[start:end]), step, first), minlength=BINS)
    return counts


def _peak(counts: Ints) -> float:
    """Return the highest bar in % of the group."""
    return 100 * float(counts.max(initial=0)) / max(1, int(counts.sum()))


def _mean(total: float, count: int) -> float:
    return total / count if count else math.nan
