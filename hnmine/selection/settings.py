"""The settings of a selection, and the reasons why a candidate was or was not chosen. The filters are in `filters`."""

from __future__ import annotations

import numbers
from enum import IntEnum
from typing import Any, Literal, get_args

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.selection.filters import FILTERS, NO_MEASUREMENT, Filter, Setting, Slider, fraction
from hnmine.selection.fn_model import FN_SIGNALS

__all__ = ["HARDNESS", "MAX_FN_RATE", "POSITIVE_SCORES", "TARGETS", "PositiveScore", "Reason", "SelectionSettings", "parse_window"]


class MaxFNRate(Setting):
    """The budget of the balanced preset."""

    name = "max_fn_rate"
    label = "Max. estimated false-negative rate"
    action = "with strategy hardest: take the hardest negatives whose estimated false-negative rate, over all queries, is at most this"
    note = NO_MEASUREMENT
    slider = Slider(0.1, 20.0, default=1.0, step=0.1, format="%.1f%%", scale=100.0)
    signals = FN_SIGNALS
    metavar = "P"

    def check(self, value: float) -> str:
        return fraction(value)


class Hardness(Setting):
    """The other direction of `MaxFNRate`: a number, or one of `presets`, whose hardness on the same ranking is meant."""

    name = "hardness"
    label = "Hardness"
    action = (
        "with strategy hardest: take the negatives with the lowest estimated false-negative rate whose mean similarity, over all queries, "
        "is at least this, a number such as 0.45, or that of a preset, percpos or hn_mine"
    )
    slider = Slider(0.0, 1.0, default=0.45)
    signals = FN_SIGNALS
    metavar = "percpos|hn_mine|X"
    presets = ("percpos", "hn_mine")

    def checked(self, value: Any) -> Any:
        """Return a valid value: one of `presets`, or a float, which may be given as text."""
        if isinstance(value, str) and value in self.presets:
            return value
        try:
            return super().checked(float(value) if isinstance(value, str) else value)
        except (SettingsError, ValueError):
            names = " or ".join(repr(name) for name in self.presets)
            raise SettingsError(
                f"{self.name} is {value!r}; it must be {names}, a mean similarity such as 0.45, or None to switch it off"
            ) from None


MAX_FN_RATE = MaxFNRate()
HARDNESS = Hardness()
# At most one is in use.
TARGETS = (MAX_FN_RATE, HARDNESS)


PositiveScore = Literal["in_window", "mean", "min", "max"]
POSITIVE_SCORES: tuple[PositiveScore, ...] = get_args(PositiveScore)


class Reason(IntEnum):
    """Why a ranked candidate is, or is not, among the negatives of its query; the first that applies.

    The filters have the numbers that follow: see `Filter.reason`.
    """

    CHOSEN = 0
    NOT_DRAWN = 1
    BEFORE_WINDOW = 2
    BEHIND_WINDOW = 3
    POSITIVE = 4
    QUERY_ITSELF = 5
    REMOVED = 6


class SelectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How negatives are chosen from a ranking.

    Attributes:
        window_start, window_end: ranks from 0, the slice [start, end) of the ranked list before anything is removed.
        negative_number: negatives wanted for each query.
        strategy: "random" draws them by seed, as hn_mine.py samples; "hardest" takes the highest scores in the window.
        seed: any integer; the same seed gives the same draw.
        positive_score: which score represents several positives in the filters. "in_window" is the mean of the positives that score at
            least as high as the last candidate of the window, or of all positives if none does; a mislabelled positive outside the window
            does not lower the bound. "mean", "min" and "max" are over all positives.
        max_score, min_score, max_positive_ratio, margin, max_positive_similarity, max_positive_similarity_ratio, max_overlap,
            reranker_margin, max_fn_probability, judge_grade: the filters, documented by `FILTERS`; None is off.
        max_fn_rate, hardness: see `MaxFNRate` and `Hardness`; one of them at most, with the strategy "hardest"; None is off.
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
    judge_grade: float | None = None
    max_fn_rate: float | None = None
    hardness: float | str | None = None

    @property
    def filters(self) -> tuple[tuple[Filter, float], ...]:
        """The filters in use with their values, in the order of FILTERS."""
        values = ((each, getattr(self, each.name)) for each in FILTERS.values())
        return tuple((each, value) for each, value in values if value is not None)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of those of TARGETS that are in use."""
        return tuple(each.name for each in TARGETS if getattr(self, each.name) is not None)

    @property
    def uses_fn_model(self) -> bool:
        """Whether the false-negative model affects the selection."""
        return self.max_fn_probability is not None or bool(self.targets)

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the ranking must have for these settings, sorted."""
        names = {name for each, _ in self.filters for name in each.signals}
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
        for setting in (*FILTERS.values(), *TARGETS):
            if (value := getattr(self, setting.name)) is not None:
                msgspec.structs.force_setattr(self, setting.name, setting.checked(value))
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise SettingsError(f"min_score {self.min_score} is above max_score {self.max_score}; no candidate can pass")
        if self.targets and self.strategy != "hardest":
            raise SettingsError(f"{self.targets[0]} needs strategy 'hardest'; strategy is {self.strategy!r}")
        if len(self.targets) > 1:
            raise SettingsError(f"max_fn_rate {self.max_fn_rate} and hardness {self.hardness!r} exclude each other; leave one of them out")


def parse_window(text: str) -> tuple[int, int]:
    """Parse a rank window such as "10-210".

    Raises:
        SettingsError: the text is not START-END.
    """
    start, dash, end = text.partition("-")
    if not dash or not start.strip().isdecimal() or not end.strip().isdecimal():
        raise SettingsError(f"the rank window is {text!r}; write START-END with ranks from 0, such as 10-210")
    return int(start), int(end)
