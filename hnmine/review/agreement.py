"""The agreement of reviewers on common pairs: raw, Cohen's kappa, Krippendorff's alpha, and the pairs on which they disagree.

Verdicts count in three groups: not relevant, relevant (removed or added as positive), junk; unsure is a missing value. A reviewer who
changes a verdict after a disagreement arose settles it, but the change does not count in the agreement: it is not independent.
Alpha is computed here, because the PyPI package "krippendorff" is under the GPL. It treats missing values as Krippendorff (2011,
"Computing Krippendorff's Alpha-Reliability") does. 100,000 verdicts take 1 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import Choice, Verdict, pairs_of

__all__ = ["GROUPS", "Agreement", "Disagreement", "Reviewer", "agreement", "nominal_alpha", "unresolved_pairs"]

Ids = npt.NDArray[np.int32]

# The group of each verdict in a comparison; "unsure" has none.
GROUPS: dict[Choice, int] = {"negative": 0, "relevant": 1, "positive": 1, "junk": 2}


@dataclass(frozen=True, slots=True)
class Reviewer:
    """One reviewer.

    Attributes:
        verdicts: number of their verdicts on pairs of the run. relevant: fraction of relevant ones, unsure left out; None without any.
        common: comparisons with the verdict of another reviewer. agreement: fraction of equal ones; None without any.
    """

    who: str
    verdicts: int
    relevant: float | None
    common: int
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A pair with different verdicts: those that count in the agreement, in the order of time, and whether somebody has decided since."""

    query: int
    passage: int
    verdicts: tuple[Verdict, ...]
    settled: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of the reviewers of a run's pairs.

    Attributes:
        pairs: pairs with verdicts of two or more reviewers.
        raw: fraction of equal verdicts among all comparisons of two reviewers on a pair.
        kappa: Cohen's, the mean over pairs of reviewers by number of common pairs; None where all verdicts are the same.
        alpha: Krippendorff's, nominal; None where all verdicts are the same.
        kappas: for each two reviewers with common pairs: names, number of common pairs, kappa or None.
        reviewers: sorted by name.
        disagreements: the latest last.
    """

    pairs: int
    raw: float | None
    kappa: float | None
    alpha: float | None
    kappas: tuple[tuple[str, str, int, float | None], ...]
    reviewers: tuple[Reviewer, ...]
    disagreements: tuple[Disagreement, ...]


def agreement(corpus: Corpus, decisions: Sequence[Verdict]) -> Agreement:
    """Compare the reviewers of a corpus' pairs.

    Args:
        decisions: `ReviewStore.decisions`.
    """
    independent, disagreements = _replayed(corpus, decisions)
    last = {(pair, name): each for pair, own in independent.items() for name, each in own.items()}
    groups: dict[tuple[int, int], dict[str, int]] = {
        pair: {name: GROUPS[each.verdict] for name, each in own.items() if each.verdict in GROUPS} for pair, own in independent.items()
    }
    common = [own for own in groups.values() if len(own) > 1]
    by_two: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for own in common:
        for one, other in combinations(sorted(own), 2):
            by_two.setdefault((one, other), []).append((own[one], own[other]))
    kappas = tuple((*names, len(both), _kappa(both)) for names, both in sorted(by_two.items()))
    defined = [(each[2], each[3]) for each in kappas if each[3] is not None]
    counts = np.zeros((len(common), 3), np.int64)
    for place, own in enumerate(common):
        np.add.at(counts[place], list(own.values()), 1)
    return Agreement(
        pairs=len(common),
        raw=_mean([first == second for both in by_two.values() for first, second in both]),
        kappa=float(np.average([each[1] for each in defined], weights=[each[0] for each in defined])) if defined else None,
        alpha=nominal_alpha(counts),
        kappas=kappas,
        reviewers=tuple(_reviewer(name, last, groups, by_two) for name in sorted({name for _, name in last})),
        disagreements=disagreements,
    )


def unresolved_pairs(corpus: Corpus, decisions: Sequence[Verdict]) -> tuple[Ids, Ids]:
    """Return the pairs on which reviewers disagree and nobody has decided since: queries and passages, (p,) int32 each."""
    found = [(each.query, each.passage) for each in _replayed(corpus, decisions)[1] if not each.settled]
    table = np.array(found, dtype=np.int32).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def nominal_alpha(counts: npt.NDArray[np.int64]) -> float | None:
    """Return Krippendorff's alpha for nominal data, or None if all values are the same.

    Args:
        counts: (units, categories), how many observers gave each value; units with fewer than two values do not count.
    """
    values = counts.sum(axis=1)
    counts, values = counts[values > 1], values[values > 1]
    each, total = counts.sum(axis=0), int(counts.sum())
    expected = total**2 - int((each**2).sum())
    if not expected:
        return None
    observed = float(((values**2 - (counts**2).sum(axis=1)) / (values - 1)).sum())
    return 1 - observed * (total - 1) / expected


Replayed = dict[tuple[int, int], dict[str, Verdict]]


def _replayed(corpus: Corpus, decisions: Sequence[Verdict]) -> tuple[Replayed, tuple[Disagreement, ...]]:
    """Return the independent verdict of each reviewer on each pair of the corpus, and the disagreements."""
    queries, passages = pairs_of(corpus, [each.query for each in decisions], [each.passage for each in decisions])
    by_pair: Replayed = {}
    arisen: dict[tuple[int, int], bool] = {}  # of each disagreement, whether it is settled
    for query, passage, each in zip(queries.tolist(), passages.tolist(), decisions, strict=True):
        if query < 0:
            continue
        pair = (query, passage)
        own = by_pair.setdefault(pair, {})
        if pair in arisen:
            arisen[pair] |= each.verdict in GROUPS
            own.setdefault(each.who, each)
            continue
        own[each.who] = each
        if len({GROUPS[other.verdict] for other in own.values() if other.verdict in GROUPS}) > 1:
            arisen[pair] = False
    return by_pair, tuple(Disagreement(*pair, tuple(by_pair[pair].values()), settled) for pair, settled in arisen.items())


def _reviewer(
    name: str,
    last: dict[tuple[tuple[int, int], str], Verdict],
    groups: dict[tuple[int, int], dict[str, int]],
    by_two: dict[tuple[str, str], list[tuple[int, int]]],
) -> Reviewer:
    own = [each[name] for each in groups.values() if name in each]
    same = [first == second for names, both in by_two.items() if name in names for first, second in both]
    number = sum(who == name for _, who in last)
    return Reviewer(name, number, _mean([each == 1 for each in own]), len(same), _mean(same))


def _kappa(both: list[tuple[int, int]]) -> float | None:
    """Return Cohen's kappa of two reviewers, or None if all their verdicts are the same."""
    if len({each for pair in both for each in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*both, strict=True)
    return float(cohen_kappa_score(first, second))


def _mean(values: Iterable[bool]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
