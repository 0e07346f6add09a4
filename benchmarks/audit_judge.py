"""Coverage and width of an audit with a judge and people, and the reviews that it saves.

The judge grades the first 2,000 draws of a synthetic population (all, where there are fewer), and is wrong on a fraction of the relevant
passages (misses), of the others (inventions), or of both. People review in the order of `judged_audit.people_order`. For each case: the
percentage of 95% intervals that covered the true rate, half their mean width, and the reviews that reach the half width of an audit by
people alone with 120 and 400 reviews, as a fraction of those. Then the cells that covered least, again with another seed: the lowest of
thousands is low by chance. The seeds are not those of development, and the last two populations were not used in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import arguments, report
from hnmine.review import audit_sample
from hnmine.review.audit_sample import MOST, gain
from hnmine.review.intervals import judged_interval, rate_interval
from hnmine.review.judged_audit import EXPECTED

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED, AUDITS = 16_180, 400
# The cells that covered least are measured again, with more audits.
WORST, SEED_AGAIN, AUDITS_AGAIN = 12, 14_142, 20_000
RATIO, RISK = np.array([5_000, 4_000, 4_000, 3_000, 2_000, 1_600, 400]), np.array([10_000, 6_000, 3_000, 800, 200])
# Sizes of the bands, their relative rates, and the rates expected when the sample is drawn.
POPULATIONS: dict[str, tuple[Ints, Floats, tuple[float, ...]]] = {
    "ratio, 20,000": (RATIO, np.array([0.2, 0.3, 1, 2, 4, 4, 4]), audit_sample.EXPECTED_BY_RATIO),
    "uninformative, 20,000": (RATIO, np.ones(7), audit_sample.EXPECTED_BY_RATIO),
    "one band, 50,000": (np.array([50_000]), np.ones(1), (0.02,)),
    "one band, 2,000": (np.array([2_000]), np.ones(1), (0.02,)),
    "risk, 500": (RISK // 40, np.array([0.05, 0.3, 2, 8, 20]), audit_sample.EXPECTED_BY_RISK),
    "one band, 5,000": (np.array([5_000]), np.ones(1), (0.02,)),
    "reversed, 9,000": (np.array([4_500, 2_500, 1_500, 500]), np.array([1.5, 1, 0.3, 0.1]), (0.002, 0.01, 0.03, 0.05)),
}
RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
WRONG = (0.05, 0.1, 0.15, 0.2, 0.25)
DIRECTIONS = {"both": (1, 1), "misses": (1, 0), "inventions": (0, 1)}
ALONE = (120, 400)
REVIEWS = (30, 40, 60, 80, 120, 160, 200, 300, 400, 500)


def world(sizes: Ints, profile: Floats, rate: float, misses: float, inventions: float) -> Ints:
    """Return the numbers of negatives by band, truth and label: (h, 2, 2)."""
    false = np.round(np.minimum(rate * profile / np.average(profile, weights=sizes), 1) * sizes).astype(np.int64)
    missed, invented = np.round(false * misses).astype(np.int64), np.round((sizes - false) * inventions).astype(np.int64)
    return np.array([[sizes - false - invented, invented], [missed, false - missed]]).transpose(2, 0, 1)


def parts(judged: Ints, sizes: Ints, wanted: Sequence[int]) -> dict[int, Ints]:
    """Return the draws of each cell that people review, for each number wanted: `judged_audit.people_order` for many audits at once."""
    rows = np.arange(len(judged))
    flat = judged.reshape(len(judged), -1)
    weights = (sizes[:, None] / sizes.sum() * judged / judged.sum(axis=-1, keepdims=True)).reshape(flat.shape)
    expected, taken, found = np.tile(EXPECTED[:2], len(sizes)), np.zeros_like(flat), {}
    for reviews in range(1, max(wanted) + 1):
        worth = np.where(taken > 0, gain(weights, expected, taken), 1 + weights)
        best = np.where(taken < flat, worth, -1.0).argmax(axis=1)
        taken[rows, best] += taken[rows, best] < flat[rows, best]
        if reviews in wanted:
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


def judged_audits(
    name: str, rate: float, misses: float, inventions: float, wanted: Sequence[int], audits: int, rng: np.random.Generator
) -> tuple[float, dict[int, float], dict[int, float]]:
    """Return the true rate, and by number of reviews the percentage of intervals that covered it and half their mean width."""
    sizes, profile, _ = POPULATIONS[name]
    drawn = np.bincount(order_of(name), minlength=len(sizes))
    counts = world(sizes, profile, rate, misses, inventions)
    truth = counts[:, 1].sum() / sizes.sum()
    first = np.stack(
        [
            rng.multivariate_hypergeometric(own.ravel(), n, audits, method="marginals").reshape(-1, 2, 2)
            for own, n in zip(counts, drawn, strict=True)
        ],
        axis=1,
    )
    judged, covered, halves = first.sum(axis=2), {}, {}
    for reviews, part in parts(judged, sizes, wanted).items():
        false = rng.hypergeometric(first[:, :, 1], first[:, :, 0], part)
        found, low, high = judged_interval(false, part, judged, sizes)
        known = ~np.isnan(found)
        covered[reviews] = 100 * float(((low <= truth + 1e-9) & (truth <= high + 1e-9))[known].mean())
        halves[reviews] = float((high - low)[known].mean() / 2)
    return truth, covered, halves


def order_of(name: str) -> Ints:
    """Return the band of each draw of a population."""
    sizes, _, expected = POPULATIONS[name]
    return np.array(audit_sample._band_order(sizes, np.array(expected)))[:MOST]


def simulated(audits: int) -> list[dict[str, Any]]:
    """Return a line for each population, direction, error of the judge and true rate."""
    rows = []
    for name, (sizes, profile, _) in POPULATIONS.items():
        for place, rate in enumerate(RATES):
            rng = np.random.default_rng([SEED, place])
            by_people = alone(sizes, world(sizes, profile, rate, 0, 0), order_of(name), audits, rng)
            for direction, (misses, inventions) in DIRECTIONS.items():
                for wrong in WRONG:
                    truth, covered, halves = judged_audits(name, rate, wrong * misses, wrong * inventions, REVIEWS, audits, rng)
                    row: dict[str, Any] = {"population": name, "direction": direction, "wrong %": 100 * wrong, "rate": rate}
                    row["true %"] = 100 * truth
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


def again(rows: list[dict[str, Any]], audits: int) -> list[dict[str, Any]]:
    """Return a line for each of the cells that covered least, with a seed of its own."""
    cells = sorted((row[f"covered %, {reviews}"], place, reviews) for place, row in enumerate(rows) for reviews in REVIEWS)
    lines = []
    for covered, place, reviews in cells[:WORST]:
        row, rng = rows[place], np.random.default_rng([SEED_AGAIN, place, reviews])
        misses, inventions = (row["wrong %"] / 100 * each for each in DIRECTIONS[row["direction"]])
        _, more, _ = judged_audits(row["population"], row["rate"], misses, inventions, [reviews], audits, rng)
        line = {name: row[name] for name in ("population", "direction", "wrong %", "true %")}
        lines.append(line | {"reviews": reviews, "covered %": covered, "covered %, again": more[reviews]})
    return lines


def main() -> None:
    """Simulate and report."""
    given = arguments(__doc__)
    audits = 50 if given.quick else AUDITS
    rows = simulated(audits)
    report("audit-judge", rows, {"audits of each line": audits, "draws judged": MOST, "± is half the mean width, in %": ""})
    more = 500 if given.quick else AUDITS_AGAIN
    report("audit-judge-again", again(rows, more), {"audits of each line": more})


if __name__ == "__main__":
    main()
