"""What speaks for and against one candidate of one query: the numbers a reviewer sees, and in words what is suspicious.

One pair takes a few inner products, so it is computed when it is shown. The words are for people: they say which number
stands out, against limits that are no settings, because nothing is chosen or rejected by them; and, where the run has signals,
what the model of `fn_model` makes of them together.
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

__all__ = ["MIN_LOG_ODDS", "PairDetails", "estimate_in_words", "pair_details", "warnings"]

# At which share of the positive's score a candidate is "close" to it: where NV-Retriever's guard cuts.
CLOSE = 0.95
# At which share of the positive's own similarity to the query a candidate is "almost as like" the positive.
ALIKE = 0.8
# A passage chosen for more than this share of the queries, and at least so many, is a hub.
HUB_SHARE, HUB_LEAST = 0.05, 10
# Log-odds below which a reason is not worth telling: a tenth more or less of the chance.
MIN_LOG_ODDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDetails:
    """Numbers about one pair.

    Attributes:
        score: similarity to the query. rank: from 0, or None when it is not among the ranked.
        share: `ratio_to_positive`, None where the positive scores 0 or less. Of a promoted passage: to the other positives.
        positive_similarity: similarity to the nearest positive, None without another one.
        positives: (passage, similarity to the query, similarity to the candidate) of each positive, the most alike first.
        chosen_for: for how many queries the passage is a negative.
        window_start, queries: to compare rank and chosen_for with.
        labelled: whether rows of other queries call the passage positive.
        signals: further evidence by name, where it is ranked and known.
        estimate: the estimated chance that it is a false negative, 0..1; None where it is not ranked or the run has no signals.
        reasons: what speaks for that (above 0) and against: (words, log-odds), the strongest first.
    """

    score: float
    rank: int | None
    share: float | None
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
    """Gather what is known of a pair; the passage may have been promoted to a positive of the query."""
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
    share = float(ratio_to_positive(score, positive[query]))
    vector = np.asarray(ranking.passage_vectors[passages], dtype=np.float64)[0]
    alike = np.asarray(ranking.passage_vectors[ids], dtype=np.float64) @ vector if len(ids) else np.zeros(0)
    order = np.argsort(-alike, kind="stable")
    nearest = float(positive_similarity(corpus, ranking, queries, passages)[0])
    signals = [(name, float(values[query, rank])) for name, values in sorted(ranking.signals.items())] if rank >= 0 else []
    estimated = estimator if rank >= 0 else None
    return PairDetails(
        score=score,
        rank=rank if rank >= 0 else None,
        share=None if math.isnan(share) else share,
        positive_similarity=nearest if np.isfinite(nearest) else None,
        positives=tuple((int(ids[place]), float(scores[place]), float(alike[place])) for place in order),
        chosen_for=int(np.count_nonzero(selection.negatives == passage)),
        window_start=selection.settings.window_start,
        queries=len(corpus.queries),
        labelled=bool(corpus.sources[passage] & SOURCE_POS) and bool((corpus.positive_ids == passage).sum() > (~others).sum()),
        signals={name: value for name, value in signals if not math.isnan(value)},
        estimate=float(estimated.pairs(queries, np.array([rank]))[0]) if estimated else None,
        reasons=tuple(estimated.reasons(query, rank)) if estimated else (),
    )


def estimate_in_words(estimate: float, reasons: tuple[tuple[str, float], ...]) -> str:
    """Say an estimate with what speaks for it and what against: "estimate 34 %: near to the query; against: unlike the positives"."""
    told = [(words, amount) for words, amount in reasons if abs(amount) >= MIN_LOG_ODDS]
    speaks_for = ", ".join(words for words, amount in told if amount > 0)
    against = ", ".join(words for words, amount in told if amount < 0)
    parts = "; ".join(part for part in (speaks_for, f"against: {against}" if against else "") if part)
    percent = f"{100 * estimate:.{0 if estimate >= 0.1 else 1}f}\u00a0%"
    return f"estimate {percent}" + (f": {parts}" if parts else "")


def warnings(about: PairDetails) -> list[str]:
    """Say what makes a candidate suspicious, the strongest first; nothing when nothing stands out."""
    found: list[str] = []
    if about.share is None:
        found.append("the query's positive scores nothing, so any candidate is nearer")
    elif about.share > 1:
        found.append("nearer to the query than its positive is")
    elif about.share >= CLOSE:
        found.append(f"almost as near to the query as its positive ({100 * about.share:.0f} %)")
    nearest = max((score for _, score, _ in about.positives), default=None)
    if about.positive_similarity is not None and nearest is not None:
        if about.positive_similarity > max(nearest, 0.0):
            found.append("more like the positive than the query is")
        elif about.positive_similarity > 0 and about.positive_similarity >= ALIKE * nearest:
            found.append("almost as like the positive as the query is")
    if about.rank is not None and about.rank < about.window_start:
        found.append(f"among the first {about.window_start:,}, which the window skips")
    if about.labelled:
        found.append("a positive of other queries")
    if about.chosen_for >= max(HUB_LEAST, HUB_SHARE * about.queries):
        found.append(f"a hub: chosen for {about.chosen_for:,} of {about.queries:,} queries")
    return found
