"""A cross-encoder's scores: a signal of the ranking, and teacher scores for what is written.

The signal "reranker" holds raw logits of the first ranks of each query and of its positives. Written passages may be others (random fills,
deeper ranks, positives that verdicts add), so `Scorer` scores any pairs, each once, and stores the scores as vectors of one number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError
from hnmine.core.hashing import splitmix64
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.models.reranker import Places, Reranker, Scores
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.vectors.index import EncoderKey
from hnmine.vectors.shard_set import Keys, unique_keys
from hnmine.vectors.shards import StoredVectors, text_keys
from hnmine.vectors.store import Made, VectorStore, encoder_key

__all__ = ["SIGNAL", "Scorer", "with_reranker"]

SIGNAL = "reranker"

Ids = npt.NDArray[np.int32]

# Pairs looked up and scored at a time; texts are not copied, so about 150 MB.
BLOCK = 2**20


class Scorer:
    """Scores pairs of one corpus, each once.

    Attributes:
        stored, scored: counts of pairs found in the store, and scored by the reranker.
    """

    def __init__(self, reranker: Reranker, corpus: Corpus, store: VectorStore | None) -> None:
        self.stored = self.scored = 0
        self._reranker, self._corpus = reranker, corpus
        identity = reranker.identity() if store is not None else None
        self._store = store if identity is not None else None
        self._space: EncoderKey | None = None
        if store is not None and identity is not None:
            self._space = store.known(encoder_key(identity, str(reranker.describe().get("name", "")), np.dtype(np.float32)))
        self._query_keys, self._passage_keys = text_keys(corpus.queries), text_keys(corpus.passages)

    def score(
        self, queries: Ids, passages: Ids, *, later: int = 0, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Scores:
        """Return the raw logits of pairs, (p,) float32, finite.

        Args:
            queries, passages: (p,) each.
            later: pairs that are scored afterwards; progress counts them too.

        Raises:
            EncodeError: the reranker returned no number for a pair, or two; earlier scores are stored.
            Cancelled: `should_stop` returned True; earlier scores are stored.
        """
        found = np.empty(len(queries), dtype=np.float32)
        for first in range(0, len(queries), BLOCK):
            part = slice(first, first + BLOCK)
            behind = max(0, len(queries) - part.stop) + later
            found[part] = self._block(queries[part], passages[part], behind, on_progress, should_stop)
        return found

    def missing(self, queries: Ids, passages: Ids) -> int:
        """Count the pairs, (p,) each, that the store lacks."""
        keys = unique_keys(self._keys(queries, passages))[0]
        return len(keys) if self._store is None or self._space is None else len(self._store.missing(self._space, keys))

    def _keys(self, queries: Ids, passages: Ids) -> Keys:
        return splitmix64(splitmix64(self._passage_keys[passages]) ^ self._query_keys[queries])

    def _block(self, queries: Ids, passages: Ids, behind: int, on_progress: OnProgress | None, should_stop: ShouldStop | None) -> Scores:
        # In the order of the keys: the content of a batch depends on the set of pairs alone.
        keys, firsts, inverse = unique_keys(self._keys(queries, passages))
        texts = self._corpus.queries, self._corpus.passages
        before, lacking = self.scored, 0

        def report(done: int, total: int, note: str, /) -> None:
            if on_progress is not None:
                on_progress(*((before + done, before + total + behind) if total else (0, 0)), note)

        def made(missing: Places) -> Iterator[Made]:
            nonlocal lacking
            lacking = len(missing)
            wanted = [(texts[0][queries[place]], texts[1][passages[place]]) for place in firsts[missing].tolist()]
            for places, scores in self._reranker.score(wanted, on_progress=report, should_stop=should_stop):
                yield places, scores[:, None]

        def name(place: int) -> str:
            query, passage = texts[0][queries[firsts[place]]], texts[1][passages[firsts[place]]]
            return f"the query {query[:80]!r} and the passage {passage[:80]!r}"

        if self._store is not None and self._space is not None:
            segments, places = self._store.rows(self._space, keys, made, name)
            found = StoredVectors(segments, places)[:][:, 0]
        else:
            found = np.full(len(keys), np.nan, dtype=np.float32)
            for places, rows in made(np.arange(len(keys))):
                found[places] = rows[:, 0]
            if not np.isfinite(found).all():
                raise EncodeError(f"the reranker returned no number for {name(int(np.argmin(np.isfinite(found))))}")
        self.stored += len(keys) - lacking
        self.scored += lacking
        return found[inverse]


def with_reranker(
    ranking: Ranking,
    corpus: Corpus,
    scorer: Scorer,
    depth: int,
    *,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Ranking:
    """Return the ranking with the signal "reranker", for the first `depth` candidates of each query and all positives.

    Raises:
        As `Scorer.score`.
    """
    depth = min(depth, ranking.depth)
    count = len(corpus.queries)
    ranks = ranks_of(ranking.ids[:, :depth], corpus.positive_queries, corpus.positive_ids)
    alone = np.flatnonzero(ranks < 0)
    scores = scorer.score(
        np.repeat(np.arange(count, dtype=np.int32), depth),
        ranking.ids[:, :depth].ravel(),
        later=len(alone),
        on_progress=on_progress,
        should_stop=should_stop,
    ).reshape(count, depth)
    positives = scores[corpus.positive_queries, np.maximum(ranks, 0)]
    positives[alone] = scorer.score(
        corpus.positive_queries[alone], corpus.positive_ids[alone], on_progress=on_progress, should_stop=should_stop
    )
    signal = np.full(ranking.ids.shape, np.nan, dtype=np.float32)
    signal[:, :depth] = scores
    return replace(ranking, signals=ranking.signals | {SIGNAL: signal}, positive_signals=ranking.positive_signals | {SIGNAL: positives})
