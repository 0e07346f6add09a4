"""What may become a negative: the settings of a selection, its guards in one table, and the reasons why a candidate was not taken."""

from __future__ import annotations

import math
import numbers
from enum import IntEnum
from typing import Literal, NamedTuple, get_args

import msgspec

from hnmine.core.errors import SettingsError

__all__ = ["FILTERS", "FN_SIGNALS", "POSITIVE_SCORES", "Filter", "PositiveScore", "Reason", "SelectionSettings", "parse_window"]

PositiveScore = Literal["in_window", "mean", "min", "max"]
POSITIVE_SCORES: tuple[PositiveScore, ...] = get_args(PositiveScore)
# The signals that the estimate of `fn_model` is made from, beside similarity and rank.
FN_SIGNALS = ("bm25_ratio", "bm25_rank", "positive_similarity")


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
    POSITIVE_RATIO = 9
    MARGIN = 10
    POSITIVE_SIMILARITY = 11
    POSITIVE_SIMILARITY_RATIO = 12
    OVERLAP = 13
    RERANKER = 14
    FN_PROBABILITY = 15


class Filter(NamedTuple):
    """One guard: its field of SelectionSettings, the Reason it gives, its step of the funnel, and the signals it reads."""

    setting: str
    reason: Reason
    step: str
    signals: tuple[str, ...] = ()


# In the order in which they are asked; the first that applies is the reason.
FILTERS = (
    Filter("max_score", Reason.MAX_SCORE, "past_max_score"),
    Filter("min_score", Reason.MIN_SCORE, "past_min_score"),
    Filter("max_positive_ratio", Reason.POSITIVE_RATIO, "past_positive_ratio"),
    Filter("margin", Reason.MARGIN, "past_margin"),
    Filter("max_positive_similarity", Reason.POSITIVE_SIMILARITY, "past_positive_similarity", ("positive_similarity",)),
    Filter("max_positive_similarity_ratio", Reason.POSITIVE_SIMILARITY_RATIO, "past_positive_similarity_ratio", ("positive_similarity",)),
    Filter("max_overlap", Reason.OVERLAP, "past_overlap", ("overlap",)),
    Filter("reranker_margin", Reason.RERANKER, "past_reranker", ("reranker",)),
    Filter("max_fn_probability", Reason.FN_PROBABILITY, "past_fn_probability", FN_SIGNALS),
)


class SelectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How negatives are taken from a ranking.

    Attributes:
        window_start, window_end: ranks from 0, the slice [start, end) of the ranked list before anything is removed.
        negative_number: negatives wanted for each query.
        strategy: "random" draws them by seed, as hn_mine.py samples; "hardest" takes the highest scores of the window, which
            are the first of its ranks unless several retrievers ranked (`fusion`).
        seed: any integer; the same seed gives the same draw.
        max_score: reject candidates that score above it.
        min_score: reject candidates that score below it.
        max_positive_ratio: reject candidates above this share of the positive's score (TopK-PercPos of NV-Retriever, 0.95 there).
        margin: reject candidates that come closer than this below the positive's score (TopK-MarginPos, 0.05 there).
        positive_score: which score stands for several positives in the two above: "in_window", the mean of those that are at least as near as the last
            candidate of the window (of all, where none is); "mean", "min" or "max" of all. A label that the model ranks behind the whole
            window is wrong or beyond it, and would drag the limit down until hardly a candidate passes; the minimum lets one such label
            empty a query, the maximum lets candidates above most positives through.
        max_positive_similarity: reject candidates more similar than this to a positive passage.
        max_positive_similarity_ratio: reject candidates whose similarity to a positive is above this share of the positive's own to the query.
        max_overlap: reject candidates that share more than this part of their three-word runs with a positive: near duplicates.
        reranker_margin: reject candidates that the reranker does not score at least so much below the positive; 0: above it.
        max_fn_probability: reject candidates whose estimated chance to be false negatives is above this (`fn_model`).
        max_fn_rate: with "hardest": the hardest negatives of which, by that estimate, at most this share is false, over all queries. Where a
            query has too many doubtful candidates it gets easier ones, and others get harder ones.
    """

    window_start: int = 10
    window_end: int = 210
    negative_number: int = 15
    strategy: Literal["random", "hardest"] = "random"
    seed: int = 42
    max_score: float | None = None
    min_score: float | None = None
    max_positive_ratio: float | None = None
    margin: float | None = None
    positive_score: PositiveScore = "in_window"
    max_positive_similarity: float | None = None
    max_positive_similarity_ratio: float | None = None
    max_overlap: float | None = None
    reranker_margin: float | None = None
    max_fn_probability: float | None = None
    max_fn_rate: float | None = None

    @property
    def guards(self) -> tuple[Filter, ...]:
        """Those of GUARDS that are in use."""
        return tuple(guard for guard in FILTERS if getattr(self, guard.setting) is not None)

    @property
    def uses_fn_model(self) -> bool:
        """Whether the estimate of `fn_model` has a say."""
        return self.max_fn_probability is not None or self.max_fn_rate is not None

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the ranking must have for these settings, sorted."""
        names = {name for guard in self.guards for name in guard.signals}
        return tuple(sorted(names | set(FN_SIGNALS if self.uses_fn_model else ())))

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
        if self.positive_score not in POSITIVE_SCORES:
            raise SettingsError(f"positive_score is {self.positive_score!r}; it must be one of {', '.join(POSITIVE_SCORES)}")
        for name in (*(guard.setting for guard in FILTERS), "max_fn_rate"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise SettingsError(f"{name} is {value!r}; it must be a finite number, or left out")
            msgspec.structs.force_setattr(self, name, float(value))
        if self.max_positive_ratio is not None and self.max_positive_ratio <= 0:
            raise SettingsError(f"max_positive_ratio is {self.max_positive_ratio}; it is a share of the positive's score, such as 0.95")
        if self.margin is not None and self.margin < 0:
            raise SettingsError(f"margin is {self.margin}; it is how far below the positive a negative must stay, such as 0.05")
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise SettingsError(f"min_score {self.min_score} is above max_score {self.max_score}; no candidate could pass")
        if self.max_positive_similarity_ratio is not None and self.max_positive_similarity_ratio <= 0:
            raise SettingsError(
                f"max_positive_similarity_ratio is {self.max_positive_similarity_ratio}; it is a share of the positive's similarity to the query, such as 0.9"
            )
        for name in ("max_overlap", "max_fn_probability", "max_fn_rate"):
            if (value := getattr(self, name)) is not None and not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value}; it is a share from 0 to 1, such as 0.05")
        if self.max_fn_rate is not None and self.strategy != "hardest":
            raise SettingsError(
                f"max_fn_rate chooses the hardest negatives that keep to it; strategy is {self.strategy!r}, make it 'hardest'"
            )


def parse_window(text: str) -> tuple[int, int]:
    """Parse a rank window such as "10-210".

    Raises:
        SettingsError: the text is no START-END.
    """
    start, dash, end = text.partition("-")
    if not dash or not start.strip().isdecimal() or not end.strip().isdecimal():
        raise SettingsError(f"the rank window is {text!r}; write START-END with ranks from 0, such as 10-210")
    return int(start), int(end)
