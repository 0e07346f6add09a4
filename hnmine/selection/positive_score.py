"""The score that represents the positives of a query, and the ratio of a candidate to it: one definition for filters, screens and audit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.settings import SelectionSettings

__all__ = ["positive_score", "ratio_to_positive"]


def positive_score(
    corpus: Corpus, ranking: Ranking, settings: SelectionSettings, scores: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Return the positive's score of each query, several positives combined by `SelectionSettings.positive_score`: (q,) float32.

    Args:
        corpus, ranking, settings: the scores of the mining model and the window decide which positives are "in_window".
        scores: other scores of the positives, such as a reranker's, one for each entry of `Corpus.positive_ids`; None for the ranking's.
            An unknown score (NaN) does not count; a query without a known one gets NaN.
    """
    scores = ranking.positive_scores if scores is None else scores
    starts, owners = corpus.positive_starts[:-1], corpus.positive_queries
    if settings.positive_score == "min":
        return np.fmin.reduceat(scores, starts)
    if settings.positive_score == "max":
        return np.fmax.reduceat(scores, starts)
    counted = ~np.isnan(scores)
    if settings.positive_score == "in_window":
        last = np.asarray(ranking.scores[:, min(settings.window_end, ranking.depth) - 1])
        near = counted & (ranking.positive_scores >= last[owners])
        counted = np.where(np.logical_or.reduceat(near, starts)[owners], near, counted)
    sums = np.add.reduceat(np.where(counted, scores, 0).astype(np.float64), starts)
    counts = np.add.reduceat(counted.astype(np.float64), starts)
    return (sums / np.where(counts > 0, counts, np.nan)).astype(np.float32)


def ratio_to_positive(scores: npt.ArrayLike, positive: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return scores / positive score, float32, broadcast together; NaN where the positive scores 0 or less."""
    scores, positive = np.asarray(scores, np.float32), np.asarray(positive, np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(scores / np.where(positive > 0, positive, np.float32(np.nan)), np.float32)
