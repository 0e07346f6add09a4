"""The plan of a ranking: its stages with their amounts of work, for the time left.

The seconds are those of two cores at 2.5 GHz with the packaged model in float32 (8,000 tokens a second), from runs of Cranfield and SQuAD.
Another model or machine differs by a factor, which is measured while texts are encoded, and kept for later runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.cluster.settings import ClusterSettings
from hnmine.core.time_left import Work
from hnmine.data.corpus import Corpus
from hnmine.data.texts import sizes_of
from hnmine.retrieval.approximate import BUILDING, IndexName, build_work

__all__ = ["plan_key", "planned"]

TOKEN = 1 / 8_000
BYTES_OF_A_TOKEN, SPECIAL_TOKENS = 4.0, 2
# A reranker reads query and passage together, and is often larger than the model that ranks.
RERANKER = 4.0
# Of a query and a passage; of a query and a ranked candidate.
SEARCHED, RANKED = 1.5e-8, 1.5e-6
# Part of the passages that an index compares with a query, until it is measured.
INDEXED = 0.25
COMPARED = 2e-6
WORD_BYTE, MATCHED = 2e-7, 1e-7


def planned(
    corpus: Corpus,
    model: dict[str, Any],
    depth: int,
    *,
    second: dict[str, Any] | None = None,
    lexical: bool = False,
    signals: bool = False,
    scored: int = 0,
    index: IndexName = "exact",
) -> Iterator[Work]:
    """Yield the stages of `rank_data` in their order.

    Args:
        corpus: the texts.
        model, second: the `describe()` of the models that encode.
        depth: candidates of each query.
        lexical: whether BM25 ranks too, which counts words first. signals: whether signals are computed.
        scored: candidates of each query that a reranker scores.
        index: how the model's vectors are searched.
    """
    queries, passages = len(corpus.queries), len(corpus.passages)
    depth = min(depth, corpus.n_candidates)
    sizes = {"passages": sizes_of(corpus.passages), "queries": sizes_of(corpus.queries)}
    words = Work("counting words", passages, WORD_BYTE * float(sizes["passages"].sum()))
    if lexical:
        yield words
    for prefix, each in (("", model), ("second model: ", second)):
        if each is not None:
            for side, of_side in sizes.items():
                tokens = _tokens(of_side, each, side)
                yield Work(f"{prefix}encoding {side}", tokens, tokens * TOKEN)
    compared = float(corpus.n_candidates)
    if index != "exact":
        yield Work(BUILDING, compared, SEARCHED * build_work(index, corpus.n_candidates))
        compared *= INDEXED
    yield Work("searching", queries, queries * (SEARCHED * compared + RANKED * depth))
    if signals:
        yield Work("comparing with positives", queries, COMPARED * queries * depth)
        if not lexical:
            yield words
        yield Work("comparing words", queries, MATCHED * queries * corpus.n_candidates)
    if scored:
        pairs = queries * min(scored, depth) + len(corpus.positive_ids)
        tokens = sum(float(each.sum()) / max(1, len(each)) for each in sizes.values()) / BYTES_OF_A_TOKEN
        yield Work("scoring pairs", pairs, pairs * tokens * TOKEN * RERANKER)


def plan_key(descriptions: Iterable[dict[str, Any]], cluster: ClusterSettings | None = None) -> str:
    """Return what throughput depends on: names, devices and precisions of the models, and the cluster."""
    key = " + ".join(f"{each.get('name')} {each.get('devices')} {each.get('precision')}" for each in descriptions)
    return key if cluster is None else f"{key} on {cluster.address}"


def _tokens(sizes: npt.NDArray[np.int64], model: dict[str, Any], side: str) -> float:
    """Return the expected tokens of texts of so many bytes, which are not tokenised yet."""
    one = "query" if side == "queries" else "passage"
    longest = model.get(f"{one}_max_length") or 512
    extra = SPECIAL_TOKENS + len((model.get(f"{one}_instruction") or "").encode()) / BYTES_OF_A_TOKEN
    return float(np.minimum(longest, extra + sizes / BYTES_OF_A_TOKEN).sum())
