"""The order in which a person reviews pairs of a query and a candidate, and which of them.

Pure numpy: a queue over 100,000 queries x 15 negatives is a few flat arrays of 1.5 million entries, made in half a second.
It is made once and then walked: verdicts only mark its entries (`note`), so that the next pair is a search for the first
mark, and the order does not change under the eyes of whoever is reading.

*Most suspicious first* goes by the estimate of `fn_model`, re-fitted on the verdicts there were when the queue was made. A
run of an earlier version has no signals to estimate from: there it goes by the similarity to the query plus the similarity to
the nearest positive, by which a reviewer meets two to six times as many false negatives as by chance (benchmarks/RESULTS.md,
"quality"). The order by the share of the positive's score, in whole per cent and then by the similarity to the positive, finds
hardly more than chance; it is there to look at what comes closest. Similarity to the positive needs vectors, so it orders the
head of the queue, which is more than anybody reads.

Judged pairs stay in the queue, though a dropped one is chosen no more: progress is counted, and a verdict can be looked at
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.fn_estimates import chosen_ranks
from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import CHOICES, Verdict, VerdictPairs, match_verdicts
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import positive_similarity
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["STATES", "Order", "Queue", "QueueSettings", "Source", "build", "pairs_with_verdict"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

Source = Literal["chosen", "window", "nearest", "audit"]
Order = Literal["suspicious", "share", "random", "query", "hubs"]

# What can stand about a pair; its place here is its number in `Queue.verdicts`.
STATES = ("unreviewed", *CHOICES)

# Pairs that score highest, which similarity to the positive puts in order; and those of the highest share.
HEAD, HEAD_OF_SHARES = 500_000, 50_000
# Pairs up to which each is looked for on its own.
FEW = 16
# Pairs a queue holds at most; of wider windows each query's nearest are taken.
LIMIT = 2_000_000
# Draws of this module have nothing to do with those of others.
_PURPOSE = 3


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pairs are reviewed, and in which order.

    Attributes:
        source: the "chosen" negatives; all of the "window"; the "nearest", those before the window that were skipped; or an "audit"'s
            sample, which comes as it was drawn, in no other order.
        order: "suspicious" (by the estimate, where there is one), "share" (of the positive's score), "random", "query" (as in the file)
            or "hubs" (passages chosen for most queries first).
        seed, sample: of the random order; with a sample the queue ends after so many.
        min_score, max_score: similarity to the query. min_share, max_share: of the positive's score.
        signal, min_signal, max_signal: range of a signal of the ranking.
        states: what stands about them, of STATES.
        words: text that the query holds, case aside.
    """

    source: Source = "chosen"
    order: Order = "suspicious"
    seed: int = 42
    sample: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    min_share: float | None = None
    max_share: float | None = None
    signal: str | None = None
    min_signal: float | None = None
    max_signal: float | None = None
    states: tuple[str, ...] = ("unreviewed",)
    words: str = ""

    def __post_init__(self) -> None:
        for name, kinds in (("source", get_args(Source)), ("order", get_args(Order))):
            if getattr(self, name) not in kinds:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(kinds)}")
        if unknown := [state for state in self.states if state not in STATES]:
            raise SettingsError(f"states holds {unknown[0]!r}; they are {', '.join(STATES)}")
        if self.sample is not None and self.sample < 1:
            raise SettingsError(f"sample is {self.sample}; it must be at least 1, or left out for all")


