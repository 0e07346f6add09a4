"""What follows from an audit: how many more reviews a wanted precision takes, and where a guard would have to cut.

Both are told from what people found, never from a model. A plan assumes that the rates found so far hold; a cut is recommended only from
FEWEST_FOR_CUT reviews, of all and of what would be left.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.review.audit import Estimate, Rate, counts, rate_of
from hnmine.review.audit_sample import Sample
from hnmine.review.intervals import rate_interval

__all__ = ["ASSUMED", "FEWEST_FOR_CUT", "Cut", "more_reviews", "recommend"]

# Reviews below which no cut is recommended.
FEWEST_FOR_CUT = 60
# The rate that is planned with before anybody has reviewed: about that of the default settings on judged sets.
ASSUMED = 0.02
# Sizes of samples that a plan tries: of 2,000 draws each fifth, in 0.1 s.
STEPS = 400


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The bands up to `limit`: their rate, their hardness, and which part of all negatives they are."""

    limit: float
    rate: Rate
    reviewed: int
    similarity: float
    share: float


def more_reviews(sample: Sample, states: npt.NDArray[np.integer[Any]], half_width: float) -> int | None:
    """Return how many more reviews are expected to bring the interval to `half_width` to either side, in the order of the draws.

    Planned with the rates found so far, each pulled a little to that of all (before any review, to ASSUMED), so that a band in which
    nothing was found yet is not taken to hold nothing. None: all draws together are too few.

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


def recommend(found: Estimate, wanted: float) -> Cut | Literal["few", "unneeded", "none"]:
    """Return the widest cut whose estimated rate is at most `wanted`: the bands from the lowest on, as far as they have it together.

    Returns:
        The cut; "few": there are too few reviews to say; "unneeded": all bands together have such a rate; "none": no cut has.
    """
    if found.rate is None or (found.reviewed < FEWEST_FOR_CUT and found.reviewed < sum(band.negatives for band in found.bands)):
        return "few"
    if found.rate.rate <= wanted:
        return "unneeded"
    total = sum(band.negatives for band in found.bands)
    few = False
    for count in range(len(found.bands) - 1, 0, -1):
        bands, limit = found.bands[:count], found.bands[count - 1].high
        assert limit is not None  # only the last band has no end
        sizes, reviewed, false = (np.array([getattr(band, name) for band in bands]) for name in ("negatives", "reviewed", "false"))
        rate = rate_of(false, reviewed, sizes)
        if rate.rate > wanted:
            continue
        if reviewed.sum() < min(FEWEST_FOR_CUT, sizes.sum()):
            few = True
            continue
        similarity = sum(band.negatives * band.similarity for band in bands) / sizes.sum()
        return Cut(limit=limit, rate=rate, reviewed=int(reviewed.sum()), similarity=float(similarity), share=float(sizes.sum() / total))
    return "few" if few else "none"
