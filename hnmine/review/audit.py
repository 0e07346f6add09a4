"""What the verdicts on an audit's sample say: the rate of false negatives with its interval, band by band, and what is left of it.

*Dropped* and *promoted* count as false: what should not be a negative of this query. (A dropped one may be junk rather than an answer;
nothing tells them apart.) *Kept* counts as true. Skipped ones are left out and counted: nobody could tell, and it is taken that they are
no worse than the others.

Verdicts count only on what was drawn, whoever gave them and in whatever order, and in each band only as far as all before them have one:
the first n of a random order are a random sample, those that somebody had looked at first are not. What lies behind a gap waits until it
is closed.

Nothing here is a model's guess. Below FEWEST reviews, or while a band has none, no rate is told at all.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES
from hnmine.review.audit_sample import Measure, Sample
from hnmine.review.intervals import LEVEL, rate_interval

__all__ = ["FEWEST", "AuditRecord", "BandEstimate", "Estimate", "Rate", "counts", "estimate", "rate_of", "record"]

Ints = npt.NDArray[np.int64]

# Reviews below which no rate is told.
FEWEST = 30
METHOD = (
    "Negatives of rows drawn at random without replacement within bands, reviewed by people; dropped and promoted count as false. "
    "Interval: Clopper and Pearson's for weighted strata (after Fay and Feuer 1997), of a finite population."
)

# What stands about a pair, as `queue.STATES` has it.
_STATES = ("unreviewed", *CHOICES)
_FALSE = [_STATES.index("drop"), _STATES.index("promote")]
_SKIPPED = _STATES.index("skip")


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated rate, 0 to 1, with the ends of its 95 % interval."""

    rate: float
    low: float
    high: float


class BandEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one band: see `audit.Band`; `false` of the `reviewed`, and `rate` where any was reviewed."""

    low: float | None
    high: float | None
    negatives: int
    similarity: float
    reviewed: int
    false: int
    rate: Rate | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample says so far.

    Attributes:
        reviewed, false: draws that count, and those of them that are false; skipped: draws that nobody could tell.
        waiting: draws with a verdict that counts once all before it in its band have one. open: draws without a verdict.
        rate: of the selection as it was when the sample was drawn; None while there are too few.
        left: the same without what was found, as it is when verdicts are honoured; what moves in for those is not in it.
        bands: one by one.
        missing: reviews until a rate can be told, 0 when it is.
    """

    reviewed: int
    false: int
    skipped: int
    waiting: int
    open: int
    rate: Rate | None
    left: Rate | None
    bands: tuple[BandEstimate, ...]
    missing: int


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of an audit.

    Attributes:
        method: in a sentence; level: of the interval. by: what the bands are of.
        seed, drawn: of the sample. sample, reviewed, false, skipped: draws, as in `Estimate`.
        negatives: of the audited selection, over all rows.
        rate, low, high: of the selection as it was when the sample was drawn.
        bands: one by one.
        selection: the fingerprint of the audited selection. exported: that of the negatives that this manifest is about; where they differ,
            verdicts given since then have changed the selection.
        left: the rate of what is left of the audited selection without the false ones that were found, where they differ.
    """

    method: str
    level: float
    by: Measure
    seed: int
    drawn: str
    sample: int
    reviewed: int
    false: int
    skipped: int
    negatives: int
    rate: float
    low: float
    high: float
    bands: tuple[BandEstimate, ...]
    selection: str
    exported: str
    left: Rate | None = None


def estimate(sample: Sample, states: npt.NDArray[np.integer[Any]]) -> Estimate:
    """Return what the verdicts on a sample say.

    Args:
        sample: whose draws are to be reviewed.
        states: (n,), for each of them what stands: the place in `queue.STATES`.

    Raises:
        SettingsError: there are more or fewer states than draws.
    """
    counted = _counted(sample, states)
    reviewed, false = counts(sample, states)
    sizes = np.array([band.negatives for band in sample.bands], dtype=np.int64)
    whole = int(reviewed.sum()) == sample.negatives
    empty = int(np.count_nonzero((reviewed == 0) & (sizes > 0)))
    missing = 0 if whole else max(FEWEST - int(reviewed.sum()), empty)
    missing = min(missing, sample.negatives - int(reviewed.sum()))
    told = None if missing else rate_of(false, reviewed, sizes)
    rates, lows, highs = rate_interval(false[:, None], reviewed[:, None], sizes[:, None])  # each band by itself
    return Estimate(
        reviewed=int(reviewed.sum()),
        false=int(false.sum()),
        skipped=int(np.count_nonzero(counted & (states == _SKIPPED))),
        waiting=int(np.count_nonzero(~counted & (states > 0))),
        open=int(np.count_nonzero(states == 0)),
        rate=told,
        left=None if told is None else _left(told, int(false.sum()), sample.negatives),
        bands=tuple(
            BandEstimate(
                low=band.low,
                high=band.high,
                negatives=band.negatives,
                similarity=band.similarity,
                reviewed=int(n),
                false=int(x),
                rate=Rate(rate=float(rates[place]), low=float(lows[place]), high=float(highs[place])) if n else None,
            )
            for place, (band, n, x) in enumerate(zip(sample.bands, reviewed, false, strict=True))
        ),
        missing=missing,
    )


def counts(sample: Sample, states: npt.NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Return for each band how many draws were reviewed, and how many of those are false: (h,) int64 each; of draws that count.

    Raises:
        SettingsError: there are more or fewer states than draws.
    """
    judged = _counted(sample, states) & (states != _SKIPPED)
    bands = _bands(sample)
    return (
        np.bincount(bands[judged], minlength=len(sample.bands)).astype(np.int64),
        np.bincount(bands[judged & np.isin(states, _FALSE)], minlength=len(sample.bands)).astype(np.int64),
    )


