"""The agreement of an LLM judge with people, on the pairs that both have judged.

People count as one: of several verdicts on a pair the last one that decides counts, junk as not relevant; unsure is left out, and so are
pairs that were promoted in bulk because the judge found them relevant, or the judge would agree with itself. The judge counts as one too:
its last grade of a pair, relevant from a given grade on. Grades and verdicts are compared here and mixed nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import Verdict, pairs_of
from hnmine.review.judge_prompt import GRADES
from hnmine.review.judgements import Judgement, matched

__all__ = ["GradeCount", "JudgeAgreement", "by_people", "decided", "judge_agreement"]

Ids = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GradeCount:
    """The pairs of one grade that people have judged too: their number, and how many of them people found relevant and not."""

    grade: int
    judged: int
    relevant: int
    not_relevant: int


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """The agreement of a judge with people.

    Attributes:
        pairs: that both have judged, with a usable grade and a verdict that decides.
        raw: fraction of them on which both say the same; None without any.
        kappa: Cohen's; None where it is not defined: without pairs, or where both say the same of all.
        grades: one entry for each grade, the lowest first.
    """

    pairs: int
    raw: float | None
    kappa: float | None
    grades: tuple[GradeCount, ...]


def judge_agreement(corpus: Corpus, judgements: Sequence[Judgement], decisions: Sequence[Verdict], relevant_from: int) -> JudgeAgreement:
    """Compare a judge with people.

    Args:
        corpus: pairs with other texts do not count.
        judgements: of one judge.
        decisions: people's verdicts, the latest last (`ReviewStore.by_reviewer`).
        relevant_from: the lowest grade that counts as relevant.
    """
    queries, passages, grades = matched(corpus, judgements)
    people = decided(corpus, decisions)
    here = [place for place, pair in enumerate(zip(queries.tolist(), passages.tolist(), strict=True)) if pair in people]
    here = [place for place in here if not np.isnan(grades[place])]
    given = grades[here].astype(np.int64)
    relevant = np.array([people[int(queries[place]), int(passages[place])] for place in here], dtype=bool)
    says = given >= relevant_from
    return JudgeAgreement(
        pairs=len(here),
        raw=float((says == relevant).mean()) if here else None,
        kappa=_kappa(says, relevant) if here else None,
        grades=tuple(_count(grade, relevant[given == grade]) for grade in range(len(GRADES))),
    )


# How the note on the verdicts of a bulk promotion begins and goes on (`relabelling.Promotable.note`).
_PROMOTED = "judge ", ": grade "


def by_people(decisions: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts that people gave by reading the pair: without those of a bulk promotion."""
    return [each for each in decisions if not (each.note.startswith(_PROMOTED[0]) and _PROMOTED[1] in each.note)]


def decided(corpus: Corpus, decisions: Sequence[Verdict]) -> dict[tuple[int, int], bool]:
    """Return whether people found each pair relevant that they decided: the last verdict counts, junk is not relevant, unsure is none."""
    given = [each for each in by_people(decisions) if each.verdict != "unsure"]
    queries, passages = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    return {
        (query, passage): each.verdict in ("relevant", "positive")
        for query, passage, each in zip(queries.tolist(), passages.tolist(), given, strict=True)
        if query >= 0
    }


def _count(grade: int, relevant: Bools) -> GradeCount:
    return GradeCount(grade, len(relevant), int(relevant.sum()), int((~relevant).sum()))


def _kappa(one: Bools, other: Bools) -> float | None:
    """Return Cohen's kappa of two yes-or-no observers, or None if chance agreement is certain."""
    by_chance = float(one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean()))
    return None if by_chance == 1 else (float((one == other).mean()) - by_chance) / (1 - by_chance)
