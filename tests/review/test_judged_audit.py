"""The audit with a judge and people: who is asked, what counts, the estimate against enumeration, and how often the interval covers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES
from hnmine.review.audit import FEWEST, AuditRecord, JudgeRecord, estimate, record
from hnmine.review.audit_plan import recommend
from hnmine.review.audit_sample import AuditSettings, Band, Draw, Sample
from hnmine.review.intervals import judged_interval, rate_interval
from hnmine.review.judged_audit import judged_estimate, judged_size, more_judged_reviews, people_order, to_judge
from hnmine.review.queue import STATES
from hnmine.selection.settings import SelectionSettings

NEGATIVE, RELEVANT, POSITIVE, JUNK, UNSURE = (STATES.index(name) for name in CHOICES)
States = npt.NDArray[np.int8]
NAN = float("nan")


def sample_of(sizes: list[int], bands: list[int]) -> Sample:
    """A sample of bands of these sizes, with a draw of a pair of its own for each of `bands`."""
    return Sample(
        settings=AuditSettings(size=len(bands)),
        selection=SelectionSettings(),
        fingerprint="f",
        negatives=sum(sizes),
        bands=tuple(
            Band(
                low=None if not place else place / 10,
                high=None if place + 1 == len(sizes) else (place + 1) / 10,
                negatives=size,
                similarity=0.5,
            )
            for place, size in enumerate(sizes)
        ),
        draws=tuple(Draw(f"{place:016x}", f"{place:016x}", band) for place, band in enumerate(bands)),
    )


def drawn(
    seed: int = 0, sizes: tuple[int, ...] = (400, 300, 60), n: int = 240, rate: float = 0.15, wrong: float = 0.1
) -> tuple[Sample, States, npt.NDArray[np.float32]]:
    """A sample, people's verdict on each draw, and a judge's grades."""
    rng = np.random.default_rng(seed)
    bands = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))[:n]
    false = rng.random(n) < rate
    says = false ^ (rng.random(n) < wrong)
    states = np.where(false, RELEVANT, NEGATIVE).astype(np.int8)
    return sample_of(list(sizes), bands.tolist()), states, np.where(says, 3, 0).astype(np.float32)


def limits(found: object) -> tuple[float, float, float]:
    assert found is not None
    return found.rate, found.low, found.high  # type: ignore[attr-defined]


# Tables of a few bands: sizes of the population, draws, reviewed draws and false ones, by band and label.
@st.composite
def tables(draw: st.DrawFn) -> tuple[npt.NDArray[np.int64], ...]:
    bands = draw(st.integers(1, 3))
    judged = np.array(draw(st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), min_size=bands, max_size=bands)))
    assume((judged.sum(axis=1) > 0).all())
    reviewed = np.array([[draw(st.integers(min(1, n), n)) for n in row] for row in judged.tolist()])
    false = np.array([[draw(st.integers(0, m)) for m in row] for row in reviewed.tolist()])
    sizes = judged.sum(axis=1) + np.array(draw(st.lists(st.integers(0, 500), min_size=bands, max_size=bands)))
    return false, reviewed, judged, sizes


# Estimate and interval


def test_the_estimate_is_unbiased_over_all_samples_and_all_parts() -> None:
    """One band of 7: 3 false, of which the judge misses 1; 2 of the others invented. 5 drawn, 1 of each cell reviewed."""
    false, says = [1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0]
    total, samples = Fraction(0), 0
    for first in itertools.combinations(range(7), 5):
        cells = [[unit for unit in first if says[unit] == label] for label in (0, 1)]
        parts = list(itertools.product(*cells))
        for part in parts:
            found, _, _ = judged_interval([[false[unit] for unit in part]], [[1, 1]], [[len(cell) for cell in cells]], [7])
            total += Fraction(float(found)).limit_denominator(1_000) / len(parts)
        samples += 1
    assert total / samples == Fraction(3, 7)


def test_the_interval_covers_by_enumeration() -> None:
    """A band of 60, 30 drawn at random, 15 reviewed: the exact probability of covering, over all counts that can occur."""
    for false, missed, invented in ((3, 1, 5), (12, 3, 4), (12, 0, 12), (24, 6, 0)):
        classes = [60 - false - invented, invented, missed, false - missed]  # other/other, invented, missed, found
        covered = 0.0
        for counts in itertools.product(*(range(size + 1) for size in classes)):
            if sum(counts) != 30 or not (counts[0] + counts[2]) or not (counts[1] + counts[3]):
                continue
            chance = math.prod(math.comb(size, count) for size, count in zip(classes, counts, strict=True)) / math.comb(60, 30)
            judged = [counts[0] + counts[2], counts[1] + counts[3]]
            part = [15 - min(7, judged[1]), min(7, judged[1])]
            if part[0] > judged[0] or chance < 1e-6:
                covered += chance
                continue
            grid = [(a, b) for a in range(part[0] + 1) for b in range(part[1] + 1)]
            weights = [
                math.comb(counts[2], a) * math.comb(counts[0], part[0] - a) * math.comb(counts[3], b) * math.comb(counts[1], part[1] - b)
                for a, b in grid
            ]
            _, low, high = judged_interval(np.array(grid)[:, None, :], np.array([part]), np.array([judged]), [60])
            inside = (low <= false / 60 + 1e-9) & (false / 60 <= high + 1e-9)
            covered += chance * sum(w for w, yes in zip(weights, inside, strict=True) if yes) / sum(weights)
        assert covered > 0.93, (false, missed, invented)


@given(tables())
def test_the_estimate_is_the_weighted_rate_of_the_cells_and_inside_its_interval(given: tuple[npt.NDArray[np.int64], ...]) -> None:
    false, reviewed, judged, sizes = given
    rate, low, high = map(float, judged_interval(*given))
    cells = [
        sizes[band] * judged[band, label] / judged[band].sum() * false[band, label] / reviewed[band, label]
        for band in range(len(sizes))
        for label in range(3)
        if judged[band, label]
    ]
    assert rate == pytest.approx(sum(cells) / sizes.sum())
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1
    assert low >= false.sum() / sizes.sum() - 1e-9, "what people found is there"
    assert high <= 1 - (reviewed - false).sum() / sizes.sum() + 1e-9, "and what they found to be no false negative too"


@given(tables())
def test_with_everything_reviewed_it_is_the_audit_of_people(given: tuple[npt.NDArray[np.int64], ...]) -> None:
    false, _, judged, sizes = given
    found = judged_interval(false, judged, judged, sizes)
    alone = rate_interval(false.sum(axis=1), judged.sum(axis=1), sizes)
    assert [float(each) for each in found] == pytest.approx([float(each) for each in alone], abs=0)


@given(tables(), st.integers(0, 2))
def test_a_judge_that_says_one_thing_changes_nothing(given: tuple[npt.NDArray[np.int64], ...], label: int) -> None:
    false, reviewed, judged, sizes = (each.copy() for each in given)
    for table in (false, reviewed, judged):
        table[:, [other for other in range(3) if other != label]] = 0
    assume((reviewed[:, label] > 0).all())
    found = judged_interval(false, reviewed, judged, sizes)
    alone = rate_interval(false[:, label], reviewed[:, label], sizes)
    assert [float(each) for each in found] == pytest.approx([float(each) for each in alone], abs=0)


@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_bands_and_labels_does_not_matter(given: tuple[npt.NDArray[np.int64], ...], chance: object) -> None:
    false, reviewed, judged, sizes = given
    bands, labels = list(range(len(sizes))), [0, 1, 2]
    chance.shuffle(bands), chance.shuffle(labels)  # type: ignore[attr-defined]
    other = judged_interval(*(each[bands][:, labels] for each in (false, reviewed, judged)), sizes[bands])
    assert [float(each) for each in other] == pytest.approx([float(each) for each in judged_interval(*given)], abs=1.01 / sizes.sum())


@given(tables(), st.data())
def test_one_more_false_negative_never_lowers_the_rate(given: tuple[npt.NDArray[np.int64], ...], data: st.DataObject) -> None:
    false, reviewed, _, _ = given
    room = np.argwhere(false < reviewed)
    assume(len(room))
    band, label = data.draw(st.sampled_from(room.tolist()))
    more = false.copy()
    more[band, label] += 1
    before, after = judged_interval(*given), judged_interval(more, *given[1:])
    assert all(float(b) >= float(a) - 1e-9 for a, b in zip(before[:2], after[:2], strict=True))


@pytest.mark.parametrize(
    ("rate", "misses", "inventions"), [(0.05, 0.1, 0.1), (0.02, 0.25, 0.0), (0.3, 0.0, 0.2), (0.005, 0.2, 0.2), (0.1, 0.5, 0.5)]
)
def test_the_interval_covers_in_simulated_audits(rate: float, misses: float, inventions: float) -> None:
    sizes, audits = np.array([8_000, 6_000, 2_000]), 400
    rng = np.random.default_rng(11)
    false = np.round(rate * sizes * np.array([0.5, 1, 3]) / 1.0625).astype(np.int64)
    missed, invented = np.round(misses * false).astype(np.int64), np.round(inventions * (sizes - false)).astype(np.int64)
    classes = np.stack([sizes - false - invented, invented, missed, false - missed], axis=1)
    first = np.stack([rng.multivariate_hypergeometric(own, 300, audits, method="marginals") for own in classes], axis=1).reshape(
        audits, 3, 2, 2
    )
    judged = first.sum(axis=2)
    part = np.minimum(judged, np.array([12, 8]))
    found = rng.hypergeometric(first[:, :, 1], first[:, :, 0], part)
    _, low, high = judged_interval(found, part, judged, sizes)
    truth = false.sum() / sizes.sum()
    assert np.mean((low <= truth) & (truth <= high)) >= 0.93


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_a_good_judge_halves_the_reviews(rate: float) -> None:
    """With a judge that is wrong on 10% either way, 200 of 2,000 judged draws give what 400 reviews by people alone give."""
    false, judged = rate * np.array([0.1, 0.9]), np.array([0.9 - 0.8 * rate, 0.1 + 0.8 * rate])
    part = np.array([[130, 70]])
    found = judged_interval(part * false / judged, part, 2_000 * judged[None], [50_000])
    alone = rate_interval([400 * rate], [400], [50_000])
    assert found[2] - found[1] < alone[2] - alone[1]


# What counts


def test_with_all_draws_reviewed_the_estimate_is_that_of_the_audit() -> None:
    sample, states, grades = drawn()
    states[[3, 9, 40]] = UNSURE, JUNK, UNSURE
    both, alone = judged_estimate(sample, states, grades, 2), estimate(sample, states)
    assert both.rate == alone.rate
    assert both.left == alone.left
    assert [band.rate for band in both.bands] == [band.rate for band in alone.bands]
    assert (both.reviewed, both.false, both.junk, both.unsure) == (alone.reviewed, alone.false, alone.junk, alone.unsure)


def test_a_verdict_counts_only_after_all_before_it_in_its_cell() -> None:
    sample = sample_of([100], [0] * 40)
    grades = np.array([3, 0] * 20, dtype=np.float32)
    states = np.full(40, NEGATIVE, dtype=np.int8)
    states[2] = 0  # the second of the relevant ones
    found = judged_estimate(sample, states, grades, 2)
    assert {cell.label: cell.reviewed for cell in found.cells} == {"not relevant": 20, "relevant": 1}
    assert found.waiting == 18
    assert found.open == 1


def test_earlier_reviews_of_people_go_on_counting_when_a_judge_comes() -> None:
    sample, states, grades = drawn()
    states[120:] = 0
    assert judged_estimate(sample, states, grades, 2).reviewed == 120 == estimate(sample, states).reviewed
    assert judged_estimate(sample, states, grades, 2).waiting == 0


def test_draws_without_a_grade_are_a_label_of_their_own() -> None:
    sample, states, grades = drawn()
    grades[::4] = NAN
    found = judged_estimate(sample, states, grades, 2)
    assert {cell.label for cell in found.cells} == {"relevant", "not relevant", "no grade"}
    assert found.judged == 180
    states[np.flatnonzero(np.isnan(grades))] = 0
    missing = judged_estimate(sample, states, grades, 2)
    assert missing.rate is None
    assert missing.missing == 3, "one in each band"


def test_what_the_judge_says_is_never_the_rate() -> None:
    sample, _, grades = drawn(rate=0.0, wrong=0.25)
    found = judged_estimate(sample, np.full(240, NEGATIVE, dtype=np.int8), grades, 2)
    assert found.rate is not None
    assert found.rate.rate == 0
    assert found.judge_rate is not None
    assert found.agreement is not None
    assert 0.15 < found.judge_rate < 0.35
    assert found.agreement == pytest.approx(1 - found.judge_rate)
    stricter = judged_estimate(sample, np.full(240, NEGATIVE, dtype=np.int8), np.minimum(grades, 1), 2)
    assert stricter.judge_rate == 0
    assert judged_estimate(sample, np.zeros(240, dtype=np.int8), np.full(240, NAN, dtype=np.float32), 2).judge_rate is None


def test_agreement_is_over_all_negatives_though_people_review_more_of_the_relevant() -> None:
    """The judge is right on all that it calls not relevant, and on half of the others, a tenth of the draws."""
    sample = sample_of([1_000], [0] * 200)
    grades = np.where(np.arange(200) % 10 == 0, 3, 0).astype(np.float32)
    states = np.zeros(200, dtype=np.int8)
    relevant = np.flatnonzero(grades == 3)
    states[relevant[::2]], states[relevant[1::2]], states[np.flatnonzero(grades == 0)[:20]] = RELEVANT, JUNK, NEGATIVE
    found = judged_estimate(sample, states, grades, 2)
    assert found.agreement == pytest.approx(0.95)
    assert found.rate is not None
    assert found.rate.rate == pytest.approx(0.05)


def test_below_the_minimum_there_is_no_rate() -> None:
    sample, states, grades = drawn()
    states[FEWEST - 2 :] = 0
    found = judged_estimate(sample, states, grades, 2)
    assert found.rate is None
    assert found.missing >= 2
    with pytest.raises(SettingsError, match="239 grades"):
        judged_estimate(sample, states, grades[1:], 2)


# Who is asked


def test_people_are_asked_one_of_each_cell_then_where_it_helps_most_in_the_order_of_the_draws() -> None:
    sample, _, grades = drawn()
    grades[::7] = NAN
    order = people_order(sample, np.zeros(240, dtype=np.int8), grades, 2)
    assert sorted(order.tolist()) == list(range(240))
    label = np.where(np.isnan(grades), 2, grades >= 2).astype(int)
    cells = [(sample.draws[draw].band, label[draw]) for draw in order.tolist()]
    assert len(set(cells[: len(set(cells))])) == len(set(cells)), "first one of each"
    for cell in set(cells):
        own = [draw for draw, each in zip(order.tolist(), cells, strict=True) if each == cell]
        assert own == sorted(own)
    first = [each[1] for each in cells[:60]]
    assert first.count(1) / 60 > 1.3 * np.mean(label == 1), "more of those that the judge found relevant"


@given(st.integers(0, 5), st.sets(st.integers(0, 39)))
def test_the_part_stays_the_same_while_it_is_reviewed(seed: int, done: set[int]) -> None:
    sample, states, grades = drawn(seed)
    open_states = np.zeros(240, dtype=np.int8)
    part = people_order(sample, open_states, grades, 2, 40).tolist()
    # In each cell those that come first.
    label = {draw: (sample.draws[draw].band, bool(grades[draw] >= 2)) for draw in part}
    reviewed = [part[place] for place in done]
    reviewed = [draw for draw in part if any(label[draw] == label[other] and draw <= other for other in reviewed)]
    for verdicts in (states, np.full(240, JUNK, dtype=np.int8)):
        now = open_states.copy()
        now[reviewed] = verdicts[reviewed]
        rest = people_order(sample, now, grades, 2, 40 - len(reviewed)).tolist()
        assert sorted(reviewed + rest) == sorted(part)


def test_following_the_order_never_leaves_a_verdict_waiting() -> None:
    sample, states, grades = drawn()
    for count in (1, 10, 60, 200):
        now = np.zeros(240, dtype=np.int8)
        part = people_order(sample, now, grades, 2, count)
        now[part] = states[part]
        found = judged_estimate(sample, now, grades, 2)
        assert (found.reviewed, found.waiting) == (count, 0)


def test_the_plan_reaches_its_margin() -> None:
    sample, states, grades = drawn(n=700)
    now = np.zeros(700, dtype=np.int8)
    part = people_order(sample, now, grades, 2, 60)
    now[part] = states[part]
    more = more_judged_reviews(sample, now, grades, 2, 0.04)
    assert more is not None
    part = people_order(sample, now, grades, 2, more)
    now[part] = states[part]
    found = judged_estimate(sample, now, grades, 2).rate
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(0.04, rel=0.25)
    assert more_judged_reviews(sample, now, grades, 2, 0.5) == 0
    assert more_judged_reviews(*(drawn(n=60)[:1]), np.zeros(60, dtype=np.int8), drawn(n=60)[2], 2, 0.001) is None
    with pytest.raises(SettingsError, match="half_width is 0"):
        more_judged_reviews(sample, now, grades, 2, 0)


@pytest.mark.parametrize(
    ("judged", "size", "expected"),
    [
        ([True] * 300 + [False] * 700, 120, 300),
        ([True] * 200 + [False] * 5 + [True] * 100 + [False] * 690, 120, 305),
        ([True] * 200 + [False] * 20 + [True] * 100 + [False] * 680, 120, 200),
        ([True] * 200 + ([False] * 12 + [True]) * 3, 120, 200),  # drawn once more for another row
        ([True] * 100 + [False] * 100 + [True] * 100, 120, 120),
        ([True] * 50 + [False] * 950, 120, 120),
        ([True] * 20 + [False] * 980, 120, 0),
        ([True, False, False] * 300, 120, 0),
        ([True] * 20, 20, 20),
        ([False] * 100, 50, 0),
    ],
)
def test_the_judged_draws_are_the_first_that_are_mostly_judged(judged: list[bool], size: int, expected: int) -> None:
    assert judged_size(np.array(judged), size) == expected


def test_the_judge_is_asked_about_more_than_people() -> None:
    sample = sample_of([3_000], [0] * 2_000)
    assert len(to_judge(sample.of_size(20)).reviewed_draws) == 600
    assert len(to_judge(sample.of_size(150)).reviewed_draws) == 750
    assert len(to_judge(sample).reviewed_draws) == 2_000
    assert len(to_judge(sample_of([50], [0] * 50)).reviewed_draws) == 50


# What follows from it


def test_the_rate_of_the_lowest_bands_is_of_their_cells() -> None:
    sample, states, grades = drawn(rate=0.2)
    part = people_order(sample, np.zeros(240, dtype=np.int8), grades, 2, 150)
    now = np.zeros(240, dtype=np.int8)
    now[part] = states[part]
    found = judged_estimate(sample, now, grades, 2)
    assert limits(found.of_lowest(3)) == pytest.approx(limits(found.rate))
    assert limits(found.of_lowest(1)) == pytest.approx(limits(found.bands[0].rate))
    assert recommend(found, 0.5) == "unneeded"


def test_the_manifest_names_the_judge() -> None:
    sample, states, grades = drawn()
    found = judged_estimate(sample, states, grades, 2)
    judge = JudgeRecord(judges=(("m", "umbrela-1"),), relevant_from=2, judged=240, people=240, rate=0.2, agreement=0.9)
    written = record(sample, found, "f", judge)
    assert written is not None
    assert written.judge == judge
    assert "graded by a judge" in written.method
    assert msgspec.json.decode(msgspec.json.encode(written), type=AuditRecord) == written
    people = record(sample, estimate(sample, states), "f")
    assert people is not None
    assert people.judge is None
    assert "judge" not in people.method
    old = msgspec.to_builtins(people)
    del old["judge"]  # written by a version before
    assert msgspec.convert(old, AuditRecord) == people