@dataclass(slots=True, eq=False)
class Queue:
    """Pairs in the order in which they are to be reviewed, each array (m,).

    Attributes:
        settings: what it was made with.
        queries, passages: int32.
        scores: similarity; shares: `ratio_to_positive`; float32.
        verdicts: int8, what stands about each: the place in STATES.
        todo: bool, whether it is still to be shown.
        nearest_only: candidates a query that a window too wide was cut to, or None.
    """

    settings: QueueSettings
    queries: Ids
    passages: Ids
    scores: Floats
    shares: Floats
    verdicts: npt.NDArray[np.int8]
    todo: npt.NDArray[np.bool_]
    nearest_only: int | None = None
    _sorted: tuple[Rows, Rows] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def counts(self) -> dict[str, int]:
        """How many of the pairs are in each of STATES."""
        return dict(zip(STATES, np.bincount(self.verdicts, minlength=len(STATES)).tolist(), strict=True))

    def next(self, taken: frozenset[tuple[int, int]] = frozenset()) -> int | None:
        """Return the first place that is still to be shown and whose pair is not taken, or None."""
        place = int(self.todo.argmax()) if len(self.todo) else 0
        if not len(self.todo) or not self.todo[place]:
            return None
        if not taken:
            return place
        free = (each for each in np.flatnonzero(self.todo[place:]) if self.pair(place + int(each)) not in taken)
        found = next(free, None)
        return None if found is None else place + int(found)

    def pair(self, place: int) -> tuple[int, int]:
        """Return the (query, passage) at a place."""
        return int(self.queries[place]), int(self.passages[place])

    def places(self, queries: Ids, passages: Ids) -> Rows:
        """Return where pairs stand, -1 for those that are not in this queue: (p,) int64."""
        if not len(self.queries) or not len(queries):
            return np.full(len(queries), -1, dtype=np.int64)
        if self._sorted is None and len(queries) <= FEW:  # looking through is quicker than sorting all for one
            found = [np.flatnonzero((self.queries == q) & (self.passages == p)) for q, p in zip(queries, passages, strict=True)]
            return np.array([each[0] if len(each) else -1 for each in found], dtype=np.int64)
        if self._sorted is None:
            codes = _codes(self.queries, self.passages)
            order = np.argsort(codes, kind="stable")
            self._sorted = codes[order], order
        codes, order = self._sorted
        wanted = _codes(queries, passages)
        at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        return np.where(codes[at] == wanted, order[at], -1)

    def note(self, queries: Ids, passages: Ids, states: npt.NDArray[np.int8]) -> None:
        """Mark what stands about pairs now; each (p,), the last one of a pair counts. What has a verdict is not shown again."""
        places = self.places(queries, passages)
        known = places >= 0
        self.verdicts[places[known]] = states[known]
        self.todo[places[known]] = (states[known] == 0) & ("unreviewed" in self.settings.states)


def build(
    corpus: Corpus,
    ranking: Ranking,
    selection: Selection,
    settings: QueueSettings,
    judged: tuple[Ids, Ids, npt.NDArray[np.int8]],
    estimator: FNEstimator | None = None,
    sample: tuple[Ids, Ids] | None = None,
) -> Queue:
    """Make the queue of a run's selection.

    Args:
        corpus, ranking, selection: the run, with its promotions.
        settings: which pairs, and in which order.
        judged: pairs with a verdict: queries, passages, and places in STATES (`pairs_with_verdict`).
        estimator: says who is suspicious; None where the run has no signals.
        sample: the pairs of an audit's sample, each once (`audit.different_pairs`); for the source "audit".

    Raises:
        SettingsError: the ranking has no such signal, or there is no sample.
    """
    if settings.signal is not None and settings.signal not in ranking.signals:
        raise SettingsError(f"this run has no signal {settings.signal!r}; it has: {', '.join(ranking.signals) or 'none'}")
    if settings.source == "audit":
        if sample is None:
            raise SettingsError("no audit's sample was drawn of this selection; draw one on the Quality screen")
        drawn = ranking.score_pairs(*sample)
        pairs, nearest_only = _Pairs(*sample, drawn, ranks_of(ranking.ids, *sample)), None
    else:
        pairs, nearest_only = _candidates(corpus, ranking, selection, settings.source)
    pairs, verdicts = _with_judged(ranking, selection, settings.source, pairs, judged)
    shares = ratio_to_positive(pairs.scores, selection.positive[pairs.queries])
    fits = _fitting(corpus, ranking, settings, pairs, shares)
    wanted = np.isin(np.arange(len(STATES)), [STATES.index(state) for state in settings.states])
    if "unreviewed" not in settings.states:
        fits &= wanted[verdicts]
    pairs, shares, verdicts = pairs.at(fits), shares[fits], verdicts[fits]
    order = _ordered(corpus, ranking, selection, settings, pairs, shares, estimator)
    pairs, verdicts = pairs.at(order), verdicts[order]
    return Queue(
        settings=settings,
        queries=pairs.queries,
        passages=pairs.passages,
        scores=pairs.scores,
        shares=shares[order],
        verdicts=verdicts,
        todo=wanted[verdicts],
        nearest_only=nearest_only,
    )


