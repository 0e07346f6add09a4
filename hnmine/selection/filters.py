"""The false-negative filters: one class each, with everything that settings, command line, screens and documentation show of it.

To add a filter, write its class, put it at the end of FILTERS, and declare its field in `SelectionSettings`. Flags, sliders, funnel,
explanations and the table of the documentation are made from FILTERS.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.retrieval.signals import JUDGE
from hnmine.selection.fn_model import FN_SIGNALS

__all__ = [
    "FILTERS",
    "FIRST_FILTER",
    "NO_MEASUREMENT",
    "Candidates",
    "Filter",
    "ScoreFilter",
    "Setting",
    "Slider",
    "filter_of",
    "fraction",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# `Selection.reasons` holds the numbers of `settings.Reason` below this one, and of the filters from it on.
FIRST_FILTER = 7
NO_MEASUREMENT = "A model estimate, not a measurement."


class Candidates(Protocol):
    """The candidates that a filter compares, as a block (queries, width) or as pairs (p,); unknown values are NaN.

    `scores` are similarities to the query, `positive` is the positive's score of each query (`positive_score`), `positive_signal` a signal
    of the positives, combined in the same way; the last two broadcast with the others. Probabilities are 0 to 1.
    """

    positive: Floats

    @property
    def scores(self) -> Floats: ...
    def signal(self, name: str) -> Floats: ...
    def positive_signal(self, name: str) -> Floats: ...
    def fn_probabilities(self) -> Floats: ...


class Slider(NamedTuple):
    """The range of a setting on a screen, in the unit that is shown; `scale` of these units are 1 in the settings."""

    low: float
    high: float
    default: float
    step: float = 0.01
    format: str = "%.2f"
    scale: float = 1.0

    def shown(self, value: float) -> float:
        """Return the value of a setting in the unit that is shown."""
        return round(value * self.scale, 6)

    def setting(self, shown: float) -> float:
        """Return the value of a setting from the one that is shown."""
        return round(shown / self.scale, 8)


class Setting:
    """A number in SelectionSettings that is off (None) by default.

    Attributes:
        name: the field, and the flag.
        label: on the screen.
        action: what it does, in the imperative, without a full stop; `note`: further sentences for the screen.
        slider: the range on the screen, and the default when it is switched on.
        signals: the signals of the ranking that it needs.
        metavar: the placeholder in the help of the command line.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    action: ClassVar[str]
    note: ClassVar[str] = ""
    slider: ClassVar[Slider]
    signals: ClassVar[tuple[str, ...]] = ()
    metavar: ClassVar[str] = "X"

    @property
    def help(self) -> str:
        """The help on the screen."""
        return f"{self.action[0].upper()}{self.action[1:]}. {self.note}".rstrip()

    def checked(self, value: Any) -> Any:
        """Return a valid value as a float.

        Raises:
            SettingsError: it is not a finite number, or out of range.
        """
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise SettingsError(f"{self.name} is {value!r}; it must be a finite number, or None to switch it off")
        if problem := self.check(float(value)):
            raise SettingsError(f"{self.name} is {float(value)}; it must be {problem}")
        return float(value)

    def check(self, value: float) -> str:
        """Return what a value must be, if this one is out of range; empty if it is valid."""
        return ""


class Filter(Setting, ABC):
    """A filter: `short` is its name within a sentence, and `explain` the reason for a rejected candidate."""

    short: ClassVar[str]

    @property
    def reason(self) -> int:
        """Its number in `Selection.reasons`."""
        return FIRST_FILTER + list(FILTERS).index(self.name)

    @property
    def step(self) -> str:
        """Its key in `Selection.funnel`: the candidates that are left after it."""
        return f"past_{self.name}"

    @abstractmethod
    def reject(self, candidates: Candidates, value: float) -> Bools:
        """Return which candidates are rejected; unknown signals (NaN) reject nothing."""

    @abstractmethod
    def explain(self, value: float) -> str:
        """Return why a candidate is rejected."""


