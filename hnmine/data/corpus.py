"""Unique queries, unique passages, and which passages are positives of which query.

Texts with one normal form (`core.text.normalize_text`) are one passage, spelled as the original with the smallest code points. Everything
is in *canonical order*, by a 64-bit hash of the normal form, so ids depend on the set of texts alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.text import _folded, _hash
from hnmine.data.rows import Row
from hnmine.data.texts import Texts, TextWriter, take

__all__ = ["SOURCE_NEG", "SOURCE_POOL", "SOURCE_POS", "Corpus", "PoolMode", "build_corpus", "find"]

PoolMode = Literal["extend", "replace"]

# Where a passage occurs; flags of Corpus.sources.
SOURCE_POS, SOURCE_NEG, SOURCE_POOL = 1, 2, 4
# Bytes of texts that are made unique at a time, where the pool is in a file; and the most parts, which are open files.
PART_BYTES, MOST_PARTS = 2**26, 128
NEVER = sys.maxsize


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Unique queries and passages of a data set, in canonical order.

    Passages `0 .. n_candidates - 1` may become negatives; the others are positives that are encoded only for their score
    (`pool_mode="replace"`). Positives are in CSR form: those of query `i` are
    `positive_ids[positive_starts[i]:positive_starts[i + 1]]`, and those of row `r` (in file order)
    `row_positive_ids[row_positive_starts[r]:row_positive_starts[r + 1]]`.

    Attributes:
        passages: original texts, length n.
        passage_hashes: (n,) uint64, of the normalised text.
        sources: (n,) uint8, flags SOURCE_POS | SOURCE_NEG | SOURCE_POOL.
        n_candidates: the number of passages that may be mined.
        queries: original texts, length q; rows with equal queries share one.
        query_hashes: (q,) uint64, of the normalised text.
        query_passages: (q,) int32, the passage equal to the query, or -1.
        row_queries: (rows,) int32, the query of each row.
        positive_starts: (q + 1,) int64; positive_ids: int32, ascending and unique within a query.
        row_positive_starts: (rows + 1,) int64; row_positive_ids: int32, one for each entry of the row's `pos`.
        pool_mode: how the pool was used, or None without a pool.
        promoted_starts: (q + 1,) int64; promoted_ids: int32, ascending within a query: the `positive_ids` that reviewers added
            (`promotions.apply_promotions`). Both are empty if there are none; see `promoted`.
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
        """Return the passage ids that are positives in any row with this query, ascending."""
        return self.positive_ids[self.positive_starts[query] : self.positive_starts[query + 1]]

    def promoted(self, query: int) -> npt.NDArray[np.int32]:
        """Return the passage ids that reviewers added as positives of this query, ascending."""
        if not len(self.promoted_ids):
            return self.promoted_ids
        return self.promoted_ids[self.promoted_starts[query] : self.promoted_starts[query + 1]]

    @property
    def positive_queries(self) -> npt.NDArray[np.int32]:
        """The query of each entry of `positive_ids`."""
        return np.repeat(np.arange(len(self.queries), dtype=np.int32), np.diff(self.positive_starts))


def _unique(texts: Iterable[str], count: int, parts: int = 1) -> tuple[Sequence[str], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the unique texts in canonical order, the hashes of their normal forms, and the index of each given text among them.

    Args:
        texts: `count` texts, iterated once.
        parts: with several, the texts are written to a file for each part of the range of hashes, and one part is in memory at a time.
    """
    writers = [TextWriter(-1 if parts > 1 else NEVER) for _ in range(parts)]

    def hashed() -> Iterator[int]:
        for text in texts:
            value = _hash(_folded(text))
            writers[(value >> 48) * parts >> 16].append(text)
            yield value

    hashes = np.fromiter(hashed(), np.uint64, count)
    members = np.argsort(((hashes >> np.uint64(48)) * np.uint64(parts) >> np.uint64(16)).astype(np.uint16), kind="stable")
    found, kept = TextWriter(NEVER if parts == 1 else None), []
    places = np.empty(count, dtype=np.int64)
    done = 0
    while writers:
        part = list(writers.pop(0).texts())  # the file of a part is removed when it is read
        own = members[done : done + len(part)]
        done += len(part)
        order, new = _sorted(part, hashes[own])
        places[own[order]] = len(found) + np.cumsum(new) - 1
        first = order[new]
        for index in first.tolist():
            found.append(part[index])
        kept.append(hashes[own[first]])
    return found.texts(), np.concatenate(kept), places


