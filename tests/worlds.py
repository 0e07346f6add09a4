"""Small worlds that several test files share: corpora of random sentences, ranked by the trigrams of their texts, with signals."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from hnmine.data.corpus import Corpus, PoolMode, build_corpus
from hnmine.data.rows import Row
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.search import pair_scores, top_k
from hnmine.retrieval.signals import with_positive_similarity, with_signals
from tests.conftest import FakeEncoder

WORDS = [
    first + second
    for first in ("riv", "ston", "li", "sil", "pap", "kno", "dru", "mel", "vex", "ba", "ghu", "whe")
    for second in ("er", "ow", "ixt", "ama", "olf", "ung", "ipe", "ead", "ask", "ony")
]


def sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words))


def rows_of(count: int, *, positives: int = 2, seed: int = 0) -> list[Row]:
    """Rows that ask two words of their first positive; every third positive has a near duplicate among the negatives."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        pos = [f"{sentence(chance, 12)} {number} {turn}" for turn in range(1 + number % positives)]
        words = pos[0].split()
        neg = [f"{pos[0]} indeed"] if number % 3 == 0 else []
        rows.append(Row(number + 1, f"{words[0]} {words[5]} {number}", pos, neg, {}))
    return rows


def pool_of(count: int, *, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [f"{sentence(chance, 4 + number % 13)} p{number}" for number in range(count)]


def world(
    rows: int = 30, pool: int = 120, *, depth: int = 60, mode: PoolMode = "extend", positives: int = 2, shuffle: int | None = None
) -> tuple[Corpus, Ranking]:
    """A corpus and its ranking, with signals; `shuffle` puts rows and pool in another order."""
    given, texts = rows_of(rows, positives=positives), pool_of(pool)
    if shuffle is not None:
        chance = random.Random(shuffle)
        chance.shuffle(given)
        chance.shuffle(texts)
    corpus = build_corpus(given, texts, pool_mode=mode)
    return corpus, with_signals(corpus, rank(corpus, FakeEncoder(), depth))


def with_reranker(corpus: Corpus, ranking: Ranking, *, unknown: float = 0.2) -> Ranking:
    """The ranking with a reranker's scores, of which a part is not known: drawn by the texts."""

    def score(query: int, passage: int) -> float:
        chance = random.Random(f"{corpus.queries[query]}|{corpus.passages[passage]}")
        return float("nan") if chance.random() < unknown else chance.uniform(-4, 2)

    values = np.array([[score(query, p) for p in ids] for query, ids in enumerate(ranking.ids.tolist())], np.float32)
    owners = zip(corpus.positive_queries.tolist(), corpus.positive_ids.tolist(), strict=True)
    return replace(
        ranking,
        signals=ranking.signals | {"reranker": values},
        positive_signals=ranking.positive_signals | {"reranker": np.array([score(*pair) for pair in owners], np.float32)},
    )


def grid(text: str, numbers: int = 4) -> list[float]:
    """A vector on a grid of 1/8, by the text alone: inner products are exact, and many tie."""
    chance = random.Random(text)
    return [chance.randint(-6, 8) / 8 for _ in range(numbers)]


def toy(corpus: Corpus, depth: int | None = None, *, seed: str = "") -> Ranking:
    """A ranking of any corpus by `grid`, with signals drawn by the texts; a part of the reranker's is unknown."""

    def drawn(name: str, query: int, passage: int) -> float:
        chance = random.Random(f"{seed}{name}|{corpus.queries[query].strip().casefold()}|{corpus.passages[passage]}")
        match name:
            case "bm25_rank":
                return chance.randint(0, 1000)
            case "reranker":
                return float("nan") if chance.random() < 0.3 else chance.randint(-16, 16) / 8
            case _:
                return chance.randint(0, 8) / 8

    queries = np.array([grid(text.strip().casefold()) for text in corpus.queries], np.float32)
    passages = np.array([grid(text) for text in corpus.passages], np.float32)
    scores, ids = top_k(queries, passages, depth or corpus.n_candidates, count=corpus.n_candidates)
    ranking = Ranking(
        ids=ids,
        scores=scores,
        positive_scores=pair_scores(queries, corpus.positive_queries, passages, corpus.positive_ids),
        query_vectors=queries,
        passage_vectors=passages,
        signals={
            name: np.array([[drawn(name, query, p) for p in row] for query, row in enumerate(ids.tolist())], np.float32).reshape(ids.shape)
            for name in ("overlap", "similarity_z", "bm25_ratio", "bm25_rank", "reranker")
        },
        positive_signals={
            "reranker": np.array(
                [drawn("reranker", *pair) for pair in zip(corpus.positive_queries.tolist(), corpus.positive_ids.tolist(), strict=True)],
                np.float32,
            )
        },
        scale=np.array([[0.1, 0.5], [0.2, 0.5]]),
    )
    return with_positive_similarity(corpus, ranking, np.arange(len(corpus.queries), dtype=np.int32))
