"""The audit: the rate of false negatives in a random sample that people review, with its confidence interval, in total and per band.

"Relevant" and "positive" count as false negatives; "negative" and "junk" do not. "Unsure" pairs are left out, which assumes that they
are no worse than the others. A verdict counts only if the draw is in the sample and all draws before it in its band have one: the first
n draws of a random order are a random sample, the draws that someone happened to review are not. No model's estimate is used. Below
FEWEST reviews, or while a band has none, there is no rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES
from hnmine.review.audit_sample import Measure, Sample
from hnmine.review.intervals import LEVEL, rate_interval

__all__ = [
    "FEWEST",
    "AuditRecord",
    "BandEstimate",
    "Estimate",
    "JudgeRecord",
    "Rate",
    "counted",
    "counts",
    "estimate",
    "rate_of",
    "record",
    "tabulated",
]

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
States = npt.NDArray[np.integer[Any]]

# Below this number of reviews there is no rate.
FEWEST = 30
METHOD = (
    "Negatives of rows, drawn at random without replacement within bands and reviewed by people; relevant passages count as false, junk "
    "does not. Interval: Clopper and Pearson's for weighted strata (after Fay and Feuer 1997), of a finite population."
)
JUDGED_METHOD = (
    "Negatives of rows, drawn at random without replacement within bands, graded by a judge, and a random part of each band and label "
    "reviewed by people, whose verdicts alone count as right; relevant passages count as false, junk does not. Two-phase sampling for "
    "stratification (Neyman 1938). Interval: Clopper and Pearson's for weighted strata (after Fay and Feuer 1997), of a finite population, "
    "with half a draw more in place of one where other labels vary."
)

_STATES = ("unreviewed", *CHOICES)  # `queue.STATES`
_FALSE = [_STATES.index("relevant"), _STATES.index("positive")]
_JUNK, _UNSURE = _STATES.index("junk"), _STATES.index("unsure")


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated rate, 0 to 1, with its 95% confidence interval."""

    rate: float
    low: float
    high: float


class BandEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The result in one band (`audit_sample.Band`): `false` of `reviewed` draws, and `rate`, None without reviews."""

    low: float | None
    high: float | None
    negatives: int
    similarity: float
    reviewed: int
    false: int
    rate: Rate | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a sample so far.

    Attributes:
        reviewed: draws that count. false, junk: those of them that are false negatives, or junk. unsure: left out.
        waiting: draws with a verdict that does not count yet, because a draw before it in its band has none.
        open: draws without a verdict.
        rate: of the selection at the time of the draw; None below the minimum of reviews.
        left: the rate after the false negatives and junk found are removed; passages that replace them are not included.
        bands: the result of each.
        missing: reviews still needed for a rate, 0 if there is one.
    """

    reviewed: int
    false: int
    junk: int
    unsure: int
    waiting: int
    open: int
    rate: Rate | None
    left: Rate | None
    bands: tuple[BandEstimate, ...]
    missing: int

    def of_lowest(self, bands: int) -> Rate:
        """Return the rate over the lowest bands."""
        sizes, reviewed, false = (
            np.array([getattr(band, name) for band in self.bands[:bands]]) for name in ("negatives", "reviewed", "false")
        )
        return rate_of(false, reviewed, sizes)


class JudgeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A judge that took part in an audit: the rate is corrected by people's verdicts on a random part.

    Attributes:
        judges: each model and version of its prompt.
        relevant_from: the lowest grade that counts as relevant.
        judged: draws with a usable grade. people: draws that people reviewed (`AuditRecord.reviewed`).
        rate: what the judge alone says. agreement: with people, over all negatives (estimated); None if not known.
    """

    judges: tuple[tuple[str, str], ...]
    relevant_from: int
    judged: int
    people: int
    rate: float | None
    agreement: float | None


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An audit in a manifest.

    Attributes:
        method: one sentence. level: of the interval. by: the measure of the bands.
        seed, drawn: of the sample. sample: its draws. reviewed, false, junk, unsure: as in `Estimate`.
        negatives: in the audited selection, over all rows.
        rate, low, high: of the selection at the time of the draw.
        bands: the result of each.
        selection, exported: fingerprints of the audited and of the exported negatives; verdicts since the draw make them differ.
        left: `Estimate.left` if they differ, or None.
        judge: the judge that took part, or None: people alone.
    """

    method: str
    level: float
    by: Measure
    seed: int
    drawn: str
    sample: int
    reviewed: int
    false: int
    junk: int
    unsure: int
    negatives: int
    rate: float
    low: float
    high: float
    bands: tuple[BandEstimate, ...]
    selection: str
    exported: str
    left: Rate | None = None
    judge: JudgeRecord | None = None


