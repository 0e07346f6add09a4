"""Relabelling: what is done with candidates that a judge calls relevant, and which of them may be made positives in bulk.

The actions are those of RLHN (arXiv 2505.16967): drop the negative, promote it to a positive, or leave out the row. They are verdicts of
the judge below those of people: a pair that a person decided keeps the person's verdict, and no count of people's verdicts includes the
judge's. "unsure" has no effect, so there the judge's grade counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hnmine.core.text import counted, visible
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import Pairs, Verdict, VerdictPairs, pairs_of
from hnmine.review.judge_agreement import by_people, decided
from hnmine.review.judgements import Judgement, matched
from hnmine.review.store import ReviewStore

__all__ = [
    "LEAST_COMMON",
    "RELABELS",
    "Effects",
    "JudgedPairs",
    "Promotable",
    "Relabel",
    "effects",
    "holds",
    "judge_positives",
    "judged_pairs",
    "promotable",
    "promote",
    "read_by_people",
    "relabelled",
    "with_removed",
]

Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int32]

Relabel = Literal["keep", "drop", "promote", "leave_out"]
RELABELS: tuple[Relabel, ...] = get_args(Relabel)
# Fewer common pairs say too little of a judge: of 20 with full agreement, the 95% confidence interval begins at 84%, of 5 at 57% (Wilson).
LEAST_COMMON = 20


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPairs:
    """The pairs of one corpus that a judge has judged.

    Attributes:
        queries, passages: (p,) int32 each, sorted by query, then passage. grades: (p,) float32, NaN without a usable grade.
        judgements: the last one of each pair, in that order. elsewhere: number of judgements on texts that the corpus does not contain.
        digest: 16 hexadecimal digits, equal for equal pairs, grades and judges; empty without any.
        given: (model, version of the prompt, number of pairs) of each judge, also where another judge's later grade counts; sorted.
        differing: number of pairs on which the latest judgements of several judges differ.
    """

    queries: Ids
    passages: Ids
    grades: npt.NDArray[np.float32]
    judgements: tuple[Judgement, ...]
    elsewhere: int
    digest: str
    given: tuple[tuple[str, str, int], ...] = ()
    differing: int = 0

    @classmethod
    def none(cls) -> JudgedPairs:
        """Return no pairs."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), (), 0, "")

    @property
    def judges(self) -> list[str]:
        """The names of the models, sorted."""
        return sorted({each.judge for each in self.judgements})

    @property
    def note(self) -> str:
        """Which judges graded these pairs, where there are several, and which grade counts; empty with one."""
        if len(self.given) < 2:
            return ""
        named = (f"{visible(judge)} (prompt {visible(prompt) or 'unknown'}) {number:,}" for judge, prompt, number in self.given)
        differ = f"; {counted(self.differing, 'pair has', 'pairs have')} grades that differ" if self.differing else ""
        return f"pairs graded by {len(self.given):,} judges: {', '.join(named)}{differ}; the latest grade of a pair counts"

    def of(self, query: int, passage: int) -> Judgement | None:
        """Return the judgement of a pair, or None."""
        first, end = np.searchsorted(self.queries, (query, query + 1)).tolist()
        place = first + int(np.searchsorted(self.passages[first:end], passage))
        return self.judgements[place] if place < end and self.passages[place] == passage else None

    def from_grade(self, grade: float) -> Pairs:
        """Return the pairs with at least this grade: queries and passages, (m,) int32 each."""
        high = self.grades >= grade
        return self.queries[high], self.passages[high]


def judged_pairs(corpus: Corpus, judgements: Iterable[Judgement]) -> JudgedPairs:
    """Match judgements to the pairs of a corpus; of several judgements on one pair the last counts."""
    given = list(judgements)
    queries, passages, grades = matched(corpus, given)
    owners = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    last = dict(zip(zip(*(ids.tolist() for ids in owners), strict=True), given, strict=True))
    kept = tuple(last[pair] for pair in zip(queries.tolist(), passages.tolist(), strict=True))
    judges = repr(sorted({(each.judge, each.prompt) for each in kept})).encode()
    digest = hashlib.blake2b(b"".join([*(each.tobytes() for each in (queries, passages, grades)), judges]), digest_size=8).hexdigest()
    by_judge: dict[tuple[int, int], dict[tuple[str, str], int | None]] = {}
    for *pair, each in zip(*(ids.tolist() for ids in owners), given, strict=True):
        if min(pair) >= 0:
            by_judge.setdefault((pair[0], pair[1]), {})[each.judge, each.prompt] = each.grade
    numbers = Counter(judge for grades_of in by_judge.values() for judge in grades_of)
    return JudgedPairs(
        queries,
        passages,
        grades,
        kept,
        int(np.count_nonzero(owners[0] < 0)),
        digest if kept else "",
        tuple((*judge, number) for judge, number in sorted(numbers.items())),
        sum(len(set(grades_of.values())) > 1 for grades_of in by_judge.values()),
    )


def judge_positives(corpus: Corpus, people: VerdictPairs, judged: JudgedPairs, grade: float) -> Pairs:
    """Return the pairs with at least this grade, (m,) int32 each, but no positives of their query and none that people decided."""
    queries, passages = judged.from_grade(grade)
    taken = [(corpus.positive_queries, corpus.positive_ids), people.negative, people.positive, people.removed]
    new = ~np.isin(_keys(queries, passages), np.concatenate([_keys(*pairs) for pairs in taken]))
    return queries[new], passages[new]


