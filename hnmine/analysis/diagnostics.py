"""Diagnostics of a selection over all queries: ranks of the positives, hubs, text lengths, separation of the scores.

A positive that ranks low, or below its own negatives, is often a wrong label, and filters that compare with it are wrong
too. A *hub* is a passage chosen for many queries: high-dimensional vectors have some that are close to everything
(Radovanović et al. 2010). A correlation of similarity and length teaches the trained model length.
None of these numbers is a false-negative rate. 100,000 queries x 200 candidates x 15 negatives take 0.3 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.analysis.explanation import HUB_LEAST, HUB_SHARE
from hnmine.analysis.queries import positive_ranks
from hnmine.core.arrays import row_blocks
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.select import Selection

__all__ = ["LOW_RANK", "Hubs", "Lengths", "Positives", "Separation", "hubs", "lengths", "positives", "separation"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Bins of `Separation.overlap` are 1/GRID wide.
GRID = 200
Ids = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

# Positives at this rank or later rank low; `listing` filters by the same rank.
LOW_RANK = 10
# Fraction of the candidates, the most chosen first, whose fraction of all negatives is reported.
TOP = 0.01
# Queries whose candidates' lengths are compared. Queries are in the order of their hashes, so the first are a random sample.
COMPARED = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Positives:
    """One entry for each (query, positive), all (m,).

    Attributes:
        queries, passages: int32. scores: float32, similarity.
        ranks: int32, from 0; the depth where the positive is not ranked.
        ranked: whether it is ranked. candidate: whether it can be: with `pool_mode` "replace", most positives are not candidates.
        above: number of the query's negatives that score above it; chosen: number of its negatives.
        elsewhere: number of other queries that have it as a positive.
        promoted: whether a reviewer added it.
    """

    queries: Ids
    passages: Ids
    scores: Floats
    ranks: Ids
    ranked: Bools
    candidate: Bools
    above: Ints
    chosen: Ints
    elsewhere: Ints
    promoted: Bools

    @property
    def low(self) -> Bools:
        """Mark the candidates that rank LOW_RANK or later, or are not ranked."""
        return self.candidate & (self.ranks >= LOW_RANK)


@dataclass(frozen=True, slots=True, eq=False)
class Hubs:
    """Passages by how often they are chosen, the most frequent first.

    Attributes:
        passages: (m,) int32, all chosen passages; counts: (m,) int64, number of queries each is chosen for.
        positive_of: (m,) int64, number of queries that have it as a positive.
        hubs: number of hubs: chosen for more than HUB_SHARE of the queries, and for at least HUB_LEAST.
        candidates: number of candidate passages; never: number of those chosen for no query.
        top_share: fraction of all negatives (0..1) that the TOP most chosen candidates supply.
    """

    passages: Ids
    counts: Ints
    positive_of: Ints
    hubs: int
    candidates: int
    never: int
    top_share: float


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Lengths of passages in characters; positives and negatives count once per query, candidates once.

    Attributes:
        positives, chosen, candidates: (mean, median); NaN without any.
        correlation: Spearman's correlation of similarity and length among a query's ranked candidates, mean over `queries` queries;
            NaN where all have the same length.
    """

    positives: tuple[float, float]
    chosen: tuple[float, float]
    candidates: tuple[float, float]
    correlation: float
    queries: int


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Separation of positives and chosen negatives by similarity; NaN where one of them is missing.

    Attributes:
        positives, chosen: mean similarities.
        in_order: fraction of the (positive, negative) pairs of the same query in which the positive scores higher.
        auc: the same over pairs of any queries: the area under the ROC curve, ties count half.
        overlap: common area of the two distributions, in bins of 1/GRID: 0 when disjoint, 1 when equal.
    """

    positives: float
    chosen: float
    in_order: float
    auc: float
    overlap: float


def positives(corpus: Corpus, ranking: Ranking, selection: Selection) -> Positives:
    """Return the rank of each positive, and the negatives that score above it."""
    queries, passages = corpus.positive_queries, corpus.positive_ids
    ranks = positive_ranks(corpus, ranking)
    above = np.empty(len(queries), dtype=np.int64)
    for first, end in row_blocks(len(queries), selection.scores.shape[1]):
        scores = selection.scores[queries[first:end]]  # NaN compares as false
        above[first:end] = (scores > ranking.positive_scores[first:end, None]).sum(axis=1)
    promoted = np.zeros(len(queries), dtype=bool)
    if len(corpus.promoted_ids):
        count = len(corpus.passages)
        owners = np.repeat(np.arange(len(corpus.queries)), np.diff(corpus.promoted_starts))
        promoted = np.isin(queries.astype(np.int64) * count + passages, owners * count + corpus.promoted_ids)
    return Positives(
        queries=queries,
        passages=passages,
        scores=ranking.positive_scores,
        ranks=ranks,
        ranked=ranks < ranking.depth,
        candidate=passages < corpus.n_candidates,
        above=above,
        chosen=selection.counts[queries],
        elsewhere=np.bincount(passages, minlength=len(corpus.passages))[passages] - 1,
        promoted=promoted,
    )


def hubs(corpus: Corpus, selection: Selection) -> Hubs:
    """Count the queries that each passage is chosen for."""
    counts = np.bincount(selection.negatives[selection.negatives >= 0], minlength=len(corpus.passages))
    chosen = np.flatnonzero(counts)
    chosen = chosen[np.lexsort((corpus.passage_hashes[chosen], -counts[chosen]))]
    most = counts[chosen][: max(1, round(TOP * corpus.n_candidates))]
    return Hubs(
        passages=chosen.astype(np.int32),
        counts=counts[chosen],
        positive_of=np.bincount(corpus.positive_ids, minlength=len(corpus.passages))[chosen],
        hubs=int(np.count_nonzero((counts >= HUB_LEAST) & (counts > HUB_SHARE * len(corpus.queries)))),
        candidates=corpus.n_candidates,
        never=corpus.n_candidates - len(chosen),
        top_share=float(most.sum() / max(1, counts.sum())),
    )


def lengths(corpus: Corpus, ranking: Ranking, selection: Selection) -> Lengths:
    """Compare the lengths of positives, chosen negatives and candidates, and correlate similarity with length."""
    long = np.fromiter(map(len, corpus.passages), np.int64, len(corpus.passages))
    compared = min(COMPARED, len(ranking.ids))
    found: list[npt.NDArray[np.float64]] = []
    for first, end in row_blocks(compared, ranking.depth):
        found.append(_rank_correlation(long[ranking.ids[first:end]]))
    each = np.concatenate(found)
    each = each[~np.isnan(each)]
    return Lengths(
        positives=_mean_and_median(long[corpus.positive_ids]),
        chosen=_mean_and_median(long[selection.negatives[selection.negatives >= 0]]),
        candidates=_mean_and_median(long[: corpus.n_candidates]),
        correlation=float(each.mean()) if len(each) else float("nan"),
        queries=compared,
    )


def _mean_and_median(values: Ints) -> tuple[float, float]:
    return (float(values.mean()), float(np.median(values))) if len(values) else (float("nan"), float("nan"))


def _rank_correlation(values: Ints) -> npt.NDArray[np.float64]:
    """Return Spearman's correlation of each row (b, k) with its order, best first; ties get their mean rank. NaN for constant rows."""
    from scipy.stats import rankdata

    width = values.shape[1]
    centred = rankdata(values, axis=1) - (width + 1) / 2
    best_first = (width - 1) / 2 - np.arange(width)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(centred @ best_first / np.sqrt((centred**2).sum(axis=1) * (best_first**2).sum()))


