"""From a Ranking and settings to a Selection: which candidates become negatives, and why each other one did not.

Pure and vectorised: no file, no model, no clock, so a slider can call it on every move. Each (query, rank) gets one
reason, the first that applies in the order of `Reason`; the funnel is counted from those reasons.

People's verdicts come before all guards: what they dropped is out, what they kept is taken first (see `verdicts`).

Chance is order-free: a candidate's lot is a hash of seed, query text and passage text, and the lowest lots win.

The lowest lots of a query are found by a partition of their values, which runs on vector instructions; one of their
places takes four times as long. 100,000 queries x 200 take 0.25 s on one core, 10,000 take 25 ms.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.backfill import backfill
from hnmine.blocks import row_blocks
from hnmine.chance import Hashes, mix, query_keys
from hnmine.corpus import Corpus
from hnmine.errors import SettingsError
from hnmine.hardness import descends, hardest_first, hardness_lots
from hnmine.ranking import Ranking
from hnmine.verdicts import Judgements, judge

__all__ = ["Reason", "Selection", "SelectionSettings", "parse_window", "positive_anchors", "select"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


class Reason(IntEnum):
    """Why a ranked candidate is, or is not, among the negatives of its query; the first that applies."""

    CHOSEN = 0
    NOT_DRAWN = 1
    BEFORE_WINDOW = 2
    BEHIND_WINDOW = 3
    POSITIVE = 4
    QUERY_ITSELF = 5
    DROPPED = 6
    MAX_SCORE = 7
    MIN_SCORE = 8
    POSITIVE_SHARE = 9
    MARGIN = 10


# The lot of what is not in the running: behind all others.
_LAST = np.uint64(2**64 - 1)


class SelectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How negatives are taken from a ranking.

    Attributes:
        window_start, window_end: ranks from 0, the slice [start, end) of the ranked list before anything is removed.
        negative_number: negatives wanted for each query.
        strategy: "random" draws them by seed, as hn_mine.py samples; "hardest" takes the highest scores of the window, which are the
            first of its ranks unless several retrievers ranked (`fusion`).
        seed: any integer; the same seed gives the same draw.
        max_score: reject candidates that score above it.
        min_score: reject candidates that score below it.
        max_positive_share: reject candidates above this share of the positive's score (TopK-PercPos of NV-Retriever, 0.95 there).
            With several positives their mean counts: the minimum would let one bad positive empty a query.
        margin: reject candidates that come closer than this below the positive's score (TopK-MarginPos, 0.05 there).
    """

    window_start: int = 10
    window_end: int = 210
    negative_number: int = 15
    strategy: Literal["random", "hardest"] = "random"
    seed: int = 42
    max_score: float | None = None
    min_score: float | None = None
    max_positive_share: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        for name in ("window_start", "window_end", "negative_number", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise SettingsError(f"{name} is {value!r}; it must be an integer")
            msgspec.structs.force_setattr(self, name, int(value))  # NumPy's own numbers would not go into a manifest
        if not 0 <= self.window_start < self.window_end:
            raise SettingsError(
                f"the rank window is {self.window_start}-{self.window_end}; it must be START-END with 0 <= START < END, such as 10-210"
            )
        if self.negative_number < 1:
            raise SettingsError(f"negative_number is {self.negative_number}; it must be at least 1")
        if self.strategy not in ("random", "hardest"):
            raise SettingsError(f"strategy is {self.strategy!r}; it must be 'random' or 'hardest'")
        for name in ("max_score", "min_score", "max_positive_share", "margin"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise SettingsError(f"{name} is {value!r}; it must be a finite number, or left out")
            msgspec.structs.force_setattr(self, name, float(value))
        if self.max_positive_share is not None and self.max_positive_share <= 0:
            raise SettingsError(f"max_positive_share is {self.max_positive_share}; it is a share of the positive's score, such as 0.95")
        if self.margin is not None and self.margin < 0:
            raise SettingsError(f"margin is {self.margin}; it is how far below the positive a negative must stay, such as 0.05")
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise SettingsError(f"min_score {self.min_score} is above max_score {self.max_score}; no candidate could pass")


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The negatives of q queries, N = `settings.negative_number` at most for each (fewer when there are fewer candidates).

    Attributes:
        settings: what it was made with.
        reasons: (q, k) int8, a Reason for each ranked candidate.
        negatives: (q, N) int32, passage ids, hardest first; -1 behind the last one.
        scores: (q, N) float32, NaN behind the last one.
        backfilled: (q, N) bool, taken at random from outside the window because the window had too few.
        funnel: candidates left after each step, in order.
        judgements: the verdicts that were honoured.
    """

    settings: SelectionSettings
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats
    backfilled: Bools
    funnel: dict[str, int]
    judgements: Judgements

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many negatives each query got: (q,)."""
        return np.asarray((self.negatives >= 0).sum(axis=1))

    @property
    def short(self) -> Bools:
        """Which queries got fewer than asked for: (q,)."""
        return self.counts < self.settings.negative_number


def parse_window(text: str) -> tuple[int, int]:
    """Parse a rank window such as "10-210".

    Raises:
        SettingsError: the text is no START-END.
    """
    start, dash, end = text.partition("-")
    if not dash or not start.strip().isdecimal() or not end.strip().isdecimal():
        raise SettingsError(f"the rank window is {text!r}; write START-END with ranks from 0, such as 10-210")
    return int(start), int(end)


def positive_anchors(corpus: Corpus, ranking: Ranking) -> Floats:
    """Return the mean score of each query's positives: (q,) float32."""
    sums = np.add.reduceat(ranking.positive_scores.astype(np.float64), corpus.positive_starts[:-1])
    return (sums / np.diff(corpus.positive_starts)).astype(np.float32)


def select(corpus: Corpus, ranking: Ranking, settings: SelectionSettings, judgements: Judgements | None = None) -> Selection:
    """Choose negatives for every query.

    Args:
        corpus, ranking: what there is; promoted passages are positives already (`verdicts.with_promotions`).
        settings: how to choose.
        judgements: which pairs people dropped and kept.

    Raises:
        SettingsError: the window ends behind the ranked candidates although the corpus has more.
    """
    if settings.window_end > ranking.depth < corpus.n_candidates:
        raise SettingsError(
            f"the window ends at rank {settings.window_end} but only {ranking.depth} candidates a query were ranked; "
            "mine again with a deeper window"
        )
    rows, depth = ranking.ids.shape
    start, end = min(settings.window_start, depth), min(settings.window_end, depth)
    limits = _Limits(settings, positive_anchors(corpus, ranking))
    if judgements is None:
        judgements = judge(corpus, ())
    kept = _ranked(judgements.kept, ranking.ids[:, :end])
    # A corpus of fewer candidates than negatives asked for bounds the arrays, not the count of what is short.
    places = (rows, min(settings.negative_number, corpus.n_candidates))
    choice = _Choice(
        corpus=corpus,
        ranking=ranking,
        limits=limits,
        start=start,
        end=end,
        judgements=judgements,
        kept=kept,
        keys=query_keys(corpus.query_hashes, settings.seed, 1),
        reasons=np.empty((rows, depth), dtype=np.int8),
        negatives=np.full(places, -1, dtype=np.int32),
        scores=np.full(places, np.nan, dtype=np.float32),
    )
    counts = np.zeros(len(Reason), dtype=np.int64)
    for first, stop in row_blocks(rows, end - start):
        counts += choice.block(first, stop)
    backfilled = backfill(corpus, ranking, limits, judgements, settings.seed, choice.negatives, choice.scores, start)
    return Selection(
        settings=settings,
        reasons=choice.reasons,
        negatives=choice.negatives,
        scores=choice.scores,
        backfilled=backfilled,
        funnel=_funnel(ranking.ids.size, counts, settings, choice.negatives, backfilled),
        judgements=judgements,
    )


def _funnel(ranked: int, counts: Rows, settings: SelectionSettings, negatives: Ids, backfilled: Bools) -> dict[str, int]:
    """Count what is left after each step: ranked, in window, not positive or dropped, past each guard, chosen; then filled and short.

    Kept candidates before the window are let in, and counted as in it.
    """
    left = int(counts.sum() - counts[Reason.BEFORE_WINDOW])
    funnel = {"ranked": ranked, "in_window": left}
    for name, reasons in (
        ("not_positive", (Reason.POSITIVE, Reason.QUERY_ITSELF)),
        ("not_dropped", (Reason.DROPPED,)),
        ("past_max_score", (Reason.MAX_SCORE,)),
        ("past_min_score", (Reason.MIN_SCORE,)),
        ("past_positive_share", (Reason.POSITIVE_SHARE,)),
        ("past_margin", (Reason.MARGIN,)),
    ):
        left -= int(sum(counts[reason] for reason in reasons))
        funnel[name] = left
    funnel["chosen"] = int(counts[Reason.CHOSEN])
    funnel["backfilled"] = int(np.count_nonzero(backfilled))
    if settings.negative_number > negatives.shape[1]:
        funnel["short_queries"] = len(negatives)
    else:  # places fill from the front
        funnel["short_queries"] = int(np.count_nonzero(negatives[:, -1] < 0))
    return funnel


class _Limits:
    """The guards, as thresholds a query."""

    def __init__(self, settings: SelectionSettings, anchors: Floats) -> None:
        self.settings = settings
        self.anchors = anchors

    @property
    def active(self) -> bool:
        """Whether any guard is in use."""
        settings = self.settings
        return any(each is not None for each in (settings.max_score, settings.min_score, settings.max_positive_share, settings.margin))

    def rejections(self, scores: Floats, anchors: Floats, *, tolerance: float = 0.0) -> list[tuple[Reason, Bools]]:
        """Return (reason, mask) of each guard in use, in reverse order of `Reason`.

        `anchors` are those of the scores' queries, of a shape that goes with them. Scores beyond a limit by less than `tolerance`
        are let pass; with a negative one, scores that are within it by less are rejected.
        """
        settings = self.settings
        slack = np.float32(tolerance)
        found: list[tuple[Reason, Bools]] = []
        if settings.margin is not None:
            found.append((Reason.MARGIN, scores > anchors - np.float32(settings.margin) + slack))
        if settings.max_positive_share is not None:
            # share * anchor, written so that it lowers the limit for a negative anchor too.
            limit = anchors - np.float32(1 - settings.max_positive_share) * np.abs(anchors)
            found.append((Reason.POSITIVE_SHARE, scores > limit + slack))
        if settings.min_score is not None:
            found.append((Reason.MIN_SCORE, scores < np.float32(settings.min_score) - slack))
        if settings.max_score is not None:
            found.append((Reason.MAX_SCORE, scores > np.float32(settings.max_score) + slack))
        return found

    def rejected(self, scores: Floats, queries: Rows, *, tolerance: float = 0.0) -> Bools:
        """Return which scores any guard rejects: those of `queries` (p,), as (p,) or (p, w)."""
        anchors = self.anchors[queries] if scores.ndim == 1 else self.anchors[queries, None]
        masks = [mask for _, mask in self.rejections(scores, anchors, tolerance=tolerance)]
        return np.logical_or.reduce(masks) if masks else np.zeros(scores.shape, dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """What `select` fills, block by block; `start` and `end` are the window as far as candidates were ranked."""

    corpus: Corpus
    ranking: Ranking
    limits: _Limits
    start: int
    end: int
    judgements: Judgements
    kept: tuple[Rows, Rows]
    keys: Hashes
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats

    def block(self, first: int, stop: int) -> Rows:
        """Choose for the queries [first, stop); return how often each Reason stands in their windows: (reasons,) int64."""
        kept_rows, kept_ranks = _part(self.kept, first, stop)
        # What people kept is let in from before the window: there, ranks are looked at from the first on.
        begin = 0 if (kept_ranks < self.start).any() else self.start
        window = np.ascontiguousarray(self.ranking.ids[first:stop, begin : self.end])
        scores = np.ascontiguousarray(self.ranking.scores[first:stop, begin : self.end])

        # NOT_DRAWN stands for "still in the running" until the draw; what is written later stands.
        inside = np.full(window.shape, Reason.NOT_DRAWN, dtype=np.int8)
        for reason, rejected in self.limits.rejections(scores, self.limits.anchors[first:stop, None]):
            np.copyto(inside, reason, where=rejected)
        inside[:, : self.start - begin] = Reason.BEFORE_WINDOW
        inside[kept_rows, kept_ranks - begin] = Reason.NOT_DRAWN
        _mark(inside, window, *_part(self.judgements.dropped, first, stop), Reason.DROPPED)
        itself = self.corpus.query_passages[first:stop]
        asked = np.flatnonzero(itself >= 0)
        _mark(inside, window, asked, itself[asked], Reason.QUERY_ITSELF)
        starts = self.corpus.positive_starts[first : stop + 1]
        owners = np.repeat(np.arange(stop - first), np.diff(starts))
        _mark(inside, window, owners, self.corpus.positive_ids[starts[0] : starts[-1]], Reason.POSITIVE)
        inside[:, : self.start - begin][inside[:, : self.start - begin] != Reason.NOT_DRAWN] = Reason.BEFORE_WINDOW

        running = inside == np.int8(Reason.NOT_DRAWN)
        rows, places = self._drawn(window, scores, running, first, (kept_rows, kept_ranks - begin))
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

    def _drawn(self, window: Ids, scores: Floats, running: Bools, first: int, kept: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        """Return the rows and places, in the order of ranks, of what is taken: in each row the front of it, as far as there is room."""
        width, room = window.shape[1], self.negatives.shape[1]
        near = width
        by_rank = self.limits.settings.strategy == "hardest" and descends(scores)
        if room < width and (not by_rank or len(kept[0])):
            if self.limits.settings.strategy == "random":
                lots = np.take(self.corpus.passage_hashes, window, mode="clip")
                lots ^= self.keys[first : first + len(window), None]
                mix(lots, out=lots)
            elif not by_rank:
                lots = hardness_lots(scores, window)
            else:
                lots = np.tile(np.arange(1, width + 1, dtype=np.uint64), (len(window), 1))
            lots[kept] = 0
            np.copyto(lots, _LAST, where=~running)
            # The same as the N lowest but where texts share a 64-bit hash: then the nearer of them are in front.
            running &= lots <= np.partition(lots, room - 1, axis=1)[:, room - 1 : room]
        elif room < width:
            near = min(width, 2 * room)
            while near < width and (np.count_nonzero(running[:, :near], axis=1) < room).any():
                near = min(width, 2 * near)
        return np.divmod(np.flatnonzero(running[:, :near]), max(1, near))


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
