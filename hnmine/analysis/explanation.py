"""Explain one (query, passage) pair: its scores, its warning signs in words, and the false-negative model's estimate.

One pair takes a few inner products, so it is computed when it is shown. The thresholds of the warning signs are not
settings, because nothing is selected by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hnmine.data.corpus import SOURCE_POS, Corpus
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import positive_similarity
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.positive_score import positive_score, ratio_to_positive
from hnmine.selection.select import Selection

__all__ = ["MIN_LOG_ODDS", "PairDetails", "pair_details", "warnings"]

# Ratio to the positive from which a candidate is close to it, as in NV-Retriever.
CLOSE = 0.95
# The same for the similarity to the positive, as a ratio to the positive's similarity to the query.
SIMILAR = 0.8
# A passage chosen for more than this fraction of the queries, and at least so many, is a hub.
HUB_SHARE, HUB_LEAST = 0.05, 10
# Reasons below this many log-odds are not shown: they change the odds by less than a tenth.
MIN_LOG_ODDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDetails:
    """The numbers of one pair.

    Attributes:
        score: similarity to the query. rank: from 0, None where the passage is not ranked.
        ratio: `ratio_to_positive`, None where the positive scores 0 or less. Of a promoted passage: to the other positives.
        positive_similarity: similarity to the nearest positive, None without another one.
        positives: (passage, similarity to the query, similarity to the candidate) of each positive, sorted by the last.
        chosen_for: number of queries that have the passage as a negative.
        window_start, queries: start of the rank window and number of queries.
        labelled: whether the passage is a positive of other queries.
        signals: values of the ranking's signals by name; empty where the passage is not ranked.
        estimate: estimated false-negative probability, 0..1; None where the passage is not ranked or the run has no signals.
        reasons: (words, log-odds) that raise the estimate (above 0) or lower it, the strongest first.
    """

    score: float
    rank: int | None
    ratio: float | None
    positive_similarity: float | None
    positives: tuple[tuple[int, float, float], ...]
    chosen_for: int
    window_start: int
    queries: int
    labelled: bool
    signals: dict[str, float]
    estimate: float | None = None
    reasons: tuple[tuple[str, float], ...] = ()


def pair_details(
    corpus: Corpus, ranking: Ranking, selection: Selection, query: int, passage: int, estimator: FNEstimator | None = None
) -> PairDetails:
    """Return the numbers of a pair; the passage may be a promoted positive of the query."""
    queries, passages = np.array([query], np.int32), np.array([passage], np.int32)
    score = float(ranking.score_pairs(queries, passages)[0])
    rank = int(ranks_of(ranking.ids, queries, passages)[0])
    own = slice(int(corpus.positive_starts[query]), int(corpus.positive_starts[query + 1]))
    ids, scores = corpus.positive_ids[own], ranking.positive_scores[own]
    others = ids != passage
    ids, scores = ids[others], scores[others]
    positive = selection.positive
    if not others.all():
        without = np.array(ranking.positive_scores)
        without[own][~others] = np.nan
        positive = positive_score(corpus, ranking, selection.settings, without)
    ratio = float(ratio_to_positive(score, positive[query]))
    vector = np.asarray(ranking.passage_vectors[passages], dtype=np.float64)[0]
    to_candidate = np.asarray(ranking.passage_vectors[ids], dtype=np.float64) @ vector if len(ids) else np.zeros(0)
    order = np.argsort(-to_candidate, kind="stable")
    nearest = float(positive_similarity(corpus, ranking, queries, passages)[0])
    signals = [(name, float(values[query, rank])) for name, values in sorted(ranking.signals.items())] if rank >= 0 else []
    estimated = estimator if rank >= 0 else None
    return PairDetails(
        score=score,
        rank=rank if rank >= 0 else None,
        ratio=None if math.isnan(ratio) else ratio,
        positive_similarity=nearest if np.isfinite(nearest) else None,
        positives=tuple((int(ids[place]), float(scores[place]), float(to_candidate[place])) for place in order),
        chosen_for=int(np.count_nonzero(selection.negatives == passage)),
        window_start=selection.settings.window_start,
        queries=len(corpus.queries),
        labelled=bool(corpus.sources[passage] & SOURCE_POS) and bool((corpus.positive_ids == passage).sum() > (~others).sum()),
        signals={name: value for name, value in signals if not math.isnan(value)},
        estimate=float(estimated.pairs(queries, np.array([rank]))[0]) if estimated else None,
        reasons=tuple(estimated.reasons(query, rank)) if estimated else (),
    )


def warnings(about: PairDetails) -> list[str]:
    """Return the signs that a candidate may be a false negative, the strongest first; empty without any."""
    found: list[str] = []
    if about.ratio is None:
        found.append("the positive's similarity to the query is 0 or less")
    elif about.ratio > 1:
        found.append("scores above the positive")
    elif about.ratio >= CLOSE:
        found.append(f"scores {100 * about.ratio:.0f}% of the positive")
    nearest = max((score for _, score, _ in about.positives), default=None)
    if about.positive_similarity is not None and nearest is not None:
        if about.positive_similarity > max(nearest, 0.0):
            found.append("more similar to the positive than the query is")
        elif about.positive_similarity > 0 and about.positive_similarity >= SIMILAR * nearest:
            found.append("almost as similar to the positive as the query is")
    if about.rank is not None and about.rank < about.window_start:
        found.append(f"above the rank range, which starts at {about.window_start:,}")
    if about.labelled:
        found.append("positive of other queries")
    if about.chosen_for >= max(HUB_LEAST, HUB_SHARE * about.queries):
        found.append(f"reused: chosen for {about.chosen_for:,} of {about.queries:,} queries")
    return found
