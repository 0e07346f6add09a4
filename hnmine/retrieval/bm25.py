"""BM25 and word overlap: what the words of texts say, beside a model's similarity.

BM25 is bm25s' (Lù 2024, arXiv 2407.03618; Lucene's formula, k1 1.5, b 0.75) over words cut to their first PREFIX characters: truncation
replaces a stemmer in any language that inflects at the end (McNamee and Mayfield 2004). Without it `fn_model` misses half as many false
negatives again. A query's BM25 is given as a ratio to its best match, because raw values of two queries do not compare. Overlap is the
exact Jaccard index of two texts' three-word runs (Broder 1997): 2 million pairs of 150 words take some seconds. All of this depends on the
texts alone, never on the number of ranked candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.hashing import splitmix64
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.text import words_of

__all__ = ["RANKS", "LexicalIndex", "Match"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]

# Ranks by BM25 are counted up to here: deeper ones carry no information, and sorting a large corpus for each query would cost more than
# the vector search.
RANKS = 1_000
# Characters of a word that count.
PREFIX = 5
# Words in a row that make a shingle.
SHINGLE = 3
# Pairs whose shingles are compared at a time.
PAIRS = 16_384
# Texts between two progress reports.
STEP = 256


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How well n texts match one query: BM25 `scores` (n,) float32, the `best` of them, and the highest ones, ascending."""

    scores: Floats
    best: float
    head: Floats

    def ratios(self, ids: Ids) -> Floats:
        """Return the BM25 of texts, relative to the best match: float32 in 0..1; 0 where no text shares a word with the query."""
        return self.scores[ids] / np.float32(self.best) if self.best > 0 else np.zeros(len(ids), np.float32)

    def ranks(self, ids: Ids) -> Floats:
        """Return how many texts match better: float32, at most RANKS; a text without a common word gets RANKS."""
        own = self.scores[ids]
        better = len(self.head) - np.searchsorted(self.head, own, side="right")
        return np.where(own > 0, better, RANKS).astype(np.float32)


class LexicalIndex:
    """The words of n texts, indexed for BM25 and for overlap.

    Attributes:
        tokens: (t,) int32, the words of all texts by number; starts: (n + 1,) int64, where each text's begin.
    """

    def __init__(self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> None:
        """Count the words of `texts`.

        Raises:
            Cancelled: `should_stop` returned True.
        """
        self._vocabulary: dict[str, int] = {}
        numbers = [self._numbered(text) for text in _reported(texts, "counting words", on_progress, should_stop)]
        self.starts = np.concatenate([[0], np.cumsum([len(each) for each in numbers], dtype=np.int64)])
        self.tokens = np.concatenate([*numbers, np.zeros(0, np.int32)])
        self._bm25 = self._indexed(numbers)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def scores(self, text: str) -> Floats:
        """Return the BM25 of every indexed text for a query: (n,) float32; a word that occurs twice in the query counts once."""
        known = {self._vocabulary[stem] for _, _, word in words_of(text) if (stem := word[:PREFIX]) in self._vocabulary}
        if not known or self._bm25 is None:
            return np.zeros(len(self), np.float32)
        found: Floats = self._bm25.get_scores_from_ids(sorted(known))
        return found

    def top_k(
        self,
        queries: Sequence[str],
        k: int,
        count: int,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> tuple[Floats, Ids]:
        """Rank the first `count` texts for each query by BM25, the smaller number first where they tie.

        Returns:
            scores (q, k) float32 and ids (q, k) int32; -inf and -1 where fewer texts share a word with the query.
        """
        k = min(k, count)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int32)
        for row, text in enumerate(_reported(queries, "ranking by BM25", on_progress, should_stop)):
            found = self.scores(text)[:count]
            least = np.partition(found, count - k)[count - k] if k else np.float32(0)
            matching = np.flatnonzero((found >= least) & (found > 0))
            order = matching[np.argsort(-found[matching], kind="stable")][:k]
            scores[row, : len(order)], ids[row, : len(order)] = found[order], order
        return scores, ids

    def matches(
        self, queries: Sequence[str], count: int, *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Iterator[Match]:
        """Yield the matches of every text for each query; ranks are counted among the first `count` texts."""
        most = min(RANKS, count)
        for text in _reported(queries, "comparing words", on_progress, should_stop):
            found = self.scores(text)
            yield Match(found, float(found.max(initial=0)), np.sort(np.partition(found[:count], count - most)[count - most :]))

    def overlap(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Floats:
        """Return the Jaccard index of the three-word runs of pairs of texts: (p,) float32; for texts with fewer words, of their words."""
        shingles = self._shingles
        sizes = np.diff(shingles.indptr)
        found = np.zeros(len(left), np.float32)
        for first in range(0, len(left), PAIRS):
            a, b = left[first : first + PAIRS], right[first : first + PAIRS]
            both = np.asarray(shingles[a].multiply(shingles[b]).sum(axis=1)).ravel()
            found[first : first + PAIRS] = both / np.maximum(sizes[a] + sizes[b] - both, 1)
        return found

    def _numbered(self, text: str) -> npt.NDArray[np.int32]:
        numbers = self._vocabulary
        return np.fromiter((numbers.setdefault(word[:PREFIX], len(numbers)) for _, _, word in words_of(text)), np.int32)

    def _indexed(self, numbers: list[npt.NDArray[np.int32]]) -> Any:
        """Return bm25s' index, or None where no text has a word."""
        if not len(self.tokens):
            return None
        import bm25s

        index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        index.index(([each.tolist() for each in numbers], dict(self._vocabulary)), show_progress=False)
        return index

    @cached_property
    def _shingles(self) -> Any:
        """The three-word runs of every text, as a sparse (n, m) matrix of ones."""
        from scipy import sparse

        words = self.tokens.astype(np.uint64) + np.uint64(1)
        runs = words.copy()
        lengths = np.diff(self.starts)
        # A text shorter than a shingle is compared word by word.
        whole = np.repeat(lengths >= SHINGLE, lengths)
        left = np.repeat(self.starts[1:], lengths) - np.arange(len(words))
        for step in range(1, SHINGLE):
            runs = np.where(whole, splitmix64(runs) ^ np.roll(words, -step), runs)
        used = ~whole | (left >= SHINGLE)
        owners = np.repeat(np.arange(len(lengths)), lengths)[used]
        _, columns = np.unique(runs[used], return_inverse=True)
        found = sparse.coo_matrix(
            (np.ones(len(owners), np.float32), (owners, columns)), shape=(len(lengths), max(1, columns.max(initial=0) + 1))
        )
        matrix = found.tocsr()
        matrix.data[:] = 1  # a run that occurs twice in a text counts once
        return matrix


def _reported(texts: Sequence[str], note: str, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Iterator[str]:
    for place, text in enumerate(texts):
        if place % STEP == 0:
            check_cancelled(should_stop)
            if on_progress is not None:
                on_progress(place, len(texts), note)
        yield text
