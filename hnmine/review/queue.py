"""The review queue: which (query, candidate) pairs are reviewed, and in which order.

A queue is flat numpy arrays, built once: 100,000 queries x 15 negatives take half a second. Verdicts only update its entries, so the
next pair is a search for the first open one and the order stays. The default order is the estimated false-negative probability of
`fn_model`, re-fitted on the verdicts at that time. A run without signals is ordered by similarity to the query plus similarity to the
nearest positive, which finds two to six times as many false negatives as random order (benchmarks/RESULTS.md, "quality"); the ratio
to the positive finds hardly more than random. Pairs with a verdict stay in the queue, to count progress and to review them again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.fn_estimates import chosen_ranks
from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import CHOICES, DECIDED, Verdict, VerdictPairs, match_verdicts, pairs_of
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.review.queue_order import Order, RankedPairs, order_pairs
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason

__all__ = ["STATES", "Order", "Queue", "QueueSettings", "Source", "build", "pairs_by_reviewer", "pairs_with_verdict"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

Source = Literal["chosen", "window", "nearest", "audit", "disagreements", "judged", "judged_relevant", "judge_differs"]
# Sources whose pairs the caller gives, and those whose pairs are shown whatever their state.
_GIVEN = ("audit", "disagreements", "judged", "judged_relevant", "judge_differs")
_DECIDED_AGAIN = ("disagreements", "judge_differs")

# The states of a pair; `Queue.verdicts` holds indices into this.
STATES = ("unreviewed", *CHOICES)

# Pairs in a queue at most; in a wider window only each query's nearest candidates are taken.
LIMIT = 2_000_000
# Makes the draw of shared pairs independent of other random draws.
_PURPOSE = 4


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pairs are reviewed, and in which order.

    Attributes:
        source: "chosen": the negatives. "window": all candidates in the rank window. "nearest": those before the window. "audit": an
            audit sample, in the order in which it was drawn. "disagreements": pairs on which reviewers disagree, whatever their state.
            "judged", "judged_relevant": pairs that an LLM has judged, or found relevant. "judge_differs": pairs on which it and people
            disagree, whatever their state.
        order: "fn_probability": the estimate, highest first. "ratio": to the positive, highest first. "random". "query": the order of
            the file. "hubs": passages chosen for the most queries first.
        seed, sample: of the random order; `sample` limits the number of pairs.
        min_score, max_score: similarity to the query. min_ratio, max_ratio: ratio to the positive.
        signal, min_signal, max_signal: range of a signal of the ranking.
        states: states to show, of STATES.
        words: text that the query contains, ignoring case.
    """

    source: Source = "chosen"
    order: Order = "fn_probability"
    seed: int = 42
    sample: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    min_ratio: float | None = None
    max_ratio: float | None = None
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
            raise SettingsError(f"states holds {unknown[0]!r}; it must be one of {', '.join(STATES)}")
        if self.sample is not None and self.sample < 1:
            raise SettingsError(f"sample is {self.sample}; it must be at least 1, or left out for all")


