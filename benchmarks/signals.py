"""Signals: the cost of `with_signals` beside the encoding of the same texts, which every run needs.

Texts are words of the packaged model's vocabulary, drawn by Zipf's law, 100 to 200 per passage and 8 to 16 per query; each word
is one token, so encoding is not overestimated (English has 1.3). Vectors are synthetic, in clusters of 50 passages, so that
about a quarter of a query's candidates are similar to its positives and have their words compared, as in real sets. A sample
of the texts is encoded, half before and half after the signals, and scaled up by tokens (marked as such). CPU seconds are
reported too: on a busy machine they give the fairer ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import arguments, report
from hnmine.data.corpus import Corpus, build_corpus
from hnmine.data.rows import Row
from hnmine.models.cards import ModelSettings, packaged_folder
from hnmine.models.encoder import FlagEncoder, encode
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.ranking import Ranking
from hnmine.retrieval.search import top_k
from hnmine.retrieval.signals import NEAR, with_signals
from hnmine.vectors.similarity import pair_scores

Floats = npt.NDArray[np.float32]
DIMENSION, CLUSTER = 384, 50
# Acceptance: signals take less than this fraction of the encoding.
WANTED = 0.1


def texts_of(count: int, low: int, high: int, seed: int) -> list[str]:
    """Return `count` different texts of `low` to `high` words of the model's vocabulary."""
    known = (packaged_folder() / "vocab.txt").read_text("utf-8").split("\n")
    words = np.array([word for word in known if word.isascii() and word.isalpha() and len(word) > 1])
    rng = np.random.default_rng(seed)
    weights = 1 / (np.arange(len(words)) + 3)
    lengths = rng.integers(low, high + 1, count)
    drawn = words[rng.choice(len(words), int(lengths.sum()), p=weights / weights.sum())]
    ends = np.cumsum(lengths)
    return [" ".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def world(queries: int, passages: int, depth: int) -> tuple[Corpus, Ranking]:
    """Make a corpus with one to three positives a query, and its ranking by made-up vectors."""
    rng = np.random.default_rng(2)
    pool, asked = texts_of(passages, 100, 200, 0), texts_of(queries, 8, 16, 1)
    rows = [
        Row(number + 1, text, [pool[(7 * number + turn) % passages] for turn in range(1 + number % 3)], [], {})
        for number, text in enumerate(asked)
    ]
    corpus = build_corpus(rows, pool)
    centres = rng.standard_normal((passages // CLUSTER + 1, DIMENSION), dtype=np.float32)
    owners = rng.integers(0, len(centres), len(corpus.passages))
    vectors = [centres[owners] + rng.standard_normal((len(owners), DIMENSION), dtype=np.float32)]
    near = corpus.positive_ids[corpus.positive_starts[:-1]]
    vectors.append(vectors[0][near] + rng.standard_normal((len(near), DIMENSION), dtype=np.float32))
    found, sought = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in vectors)
    scores, ids = top_k(sought, found, depth)
    own = pair_scores(sought, corpus.positive_queries, found, corpus.positive_ids)
    return corpus, Ranking(ids=ids, scores=scores, positive_scores=own, query_vectors=sought, passage_vectors=found)


def timed(work: Callable[[], Any]) -> npt.NDArray[np.float64]:
    """Return seconds of the clock and of the processors: (2,)."""
    began = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - began[0], time.process_time() - began[1]])


def encoding(encoder: FlagEncoder, texts: list[str], side: str) -> tuple[npt.NDArray[np.float64], int]:
    """Encode texts; return the seconds and the tokens."""
    tokens = [0]

    def on_progress(_done: int, total: int, note: str, /) -> None:
        if note == f"encoding {side}":
            tokens[0] = total

    return timed(lambda: encode(encoder, texts, side, on_progress=on_progress)), tokens[0]


def main() -> None:
    """Measure, and print the table."""
    options = arguments(__doc__, sample=200)
    queries, passages, depth, sample = (200, 500, 50, 10) if options.quick else (10_000, 20_000, 200, options.sample)
    corpus, ranking = world(queries, passages, depth)
    encoder = FlagEncoder.load(ModelSettings(devices=("cpu",)))
    encode(encoder, ["the first call loads"], "passages")
    rng = np.random.default_rng(3)
    sides = {
        "passages": (corpus.passages, rng.permutation(len(corpus.passages))[:sample]),
        "queries": (corpus.queries, rng.permutation(len(corpus.queries))[:sample]),
    }

    def encoded(part: slice) -> dict[str, tuple[npt.NDArray[np.float64], int]]:
        return {side: encoding(encoder, [texts[place] for place in places[part].tolist()], side) for side, (texts, places) in sides.items()}

    halves = [encoded(slice(0, sample // 2))]
    signals = timed(lambda: with_signals(corpus, ranking))
    halves.append(encoded(slice(sample // 2, sample)))
    ranking = with_signals(corpus, ranking)
    assert ranking.scale is not None
    alike = ranking.signals["positive_similarity"] >= ranking.scale[1, 0] + NEAR * ranking.scale[1, 1]
    index = timed(lambda: LexicalIndex(corpus.passages))
    whole, tokens = np.zeros(2), 0.0
    for side, (texts, places) in sides.items():
        seconds, seen = sum(half[side][0] for half in halves), sum(half[side][1] for half in halves)
        whole, tokens = whole + seconds * len(texts) / len(places), tokens + seen * len(texts) / len(places)
    rows = [
        {
            "measured by": name,
            "encoding s (scaled up)": float(whole[place]),
            "signals s": float(signals[place]),
            "of them the index s": float(index[place]),
            "ratio": float(signals[place] / whole[place]),
        }
        for place, name in enumerate(("the clock", "the processors"))
    ]
    facts = {
        "queries": queries,
        "passages": len(corpus.passages),
        "candidates a query": depth,
        "tokens (scaled up)": round(tokens),
        "encoded of each side": sample,
        "precision": encoder.describe().get("precision"),
        "candidates like a positive %": 100 * float(alike.mean()),
        f"ratio below {WANTED}": "yes" if rows[1]["ratio"] < WANTED else "no",
    }
    report("signals", rows, facts)


if __name__ == "__main__":
    main()
