"""Select negatives from a ranking.

Each ranked candidate gets one reason, the first that applies: window, positives and the query itself, verdicts, filters, selection. The
funnel counts these reasons. Then `random_fill` fills what is missing. Random selection takes the lowest hashes of (seed, query text,
passage text). With `max_fn_rate` or `hardness`, each query takes its highest values of score - penalty * false-negative probability.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import VerdictPairs, match_verdicts
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.active_filters import ActiveFilters
from hnmine.selection.filters import FILTERS, FIRST_FILTER
from hnmine.selection.fn_model import FNEstimator, FNModel
from hnmine.selection.ordering import descends, hardest_first, order_keys
from hnmine.selection.presets import with_preset
from hnmine.selection.random_fill import random_fill
from hnmine.selection.settings import Reason, SelectionSettings

__all__ = ["REASONS", "Selection", "select"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


# The random key of candidates that are not eligible: after all others.
_LAST = np.uint64(2**64 - 1)
# Below every value of an eligible candidate.
_LOWEST = np.finfo(np.float32).min
# Numbers in `Selection.reasons`.
REASONS = FIRST_FILTER + len(FILTERS)
# Queries that the penalty is found on: the first ones, a random sample because queries are ordered by hash. Penalties are tried in steps of
# 5%, up to one that ignores the score.
SAMPLE = 2_048
# Their candidates at most, 80 MB: for windows above 4,096 fewer queries are sampled.
SAMPLED = 2**23
PENALTIES = np.concatenate([[0.0], 1.05 ** np.arange(-160, 121)]).astype(np.float32)
# A mean similarity that is lower by this counts as equal: float32 scores are not more exact.
EXACT = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The negatives of q queries, at most N = `settings.negative_number` each (fewer in a smaller corpus).

    Attributes:
        settings: the settings of the selection.
        reasons: (q, k) int8, the Reason or `Filter.reason` of each ranked candidate.
        negatives: (q, N) int32, passage ids, hardest first, padded with -1.
        scores: (q, N) float32, padded with NaN.
        positive: (q,) float32, the positive's score of each query (`positive_score`), as the filters use it.
        random_filled: (q, N) bool, drawn at random from outside the window because it had too few candidates.
        funnel: candidates left after each step, in order.
        verdict_pairs: the verdicts that were applied.
        out_of_reach: a sentence, if no negatives are as hard as `settings.hardness`, or keep to `settings.max_fn_rate`; else empty.
    """

    settings: SelectionSettings
    reasons: npt.NDArray[np.int8]
    negatives: Ids
    scores: Floats
    positive: Floats
    random_filled: Bools
    funnel: dict[str, int]
    verdict_pairs: VerdictPairs
    out_of_reach: str = ""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of negatives of each query: (q,)."""
        return np.asarray((self.negatives >= 0).sum(axis=1))

    @property
    def short(self) -> Bools:
        """Queries with too few negatives: (q,) bool."""
        return self.counts < self.settings.negative_number


def select(
    corpus: Corpus,
    ranking: Ranking,
    settings: SelectionSettings,
    verdict_pairs: VerdictPairs | None = None,
    fn_model: FNModel | FNEstimator | None = None,
) -> Selection:
    """Select negatives for every query.

    Args:
        corpus, ranking: promoted passages are already positives (`promotions.apply_promotions`).
        settings: how to select.
        verdict_pairs: the pairs that reviewers removed and confirmed.
        fn_model: the false-negative model, if the settings use it, or its estimator for this ranking; None for the default one.

    Raises:
        SettingsError: the window ends after the ranked candidates although the corpus has more, or the ranking lacks a signal.
    """
    _check_depth(corpus, ranking, settings, "the rank window")
    if verdict_pairs is None:
        verdict_pairs = match_verdicts(corpus, ())
    choice = _Choice(ActiveFilters(corpus, ranking, settings, fn_model), verdict_pairs)
    penalty, out_of_reach = None, ""
    if settings.max_fn_rate is not None:
        penalty, out_of_reach = choice.penalty_of_rate(settings.max_fn_rate)
    elif settings.hardness is not None:
        penalty, out_of_reach = _penalty_of_hardness(choice)
    counts = np.zeros(REASONS, dtype=np.int64)
    for first, stop in row_blocks(len(ranking.ids), choice.end - choice.start):
        counts += choice.block(first, stop, penalty)
    random_filled = random_fill(choice.filters, verdict_pairs, choice.negatives, choice.scores, choice.start)
    return Selection(
        settings=settings,
        reasons=choice.reasons,
        negatives=choice.negatives,
        scores=choice.scores,
        positive=choice.filters.positive,
        random_filled=random_filled,
        funnel=_funnel(ranking.ids.size, counts, settings, choice.negatives, random_filled),
        verdict_pairs=verdict_pairs,
        out_of_reach=out_of_reach,
    )


def _check_depth(corpus: Corpus, ranking: Ranking, settings: SelectionSettings, window: str) -> None:
    if settings.window_end > ranking.depth < corpus.n_candidates:
        raise SettingsError(
            f"{window} ends at {settings.window_end}, but only {ranking.depth} candidates per query are ranked; "
            "mine again with a deeper window"
        )


def _penalty_of_hardness(choice: _Choice) -> tuple[np.float32, str]:
    """Return the highest of PENALTIES at which the negatives of the sample are as hard as `settings.hardness`, and `out_of_reach`.

    Random-filled negatives count, as they do in the hardness of the whole selection. They do not depend on the penalty: a query that lacks
    negatives takes all eligible candidates.
    """
    corpus, ranking, settings = choice.corpus, choice.ranking, choice.filters.settings
    wanted, name = settings.hardness, ""
    if isinstance(wanted, str):
        preset = with_preset(wanted, settings, deepest=corpus.n_candidates)
        _check_depth(corpus, ranking, preset, f"hardness is {wanted!r}: its rank window")
        scores, _ = _sampled(ActiveFilters(corpus, ranking, preset), choice.verdict_pairs, choice.sample, None)
        wanted, name = _mean(scores), f", the hardness of {wanted},"
    assert wanted is not None  # set when this is called
    scores, filled = _sampled(choice.filters, choice.verdict_pairs, choice.sample, PENALTIES[0])
    fill = scores[filled]
    found = choice.lowest_penalty(lambda some, _: _mean(np.concatenate([some, fill])) < wanted - EXACT)
    if found:
        return np.float32(PENALTIES[found - 1]), ""
    return np.float32(PENALTIES[0]), (
        f"a mean similarity of {wanted:.4f}{name} is out of reach: the hardest possible negatives have {_mean(scores):.4f}"
    )


def _sampled(filters: ActiveFilters, verdict_pairs: VerdictPairs, count: int, penalty: np.float32 | None) -> tuple[Floats, Bools]:
    """Return `Selection.scores` and `Selection.random_filled` of the first `count` queries."""
    choice = _Choice(filters, verdict_pairs)
    for first, stop in row_blocks(count, choice.end - choice.start):
        choice.block(first, stop, penalty)
    scores = choice.scores[:count]
    return scores, random_fill(filters, verdict_pairs, choice.negatives[:count], scores, choice.start)


def _mean(scores: Floats) -> float:
    """Return the mean of those scores that are not NaN; NaN without any."""
    known = scores[~np.isnan(scores)]
    return float(known.mean(dtype=np.float64)) if len(known) else float("nan")


def _funnel(ranked: int, counts: Rows, settings: SelectionSettings, negatives: Ids, random_filled: Bools) -> dict[str, int]:
    """Count the candidates left after each step: ranked, in window, not positive or removed, past each filter, chosen, filled, short.

    Confirmed candidates before the window count as inside it.
    """
    left = int(counts.sum() - counts[Reason.BEFORE_WINDOW])
    funnel = {"ranked": ranked, "in_window": left}
    for name, reasons in (
        ("not_positive", (Reason.POSITIVE, Reason.QUERY_ITSELF)),
        ("not_removed", (Reason.REMOVED,)),
        *((each.step, (each.reason,)) for each in FILTERS.values()),
    ):
        left -= int(sum(counts[reason] for reason in reasons))
        funnel[name] = left
    funnel["chosen"] = int(counts[Reason.CHOSEN])
    funnel["random_filled"] = int(np.count_nonzero(random_filled))
    if settings.negative_number > negatives.shape[1]:
        funnel["short_queries"] = len(negatives)
    else:  # rows are filled from the left
        funnel["short_queries"] = int(np.count_nonzero(negatives[:, -1] < 0))
    return funnel


class _Choice:
    """The state of `select`; its methods work on the queries [first, stop)."""

    def __init__(self, filters: ActiveFilters, verdict_pairs: VerdictPairs) -> None:
        self.corpus, self.ranking, self.filters, self.verdict_pairs = filters.corpus, filters.ranking, filters, verdict_pairs
        rows, depth = self.ranking.ids.shape
        self.start, self.end = min(filters.settings.window_start, depth), filters.end
        self.confirmed = _ranked(verdict_pairs.negative, self.ranking.ids[:, : self.end])
        self.keys = query_keys(self.corpus.query_hashes, filters.settings.seed, 1)
        self.reasons = np.empty((rows, depth), dtype=np.int8)
        # A corpus with fewer candidates than negatives wanted limits the arrays, not the count of short queries.
        places = (rows, min(filters.settings.negative_number, self.corpus.n_candidates))
        self.negatives = np.full(places, -1, dtype=np.int32)
        self.scores = np.full(places, np.nan, dtype=np.float32)
        self.sample = min(SAMPLE, rows, max(1, SAMPLED // max(1, self.end - self.start)))

    def block(self, first: int, stop: int, penalty: np.float32 | None) -> Rows:
        """Select for the queries [first, stop); return the count of each reason in their windows: (REASONS,) int64."""
        begin, window, scores, inside, confirmed = self._eligible(first, stop)
        eligible = inside == np.int8(Reason.NOT_DRAWN)
        if penalty is None:
            rows, places = self._drawn(window, scores, eligible, first, confirmed)
        else:
            part = self._valued(first, stop, begin, scores, eligible, confirmed)
            rows, places = np.divmod(_best(*part, penalty, self.negatives.shape[1]), max(1, scores.shape[1]))
        turn = np.arange(len(rows)) - np.searchsorted(rows, np.arange(stop - first))[rows]
        taken = turn < self.negatives.shape[1]
        rows, places, turn = rows[taken], places[taken], turn[taken]
        places = hardest_first(rows, places, scores, window)
        inside[rows, places] = Reason.CHOSEN
        self.negatives[first + rows, turn] = window[rows, places]
        self.scores[first + rows, turn] = scores[rows, places]

        self.reasons[first:stop, :begin] = Reason.BEFORE_WINDOW
        self.reasons[first:stop, begin : self.end] = inside
        self.reasons[first:stop, self.end :] = Reason.BEHIND_WINDOW
        # np.int8: a comparison with a Python int would convert the array to int64, ten times slower.
        return np.array([np.count_nonzero(inside == np.int8(reason)) for reason in range(REASONS)])

    def penalty_of_rate(self, rate: float) -> tuple[np.float32, str]:
        """Return the lowest of PENALTIES at which the negatives of the sample keep to the rate, else the highest, and `out_of_reach`."""
        rates: list[float] = []

        def kept(_: Floats, known: Floats) -> bool:
            rates.append(float(known.clip(0).sum(dtype=np.float64)) / max(1, len(known)))
            return rates[-1] <= rate

        found = self.lowest_penalty(kept)
        if found < len(PENALTIES):
            return np.float32(PENALTIES[found]), ""
        return np.float32(PENALTIES[-1]), (
            f"an estimated false-negative rate of {rate:.2%} is out of reach: the lowest possible is {min(rates):.2%}"
        )

    def lowest_penalty(self, reached: Callable[[Floats, Floats], bool]) -> int:
        """Return the place in PENALTIES of the lowest at which `reached` is true of the sample's negatives; their number if of none.

        `reached` gets the scores and the false-negative probabilities of the negatives from the window: (n,) float32. Once true, it must
        stay true for higher penalties.
        """
        parts = []
        for first, stop in row_blocks(self.sample, self.end - self.start):
            begin, _, scores, inside, confirmed = self._eligible(first, stop)
            parts.append(self._valued(first, stop, begin, scores, inside == np.int8(Reason.NOT_DRAWN), confirmed))

        def at(penalty: np.float32) -> bool:
            taken = [_best(*part, penalty, self.negatives.shape[1]) for part in parts]
            scores, known = (np.concatenate([part[each].ravel()[some] for part, some in zip(parts, taken, strict=True)]) for each in (0, 1))
            return bool(reached(scores, known))

        return bisect_left(PENALTIES, True, key=at)

    def _valued(
        self, first: int, stop: int, begin: int, scores: Floats, eligible: Bools, confirmed: tuple[Rows, Rows]
    ) -> tuple[Floats, Floats]:
        """Return scores, -inf if not eligible, and estimated probabilities, -inf if confirmed: those are taken first."""
        assert self.filters.estimator is not None
        found = self.filters.estimator.block(slice(first, stop), slice(begin, self.end))
        rows, places = (each[eligible[confirmed]] for each in confirmed)
        found[rows, places] = -np.inf
        return np.where(eligible, scores, np.float32(-np.inf)), found

    def _eligible(self, first: int, stop: int) -> tuple[int, Ids, Floats, npt.NDArray[np.int8], tuple[Rows, Rows]]:
        """Return the candidates of the queries [first, stop), with what rejects them.

        Returns:
            The rank at which the arrays begin; the passages and scores from there to the end of the window (rows, width); the reason of
            each, NOT_DRAWN for eligible ones; the places of confirmed candidates.
        """
        confirmed_rows, confirmed_ranks = _part(self.confirmed, first, stop)
        # Confirmed candidates are eligible before the window too: then the arrays begin at rank 0.
        begin = 0 if (confirmed_ranks < self.start).any() else self.start
        window = np.ascontiguousarray(self.ranking.ids[first:stop, begin : self.end])
        scores = np.ascontiguousarray(self.ranking.scores[first:stop, begin : self.end])

        # Later reasons overwrite earlier ones.
        inside = np.full(window.shape, Reason.NOT_DRAWN, dtype=np.int8)
        for reason, rejected in self.filters.rejections(first, stop, begin):
            np.copyto(inside, reason, where=rejected)
        inside[:, : self.start - begin] = Reason.BEFORE_WINDOW
        inside[confirmed_rows, confirmed_ranks - begin] = Reason.NOT_DRAWN
        _mark(inside, window, *_part(self.verdict_pairs.removed, first, stop), Reason.REMOVED)
        itself = self.corpus.query_passages[first:stop]
        some = np.flatnonzero(itself >= 0)
        _mark(inside, window, some, itself[some], Reason.QUERY_ITSELF)
        starts = self.corpus.positive_starts[first : stop + 1]
        owners = np.repeat(np.arange(stop - first), np.diff(starts))
        _mark(inside, window, owners, self.corpus.positive_ids[starts[0] : starts[-1]], Reason.POSITIVE)
        inside[:, : self.start - begin][inside[:, : self.start - begin] != Reason.NOT_DRAWN] = Reason.BEFORE_WINDOW
        return begin, window, scores, inside, (confirmed_rows, confirmed_ranks - begin)

    def _drawn(self, window: Ids, scores: Floats, eligible: Bools, first: int, confirmed: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        """Return rows and places of the candidates to take, by rank; a row may have more than there is room for: the first count."""
        width, room = window.shape[1], self.negatives.shape[1]
        near = width
        by_rank = self.filters.settings.strategy == "hardest" and descends(scores)
        if room < width and (not by_rank or len(confirmed[0])):
            if self.filters.settings.strategy == "random":
                random_keys = np.take(self.corpus.passage_hashes, window, mode="clip")
                random_keys ^= self.keys[first : first + len(window), None]
                splitmix64(random_keys, out=random_keys)
            elif not by_rank:
                random_keys = order_keys(scores, window)
            else:
                random_keys = np.tile(np.arange(1, width + 1, dtype=np.uint64), (len(window), 1))
            random_keys[confirmed] = 0
            np.copyto(random_keys, _LAST, where=~eligible)
            # The N lowest; more only if two texts have the same 64-bit hash, and then the lower ranks count.
            eligible &= random_keys <= np.partition(random_keys, room - 1, axis=1)[:, room - 1 : room]
        elif room < width:
            near = min(width, 2 * room)
            while near < width and (np.count_nonzero(eligible[:, :near], axis=1) < room).any():
                near = min(width, 2 * near)
        return np.divmod(np.flatnonzero(eligible[:, :near]), max(1, near))


def _best(scores: Floats, fn_probabilities: Floats, penalty: np.float32, room: int) -> Rows:
    """Return the flat places of the candidates to take: in each row the `room` highest score - penalty * probability, ties by rank.

    Those that are not eligible have a score of -inf.
    """
    width = scores.shape[1]
    if room >= width:
        return np.flatnonzero(scores > -np.inf)
    value = scores - penalty * fn_probabilities if penalty else np.where(fn_probabilities < 0, np.inf, scores)
    least = np.maximum(np.partition(value, width - room, axis=1)[:, width - room : width - room + 1], _LOWEST)
    found = np.flatnonzero(value >= least)
    counts = np.bincount(found // width, minlength=len(scores))
    if not len(tied := np.flatnonzero(counts > room)):
        return found
    taken = value >= least  # in the tied rows more than one is the last: by rank
    above = value[tied] > least[tied]
    level = taken[tied] & ~above
    left = room - np.count_nonzero(above, axis=1, keepdims=True)
    taken[tied] = above | (level & (np.cumsum(level, axis=1) <= left))
    return np.flatnonzero(taken)


def _ranked(pairs: tuple[Ids, Ids], ids: Ids) -> tuple[Rows, Rows]:
    """Return the sorted queries and ranks of those pairs (queries, passages) that are in the ranked `ids` (q, k)."""
    queries, passages = pairs
    width = max(1, ids.shape[1])
    rows, ranks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first, stop in row_blocks(len(queries), width):
        places, found = np.divmod(np.flatnonzero(ids[queries[first:stop]] == passages[first:stop, None]), width)
        rows.append(queries[first:stop][places].astype(np.int64))
        ranks.append(found)
    return np.concatenate(rows), np.concatenate(ranks)


def _part(pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]], first: int, stop: int) -> tuple[Rows, npt.NDArray[Any]]:
    """Return the pairs of the queries [first, stop), counted from `first`; the pairs are sorted by query."""
    begin, end = np.searchsorted(pairs[0], (first, stop))
    return pairs[0][begin:end].astype(np.int64) - first, pairs[1][begin:end]


def _mark(inside: npt.NDArray[np.int8], window: Ids, rows: Rows, passages: Ids, reason: Reason) -> None:
    """Write `reason` at each passage in the window of its row."""
    width = max(1, window.shape[1])
    for first in range(0, len(rows), len(window)):
        part = slice(first, first + len(window))
        pairs, places = np.divmod(np.flatnonzero(window[rows[part]] == passages[part, None]), width)
        inside[rows[part][pairs], places] = reason
