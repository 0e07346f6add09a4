"""Whether a selection is sound apart from false negatives: where its positives rank, hubs, lengths, and how far the scores are apart.

These are counts of what is there, over all queries; none of them is a rate of false negatives, which only people's verdicts tell.

A positive that ranks low, or below its own negatives, is often a wrong label, and every guard that measures against it is wrong with it. A
*hub* is chosen for very many queries: vectors of many dimensions have some that are near to everything (Radovanović et al. 2010), and a
trainer sees them again and again. A model that takes long passages for better ones teaches length.

100,000 queries x 200 candidates x 15 negatives take 0.3 s (benchmarks/audit.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.analysis.explanation import HUB_LEAST, HUB_SHARE
from hnmine.analysis.queries import GRID, positive_ranks
from hnmine.core.arrays import row_blocks
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.select import Selection

__all__ = ["LOW_RANK", "Hubs", "Lengths", "Positives", "Separation", "hubs", "lengths", "positives", "separation"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

# A positive from this rank on ranks badly; the Inspect screen's filter has the same.
LOW_RANK = 10
# The part of the candidates that is chosen most, to say how much of the negatives it supplies.
TOP = 0.01
# Queries whose candidates' lengths are compared; they stand in the order of their hashes, so the first are a random sample.
COMPARED = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Positives:
    """One entry for each (query, positive), all (m,).

    Attributes:
        queries, passages: int32. scores: float32, similarity.
        ranks: int32, from 0; the depth where it is not among the ranked.
        ranked: whether it is among the ranked. candidate: whether it could be: with a pool alone, most positives are no candidates.
        above: how many of the query's negatives score above it; chosen: how many it has.
        elsewhere: of how many other queries it is a positive too.
        promoted: whether a reviewer made it one.
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
        """Which rank from LOW_RANK on, or are not among the ranked though they could be."""
        return self.candidate & (self.ranks >= LOW_RANK)


@dataclass(frozen=True, slots=True, eq=False)
class Hubs:
    """Passages by how often they are chosen, the most frequent first.

    Attributes:
        passages: (m,) int32, all that are chosen; counts: (m,) int64, for how many queries.
        positive_of: (m,) int64, of how many queries each is a positive.
        hubs: how many of them are hubs: chosen for more than HUB_SHARE of the queries, and for HUB_LEAST at least.
        candidates: passages that could be chosen; never: those that are chosen for no query.
        top_share: which part of all negatives the TOP most chosen candidates supply.
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
    """How long passages are, in characters: each passage as often as it is a positive or chosen, candidates once.

    Attributes:
        positives, chosen, candidates: (mean, median); NaN where there is none.
        correlation: mean rank correlation (Spearman's) of similarity and length among each query's ranked candidates, over `queries` of
            them; NaN where all are of one length.
    """

    positives: tuple[float, float]
    chosen: tuple[float, float]
    candidates: tuple[float, float]
    correlation: float
    queries: int


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """How far positives and chosen negatives are apart in similarity; NaN where one of them is missing.

    Attributes:
        positives, chosen: mean similarities.
        in_order: which part of the (positive, negative) pairs of the same query has the positive above.
        auc: the same over pairs of any queries: the area under the ROC curve, ties as halves.
        overlap: the part that the two distributions share, in bins of 1/GRID: 0 when they are apart, 1 when they are the same.
    """

    positives: float
    chosen: float
    in_order: float
    auc: float
    overlap: float


def positives(corpus: Corpus, ranking: Ranking, selection: Selection) -> Positives:
    """Gather where each positive ranks, and what stands above it."""
    queries, passages = corpus.positive_queries, corpus.positive_ids
    ranks = positive_ranks(corpus, ranking)
    above = np.empty(len(queries), dtype=np.int64)
    for first, end in row_blocks(len(queries), selection.scores.shape[1]):
        scores = selection.scores[queries[first:end]]  # NaN is above nothing
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
    """Count for how many queries each passage is chosen."""
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
    """Compare the lengths of positives, chosen negatives and all candidates, and see whether similarity goes by length."""
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
    """Return Spearman's correlation of each row (b, k) with its order, best first; equal values share their mean rank. NaN without two."""
    from scipy.stats import rankdata

    width = values.shape[1]
    centred = rankdata(values, axis=1) - (width + 1) / 2
    best_first = (width - 1) / 2 - np.arange(width)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(centred @ best_first / np.sqrt((centred**2).sum(axis=1) * (best_first**2).sum()))


def separation(corpus: Corpus, ranking: Ranking, selection: Selection) -> Separation:
    """Measure how far the similarities of positives and chosen negatives are apart."""
    wanted = np.sort(ranking.positive_scores)
    chosen = selection.scores[selection.negatives >= 0]
    nothing = float("nan")
    if not len(chosen):
        return Separation(float(wanted.mean(dtype=np.float64)), nothing, nothing, nothing, nothing)
    below = np.searchsorted(wanted, chosen), np.searchsorted(wanted, chosen, side="right")
    auc = 1 - (below[0].mean() + below[1].mean()) / 2 / len(wanted)
    pairs = in_order = 0
    owners = corpus.positive_queries
    for first, end in row_blocks(len(owners), selection.scores.shape[1]):
        scores = selection.scores[owners[first:end]]
        in_order += int((scores < ranking.positive_scores[first:end, None]).sum())
        pairs += int((~np.isnan(scores)).sum())
    return Separation(
        positives=float(wanted.mean(dtype=np.float64)),
        chosen=float(chosen.mean(dtype=np.float64)),
        in_order=in_order / pairs,
        auc=float(auc),
        overlap=_overlap(wanted, chosen),
    )


def _overlap(first: Floats, second: Floats) -> float:
    """Return the part that two distributions share, in bins of 1/GRID."""
    bins = [np.floor(each.astype(np.float64) * GRID).astype(np.int64) for each in (first, second)]
    least = min(int(each.min()) for each in bins)
    width = max(int(each.max()) for each in bins) - least + 1
    one, other = (np.bincount(each - least, minlength=width) / len(each) for each in bins)
    return float(np.minimum(one, other).sum())
