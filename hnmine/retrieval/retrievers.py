"""What ranks the candidates: the model, BM25, a second model, or several of them, fused by reciprocal ranks.

Scores stay the similarities of the run's model. A candidate's rank in each list is a signal, "rank_bm25" (from 0; NaN where the list lacks
it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.errors import SettingsError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.models.cards import PACKAGED_NAME, ModelSettings
from hnmine.models.served.server import Server
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.search import top_k
from hnmine.vectors.similarity import Floats, Ids, VectorRows, pair_scores

__all__ = [
    "FUSION_DEPTH",
    "MODEL_ALONE",
    "RANK_CONSTANT",
    "RETRIEVERS",
    "Retriever",
    "Searcher",
    "Vectors",
    "chosen_retrievers",
    "fuse_retrievers",
    "fused",
    "retriever_names",
    "second_model_settings",
    "similarities",
]


Numbers = npt.NDArray[np.int64]
Packed = npt.NDArray[np.uint64]

RANK_CONSTANT = 60
FUSION_DEPTH = 1_000

# A key is a sum above a place in its row: three lists of FUSION_DEPTH have 3,000 places.
MOST_LISTS = 3
PLACE_BITS = 12
SUM_BITS = 51
# Sums are whole multiples of 2^-55, so that they do not depend on the order of adding up: 3 / 61 stays below 2^51 of them.
SCALE = 2.0**55
_NONE = np.uint64(2**32 - 1)
_LAST = np.uint64(2**64 - 1)


def fused(lists: Sequence[Ids], depth: int, *, behind: Ids | None = None) -> tuple[Ids, list[Ids]]:
    """Return the head of the fused list of each query, and the rank of its passages in each list.

    Args:
        lists: each (q, w) int32, w at least 1, passage ids, best first and none twice in a row; -1 behind the last one.
        depth: ranks wanted (k). The first k of a deeper call are the same.
        behind: (q, w) int32, the list to continue with where the others hold fewer than `depth`; it adds nothing to the sums.

    Returns:
        ids: (q, k) int32, -1 where all lists together hold fewer; equal sums in ascending id, which is the order of the text hash.
        ranks: for each of `lists` (q, k) int32, ranks from 0, -1 where the list does not hold the passage.
    """
    every = [*lists, *([] if behind is None else [behind])]
    widths = [each.shape[1] for each in every]
    places = sum(widths)
    if places > 2**PLACE_BITS or len(lists) > MOST_LISTS:
        raise ValueError(f"{len(lists)} lists, {places:,} ranks together, are too many to fuse; at most {MOST_LISTS}, {2**PLACE_BITS:,}")
    owner = np.repeat(np.arange(len(every)), widths)
    local = np.concatenate([np.arange(width) for width in widths]).astype(np.int32)
    votes = np.rint(SCALE / (RANK_CONSTANT + 1 + local)).astype(np.int64)
    votes[owner >= len(lists)] = 0
    # Far below the least vote, so that it orders only passages without a vote.
    turns = np.where(owner >= len(lists), places - local, 0).astype(np.int64)
    ids = np.empty((len(every[0]), depth), dtype=np.int32)
    ranks = [np.empty_like(ids) for _ in lists]
    for first, stop in row_blocks(len(ids), max(1, places)):
        rows = np.concatenate([each[first:stop] for each in every], axis=1).astype(np.uint32)  # -1 becomes the last of all
        packed = rows.astype(np.uint64) << np.uint64(32) | np.arange(places, dtype=np.uint64)
        packed.sort(axis=1)
        passages, origin = packed >> np.uint64(32), (packed & _NONE).astype(np.int64)
        columns, held = _best(passages, votes[origin], turns[origin], len(every), depth)
        found = np.take_along_axis(passages, columns, 1)
        ids[first:stop] = np.where(held, found, _NONE).astype(np.uint32).view(np.int32)
        for number, each in enumerate(ranks):
            each[first:stop] = -1
            for step in range(len(every)):  # the same passage of other lists follows directly
                there = np.minimum(columns + step, places - 1)
                origins = np.take_along_axis(origin, there, 1)
                same = held & (np.take_along_axis(passages, there, 1) == found) & (owner[origins] == number)
                np.copyto(each[first:stop], local[origins], where=same)
    return ids, ranks


def _best(passages: Packed, votes: Numbers, turns: Numbers, lists: int, depth: int) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return the places (r, depth) of the highest sums in rows sorted by passage, and which of them hold any.

    `votes` and `turns` (r, w) are those of each place; a passage occurs at most `lists` times in a row, and counts at its
    first place.
    """
    width = passages.shape[1]
    sums = votes.copy()
    for step in range(1, min(lists, width)):
        sums[:, :-step] += votes[:, step:] * (passages[:, step:] == passages[:, :-step])
    np.copyto(sums, turns, where=sums == 0)
    keys = (np.int64(2**SUM_BITS) - sums).astype(np.uint64) << np.uint64(PLACE_BITS) | np.arange(width, dtype=np.uint64)
    np.copyto(keys, _LAST, where=passages == _NONE)
    np.copyto(keys[:, 1:], _LAST, where=passages[:, 1:] == passages[:, :-1])
    if depth < width:
        keys = np.partition(keys, depth - 1, axis=1)[:, :depth]
    keys.sort(axis=1)
    if depth > width:
        keys = np.pad(keys, ((0, 0), (0, depth - width)), constant_values=_LAST)
    held = keys != _LAST
    return np.where(held, keys & np.uint64(2**PLACE_BITS - 1), 0).astype(np.int64), held


