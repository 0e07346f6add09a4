"""Order of candidates by hardness: the similarity to the query by the run's model, ties by passage id.

A ranking by one model is already in this order. A fused one is not: its ranks are fused ranks.
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
    """Return whether the scores (q, k) descend in each row."""
    return not (scores[:, 1:] > scores[:, :-1]).any()


def order_keys(scores: Floats, ids: Ids) -> npt.NDArray[np.uint64]:
    """Return a unique sort key for each candidate of a row, lower for harder ones: (q, k).

    Scores are finite without negative zeros, as from `similarity.pair_scores`.
    """
    bits = scores.view(np.uint32)
    # The bits of a float ascend with its value if it is positive, and descend if it is negative.
    ascending = bits ^ np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return (~ascending).astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64)


def hardest_first(rows: Rows, places: npt.NDArray[Any], scores: Floats, ids: Ids) -> npt.NDArray[Any]:
    """Return `places` (m,) in rows of `scores` and `ids` (q, k), hardest first within each of `rows` (m,), which ascend."""
    values, passages = scores[rows, places], ids[rows, places]
    wrong = (values[1:] > values[:-1]) | ((values[1:] == values[:-1]) & (passages[1:] < passages[:-1]))
    if not (wrong & (rows[1:] == rows[:-1])).any():
        return places
    return places[np.lexsort((passages, -values, rows))]