def _counted(sample: Sample, states: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Return which draws count: in each band those before its first without a verdict."""
    bands = _bands(sample)
    if len(states) != len(bands):
        raise SettingsError(f"there are {len(states):,} states for a sample of {len(bands):,}; give one for each draw")
    counted = np.zeros(len(bands), dtype=bool)
    for band in range(len(sample.bands)):
        own = np.flatnonzero(bands == band)
        counted[own[np.logical_and.accumulate(states[own] > 0)]] = True
    return counted


def _bands(sample: Sample) -> Ints:
    return np.array([each.band for each in sample.reviewed_draws], dtype=np.int64)


def rate_of(false: npt.ArrayLike, reviewed: npt.ArrayLike, sizes: npt.ArrayLike) -> Rate:
    """Return the rate in some bands: (h,) each, as `rate_interval` takes them."""
    rate, low, high = rate_interval(false, reviewed, sizes)
    return Rate(rate=float(rate), low=float(low), high=float(high))


def _left(told: Rate, found: int, negatives: int) -> Rate | None:
    """Return the rate without what was found; None when nothing is left."""
    rest = negatives - found
    if not rest:
        return None
    rate, low, high = (max(0.0, end * negatives - found) / rest for end in (told.rate, told.low, told.high))
    return Rate(rate=rate, low=low, high=high)


def record(sample: Sample, found: Estimate, exported: str) -> AuditRecord | None:
    """Return what a manifest says of an audit; None while no rate can be told.

    Args:
        sample, found: the audit.
        exported: the fingerprint of the negatives that the manifest is about.
    """
    if found.rate is None:
        return None
    return AuditRecord(
        method=METHOD,
        level=LEVEL,
        by=sample.settings.by,
        seed=sample.settings.seed,
        drawn=sample.drawn,
        sample=len(sample.reviewed_draws),
        reviewed=found.reviewed,
        false=found.false,
        skipped=found.skipped,
        negatives=sample.negatives,
        rate=found.rate.rate,
        low=found.rate.low,
        high=found.rate.high,
        bands=found.bands,
        selection=sample.fingerprint,
        exported=exported,
        left=found.left if exported != sample.fingerprint else None,
    )
