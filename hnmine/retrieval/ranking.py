"""The result of the slow half: for every query its nearest passages and their scores, as plain arrays.

A selection is computed from a Ranking without a model or an index. The vectors stay with it, so that a passage outside the ranked list (a
random fill, a positive) gets its score too: arrays in memory, or rows of the vector store's files. Saved as .npy files, which are
memory-mapped when opened (100,000 queries x 210 are 168 MB, read only where needed); stored vectors are linked into the run's folder, which
takes no space and keeps them when the store is pruned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hnmine.core import array_files
from hnmine.core.array_files import Fingerprint
from hnmine.core.arrays import row_blocks
from hnmine.core.errors import SettingsError, WorkspaceError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.corpus import Corpus
from hnmine.models.encoder import Encoder, FlagEncoder, Side
from hnmine.retrieval.array_checks import check_shapes, check_values
from hnmine.retrieval.bm25 import LexicalIndex
from hnmine.retrieval.retrievers import MODEL_ALONE, Retriever, Searcher, Vectors, fuse_retrievers, similarities
from hnmine.retrieval.search import VectorRows, pair_scores, top_k
from hnmine.vectors.store import StoredVectors, VectorStore, vectors_of

__all__ = ["Ranking", "Workers", "rank", "ranks_of"]

_ARRAYS = ("ids", "scores", "positive_scores")
_VECTORS = ("query_vectors", "passage_vectors")
# Prefixes of the files of signals; the names follow.
_SIGNALS = {"signals": "signal-", "positive_signals": "positive-signal-"}


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Ranked candidates of q queries.

    Attributes:
        ids: (q, k) int32, passage ids, best first; ranks count from 0. With several retrievers, in their fused order.
        scores: (q, k) float32, inner products (cosines for normalised vectors) of the run's model; descending where the model is
            the only retriever.
        positive_scores: float32, one for each entry of `Corpus.positive_ids`.
        query_vectors: (q, d) float32. passage_vectors: (n, d) float32. Arrays, or rows of stored files that are read where they are
            indexed.
        signals: further numbers about the candidates by name, each (q, k) float32; NaN where unknown.
        scale: (2, 2) float64, mean and standard deviation of the similarity of random query-passage and passage-passage pairs; None where
            signals were not computed.
        positive_signals: the same for the positives, where a signal has it, one for each entry of `Corpus.positive_ids`.
    """

    ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    positive_scores: npt.NDArray[np.float32]
    query_vectors: VectorRows
    passage_vectors: VectorRows
    signals: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    positive_signals: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    scale: npt.NDArray[np.float64] | None = None

    @property
    def depth(self) -> int:
        """How many candidates were ranked for each query (k)."""
        return int(self.ids.shape[1])

    def score_pairs(self, query_ids: npt.NDArray[np.int32], passage_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the similarity of any (query, passage) pairs: (p,) float32, the same bits as `scores` has for ranked ones."""
        return pair_scores(self.query_vectors, query_ids, self.passage_vectors, passage_ids)

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Fingerprint]:
        """Write the arrays into an existing folder, synced; return their fingerprints by file name, for `check`."""
        folder = Path(folder)
        for name in _ARRAYS:
            array_files.save(folder / f"{name}.npy", getattr(self, name))
        for name in _VECTORS:
            vectors = getattr(self, name)
            if isinstance(vectors, StoredVectors):
                vectors.save(folder, name)
            else:
                array_files.save(folder / f"{name}.npy", vectors)
        if self.scale is not None:
            array_files.save(folder / "scale.npy", self.scale)
        for kind, prefix in _SIGNALS.items():
            for name, values in getattr(self, kind).items():
                array_files.save(folder / f"{prefix}{name}.npy", values)
        array_files.sync_folder(folder)
        return {path.name: array_files.fingerprint(path) for path in sorted(folder.glob("*.npy"))}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Ranking:
        """Open saved arrays, memory-mapped and read-only; `check` reads them.

        Raises:
            WorkspaceError: an array is missing or damaged, or their shapes do not match.
        """
        folder = Path(folder)
        with _damage_of(folder):
            arrays: dict[str, Any] = {name: array_files.mapped(folder / f"{name}.npy") for name in _ARRAYS}
            for name in _VECTORS:
                whole = folder / f"{name}.npy"
                arrays[name] = array_files.mapped(whole) if whole.exists() else StoredVectors.open(folder, name)
            signals: dict[str, dict[str, Any]] = {
                kind: {path.stem.removeprefix(prefix): array_files.mapped(path) for path in sorted(folder.glob(f"{prefix}*.npy"))}
                for kind, prefix in _SIGNALS.items()
            }
            scale = np.array(array_files.mapped(folder / "scale.npy")) if (folder / "scale.npy").exists() else None
            ranking = cls(**arrays, signals=signals["signals"], positive_signals=signals["positive_signals"], scale=scale)
            check_shapes(*ranking._arrays())
        return ranking

    def check(self, folder: str | os.PathLike[str], wanted: Mapping[str, Fingerprint]) -> None:
        """Read the files in `folder` that were opened, and compare them with what `save` returned, or without that check their values.

        Raises:
            WorkspaceError: a file is damaged or of another run.
        """
        with _damage_of(Path(folder)):
            if wanted:
                array_files.check(Path(folder), wanted)
            else:
                check_values(*self._arrays())

    def _arrays(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]:
        return {name: getattr(self, name) for name in (*_ARRAYS, *_VECTORS)}, self.signals, self.positive_signals, self.scale

    def check_corpus(self, corpus: Corpus) -> None:
        """Check that the arrays have the lengths of a corpus.

        Raises:
            WorkspaceError: they are of another one.
        """
        for name, found, wanted in (
            ("queries", len(self.ids), len(corpus.queries)),
            ("passages", len(self.passage_vectors), len(corpus.passages)),
            ("positives", len(self.positive_scores), len(corpus.positive_ids)),
        ):
            if found != wanted:
                raise WorkspaceError(f"the ranking has {found:,} {name}, and the data as it is read now {wanted:,}; mine again")


@contextmanager
def _damage_of(folder: Path) -> Iterator[None]:
    """Raise what a damaged array raises as WorkspaceError."""
    try:
        yield
    except (*array_files.DAMAGES, OSError) as error:
        raise WorkspaceError(f"the ranking in {folder} cannot be opened ({error}); mine again") from error


class Workers(Protocol):
    """What encodes and searches in place of this process, with the same bytes (`hnmine.cluster.cluster.Cluster`)."""

    def vectors(
        self,
        encoder: Encoder,
        texts: Sequence[tuple[Sequence[str], Side]],
        store: VectorStore | None,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[VectorRows]:
        """Return `vectors_of` for the texts of each side."""

    def top_k(
        self,
        queries: VectorRows,
        passages: VectorRows,
        k: int,
        *,
        count: int | None = None,
        use_gpu: bool = False,
        memory_budget: int | None = None,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """As `search.top_k`."""


def ranks_of(ids: npt.NDArray[np.int32], queries: npt.NDArray[np.int32], passages: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the rank from 0 of each pair among the ranked `ids` (q, k), or -1 where it is not one of them: (p,) int32."""
    ranks = np.full(len(queries), -1, dtype=np.int32)
    for first, end in row_blocks(len(queries), ids.shape[1]):
        pairs, places = np.nonzero(ids[queries[first:end]] == passages[first:end, None])
        ranks[first + pairs] = places
    return ranks


def rank(
    corpus: Corpus,
    encoder: Encoder,
    depth: int,
    *,
    second: Encoder | None = None,
    retrievers: Sequence[Retriever] = MODEL_ALONE,
    lexical: LexicalIndex | None = None,
    instructed: Sequence[str] | None = None,
    store: VectorStore | None = None,
    searcher: Searcher | None = None,
    use_gpu: bool = False,
    memory_budget: int | None = None,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    timings: dict[str, float] | None = None,
) -> Ranking:
    """Encode the texts of a corpus whose vectors are not stored, and rank `depth` candidates for every query.

    Args:
        depth: candidates a query; fewer when the corpus has fewer.
        second: a second model; its similarities become the signal "second_model". With two, one is loaded at a time.
        retrievers: the ranks of several are fused, and each one's own ranks become a signal (`retrievers.fuse_retrievers`).
        lexical: ranks for "bm25".
        instructed: the queries as `encoder` reads them, with an instruction each (`FlagEncoder.instructed`); None: with the model's own.
        store: where vectors are kept; None keeps none.
        searcher: what searches the vectors of a model, such as `IndexedSearch.searcher`; None is exact search, by `workers` where given.
        use_gpu: search on a GPU; the caller checks that there is one.
        memory_budget: bytes for the search's working arrays; None takes a part of what is free.
        workers: what encodes and searches; None is this process.
        timings: a dict to put the seconds of "encode" and "search" into.

    Raises:
        SettingsError: depth is below 1, or the budget too small.
        EncodeError, Cancelled: as `Encoder` and `top_k` do.
    """
    if depth < 1:
        raise SettingsError(f"the rank window ends at {depth}; it must end at 1 or later")
    began = time.monotonic()
    queries, passages = model = _vectors(encoder, corpus, store, workers, on_progress, should_stop, instructed)
    seconds = None
    if second is not None:
        _release(encoder)
        seconds = _vectors(second, corpus, store, workers, _named("second model", on_progress), should_stop)
        _release(second)
    encoded = time.monotonic()
    exact = top_k if workers is None else workers.top_k
    searcher = searcher or (lambda _: exact)
    signals: dict[str, npt.NDArray[np.float32]] = {}
    if tuple(retrievers) == MODEL_ALONE:
        scores, ids = searcher("model")(
            queries,
            passages,
            depth,
            count=corpus.n_candidates,
            use_gpu=use_gpu,
            memory_budget=memory_budget,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    else:
        ids, signals = fuse_retrievers(
            corpus,
            retrievers,
            depth,
            model=model,
            second=seconds,
            lexical=lexical,
            searcher=searcher,
            use_gpu=use_gpu,
            memory_budget=memory_budget,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        scores = similarities(model, ids)
    positive_scores = pair_scores(queries, corpus.positive_queries, passages, corpus.positive_ids)
    positive_signals = {}
    if seconds is not None:
        signals["second_model"] = similarities(seconds, ids)
        positive_signals["second_model"] = pair_scores(seconds[0], corpus.positive_queries, seconds[1], corpus.positive_ids)
    if timings is not None:
        timings |= {"encode": encoded - began, "search": time.monotonic() - encoded}
    return Ranking(
        ids=ids,
        scores=scores,
        positive_scores=positive_scores,
        query_vectors=queries,
        passage_vectors=passages,
        signals=signals,
        positive_signals=positive_signals,
    )


def _vectors(
    encoder: Encoder,
    corpus: Corpus,
    store: VectorStore | None,
    workers: Workers | None,
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
    instructed: Sequence[str] | None = None,
) -> Vectors:
    """Return one model's vectors of the queries and the passages."""
    side: Side = "queries" if instructed is None else "instructed queries"
    texts = corpus.queries if instructed is None else instructed
    if workers is not None:
        both: list[tuple[Sequence[str], Side]] = [(corpus.passages, "passages"), (texts, side)]
        passages, queries = workers.vectors(encoder, both, store, on_progress=on_progress, should_stop=should_stop)
        return queries, passages
    passages = vectors_of(encoder, corpus.passages, "passages", store, on_progress=on_progress, should_stop=should_stop)
    queries = vectors_of(encoder, texts, side, store, on_progress=on_progress, should_stop=should_stop)
    return queries, passages


def _release(encoder: Encoder) -> None:
    if isinstance(encoder, FlagEncoder):
        encoder.release()


def _named(whose: str, on_progress: OnProgress | None) -> OnProgress | None:
    """Return progress whose stages begin with a name: "second model: encoding passages"."""
    return on_progress and (lambda done, total, note, /: on_progress(done, total, f"{whose}: {note}"))
