"""Estimates of the false-negative model for a selection: a probability for each chosen negative, the mean as a rate, and its range.

The ranks of the chosen are read from `Selection.reasons`; only random-filled passages are searched for. 100,000 queries x 15
of 200 ranked take 0.6 s.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.selection.fn_model import FN_SIGNALS, FNEstimator, FNRate
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["can_estimate_fn", "chosen_ranks", "fn_probabilities", "fn_rate"]

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
    ranks[held & ~selection.random_filled] = np.flatnonzero(selection.reasons == np.int8(Reason.CHOSEN)) % ranking.depth
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
    return _estimates(estimator, selection)[1]


def fn_rate(estimator: FNEstimator, selection: Selection) -> FNRate | None:
    """Return the estimated false-negative rate of `Selection.negatives` with its range; None without a ranked negative.

    As in `fn_probabilities`, confirmed negatives count as true, and those that are not ranked are left out.
    """
    ranks, probabilities = _estimates(estimator, selection)
    known = int(np.count_nonzero(np.isfinite(probabilities)))
    if not known:
        return None
    rows, places = np.nonzero(probabilities > 0)
    low, high = estimator.range_of(rows, ranks[rows, places]) if len(rows) else (0.0, 0.0)
    estimate = float(np.nansum(probabilities, dtype=np.float64)) / known
    return FNRate(estimate=estimate, low=low * len(rows) / known, high=high * len(rows) / known)


def _estimates(estimator: FNEstimator, selection: Selection) -> tuple[Ids, Floats]:
    ranks = chosen_ranks(estimator.ranking, selection)
    probabilities = np.full(ranks.shape, np.nan, dtype=np.float32)
    rows, places = np.nonzero(ranks >= 0)
    probabilities[rows, places] = estimator.pairs(rows, ranks[rows, places])
    queries, passages = selection.verdict_pairs.negative
    pairs, places = np.nonzero(selection.negatives[queries] == passages[:, None])
    probabilities[queries[pairs], places] = 0
    return ranks, probabilities
