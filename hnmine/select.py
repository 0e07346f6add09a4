"""From a Ranking and settings to a Selection: which candidates become negatives, and why each other one did not.

Pure and vectorised: no file, no model, no clock, so a slider can call it on every move. Each (query, rank) gets one
reason, the first that applies in the order of `Reason`; the funnel is counted from those reasons.

Chance is order-free. A candidate's lot is a hash of seed, query text and passage text, and the lowest lots win.
Back-filling walks the corpus, in its canonical order, along a pseudo-random permutation keyed by seed and query text (a
four-round Feistel network with cycle walking): uniform, without repeats, ending when the corpus does, and only as far
as needed. Hashing every (query, passage) pair instead would cost 10^11 operations for 100,000 short queries x 1,000,000
passages.
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

from hnmine.corpus import Corpus
from hnmine.errors import SettingsError
from hnmine.ranking import Ranking

__all__ = ["Reason", "Selection", "SelectionSettings", "parse_window", "positive_anchors", "select"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


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
    """The negatives of q queries, N = `settings.negative_number` at most for each.

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

    negatives = np.full((rows, settings.negative_number), -1, dtype=np.int32)
    chosen_scores = np.full(negatives.shape, np.nan, dtype=np.float32)
    negatives[:, : places.shape[1]][drawn] = window[which, places[drawn]]
    chosen_scores[:, : places.shape[1]][drawn] = scores[which, places[drawn]]
    backfilled = _backfill(corpus, ranking, settings, limits, negatives, chosen_scores, start)

    counts = np.bincount(inside.ravel(), minlength=len(Reason))
    return Selection(
        settings=settings,
        reasons=reasons,
        negatives=negatives,
        scores=chosen_scores,
        backfilled=backfilled,
        funnel=_funnel(ranking.ids.size, counts, negatives, backfilled),
    )


def _funnel(ranked: int, counts: npt.NDArray[np.int64], negatives: Ids, backfilled: Bools) -> dict[str, int]:
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
    funnel["short_queries"] = int((negatives[:, -1] < 0).sum())
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

    def rejections(self, scores: Floats, queries: npt.NDArray[np.int64] | None = None) -> list[tuple[Reason, Bools]]:
        """Return (reason, mask) of each guard in use, in reverse order of `Reason`.

        `scores` is (q, w), or (p,) with the query of each.
        """
        settings = self.settings
        anchors = self.anchors[:, None] if queries is None else self.anchors[queries]
        found: list[tuple[Reason, Bools]] = []
        if settings.margin is not None:
            found.append((Reason.MARGIN, scores > anchors - np.float32(settings.margin)))
        if settings.max_positive_share is not None:
            # share * anchor, written so that it lowers the limit for a negative anchor too.
            limit = anchors - np.float32(1 - settings.max_positive_share) * np.abs(anchors)
            found.append((Reason.POSITIVE_SHARE, scores > limit))
        if settings.min_score is not None:
            found.append((Reason.MIN_SCORE, scores < np.float32(settings.min_score)))
        if settings.max_score is not None:
            found.append((Reason.MAX_SCORE, scores > np.float32(settings.max_score)))
        return found