@dataclass(slots=True, eq=False)
class Queue:
    """Pairs in the order of review, each array (m,).

    Attributes:
        settings: how it was built.
        queries, passages: int32.
        scores: similarity; ratios: `ratio_to_positive`; float32.
        verdicts: int8, the state of each pair, an index into STATES.
        todo: bool, whether it is still to be shown, to any reviewer.
        overlap: uint8, 0 to 99, drawn by the texts; a pair below the overlap in percent is shared: two reviewers judge it.
        judged: for each reviewer the pairs on which they have a verdict, bool.
        nearest_only: candidates per query if a wide window was cut to them, or None.
    """

    settings: QueueSettings
    queries: Ids
    passages: Ids
    scores: Floats
    ratios: Floats
    verdicts: npt.NDArray[np.int8]
    todo: npt.NDArray[np.bool_]
    overlap: npt.NDArray[np.uint8]
    judged: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    nearest_only: int | None = None
    _sorted: tuple[Rows, Rows] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def counts(self) -> dict[str, int]:
        """Number of pairs in each of STATES."""
        return dict(zip(STATES, np.bincount(self.verdicts, minlength=len(STATES)).tolist(), strict=True))

    def pair(self, place: int) -> tuple[int, int]:
        """Return the (query, passage) at an index."""
        return int(self.queries[place]), int(self.passages[place])

    def open(self, who: str, overlap: int = 0) -> npt.NDArray[np.bool_]:
        """Return which pairs a reviewer can judge next: those still to be shown, and shared pairs that exactly one other has judged.

        `overlap` is the percentage of shared pairs. With 100 two reviewers judge each pair, however many there are.
        """
        found = self.todo.copy()
        if overlap and self.judged and "unreviewed" in self.settings.states and self.settings.source not in _DECIDED_AGAIN:
            shared = (self.overlap < overlap) & (np.sum(list(self.judged.values()), axis=0, dtype=np.uint8) == 1)
            found |= shared & ~self.judged[who] if who in self.judged else shared
        return found

    def by_query(self) -> Queue:
        """Return this queue with the pairs of each query together, in the order of the queries' first pairs."""
        _, first, numbers = np.unique(self.queries, return_index=True, return_inverse=True)
        order = np.argsort(first[numbers], kind="stable")
        names = ("queries", "passages", "scores", "ratios", "verdicts", "todo", "overlap")
        judged = {who: theirs[order] for who, theirs in self.judged.items()}
        return replace(self, **{name: getattr(self, name)[order] for name in names}, judged=judged, _sorted=None)

    def places(self, queries: Ids, passages: Ids) -> Rows:
        """Return the indices of pairs, -1 for pairs not in this queue: (p,) int64."""
        if not len(self.queries) or not len(queries):
            return np.full(len(queries), -1, dtype=np.int64)
        if self._sorted is None:
            codes = _codes(self.queries, self.passages)
            order = np.argsort(codes, kind="stable")
            self._sorted = codes[order], order
        codes, order = self._sorted
        wanted = _codes(queries, passages)
        at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        return np.where(codes[at] == wanted, order[at], -1)

    def note(self, queries: Ids, passages: Ids, states: npt.NDArray[np.int8], reviewers: Sequence[Collection[str]] = ()) -> None:
        """Set the states of pairs, (p,) each, and who has a verdict on them; the last entry of a pair counts.

        A pair with a verdict is to be shown only to a second reviewer, if it is shared.
        """
        places = self.places(queries, passages)
        known = places >= 0
        self.verdicts[places[known]] = states[known]
        self.todo[places[known]] = (states[known] == 0) & ("unreviewed" in self.settings.states)
        last = {place: names for place, names in zip(places.tolist(), reviewers, strict=False) if place >= 0}
        for judged in self.judged.values():
            judged[list(last)] = False
        by_name: dict[str, list[int]] = {}
        for place, names in last.items():
            for name in names:
                by_name.setdefault(name, []).append(place)
        for name, own in by_name.items():
            self._judged_by(name)[own] = True

    def add(self, corpus: Corpus, queries: Ids, passages: Ids) -> None:
        """Append those of some different pairs, (p,) each, that are not in the queue, without a verdict and similarity."""
        new = self.places(queries, passages) < 0
        queries, passages = queries[new], passages[new]
        more = {
            "queries": queries,
            "passages": passages,
            "scores": np.full(len(queries), np.nan, np.float32),
            "ratios": np.full(len(queries), np.nan, np.float32),
            "verdicts": np.zeros(len(queries), np.int8),
            "todo": np.full(len(queries), "unreviewed" in self.settings.states),
            "overlap": _overlap(corpus, queries, passages),
        }
        for name, values in more.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))
        self.judged = {who: np.concatenate([theirs, np.zeros(len(queries), bool)]) for who, theirs in self.judged.items()}
        self._sorted = None

    def _judged_by(self, who: str) -> npt.NDArray[np.bool_]:
        return self.judged.setdefault(who, np.zeros(len(self.queries), dtype=bool))


