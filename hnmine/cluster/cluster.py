"""`Cluster`: what the pipeline calls to encode and search by workers, with the bytes of one process.

The driver asks the vector store which texts are missing, workers write shards to a shared store, and the driver adds each finished shard to
its store. Only the driver touches the index. Blocks of passages go to workers for the search, and the driver merges what they find.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hnmine.cluster.ray_workers import RayWorkers
from hnmine.cluster.settings import LOCAL, ClusterSettings, ray_is_installed
from hnmine.cluster.shared_store import SharedStore
from hnmine.cluster.work import (
    Encoded,
    EncodeJob,
    EncodeProgress,
    EncodeTask,
    Found,
    Merged,
    PassageBlock,
    States,
    block_rows,
    passage_blocks,
    query_blocks,
    shard_groups,
    shard_name,
)
from hnmine.core.errors import ClusterError, SettingsError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.scratch import scratch_folder
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import Encoder, Side
from hnmine.retrieval.search import top_k
from hnmine.vectors import shards
from hnmine.vectors.index import EncoderKey
from hnmine.vectors.shard_set import Keys, unique_keys
from hnmine.vectors.similarity import Floats, Ids, VectorRows
from hnmine.vectors.store import VectorStore, space_of, vectors_of

__all__ = ["Cluster", "Executor", "opened"]


class Executor(Protocol):
    """Runs the work of shards. Results come in any order; the work of a worker that died is done again."""

    def encode(
        self,
        job: EncodeJob,
        tasks: Iterator[EncodeTask],
        count: int,
        *,
        on_states: Callable[[States], None],
        should_stop: ShouldStop | None,
    ) -> Iterator[Encoded]:
        """Yield each of the `count` tasks when it is finished; `on_states` gets the states of the workers now and then."""

    def search(
        self,
        queries: list[Floats],
        passages: Iterator[PassageBlock],
        count: int,
        k: int,
        *,
        use_gpu: bool,
        memory_budget: int | None,
        should_stop: ShouldStop | None,
    ) -> Iterator[Found]:
        """Yield `BlockSearcher.search` of each query block in each passage block; there are about `count` of these pairs."""

    def close(self) -> None:
        """End the workers."""


class Cluster:
    """Workers that encode and, if `searches`, search.

    Args:
        executor: where the work runs.
        shared_store: a folder or address that all workers reach; None is a folder inside the vector store.

    Attributes:
        notes: messages for the user, one sentence each.
    """

    def __init__(self, executor: Executor, *, shared_store: str | None = None, searches: bool = True) -> None:
        self._executor, self._shared, self._searches = executor, shared_store, searches
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.notes: list[str] = []

    def vectors(
        self,
        encoder: Encoder,
        texts: Sequence[tuple[Sequence[str], Side]],
        store: VectorStore | None,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[VectorRows]:
        """Return `vectors_of` for the texts of each side; those that are not stored are encoded by the workers.

        A loaded model cannot be sent to workers, so this process encodes with it. Without a store, vectors are in a temporary folder.

        Raises:
            ClusterError: the workers cannot do it.
            EncodeError, ModelError, Cancelled: as `vectors_of`; finished shards are kept.
        """
        settings = getattr(encoder, "settings", None)
        if settings is None:
            note = "a loaded model stays in its process, so no worker encoded; give its name or folder to encode on the cluster"
            self.notes += [note] if note not in self.notes else []
        else:
            store = store or VectorStore(self._folder())
            self._encode(encoder, settings, texts, store, on_progress, should_stop)
        return [vectors_of(encoder, each, side, store, on_progress=on_progress, should_stop=should_stop) for each, side in texts]

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
    ) -> tuple[Floats, Ids]:
        """Return what `search.top_k` returns, the same bits. `use_gpu`: on GPUs of the workers; `memory_budget`: of each worker.

        Raises:
            ClusterError: the workers cannot do it.
            SettingsError, EncodeError, Cancelled: as `search.top_k`.
        """
        count = len(passages) if count is None else min(count, len(passages))
        if not self._searches or not count or not len(queries):
            return top_k(
                queries,
                passages,
                k,
                count=count,
                use_gpu=use_gpu,
                memory_budget=memory_budget,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        top_k(queries[:0], passages, k, count=count)  # refuses what cannot be searched
        blocks, size = query_blocks(queries), block_rows(passages, use_gpu=use_gpu)
        merged = Merged([len(block) for block in blocks], min(k, count))
        answers = self._executor.search(
            blocks,
            passage_blocks(passages, count, size),
            len(blocks) * -(-count // size),
            k,
            use_gpu=use_gpu,
            memory_budget=memory_budget,
            should_stop=should_stop,
        )
        pairs = 0
        for found in answers:
            merged.add(found)
            pairs += len(found.scores) * found.passages
            if on_progress is not None:
                on_progress(pairs // count, len(queries), "searching")
        return merged.result()

    def close(self) -> None:
        """End the workers. Vectors of a temporary folder stay readable."""
        self._executor.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _folder(self) -> str:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="vectors-", dir=scratch_folder(), ignore_cleanup_errors=True)
        return self._temporary.name

    def _encode(
        self,
        encoder: Encoder,
        settings: ModelSettings,
        texts: Sequence[tuple[Sequence[str], Side]],
        store: VectorStore,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        """Have the missing texts encoded, and add their shards to the store."""
        check_cancelled(should_stop)
        own = self._shared is None
        shared = SharedStore(self._shared or str(store.root / "cluster"))
        if own:
            shared.sweep()

        def take(plan: _Plan) -> bool:
            """Add a finished shard to the store; a damaged one is removed."""
            shard = shared.take(plan.name, store.root, move=own)
            if shard is not None and store.adopt(plan.space, shard):
                return True
            shared.remove(plan.name)
            return False

        finished = shared.finished()
        plans = [plan for each, side in texts for plan in _plans(encoder, each, side, store)]
        wanted = {plan.name: plan for plan in plans if plan.name not in finished or not take(plan)}
        if not wanted:
            return
        progress = EncodeProgress({name: (plan.side, sum(map(len, plan.texts()))) for name, plan in wanted.items()}, on_progress)
        word = shared.leave_word()
        job = EncodeJob(
            settings=settings,
            identities={plan.side: plan.space.identity for plan in wanted.values()},
            dtype=next(iter(wanted.values())).space.dtype,
            shared=shared.url,
            word=word,
        )
        tasks = (EncodeTask(name=plan.name, side=plan.side, texts=list(plan.texts()), keys=plan.keys) for plan in wanted.values())
        if on_progress is not None:
            on_progress(0, 0, "starting the workers")
        try:
            for done in self._executor.encode(job, tasks, len(wanted), on_states=progress.running, should_stop=should_stop):
                plan = wanted[done.shard.id]
                if not take(plan) and len(store.missing(plan.space, plan.keys)):  # else another run with this store took it
                    raise ClusterError(f"a shard that a worker wrote to {shared.url} is missing or damaged; check it, and run again")
                progress.finished(done.shard.id, done.tokens)
        finally:
            shared.remove_word(word)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A shard to come: its texts are `every[places]`."""

    name: str
    side: Side
    space: EncoderKey
    keys: Keys
    every: Sequence[str]
    places: npt.NDArray[np.int64]

    def texts(self) -> Iterator[str]:
        return (self.every[place] for place in self.places.tolist())


