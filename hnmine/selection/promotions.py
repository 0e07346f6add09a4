"""Add the passages that reviewers judged positive to the positives of their queries.

This changes both corpus and ranking, so that filters, signals and exports treat them like positives of the training file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import VerdictPairs
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import with_positive_similarity

__all__ = ["apply_promotions"]


def apply_promotions(corpus: Corpus, ranking: Ranking, verdict_pairs: VerdictPairs) -> tuple[Corpus, Ranking]:
    """Return a corpus and ranking with these passages as positives of their queries; do not change the given ones.

    The signal `positive_similarity` is computed again for queries that get a positive; `overlap` is not.
    """
    queries, passages = verdict_pairs.positive
    if not len(queries):
        return corpus, ranking
    count = len(corpus.passages)
    held = corpus.positive_queries.astype(np.int64) * count + corpus.positive_ids
    wanted = queries.astype(np.int64) * count + passages
    places = np.searchsorted(held, wanted)
    new = (places == len(held)) | (held[np.minimum(places, len(held) - 1)] != wanted)
    places, scores = places[new], ranking.score_pairs(queries[new], passages[new])
    bounds = np.arange(len(corpus.queries) + 1, dtype=np.int64)
    amended = replace(
        corpus,
        positive_starts=corpus.positive_starts + np.searchsorted(queries[new], bounds),
        positive_ids=np.insert(corpus.positive_ids, places, passages[new]),
        promoted_starts=np.searchsorted(queries, bounds).astype(np.int64),
        promoted_ids=passages,
    )
    ranked = ranks_of(ranking.ids, queries[new], passages[new])
    known = {  # the passage was a candidate, if it is ranked
        name: np.insert(held, places, np.where(ranked >= 0, ranking.signals[name][queries[new], ranked], np.float32(np.nan)))
        for name, held in ranking.positive_signals.items()
    }
    ranking = replace(ranking, positive_scores=np.insert(ranking.positive_scores, places, scores), positive_signals=known)
    if "positive_similarity" in ranking.signals:
        ranking = with_positive_similarity(amended, ranking, np.unique(queries[new]))
    return amended, ranking
