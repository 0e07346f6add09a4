"""Estimates of the false-negative model for a selection: a probability for each chosen negative, the mean as a rate, and its range.

The ranks of the chosen are read from `Selection.reasons`; only random-filled passages are searched for. 100,000 queries x 15
of 200 ranked take 0.6 s.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.selection.fn_model import FN_SIGNALS, FNEstimator
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["can_estimate_fn", "chosen_ranks", "fn_probabilities", "fn_rate", "fn_rate_range"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


def can_estimate_fn(ranking: Ranking) -> bool:
    """Return whether a ranking has the signals that the estimate needs; runs of earlier versions have none."""
    return ranking.scale is not None and all(name in ranking.signals for name in FN_SIGNALS)


def chosen_ranks(ranking: Ranking, selection: Selection) -> Ids:
    """Return the rank from 0 of each of `Selection.negatives`, -1 where there is none or it is not among the ranked: (q, N) int32."""
    ranks = np.full(selection.negatives.shape, -1, dtype=np.int32)
    held = selection.negatives >= 0
    # Both are in the order of ranks, query by query.
    ranks[held & ~selection.random_filled] = np.nonzero(selection.reasons == np.int8(Reason.CHOSEN))[1]
    rows, places = np.nonzero(held)
    found = ranks[rows, places]
    # Random-filled, or in another place beside one of the same score.
    other = (found < 0) | (ranking.ids[rows, found] != selection.negatives[rows, places])
    rows, places = rows[other], places[other]
    ranks[rows, places] = ranks_of(ranking.ids, rows.astype(np.int32), selection.negatives[rows, places])
    return ranks


def fn_probabilities(estimator: FNEstimator, selection: Selection) -> Floats:
    """Return the estimated false-negative probability of each of `Selection.negatives`: (q, N) float32.

    0 for negatives that a reviewer confirmed; NaN where there is no negative, or it is not ranked.
    """
    ranks = chosen_ranks(estimator.ranking, selection)
    fn_probabilities = np.full(ranks.shape, np.nan, dtype=np.float32)
    rows, places = np.nonzero(ranks >= 0)
    fn_probabilities[rows, places] = estimator.pairs(rows, ranks[rows, places])
    queries, passages = selection.verdict_pairs.negative
    pairs, places = np.nonzero(selection.negatives[queries] == passages[:, None])
    fn_probabilities[queries[pairs], places] = 0
    return fn_probabilities


def fn_rate(fn_probabilities: Floats) -> float | None:
    """Return the estimated false-negative rate (0..1), the mean of the known probabilities, or None without any."""
    known = fn_probabilities[np.isfinite(fn_probabilities)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def fn_rate_range(estimator: FNEstimator, selection: Selection) -> tuple[float, float] | None:
    """Return the range of the false-negative rate of `Selection.negatives`, low and high (0..1): 90% of data sets are in it.

    As in `fn_rate`, negatives that a reviewer confirmed count as true, and those that are not ranked are left out. None without any.
    """
    ranks = chosen_ranks(estimator.ranking, selection)
    queries, passages = selection.verdict_pairs.negative
    pairs, places = np.nonzero(selection.negatives[queries] == passages[:, None])
    known = int(np.count_nonzero(ranks >= 0))
    ranks[queries[pairs], places] = -1
    rows, places = np.nonzero(ranks >= 0)
    if not known:
        return None
    if not len(rows):
        return 0.0, 0.0
    low, high = estimator.range_of(rows, ranks[rows, places])
    return low * len(rows) / known, high * len(rows) / known
