"""Agreement of reviewers: against the examples of Cohen (1960) and Krippendorff (2011), and as a story of two reviewers and a third."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import Choice, Verdict
from hnmine.review.agreement import agreement, nominal_alpha, unresolved_pairs
from hnmine.review.store import ReviewStore

PASSAGES = [f"p{number}" for number in range(120)]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build_corpus([Row(1, "q", ["the positive"], PASSAGES, {})], [])


def said(passage: int, who: str, verdict: Choice, hour: int = 0) -> Verdict:
    return Verdict(query="q", passage=f"p{passage}", verdict=verdict, who=who, when=f"2026-05-01T{hour:02}:00:00+00:00")


def counts(*observers: str) -> np.ndarray:
    """Values of each observer on the units, "." where one is missing."""
    rows = [each.split() for each in observers]
    values = sorted({value for row in rows for value in row} - {"."})
    return np.array([[sum(row[unit] == value for row in rows) for value in values] for unit in range(len(rows[0]))])


@pytest.mark.parametrize(
    ("observers", "alpha"),
    [
        # Krippendorff (2011), examples A (binary, two observers), B (nominal, two observers) and C (nominal, four, missing values).
        (["0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"], 0.095),
        (["a a b b d c c c e d d a", "b a b b b c c c e d d d"], 0.692),
        (
            [
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ],
            0.743,
        ),
    ],
)
def test_alpha_is_that_of_krippendorffs_examples(observers: list[str], alpha: float) -> None:
    assert nominal_alpha(counts(*observers)) == pytest.approx(alpha, abs=5e-4)


def test_without_any_difference_there_is_no_alpha() -> None:
    assert nominal_alpha(counts("a a a", "a a a")) is None
    assert nominal_alpha(counts("a b .", ". . c")) is None  # nobody judged the same
    assert nominal_alpha(counts("a b", "a b")) == 1


def test_kappa_is_that_of_cohens_example(corpus: Corpus) -> None:
    """Cohen (1960), table 1: agreement 0.70, by chance 0.41, kappa 0.492."""
    table = [("negative", [44, 7, 9]), ("positive", [5, 20, 5]), ("junk", [1, 3, 6])]
    pairs = [
        (one, other) for one, row in table for other, times in zip(("negative", "relevant", "junk"), row, strict=True) for _ in range(times)
    ]
    decisions = [each for place, (one, other) in enumerate(pairs) for each in (said(place, "Ann", one), said(place, "Bob", other, 1))]  # type: ignore[arg-type]
    decisions += [said(110, "Ann", "unsure"), said(110, "Bob", "negative"), said(111, "Ann", "negative")]  # no pair in common
    decisions += [Verdict(query="another data set", passage="x", verdict="junk", who="Cy")]
    found = agreement(corpus, decisions)
    assert found.pairs == 100
    assert found.raw == pytest.approx(0.70)
    assert found.kappa == pytest.approx(0.492, abs=5e-4)
    assert found.kappas == (("Ann", "Bob", 100, found.kappa),)
    assert [(each.who, each.verdicts, each.common) for each in found.reviewers] == [("Ann", 102, 100), ("Bob", 101, 100)]
    assert found.reviewers[0].relevant == pytest.approx(30 / 101)
    assert found.reviewers[0].agreement == pytest.approx(0.70)
    assert len(found.disagreements) == 30


def test_kappas_of_three_reviewers_are_averaged_by_their_common_pairs(corpus: Corpus) -> None:
    same: list[tuple[int, str, Choice]] = [
        (place, who, "junk" if place < 2 else "negative") for place in range(6) for who in ("Ann", "Bob")
    ]
    other: list[tuple[int, str, Choice]] = [(0, "Cy", "negative"), (2, "Cy", "junk")]
    found = agreement(corpus, [said(*each) for each in [*same, *other]])
    assert {(one, two): (number, kappa) for one, two, number, kappa in found.kappas} == {
        ("Ann", "Bob"): (6, 1.0),
        ("Ann", "Cy"): (2, -1.0),
        ("Bob", "Cy"): (2, -1.0),
    }
    assert found.kappa == pytest.approx((6 - 2 - 2) / 10)
    assert found.raw == pytest.approx(6 / 10)
    nobody = agreement(corpus, [said(0, "Ann", "junk"), said(1, "Bob", "junk")])
    assert (nobody.pairs, nobody.raw, nobody.kappa, nobody.alpha, nobody.disagreements) == (0, None, None, None, ())
    alike = agreement(corpus, [said(0, "Ann", "junk"), said(0, "Bob", "junk")])
    assert (alike.pairs, alike.raw, alike.kappa, alike.alpha) == (1, 1.0, None, None)


def test_a_disagreement_is_settled_by_who_decides_after_it_and_that_is_not_agreement(tmp_path: Path, corpus: Corpus) -> None:
    store = ReviewStore(tmp_path / "reviews.sqlite")

    def passages() -> list[str]:
        return [corpus.passages[each] for each in unresolved_pairs(corpus, store.decisions())[1].tolist()]

    for name in ("p1", "p2", "p3", "p4"):
        store.decide([("q", name)], "negative", "Ann")
    store.decide([("q", "p4")], "junk", "Ann")  # before anybody else: a change of mind
    store.decide([("q", "p1"), ("q", "p2"), ("q", "p3")], "relevant", "Bob", note="it answers")
    store.decide([("q", "p4")], "junk", "Bob")
    assert passages() == ["p1", "p2", "p3"]
    found = agreement(corpus, store.decisions())
    assert found.raw == pytest.approx(1 / 4)
    assert [(each.who, each.verdict, each.note) for each in found.disagreements[0].verdicts] == [
        ("Ann", "negative", ""),
        ("Bob", "relevant", "it answers"),
    ]
    store.decide([("q", "p1")], "relevant", "Ann")  # gives in
    store.decide([("q", "p2")], "negative", "Cy")  # a third reviewer
    store.decide([("q", "p3")], "unsure", "Cy")  # settles nothing
    assert passages() == ["p3"]
    found = agreement(corpus, store.decisions())
    assert [each.settled for each in found.disagreements] == [True, True, False]
    assert {(one, two): number for one, two, number, _ in found.kappas} == {("Ann", "Bob"): 4, ("Ann", "Cy"): 1, ("Bob", "Cy"): 1}
    assert found.raw == pytest.approx(2 / 6)  # Ann's second thought on p1 is not independent
    store.undo("Ann")
    store.undo("Cy")
    store.undo("Cy")
    assert passages() == ["p1", "p2", "p3"]
    store.decide([("q", "p1")], None, "Bob")  # takes back the verdict, and with it the disagreement
    assert passages() == ["p2", "p3"]