def _plans(encoder: Encoder, texts: Sequence[str], side: Side, store: VectorStore) -> Iterator[_Plan]:
    """Yield the shards of the texts that the store lacks."""
    space = space_of(encoder, side)
    assert space is not None  # an encoder with settings has an identity
    keys, firsts, _ = unique_keys(shards.text_keys(texts))
    for group in shard_groups(keys, store.missing(space, keys)):
        name = shard_name(space, keys[group])
        yield _Plan(name=name, side=side, space=space, keys=keys[group], every=texts, places=firsts[group])


@contextmanager
def opened(settings: ClusterSettings | None, model: ModelSettings | None, described: Mapping[str, Any]) -> Iterator[Cluster | None]:
    """Yield the cluster of a run, or None for none; its workers start with the first work, and end with the block.

    Args:
        settings: the cluster that was asked for.
        model: a worker of this machine for each of its devices, if they are named one by one ("cuda:0"). Several devices without
            `settings` are workers too, if Ray is installed and hnmine drives the class of the model itself: FlagEmbedding runs the others
            on several devices in a pool of its own.
        described: `describe()` of the model.

    Raises:
        SettingsError: the model is served, so no worker can encode with it.
    """
    devices = (model.devices if model is not None else None) or ()
    named = devices if len(devices) > 1 or ":" in "".join(devices) else ()
    if settings is not None and str(described.get("class")).startswith("served"):
        raise SettingsError(
            f"the model is served by {described.get('address')}, which encodes; leave the cluster out (--cluster), or load the model"
        )
    if settings is not None:
        workers = RayWorkers(settings.address, named if settings.address == LOCAL else ())
        cluster = Cluster(workers, shared_store=settings.shared_store)
    elif len(devices) > 1 and described.get("class") == "encoder-only-base" and ray_is_installed():
        cluster = Cluster(RayWorkers(LOCAL, named), searches=False)
    else:
        yield None
        return
    with closing(cluster):
        yield cluster
