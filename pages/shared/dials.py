"""The guards of a selection as a person meets them: names, words of help, and how far each can be turned; a table as `criteria.GUARDS`."""

from __future__ import annotations

from typing import NamedTuple

from hnmine.selection.settings import FILTERS

__all__ = ["ANCHORS", "DIALS", "FALSE_RATE", "FUNNEL", "Dial"]

# What is said wherever a number is the model's.
NO_MEASUREMENT = "It is an estimate of the model, fitted on other data: how many are false in yours, only an audit measures."


class Dial(NamedTuple):
    """One guard with its limit.

    Attributes:
        label, help: as on the screen. name: in a sentence. passed: what is left behind it.
        low, high, default, step: the slider, in the unit that is shown; factor: how many of those are 1 in the settings.
        form: how the slider writes its value.
    """

    label: str
    help: str
    name: str
    passed: str
    low: float
    high: float
    default: float
    step: float = 0.01
    factor: float = 1.0
    form: str = "%.2f"

    def shown(self, value: float) -> float:
        """Return a setting's value in the unit of the slider."""
        return round(value * self.factor, 6)

    def setting(self, shown: float) -> float:
        """Return what the slider shows as the setting's value."""
        return round(shown / self.factor, 8)


DIALS = {
    "max_positive_ratio": Dial(
        "PercPos: share of the positive",
        "Rejects candidates that score above this share of the positive's score (NV-Retriever: 0.95). "
        "What comes that close to the right answer often is one.",
        "PercPos", "past PercPos", 0.05, 1.5, 0.95,
    ),
    "margin": Dial(
        "Margin below the positive",
        "Rejects candidates that score less than this below the positive.",
        "margin", "past the margin", 0.0, 0.5, 0.05,
    ),
    "max_fn_probability": Dial(
        "Most suspicion",
        "Rejects each candidate whose estimated chance to be a false negative is above this. " + NO_MEASUREMENT,
        "fn_probability", "past suspicion", 0.1, 50.0, 5.0, 0.1, 100.0, "%.1f %%",
    ),
    "max_positive_similarity_ratio": Dial(
        "Like a positive: share",
        "Rejects candidates whose similarity to a positive is above this share of the positive's own similarity to the query.",
        "like a positive (share)", "less like a positive (share)", 0.05, 2.0, 0.9,
    ),
    "max_positive_similarity": Dial(
        "Like a positive: similarity",
        "Rejects candidates that are more similar than this to a positive passage: they may say the same.",
        "like a positive", "less like a positive", -1.0, 1.0, 0.7,
    ),
    "max_overlap": Dial(
        "Near duplicates",
        "Rejects candidates that share more than this part of their three-word runs with a positive: copies with small changes.",
        "near duplicate", "no near duplicates", 0.0, 100.0, 50.0, 1.0, 100.0, "%.0f %%",
    ),
    "reranker_margin": Dial(
        "Reranker: margin",
        "Rejects candidates that the reranker does not score at least so much below the positive, in its raw scores; 0 rejects those "
        "that it scores above the positive.",
        "reranker", "past the reranker", -5.0, 10.0, 0.0, 0.1, 1.0, "%.1f",
    ),
    "max_score": Dial(
        "Maximum score",
        "Rejects candidates whose similarity to the query is above this.",
        "maximum score", "below the maximum score", -1.0, 1.0, 0.8,
    ),
    "min_score": Dial(
        "Minimum score",
        "Rejects candidates whose similarity to the query is below this: too easy to teach anything.",
        "minimum score", "above the minimum score", -1.0, 1.0, 0.1,
    ),
}  # fmt: skip
FALSE_RATE = Dial(
    "Estimated false at most",
    "Takes the hardest negatives of which, over all queries, at most this share is false by the model's estimate. A query with many "
    "doubtful candidates gets easier ones, another gets harder ones. " + NO_MEASUREMENT,
    "estimated false", "", 0.1, 20.0, 1.0, 0.1, 100.0, "%.1f %%",
)  # fmt: skip
ANCHORS = {"in_window": "mean of the ranked ones", "mean": "mean of all", "min": "the lowest", "max": "the highest"}
# The steps of `Selection.funnel` that the screen names, in their order.
FUNNEL = {
    "ranked": "ranked",
    "in_window": "in the window",
    "not_positive": "not positive",
    "not_dropped": "not dropped by a reviewer",
    **{guard.step: DIALS[guard.setting].passed for guard in FILTERS},
    "chosen": "chosen",
}
