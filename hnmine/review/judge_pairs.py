"""Which pairs a judge is asked about: the audit's sample, the most uncertain ones, all chosen negatives, one query, or a random sample.

Each function returns (queries, passages), (p,) int32 each, every pair once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import pairs_of
from hnmine.review.audit_sample import Sample, different_pairs, pairs_in
from hnmine.review.judged_audit import to_judge
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.select import Selection

__all__ = ["audit_pairs", "chosen_pairs", "old_pairs", "query_pairs", "random_pairs", "uncertain_pairs"]

Ids = npt.NDArray[np.int32]
Pairs = tuple[Ids, Ids]

# Makes the random order of this module independent of others.
_PURPOSE = 6


def audit_pairs(sample: Sample, corpus: Corpus) -> Pairs:
    """Return the pairs to judge of an audit's sample, in the order of their draws; texts that the corpus lacks are left out.

    More than people review (`judged_audit.to_judge`): judging is cheap.
    """
    return different_pairs(*pairs_in(to_judge(sample), corpus))


def chosen_pairs(selection: Selection) -> Pairs:
    """Return all negatives of a selection, by query, then in their order."""
    rows, places = np.nonzero(selection.negatives >= 0)
    return rows.astype(np.int32), selection.negatives[rows, places]


def query_pairs(selection: Selection, query: int) -> Pairs:
    """Return the negatives of one query, in their order."""
    own = selection.negatives[query]
    own = own[own >= 0]
    return np.full(len(own), query, dtype=np.int32), own


def uncertain_pairs(estimator: FNEstimator, selection: Selection, count: int) -> Pairs:
    """Return the `count` negatives of a selection whose estimated false-negative probability is nearest to 0.5, nearest first.

    That is the order of least absolute log-odds too: where a judge's answer says most that the estimate does not know. Negatives that are
    not ranked, or that a reviewer confirmed, have no estimate and are left out.
    """
    _check(count)
    probabilities = fn_probabilities(estimator, selection).astype(np.float64)
    rows, places = np.nonzero(probabilities > 0)
    distance = np.abs(probabilities[rows, places] - 0.5)
    passages = selection.negatives[rows, places]
    order = np.lexsort((passages, rows, distance))[:count]
    return rows[order].astype(np.int32), passages[order]


def old_pairs(corpus: Corpus, rows: Iterable[Row]) -> Pairs:
    """Return the negatives that the rows of a file have, in their order; those that are a positive of the same query are left out."""
    pairs = [(row.query, text) for row in rows for text in row.neg]
    queries, passages = different_pairs(*pairs_of(corpus, [query for query, _ in pairs], [text for _, text in pairs]))
    known = corpus.positive_queries.astype(np.int64) << 32 | corpus.positive_ids
    other = ~np.isin(queries.astype(np.int64) << 32 | passages, known)
    return queries[other], passages[other]


def random_pairs(corpus: Corpus, pairs: Pairs, count: int, seed: int = 42) -> Pairs:
    """Return `count` of these pairs in random order, the same for the same texts and seed; a larger sample continues a smaller one."""
    _check(count)
    queries, passages = different_pairs(*pairs)
    keys = query_keys(corpus.query_hashes, seed, _PURPOSE)[queries]
    order = np.argsort(splitmix64(keys ^ splitmix64(corpus.passage_hashes[passages])), kind="stable")[:count]
    return queries[order], passages[order]


def _check(count: int) -> None:
    if count < 1:
        raise SettingsError(f"the number of pairs is {count}; it must be 1 or more")