def build(
    corpus: Corpus,
    ranking: Ranking,
    selection: Selection,
    settings: QueueSettings,
    with_verdict: tuple[Ids, Ids, npt.NDArray[np.int8]],
    estimator: FNEstimator | None = None,
    sample: tuple[Ids, Ids] | None = None,
    judged: Mapping[str, tuple[Ids, Ids]] = MappingProxyType({}),
) -> Queue:
    """Build the queue of a run's selection.

    Args:
        corpus, ranking, selection: the run, after `apply_promotions`.
        settings: which pairs, and in which order.
        with_verdict: pairs with a verdict: queries, passages, and indices into STATES (`pairs_with_verdict`).
        estimator: for the order "fn_probability"; None where the run has no signals.
        sample: the pairs of the sources that the caller gives, such as "audit" (`audit_sample.different_pairs`) and "disagreements"
            (`agreement.unresolved_pairs`).
        judged: the pairs on which each reviewer has a verdict (`pairs_by_reviewer`).

    Raises:
        SettingsError: the ranking has no such signal, or there is no sample.
    """
    if settings.signal is not None and settings.signal not in ranking.signals:
        raise SettingsError(f"this run has no signal {settings.signal!r}; it has: {', '.join(ranking.signals) or 'none'}")
    if settings.source in _GIVEN:
        if sample is None:
            raise SettingsError(
                f"the pairs of the source {settings.source!r} are not given; an audit sample is drawn on the Quality screen"
            )
        drawn = ranking.score_pairs(*sample)
        pairs, nearest_only = RankedPairs(*sample, drawn, ranks_of(ranking.ids, *sample)), None
    else:
        pairs, nearest_only = _candidates(corpus, ranking, selection, settings.source)
    pairs, verdicts = _with_verdicts(ranking, selection, settings.source, pairs, with_verdict)
    ratios = ratio_to_positive(pairs.scores, selection.positive[pairs.queries])
    matches = _matching(corpus, ranking, settings, pairs, ratios)
    wanted = np.isin(np.arange(len(STATES)), [STATES.index(state) for state in settings.states])
    if settings.source in _DECIDED_AGAIN:
        wanted[:] = True
    elif "unreviewed" not in settings.states:
        matches &= wanted[verdicts]
    pairs, ratios, verdicts = pairs.at(matches), ratios[matches], verdicts[matches]
    if settings.source == "audit":
        order = np.arange(len(ratios))
    else:
        order = order_pairs(corpus, ranking, selection, pairs, ratios, estimator, settings.order, settings.seed)
    if settings.order == "random" and settings.source != "audit":
        order = order[: settings.sample]
    pairs, verdicts = pairs.at(order), verdicts[order]
    queue = Queue(
        settings=settings,
        queries=pairs.queries,
        passages=pairs.passages,
        scores=pairs.scores,
        ratios=ratios[order],
        verdicts=verdicts,
        todo=wanted[verdicts],
        overlap=_overlap(corpus, pairs.queries, pairs.passages),
        nearest_only=nearest_only,
    )
    for who, theirs in judged.items():
        places = queue.places(*theirs)
        queue._judged_by(who)[places[places >= 0]] = True
    return queue


def pairs_with_verdict(corpus: Corpus, verdict_pairs: VerdictPairs, verdicts: list[Verdict]) -> tuple[Ids, Ids, npt.NDArray[np.int8]]:
    """Return the pairs of a corpus that have a verdict: queries, passages, and indices into STATES, (p,) each.

    `verdict_pairs` are those of the corpus; "unsure" pairs, which are not among them, are found in `verdicts`.
    """
    # `match_verdicts` leaves "unsure" out, so another verdict takes its place.
    unsure = [msgspec.structs.replace(each, verdict="negative") for each in verdicts if each.verdict == "unsure"]
    groups = [(name, getattr(verdict_pairs, name)) for name in DECIDED] + [("unsure", match_verdicts(corpus, unsure).negative)]
    return (
        np.concatenate([pairs[0] for _, pairs in groups]),
        np.concatenate([pairs[1] for _, pairs in groups]),
        np.concatenate([np.full(len(pairs[0]), STATES.index(name), dtype=np.int8) for name, pairs in groups]),
    )


def pairs_by_reviewer(corpus: Corpus, verdicts: Iterable[Verdict]) -> dict[str, tuple[Ids, Ids]]:
    """Return the pairs of a corpus on which each reviewer has a verdict (`ReviewStore.by_reviewer`): queries and passages, (p,) each."""
    given = list(verdicts)
    queries, passages = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    names: dict[str, list[int]] = {}
    for place in np.flatnonzero(queries >= 0).tolist():
        names.setdefault(given[place].who, []).append(place)
    return {who: (queries[places], passages[places]) for who, places in names.items()}


def _overlap(corpus: Corpus, queries: Ids, passages: Ids) -> npt.NDArray[np.uint8]:
    """Return a number from 0 to 99 for each pair that depends on its texts alone, so a pair is shared in every run and queue."""
    keys = query_keys(corpus.query_hashes, 0, _PURPOSE)[queries] ^ corpus.passage_hashes[passages]
    return (splitmix64(keys) % np.uint64(100)).astype(np.uint8)


def _codes(queries: Ids, passages: Ids) -> Rows:
    return queries.astype(np.int64) << 32 | passages


