"""The agreement of an LLM judge with people: against a count by hand of random grades and verdicts, and what does not count."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import cohen_kappa_score

from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import CHOICES, Choice, Verdict
from hnmine.review.judge_agreement import by_people, judge_agreement
from hnmine.review.judgements import Judgement
from hnmine.review.relabelling import promotable

QUERIES, PASSAGES = ("first", "second", "third"), tuple(f"p{number}" for number in range(20))
RELEVANT = ("relevant", "positive")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build_corpus([Row(number + 1, query, [f"good {query}"], list(PASSAGES), {}) for number, query in enumerate(QUERIES)], [])


def graded(query: str, passage: str, grade: int | None) -> Judgement:
    return Judgement(query, passage, grade, judge="m", prompt="graded-1")


def said(query: str, passage: str, verdict: Choice, who: str = "Ann", note: str = "") -> Verdict:
    return Verdict(query=query, passage=passage, verdict=verdict, who=who, note=note)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_a_count_by_hand_gives(corpus: Corpus, seed: int) -> None:
    chance = random.Random(seed)
    relevant_from = chance.randint(1, 3)
    pairs = [(query, passage) for query in (*QUERIES, "elsewhere") for passage in PASSAGES]
    judgements = [graded(*chance.choice(pairs), chance.choice([None, 0, 1, 2, 3])) for _ in range(chance.choice([0, 5, 120]))]
    verdicts = [said(*chance.choice(pairs), chance.choice(CHOICES), chance.choice(["Ann", "Bob"])) for _ in range(chance.choice([3, 120]))]

    by_judge = {(each.query, each.passage): each.grade for each in judgements}
    people = {(each.query, each.passage): each.verdict for each in verdicts if each.verdict != "unsure"}
    both = [
        (grade, people[pair] in RELEVANT) for pair, grade in by_judge.items() if grade is not None and pair in people and pair[0] in QUERIES
    ]
    found = judge_agreement(corpus, judgements, verdicts, relevant_from)
    assert found.pairs == len(both)
    assert found.raw == (pytest.approx(sum((grade >= relevant_from) == relevant for grade, relevant in both) / len(both)) if both else None)
    same = len({grade >= relevant_from for grade, _ in both} | {relevant for _, relevant in both}) < 2
    if same:
        assert found.kappa is None
    else:
        wanted = cohen_kappa_score([grade >= relevant_from for grade, _ in both], [relevant for _, relevant in both])
        assert found.kappa == pytest.approx(wanted)
    assert [(each.grade, each.judged, each.relevant, each.not_relevant) for each in found.grades] == [
        (grade, len(own := [relevant for given, relevant in both if given == grade]), sum(own), len(own) - sum(own)) for grade in range(4)
    ]


def test_the_last_verdict_that_decides_counts_and_junk_is_not_relevant(corpus: Corpus) -> None:
    judgements = [graded("first", "p0", 3), graded("first", "p1", 3), graded("first", "p2", 3), graded("first", "p3", None)]
    verdicts = [
        said("first", "p0", "relevant"),
        said("first", "p0", "unsure", "Bob"),
        said("first", "p1", "relevant"),
        said("first", "p1", "junk", "Bob"),
        said("first", "p2", "unsure"),
        said("first", "p3", "relevant"),
    ]
    found = judge_agreement(corpus, judgements, verdicts, 2)
    assert (found.pairs, found.raw) == (2, 0.5)
    assert (found.grades[3].relevant, found.grades[3].not_relevant) == (1, 1)


def test_a_bulk_promotion_is_no_verdict_that_the_judge_agrees_with(corpus: Corpus) -> None:
    """Else one press would make any judge perfect."""
    judgements = [graded("first", passage, 3) for passage in PASSAGES] + [graded("second", "p0", 2)]
    by_hand = [said("first", "p0", "negative"), said("first", "p1", "relevant", note="the judge is right: a grade of 3")]
    offered = promotable(corpus, judgements, by_hand, 2, 0.9)
    promoted = [said(query, passage, "positive", note=offered.note) for query, passage in offered.pairs]
    assert len(promoted) == len(PASSAGES) - 2 + 1
    assert by_people(by_hand + promoted) == by_hand
    assert judge_agreement(corpus, judgements, by_hand + promoted, 2) == judge_agreement(corpus, judgements, by_hand, 2)
