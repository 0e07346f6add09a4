"""What there is to rank: unique queries, unique passages, and who is whose positive.

Two texts are the same when they agree after Unicode NFC, case folding and white-space folding, so a positive cannot
come back as a negative by a stray blank. The text kept for encoding and writing is always an original (of several
spellings the smallest by code point, so that the order of the rows has no say).

Everything is held in *canonical order*, by a 64-bit hash of the folded text. Ids therefore depend on the set of texts
alone: shuffled rows give the same ids, the same encoding batches, the same ranks, and a smaller id is the tie-break "by
text hash".

Equal texts are found by sorting the hashes, not in a dictionary of folded texts, and only texts with one hash are compared: folding
and hashing cost 4 µs for 800 ASCII characters and three times that for others; beyond the texts themselves, which are shared with
what was read, a corpus holds 17 bytes a passage, and 110 while it is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.text import _folded, _hash
from hnmine.data.rows import Row

__all__ = ["SOURCE_NEG", "SOURCE_POOL", "SOURCE_POS", "Corpus", "PoolMode", "build_corpus", "find"]

PoolMode = Literal["extend", "replace"]

# Where a passage was seen; flags of Corpus.sources.
SOURCE_POS, SOURCE_NEG, SOURCE_POOL = 1, 2, 4


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Unique queries and passages of a data set, in canonical order.

    Passages `0 .. n_candidates - 1` may become negatives; those behind are positives that are encoded for their score alone
    (`pool_mode="replace"`). Positives are stored as compressed rows: those of query `i` are
    `positive_ids[positive_starts[i]:positive_starts[i + 1]]`, and of row `r` (in file order, spelling kept in the row)
    `row_positive_ids[row_positive_starts[r]:row_positive_starts[r + 1]]`.

    Attributes:
        passages: original texts, length n.
        passage_hashes: (n,) uint64, of the folded text.
        sources: (n,) uint8, flags SOURCE_POS | SOURCE_NEG | SOURCE_POOL.
        n_candidates: how many of the passages may be mined.
        queries: original texts, length q; rows that ask the same share one.
        query_hashes: (q,) uint64, of the folded text.
        query_passages: (q,) int32, the passage with the very text of the query, or -1.
        row_queries: (rows,) int32, the query of each row.
        positive_starts: (q + 1,) int64; positive_ids: int32, ascending and unique within a query.
        row_positive_starts: (rows + 1,) int64; row_positive_ids: int32, one for each entry of the row's `pos`.
        pool_mode: how the pool was used, or None when there was none.
        promoted_starts: (q + 1,) int64; promoted_ids: int32, ascending within a query: those of `positive_ids` that people promoted
            (`verdicts.apply_promotions`). Both are empty when there is none: ask `promoted`.
    """

    passages: Sequence[str]
    passage_hashes: npt.NDArray[np.uint64]
    sources: npt.NDArray[np.uint8]
    n_candidates: int
    queries: Sequence[str]
    query_hashes: npt.NDArray[np.uint64]
    query_passages: npt.NDArray[np.int32]
    row_queries: npt.NDArray[np.int32]
    positive_starts: npt.NDArray[np.int64]
    positive_ids: npt.NDArray[np.int32]
    row_positive_starts: npt.NDArray[np.int64]
    row_positive_ids: npt.NDArray[np.int32]
    pool_mode: PoolMode | None
    promoted_starts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    promoted_ids: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def positives(self, query: int) -> npt.NDArray[np.int32]:
        """Return the passage ids that any row with this query calls positive, ascending."""
        return self.positive_ids[self.positive_starts[query] : self.positive_starts[query + 1]]

    def promoted(self, query: int) -> npt.NDArray[np.int32]:
        """Return the passage ids that people promoted to positives of this query, ascending."""
        if not len(self.promoted_ids):
            return self.promoted_ids
        return self.promoted_ids[self.promoted_starts[query] : self.promoted_starts[query + 1]]

    @property
    def positive_queries(self) -> npt.NDArray[np.int32]:
        """The query of each entry of `positive_ids`."""
        return np.repeat(np.arange(len(self.queries), dtype=np.int32), np.diff(self.positive_starts))


