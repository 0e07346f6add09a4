"""The audit with a judge and people: the judge grades the sample, people review a random part of it, and their verdicts correct the judge.

The draws of each band fall into cells by the judge's label: relevant, not relevant, no grade. Within a cell, people review in the order
of the draws, which is random. As in `audit`, a verdict counts only if all draws before it in its cell have one. So verdicts of an audit
without a judge go on counting, and a judge that is often wrong makes the interval wider, not the estimate wrong. The rate of the judge
alone is never part of it. Estimator and interval: `intervals.judged_interval`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES
from hnmine.review.audit import FEWEST, Estimate, Rate, counted, tabulated
from hnmine.review.audit_sample import MOST, Sample, gain
from hnmine.review.intervals import judged_interval

__all__ = [
    "FEWEST_JUDGED",
    "LABELS",
    "Cell",
    "JudgedEstimate",
    "judged_estimate",
    "judged_size",
    "more_judged_reviews",
    "people_order",
    "to_judge",
]

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Grades = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
States = npt.NDArray[np.integer[Any]]

# What a judge says of a draw.
LABELS = ("not relevant", "relevant", "no grade")
# The rates expected with each label. They decide whom people review next, never the estimate.
EXPECTED = (0.02, 0.2, 0.03)
# A judge takes part from this number of judged draws on.
FEWEST_JUDGED = FEWEST
# The sample goes on past a draw without a judgement if more than this number of judged ones follow; it has no grade then.
WORTH = 10
# Draws to judge: at least so many, or so many for each that people review. Judging is cheap, and more draws narrow the first phase.
JUDGED, JUDGED_EACH = 600, 5
# Numbers of reviews that a plan tries.
STEPS = 200

_STATES = ("unreviewed", *CHOICES)
_FALSE = [_STATES.index("relevant"), _STATES.index("positive")]
_UNSURE = _STATES.index("unsure")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """The draws of one band with one label: `judged` draws, `reviewed` of them by people, `false` of these."""

    band: int
    label: str
    judged: int
    reviewed: int
    false: int


class JudgedEstimate(Estimate, frozen=True, kw_only=True):
    """The result of a sample that a judge graded and people reviewed in part; rates are corrected by people's verdicts.

    Attributes:
        judged: draws of the sample with a usable grade.
        judge_rate: what the judge alone says, over all negatives; not an estimate of the rate. None without grades.
        agreement: the estimated fraction of all negatives on which judge and people agree; None without draws that both have judged.
        cells: the counts by band and label, those with draws.
    """

    judged: int
    judge_rate: float | None
    agreement: float | None
    cells: tuple[Cell, ...]

    def of_lowest(self, bands: int) -> Rate:
        """Return the rate over the lowest bands."""
        table: Ints = np.zeros((3, bands, len(LABELS)), dtype=np.int64)
        for cell in self.cells:
            if cell.band < bands:
                table[:, cell.band, LABELS.index(cell.label)] = cell.false, cell.reviewed, cell.judged
        return _rate(table[0], table[1], table[2], np.array([band.negatives for band in self.bands[:bands]]))


def judged_size(judged: Flags, size: int) -> int:
    """Return how many of the first draws make the sample of an audit with a judge, 0 where too few are judged.

    Args:
        judged: (n,), whether each draw of a sample has a judgement, with a grade or without.
        size: draws that people review.
    """
    gains = np.cumsum(np.where(judged, 1, -WORTH))
    part = int(gains.argmax()) + 1 if len(gains) and gains.max() > 0 else 0
    return 0 if np.count_nonzero(judged[:part]) < min(FEWEST_JUDGED, len(judged)) else max(part, min(size, len(judged)))


def to_judge(sample: Sample) -> Sample:
    """Return a sample with the draws that a judge should grade."""
    return sample.of_size(max(sample.settings.size, min(MOST, max(JUDGED, JUDGED_EACH * sample.settings.size))))


def judged_estimate(sample: Sample, states: States, grades: Grades, relevant_from: int) -> JudgedEstimate:
    """Estimate the rate of false negatives from a judge's grades and people's verdicts.

    Args:
        sample: with all draws that count as judged (`judged_size`).
        states: (n,), people's state of each draw, an index into `queue.STATES`. Verdicts that follow a judge must be 0.
        grades: (n,) float32, NaN for none.
        relevant_from: the lowest grade that counts as relevant.

    Raises:
        SettingsError: the numbers of states, grades and draws differ.
    """
    cells = _cells(sample, grades, relevant_from, states)
    known = counted(cells, states)
    false, reviewed, judged = _counts(sample, cells, known, states)
    sizes = np.array([band.negatives for band in sample.bands], dtype=np.int64)
    empty = int(np.count_nonzero((judged > 0) & (reviewed == 0)) + np.count_nonzero((judged.sum(axis=1) == 0) & (sizes > 0)))
    found = tabulated(
        sample,
        states,
        known,
        reviewed.sum(axis=1),
        false.sum(axis=1),
        empty,
        lambda part: _rate(false[part], reviewed[part], judged[part], sizes[part]),
    )
    return JudgedEstimate(
        **msgspec.structs.asdict(found),
        judged=int(np.count_nonzero(~np.isnan(grades))),
        judge_rate=_judge_rate(judged, sizes),
        agreement=_agreement(false, reviewed, judged, sizes),
        cells=tuple(
            Cell(
                band=place,
                label=LABELS[label],
                judged=int(judged[place, label]),
                reviewed=int(reviewed[place, label]),
                false=int(false[place, label]),
            )
            for place in range(len(sizes))
            for label in range(len(LABELS))
            if judged[place, label]
        ),
    )


def people_order(sample: Sample, states: States, grades: Grades, relevant_from: int, most: int = MOST) -> Ints:
    """Return which draws people review next: (k,) int64 indices of draws without a verdict, at most `most`.

    First one of each cell without a review, the heaviest first; then the cell where one more narrows the interval most, by EXPECTED. The
    order depends on which draws are reviewed and on the grades, never on a verdict, and the first of it are the same after a part of them
    was reviewed. Arguments as for `judged_estimate`.
    """
    cells = _cells(sample, grades, relevant_from, states)
    table = _counts(sample, cells, counted(cells, states), states)
    taken, judged = table[1].ravel(), table[2].ravel()
    own = [np.flatnonzero(cells == cell) for cell in range(len(taken))]
    open_draws = [iter(draws[np.asarray(states)[draws] == 0].tolist()) for draws in own]
    left = np.array([np.count_nonzero(np.asarray(states)[draws] == 0) for draws in own])
    weights = _weights(judged.reshape(len(sample.bands), -1), sample).ravel()
    expected = np.tile(EXPECTED, len(sample.bands))
    order: list[int] = []
    while len(order) < most and left.any():
        worth = np.where(taken > 0, gain(weights, expected, taken), 1.0 + weights)
        cell = int(np.where(left > 0, worth, -1.0).argmax())
        order.append(next(open_draws[cell]))
        taken[cell] += 1
        left[cell] -= 1
    return np.array(order, dtype=np.int64)


def more_judged_reviews(sample: Sample, states: States, grades: Grades, relevant_from: int, half_width: float) -> int | None:
    """Return the expected number of further reviews, in the order of `people_order`, for an interval of plus or minus `half_width`.

    As `audit_plan.more_reviews`: at the rates found so far, each shrunk a little towards that of its label (EXPECTED before any review).
    None if all judged draws are too few. Arguments as for `judged_estimate`.

    Raises:
        SettingsError: `half_width` is not above 0.
    """
    if not half_width > 0:
        raise SettingsError(f"half_width is {half_width!r}; it must be above 0, such as 0.01")
    cells = _cells(sample, grades, relevant_from, states)
    false, reviewed, judged = _counts(sample, cells, counted(cells, states), states)
    part = _weights(judged, sample)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.where(reviewed > 0, part, 0.0)
        of_label = (seen * false / np.maximum(reviewed, 1)).sum(axis=0) / seen.sum(axis=0)
    rates = (false + np.where(np.isnan(of_label), EXPECTED, of_label)) / (reviewed + 1)
    order = people_order(sample, states, grades, relevant_from, len(states))
    each = np.zeros((len(order) + 1, reviewed.size), dtype=np.int64)
    each[np.arange(1, len(each)), cells[order]] = 1
    tried = np.unique(np.linspace(0, len(order), STEPS + 1).round().astype(np.int64))
    planned = np.minimum(reviewed + each.cumsum(axis=0)[tried].reshape(len(tried), *reviewed.shape), judged)
    _, low, high = judged_interval(
        false + rates * (planned - reviewed), planned, judged, np.array([band.negatives for band in sample.bands])
    )
    with np.errstate(invalid="ignore"):
        enough = np.flatnonzero((high - low) / 2 <= half_width)  # NaN is not enough
    return int(tried[enough[0]]) if len(enough) else None


def _cells(sample: Sample, grades: Grades, relevant_from: int, states: States) -> Ints:
    """Return the cell of each draw, band by band and in each by LABELS."""
    bands = np.array([each.band for each in sample.reviewed_draws], dtype=np.int64)
    if not len(bands) == len(grades) == len(states):
        raise SettingsError(
            f"there are {len(states):,} states and {len(grades):,} grades for a sample of {len(bands):,} draws; give one for each draw"
        )
    label = np.where(np.isnan(grades), LABELS.index("no grade"), grades >= relevant_from)
    return bands * len(LABELS) + label.astype(np.int64)


def _counts(sample: Sample, cells: Ints, known: Flags, states: States) -> tuple[Ints, Ints, Ints]:
    """Return false, reviewed and judged draws of each band and label: (h, l) each.

    Unsure draws stay in their cell, without a review. Where all draws of a band or a cell are done, they are left out of it.
    """
    shape = len(sample.bands), len(LABELS)

    def table(where: Flags) -> Ints:
        return np.bincount(cells[where], minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)

    decided = known & (states != _UNSURE)
    reviewed, judged, done = table(decided), table(np.ones(len(cells), dtype=bool)), table(known)
    whole = done.sum(axis=1, keepdims=True) == judged.sum(axis=1, keepdims=True)
    judged = np.where(whole | ((done == judged) & (reviewed == 0)), reviewed, judged)
    return table(decided & np.isin(states, _FALSE)), reviewed, judged


def _weights(judged: Ints, sample: Sample) -> Floats:
    """Return the fraction of the negatives that each cell stands for: (h, l)."""
    sizes = np.array([band.negatives for band in sample.bands], dtype=np.float64)[:, None]
    return np.asarray(sizes / sizes.sum() * judged / np.maximum(judged.sum(axis=1, keepdims=True), 1))


def _rate(false: Ints, reviewed: Ints, judged: Ints, sizes: Ints) -> Rate:
    rate, low, high = judged_interval(false, reviewed, judged, sizes)
    return Rate(rate=float(rate), low=float(low), high=float(high))


def _judge_rate(judged: Ints, sizes: Ints) -> float | None:
    graded = judged[:, :2].sum(axis=1)
    seen = graded > 0
    return float(np.average(judged[seen, 1] / graded[seen], weights=sizes[seen])) if seen.any() else None


def _agreement(false: Ints, reviewed: Ints, judged: Ints, sizes: Ints) -> float | None:
    weights = sizes[:, None] * judged[:, :2] / np.maximum(judged.sum(axis=1, keepdims=True), 1)
    agrees = np.stack([reviewed[:, 0] - false[:, 0], false[:, 1]], axis=1)
    seen = (reviewed[:, :2] > 0) & (weights > 0)
    return float(np.average((agrees / np.maximum(reviewed[:, :2], 1))[seen], weights=weights[seen])) if seen.any() else None
