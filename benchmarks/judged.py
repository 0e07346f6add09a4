"""Data sets with relevance judgements (qrels), which are needed to count false negatives.

A set is a folder like BEIR's: `corpus.jsonl` (_id, title, text), `queries*.jsonl` (_id, text) and `qrels*.tsv` (query-id,
corpus-id, score, with a header). None is part of the project. Without one a small synthetic set is made, to test a script.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sets import sentences

# Grades that count as relevant: Cranfield's 5 is the paper that a question came from, LiveQA's 1 means "related".
GRADES = {"cranfield": (1, 4), "medquad-liveqa": (2, 4)}
ANY_GRADE = (1, 100)


@dataclass(frozen=True)
class JudgedSet:
    """Passages, and for each query text the passages judged relevant (indices, the best grade first)."""

    name: str
    passages: list[str]
    relevant: dict[str, list[int]]


def read(folder: Path, *, part: str = "*", least: int = 2) -> JudgedSet:
    """Read a set; title and text of a passage are joined by a line break.

    Args:
        folder: the folder of the set.
        part: which queries: "" those of `queries.jsonl`, "-train" those of `queries-train.jsonl`, "*" all.
        least: leave out queries with fewer relevant passages; two are needed for a visible and a hidden one.
    """

    def lines(name: str) -> Iterator[dict[str, str]]:
        with (folder / name).open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    passages, places = [], {}
    for number, line in enumerate(lines("corpus.jsonl")):
        places[line["_id"]] = number
        passages.append("\n".join(part for part in (line.get("title"), line["text"]) if part) or "-")
    queries = {line["_id"]: line["text"] for path in sorted(folder.glob(f"queries{part}.jsonl")) for line in lines(path.name)}
    low, high = GRADES.get(folder.name, ANY_GRADE)
    graded: dict[str, list[tuple[int, int]]] = {}
    for path in sorted(folder.glob(f"qrels{part}.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                if low <= int(line["score"]) <= high and line["corpus-id"] in places:
                    graded.setdefault(queries[line["query-id"]], []).append((-int(line["score"]), places[line["corpus-id"]]))
    relevant = {query: [place for _, place in sorted(pairs)] for query, pairs in graded.items() if len(pairs) >= least}
    return JudgedSet(folder.name, passages, relevant)


def made_up(queries: int = 30, passages: int = 600, *, name: str = "made up") -> JudgedSet:
    """Return a set in which each query shares words with the five passages that answer it."""
    texts, questions = sentences(passages, 20, 40, 0), sentences(queries, 6, 9, 1)
    relevant = {}
    for number, question in enumerate(questions):
        relevant[question] = list(range(5 * number, 5 * number + 5))
        for place, words in zip(relevant[question], (3, 3, 4, 5, 6), strict=True):
            texts[place] += " " + " ".join(question.split()[-words:])
    return JudgedSet(name, texts, relevant)


class HashedWords:
    """An encoder without a model: a text is the normalised sum of a random vector for each of its words."""

    def encode_batches(self, texts: Sequence[str], side: str, **_: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all vectors, (n, 64), at once."""
        sums = [np.sum([self._word(word) for word in text.split()], axis=0) for text in texts]
        yield np.arange(len(texts)), np.array([each / np.linalg.norm(each) for each in sums], dtype=np.float32)

    def identity(self, side: str) -> str | None:
        """Return None: its vectors are not stored."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": "hashed words"}

    @staticmethod
    def _word(word: str) -> np.ndarray:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "little")).standard_normal(64)