Retriever = Literal["model", "bm25", "second_model"]
RETRIEVERS: tuple[Retriever, ...] = get_args(Retriever)
MODEL_ALONE: tuple[Retriever, ...] = ("model",)
# Of one model: (queries, passages).
Vectors = tuple[VectorRows, VectorRows]
# Returns the search for the vectors of a model by its name: `search.top_k`, or another with its arguments.
Searcher = Callable[[Retriever], Callable[..., tuple[Floats, Ids]]]

NAMES: dict[Retriever, str] = {"model": "the model", "bm25": "BM25", "second_model": "the second model"}
STAGE = "searching"
# Queries whose lists are in memory at a time: some 70 MB for each retriever.
QUERIES = 8_192
# Ranked pairs that are scored at a time.
PAIRS = 2**22


def chosen_retrievers(names: Sequence[str], *, second: bool, window_end: int) -> tuple[Retriever, ...]:
    """Return retrievers in a fixed order; the order has no effect on the ranking. `second`: whether there is a second model.

    Raises:
        SettingsError: the list is empty, a name is unknown or repeated, there is no second model, or the window ends behind FUSION_DEPTH.
    """
    if isinstance(names, str):
        names = (names,)
    if unknown := [name for name in names if name not in RETRIEVERS]:
        raise SettingsError(f"retrievers holds {unknown[0]!r}; they are {', '.join(RETRIEVERS)}")
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"retrievers is {' '.join(names) or 'empty'!r}; name each retriever once, of {', '.join(RETRIEVERS)}")
    if "second_model" in names and not second:
        raise SettingsError("retrievers holds 'second_model', but second_model is not set; set it, or leave the retriever out")
    chosen = tuple(name for name in RETRIEVERS if name in names)
    if chosen != MODEL_ALONE and window_end > FUSION_DEPTH:
        raise SettingsError(
            f"the rank window ends at {window_end:,}, but with other retrievers than the model each ranks {FUSION_DEPTH:,} candidates; "
            f"end it at {FUSION_DEPTH:,} or before"
        )
    return chosen


def retriever_names(retrievers: Sequence[Retriever]) -> str:
    """Return the retrievers in words: "by the model and BM25, fused"; empty for the model alone."""
    if tuple(retrievers) == MODEL_ALONE:
        return ""
    names = [NAMES[name] for name in retrievers]
    return f"by {names[0]}" if len(names) == 1 else f"by {', '.join(names[:-1])} and {names[-1]}, fused"


def second_model_settings(first: ModelSettings, name: str | None, server: Server | None = None) -> ModelSettings | None:
    """Return the settings of a second model given by its name or folder; None for none.

    Devices, precision, batch size and cache are the first one's; pooling, lengths and instructions come from its own folder. The
    packaged model has the name PACKAGED_NAME. One that is served has the batch size alone.
    """
    if name is None:
        return None
    if server is not None:
        return ModelSettings(name_or_path=name, batch_size=first.batch_size, server=server)
    return ModelSettings(
        name_or_path=None if name == PACKAGED_NAME else name,
        devices=first.devices,
        precision=first.precision,
        batch_size=first.batch_size,
        cache_dir=first.cache_dir,
    )