def estimate(sample: Sample, states: States) -> Estimate:
    """Estimate the rate of false negatives from the verdicts on a sample.

    Args:
        sample: the sample.
        states: (n,), the state of each draw to review, an index into `queue.STATES`.

    Raises:
        SettingsError: the numbers of states and draws differ.
    """
    reviewed, false = counts(sample, states)
    sizes = np.array([band.negatives for band in sample.bands], dtype=np.int64)
    empty = int(np.count_nonzero((reviewed == 0) & (sizes > 0)))
    return tabulated(
        sample,
        states,
        counted(_bands(sample, states), states),
        reviewed,
        false,
        empty,
        lambda part: rate_of(false[part], reviewed[part], sizes[part]),
    )


def tabulated(
    sample: Sample, states: States, counted: Flags, reviewed: Ints, false: Ints, empty: int, rate: Callable[[slice], Rate]
) -> Estimate:
    """Return the estimate from what counts.

    Args:
        states, counted: (n,), the state of each draw, and whether it counts.
        reviewed, false: (h,), reviewed draws of each band that count, and false negatives among them.
        empty: bands, or parts of them, that need a review.
        rate: returns the rate over a slice of the bands; NaN if it is not known.
    """
    people, found = int(reviewed.sum()), int(false.sum())
    missing = min(max(FEWEST - people, empty), sample.negatives - people)
    junk = int(np.count_nonzero(counted & (states == _JUNK)))
    total = None if missing else rate(slice(None))
    rates = [rate(slice(place, place + 1)) if n else None for place, n in enumerate(reviewed)]
    return Estimate(
        reviewed=people,
        false=found,
        junk=junk,
        unsure=int(np.count_nonzero(counted & (states == _UNSURE))),
        waiting=int(np.count_nonzero(~counted & (states > 0))),
        open=int(np.count_nonzero(states == 0)),
        rate=total,
        left=None if total is None else _left_after(total, found, junk, sample.negatives),
        bands=tuple(
            BandEstimate(
                low=band.low,
                high=band.high,
                negatives=band.negatives,
                similarity=band.similarity,
                reviewed=int(n),
                false=int(x),
                rate=None if own is None or np.isnan(own.rate) else own,
            )
            for band, n, x, own in zip(sample.bands, reviewed, false, rates, strict=True)
        ),
        missing=missing,
    )


def counts(sample: Sample, states: States) -> tuple[Ints, Ints]:
    """Return the number of reviewed draws in each band, and of false negatives among them: (h,) int64 each; only draws that count.

    Raises:
        SettingsError: the numbers of states and draws differ.
    """
    bands = _bands(sample, states)
    reviewed = counted(bands, states) & (states != _UNSURE)
    return (
        np.bincount(bands[reviewed], minlength=len(sample.bands)).astype(np.int64),
        np.bincount(bands[reviewed & np.isin(states, _FALSE)], minlength=len(sample.bands)).astype(np.int64),
    )


def counted(groups: Ints, states: States) -> Flags:
    """Return which draws count: in each group those before the first without a verdict. (n,) each, in the order of the draws."""
    found = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        found[own[np.logical_and.accumulate(states[own] > 0)]] = True
    return found


def _bands(sample: Sample, states: States) -> Ints:
    bands = np.array([each.band for each in sample.reviewed_draws], dtype=np.int64)
    if len(states) != len(bands):
        raise SettingsError(f"there are {len(states):,} states for a sample of {len(bands):,} draws; give one for each draw")
    return bands


def rate_of(false: npt.ArrayLike, reviewed: npt.ArrayLike, sizes: npt.ArrayLike) -> Rate:
    """Return the rate over some bands from (h,) arrays, as in `rate_interval`."""
    rate, low, high = rate_interval(false, reviewed, sizes)
    return Rate(rate=float(rate), low=float(low), high=float(high))


def _left_after(rate: Rate, false: int, junk: int, negatives: int) -> Rate | None:
    """Return the rate after the false negatives and junk found are removed; None if nothing remains."""
    rest = negatives - false - junk
    if not rest:
        return None
    estimate, low, high = (max(0.0, end * negatives - false) / rest for end in (rate.rate, rate.low, rate.high))
    return Rate(rate=estimate, low=low, high=high)


def record(sample: Sample, found: Estimate, exported: str, judge: JudgeRecord | None = None) -> AuditRecord | None:
    """Return the audit for a manifest; None while there is no rate.

    Args:
        exported: the fingerprint of the exported negatives.
        judge: with the result of `judged_audit.judged_estimate`, the judge.
    """
    if found.rate is None:
        return None
    return AuditRecord(
        method=METHOD if judge is None else JUDGED_METHOD,
        level=LEVEL,
        by=sample.settings.by,
        seed=sample.settings.seed,
        drawn=sample.drawn,
        sample=len(sample.reviewed_draws),
        reviewed=found.reviewed,
        false=found.false,
        junk=found.junk,
        unsure=found.unsure,
        negatives=sample.negatives,
        rate=found.rate.rate,
        low=found.rate.low,
        high=found.rate.high,
        bands=found.bands,
        selection=sample.fingerprint,
        exported=exported,
        left=found.left if exported != sample.fingerprint else None,
        judge=judge,
    )