def pairs_with_verdict(corpus: Corpus, verdict_pairs: VerdictPairs, verdicts: list[Verdict]) -> tuple[Ids, Ids, npt.NDArray[np.int8]]:
    """Return the pairs of a corpus that have a verdict, with the verdict's place in STATES: (p,) each.

    `verdict_pairs` are those of the corpus; skipped pairs, which bear on no selection, are found among `verdicts`.
    """
    # As "keep" they are looked up like any other.
    skipped = match_verdicts(corpus, [msgspec.structs.replace(each, verdict="keep") for each in verdicts if each.verdict == "skip"]).kept
    groups = (("keep", verdict_pairs.kept), ("drop", verdict_pairs.dropped), ("promote", verdict_pairs.promoted), ("skip", skipped))
    return (
        np.concatenate([pairs[0] for _, pairs in groups]),
        np.concatenate([pairs[1] for _, pairs in groups]),
        np.concatenate([np.full(len(pairs[0]), STATES.index(name), dtype=np.int8) for name, pairs in groups]),
    )


def _codes(queries: Ids, passages: Ids) -> Rows:
    return queries.astype(np.int64) << 32 | passages


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Pairs and their similarity and rank, each (m,); the rank is -1 where a passage is not among the ranked."""

    queries: Ids
    passages: Ids
    scores: Floats
    ranks: Ids

    def at(self, places: npt.NDArray[Any]) -> _Pairs:
        """Return those at some places, or under a mask."""
        return _Pairs(self.queries[places], self.passages[places], self.scores[places], self.ranks[places])

    def and_also(self, others: _Pairs) -> _Pairs:
        """Return these and behind them others."""
        both = ((getattr(self, name), getattr(others, name)) for name in ("queries", "passages", "scores", "ranks"))
        return _Pairs(*(np.concatenate(each) for each in both))


def _candidates(corpus: Corpus, ranking: Ranking, selection: Selection, source: Source) -> tuple[_Pairs, int | None]:
    """Return the pairs of a source, query by query and the nearest first, and what a window was cut to."""
    if source == "chosen":
        rows, places = np.nonzero(selection.negatives >= 0)
        held = selection.negatives[rows, places], selection.scores[rows, places], chosen_ranks(ranking, selection)[rows, places]
        return _Pairs(rows.astype(np.int32), *held), None
    settings, count = selection.settings, len(ranking.ids)
    start, end = (0, settings.window_start) if source == "nearest" else (settings.window_start, settings.window_end)
    start, end = min(start, ranking.depth), min(end, ranking.depth)
    width = min(end - start, max(1, LIMIT // max(1, count)))
    ids, reasons = ranking.ids[:, start : start + width], selection.reasons[:, start : start + width]
    fits = (reasons != np.int8(Reason.POSITIVE)) & (reasons != np.int8(Reason.QUERY_ITSELF))
    rows, places = np.nonzero(fits)
    scores = ranking.scores[:, start : start + width][rows, places]
    pairs = _Pairs(rows.astype(np.int32), ids[rows, places], scores, (start + places).astype(np.int32))
    if source == "nearest":  # before the window, that is the only reason given
        own = _codes(corpus.positive_queries, corpus.positive_ids)  # sorted
        codes = _codes(pairs.queries, pairs.passages)
        found = own[np.minimum(np.searchsorted(own, codes), len(own) - 1)] == codes
        pairs = pairs.at(~found & (corpus.query_passages[pairs.queries] != pairs.passages))
    return pairs, width if width < end - start else None


def _with_judged(
    ranking: Ranking,
    selection: Selection,
    source: Source,
    pairs: _Pairs,
    judged: tuple[Ids, Ids, npt.NDArray[np.int8]],
) -> tuple[_Pairs, npt.NDArray[np.int8]]:
    """Give each candidate its verdict, and add judged pairs of the same part of the ranking that are candidates no more."""
    verdicts = np.zeros(len(pairs.queries), dtype=np.int8)
    if not len(judged[0]):
        return pairs, verdicts
    known = _codes(judged[0], judged[1])
    order = np.argsort(known)
    known, judged = known[order], (judged[0][order], judged[1][order], judged[2][order])
    codes = _codes(pairs.queries, pairs.passages)
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    here = known[places] == codes
    verdicts[here] = judged[2][places[here]]
    missing = np.ones(len(known), dtype=bool)
    missing[places[here]] = False
    ranks = ranks_of(ranking.ids, judged[0], judged[1])
    start, end = selection.settings.window_start, selection.settings.window_end
    before = (ranks >= 0) & (ranks < start)
    inside = (ranks >= start) & (ranks < end)
    missing &= {"chosen": ~before, "window": inside, "nearest": before, "audit": np.zeros_like(before)}[source]
    if not missing.any():
        return pairs, verdicts
    asked, passages = judged[0][missing], judged[1][missing]
    more = _Pairs(asked, passages, ranking.score_pairs(asked, passages), ranks[missing])
    return pairs.and_also(more), np.concatenate([verdicts, judged[2][missing]])


def _fitting(corpus: Corpus, ranking: Ranking, settings: QueueSettings, pairs: _Pairs, shares: Floats) -> npt.NDArray[np.bool_]:
    """Return which pairs pass the filters, verdicts aside."""
    fits = np.ones(len(shares), dtype=bool)
    for values, low, high in ((pairs.scores, settings.min_score, settings.max_score), (shares, settings.min_share, settings.max_share)):
        if low is not None:
            fits &= values >= np.float32(low)
        if high is not None:
            fits &= values <= np.float32(high)
    if settings.words.strip():
        words = settings.words.strip().casefold()
        fits &= np.fromiter((words in query.casefold() for query in corpus.queries), bool, len(corpus.queries))[pairs.queries]
    if settings.signal is not None and not (settings.min_signal is None and settings.max_signal is None):
        left = np.flatnonzero(fits)
        ranks = pairs.ranks[left]
        values = ranking.signals[settings.signal][pairs.queries[left], np.maximum(ranks, 0)]
        inside = ranks >= 0
        inside &= values >= np.float32(-np.inf if settings.min_signal is None else settings.min_signal)
        inside &= values <= np.float32(np.inf if settings.max_signal is None else settings.max_signal)
        fits[left[~inside]] = False
    return fits


def _ordered(
    corpus: Corpus,
    ranking: Ranking,
    selection: Selection,
    settings: QueueSettings,
    pairs: _Pairs,
    shares: Floats,
    estimator: FNEstimator | None,
) -> Rows:
    """Return the order of the pairs; ties go by query and rank, which depend on the texts alone."""
    queries, passages, scores = pairs.queries, pairs.passages, pairs.scores
    if settings.source == "audit":
        return np.arange(len(queries))
    if settings.order == "random":
        random_keys = query_keys(corpus.query_hashes, settings.seed, _PURPOSE)[queries]
        random_keys ^= corpus.passage_hashes[passages]
        order = np.argsort(splitmix64(random_keys), kind="stable")
        return order[: settings.sample]
    if settings.order == "query":
        first = np.empty(len(corpus.queries), dtype=np.int64)
        rows = corpus.row_queries[::-1]
        first[rows] = np.arange(len(rows))[::-1]  # of several rows the first is written last
        return np.lexsort((-scores, first[queries]))
    if settings.order == "hubs":
        chosen = np.bincount(selection.negatives[selection.negatives >= 0], minlength=len(corpus.passages))
        return np.lexsort((-scores, passages.astype(np.int64) - chosen[passages] * len(corpus.passages)))
    if settings.order == "share":
        return _by_share(corpus, ranking, queries, passages, shares)
    return _alike(corpus, ranking, queries, passages, scores) if estimator is None else _suspicion(estimator, pairs)


def _suspicion(estimator: FNEstimator, pairs: _Pairs) -> Rows:
    """Return the order of the estimate, the highest first; last what is not among the ranked, and so has none, by the score."""
    fn_probabilities = np.full(len(pairs.queries), -1, dtype=np.float32)
    for first in range(0, len(fn_probabilities), HEAD):  # some arrays of so many at a time, not of all
        part = np.flatnonzero(pairs.ranks[first : first + HEAD] >= 0) + first
        fn_probabilities[part] = estimator.pairs(pairs.queries[part], pairs.ranks[part])
    return np.lexsort((-pairs.scores, -fn_probabilities))


def _alike(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, scores: Floats) -> Rows:
    """Return the order of what is near to the query and to one of its positives at once. Behind the head, by the score alone."""
    order = np.argsort(-scores, kind="stable")
    head = order[:HEAD]
    order[:HEAD] = head[np.argsort(-scores[head] - positive_similarity(corpus, ranking, queries[head], passages[head]), kind="stable")]
    return order


def _by_share(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, shares: Floats) -> Rows:
    """Return the order by share of the positive's score; a positive that scores nothing, and so has no shares, comes first."""
    shares = np.nan_to_num(shares, nan=np.inf, posinf=np.inf)
    order = np.argsort(-shares, kind="stable")
    head = order[:HEAD_OF_SHARES]
    cents = np.round(100 * np.minimum(shares[head], 100))
    order[:HEAD_OF_SHARES] = head[np.lexsort((-positive_similarity(corpus, ranking, queries[head], passages[head]), -cents))]
    return order