def _unique(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the unique texts in canonical order, the hashes of their folded forms, and for each text given the place of its like."""
    hashes = np.fromiter((_hash(_folded(text)) for text in texts), np.uint64, len(texts))
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    new = np.ones(len(texts), dtype=bool)
    np.not_equal(ranked[1:], ranked[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(texts))
    several = ends - starts > 1
    for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
        alike = order[start:end].tolist()
        if any(texts[index] != texts[alike[0]] for index in alike):  # spellings of one text, or two texts with one hash
            pairs = sorted((_folded(texts[index]), texts[index], index) for index in alike)
            order[start:end] = [index for _, _, index in pairs]
            new[start + 1 : end] = [one[0] != other[0] for one, other in pairwise(pairs)]
    first = order[new]
    places = np.empty(len(texts), dtype=np.int64)
    places[order] = np.cumsum(new) - 1
    return [texts[index] for index in first.tolist()], hashes[first], places


def find(
    texts: Sequence[str], among: Sequence[str], keys: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.int32]:
    """Return for each of `texts` the place of its like `among` texts in canonical order, or -1: (n,) int32.

    `keys` are the hashes of `among`, ascending; `hashes` those of `texts`, if they are known.
    """
    if hashes is None:
        hashes = np.fromiter((_hash(_folded(text)) for text in texts), np.uint64, len(texts))
    found = np.full(len(texts), -1, dtype=np.int32)
    starts, ends = np.searchsorted(keys, hashes), np.searchsorted(keys, hashes, side="right")
    some = np.flatnonzero(ends > starts)
    for number, start, end in zip(some.tolist(), starts[some].tolist(), ends[some].tolist(), strict=True):
        text = texts[number]
        if end - start == 1 and among[start] == text:  # the usual case: no need to fold
            found[number] = start
            continue
        wanted = _folded(text)
        found[number] = next((place for place in range(start, end) if _folded(among[place]) == wanted), -1)
    return found


def build_corpus(rows: Sequence[Row], pool: Sequence[str] | None = None, *, pool_mode: PoolMode = "extend") -> Corpus:
    """Gather the unique queries and passages of `rows` and `pool`.

    Args:
        rows: training rows.
        pool: further candidate passages, or None.
        pool_mode: "extend" ranks the union of all `pos`, all `neg` and the pool; "replace" ranks the pool alone, as hn_mine.py does.

    Raises:
        SettingsError: `pool_mode` is unknown, or "replace" without a pool.
        InputError: there is no row, or no candidate.
    """
    if pool_mode not in ("extend", "replace"):
        raise SettingsError(f"pool_mode is {pool_mode!r}; it must be 'extend' or 'replace'")
    if pool is None and pool_mode == "replace":
        raise SettingsError("pool_mode is 'replace' but there is no candidate_pool; give one, or use pool_mode='extend'")
    if not rows:
        raise InputError("there is no usable training row; at least one line with `query` and `pos` is needed")

    queries, query_hashes, row_queries = _unique([row.query for row in rows])
    # Rows repeat their passages, so these are told apart by the letter before anything is folded.
    slots: dict[str, int] = {}
    row_starts = np.concatenate([[0], np.cumsum([len(row.pos) for row in rows])]).astype(np.int64)
    positive_slots = np.fromiter((slots.setdefault(text, len(slots)) for row in rows for text in row.pos), np.int64, int(row_starts[-1]))
    negatives = (text for row in rows for text in row.neg) if pool_mode == "extend" else ()
    negative_slots = np.fromiter((slots.setdefault(text, len(slots)) for text in negatives), np.int64)
    given = [*slots, *(pool or ())]
    given_sources = np.zeros(len(given), dtype=np.uint8)
    given_sources[positive_slots] |= SOURCE_POS
    given_sources[negative_slots] |= SOURCE_NEG
    given_sources[len(slots) :] = SOURCE_POOL
    del slots

    passages, hashes, places = _unique(given)
    sources = np.zeros(len(passages), dtype=np.uint8)
    np.bitwise_or.at(sources, places, given_sources)
    query_passages = find(queries, passages, hashes, query_hashes)
    row_ids = places[positive_slots].astype(np.int32)
    n_candidates = len(passages)
    if pool_mode == "replace":
        candidate = (sources & SOURCE_POOL) > 0
        n_candidates = int(candidate.sum())
        order = np.argsort(~candidate, kind="stable")  # candidates in front; each part stays in order
        moved = np.empty(len(order) + 1, dtype=np.int32)
        moved[order], moved[-1] = np.arange(len(order)), -1
        passages, hashes, sources = [passages[index] for index in order.tolist()], hashes[order], sources[order]
        row_ids, query_passages = moved[row_ids], moved[query_passages]
    if n_candidates == 0:
        raise InputError('the candidate pool holds no passage; add lines such as {"text": "..."} or leave the pool out')

    # One sorted, unique (query, positive) list serves every row that asks the same.
    pairs = np.unique(np.repeat(row_queries, np.diff(row_starts)) * len(passages) + row_ids)
    starts = np.searchsorted(pairs, np.arange(len(queries) + 1, dtype=np.int64) * len(passages))

    return Corpus(
        passages=passages,
        passage_hashes=hashes,
        sources=sources,
        n_candidates=n_candidates,
        queries=queries,
        query_hashes=query_hashes,
        query_passages=query_passages,
        row_queries=row_queries.astype(np.int32),
        positive_starts=starts.astype(np.int64),
        positive_ids=(pairs % len(passages)).astype(np.int32),
        row_positive_starts=row_starts,
        row_positive_ids=row_ids,
        pool_mode=None if pool is None else pool_mode,
    )
