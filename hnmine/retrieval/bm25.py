"""BM25 and word overlap: what the words of texts say, beside a model's similarity; both depend on the texts alone.

BM25 is Lucene's formula (k1 1.5, b 0.75; Kamphuis et al., ECIR 2020) over words cut to their first PREFIX characters, built in blocks of
texts. Overlap is the exact Jaccard index of two texts' three-word runs (Broder 1997).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.hashing import splitmix64
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.scratch import on_disk
from hnmine.core.text import words_of
from hnmine.data.texts import Texts
from hnmine.vectors.similarity import release_pages

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
# Pairs whose shingles are compared at a time, and pairs whose texts are read at a time.
PAIRS, GROUP = 16_384, 65_536
# The shingles of all texts are kept where these have no more words.
KEPT_WORDS = 2**24
# Words of the texts of one block of the index: 0.3 GB while it is built.
BLOCK_WORDS = 2**22
# Entries of an index in files that queries read before its pages are released.
READ_ENTRIES = 2**26
K1, B = 1.5, 0.75
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


@dataclass(slots=True, eq=False)
class _Block:
    """A part of the texts: their words, and for each different word the texts that have it.

    Attributes:
        first: the number of its first text.
        tokens: (t,) int32, the words by number; starts: (m + 1,) int64, where each text's begin.
        words: (w,) int32, the different ones, ascending; bounds: (w + 1,) int64, where the entries of each begin.
        texts: (e,) int32, the text of each entry, counted from `first`; scores: (e,) float32, its BM25 for the word.
    """

    first: int
    tokens: Ids
    starts: npt.NDArray[np.int64]
    words: Ids
    bounds: npt.NDArray[np.int64]
    texts: Ids
    scores: Floats


class LexicalIndex:
    """The words of n texts, indexed for BM25 and for overlap. Of texts in a file, the index is in temporary files too."""

    def __init__(self, texts: Sequence[str], *, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None) -> None:
        """Count the words of `texts`.

        Raises:
            Cancelled: `should_stop` returned True.
            OutputError: there is no room for the temporary files.
        """
        self._vocabulary: dict[str, int] = {}
        self._blocks: list[_Block] = []
        self._mapped = isinstance(texts, Texts)
        self._read = 0
        tokens, ends, done = array("i"), [0], 0
        for text in _reported(texts, "counting words", on_progress, should_stop):
            numbers = self._vocabulary
            tokens.extend([numbers.setdefault(word[:PREFIX], len(numbers)) for _, _, word in words_of(text)])
            ends.append(len(tokens))
            if len(tokens) >= BLOCK_WORDS:
                self._add(done, tokens, ends)
                done, tokens, ends = done + len(ends) - 1, array("i"), [0]
        self._add(done, tokens, ends)
        self._score()

    def __len__(self) -> int:
        last = self._blocks[-1]
        return last.first + len(last.starts) - 1

    def scores(self, text: str) -> Floats:
        """Return the BM25 of every indexed text for a query: (n,) float32; a word that occurs twice in the query counts once."""
        stems = {word[:PREFIX] for _, _, word in words_of(text)}
        known = np.array(sorted(self._vocabulary[stem] for stem in stems if stem in self._vocabulary), np.int32)
        found = np.zeros(len(self), np.float32)
        for block in self._blocks if len(known) else ():
            part, bounds = found[block.first :], block.bounds
            places = np.searchsorted(block.words, known)
            for place, word in zip(places.tolist(), known.tolist(), strict=True):
                if place < len(block.words) and block.words[place] == word:
                    start, stop = int(bounds[place]), int(bounds[place + 1])
                    np.add.at(part, block.texts[start:stop], block.scores[start:stop])
                    self._read += stop - start
        if self._read > READ_ENTRIES:
            self._release()
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
        found = np.zeros(len(left), np.float32)
        for start in range(0, len(left), GROUP):
            a, b = left[start : start + GROUP], right[start : start + GROUP]
            shingles = self._kept
            if shingles is None:
                ids = np.unique(np.concatenate([a, b]))
                a, b, shingles = np.searchsorted(ids, a), np.searchsorted(ids, b), self._shingles(ids)
            sizes = np.diff(shingles.indptr)
            for first in range(0, len(a), PAIRS):
                one, other = a[first : first + PAIRS], b[first : first + PAIRS]
                both = np.asarray(shingles[one].multiply(shingles[other]).sum(axis=1)).ravel()
                found[start + first : start + first + len(one)] = both / np.maximum(sizes[one] + sizes[other] - both, 1)
        return found

    def _add(self, first: int, tokens: array[int], ends: list[int]) -> None:
        """Add a block of texts; its entries have the counts of their words until `_score`."""
        words, starts = np.frombuffer(tokens, np.int32) if tokens else np.zeros(0, np.int32), np.array(ends, np.int64)
        count = len(ends) - 1
        entries = words.astype(np.int64) * count + np.repeat(np.arange(count), np.diff(starts))
        entries.sort()
        places = np.flatnonzero(np.append(True, np.diff(entries) > 0)[: len(entries)])
        counts = np.diff(places, append=len(entries)).astype(np.float32)
        owners, texts = np.divmod(entries[places], max(1, count))
        begins = np.flatnonzero(np.append(True, np.diff(owners) > 0)[: len(owners)])
        arrays: list[npt.NDArray[Any]] = [words, texts.astype(np.int32), counts]
        if self._mapped:
            arrays = [on_disk(each) for each in arrays]
        bounds = np.append(begins, len(owners))
        self._blocks.append(_Block(first, arrays[0], starts, owners[begins].astype(np.int32), bounds, arrays[1], arrays[2]))

    def _score(self) -> None:
        """Replace the counts of words by their BM25."""
        holding = np.zeros(len(self._vocabulary), np.int64)
        for block in self._blocks:
            holding[block.words] += np.diff(block.bounds)
        different, places = np.unique(holding, return_inverse=True)
        weights = [math.log(1 + (len(self) - count + 0.5) / (count + 0.5)) for count in different.tolist()]
        rare = np.array(weights, np.float32)[places]
        mean = sum(len(block.tokens) for block in self._blocks) / max(1, len(self))
        for block in self._blocks:
            if len(block.words):
                lengths = K1 * ((1 - B) + B * np.diff(block.starts) / mean)
                counts = block.scores
                block.scores[:] = np.repeat(rare[block.words], np.diff(block.bounds)) * (counts / (lengths[block.texts] + counts))
                self._release([block])

    def _release(self, blocks: Sequence[_Block] | None = None) -> None:
        """Release the mapped pages of some blocks, or of all."""
        self._read = 0
        for block in (self._blocks if blocks is None else blocks) if self._mapped else ():
            for each in (block.tokens, block.texts, block.scores):
                release_pages(each)

    @cached_property
    def _kept(self) -> Any:
        """The shingles of all texts, or None where these have too many words."""
        words = sum(len(block.tokens) for block in self._blocks)
        return self._shingles(np.arange(len(self))) if words <= KEPT_WORDS else None

    def _shingles(self, ids: npt.NDArray[np.int64]) -> Any:
        """Return the three-word runs of texts (n,), ascending, as a sparse (n, m) matrix of ones."""
        from scipy import sparse

        tokens, sizes = [], []
        for block in self._blocks:
            own = ids[(ids >= block.first) & (ids < block.first + len(block.starts) - 1)] - block.first
            counts = np.diff(block.starts)[own]
            before = np.cumsum(counts) - counts
            tokens.append(block.tokens[np.repeat(block.starts[own] - before, counts) + np.arange(counts.sum())])
            sizes.append(counts)
        self._release()
        words, lengths = np.concatenate(tokens).astype(np.uint64) + np.uint64(1), np.concatenate(sizes)
        runs = words.copy()
        # A text shorter than a shingle is compared word by word.
        whole = np.repeat(lengths >= SHINGLE, lengths)
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
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
