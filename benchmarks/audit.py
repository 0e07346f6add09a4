"""Coverage and width of an audit's 95% interval for the false-negative rate.

First on synthetic populations with bands of different risk, at true rates from 0.3 to 10%; draws are allotted as in
`review.audit_sample`, beside other intervals and allotments. "Binomial" is Clopper and Pearson's interval for a simple random
sample. Then whole audits of real selections, where the relevance judgements (qrels) of a set are the reviewer: a mined
negative that is a hidden relevant passage is false. Each audit has its own seed, uses the app's code, and is evaluated after
60, 120, 250 and 400 reviews. Last, the time to draw a sample and to compute the Quality screen's diagnostics at 100,000 queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.judged import made_up
from benchmarks.measure import DATA, OUT, arguments, best, report
from benchmarks.select import world
from benchmarks.turns import Turn, opened, turns_of
from hnmine.analysis import diagnostics
from hnmine.retrieval.signals import positive_similarity
from hnmine.review import audit_sample
from hnmine.review.audit import counts
from hnmine.review.audit_sample import AuditSettings, draw, fingerprint, pairs_in
from hnmine.review.intervals import rate_interval
from hnmine.review.queue import STATES
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.select import Selection, SelectionSettings, select

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Interval = tuple[Floats, Floats]

SETS = ("cranfield", "npl", "medquad-liveqa")
AUDITS = 500
REVIEWS = (60, 120, 250, 400)
RATES = (0.003, 0.01, 0.03, 0.1)
RATIO, RISK = np.array([5_000, 4_000, 4_000, 3_000, 2_000, 1_600, 400]), np.array([10_000, 6_000, 3_000, 800, 200])
# Sizes of the bands, their relative rates, and the rates expected when draws are allotted.
POPULATIONS: dict[str, tuple[Ints, Floats, tuple[float, ...]]] = {
    "ratio to the positive": (RATIO, np.array([0.2, 0.3, 1, 2, 4, 4, 4]), audit_sample.EXPECTED_BY_RATIO),
    "ratio, uninformative": (RATIO, np.ones(7), audit_sample.EXPECTED_BY_RATIO),
    "risk": (RISK, np.array([0.05, 0.3, 2, 8, 20]), audit_sample.EXPECTED_BY_RISK),
    "risk, uninformative": (RISK, np.ones(5), audit_sample.EXPECTED_BY_RISK),
    "risk, 600 negatives": (RISK * 3 // 100, np.array([0.05, 0.3, 2, 8, 20]), audit_sample.EXPECTED_BY_RISK),
}
SELECTIONS = {
    "balanced": with_preset(RECOMMENDED, SelectionSettings()),
    "as it comes": SelectionSettings(),
    "hardest from 10": SelectionSettings(strategy="hardest"),
    "hardest from 0, PercPos 0.95": SelectionSettings(window_start=0, strategy="hardest", max_positive_ratio=0.95),
}


def ours(found: Ints, reviewed: Ints, sizes: Ints) -> Interval:
    """Return hnmine's intervals: (s,) from (s, h) found."""
    return rate_interval(found, reviewed, sizes)[1:]


