"""The guards of a selection, as limits for each query: by score, by the positive's score, and by signals.

`Filters` marks blocks of ranked candidates, and single pairs when gaps are filled from outside the window: what a guard rejects must not
come back by chance. There a pair's likeness to the positives is computed; other signals are known of what is ranked in the window, and
behind it nobody is suspected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import positive_similarity
from hnmine.selection.fn_model import FNEstimator, FNModel, default_fn_model
from hnmine.selection.positive_score import positive_score
from hnmine.selection.settings import FILTERS, Reason, SelectionSettings

__all__ = ["Filters"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

# The guards that a score and its query's positive_score decide.
BY_SCORE = {guard.setting for guard in FILTERS if not guard.signals}


class Filters:
    """The guards of some settings, bound to what they are asked about.

    Attributes:
        settings: what is rejected; end: ranks below this have signals that count.
        estimator: gives the estimate of suspicion, or None when nobody asks for it.
        positive: (q,) float32, `positive_score`.
    """

    def __init__(self, corpus: Corpus, ranking: Ranking, settings: SelectionSettings, model: FNModel | None = None) -> None:
        """Settle what the limits of each query are.

        Raises:
            SettingsError: the ranking lacks a signal that the settings need.
        """
        if missing := [name for name in settings.signals if name not in ranking.signals]:
            used = [guard.setting for guard in settings.guards if set(guard.signals) & set(missing)] or ["max_fn_rate"]
            remedy = "name a reranker" if missing == ["reranker"] else "mine again to have it"
            raise SettingsError(f"{used[0]} needs the signal {missing[0]!r}, which this run does not have; {remedy}")
        self.settings = settings
        self.estimator = FNEstimator(corpus, ranking, model or default_fn_model()) if settings.uses_fn_model else None
        self.end = min(settings.window_end, ranking.depth)
        self._corpus, self._ranking = corpus, ranking
        self.positive = positive_score(corpus, ranking, settings)
        self._reranked: Floats | None = None
        if settings.reranker_margin is not None:
            self._reranked = positive_score(corpus, ranking, settings, ranking.positive_signals["reranker"])
        self._by_signal = tuple(guard for guard in settings.guards if guard.signals)
        self._by_score = tuple(guard for guard in settings.guards if not guard.signals)

    @property
    def active(self) -> bool:
        """Whether any guard is in use."""
        return bool(self.settings.guards)

    def rejections(self, first: int, stop: int, begin: int, scores: Floats) -> list[tuple[Reason, Bools]]:
        """Return (reason, mask) of each guard in use, the last of `Reason` first, for a block of candidates.

        The queries are [first, stop), the ranks from `begin` on, as many as `scores` (rows, width) has.
        """
        rows, ranks = slice(first, stop), slice(begin, begin + scores.shape[1])
        found = [(guard.reason, self._signalled(guard.setting, rows, ranks, self.positive[rows, None])) for guard in self._by_signal]
        found = [*self._scored(scores, self.positive[rows, None], 0.0), *found]
        return found[::-1]

    def rejected(self, scores: Floats, queries: Rows, *, tolerance: float = 0.0) -> Bools:
        """Return which scores a guard by score rejects: those of `queries` (p,), as (p,) or (p, w).

        Scores beyond a limit by less than `tolerance` are let pass; with a negative one, scores that are within it by less are rejected.
        """
        anchors = self.positive[queries] if scores.ndim == 1 else self.positive[queries, None]
        masks = [mask for _, mask in self._scored(scores, anchors, tolerance)]
        return np.logical_or.reduce(masks) if masks else np.zeros(scores.shape, dtype=bool)

    def rejected_pairs(self, queries: npt.NDArray[Any], passages: npt.NDArray[Any]) -> Bools:
        """Return which pairs of a query and any passage a guard by signals rejects: (p,)."""
        found = np.zeros(len(queries), dtype=bool)
        if not self._by_signal:
            return found
        queries, passages = queries.astype(np.int32), passages.astype(np.int32)
        if self.settings.max_positive_similarity is not None or self.settings.max_positive_similarity_ratio is not None:
            alike = positive_similarity(self._corpus, self._ranking, queries, passages)
            found |= alike > self._most_alike(self.positive[queries])
        left = np.flatnonzero(~found)
        ranks = ranks_of(self._ranking.ids[:, : self.end], queries[left], passages[left])
        here, ranks = left[ranks >= 0], ranks[ranks >= 0]
        for guard in self._by_signal:
            found[here] |= self._signalled(guard.setting, queries[here], ranks, self.positive[queries[here]])
        return found

    def _scored(self, scores: Floats, anchors: Floats, tolerance: float) -> list[tuple[Reason, Bools]]:
        settings, slack = self.settings, np.float32(tolerance)
        found: list[tuple[Reason, Bools]] = []
        for guard in self._by_score:
            match guard.setting:
                case "max_score":
                    mask = scores > np.float32(settings.max_score) + slack
                case "min_score":
                    mask = scores < np.float32(settings.min_score) - slack
                case "max_positive_ratio":
                    mask = scores > _share(anchors, settings.max_positive_ratio) + slack
                case _:
                    mask = scores > anchors - np.float32(settings.margin) + slack
            found.append((guard.reason, mask))
        return found

    def _signalled(self, setting: str, rows: Any, ranks: Any, anchors: Floats) -> Bools:
        """Return which candidates, a block or single ones, a guard by a signal rejects; what is not known is not rejected."""
        value = getattr(self.settings, setting)
        limit, signals = np.float32(value), self._ranking.signals
        match setting:
            case "max_positive_similarity":
                mask = signals["positive_similarity"][rows, ranks] > limit
            case "max_positive_similarity_ratio":
                mask = signals["positive_similarity"][rows, ranks] > _share(anchors, value)
            case "max_overlap":
                mask = signals["overlap"][rows, ranks] > limit
            case "reranker_margin":
                assert self._reranked is not None
                own = self._reranked[rows, None] if isinstance(rows, slice) else self._reranked[rows]
                mask = signals["reranker"][rows, ranks] > own - limit
            case _:
                assert self.estimator is not None
                block = isinstance(rows, slice)
                mask = (self.estimator.block(rows, ranks) if block else self.estimator.pairs(rows, ranks)) > limit
        return np.asarray(mask)

    def _most_alike(self, anchors: Floats) -> Floats:
        settings = self.settings
        limit = np.full(anchors.shape, np.inf, np.float32)
        if settings.max_positive_similarity is not None:
            limit = np.minimum(limit, np.float32(settings.max_positive_similarity))
        if settings.max_positive_similarity_ratio is not None:
            limit = np.minimum(limit, _share(anchors, settings.max_positive_similarity_ratio))
        return limit


def _share(anchors: Floats, share: float | None) -> Floats:
    """Return share * positive_score, written so that it lowers the limit for a negative positive_score too.

    Scores are compared with this product, not `ratio_to_positive` with the share: a ratio has no meaning for a negative positive_score.
    """
    assert share is not None
    return np.asarray(anchors - np.float32(1 - share) * np.abs(anchors))
