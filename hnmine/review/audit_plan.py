"""What follows from an audit: the number of reviews for a wanted precision, and the cut for a wanted rate.

Both use only what people found, never a model's estimate. A plan assumes that the rates found so far hold. A cut needs FEWEST_FOR_CUT
reviews in total and below the cut.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.review.audit import Estimate, Rate, counts
from hnmine.review.audit_sample import Sample
from hnmine.review.intervals import rate_interval

__all__ = ["ASSUMED", "FEWEST_FOR_CUT", "Cut", "Few", "more_reviews", "recommend"]

# Below this number of reviews no cut is recommended.
FEWEST_FOR_CUT = 60
# The rate assumed before the first review: about that of the default settings on labelled test sets.
ASSUMED = 0.02
# Sample sizes that a plan tries: of 2,000 draws every fifth, in 0.1 s.
STEPS = 400


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The bands up to `limit`: their rate, reviews and hardness, and their fraction of all negatives."""

    limit: float
    rate: Rate
    reviewed: int
    similarity: float
    fraction: float


class Few(msgspec.Struct, frozen=True, kw_only=True):
    """Too few reviews for a cut: `reviewed` of `needed`, in the bands up to `limit`, or in all where it is None."""

    limit: float | None
    needed: int
    reviewed: int


def more_reviews(sample: Sample, states: npt.NDArray[np.integer[Any]], half_width: float) -> int | None:
    """Return the expected number of further reviews, in the order of the draws, for an interval of plus or minus `half_width`.

    The plan uses the rates found so far, each shrunk a little towards the overall rate (before any review, ASSUMED), so that a band
    without a find is not assumed to have rate 0. Returns None if all draws together are too few.

    Raises:
        SettingsError: `half_width` is not above 0.
    """
    if not half_width > 0:
        raise SettingsError(f"half_width is {half_width!r}; it must be above 0, such as 0.01")
    reviewed, false = counts(sample, states)
    sizes = np.array([band.negatives for band in sample.bands], dtype=np.int64)
    overall = (sizes[reviewed > 0] * (false / np.maximum(reviewed, 1))[reviewed > 0]).sum() / max(1, sizes[reviewed > 0].sum())
    overall = float(overall) if reviewed.any() else ASSUMED
    rates = (false + overall) / (reviewed + 1)
    each = np.zeros((len(sample.draws) + 1, len(sizes)), dtype=np.int64)
    each[np.arange(1, len(each)), [draw.band for draw in sample.draws]] = 1
    tried = np.unique(np.linspace(0, len(sample.draws), STEPS + 1).round().astype(np.int64))
    planned = np.maximum(each.cumsum(axis=0)[tried], reviewed)
    _, low, high = rate_interval(false + rates * (planned - reviewed), planned, sizes)
    enough = np.flatnonzero((high - low) / 2 <= half_width)
    return int(planned[enough[0]].sum() - reviewed.sum()) if len(enough) else None


def recommend(found: Estimate, wanted: float) -> Cut | Few | Literal["unneeded", "none"]:
    """Return the widest cut, from the lowest band up, whose estimated rate is at most `wanted`.

    Returns:
        The cut; a Few, of the widest cut that lacks reviews; "unneeded": the rate of all bands is low enough; "none": no cut has such
        a rate.
    """
    total = sum(band.negatives for band in found.bands)
    if found.rate is None or found.reviewed < min(FEWEST_FOR_CUT, total):
        return Few(limit=None, needed=min(FEWEST_FOR_CUT, total), reviewed=found.reviewed)
    if found.rate.rate <= wanted:
        return "unneeded"
    few: Few | None = None
    for count in range(len(found.bands) - 1, 0, -1):
        bands, limit = found.bands[:count], found.bands[count - 1].high
        assert limit is not None  # only the last band has no upper bound
        size, reviewed = sum(band.negatives for band in bands), sum(band.reviewed for band in bands)
        rate = found.of_lowest(count)
        if rate.rate > wanted:
            continue
        if reviewed < (needed := min(FEWEST_FOR_CUT, size)):
            few = few or Few(limit=limit, needed=needed, reviewed=reviewed)
            continue
        similarity = sum(band.negatives * band.similarity for band in bands) / size
        return Cut(limit=limit, rate=rate, reviewed=reviewed, similarity=similarity, fraction=size / total)
    return few or "none"