def wilson(found: Ints, reviewed: Ints, sizes: Ints) -> Interval:
    """Return Wilson's interval with the effective sample size, or that of the weights if nothing was found."""
    parts, p = sizes / sizes.sum(), found / reviewed
    rate = p @ parts
    variance = (parts**2 * (1 - reviewed / sizes) * p * (1 - p) / np.maximum(reviewed - 1, 1)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(variance > 0, rate * (1 - rate) / variance, 1 / (parts**2 / reviewed).sum())
    n, z = np.minimum(effective, 3 * reviewed.sum()), 1.96
    middle, half = (rate + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def wald(found: Ints, reviewed: Ints, sizes: Ints) -> Interval:
    """Return the Wald interval, 1.96 standard errors on either side."""
    parts, p = sizes / sizes.sum(), found / reviewed
    half = 1.96 * np.sqrt((parts**2 * (1 - reviewed / sizes) * p * (1 - p) / reviewed).sum(axis=1))
    return p @ parts - half, p @ parts + half


def jeffreys(found: Ints, reviewed: Ints, sizes: Ints) -> Interval:
    """Return quantiles of the weighted sum of Jeffreys' posteriors, by 2,000 draws of a fixed seed."""
    rng = np.random.default_rng(0)
    sums = rng.beta(found[:, None] + 0.5, (reviewed - found)[:, None] + 0.5, (len(found), 2_000, len(sizes))) @ (sizes / sizes.sum())
    return np.quantile(sums, 0.025, axis=1), np.quantile(sums, 0.975, axis=1)


def coverage(
    interval: Callable[[Ints, Ints, Ints], Interval], found: Ints, reviewed: Ints, sizes: Ints, truth: float
) -> tuple[float, float]:
    """Return the percentage of audits whose interval covers the true rate, and half the mean width in percentage points."""
    different, back = np.unique(found, axis=0, return_inverse=True)
    low, high = (each[back.ravel()] for each in interval(different, reviewed, sizes))
    covers = (low <= truth + 1e-9) & (truth <= high + 1e-9)
    return 100 * float(covers.mean()), 50 * float((high - low).mean())


def proportional(sizes: Ints, total: int) -> Ints:
    """Allot draws by the sizes of the bands, at least one to each."""
    return np.minimum(np.maximum(1, np.round(total * sizes / sizes.sum())), sizes).astype(np.int64)


def neyman(sizes: Ints, expected: Floats, total: int) -> Ints:
    """Allot draws by Neyman's rule for the expected rates, at least five to each."""
    weights = sizes * np.sqrt(expected)
    return np.minimum(np.maximum(audit_sample.FLOOR, np.round(total * weights / weights.sum())), sizes).astype(np.int64)


def simulated(audits: int) -> list[dict[str, Any]]:
    """Return a line for each synthetic population, true rate and number of reviews."""
    rows = []
    for name, (sizes, profile, expected) in POPULATIONS.items():
        turns = np.array(audit_sample._band_order(sizes, np.array(expected)))
        for rate in RATES:
            false = np.round(np.minimum(rate * profile / np.average(profile, weights=sizes), 1) * sizes).astype(np.int64)
            truth = false.sum() / sizes.sum()
            for reviews in REVIEWS:
                rng = np.random.default_rng(reviews)

                def drawn(taken: Ints, false: Ints = false, sizes: Ints = sizes, rng: np.random.Generator = rng) -> Ints:
                    each = [rng.hypergeometric(k, size - k, n, audits) for k, size, n in zip(false, sizes, taken, strict=True)]
                    return np.stack(each, axis=1)

                taken = np.bincount(turns[:reviews], minlength=len(sizes))
                found = drawn(taken)
                row: dict[str, Any] = {"bands by": name, "true %": 100 * truth, "reviews": reviews}
                row["covered %"], row["±"] = coverage(ours, found, taken, sizes, truth)
                for label, interval in (("Wilson", wilson), ("Jeffreys", jeffreys), ("textbook", wald)):
                    row[f"{label}: covered %"], row[f"{label}: ±"] = coverage(interval, found, taken, sizes, truth)
                whole, alike = np.array([sizes.sum()]), rng.hypergeometric(false.sum(), (sizes - false).sum(), reviews, (audits, 1))
                row["binomial: ±"] = coverage(ours, alike, np.array([reviews]), whole, truth)[1]
                for label, other in (
                    ("in proportion", proportional(sizes, reviews)),
                    ("Neyman", neyman(sizes, np.array(expected), reviews)),
                ):
                    row[f"{label}: ±"] = coverage(ours, drawn(other), other, sizes, truth)[1]
                rows.append(row)
    return rows


def audited(turn: Turn, selection: Selection, by: str, audits: int) -> list[dict[str, Any]]:
    """Return a line for each number of reviews: whole audits of one selection, with the qrels as the reviewer."""
    corpus, false = turn.corpus, turn.false(selection)
    wrong = np.sort((np.arange(len(false))[:, None] * len(corpus.passages) + selection.negatives)[false])
    truth = float(false.sum() / (selection.negatives >= 0).sum())  # a row for each query
    risks = risk(turn, selection) if by == "risk" else None
    found: dict[int, list[tuple[Ints, Ints]]] = {reviews: [] for reviews in REVIEWS}
    for seed in range(audits):
        sample = draw(corpus, turn.ranking, selection, AuditSettings(size=max(REVIEWS), seed=seed, by=by), risk=risks)  # type: ignore[arg-type]
        queries, passages = pairs_in(sample, corpus)
        drop = np.isin(queries.astype(np.int64) * len(corpus.passages) + passages, wrong)
        states = np.where(drop, STATES.index("relevant"), STATES.index("negative"))
        for reviews in REVIEWS:
            part = sample.of_size(reviews)
            found[reviews].append(counts(part, states[:reviews]))
    sizes = np.array([band.negatives for band in sample.bands])
    rows = []
    for reviews, each in found.items():
        reviewed, dropped = each[0][0], np.array([one[1] for one in each])
        covered, half = coverage(ours, dropped, reviewed, sizes, truth)
        rates = (dropped / reviewed) @ (sizes / sizes.sum())
        rows.append(
            {"reviews": reviews, "true %": 100 * truth, "mean estimate %": 100 * float(rates.mean()), "covered %": covered, "±": half}
        )
    return rows


def risk(turn: Turn, selection: Selection) -> Floats:
    """Return (q, N) the similarity to the query plus that to the positive: a measure of risk without labels."""
    rows, places = np.nonzero(selection.negatives >= 0)
    risk = np.full(selection.negatives.shape, np.nan)
    passages = selection.negatives[rows, places]
    risk[rows, places] = selection.scores[rows, places] + positive_similarity(turn.corpus, turn.ranking, rows.astype(np.int32), passages)
    return risk


def speed(queries: int) -> list[dict[str, Any]]:
    """Return how long each step takes in a run of so many queries x 200 candidates x 15 negatives."""
    corpus, ranking = world(queries, 200)
    lengths = np.random.default_rng(0).integers(40, 900, len(corpus.passages))
    corpus = replace(corpus, passages=["x" * length for length in lengths.tolist()])
    selection = select(corpus, ranking, SelectionSettings(window_end=200))
    steps: dict[str, Callable[[], Any]] = {
        "draw a sample": lambda: draw(corpus, ranking, selection, AuditSettings()),
        "fingerprint": lambda: fingerprint(corpus, selection.negatives),
        "positives": lambda: diagnostics.positives(corpus, ranking, selection),
        "hubs": lambda: diagnostics.hubs(corpus, selection),
        "lengths": lambda: diagnostics.lengths(corpus, ranking, selection),
        "separation": lambda: diagnostics.separation(corpus, ranking, selection),
    }
    return [{"step": name, "queries": queries, "ms": 1000 * best(work)} for name, work in steps.items()]


def main() -> None:
    """Simulate, audit every set, and measure the time."""
    given = arguments(__doc__, data=DATA, sets=",".join(SETS), store=OUT / "vectors")
    audits = 20 if given.quick else AUDITS
    report("audit", simulated(audits), {"audits of each line": audits, "± is half the mean width, in %": ""})
    sets, encoder, store = opened(given, [made_up()])
    rows = []
    for judged in sets:
        turn = turns_of(judged, encoder, store)[0]
        for name, settings in SELECTIONS.items():
            selection = select(turn.corpus, turn.ranking, settings)
            for by in ("ratio", "risk"):
                rows += [{"set": judged.name, "selection": name, "bands by": by} | row for row in audited(turn, selection, by, audits)]
    report("audit-judged", rows, {"audits of each line": audits})
    report("audit-speed", speed(1_000 if given.quick else 100_000))


if __name__ == "__main__":
    main()
