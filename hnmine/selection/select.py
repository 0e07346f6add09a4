"""From a Ranking and settings to a Selection: which candidates become negatives, and why each other one did not.

Pure and vectorised: no file, no model, no clock, so a slider can call it on every move. Each (query, rank) gets one
reason, the first that applies in the order of `Reason`; the funnel is counted from those reasons.

People's verdicts come before all guards: what they dropped is out, what they kept is taken first (see `verdicts`).

Chance is order-free: a candidate's lot is a hash of seed, query text and passage text, and the lowest lots win.

With a `max_fn_rate`, the negatives of all queries together are the hardest that keep to it: each query takes those of highest
score - penalty x chance of being false, which for a given mean chance have the highest mean score there is (the penalty is its Lagrange
multiplier). One penalty serves all queries, found on the first SAMPLE of them: they stand in the order of their hashes, so these are a
random sample. Four tenths of the false negatives that are left by the hardest below one limit of the estimate are gone at the same
hardness.

The lowest lots of a query are found by a partition of their values, which runs on vector instructions; one of their
places takes four times as long. 100,000 queries x 200 take 0.25 s on one core, 10,000 take 25 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.errors import SettingsError
from hnmine.core.hashing import Hashes, query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import VerdictPairs, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.filters import Filters
from hnmine.selection.fn_model import FNModel
from hnmine.selection.ordering import descends, hardest_first, order_keys
from hnmine.selection.random_fill import random_fill
from hnmine.selection.settings import FILTERS, Reason, SelectionSettings

__all__ = ["Selection", "select"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


# The lot of what is not in the running: behind all others.
_LAST = np.uint64(2**64 - 1)
# Queries on which the penalty is found, and the penalties that are tried: steps of 5 %, from next to none to one that leaves nothing but
# chance.
SAMPLE = 2_048
# Candidates that they may have together, 80 MB: behind windows of 4,096 there are fewer queries.
SAMPLED = 2**23
PENALTIES = np.concatenate([[0.0], 1.05 ** np.arange(-160, 121)]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The negatives of q queries, N = `settings.negative_number` at most for each (fewer when there are fewer candidates).

    Attributes:
        settings: what it was made with.
        reasons: (q, k) int8, a Reason for each ranked candidate.
        negatives: (q, N) int32, passage ids, hardest first; -1 behind the last one.
        scores: (q, N) float32, NaN behind the last one.
        positive: (q,) float32, the positive's score of each query (`ranking.positive_score`), which the filters compare with.
        random_filled: (q, N) bool, taken at random from outside the window because the window had too few.
        funnel: candidates left after each step, in order.
        verdict_pairs: the verdicts that were honoured.
    """

    settings: SelectionSettings
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats
    positive: Floats
    random_filled: Bools
    funnel: dict[str, int]
    verdict_pairs: VerdictPairs

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many negatives each query got: (q,)."""
        return np.asarray((self.negatives >= 0).sum(axis=1))

    @property
    def short(self) -> Bools:
        """Which queries got fewer than asked for: (q,)."""
        return self.counts < self.settings.negative_number


def select(
    corpus: Corpus,
    ranking: Ranking,
    settings: SelectionSettings,
    verdict_pairs: VerdictPairs | None = None,
    fn_model: FNModel | None = None,
) -> Selection:
    """Choose negatives for every query.

    Args:
        corpus, ranking: what there is; promoted passages are positives already (`verdicts.apply_promotions`).
        settings: how to choose.
        verdict_pairs: which pairs people removed or judged negative.
        suspicion: the model that estimates who is false, where the settings ask for it; None for the default one.

    Raises:
        SettingsError: the window ends behind the ranked candidates although the corpus has more, or the ranking lacks a signal.
    """
    if settings.window_end > ranking.depth < corpus.n_candidates:
        raise SettingsError(
            f"the window ends at rank {settings.window_end} but only {ranking.depth} candidates a query were ranked; "
            "mine again with a deeper window"
        )
    rows, depth = ranking.ids.shape
    start, end = min(settings.window_start, depth), min(settings.window_end, depth)
    limits = Filters(corpus, ranking, settings, fn_model)
    if verdict_pairs is None:
        verdict_pairs = match_verdicts(corpus, ())
    kept = _ranked(verdict_pairs.negative, ranking.ids[:, :end])
    # A corpus of fewer candidates than negatives asked for bounds the arrays, not the count of what is short.
    places = (rows, min(settings.negative_number, corpus.n_candidates))
    choice = _Choice(
        corpus=corpus,
        ranking=ranking,
        limits=limits,
        start=start,
        end=end,
        verdict_pairs=verdict_pairs,
        kept=kept,
        keys=query_keys(corpus.query_hashes, settings.seed, 1),
        reasons=np.empty((rows, depth), dtype=np.int8),
        negatives=np.full(places, -1, dtype=np.int32),
        scores=np.full(places, np.nan, dtype=np.float32),
    )
    penalty = choice.penalty() if settings.max_fn_rate is not None else None
    counts = np.zeros(len(Reason), dtype=np.int64)
    for first, stop in row_blocks(rows, end - start):
        counts += choice.block(first, stop, penalty)
    random_filled = random_fill(corpus, ranking, limits, verdict_pairs, settings.seed, choice.negatives, choice.scores, start)
    return Selection(
        settings=settings,
        reasons=choice.reasons,
        negatives=choice.negatives,
        scores=choice.scores,
        positive=limits.positive,
        random_filled=random_filled,
        funnel=_funnel(ranking.ids.size, counts, settings, choice.negatives, random_filled),
        verdict_pairs=verdict_pairs,
    )


def _funnel(ranked: int, counts: Rows, settings: SelectionSettings, negatives: Ids, random_filled: Bools) -> dict[str, int]:
    """Count what is left after each step: ranked, in window, not positive or dropped, past each guard, chosen; then filled and short.

    Kept candidates before the window are let in, and counted as in it.
    """
    left = int(counts.sum() - counts[Reason.BEFORE_WINDOW])
    funnel = {"ranked": ranked, "in_window": left}
    for name, reasons in (
        ("not_positive", (Reason.POSITIVE, Reason.QUERY_ITSELF)),
        ("not_dropped", (Reason.DROPPED,)),
        *((guard.step, (guard.reason,)) for guard in FILTERS),
    ):
        left -= int(sum(counts[reason] for reason in reasons))
        funnel[name] = left
    funnel["chosen"] = int(counts[Reason.CHOSEN])
    funnel["random_filled"] = int(np.count_nonzero(random_filled))
    if settings.negative_number > negatives.shape[1]:
        funnel["short_queries"] = len(negatives)
    else:  # places fill from the front
        funnel["short_queries"] = int(np.count_nonzero(negatives[:, -1] < 0))
    return funnel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """What `select` fills, block by block; `start` and `end` are the window as far as candidates were ranked."""

    corpus: Corpus
    ranking: Ranking
    limits: Filters
    start: int
    end: int
    verdict_pairs: VerdictPairs
    kept: tuple[Rows, Rows]
    keys: Hashes
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats

    def block(self, first: int, stop: int, penalty: np.float32 | None) -> Rows:
        """Choose for the queries [first, stop); return how often each Reason stands in their windows: (reasons,) int64."""
        begin, window, scores, inside, kept = self._running(first, stop)
        running = inside == np.int8(Reason.NOT_DRAWN)
        if penalty is None:
            rows, places = self._drawn(window, scores, running, first, kept)
        else:
            rows, places = np.nonzero(_best(scores, self._chances(first, stop, begin, kept), running, penalty, self.negatives.shape[1]))
        turn = np.arange(len(rows)) - np.searchsorted(rows, np.arange(stop - first))[rows]
        taken = turn < self.negatives.shape[1]
        rows, places, turn = rows[taken], places[taken], turn[taken]
        places = hardest_first(rows, places, scores, window)
        inside[rows, places] = Reason.CHOSEN
        self.negatives[first + rows, turn] = window[rows, places]
        self.scores[first + rows, turn] = scores[rows, places]

        self.reasons[first:stop, :begin] = Reason.BEFORE_WINDOW
        self.reasons[first:stop, begin : self.end] = inside
        self.reasons[first:stop, self.end :] = Reason.BEHIND_WINDOW
        # np.int8: compared with a member of Reason, all would be widened to int64 first, ten times as slow.
        return np.array([np.count_nonzero(inside == np.int8(reason)) for reason in Reason])

    def penalty(self) -> np.float32:
        """Return the lowest of PENALTIES with which the negatives of a sample keep to the wanted rate; the highest when none does."""
        parts = []
        width = self.end - self.start
        for first, stop in row_blocks(min(SAMPLE, len(self.reasons), max(1, SAMPLED // max(1, width))), width):
            begin, _, scores, inside, kept = self._running(first, stop)
            parts.append((scores, self._chances(first, stop, begin, kept), inside == np.int8(Reason.NOT_DRAWN)))
        low, high = 0, len(PENALTIES) - 1
        while low < high:
            middle = (low + high) // 2
            total = count = 0.0
            for scores, fn_probabilities, running in parts:
                taken = _best(scores, fn_probabilities, running, PENALTIES[middle], self.negatives.shape[1])
                total, count = total + float(fn_probabilities[taken].clip(0).sum(dtype=np.float64)), count + np.count_nonzero(taken)
            if total <= self.limits.settings.max_fn_rate * count:  # type: ignore[operator]  # it is set when this is called
                high = middle
            else:
                low = middle + 1
        return np.float32(PENALTIES[low])

    def _chances(self, first: int, stop: int, begin: int, kept: tuple[Rows, Rows]) -> Floats:
        """Return the estimated chance of each candidate to be false; -inf of what people kept, so that it is taken before all."""
        assert self.limits.estimator is not None
        found = self.limits.estimator.block(slice(first, stop), slice(begin, self.end))
        found[kept] = -np.inf
        return found

    def _running(self, first: int, stop: int) -> tuple[int, Ids, Floats, npt.NDArray[np.int8], tuple[Rows, Rows]]:
        """Return what is in the running for the queries [first, stop).

        Returns:
            The rank at which the arrays begin, the passages and scores from there to the window's end (rows, width), a Reason for each,
            with NOT_DRAWN for "still in the running", and the places of what people kept.
        """
        kept_rows, kept_ranks = _part(self.kept, first, stop)
        # What people kept is let in from before the window: there, ranks are looked at from the first on.
        begin = 0 if (kept_ranks < self.start).any() else self.start
        window = np.ascontiguousarray(self.ranking.ids[first:stop, begin : self.end])
        scores = np.ascontiguousarray(self.ranking.scores[first:stop, begin : self.end])

        # What is written later stands.
        inside = np.full(window.shape, Reason.NOT_DRAWN, dtype=np.int8)
        for reason, rejected in self.limits.rejections(first, stop, begin, scores):
            np.copyto(inside, reason, where=rejected)
        inside[:, : self.start - begin] = Reason.BEFORE_WINDOW
        inside[kept_rows, kept_ranks - begin] = Reason.NOT_DRAWN
        _mark(inside, window, *_part(self.verdict_pairs.removed, first, stop), Reason.DROPPED)
        itself = self.corpus.query_passages[first:stop]
        asked = np.flatnonzero(itself >= 0)
        _mark(inside, window, asked, itself[asked], Reason.QUERY_ITSELF)
        starts = self.corpus.positive_starts[first : stop + 1]
        owners = np.repeat(np.arange(stop - first), np.diff(starts))
        _mark(inside, window, owners, self.corpus.positive_ids[starts[0] : starts[-1]], Reason.POSITIVE)
        inside[:, : self.start - begin][inside[:, : self.start - begin] != Reason.NOT_DRAWN] = Reason.BEFORE_WINDOW
        return begin, window, scores, inside, (kept_rows, kept_ranks - begin)

    def _drawn(self, window: Ids, scores: Floats, running: Bools, first: int, kept: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        """Return the rows and places, in the order of ranks, of what is taken: in each row the front of it, as far as there is room."""
        width, room = window.shape[1], self.negatives.shape[1]
        near = width
        by_rank = self.limits.settings.strategy == "hardest" and descends(scores)
        if room < width and (not by_rank or len(kept[0])):
            if self.limits.settings.strategy == "random":
                random_keys = np.take(self.corpus.passage_hashes, window, mode="clip")
                random_keys ^= self.keys[first : first + len(window), None]
                splitmix64(random_keys, out=random_keys)
            elif not by_rank:
                random_keys = order_keys(scores, window)
            else:
                random_keys = np.tile(np.arange(1, width + 1, dtype=np.uint64), (len(window), 1))
            random_keys[kept] = 0
            np.copyto(random_keys, _LAST, where=~running)
            # The same as the N lowest but where texts share a 64-bit hash: then the nearer of them are in front.
            running &= random_keys <= np.partition(random_keys, room - 1, axis=1)[:, room - 1 : room]
        elif room < width:
            near = min(width, 2 * room)
            while near < width and (np.count_nonzero(running[:, :near], axis=1) < room).any():
                near = min(width, 2 * near)
        return np.divmod(np.flatnonzero(running[:, :near]), max(1, near))


def _best(scores: Floats, fn_probabilities: Floats, running: Bools, penalty: np.float32, room: int) -> Bools:
    """Return which (rows, width) are taken: in each row the `room` of highest score - penalty * chance, the nearer where they tie."""
    width = scores.shape[1]
    if room >= width:
        return running
    value = np.where(running, scores - penalty * fn_probabilities if penalty else np.where(fn_probabilities < 0, np.inf, scores), -np.inf)
    least = np.partition(value, width - room, axis=1)[:, width - room : width - room + 1]
    above = value > least
    level = running & (value == least)
    left = room - np.count_nonzero(above, axis=1, keepdims=True)
    return np.asarray((above & running) | (level & (np.cumsum(level, axis=1) <= left)))


def _ranked(pairs: tuple[Ids, Ids], ids: Ids) -> tuple[Rows, Rows]:
    """Return the queries and ranks, sorted, of the pairs (queries, passages) that are among the ranked `ids` (q, k)."""
    queries, passages = pairs
    width = max(1, ids.shape[1])
    rows, ranks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first, stop in row_blocks(len(queries), width):
        places, found = np.divmod(np.flatnonzero(ids[queries[first:stop]] == passages[first:stop, None]), width)
        rows.append(queries[first:stop][places].astype(np.int64))
        ranks.append(found)
    return np.concatenate(rows), np.concatenate(ranks)


def _part(pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]], first: int, stop: int) -> tuple[Rows, npt.NDArray[Any]]:
    """Return the pairs of the queries [first, stop), counted from `first`; the pairs are sorted by query."""
    begin, end = np.searchsorted(pairs[0], (first, stop))
    return pairs[0][begin:end].astype(np.int64) - first, pairs[1][begin:end]


def _mark(inside: npt.NDArray[np.int8], window: Ids, rows: Rows, passages: Ids, reason: Reason) -> None:
    """Write `reason` where a passage stands in the window of its row."""
    width = max(1, window.shape[1])
    for first in range(0, len(rows), len(window)):
        part = slice(first, first + len(window))
        pairs, places = np.divmod(np.flatnonzero(window[rows[part]] == passages[part, None]), width)
        inside[rows[part][pairs], places] = reason
