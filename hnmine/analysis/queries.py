"""Numbers about a selection: a table of the queries, a table of one query's candidates.

Everything is aggregated here with NumPy, so a browser gets a few hundred numbers instead of two million scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.data.corpus import SOURCE_NEG, SOURCE_POOL, SOURCE_POS, Corpus
from hnmine.data.dataset import Inputs
from hnmine.data.verdicts import DECIDED
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.filters import filter_of
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason
from hnmine.vectors.shard_set import unique_keys
from hnmine.vectors.shards import text_keys

__all__ = [
    "Candidates",
    "QueryTable",
    "candidates_of",
    "explain",
    "likely_relevant",
    "positive_ranks",
    "query_table",
    "sources_in_words",
    "text_duplicates",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Pairs = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class QueryTable:
    """One entry per query, all (q,).

    Attributes:
        positive: the positive's score (`Selection.positive`). hardest: score of the hardest negative, NaN without one.
        margin: positive minus hardest. ratio: `ratio_to_positive` of hardest, NaN where the positive scores 0 or less.
        positive_rank: rank of the best positive from 0, or the depth where it is not ranked.
        negatives, random_filled: counts.
        verdicts: number of its passages with each verdict of `DECIDED`.
        fn_probability: highest estimated false-negative probability of its negatives, NaN without any; None without signals.
    """

    positive: Floats
    hardest: Floats
    margin: Floats
    ratio: Floats
    positive_rank: npt.NDArray[np.int32]
    negatives: Ints
    random_filled: Ints
    verdicts: dict[str, Ints]
    fn_probability: Floats | None = None

    @property
    def reviewed(self) -> Ints:
        """How many passages people judged for each query: (q,)."""
        return sum(self.verdicts.values(), np.zeros(len(self.positive), dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The ranked candidates of one query, then its random-filled negatives.

    Attributes:
        ranks: from 0, -1 for random-filled ones. ids: passages. scores: similarity to the query.
        ratios: `ratio_to_positive`. to_positive: similarity to the nearest positive passage.
        chosen: 1 for the hardest negative, 2, ...; 0 for passages that are not chosen.
        reasons: a Reason, Reason.CHOSEN for random-filled ones. statuses: the same in words.
        signals: values of the ranking's signals by name, NaN for random-filled ones.
    """

    ranks: Ints
    ids: npt.NDArray[np.int32]
    scores: Floats
    ratios: Floats
    to_positive: Floats
    chosen: Ints
    reasons: npt.NDArray[np.int8]
    statuses: list[str]
    signals: dict[str, Floats]


def text_duplicates(inputs: Inputs) -> dict[str, int]:
    """Count the duplicates of a data set.

    "repeated_queries": queries of several rows; "folded_passages": passages equal to another after normalization (case,
    white space, Unicode form); "queries_as_passages": queries that are also passages.
    """
    corpus = inputs.corpus
    own = list(dict.fromkeys(text for row in inputs.rows for text in (*row.pos, *row.neg)))
    spellings = unique_keys(np.concatenate([text_keys(own), text_keys(inputs.pool or [])]))[0]
    return {
        "repeated_queries": int((np.bincount(corpus.row_queries) > 1).sum()),
        "folded_passages": len(spellings) - len(corpus.passages),
        "queries_as_passages": int((corpus.query_passages >= 0).sum()),
    }


def positive_ranks(corpus: Corpus, ranking: Ranking) -> npt.NDArray[np.int32]:
    """Return the rank (from 0) of each entry of `Corpus.positive_ids`, or the depth where it is not ranked: int32."""
    depth = ranking.depth
    ranks = np.full(len(corpus.positive_ids), depth, dtype=np.int32)
    owners = corpus.positive_queries
    for first, end in row_blocks(len(owners), depth):
        pairs, places = np.divmod(np.flatnonzero(ranking.ids[owners[first:end]] == corpus.positive_ids[first:end, None]), depth)
        ranks[first + pairs] = places
    return ranks


def query_table(corpus: Corpus, ranking: Ranking, selection: Selection, fn_probabilities: Floats | None = None) -> QueryTable:
    """Return the table of the queries; `fn_probabilities` are those of `fn_estimates.fn_probabilities`."""
    positive, hardest = selection.positive, selection.scores[:, 0]
    return QueryTable(
        positive=positive,
        hardest=hardest,
        margin=positive - hardest,
        ratio=ratio_to_positive(hardest, positive),
        positive_rank=np.minimum.reduceat(positive_ranks(corpus, ranking), corpus.positive_starts[:-1]),
        negatives=selection.counts,
        random_filled=selection.random_filled.sum(axis=1).astype(np.int64),
        verdicts={name: _judged(getattr(selection.verdict_pairs, name), len(positive)) for name in DECIDED},
        fn_probability=None if fn_probabilities is None else np.fmax.reduce(fn_probabilities, axis=1),
    )