def _sorted(texts: Sequence[str], hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the canonical order of texts, and which of them in this order differ from the one before."""
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    new = np.ones(len(texts), dtype=bool)
    np.not_equal(ranked[1:], ranked[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(texts))
    several = ends - starts > 1
    for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
        equal = order[start:end].tolist()
        if any(texts[index] != texts[equal[0]] for index in equal):  # several originals of one text, or two texts with one hash
            pairs = sorted((_folded(texts[index]), texts[index], index) for index in equal)
            order[start:end] = [index for _, _, index in pairs]
            new[start + 1 : end] = [one[0] != other[0] for one, other in pairwise(pairs)]
    return order, new


def find(
    texts: Sequence[str], among: Sequence[str], keys: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.int32]:
    """Return for each of `texts` the index of the equal text in `among` (canonical order), or -1: (n,) int32.

    `keys` are the hashes of `among`, ascending; `hashes` those of `texts`, if already computed.
    """
    if hashes is None:
        hashes = np.fromiter((_hash(_folded(text)) for text in texts), np.uint64, len(texts))
    found = np.full(len(texts), -1, dtype=np.int32)
    starts, ends = np.searchsorted(keys, hashes), np.searchsorted(keys, hashes, side="right")
    some = np.flatnonzero(ends > starts)
    for number, start, end in zip(some.tolist(), starts[some].tolist(), ends[some].tolist(), strict=True):
        text = texts[number]
        if end - start == 1 and among[start] == text:  # the common case: nothing to normalise
            found[number] = start
            continue
        wanted = _folded(text)
        found[number] = next((place for place in range(start, end) if _folded(among[place]) == wanted), -1)
    return found


def build_corpus(rows: Sequence[Row], pool: Sequence[str] | None = None, *, pool_mode: PoolMode = "extend") -> Corpus:
    """Gather the unique queries and passages of `rows` and `pool`.

    Args:
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
        raise InputError("there is no usable training row; add at least one with `query` and `pos`")

    queries, query_hashes, row_queries = _unique((row.query for row in rows), len(rows))
    # Rows repeat their passages, so exact duplicates are removed before anything is normalised.
    slots: dict[str, int] = {}
    row_starts = np.concatenate([[0], np.cumsum([len(row.pos) for row in rows])]).astype(np.int64)
    positive_slots = np.fromiter((slots.setdefault(text, len(slots)) for row in rows for text in row.pos), np.int64, int(row_starts[-1]))
    negatives = (text for row in rows for text in row.neg) if pool_mode == "extend" else ()
    negative_slots = np.fromiter((slots.setdefault(text, len(slots)) for text in negatives), np.int64)
    used = None if pool is None else pool_mode
    pool = () if pool is None else pool
    count = len(slots) + len(pool)
    given_sources = np.zeros(count, dtype=np.uint8)
    given_sources[positive_slots] |= SOURCE_POS
    given_sources[negative_slots] |= SOURCE_NEG
    given_sources[len(slots) :] = SOURCE_POOL
    parts = min(MOST_PARTS, -(-int(pool.sizes().sum()) // PART_BYTES) + 1) if isinstance(pool, Texts) else 1
    passages, hashes, places = _unique(chain(slots, pool), count, parts)
    del slots
    sources = np.zeros(len(passages), dtype=np.uint8)
    np.bitwise_or.at(sources, places, given_sources)
    query_passages = find(queries, passages, hashes, query_hashes)
    row_ids = places[positive_slots].astype(np.int32)
    n_candidates = len(passages)
    if pool_mode == "replace":
        candidate = (sources & SOURCE_POOL) > 0
        n_candidates = int(candidate.sum())
        order = np.argsort(~candidate, kind="stable")  # candidates first; the order within each part stays
        moved = np.empty(len(order) + 1, dtype=np.int32)
        moved[order], moved[-1] = np.arange(len(order)), -1
        passages, hashes, sources = take(passages, order), hashes[order], sources[order]
        row_ids, query_passages = moved[row_ids], moved[query_passages]
    if n_candidates == 0:
        raise InputError('the candidate pool is empty; add lines such as {"text": "..."} or leave the pool out')

    # One sorted, unique (query, positive) list serves all rows with equal queries.
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
        pool_mode=used,
    )
