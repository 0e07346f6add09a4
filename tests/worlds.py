"""Small worlds that several test files share: corpora of random sentences, ranked by the trigrams of their texts, with signals."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from hnmine.corpus import Corpus, PoolMode, build_corpus
from hnmine.ranking import Ranking, rank
from hnmine.rows import Row
from hnmine.signals import with_signals
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
