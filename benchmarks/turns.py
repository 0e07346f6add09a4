"""Judged sets as a miner sees them: of each query's relevant passages one is visible as its positive, the others are hidden.

A set is ranked once for each of SEEDS, each time with another visible positive; its texts are encoded once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.judged import HashedWords, JudgedSet, read
from hnmine.data.corpus import Corpus, find
from hnmine.data.dataset import read_inputs
from hnmine.data.verdicts import Verdict, VerdictPairs, match_verdicts
from hnmine.models.encoder import Encoder, FlagEncoder
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.signals import with_signals
from hnmine.selection.select import Selection
from hnmine.vectors.store import VectorStore

SETS = ("cranfield", "npl", "medquad-liveqa", "scifact", "medline", "cacm", "banking77-300", "clinc150-300")
SEEDS = (1, 2, 3)
DEPTH = 500


@dataclass
class Turn:
    """One set with one choice of visible positives, ranked; `relevant` are all judged pairs as query * passages + passage, sorted."""

    corpus: Corpus
    ranking: Ranking
    relevant: npt.NDArray[np.int64]
    seed: int

    def false(self, selection: Selection) -> npt.NDArray[np.bool_]:
        """Return which of the (q, N) chosen negatives are judged relevant."""
        queries = np.arange(len(self.corpus.queries))[:, None]
        return (selection.negatives >= 0) & np.isin(queries * len(self.corpus.passages) + selection.negatives, self.relevant)

    def verdicts(self, queries: npt.NDArray[Any], passages: npt.NDArray[Any]) -> VerdictPairs:
        """Return the verdicts of the judgements on some pairs, (p,) each: a relevant passage is added as a positive."""
        false = np.isin(queries.astype(np.int64) * len(self.corpus.passages) + passages, self.relevant)
        given = (
            Verdict(query=self.corpus.queries[query], passage=self.corpus.passages[passage], verdict="positive" if wrong else "negative")
            for query, passage, wrong in zip(queries, passages, false, strict=True)
        )
        return match_verdicts(self.corpus, given)


def opened(given: argparse.Namespace, quick: Sequence[JudgedSet]) -> tuple[list[JudgedSet], Encoder, VectorStore | None]:
    """Return the sets of `--sets`, names of folders in `--data` or paths of others, and what encodes them; `quick` ones with `--quick`."""
    if given.quick:
        return list(quick), HashedWords(), None
    folders = [given.data / name for name in given.sets.split(",")]
    if missing := [str(folder) for folder in folders if not (folder / "qrels.tsv").is_file()]:
        sys.exit(
            f"no judged set (corpus.jsonl, queries.jsonl, qrels.tsv) is in {', '.join(missing)}; "
            "--sets takes names of folders in --data, or paths"
        )
    if len({folder.name for folder in folders}) < len(folders):
        sys.exit(f"two of {', '.join(map(str, folders))} have the same name; rename a folder")
    return [read(folder) for folder in folders], FlagEncoder.load(), VectorStore(given.store)


def turns_of(judged: JudgedSet, encoder: Encoder, store: VectorStore | None) -> list[Turn]:
    """Rank a set once for each of SEEDS, with the signals of every candidate."""
    return [turn_of(judged, seed, encoder, store) for seed in SEEDS]


def turn_of(judged: JudgedSet, seed: int, encoder: Encoder, store: VectorStore | None, depth: int = DEPTH) -> Turn:
    """Rank a set with the visible positives of a seed, with the signals of every candidate."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        train = Path(name) / "train.jsonl"
        rows = [
            {"query": query, "pos": [judged.passages[places[int(rng.integers(len(places)))]]]} for query, places in judged.relevant.items()
        ]
        train.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        corpus = read_inputs(train, judged.passages).corpus
    texts = find(judged.passages, corpus.passages, corpus.passage_hashes)
    queries = find(list(judged.relevant), corpus.queries, corpus.query_hashes)
    pairs = [
        int(query) * len(corpus.passages) + int(texts[place])
        for query, places in zip(queries, judged.relevant.values(), strict=True)
        for place in places
    ]
    ranking = with_signals(corpus, rank(corpus, encoder, depth, store=store))
    return Turn(corpus, ranking, np.unique(np.array(pairs, dtype=np.int64)), seed)