def similarities(vectors: Vectors, ids: Ids) -> Floats:
    """Return the similarity of each query to its ranked candidates `ids` (q, k): (q, k) float32."""
    queries, passages = vectors
    found = np.empty(ids.shape, dtype=np.float32)
    rows = max(1, PAIRS // max(1, ids.shape[1]))
    for first in range(0, len(ids), rows):
        part = ids[first : first + rows]
        owners = np.repeat(np.arange(first, first + len(part), dtype=np.int32), ids.shape[1])
        found[first : first + rows] = pair_scores(queries, owners, passages, part.ravel()).reshape(part.shape)
    return found


def fuse_retrievers(
    corpus: Corpus,
    retrievers: Sequence[Retriever],
    depth: int,
    *,
    model: Vectors,
    second: Vectors | None = None,
    lexical: LexicalIndex | None = None,
    searcher: Searcher = lambda _: top_k,
    use_gpu: bool = False,
    memory_budget: int | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Ids, dict[str, npt.NDArray[np.float32]]]:
    """Rank by several retrievers, or by one other than the model, and fuse their lists.

    Where they find fewer than `depth` candidates (few passages share a word with a short query), the model's ranking continues the list.

    Args:
        depth: candidates wanted a query, at most FUSION_DEPTH; fewer when the corpus has fewer.
        model, second: vectors of the one and the other model.
        lexical: ranks for "bm25".
        searcher: what searches the vectors of "model" and "second_model".
        use_gpu, memory_budget, on_progress, should_stop: as in `search.top_k`.

    Returns:
        ids (q, k) int32, each passage once a row; for each retriever a signal "rank_<name>", (q, k) float32.
    """
    width, count = min(FUSION_DEPTH, corpus.n_candidates), len(corpus.queries)
    model_fills = "model" not in retrievers
    searched: list[Retriever] = [*retrievers, *MODEL_ALONE] if model_fills else [*retrievers]
    ids = np.empty((count, min(depth, width)), dtype=np.int32)
    settings: dict[str, Any] = {
        "count": corpus.n_candidates,
        "use_gpu": use_gpu,
        "memory_budget": memory_budget,
        "should_stop": should_stop,
    }
    signals = {f"rank_{name}": np.empty(ids.shape, dtype=np.float32) for name in retrievers}

    for first in range(0, count, QUERIES):
        queries = slice(first, min(first + QUERIES, count))
        lists: list[Ids] = []
        for number, name in enumerate(searched):
            report = _PartialProgress(on_progress, first, (queries.stop - first) / len(searched), number, count)
            if name == "bm25":
                assert lexical is not None  # the caller builds it
                texts = corpus.queries[queries]
                lists.append(lexical.top_k(texts, width, corpus.n_candidates, on_progress=report, should_stop=should_stop)[1])
                continue
            vectors = model if name == "model" else second
            assert vectors is not None  # `chosen_retrievers` checks it
            lists.append(searcher(name)(vectors[0][queries], vectors[1], width, **settings, on_progress=report)[1])
        behind = lists.pop() if model_fills else None
        ids[queries], ranks = fused(lists, ids.shape[1], behind=behind)
        for signal, held in zip(signals.values(), ranks, strict=True):
            signal[queries] = np.where(held >= 0, held, np.float32(np.nan))
    if on_progress is not None:
        on_progress(count, count, STAGE)
    return ids, signals


class _PartialProgress:
    """Progress of one retriever on some of the queries, as part of one stage: retriever `number` counts for `part` queries."""

    def __init__(self, on_progress: OnProgress | None, first: int, part: float, number: int, queries: int) -> None:
        self._on_progress, self._begin, self._part, self._queries = on_progress, first + part * number, part, queries
        self(0, 1, STAGE)

    def __call__(self, done: int, total: int, note: str, /) -> None:
        if self._on_progress is not None:
            self._on_progress(int(self._begin + self._part * done / max(1, total)), self._queries, STAGE)