class ScoreFilter(Filter):
    """A filter that compares the similarity to the query with a bound, which depends on the query alone."""

    def reject(self, candidates: Candidates, value: float) -> Bools:
        """Return which candidates score beyond the bound."""
        return self.beyond(candidates.scores, candidates.positive, value)

    def beyond(self, scores: Floats, positive: Floats, value: float, tolerance: float = 0.0) -> Bools:
        """Return which scores are beyond the bound by more than `tolerance`."""
        return scores > self.bound(positive, value) + np.float32(tolerance)

    @abstractmethod
    def bound(self, positive: Floats, value: float) -> Floats | np.float32:
        """Return the highest score that passes, float32, for each positive's score."""


class MaxScore(ScoreFilter):
    """An absolute maximum."""

    name = "max_score"
    label = "Maximum score"
    short = "maximum score"
    action = "reject candidates whose similarity to the query is above this"
    slider = Slider(-1.0, 1.0, default=0.8)

    def bound(self, positive: Floats, value: float) -> Floats | np.float32:
        return np.float32(value)

    def explain(self, value: float) -> str:
        return f"score above {value:g}"


class MinScore(MaxScore):
    """An absolute minimum."""

    name = "min_score"
    label = "Minimum score"
    short = "minimum score"
    action = "reject candidates whose similarity to the query is below this"
    note = "Candidates that are too easy teach the model little."
    slider = Slider(-1.0, 1.0, default=0.1)

    def beyond(self, scores: Floats, positive: Floats, value: float, tolerance: float = 0.0) -> Bools:
        return scores < self.bound(positive, value) - np.float32(tolerance)

    def explain(self, value: float) -> str:
        return f"score below {value:g}"


class MaxPositiveRatio(ScoreFilter):
    """TopK-PercPos of NV-Retriever."""

    name = "max_positive_ratio"
    label = "PercPos: ratio to the positive"
    short = "PercPos"
    action = "reject candidates that score above this ratio to the positive's score (TopK-PercPos, 0.95 in NV-Retriever)"
    slider = Slider(0.05, 1.5, default=0.95)

    def check(self, value: float) -> str:
        return "" if value > 0 else "a ratio above 0, such as 0.95"

    def bound(self, positive: Floats, value: float) -> Floats | np.float32:
        return times(positive, value)

    def explain(self, value: float) -> str:
        return f"PercPos: above {100 * value:.0f}% of the positive's score"


class Margin(ScoreFilter):
    """TopK-MarginPos of NV-Retriever."""

    name = "margin"
    label = "Margin below the positive"
    short = "margin"
    action = "reject candidates that score less than this below the positive's score (TopK-MarginPos, 0.05 in NV-Retriever)"
    slider = Slider(0.0, 0.5, default=0.05)

    def check(self, value: float) -> str:
        return "" if value >= 0 else "0 or more, such as 0.05"

    def bound(self, positive: Floats, value: float) -> Floats | np.float32:
        return positive - np.float32(value)

    def explain(self, value: float) -> str:
        return f"margin: less than {value:g} below the positive's score"


class MaxPositiveSimilarity(Filter):
    """An absolute maximum of the similarity to the nearest positive passage."""

    name = "max_positive_similarity"
    label = "Similarity to the positive passage"
    short = "similarity to the positive passage"
    action = "reject candidates whose similarity to a positive passage is above this"
    note = "They may have the same meaning."
    slider = Slider(-1.0, 1.0, default=0.7)
    signals = ("positive_similarity",)

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.signal("positive_similarity") > np.float32(value)

    def explain(self, value: float) -> str:
        return f"similarity to the positive passage above {value:g}"


class MaxPositiveSimilarityRatio(Filter):
    """The same maximum, relative to the positive's own score."""

    name = "max_positive_similarity_ratio"
    label = "Similarity to the positive passage (ratio)"
    short = "similarity to the positive passage (ratio)"
    action = "reject candidates whose similarity to a positive passage is above this ratio to the positive's score"
    slider = Slider(0.05, 2.0, default=0.9)
    signals = ("positive_similarity",)

    def check(self, value: float) -> str:
        return "" if value > 0 else "a ratio above 0, such as 0.9"

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.signal("positive_similarity") > times(candidates.positive, value)

    def explain(self, value: float) -> str:
        return f"similarity to the positive passage above {100 * value:.0f}% of the positive's score"


