"""Coverage and width of an audit with a judge and people, and the reviews that it saves.

The judge grades the first 2,000 draws of a synthetic population (all, where there are fewer), and is wrong on a fraction of the relevant
passages (misses), of the others (inventions), or of both. People review in the order of `judged_audit.people_order`. For each case: the
percentage of 95% intervals that covered the true rate, half their mean width, and the reviews that reach the half width of an audit by
people alone with 120 and 400 reviews, as a fraction of those. The seeds are not those of development.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import arguments, report
from hnmine.review import audit_sample
from hnmine.review.audit_sample import MOST, gain
from hnmine.review.intervals import rate_interval
from hnmine.review.judged_audit import EXPECTED
from hnmine.review.judged_interval import judged_interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 31_415
AUDITS = 1_000
RATIO, RISK = np.array([5_000, 4_000, 4_000, 3_000, 2_000, 1_600, 400]), np.array([10_000, 6_000, 3_000, 800, 200])
# Sizes of the bands, their relative rates, and the rates expected when the sample is drawn.
POPULATIONS: dict[str, tuple[Ints, Floats, tuple[float, ...]]] = {
    "ratio, 20,000": (RATIO, np.array([0.2, 0.3, 1, 2, 4, 4, 4]), audit_sample.EXPECTED_BY_RATIO),
    "uninformative, 20,000": (RATIO, np.ones(7), audit_sample.EXPECTED_BY_RATIO),
    "one band, 50,000": (np.array([50_000]), np.ones(1), (0.02,)),
    "one band, 5,000": (np.array([5_000]), np.ones(1), (0.02,)),
    "one band, 2,000": (np.array([2_000]), np.ones(1), (0.02,)),
    "risk, 500": (RISK // 40, np.array([0.05, 0.3, 2, 8, 20]), audit_sample.EXPECTED_BY_RISK),
}
RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
WRONG = (0.05, 0.1, 0.15, 0.2, 0.25)
DIRECTIONS = {"both": (1, 1), "misses": (1, 0), "inventions": (0, 1)}
ALONE = (120, 400)
REVIEWS = (30, 40, 60, 80, 100, 120, 160, 200, 250, 300, 400, 500)


def world(sizes: Ints, profile: Floats, rate: float, misses: float, inventions: float) -> Ints:
    """Return the numbers of negatives by band, truth and label: (h, 2, 2)."""
    false = np.round(np.minimum(rate * profile / np.average(profile, weights=sizes), 1) * sizes).astype(np.int64)
    missed, invented = np.round(false * misses).astype(np.int64), np.round((sizes - false) * inventions).astype(np.int64)
    return np.array([[sizes - false - invented, invented], [missed, false - missed]]).transpose(2, 0, 1)


def parts(judged: Ints, sizes: Ints) -> dict[int, Ints]:
    """Return the draws of each cell that people review, for each of REVIEWS: `judged_audit.people_order` for many audits at once."""
    rows = np.arange(len(judged))
    flat = judged.reshape(len(judged), -1)
    weights = (sizes[:, None] / sizes.sum() * judged / judged.sum(axis=-1, keepdims=True)).reshape(flat.shape)
    expected, taken, found = np.tile(EXPECTED[:2], len(sizes)), np.zeros_like(flat), {}
    for reviews in range(1, max(REVIEWS) + 1):
        worth = np.where(taken > 0, gain(weights, expected, taken), 1 + weights)
        best = np.where(taken < flat, worth, -1.0).argmax(axis=1)
        taken[rows, best] += taken[rows, best] < flat[rows, best]
        if reviews in REVIEWS:
            found[reviews] = taken.reshape(judged.shape).copy()
    return found


def alone(sizes: Ints, counts: Ints, order: Ints, audits: int, rng: np.random.Generator) -> dict[int, float]:
    """Return half the mean width of audits by people alone, for each of ALONE."""
    halves = {}
    for reviews in ALONE:
        drawn = np.bincount(order[:reviews], minlength=len(sizes))
        false, others = counts[:, 1].sum(axis=-1), counts[:, 0].sum(axis=-1)
        found = rng.hypergeometric(false, others, np.broadcast_to(drawn, (audits, len(sizes))))
        _, low, high = rate_interval(found, drawn, sizes)
        halves[reviews] = float((high - low).mean() / 2)
    return halves


def needed(halves: dict[int, float], wanted: float) -> float | None:
    """Return the reviews that give a half width, interpolated; None if no number of REVIEWS does."""
    widths = [halves[reviews] for reviews in REVIEWS]
    for place, width in enumerate(widths):
        if width <= wanted:
            if place == 0:
                return float(REVIEWS[0])
            step = (widths[place - 1] - wanted) / (widths[place - 1] - width)
            return REVIEWS[place - 1] + step * (REVIEWS[place] - REVIEWS[place - 1])
    return None


def simulated(audits: int) -> list[dict[str, Any]]:
    """Return a line for each population, direction, error of the judge and true rate."""
    rows = []
    for name, (sizes, profile, expected) in POPULATIONS.items():
        order = np.array(audit_sample._band_order(sizes, np.array(expected)))[:MOST]
        drawn = np.bincount(order, minlength=len(sizes))
        for place, rate in enumerate(RATES):
            rng = np.random.default_rng([SEED, place])
            by_people = alone(sizes, world(sizes, profile, rate, 0, 0), order, audits, rng)
            for direction, (misses, inventions) in DIRECTIONS.items():
                for wrong in WRONG:
                    counts = world(sizes, profile, rate, wrong * misses, wrong * inventions)
                    truth = counts[:, 1].sum() / sizes.sum()
                    first = np.stack(
                        [
                            rng.multivariate_hypergeometric(own.ravel(), n, audits, method="marginals").reshape(-1, 2, 2)
                            for own, n in zip(counts, drawn, strict=True)
                        ],
                        axis=1,
                    )
                    judged, covered, halves = first.sum(axis=2), {}, {}
                    for reviews, part in parts(judged, sizes).items():
                        false = rng.hypergeometric(first[:, :, 1], first[:, :, 0], part)
                        found, low, high = judged_interval(false, part, judged, sizes)
                        known = ~np.isnan(found)
                        covered[reviews] = 100 * float(((low <= truth + 1e-9) & (truth <= high + 1e-9))[known].mean())
                        halves[reviews] = float((high - low)[known].mean() / 2)
                    row: dict[str, Any] = {"population": name, "direction": direction, "wrong %": 100 * wrong, "true %": 100 * truth}
                    row["lowest coverage %"] = min(covered.values())
                    row["mean coverage %"] = float(np.mean(list(covered.values())))
                    for reviews in ALONE:
                        takes = needed(halves, by_people[reviews])
                        row[f"ratio at {reviews}"] = None if takes is None else takes / reviews
                        row[f"± alone, {reviews}"] = 100 * by_people[reviews]
                    row |= {f"covered %, {reviews}": covered[reviews] for reviews in REVIEWS}
                    row |= {f"±, {reviews}": 100 * halves[reviews] for reviews in REVIEWS}
                    rows.append(row)
    return rows


def main() -> None:
    """Simulate and report."""
    given = arguments(__doc__)
    audits = 50 if given.quick else AUDITS
    report("audit-judge", simulated(audits), {"audits of each line": audits, "draws judged": MOST, "± is half the mean width, in %": ""})


if __name__ == "__main__":
    main()
