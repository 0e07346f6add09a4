"""Confidence intervals for a rate in a stratified random sample, with or without a judge, valid for rates of a few per thousand too.

Fay and Feuer (1997) for a finite population, with beta instead of gamma variables: Clopper and Pearson's variable in each stratum, and
the weighted sum approximated by the beta variable of the same mean and variance. One stratum gives Clopper and Pearson's interval. Only
what is not reviewed is uncertain; the ends are whole counts, rounded outwards. Coverage in 500 simulated audits: 94 to 100%, 98% on
average over 80 cases (benchmarks/audit.py). Wilson's interval with an effective sample size is a tenth narrower, but falls to 88%;
Jeffreys' posteriors per stratum cover far less. With a judge: two-phase sampling for stratification (`judged_interval`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "judged_interval", "rate_interval"]

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Draws by which the rate of a cell is moved towards that of its label, for its variance alone: two equal draws do not make a cell certain.
SHRINK = 2
# The least part of one more draw that a limit counts.
LEAST = 0.5
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
    nothing = np.zeros(x.shape)
    return _interval(x, n, size, _variance(_rates(x, n), n + 1, size - n, size), nothing.sum(axis=-1), nothing)


def judged_interval(
    false: npt.ArrayLike, reviewed: npt.ArrayLike, judged: npt.ArrayLike, sizes: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return the estimated rate in a stratified population whose sample a judge has graded, and its confidence interval.

    The strata are the cells of a band and a label (Neyman 1938; Cochran 1977, chapter 12). Their sizes are estimated from the judged
    draws, which adds the variance between the cells of a band. Where all draws of a band are reviewed, or the judge gives it one label,
    the band counts as in `rate_interval`: a constant judge changes nothing. The difference estimator over all draws (the judge's rate plus
    the mean of person minus judge) is worse than people alone at low rates: at 5%, with a judge wrong on 10% either way, its variance
    is 0.1 / m, against 0.0475 / m.

    Args:
        false, reviewed: (..., h, l), reviewed draws of each band and label, and the false ones of them; plans use fractions of a count.
        judged: (..., h, l), draws of the sample of each band and label; in each the reviewed ones are a random part.
        sizes: (h,), the size of each band; the draws of a band are random, without replacement.

    Returns:
        rate, low, high: as `rate_interval`; a band without draws or a cell without reviews is a stratum that is not reviewed.
    """
    x, m, n = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (false, reviewed, judged)))
    size = np.asarray(sizes, np.float64)[:, None]
    # A band that counts as without a judge is one cell, of a label of its own.
    alone = ((m == n).all(axis=-1) | (np.count_nonzero(n, axis=-1) < 2))[..., None]
    x, m, n = (
        np.concatenate([np.where(alone, 0.0, each), np.where(alone, each.sum(axis=-1, keepdims=True), 0.0)], axis=-1)
        for each in (x, m, np.where(alone, m, n))
    )
    drawn = n.sum(axis=-1, keepdims=True)
    cells = np.where(drawn > 0, size * _rates(n, drawn), size * (np.arange(n.shape[-1]) == n.shape[-1] - 1))
    rates = _rates(x, m)
    between = cells * (rates - _rates((cells * rates).sum(axis=-1, keepdims=True), size)) ** 2
    first = (_rates(size - drawn, drawn) * between).sum(axis=(-2, -1))
    seen = np.where(m > 0, cells, 0.0)
    label = _rates((seen * rates).sum(axis=-2, keepdims=True), seen.sum(axis=-2, keepdims=True))
    second = _variance(_rates(x + SHRINK * label, m + SHRINK), m, cells - m, cells)
    second[..., -1] = _variance(rates, m + 1, cells - m, cells)[..., -1]
    by_label = second.sum(axis=-2, keepdims=True)
    apart = np.broadcast_to(first[..., None, None] + by_label.sum(axis=-1, keepdims=True) - by_label, x.shape)
    x, m, cells, second, apart = (each.reshape(*each.shape[:-2], -1) for each in (x, m, cells, second, apart))
    return _interval(x, m, cells, second, first, apart)