def separation(corpus: Corpus, ranking: Ranking, selection: Selection) -> Separation:
    """Measure the separation of positives and chosen negatives by similarity."""
    positive = np.sort(ranking.positive_scores)
    chosen = selection.scores[selection.negatives >= 0]
    nothing = float("nan")
    if not len(chosen):
        return Separation(float(positive.mean(dtype=np.float64)), nothing, nothing, nothing, nothing)
    below = np.searchsorted(positive, chosen), np.searchsorted(positive, chosen, side="right")
    auc = 1 - (below[0].mean() + below[1].mean()) / 2 / len(positive)
    pairs = in_order = 0
    owners = corpus.positive_queries
    for first, end in row_blocks(len(owners), selection.scores.shape[1]):
        scores = selection.scores[owners[first:end]]
        in_order += int((scores < ranking.positive_scores[first:end, None]).sum())
        pairs += int((~np.isnan(scores)).sum())
    return Separation(
        positives=float(positive.mean(dtype=np.float64)),
        chosen=float(chosen.mean(dtype=np.float64)),
        in_order=in_order / pairs,
        auc=float(auc),
        overlap=_overlap(positive, chosen),
    )


def _overlap(first: Floats, second: Floats) -> float:
    """Return the common area of two distributions, in bins of 1/GRID."""
    bins = [np.floor(each.astype(np.float64) * GRID).astype(np.int64) for each in (first, second)]
    least = min(int(each.min()) for each in bins)
    width = max(int(each.max()) for each in bins) - least + 1
    one, other = (np.bincount(each - least, minlength=width) / len(each) for each in bins)
    return float(np.minimum(one, other).sum())