class MaxOverlap(Filter):
    """Near duplicates of a positive."""

    name = "max_overlap"
    label = "Near-duplicate overlap"
    short = "near-duplicate overlap"
    action = "reject near duplicates of a positive: candidates whose overlap of three-word sequences with it is above this, from 0 to 1"
    slider = Slider(0.0, 100.0, default=50.0, step=1.0, format="%.0f%%", scale=100.0)
    signals = ("overlap",)

    def check(self, value: float) -> str:
        return fraction(value)

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.signal("overlap") > np.float32(value)

    def explain(self, value: float) -> str:
        return f"near duplicate of a positive: overlap above {100 * value:.0f}%"


class RerankerMargin(Filter):
    """A cross-encoder's opinion."""

    name = "reranker_margin"
    label = "Reranker margin"
    short = "reranker margin"
    action = "reject candidates whose reranker score is not at least this far below the positive's (0: those above the positive)"
    note = "In raw scores of the reranker."
    slider = Slider(-5.0, 10.0, default=0.0, step=0.1, format="%.1f")
    signals = ("reranker",)

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.signal("reranker") > candidates.positive_signal("reranker") - np.float32(value)

    def explain(self, value: float) -> str:
        return f"reranker: less than {value:g} below the positive" if value else "reranker: above the positive"


class MaxFNProbability(Filter):
    """A maximum for each candidate; `max_fn_rate` is one for all negatives together."""

    name = "max_fn_probability"
    label = "Max. false-negative probability"
    short = "false-negative probability"
    action = "reject candidates whose estimated false-negative probability is above this"
    note = NO_MEASUREMENT
    slider = Slider(0.1, 50.0, default=5.0, step=0.1, format="%.1f%%", scale=100.0)
    signals = FN_SIGNALS
    metavar = "P"

    def check(self, value: float) -> str:
        return fraction(value)

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.fn_probabilities() > np.float32(value)

    def explain(self, value: float) -> str:
        return f"estimated false-negative probability above {100 * value:g}%"


class JudgeGrade(Filter):
    """A judge's opinion, where it was asked."""

    name = "judge_grade"
    label = "Judge's grade"
    short = "judge's grade"
    action = "reject candidates that a judge gave at least this grade (1: same subject, 2: part of an answer, 3: answers the query)"
    note = "Candidates without a grade pass."
    slider = Slider(1.0, 3.0, default=2.0, step=1.0, format="%.0f")
    signals = (JUDGE,)
    metavar = "GRADE"

    def check(self, value: float) -> str:
        return "" if value in (1, 2, 3) else "1, 2 or 3"

    def reject(self, candidates: Candidates, value: float) -> Bools:
        return candidates.signal(JUDGE) >= np.float32(value)

    def explain(self, value: float) -> str:
        return f"judge: grade {value:.0f} or higher" if value < 3 else "judge: grade 3"


# In the order in which they are applied; the first that rejects a candidate is its reason.
FILTERS: dict[str, Filter] = {
    each.name: each
    for each in (
        MaxScore(),
        MinScore(),
        MaxPositiveRatio(),
        Margin(),
        MaxPositiveSimilarity(),
        MaxPositiveSimilarityRatio(),
        MaxOverlap(),
        RerankerMargin(),
        MaxFNProbability(),
        JudgeGrade(),
    )
}


def filter_of(reason: int) -> Filter | None:
    """Return the filter that has a number of `Selection.reasons`; None for those of `settings.Reason`."""
    return list(FILTERS.values())[reason - FIRST_FILTER] if reason >= FIRST_FILTER else None


def times(positive: Floats, ratio: float) -> Floats:
    """Return ratio * positive score, written so that a ratio below 1 lowers a negative score too.

    Scores are compared with this product, not `ratio_to_positive` with the ratio: a ratio has no meaning for a negative score.
    """
    return np.asarray(positive - np.float32(1 - ratio) * np.abs(positive))


def fraction(value: float) -> str:
    """Check a value from 0 to 1; see `Setting.check`."""
    return "" if 0 <= value <= 1 else "a fraction from 0 to 1, such as 0.05"
