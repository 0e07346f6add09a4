"""What there is to rank: unique queries, unique passages, and who is whose positive.

Two texts are the same when they agree after Unicode NFC, case folding and white-space folding, so a positive cannot
come back as a negative by a stray blank. The text kept for encoding and writing is always an original (of several
spellings the smallest by code point, so that the order of the rows has no say).

Everything is held in *canonical order*, by a 64-bit hash of the folded text. Ids therefore depend on the set of texts
alone: shuffled rows give the same ids, the same encoding batches, the same ranks, and a smaller id is the tie-break "by
text hash". Hashing costs about 1.5 µs a text.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hnmine.errors import InputError, SettingsError
from hnmine.rows import Row

__all__ = ["SOURCE_NEG", "SOURCE_POOL", "SOURCE_POS", "Corpus", "PoolMode", "build_corpus", "fold", "text_hash"]

PoolMode = Literal["extend", "replace"]

# Where a passage was seen; flags of Corpus.sources.
SOURCE_POS, SOURCE_NEG, SOURCE_POOL = 1, 2, 4


def fold(text: str) -> str:
    """Return the form under which two texts count as the same: NFC, case-folded, white space as single blanks."""
    if text.isascii():
        return " ".join(text.lower().split())
    # Case folding can decompose (U+0130), so NFC is needed again behind it.
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def text_hash(text: str) -> int:
    """Return a 64-bit hash of `text` that is the same in every process and on every machine (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


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

    def positives(self, query: int) -> npt.NDArray[np.int32]:
        """Return the passage ids that any row with this query calls positive, ascending."""
        return self.positive_ids[self.positive_starts[query] : self.positive_starts[query + 1]]

    @property
    def positive_queries(self) -> npt.NDArray[np.int32]:
        """The query of each entry of `positive_ids`."""
        return np.repeat(np.arange(len(self.queries), dtype=np.int32), np.diff(self.positive_starts))


class _Texts:
    """Collects texts by their folded form and sorts them canonically."""

    def __init__(self) -> None:
        self.originals: dict[str, str] = {}
        self.sources: dict[str, int] = {}

    def add(self, text: str, source: int = 0) -> str:
        key = fold(text)
        known = self.originals.get(key)
        if known is None or text < known:
            self.originals[key] = text
        self.sources[key] = self.sources.get(key, 0) | source
        return key

    def canonical(self, first: Iterable[str] | None = None) -> tuple[list[str], npt.NDArray[np.uint64], int]:
        """Return the folded keys in order (those of `first` in front), their hashes, and how many are in front."""
        hashed = [(text_hash(key), key) for key in self.originals]
        hashed.sort()
        front = len(hashed)
        if first is not None:
            chosen = set(first)
            hashed.sort(key=lambda pair: pair[1] not in chosen)  # stable: each half stays in order
            front = sum(key in chosen for _, key in hashed)
        return [key for _, key in hashed], np.array([value for value, _ in hashed], dtype=np.uint64), front


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

    queries, passages = _Texts(), _Texts()
    row_query_keys = [queries.add(row.query) for row in rows]
    row_positive_keys = [[passages.add(text, SOURCE_POS) for text in row.pos] for row in rows]
    if pool_mode == "extend":
        for row in rows:
            for text in row.neg:
                passages.add(text, SOURCE_NEG)
    pool_keys = [passages.add(text, SOURCE_POOL) for text in pool or ()]

    keys, hashes, n_candidates = passages.canonical(pool_keys if pool_mode == "replace" else None)
    if n_candidates == 0:
        raise InputError('the candidate pool holds no passage; add lines such as {"text": "..."} or leave the pool out')
    passage_id = {key: index for index, key in enumerate(keys)}
    query_keys, query_hashes, _ = queries.canonical()
    query_id = {key: index for index, key in enumerate(query_keys)}

    row_queries = np.fromiter((query_id[key] for key in row_query_keys), np.int32, len(rows))
    row_starts = np.concatenate([[0], np.cumsum([len(group) for group in row_positive_keys])]).astype(np.int64)
    row_ids = np.fromiter((passage_id[key] for group in row_positive_keys for key in group), np.int32, int(row_starts[-1]))

    # One sorted, unique (query, positive) list serves every row that asks the same.
    pairs = np.unique(np.repeat(row_queries.astype(np.int64), np.diff(row_starts)) * len(keys) + row_ids)
    starts = np.searchsorted(pairs, np.arange(len(query_keys) + 1, dtype=np.int64) * len(keys))

    return Corpus(
        passages=[passages.originals[key] for key in keys],
        passage_hashes=hashes,
        sources=np.fromiter((passages.sources[key] for key in keys), np.uint8, len(keys)),
        n_candidates=n_candidates,
        queries=[queries.originals[key] for key in query_keys],
        query_hashes=query_hashes,
        query_passages=np.fromiter((passage_id.get(key, -1) for key in query_keys), np.int32, len(query_keys)),
        row_queries=row_queries,
        positive_starts=starts.astype(np.int64),
        positive_ids=(pairs % len(keys)).astype(np.int32),
        row_positive_starts=row_starts,
        row_positive_ids=row_ids,
        pool_mode=None if pool is None else pool_mode,
    )