def _candidates(corpus: Corpus, ranking: Ranking, selection: Selection, source: Source) -> tuple[RankedPairs, int | None]:
    """Return the pairs of a source, by query and rank, and the width that a wide window was cut to, or None."""
    if source == "chosen":
        rows, places = np.nonzero(selection.negatives >= 0)
        held = selection.negatives[rows, places], selection.scores[rows, places], chosen_ranks(ranking, selection)[rows, places]
        return RankedPairs(rows.astype(np.int32), *held), None
    settings, count = selection.settings, len(ranking.ids)
    start, end = (0, settings.window_start) if source == "nearest" else (settings.window_start, settings.window_end)
    start, end = min(start, ranking.depth), min(end, ranking.depth)
    width = min(end - start, max(1, LIMIT // max(1, count)))
    ids, reasons = ranking.ids[:, start : start + width], selection.reasons[:, start : start + width]
    matches = (reasons != np.int8(Reason.POSITIVE)) & (reasons != np.int8(Reason.QUERY_ITSELF))
    rows, places = np.nonzero(matches)
    scores = ranking.scores[:, start : start + width][rows, places]
    pairs = RankedPairs(rows.astype(np.int32), ids[rows, places], scores, (start + places).astype(np.int32))
    if source == "nearest":  # BEFORE_WINDOW hides the reasons POSITIVE and QUERY_ITSELF
        own = _codes(corpus.positive_queries, corpus.positive_ids)  # sorted
        codes = _codes(pairs.queries, pairs.passages)
        found = own[np.minimum(np.searchsorted(own, codes), len(own) - 1)] == codes
        pairs = pairs.at(~found & (corpus.query_passages[pairs.queries] != pairs.passages))
    return pairs, width if width < end - start else None


def _with_verdicts(
    ranking: Ranking,
    selection: Selection,
    source: Source,
    pairs: RankedPairs,
    with_verdict: tuple[Ids, Ids, npt.NDArray[np.int8]],
) -> tuple[RankedPairs, npt.NDArray[np.int8]]:
    """Return the state of each pair, and add pairs with a verdict from the same ranks that are no longer candidates."""
    verdicts = np.zeros(len(pairs.queries), dtype=np.int8)
    if not len(with_verdict[0]):
        return pairs, verdicts
    known = _codes(with_verdict[0], with_verdict[1])
    order = np.argsort(known)
    known, queries, passages, states = known[order], with_verdict[0][order], with_verdict[1][order], with_verdict[2][order]
    codes = _codes(pairs.queries, pairs.passages)
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    here = known[places] == codes
    verdicts[here] = states[places[here]]
    missing = np.ones(len(known), dtype=bool)
    missing[places[here]] = False
    ranks = ranks_of(ranking.ids, queries, passages)
    start, end = selection.settings.window_start, selection.settings.window_end
    before = (ranks >= 0) & (ranks < start)
    inside = (ranks >= start) & (ranks < end)
    missing &= {"chosen": ~before, "window": inside, "nearest": before}.get(source, np.zeros_like(before))
    if not missing.any():
        return pairs, verdicts
    queries, passages = queries[missing], passages[missing]
    more = RankedPairs(queries, passages, ranking.score_pairs(queries, passages), ranks[missing])
    return pairs.followed_by(more), np.concatenate([verdicts, states[missing]])


def _matching(corpus: Corpus, ranking: Ranking, settings: QueueSettings, pairs: RankedPairs, ratios: Floats) -> npt.NDArray[np.bool_]:
    """Return which pairs match the settings, states aside."""
    matches = np.ones(len(ratios), dtype=bool)
    for values, low, high in ((pairs.scores, settings.min_score, settings.max_score), (ratios, settings.min_ratio, settings.max_ratio)):
        if low is not None:
            matches &= values >= np.float32(low)
        if high is not None:
            matches &= values <= np.float32(high)
    if settings.words.strip():
        words = settings.words.strip().casefold()
        matches &= np.fromiter((words in query.casefold() for query in corpus.queries), bool, len(corpus.queries))[pairs.queries]
    if settings.signal is not None and not (settings.min_signal is None and settings.max_signal is None):
        left = np.flatnonzero(matches)
        ranks = pairs.ranks[left]
        values = ranking.signals[settings.signal][pairs.queries[left], np.maximum(ranks, 0)]
        inside = ranks >= 0
        inside &= values >= np.float32(-np.inf if settings.min_signal is None else settings.min_signal)
        inside &= values <= np.float32(np.inf if settings.max_signal is None else settings.max_signal)
        matches[left[~inside]] = False
    return matches
