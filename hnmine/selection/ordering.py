"""Hardest first, whatever the order of the ranks.

A ranking by one model descends in similarity, so the hardest of its candidates are the first ones. A fused ranking (`fusion`) does
not: its first rank may be a passage that BM25 found and the model puts far away. *Rank* then means the fused rank, which is what
the window cuts; *hardness* is always the similarity to the query by the run's model, because trainers that truncate keep the
hardest, and because the scores beside the negatives are these similarities. Equal ones stand in the order of passage ids, which is
that of the text hash.

Whether ranks descend is looked at and not told: a pass over what was chosen, a hundredth of the time of a selection.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["descends", "hardest_first", "order_keys"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


def descends(scores: Floats) -> bool:
    """Return whether no score (q, k) is higher than the one before it in its row."""
    return not (scores[:, 1:] > scores[:, :-1]).any()


def order_keys(scores: Floats, ids: Ids) -> npt.NDArray[np.uint64]:
    """Return a number for each of (q, k) candidates, lower the harder it is, equal scores by id; no two of a row share one.

    Scores are finite and no negative zeros, as `pairs.pair_scores` gives them.
    """
    bits = scores.view(np.uint32)
    # The bits of floats ascend with their values from 0 up, and descend below it.
    ascending = bits ^ np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return (~ascending).astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64)


def hardest_first(rows: Rows, places: npt.NDArray[Any], scores: Floats, ids: Ids) -> npt.NDArray[Any]:
    """Return `places` (m,) into rows of `scores` and `ids` (q, k), put in order within each of `rows` (m,), which is ascending."""
    values, passages = scores[rows, places], ids[rows, places]
    wrong = (values[1:] > values[:-1]) | ((values[1:] == values[:-1]) & (passages[1:] < passages[:-1]))
    if not (wrong & (rows[1:] == rows[:-1])).any():
        return places
    return places[np.lexsort((passages, -values, rows))]
