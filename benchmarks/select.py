"""Selection, which runs at every move of a slider, against the same choice made query by query.

The other side is a plain NumPy loop over the queries that gives every candidate its reason and uses the same random keys; it
is timed on a part of the queries and scaled up (marked as such), after both chose the same negatives. Rankings are
synthetic: scores fall with the rank as in real ones, and the positives are among the first ranks.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import arguments, best, report
from hnmine.analysis.histograms import run_bins, score_histograms
from hnmine.analysis.queries import query_table
from hnmine.core.hashing import query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.filters import FILTERS
from hnmine.selection.positive_score import positive_score
from hnmine.selection.select import REASONS, Selection, select
from hnmine.selection.settings import Reason, SelectionSettings

PASSAGES, DIMENSION = 100_003, 16  # a prime, so that no query ranks a passage twice
SAMPLE = 1_000
GIVEN = {"max_positive_ratio": 0.95, "min_score": 0.2, "max_score": 0.8}
# A window so narrow that each query is left about five short.
NARROW = {"window_start": 10, "window_end": 20}


def world(queries: int, depth: int) -> tuple[Corpus, Ranking]:
    """Make a corpus and a ranking of it."""
    rng = np.random.default_rng(0)
    first, step = rng.integers(0, PASSAGES, queries), rng.integers(1, PASSAGES, queries)
    ids = ((first[:, None] + np.arange(depth) * step[:, None]) % PASSAGES).astype(np.int32)
    scores = -np.sort(-rng.normal(0.4, 0.1, (queries, depth)).astype(np.float32), axis=1)
    positives = ids[np.arange(queries), rng.integers(0, min(depth, 30), queries)]
    starts = np.arange(queries + 1, dtype=np.int64)
    corpus = Corpus(
        passages=range(PASSAGES),  # type: ignore[arg-type]  # the texts are not read
        passage_hashes=np.sort(rng.integers(0, 2**64, PASSAGES, dtype=np.uint64)),
        sources=np.full(PASSAGES, 4, dtype=np.uint8),
        n_candidates=PASSAGES,
        queries=range(queries),  # type: ignore[arg-type]
        query_hashes=np.sort(rng.integers(0, 2**64, queries, dtype=np.uint64)),
        query_passages=np.where(rng.random(queries) < 0.1, ids[:, depth // 2], -1).astype(np.int32),
        row_queries=np.arange(queries, dtype=np.int32),
        positive_starts=starts,
        positive_ids=positives,
        row_positive_starts=starts,
        row_positive_ids=positives,
        pool_mode="extend",
    )
    vectors = [rng.standard_normal((count, DIMENSION), dtype=np.float32) for count in (queries, PASSAGES)]
    positives = rng.normal(0.6, 0.08, queries).astype(np.float32)
    return corpus, Ranking(ids=ids, scores=scores, positive_scores=positives, query_vectors=vectors[0], passage_vectors=vectors[1])


def one_by_one(corpus: Corpus, ranking: Ranking, settings: SelectionSettings, queries: int) -> list[list[int]]:
    """Choose for the first `queries` in a plain loop, without random fill."""
    positives = positive_score(corpus, ranking, settings)
    keys = query_keys(corpus.query_hashes, settings.seed, 1)
    window = slice(settings.window_start, settings.window_end)
    counts = np.zeros(REASONS, dtype=np.int64)
    chosen = []
    for query in range(queries):
        ids, scores = ranking.ids[query, window], ranking.scores[query, window]
        reasons = np.full(len(ids), int(Reason.NOT_DRAWN))
        if settings.max_positive_ratio is not None:
            limit = positives[query] - np.float32(1 - settings.max_positive_ratio) * np.abs(positives[query])
            reasons[scores > limit] = FILTERS["max_positive_ratio"].reason
        if settings.min_score is not None:
            reasons[scores < np.float32(settings.min_score)] = FILTERS["min_score"].reason
        if settings.max_score is not None:
            reasons[scores > np.float32(settings.max_score)] = FILTERS["max_score"].reason
        reasons[ids == corpus.query_passages[query]] = Reason.QUERY_ITSELF
        reasons[np.isin(ids, corpus.positives(query))] = Reason.POSITIVE
        places = np.flatnonzero(reasons == Reason.NOT_DRAWN)
        if settings.strategy == "random":
            random_keys = splitmix64(keys[query] ^ corpus.passage_hashes[ids[places]])
            places = np.sort(places[np.argsort(random_keys)[: settings.negative_number]])
        else:
            places = places[: settings.negative_number]
        reasons[places] = Reason.CHOSEN
        counts += np.bincount(reasons, minlength=REASONS)
        chosen.append(ids[places].tolist())
    return chosen


def drawn(selection: Selection, queries: int) -> list[list[int]]:
    """Return what was taken from the window for the first `queries`."""
    held = (selection.negatives >= 0) & ~selection.random_filled
    return [selection.negatives[query][held[query]].tolist() for query in range(queries)]


def main() -> None:
    """Time all sizes and settings, and print the table."""
    quick = arguments(__doc__).quick
    rows = []
    for queries, depth in [(1_000, 100)] if quick else [(10_000, 200), (10_000, 500), (100_000, 200), (100_000, 500)]:
        corpus, ranking = world(queries, depth)
        cases = {"": {"window_start": 0, "window_end": depth}, "filters": {"window_start": 0, "window_end": depth, **GIVEN}}
        if depth == 200:
            cases["random fill"] = NARROW
        for strategy in ("random", "hardest"):
            for name, values in cases.items():
                settings = SelectionSettings(strategy=strategy, **values)
                selection = select(corpus, ranking, settings)
                part = min(SAMPLE, queries)
                # A random negative with a higher score moves forward: compare as sets.
                plain = [sorted(each) for each in one_by_one(corpus, ranking, settings, part)]
                assert plain == [sorted(each) for each in drawn(selection, part)], "both sides choose the same"
                began = time.perf_counter()
                one_by_one(corpus, ranking, settings, part)
                loop = (time.perf_counter() - began) * queries / part
                ours = best(lambda corpus=corpus, ranking=ranking, settings=settings: select(corpus, ranking, settings), repeats=5)
                row = {
                    "queries": queries,
                    "ranked": depth,
                    "strategy": strategy,
                    "with": name,
                    "ms": 1000 * ours,
                    "loop ms (scaled up)": None if name == "random fill" else 1000 * loop,
                    "ratio": None if name == "random fill" else loop / ours,
                    "ns a candidate": 1e9 * ours / (queries * (settings.window_end - settings.window_start)),
                    "random filled": selection.funnel["random_filled"],
                }
                if not name and strategy == "random":
                    bins = run_bins(ranking)
                    row["bins of a run ms"] = 1000 * best(lambda r=ranking: run_bins(r))
                    row["histogram ms"] = 1000 * best(lambda r=ranking, s=selection, b=bins: score_histograms(r, s, b))
                    row["query table ms"] = 1000 * best(lambda c=corpus, r=ranking, s=selection: query_table(c, r, s))
                rows.append(row)
    report(
        "select", rows, {"passages": PASSAGES, "negatives a query": SelectionSettings().negative_number, "the loop was timed on": SAMPLE}
    )


if __name__ == "__main__":
    main()
