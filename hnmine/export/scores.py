"""Scores to write beside the passages: similarities of the mining model, or logits of a reranker for distillation.

Only pairs that are written and that the ranking has no reranker score for are scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.models.reranker import Places
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.rerank import SIGNAL, Ids, Scorer
from hnmine.selection.select import Selection

__all__ = ["PairScores", "model_scores", "numbers", "teacher_scores", "unscored"]


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """The scores to write beside the passages, of a model or a reranker.

    Attributes:
        positives: float32, one for each entry of `Corpus.positive_ids`.
        negatives: (q, N) float32, one for each entry of `Selection.negatives`.
    """

    positives: npt.NDArray[np.float32]
    negatives: npt.NDArray[np.float32]

    def of_positives(self, corpus: Corpus, query: int, passages: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the scores of some of a query's positives, (p,)."""
        return np.asarray(self.positives[corpus.positive_starts[query] + np.searchsorted(corpus.positives(query), passages)])


def model_scores(ranking: Ranking, selection: Selection) -> PairScores:
    """Return the similarities of the mining model as scores to write."""
    return PairScores(ranking.positive_scores, selection.scores)


def numbers(values: Iterable[np.float32 | int]) -> bytes:
    """Return scores or labels as a JSON array."""
    # str() of a float32 is its shortest exact form: 0.6123457 rather than 0.6123456954956055.
    return ("[" + ", ".join(str(value) for value in values) + "]").encode()


def _known(ranking: Ranking, corpus: Corpus, selection: Selection) -> tuple[PairScores, Places, Places, Places]:
    """Return the known reranker scores of the pairs to write, and the places without one: rows, columns, positives."""
    rows, places = np.nonzero(selection.negatives >= 0)
    ranks = ranks_of(ranking.ids, rows.astype(np.int32), selection.negatives[rows, places])
    negatives = np.full(selection.negatives.shape, np.nan, dtype=np.float32)
    negatives[rows, places] = np.where(ranks >= 0, ranking.signals[SIGNAL][rows, ranks], np.float32(np.nan))
    unknown = np.isnan(negatives[rows, places])
    positives = np.array(ranking.positive_signals[SIGNAL])
    return PairScores(positives, negatives), rows[unknown], places[unknown], np.flatnonzero(np.isnan(positives))


def unscored(ranking: Ranking, corpus: Corpus, selection: Selection) -> tuple[Ids, Ids]:
    """Return the pairs to write without a reranker score: (queries, passages), (p,) int32 each."""
    _, rows, places, alone = _known(ranking, corpus, selection)
    queries = np.concatenate([rows.astype(np.int32), corpus.positive_queries[alone]])
    return queries, np.concatenate([selection.negatives[rows, places], corpus.positive_ids[alone]])


def teacher_scores(
    ranking: Ranking,
    corpus: Corpus,
    selection: Selection,
    scorer: Callable[[], Scorer],
    *,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> PairScores:
    """Return raw logits for every pair to write; `scorer` is called if the reranker signal of `ranking` lacks some of them.

    Raises:
        As `Scorer.score`.
    """
    scores, rows, places, alone = _known(ranking, corpus, selection)
    if len(rows) or len(alone):
        found = scorer().score(*unscored(ranking, corpus, selection), on_progress=on_progress, should_stop=should_stop)
        scores.negatives[rows, places] = found[: len(rows)]
        scores.positives[alone] = found[len(rows) :]
    return scores
