"""Confidence intervals for a rate in a stratified random sample, valid for rates of a few per thousand too.

Fay and Feuer (1997) for a finite population, with beta instead of gamma variables: Clopper and Pearson's variable in each stratum, and
the weighted sum approximated by the beta variable of the same mean and variance. One stratum gives Clopper and Pearson's interval. Only
what is not reviewed is uncertain; the ends are whole counts, rounded outwards. Coverage in 500 simulated audits: 94 to 100%, 98% on
average over 80 cases (benchmarks/audit.py). Wilson's interval with an effective sample size is a tenth narrower, but falls to 88%;
Jeffreys' posteriors per stratum cover far less.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "quantile", "rate_interval"]

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Tolerance for sums of fractions that are whole counts.
_WHOLE = 1e-6


def rate_interval(found: npt.ArrayLike, reviewed: npt.ArrayLike, sizes: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return the estimated rate in a stratified population, and its confidence interval.

    Args:
        found: (..., h), reviewed items with the property in each of h strata; plans use fractions of a count.
        reviewed: (..., h), items drawn from each at random, without replacement, and reviewed.
        sizes: (h,) or (..., h), the size of each stratum; at least one item in total.

    Returns:
        rate, low, high: (...,) each, 0 to 1. With a stratum that is not reviewed at all the rate is NaN, and the interval allows for
        any rate in that stratum.
    """
    x, n, size = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (found, reviewed, sizes)))
    total = size.sum(axis=-1)
    seen = n > 0
    left = np.where(seen, size - n, 0.0)  # in the sampled strata
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(size > 0, size * x / n, 0.0).sum(axis=-1) / total
    known = x.sum(axis=-1)
    first = np.stack([x, x + _one_more(x, n, left, size)])
    second = np.stack([n - x + _one_more(n - x, n, left, size), n - x])
    tails = np.reshape([(1 - LEVEL) / 2, (1 + LEVEL) / 2], (2,) + (1,) * known.ndim)
    low, high = known + _rest(first, second, left, size, tails)
    low, high = np.floor(low + _WHOLE), np.ceil(high + np.where(seen, 0.0, size).sum(axis=-1) - _WHOLE)
    most = total - np.floor((n - x).sum(axis=-1))
    return np.asarray(rate), np.maximum(low, np.floor(known)) / total, np.maximum(np.minimum(high, most), 0.0) / total


def _one_more(x: Floats, n: Floats, left: Floats, size: Floats) -> Floats:
    """Return 1 in the stratum where one more than `x` raises the upper limit most, by mean and two standard deviations, 0 elsewhere.

    This is not the stratum with the largest weight per item: a small stratum with few reviews has a large weight but few items.
    """
    means, variances = zip(_moments(x, n - x, left, size), _moments(x + 1, np.maximum(n - x, 0.0), left, size), strict=True)
    limit = means[1] - means[0] + 2 * np.sqrt(variances[0].sum(axis=-1, keepdims=True) - variances[0] + variances[1])
    limit = np.where((left > 0) & (x < n), limit, -1.0)
    marked = np.zeros(x.shape)
    np.put_along_axis(marked, limit.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
    return marked * (limit >= 0)


def _moments(a: Floats, b: Floats, left: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of the count among the items `left` in each stratum, by beta variables."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(left > 0, a / (a + b), 0.0)
    # The variance for a finite population.
    return left * p, left * size * p * (1 - p) / (a + b + 1)


def _rest(a: Floats, b: Floats, left: Floats, size: Floats, tails: Floats) -> Floats:
    """Return quantiles of the count among the items left in all strata, by a beta variable of the same mean and variance."""
    means, variances = _moments(a, b, left, size)
    return quantile(means.sum(axis=-1), variances.sum(axis=-1), left.sum(axis=-1), tails)


def quantile(mean: Floats, variance: Floats, room: Floats, tails: Floats) -> Floats:
    """Return quantiles of a beta variable from 0 to `room` with this mean and variance: (...,), 0 without room."""
    from scipy.special import betaincinv

    with np.errstate(divide="ignore", invalid="ignore"):
        middle, spread = mean / room, variance / room**2
        strength = middle * (1 - middle) / spread - 1
    spread_out = (room > 0) & (spread > 0) & (strength > 0)
    sure = np.where(room > 0, middle, 0.0)
    shape = np.where(spread_out, middle * strength, 1.0), np.where(spread_out, (1 - middle) * strength, 1.0)
    return np.asarray(np.where(spread_out, betaincinv(*shape, tails), sure) * room)