def relabelled(people: VerdictPairs, judged: Pairs, relabel: Relabel) -> VerdictPairs:
    """Return people's pairs with those of `judge_positives`: removed ("drop"), added as positives ("promote"), or without them.

    `applied` and `digest` stay people's.
    """
    if relabel == "drop":
        return with_removed(people, judged)
    return replace(people, positive=_merged(people.positive, judged)) if relabel == "promote" else people


def with_removed(people: VerdictPairs, pairs: Pairs) -> VerdictPairs:
    """Return the pairs with more that are never negatives; these have no verdict."""
    return replace(people, removed=_merged(people.removed, pairs))


def holds(passages: Ids, pairs: Pairs) -> Bools:
    """Return which passages of each query, (q, w), are of these pairs: (q, w) bool."""
    rows = np.broadcast_to(np.arange(len(passages), dtype=np.int32)[:, None], passages.shape)
    return np.asarray(np.isin(_keys(rows, passages), _keys(*pairs)))


@dataclass(frozen=True, slots=True)
class Effects:
    """What the actions would do: of all `pairs` that the judge calls relevant, which "promote" adds to `grown` rows, `negatives` are
    negatives of the selection, in `rows`. Pairs count once, also where several rows have their query."""

    pairs: int
    grown: int
    negatives: int
    rows: int


def effects(corpus: Corpus, negatives: Ids, judged: Pairs) -> Effects:
    """Count what relabelling would do to a selection, (q, N) negatives, that is not relabelled."""
    held = holds(negatives, judged).sum(axis=1)
    added = np.bincount(judged[0], minlength=len(corpus.queries))
    grown, rows = (int(np.count_nonzero(each[corpus.row_queries])) for each in (added, held))
    return Effects(pairs=len(judged[0]), grown=grown, negatives=int(held.sum()), rows=rows)


def read_by_people(pairs: VerdictPairs) -> VerdictPairs:
    """Return the pairs without those promoted in bulk: nobody read them, so nothing is fitted to them or measured by them."""
    read = np.array([bool(by_people([each])) for each in pairs.applied if each.verdict == "positive"], bool)
    if read.all():
        return pairs
    digest = hashlib.blake2b(pairs.digest.encode() + read.tobytes(), digest_size=8).hexdigest()
    return replace(pairs, positive=(pairs.positive[0][read], pairs.positive[1][read]), digest=digest)


def _merged(some: Pairs, more: Pairs) -> Pairs:
    queries, passages = (np.concatenate(both) for both in zip(some, more, strict=True))
    order = np.lexsort((passages, queries))
    return queries[order], passages[order]


def _keys(queries: Ids, passages: Ids) -> npt.NDArray[np.int64]:
    return (queries.astype(np.int64) << 32) | passages


@dataclass(frozen=True, slots=True)
class Promotable:
    """The pairs that may be made positives in bulk, because people agree with the judge.

    Attributes:
        pairs: the texts that the judge calls relevant and that no person has judged, in the corpus' order. grades: of each.
        judges: the names of the models.
        common: pairs that the judge calls relevant and people decided. agreement: the fraction of them that people call relevant too, None
            without any. level: the fraction that is asked for.
    """

    pairs: tuple[tuple[str, str], ...]
    grades: tuple[int, ...]
    judges: tuple[str, ...]
    common: int
    agreement: float | None
    level: float

    @property
    def allowed(self) -> bool:
        """Whether people agree with the judge on at least `level` of at least LEAST_COMMON pairs."""
        return self.agreement is not None and self.common >= LEAST_COMMON and self.agreement >= self.level

    @property
    def note(self) -> str:
        """The note of their verdicts: the judge and the grades."""
        grades = sorted(set(self.grades))
        return f"judge {', '.join(self.judges)}: grade {'-'.join(map(str, dict.fromkeys((grades[0], grades[-1])))) if grades else ''}"


def promotable(
    corpus: Corpus, judgements: Sequence[Judgement], decisions: Sequence[Verdict], relevant_from: int, level: float
) -> Promotable:
    """Return which pairs of a corpus could be made positives in bulk, and whether people agree enough with the judge for that.

    Args:
        judgements: of one judge, the latest last.
        decisions: people's verdicts, the latest last (`ReviewStore.by_reviewer`); one that is unsure keeps its pair out of the bulk too.
        relevant_from: the lowest grade that counts as relevant. level: the agreement that is asked for, 0 to 1.
    """
    judged, people = judged_pairs(corpus, judgements), decided(corpus, decisions)
    each_pair = zip(judged.queries.tolist(), judged.passages.tolist(), judged.grades.tolist(), strict=True)
    relevant = {(query, passage): int(grade) for query, passage, grade in each_pair if grade >= relevant_from}
    common = [people[pair] for pair in relevant if pair in people]
    seen = pairs_of(corpus, [each.query for each in decisions], [each.passage for each in decisions])
    taken = {
        pair
        for pairs in (seen, (corpus.positive_queries, corpus.positive_ids))
        for pair in zip(*(ids.tolist() for ids in pairs), strict=True)
    }
    free = [pair for pair in relevant if pair not in taken]
    return Promotable(
        pairs=tuple((corpus.queries[query], corpus.passages[passage]) for query, passage in free),
        grades=tuple(relevant[pair] for pair in free),
        judges=tuple(judged.judges),
        common=len(common),
        agreement=sum(common) / len(common) if common else None,
        level=level,
    )


def promote(store: ReviewStore, found: Promotable, who: str) -> int:
    """Add the pairs as positives in one batch, which one undo reverts; return its id, 0 where that is not allowed or no pair is left.

    Raises:
        WorkspaceError: the file cannot be written; no part of the batch is stored then.
    """
    return store.decide(found.pairs, "positive", who, found.note) if found.allowed else 0
