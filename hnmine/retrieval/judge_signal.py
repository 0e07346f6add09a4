"""The signal "judge": the grade that a judge gave to a query and a passage, where it was asked; NaN for all other candidates.

Grades are attached to a ranking whenever it is opened, as verdicts are, because most judgements are made after the ranking. So each ranking
with judgements holds one more array in memory: 200 MB for 100,000 queries x 500 candidates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking, ranks_of

__all__ = ["SIGNAL", "with_judge"]

SIGNAL = "judge"

Ids = npt.NDArray[np.int32]


def with_judge(corpus: Corpus, ranking: Ranking, queries: Ids, passages: Ids, grades: npt.NDArray[np.float32]) -> Ranking:
    """Return the ranking with the grades of some pairs as its signal "judge"; the same ranking if there are none.

    Args:
        queries, passages: (p,) int32, each pair once. grades: (p,) float32, NaN where the judge gave none.
    """
    if not len(queries):
        return ranking
    found = np.full(ranking.ids.shape, np.nan, np.float32)
    ranks = ranks_of(ranking.ids, queries, passages)
    ranked = ranks >= 0
    found[queries[ranked], ranks[ranked]] = grades[ranked]
    count = len(corpus.passages)
    held = corpus.positive_queries.astype(np.int64) * count + corpus.positive_ids  # sorted
    asked = queries.astype(np.int64) * count + passages
    places = np.minimum(np.searchsorted(held, asked), len(held) - 1)
    own = held[places] == asked
    positives = np.full(len(held), np.nan, np.float32)
    positives[places[own]] = grades[own]
    return replace(ranking, signals=ranking.signals | {SIGNAL: found}, positive_signals=ranking.positive_signals | {SIGNAL: positives})