def _mix(values: Hashes) -> Hashes:
    """Scramble 64-bit values (the finaliser of SplitMix64: Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _query_keys(corpus: Corpus, seed: int, purpose: int) -> Hashes:
    salt = np.array([(seed * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03) % 2**64], dtype=np.uint64)
    return _mix(corpus.query_hashes ^ _mix(salt))


def _draw(corpus: Corpus, window: Ids, running: Bools, settings: SelectionSettings) -> npt.NDArray[np.int64]:
    """Return the places in the window of the candidates taken, ascending (hardest first), -1 behind the last: (q, <= N)."""
    rows, width = window.shape
    take = min(settings.negative_number, width)
    if take == 0 or rows == 0:
        return np.full((rows, 0), -1, dtype=np.int64)
    if settings.strategy == "hardest":
        places = np.where(running, np.arange(width), width)
    else:
        lots = _mix(_query_keys(corpus, settings.seed, 1)[:, None] ^ corpus.passage_hashes[window])
        lots[~running] = np.iinfo(np.uint64).max
        lowest = np.argpartition(lots, take - 1, axis=1)[:, :take] if take < width else np.broadcast_to(np.arange(width), window.shape)
        places = np.where(np.take_along_axis(running, lowest, 1), lowest, width)
    places = np.sort(places, axis=1)[:, :take]
    return np.where(places == width, -1, places)


def _backfill(
    corpus: Corpus, ranking: Ranking, settings: SelectionSettings, limits: _Limits, negatives: Ids, scores: Floats, start: int
) -> Bools:
    """Fill the free places of `negatives` and `scores` in place; return which are filled so.

    A passage is taken when it is no positive, not the query, not chosen and passes the guards. Those that the window
    skipped (ranks below `start`: often positives that nobody labelled) come last, when the corpus has nothing else.
    """
    backfilled = np.zeros(negatives.shape, dtype=bool)
    for skipped in (start, 0):
        short = np.flatnonzero(negatives[:, -1] < 0)
        if not len(short):
            break
        taken = _walk(corpus, ranking, settings, limits, negatives, short, skipped)
        for query, passages in taken.items():
            free = int((negatives[query] >= 0).sum())
            negatives[query, free : free + len(passages)] = passages
            backfilled[query, free : free + len(passages)] = True
    queries, places = np.nonzero(backfilled)
    if len(queries):
        scores[queries, places] = ranking.score_pairs(queries.astype(np.int32), negatives[queries, places])
        touched = np.unique(queries)
        # Hardest first over chosen and back-filled alike; NaN (nothing there) sorts last, equal scores by id.
        order = np.lexsort((negatives[touched], -scores[touched]))
        for array in (negatives, scores, backfilled):
            array[touched] = np.take_along_axis(array[touched], order, 1)
    return backfilled


def _walk(
    corpus: Corpus,
    ranking: Ranking,
    settings: SelectionSettings,
    limits: _Limits,
    negatives: Ids,
    short: npt.NDArray[np.int64],
    skipped: int,
) -> dict[int, Ids]:
    """Walk each short query's own permutation of the candidates until its need is met or the corpus ends."""
    count = corpus.n_candidates
    keys = _query_keys(corpus, settings.seed, 2)
    need = (negatives[short] < 0).sum(axis=1)
    found: dict[int, Ids] = {}
    width, position = 2 * settings.negative_number + 8, 0
    while len(short) and position < count:
        # Bound the block to 4 million pairs, and look further each round: few queries need more than one.
        width = min(width, count - position)
        block = max(1, 4_000_000 // width)
        still: list[npt.NDArray[np.int64]] = []
        for first in range(0, len(short), block):
            part = slice(first, first + block)
            queries, wanted = short[part], need[part]
            passages = _permute(keys[queries], np.arange(position, position + width, dtype=np.uint64), count)
            usable = _usable(corpus, ranking, limits, queries, passages, negatives, skipped)
            usable &= np.cumsum(usable, axis=1) <= wanted[:, None]
            for query, row, mask in zip(queries.tolist(), passages, usable, strict=True):
                if mask.any():
                    found[query] = np.concatenate([found[query], row[mask]]) if query in found else row[mask]
            need[part] = wanted - usable.sum(axis=1)
            still.append(queries)
        short, need = np.concatenate(still)[need > 0], need[need > 0]
        position, width = position + width, width * 4
    return found


def _usable(
    corpus: Corpus, ranking: Ranking, limits: _Limits, queries: npt.NDArray[np.int64], passages: Ids, negatives: Ids, skipped: int
) -> Bools:
    """Tell which of `passages` (s, w) may be back-filled for `queries` (s,)."""
    count = np.int64(len(corpus.passages))
    base = np.arange(len(queries), dtype=np.int64)[:, None] * count
    sizes = corpus.positive_starts[queries + 1] - corpus.positive_starts[queries]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    positives = corpus.positive_ids[np.repeat(corpus.positive_starts[queries], sizes) + within]
    barred = [corpus.query_passages[queries][:, None], negatives[queries], ranking.ids[queries, :skipped]]
    pairs = [np.repeat(base[:, 0], sizes) + positives, *((base + ids)[ids >= 0] for ids in barred)]
    usable = ~np.isin(base + passages, np.concatenate(pairs))
    if limits.active:
        flat = np.flatnonzero(usable)
        rows = np.repeat(queries, passages.shape[1])[flat]
        values = ranking.score_pairs(rows.astype(np.int32), passages.ravel()[flat])
        for _, rejected in limits.rejections(values, rows):
            usable.ravel()[flat[rejected]] = False
    return usable


def _permute(keys: Hashes, positions: Hashes, count: int) -> Ids:
    """Return where each position lands in the permutation of [0, count) that each key stands for: (s, w) int32.

    A balanced Feistel network over the next even power of two is a bijection; walking on while the value is outside
    keeps it one over [0, count).
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask, shift = np.uint64(2**half - 1), np.uint64(half)
    values = np.broadcast_to(positions, (len(keys), len(positions))).copy()
    outside = np.ones(values.shape, dtype=bool)
    row_keys = np.broadcast_to(keys[:, None], values.shape)
    while outside.any():
        left, right, own = values[outside] >> shift, values[outside] & mask, row_keys[outside]
        for turn in range(4):
            left, right = right, left ^ (_mix(right ^ _mix(own + np.uint64(turn))) & mask)
        values[outside] = (left << shift) | right
        outside = values >= count
    return values.astype(np.int32)
