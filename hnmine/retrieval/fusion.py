"""Reciprocal-rank fusion: one list from several ranked ones.

Similarities of two models, or of a model and BM25, are on different scales; ranks are not. Each list gives a passage 1 / (60 + rank),
with ranks from 1, and the sums order the fused list (Cormack, Clarke and Buettcher, SIGIR 2009, with their constant). Every list is
FUSION_DEPTH deep, however few fused ranks are wanted: otherwise the app, which ranks 500, and the command line, which ranks to the
window's end, would differ. Rows are sorted as packed integers, without a loop over candidates: 10,000 queries x (1,000 + 1,000) take 1.5
s on one core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks

__all__ = ["FUSION_DEPTH", "RANK_CONSTANT", "fused"]

Ids = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
Packed = npt.NDArray[np.uint64]

RANK_CONSTANT = 60
FUSION_DEPTH = 1_000

# A key is a sum above a place in its row: three lists of FUSION_DEPTH have 3,000 places.
MOST_LISTS = 3
PLACE_BITS = 12
SUM_BITS = 51
# Sums are whole multiples of 2^-55, so that they do not depend on the order of adding up: 3 / 61 stays below 2^51 of them.
SCALE = 2.0**55
_NONE = np.uint64(2**32 - 1)
_LAST = np.uint64(2**64 - 1)


def fused(lists: Sequence[Ids], depth: int, *, behind: Ids | None = None) -> tuple[Ids, list[Ids]]:
    """Return the head of the fused list of each query, and the rank of its passages in each list.

    Args:
        lists: each (q, w) int32, w at least 1, passage ids, best first and none twice in a row; -1 behind the last one.
        depth: ranks wanted (k). The first k of a deeper call are the same.
        behind: (q, w) int32, the list to continue with where the others hold fewer than `depth`; it adds nothing to the sums.

    Returns:
        ids: (q, k) int32, -1 where all lists together hold fewer; equal sums in ascending id, which is the order of the text hash.
        ranks: for each of `lists` (q, k) int32, ranks from 0, -1 where the list does not hold the passage.
    """
    every = [*lists, *([] if behind is None else [behind])]
    widths = [each.shape[1] for each in every]
    places = sum(widths)
    if places > 2**PLACE_BITS or len(lists) > MOST_LISTS:
        raise ValueError(f"{len(lists)} lists, {places:,} ranks together, are too many to fuse; at most {MOST_LISTS}, {2**PLACE_BITS:,}")
    owner = np.repeat(np.arange(len(every)), widths)
    local = np.concatenate([np.arange(width) for width in widths]).astype(np.int32)
    votes = np.rint(SCALE / (RANK_CONSTANT + 1 + local)).astype(np.int64)
    votes[owner >= len(lists)] = 0
    # Far below the least vote, so that it orders only passages without a vote.
    turns = np.where(owner >= len(lists), places - local, 0).astype(np.int64)
    ids = np.empty((len(every[0]), depth), dtype=np.int32)
    ranks = [np.empty_like(ids) for _ in lists]
    for first, stop in row_blocks(len(ids), max(1, places)):
        rows = np.concatenate([each[first:stop] for each in every], axis=1).astype(np.uint32)  # -1 becomes the last of all
        packed = rows.astype(np.uint64) << np.uint64(32) | np.arange(places, dtype=np.uint64)
        packed.sort(axis=1)
        passages, origin = packed >> np.uint64(32), (packed & _NONE).astype(np.int64)
        columns, held = _best(passages, votes[origin], turns[origin], len(every), depth)
        found = np.take_along_axis(passages, columns, 1)
        ids[first:stop] = np.where(held, found, _NONE).astype(np.uint32).view(np.int32)
        for number, each in enumerate(ranks):
            each[first:stop] = -1
            for step in range(len(every)):  # the same passage of other lists follows directly
                there = np.minimum(columns + step, places - 1)
                origins = np.take_along_axis(origin, there, 1)
                same = held & (np.take_along_axis(passages, there, 1) == found) & (owner[origins] == number)
                np.copyto(each[first:stop], local[origins], where=same)
    return ids, ranks


def _best(passages: Packed, votes: Numbers, turns: Numbers, lists: int, depth: int) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return the places (r, depth) of the highest sums in rows sorted by passage, and which of them hold any.

    `votes` and `turns` (r, w) are those of each place; a passage occurs at most `lists` times in a row, and counts at its
    first place.
    """
    width = passages.shape[1]
    sums = votes.copy()
    for step in range(1, min(lists, width)):
        sums[:, :-step] += votes[:, step:] * (passages[:, step:] == passages[:, :-step])
    np.copyto(sums, turns, where=sums == 0)
    keys = (np.int64(2**SUM_BITS) - sums).astype(np.uint64) << np.uint64(PLACE_BITS) | np.arange(width, dtype=np.uint64)
    np.copyto(keys, _LAST, where=passages == _NONE)
    np.copyto(keys[:, 1:], _LAST, where=passages[:, 1:] == passages[:, :-1])
    if depth < width:
        keys = np.partition(keys, depth - 1, axis=1)[:, :depth]
    keys.sort(axis=1)
    if depth > width:
        keys = np.pad(keys, ((0, 0), (0, depth - width)), constant_values=_LAST)
    held = keys != _LAST
    return np.where(held, keys & np.uint64(2**PLACE_BITS - 1), 0).astype(np.int64), held
