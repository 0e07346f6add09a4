"""From a Ranking and settings to a Selection: which candidates become negatives, and why each other one did not.

Pure and vectorised: no file, no model, no clock, so a slider can call it on every move. Each (query, rank) gets one
reason, the first that applies in the order of `Reason`; the funnel is counted from those reasons.

Chance is order-free: a candidate's lot is a hash of seed, query text and passage text, and the lowest lots win.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.backfill import backfill
from hnmine.chance import mix, query_keys
from hnmine.corpus import Corpus
from hnmine.errors import SettingsError
from hnmine.ranking import Ranking

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
    MAX_SCORE = 6
    MIN_SCORE = 7
    POSITIVE_SHARE = 8
    MARGIN = 9


GUARD_REASONS = (Reason.MAX_SCORE, Reason.MIN_SCORE, Reason.POSITIVE_SHARE, Reason.MARGIN)


class SelectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How negatives are taken from a ranking.

    Attributes:
        window_start, window_end: ranks from 0, the slice [start, end) of the ranked list before anything is removed.
        negative_number: negatives wanted for each query.
        strategy: "random" draws them by seed, as hn_mine.py samples; "hardest" takes the highest scores.
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
        funnel: candidates left after each step, in order; see `funnel_labels`.
    """

    settings: SelectionSettings
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats
    backfilled: Bools
    funnel: dict[str, int]

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


def select(corpus: Corpus, ranking: Ranking, settings: SelectionSettings) -> Selection:
    """Choose negatives for every query.

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
    window = np.asarray(ranking.ids[:, start:end])
    scores = np.asarray(ranking.scores[:, start:end])
    limits = _Limits(settings, positive_anchors(corpus, ranking))

    # Inside the window; NOT_DRAWN stands for "still in the running" until the draw.
    inside = np.full(window.shape, Reason.NOT_DRAWN, dtype=np.int8)
    for reason, rejected in limits.rejections(scores):  # weakest first: what is written later stands
        inside[rejected] = reason
    inside[window == corpus.query_passages[:, None]] = Reason.QUERY_ITSELF
    pair_rows = corpus.positive_queries
    hit_pairs, hit_ranks = np.nonzero(window[pair_rows] == corpus.positive_ids[:, None])
    inside[pair_rows[hit_pairs], hit_ranks] = Reason.POSITIVE

    running = inside == Reason.NOT_DRAWN
    places = _draw(corpus, window, running, settings)
    drawn = places >= 0
    which, _ = np.nonzero(drawn)
    inside[which, places[drawn]] = Reason.CHOSEN

    reasons = np.empty((rows, depth), dtype=np.int8)
    reasons[:, :start] = Reason.BEFORE_WINDOW
    reasons[:, start:end] = inside
    reasons[:, end:] = Reason.BEHIND_WINDOW

    # A corpus of fewer candidates than negatives asked for bounds the arrays, not the count of what is short.
    negatives = np.full((rows, min(settings.negative_number, corpus.n_candidates)), -1, dtype=np.int32)
    chosen_scores = np.full(negatives.shape, np.nan, dtype=np.float32)
    negatives[:, : places.shape[1]][drawn] = window[which, places[drawn]]
    chosen_scores[:, : places.shape[1]][drawn] = scores[which, places[drawn]]
    backfilled = backfill(corpus, ranking, limits, settings.seed, negatives, chosen_scores, start)

    counts = np.bincount(inside.ravel(), minlength=len(Reason))
    return Selection(
        settings=settings,
        reasons=reasons,
        negatives=negatives,
        scores=chosen_scores,
        backfilled=backfilled,
        funnel=_funnel(ranking.ids.size, counts, settings, negatives, backfilled),
    )


def _funnel(ranked: int, counts: npt.NDArray[np.int64], settings: SelectionSettings, negatives: Ids, backfilled: Bools) -> dict[str, int]:
    """Count what is left after each step: ranked, in window, not positive, past each guard, chosen; then back-filled and short."""
    left = int(counts.sum())
    funnel = {"ranked": ranked, "in_window": left}
    for name, reasons in (
        ("not_positive", (Reason.POSITIVE, Reason.QUERY_ITSELF)),
        ("past_max_score", (Reason.MAX_SCORE,)),
        ("past_min_score", (Reason.MIN_SCORE,)),
        ("past_positive_share", (Reason.POSITIVE_SHARE,)),
        ("past_margin", (Reason.MARGIN,)),
    ):
        left -= int(sum(counts[reason] for reason in reasons))
        funnel[name] = left
    funnel["chosen"] = int(counts[Reason.CHOSEN])
    funnel["backfilled"] = int(backfilled.sum())
    funnel["short_queries"] = int(((negatives >= 0).sum(axis=1) < settings.negative_number).sum())
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

    def rejections(self, scores: Floats, queries: Rows | None = None, *, tolerance: float = 0.0) -> list[tuple[Reason, Bools]]:
        """Return (reason, mask) of each guard in use, in reverse order of `Reason`.

        `scores` is (q, w), or (p,) with the query of each. Scores beyond a limit by less than `tolerance` are let pass.
        """
        settings = self.settings
        anchors = self.anchors[:, None] if queries is None else self.anchors[queries]
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
        """Return which scores (p,) any guard rejects."""
        masks = [mask for _, mask in self.rejections(scores, queries, tolerance=tolerance)]
        return np.logical_or.reduce(masks) if masks else np.zeros(len(scores), dtype=bool)


def _draw(corpus: Corpus, window: Ids, running: Bools, settings: SelectionSettings) -> npt.NDArray[np.int64]:
    """Return the places in the window of the candidates taken, ascending (hardest first), -1 behind the last: (q, <= N)."""
    rows, width = window.shape
    take = min(settings.negative_number, width, corpus.n_candidates)
    if take == 0 or rows == 0:
        return np.full((rows, 0), -1, dtype=np.int64)
    if settings.strategy == "hardest":
        places = np.where(running, np.arange(width), width)
    else:
        lots = mix(query_keys(corpus.query_hashes, settings.seed, 1)[:, None] ^ corpus.passage_hashes[window])
        lots[~running] = np.iinfo(np.uint64).max
        lowest = np.argpartition(lots, take - 1, axis=1)[:, :take] if take < width else np.broadcast_to(np.arange(width), window.shape)
        places = np.where(np.take_along_axis(running, lowest, 1), lowest, width)
    places = np.sort(places, axis=1)[:, :take]
    return np.where(places == width, -1, places)
