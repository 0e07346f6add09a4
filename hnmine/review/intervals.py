"""Intervals for a rate that was counted in a stratified random sample, which hold at three in a thousand too.

Where a stratum shows none, the textbook's interval has no width, and a true rate of 0.3 % is missed by most audits. Clopper and Pearson's
interval for one sample cannot be wrong more often than it says. Fay and Feuer (1997) took its idea to weighted sums: the upper limit
counts one more that is found, in the stratum where one weighs most; the lower limit one more that is not. Here that is done with beta
variables (theirs are gamma ones, which know no largest rate): in each stratum the variable of Clopper and Pearson, their weighted sum told
by the beta variable of the same mean and variance. With one stratum it is Clopper and Pearson's interval itself.

The population is finite: what was reviewed is known, only the rest is uncertain, with the variance of drawing without replacement. A
sample that is the whole population has an interval of no width. The ends are whole counts, rounded outwards: of 600 negatives two may be
false or three, nothing between.

Of 500 simulated audits it covered the true rate in 94 to 100 % (98 % on average over 80 cases from 0.3 to 10 %), as wide as the
binomial's own interval (benchmarks/audit.py). Wilson's with an effective sample size is a tenth narrower and falls to 88 %. Jeffreys'
posteriors of each stratum fall to nothing: several strata that show none add up to a rate that is not there.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "beta_quantile", "rate_interval"]

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Steps of Newton's method (a handful, where nothing halves the range instead), and of the continued fraction (a few dozen).
_STEPS, _TERMS = 80, 300
_NEAR, _TINY = 1e-13, 1e-300
# Sums of shares are whole counts but for their last digits.
_WHOLE = 1e-6

_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


def beta_quantile(share: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Return the quantiles of beta variables: the x with P(X <= x) = `share`, for `a` and `b` above 0, in the shape they have together."""
    wanted, first, second = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (share, a, b)))
    scale = np.asarray(_log_gamma(first + second) - _log_gamma(first) - _log_gamma(second), dtype=np.float64)
    low, high = np.zeros(wanted.shape), np.ones(wanted.shape)
    x = first / (first + second)
    for _ in range(_STEPS):
        found = _beta_share(x, first, second, scale)
        low, high = np.where(found < wanted, x, low), np.where(found < wanted, high, x)
        with np.errstate(all="ignore"):
            density = np.exp(scale + (first - 1) * np.log(x) + (second - 1) * np.log1p(-x))
            following = x - (found - wanted) / density
        following = np.where((low < following) & (following < high), following, (low + high) / 2)
        done = bool((np.abs(following - x) <= _NEAR).all())
        x = following
        if done:
            break
    return np.asarray(x)


def _beta_share(x: Floats, a: Floats, b: Floats, scale: Floats) -> Floats:
    """Return P(X <= x), by the continued fraction of the incomplete beta function (Lentz's method)."""
    near = x < (a + 1) / (a + b + 2)  # where the fraction converges; else the other tail is asked for
    x, a, b = np.where(near, x, 1 - x), np.where(near, a, b), np.where(near, b, a)
    with np.errstate(divide="ignore", under="ignore"):
        front = np.exp(scale + a * np.log(x) + b * np.log1p(-x)) / a
    c, d = np.ones(x.shape), 1 / _away(1 - (a + b) * x / (a + 1))
    total = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _away(1 + even * d), _away(1 + even / c)
        total *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _away(1 + odd * d), _away(1 + odd / c)
        step = d * c
        total *= step
        if (np.abs(step - 1) < _NEAR).all():
            break
    tail = np.minimum(front * total, 1.0)
    return np.where(near, tail, 1 - tail)


def _away(value: Floats) -> Floats:
    """Keep a divisor away from 0."""
    return np.where(np.abs(value) < _TINY, _TINY, value)


def rate_interval(
    found: npt.ArrayLike, reviewed: npt.ArrayLike, sizes: npt.ArrayLike, *, level: float = LEVEL
) -> tuple[Floats, Floats, Floats]:
    """Return the estimated rate in a population of strata, and the two ends of its interval.

    Args:
        found: (..., h), how many of the reviewed are what is counted, in each of h strata; need not be whole (for plans).
        reviewed: (..., h), how many were drawn from each at random, without replacement, and reviewed.
        sizes: (h,) or (..., h), how many there are in each; at least one in all.
        level: how often the interval is to cover the true rate.

    Returns:
        rate, low, high: (...,) each, from 0 to 1. Of a stratum of which nothing was reviewed all may be or none: then the rate is NaN,
        and the interval allows for both.
    """
    x, n, size = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (found, reviewed, sizes)))
    total = size.sum(axis=-1)
    seen = n > 0
    left = np.where(seen, size - n, 0.0)  # of the strata that were sampled
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(size > 0, size * x / n, 0.0).sum(axis=-1) / total
    known = x.sum(axis=-1)
    first = np.stack([x, x + _one_more(x, n, left, size)])
    second = np.stack([n - x + _one_more(n - x, n, left, size), n - x])
    tails = np.reshape([(1 - level) / 2, (1 + level) / 2], (2,) + (1,) * known.ndim)
    low, high = known + _rest(first, second, left, size, tails)
    low, high = np.floor(low + _WHOLE), np.ceil(high + np.where(seen, 0.0, size).sum(axis=-1) - _WHOLE)
    most = total - np.floor((n - x).sum(axis=-1))
    return np.asarray(rate), np.maximum(low, np.floor(known)) / total, np.maximum(np.minimum(high, most), 0.0) / total


def _one_more(x: Floats, n: Floats, left: Floats, size: Floats) -> Floats:
    """Return 1 in the stratum where one more than `x` raises the upper limit most, by mean and two deviations, and 0 elsewhere.

    Not where one weighs most: in a small stratum of which little was reviewed one weighs much, but there is little that could be found.
    """
    means, variances = zip(_moments(x, n - x, left, size), _moments(x + 1, np.maximum(n - x, 0.0), left, size), strict=True)
    limit = means[1] - means[0] + 2 * np.sqrt(variances[0].sum(axis=-1, keepdims=True) - variances[0] + variances[1])
    limit = np.where((left > 0) & (x < n), limit, -1.0)
    marked = np.zeros(x.shape)
    np.put_along_axis(marked, limit.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
    return marked * (limit >= 0)


def _moments(a: Floats, b: Floats, left: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of the count in what is `left` of each stratum, by beta variables."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(left > 0, a / (a + b), 0.0)
    # Of the rest and not of a population without end: larger, as the rest is smaller.
    return left * share, left * size * share * (1 - share) / (a + b + 1)


def _rest(a: Floats, b: Floats, left: Floats, size: Floats, tails: Floats) -> Floats:
    """Return quantiles of the count in what is left of all strata: by a beta variable of the same mean and variance as the sum."""
    room = left.sum(axis=-1)
    means, variances = _moments(a, b, left, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle, variance = means.sum(axis=-1) / room, variances.sum(axis=-1) / room**2
        strength = middle * (1 - middle) / variance - 1
    spread_out = (room > 0) & (variance > 0) & (strength > 0)
    sure = np.where(room > 0, middle, 0.0)
    shape = np.where(spread_out, middle * strength, 1.0), np.where(spread_out, (1 - middle) * strength, 1.0)
    return np.asarray(np.where(spread_out, beta_quantile(tails, *shape), sure) * room)
