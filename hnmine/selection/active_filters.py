"""The filters that some settings use, bound to a corpus and a ranking.

They reject candidates of the rank window in blocks, and single pairs when gaps are filled from outside the window: a passage that a filter
rejects must not come back as random fill. For such pairs the similarity to the positives is computed; other signals are known only for
candidates that are ranked in the window, and unknown signals reject nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import JUDGE, positive_similarity
from hnmine.selection.filters import ScoreFilter
from hnmine.selection.fn_model import FNEstimator, FNModel, default_fn_model
from hnmine.selection.positive_score import positive_score
from hnmine.selection.settings import SelectionSettings

__all__ = ["ActiveFilters"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


# What else a run can lack, and where it is from.
_REMEDIES = {
    "reranker": "mine with a reranker",
    JUDGE: "give judgements of its pairs, which python -m hnmine judge writes, or leave the filter out",
}


class ActiveFilters:
    """The filters in use.

    Attributes:
        settings: which filters, and their values.
        corpus, ranking: what is filtered; `end`: signals count for ranks below it.
        active: whether any filter is in use.
        estimator: the false-negative model, or None when the settings do not use it.
        positive: (q,) float32, `positive_score`.
    """

    def __init__(self, corpus: Corpus, ranking: Ranking, settings: SelectionSettings, model: FNModel | FNEstimator | None = None) -> None:
        """Bind the filters; `model` is the false-negative model or its estimator for this ranking, None for the default model.

        Raises:
            SettingsError: the ranking lacks a signal that the settings need.
        """
        if missing := [name for name in settings.signals if name not in ranking.signals]:
            users = [each.name for each, _ in settings.filters if set(each.signals) & set(missing)] or settings.targets
            remedy = _REMEDIES.get(missing[0], "mine again to compute it") if len(missing) == 1 else "mine again to compute it"
            raise SettingsError(f"{users[0]} needs the signal {missing[0]!r}, which this run does not have; {remedy}")
        self.settings, self.corpus, self.ranking = settings, corpus, ranking
        if not settings.uses_fn_model:
            self.estimator = None
        else:
            self.estimator = model if isinstance(model, FNEstimator) else FNEstimator(corpus, ranking, model or default_fn_model())
        self.end = min(settings.window_end, ranking.depth)
        self.positive = positive_score(corpus, ranking, settings)
        self.active = bool(settings.filters)
        self._positive_signals: dict[str, Floats] = {}
        self._by_score = [(each, value) for each, value in settings.filters if isinstance(each, ScoreFilter)]
        self._others = [(each, value) for each, value in settings.filters if not isinstance(each, ScoreFilter)]

    def rejections(self, first: int, stop: int, begin: int) -> list[tuple[int, Bools]]:
        """Return (reason, mask) of each filter in use, the last of FILTERS first, for the queries [first, stop).

        The masks are (queries, width), for the ranks from `begin` to the end of the window.
        """
        block = _Block(self, slice(first, stop), slice(begin, self.end))
        return [(each.reason, each.reject(block, value)) for each, value in reversed(self.settings.filters)]

    def rejected(self, scores: Floats, queries: Rows, *, tolerance: float = 0.0) -> Bools:
        """Return which scores the filters by score reject, in the shape of `scores`: (p,) or (p, w), of `queries` (p,).

        Scores beyond a bound by less than `tolerance` pass; with a negative one, scores closer to it than that are rejected.
        """
        positive = self.positive[queries] if scores.ndim == 1 else self.positive[queries, None]
        found = np.zeros(scores.shape, dtype=bool)
        for each, value in self._by_score:
            found |= each.beyond(scores, positive, value, tolerance)
        return found

    def rejected_pairs(self, queries: npt.NDArray[Any], passages: npt.NDArray[Any]) -> Bools:
        """Return which pairs of a query and any passage the other filters reject: (p,)."""
        pairs = _Pairs(self, queries.astype(np.int32), passages.astype(np.int32))
        found = np.zeros(len(queries), dtype=bool)
        for each, value in self._others:
            found |= each.reject(pairs, value)
        return found

    def positive_signal(self, name: str) -> Floats:
        """Return a signal of the positives, combined for each query as `positive`: (q,) float32."""
        if name not in self._positive_signals:
            values = self.ranking.positive_signals[name]
            self._positive_signals[name] = positive_score(self.corpus, self.ranking, self.settings, values)
        return self._positive_signals[name]


class _Block:
    """`Candidates` as a block: some ranks of some queries."""

    def __init__(self, filters: ActiveFilters, rows: slice, ranks: slice) -> None:
        self._filters, self._at = filters, (rows, ranks)
        self.positive = filters.positive[rows, None]

    @property
    def scores(self) -> Floats:
        return np.asarray(self._filters.ranking.scores[self._at])

    def signal(self, name: str) -> Floats:
        return np.asarray(self._filters.ranking.signals[name][self._at])

    def positive_signal(self, name: str) -> Floats:
        return self._filters.positive_signal(name)[self._at[0], None]

    def fn_probabilities(self) -> Floats:
        assert self._filters.estimator is not None
        return self._filters.estimator.block(*self._at)


class _Pairs:
    """`Candidates` as pairs of queries and passages, (p,) each, ranked or not."""

    def __init__(self, filters: ActiveFilters, queries: Ids, passages: Ids) -> None:
        self._filters, self._queries, self._passages = filters, queries, passages
        self.positive = filters.positive[queries]

    @property
    def scores(self) -> Floats:
        return self._filters.ranking.score_pairs(self._queries, self._passages)

    @cached_property
    def _similarity(self) -> Floats:
        return positive_similarity(self._filters.corpus, self._filters.ranking, self._queries, self._passages)

    @cached_property
    def _ranks(self) -> Ids:
        """The ranks in the window, -1 for other pairs."""
        return ranks_of(self._filters.ranking.ids[:, : self._filters.end], self._queries, self._passages)

    def _if_ranked(self, values_of: Callable[[Ids, Ids], Floats]) -> Floats:
        """Return the values of (queries, ranks) for the pairs that are ranked in the window, NaN for others."""
        values = np.full(len(self._queries), np.nan, np.float32)
        known = self._ranks >= 0
        values[known] = values_of(self._queries[known], self._ranks[known])
        return values

    def signal(self, name: str) -> Floats:
        if name == "positive_similarity":
            return self._similarity
        return self._if_ranked(lambda queries, ranks: np.asarray(self._filters.ranking.signals[name][queries, ranks]))

    def positive_signal(self, name: str) -> Floats:
        return self._filters.positive_signal(name)[self._queries]

    def fn_probabilities(self) -> Floats:
        assert self._filters.estimator is not None
        return self._if_ranked(self._filters.estimator.pairs)