def _judged(pairs: Pairs, queries: int) -> Ints:
    """Count the pairs of each query."""
    return np.bincount(pairs[0], minlength=queries).astype(np.int64)


def explain(reason: int, selection: Selection, *, order: int = 0) -> str:
    """Return a candidate's status in words; `order` counts the chosen ones, hardest first, from 1."""
    settings = selection.settings
    if found := filter_of(reason):
        return f"filtered: {found.explain(getattr(settings, found.name))}"
    match Reason(reason):
        case Reason.CHOSEN:
            return f"chosen {order}"
        case Reason.NOT_DRAWN:
            return "not sampled" if settings.strategy == "random" else "not needed: easier than the selected ones"
        case Reason.BEFORE_WINDOW:
            return "above the rank range"
        case Reason.BEHIND_WINDOW:
            return "below the rank range"
        case Reason.POSITIVE:
            return "positive of this query"
        case Reason.QUERY_ITSELF:
            return "same text as the query"
        case Reason.REMOVED:
            return "removed by a reviewer"


def likely_relevant(fn_probability: float) -> str:
    """Return the status of a candidate that a target leaves out for its estimate: one at least as hard as a selected one."""
    return "filtered: likely relevant" + ("" if math.isnan(fn_probability) else f" ({100 * fn_probability:.{int(fn_probability < 0.1)}f}%)")


def candidates_of(corpus: Corpus, ranking: Ranking, selection: Selection, query: int, fn_probabilities: Floats | None = None) -> Candidates:
    """Return the ranked candidates of one query and its random-filled negatives, each with its status.

    `fn_probabilities` are the estimates of the ranked candidates, (depth,), which the statuses name where they are the reason.
    """
    held = selection.negatives[query]
    held = held[held >= 0]
    place = {int(passage): number for number, passage in enumerate(held.tolist(), start=1)}
    filled = selection.negatives[query][selection.random_filled[query]]
    ids = np.concatenate([ranking.ids[query], filled]).astype(np.int32)
    scores = np.concatenate([ranking.scores[query], selection.scores[query][selection.random_filled[query]]]).astype(np.float32)
    depth, missing = ranking.depth, np.full(len(filled), np.nan, dtype=np.float32)
    reasons = np.concatenate([selection.reasons[query], np.full(len(filled), Reason.CHOSEN)]).astype(np.int8)
    filled_set = set(filled.tolist())
    verdicts = _verdicts_on(selection, query)
    chosen = np.zeros(len(ids), dtype=np.int64)
    statuses: list[str] = []
    easiest = np.fmin.reduce(selection.scores[query], initial=np.inf) if selection.settings.targets else np.inf
    doubtful = (reasons[:depth] == np.int8(Reason.NOT_DRAWN)) & (scores[:depth] >= easiest)
    for index, passage in enumerate(ids.tolist()):
        if index >= depth or reasons[index] == Reason.CHOSEN:
            chosen[index] = place[passage]
        if index < depth and doubtful[index]:
            status = likely_relevant(math.nan if fn_probabilities is None else float(fn_probabilities[index]))
        else:
            status = explain(int(reasons[index]), selection, order=int(chosen[index]))
            if reasons[index] == Reason.REMOVED and passage not in verdicts:
                status = "removed: relevant by the judge"
        if passage in filled_set:
            status += ", random fill"
        if (verdict := verdicts.get(passage)) and verdict not in status:
            status += f", {verdict}"
        statuses.append(status)
    positives = np.asarray(ranking.passage_vectors[corpus.positives(query)], dtype=np.float32)
    nearest = (np.asarray(ranking.passage_vectors[ids], dtype=np.float32) @ positives.T).max(axis=1)
    return Candidates(
        ranks=np.concatenate([np.arange(depth), np.full(len(filled), -1)]),
        ids=ids,
        scores=scores,
        ratios=ratio_to_positive(scores, selection.positive[query]),
        to_positive=nearest.astype(np.float32),
        chosen=chosen,
        reasons=reasons,
        statuses=statuses,
        signals={name: np.concatenate([values[query], missing]).astype(np.float32) for name, values in ranking.signals.items()},
    )


def _verdicts_on(selection: Selection, query: int) -> dict[int, str]:
    """Return the verdicts on a query's passages, in words."""
    verdict_pairs = selection.verdict_pairs
    found: dict[int, str] = {}
    for words, (queries, passages) in (
        ("removed by a reviewer", verdict_pairs.removed),
        ("judged negative by a reviewer", verdict_pairs.negative),
        ("added as positive by a reviewer", verdict_pairs.positive),
    ):
        first, end = np.searchsorted(queries, (query, query + 1))
        found |= dict.fromkeys(passages[first:end].tolist(), words)
    return found


def sources_in_words(flags: int) -> str:
    """Name the sources of a passage: "positive" and "negative" of training rows, "pool"."""
    names = {SOURCE_POS: "positive", SOURCE_NEG: "negative", SOURCE_POOL: "pool"}
    return ", ".join(name for flag, name in names.items() if flags & flag)