def _interval(x: Floats, n: Floats, size: Floats, variance: Floats, first: Floats, apart: Floats) -> tuple[Floats, Floats, Floats]:
    """Return rate and limits from (..., h) strata.

    Clopper and Pearson's limit counts one draw more, in the stratum where that moves it most. A whole draw is for the steps of one count.
    What varies apart from it fills them, as Stevens (1950) does with a random number, so its standard deviation in steps is taken off the
    draw, down to half of one: with a normal deviate beside a Poisson count the upper limit is then wrong in at most 2.6%, at all rates.

    Args:
        variance: (..., h), of the count in each. first: (...), more variance. apart: (..., h), of both, the part apart from each.
    """
    total, known = size.sum(axis=-1), x.sum(axis=-1)
    left, rates = np.where(n > 0, size - n, 0.0), _rates(x, n)
    rest = np.maximum(variance.sum(axis=-1, keepdims=True) - variance + first[..., None], 0.0)
    ends = []
    for more, tail in ((0, (1 - LEVEL) / 2), (1, (1 + LEVEL) / 2)):
        step = left * ((x + more) / (n + 1) - rates)
        own = _variance((x + more) / (n + 1), n + 2, left, size)
        # By mean and two standard deviations. Not where a draw weighs most: a small stratum with few reviews has few items.
        limit = np.where(step != 0, np.abs(step) + 2 * np.sqrt(rest + own), -1.0)
        one = limit.argmax(axis=-1)[..., None]
        draw = np.clip(1 - np.sqrt(np.maximum(apart, 0.0)) / np.maximum(np.abs(step), _WHOLE), LEAST, 1.0)
        p = (x + more * draw) / (n + draw)
        step, own = left * (p - rates), _variance(p, n + draw + 1, left, size)
        mean, spread = (left * rates).sum(axis=-1), np.take_along_axis(rest + own, one, axis=-1)[..., 0]
        ends.append(known + _quantile(mean + np.take_along_axis(step, one, axis=-1)[..., 0], spread, left.sum(axis=-1), tail))
    unseen = np.where(n > 0, 0.0, size).sum(axis=-1)
    low, high = np.floor(ends[0] + _WHOLE), np.ceil(ends[1] + unseen - _WHOLE)
    most = total - np.floor((n - x).sum(axis=-1))
    rate = np.where(unseen > 0, np.nan, (size * rates).sum(axis=-1) / total)
    return rate, np.maximum(low, np.floor(known)) / total, np.maximum(np.minimum(high, most), 0.0) / total


def _rates(x: Floats, n: Floats) -> Floats:
    """Return x / n, 0 where n is 0."""
    return np.divide(x, n, out=np.zeros(np.broadcast_shapes(x.shape, n.shape)), where=n > 0)


def _variance(p: Floats, draws: Floats, left: Floats, size: Floats) -> Floats:
    """Return the variance of the count among the items left in each stratum, at a rate known from so many draws: of a finite population."""
    return np.asarray(_rates(np.maximum(left, 0.0) * size * p * (1 - p), draws))


def _quantile(mean: Floats, variance: Floats, room: Floats, tail: float) -> Floats:
    """Return the quantile of a beta variable from 0 to `room` with this mean and variance: (...,), 0 without room."""
    from scipy.special import betaincinv

    with np.errstate(divide="ignore", invalid="ignore"):
        middle, spread = mean / room, variance / room**2
        strength = middle * (1 - middle) / spread - 1
    spread_out = (room > 0) & (spread > 0) & (strength > 0)
    sure = np.where(room > 0, middle, 0.0)
    shape = np.where(spread_out, middle * strength, 1.0), np.where(spread_out, (1 - middle) * strength, 1.0)
    return np.asarray(np.where(spread_out, betaincinv(*shape, tail), sure) * room)
