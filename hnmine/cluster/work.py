"""What a worker of a cluster does with a shard of texts or a block of passages, and how the driver merges. Nothing here knows a cluster.

A text belongs to a shard by its hash, and the number of shards depends on the number of texts alone. So any number of workers writes the
same shards, and a run that continues finds those that are finished.

A block is searched exactly, with scores in float64 rounded once, so a score does not depend on its block. The best of all blocks by score
and then by passage id are those of one search over all passages, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.cluster.shared_store import SharedStore
from hnmine.core.errors import ClusterError
from hnmine.core.progress import OnProgress
from hnmine.core.version import __version__
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import Encoder, FlagEncoder, Side
from hnmine.retrieval.search import best_of, gpu_count, top_k
from hnmine.vectors.index import EncoderKey
from hnmine.vectors.shard_set import Keys
from hnmine.vectors.shards import Shard
from hnmine.vectors.similarity import Floats, Ids, VectorRows, walk
from hnmine.vectors.store import vectors_of

__all__ = [
    "BlockSearcher",
    "EncodeJob",
    "EncodeProgress",
    "EncodeTask",
    "Encoded",
    "Found",
    "Merged",
    "PassageBlock",
    "ShardEncoder",
    "States",
    "block_rows",
    "passage_blocks",
    "query_blocks",
    "shard_groups",
    "shard_name",
]


# Texts of a shard: enough of each length for full batches. Fewer texts make at least SHARDS of them, so that all workers have work.
MOST_TEXTS, FEWEST_TEXTS, SHARDS = 8_192, 256, 32
TOKENS_OF_A_CHARACTER = 0.25
# Of `ShardEncoder.progress`, of all workers.
States = Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeJob:
    """What all shards of one model have in common.

    Attributes:
        settings: the model; a worker sets its device.
        identities: the identity that the worker's encoder must have for each side.
        dtype: in which vectors are stored.
        shared, word: the address of the shared store, and the file by which a worker recognises it.
        version: of hnmine; a worker must have the same.
    """

    settings: ModelSettings
    identities: dict[Side, str]
    dtype: str
    shared: str
    word: str
    version: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeTask:
    """One shard: its name, its side, its texts and their keys, (n, 2) uint64."""

    name: str
    side: Side
    texts: list[str]
    keys: Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A finished shard, and the tokens that were encoded for it; 0 if it was there before."""

    shard: Shard
    tokens: int


def shard_groups(keys: Keys, missing: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the missing texts of each shard, ascending; shards without any are left out.

    Args:
        keys: of all texts, (n, 2) uint64, unique and sorted; they alone decide where a shard begins.
        missing: (m,) places in `keys`, ascending.
    """
    size = min(MOST_TEXTS, max(FEWEST_TEXTS, len(keys) // SHARDS))
    count = np.uint64(-(-len(keys) // size))
    groups = ((keys[missing, 0] >> np.uint64(32)) * count) >> np.uint64(32)
    bounds = np.flatnonzero(np.diff(groups)) + 1
    yield from (each for each in np.split(missing, bounds) if len(each))


def shard_name(space: EncoderKey, keys: Keys) -> str:
    """Return the name of the shard of these keys: 32 hexadecimal digits."""
    return hashlib.sha256(space.id.encode() + np.ascontiguousarray(keys).tobytes()).hexdigest()[:32]


class ShardEncoder:
    """A worker: it loads the model with its first shard, and keeps it.

    Args:
        job: what to encode with.
        device: such as "cpu" or "cuda:0", as this worker sees it.
        load: returns the encoder; None loads that of `job.settings`.
    """

    def __init__(self, job: EncodeJob, device: str, load: Callable[[], Encoder] | None = None) -> None:
        self._job, self._device, self._load = job, device, load
        self._ready: tuple[Encoder, SharedStore] | None = None
        self._state = ("", 0, 0)

    def encode(self, task: EncodeTask) -> Encoded:
        """Encode a shard and write it to the shared store, unless it is there.

        Raises:
            ClusterError: this worker reaches another place, or would encode otherwise than the driver.
            ModelError, EncodeError: as the encoder.
        """
        if self._ready is None:
            self._ready = self._prepared()
        encoder, shared = self._ready
        if (shard := shared.find(task.name)) is not None:
            return Encoded(shard=shard, tokens=0)

        self._state = (task.name, 0, 0)

        def on_progress(done: int, total: int, note: str, /) -> None:
            self._state = (task.name, done, total)

        vectors = vectors_of(encoder, task.texts, task.side, None, on_progress=on_progress)
        shard = shared.put(task.name, task.keys, np.asarray(vectors), self._job.dtype)
        return Encoded(shard=shard, tokens=self._state[1])

    def progress(self) -> tuple[str, int, int]:
        """Return the name of the running shard, its encoded tokens, and all of its tokens."""
        return self._state

    def _prepared(self) -> tuple[Encoder, SharedStore]:
        job = self._job
        if job.version != __version__:
            raise ClusterError(f"a worker has hnmine {__version__} and the driver {job.version}; install one version on all nodes")
        shared = SharedStore(job.shared)
        if not shared.has_word(job.word):
            raise ClusterError(
                f"a worker reaches another folder at {job.shared} than the driver; give a shared_store that all nodes reach, a folder of a "
                "network file system or an address such as s3://bucket/folder"
            )
        encoder = self._load() if self._load is not None else self._loaded()
        for side, identity in job.identities.items():
            if (own := encoder.identity(side)) != identity:
                raise ClusterError(
                    f"a worker would make other vectors than the driver ({_difference(own, identity)}); use the same weights and the same "
                    "type of device on all nodes"
                )
        return encoder, shared

    def _loaded(self) -> Encoder:
        precision = msgspec.json.decode(next(iter(self._job.identities.values())))["precision"]
        return FlagEncoder.load(msgspec.structs.replace(self._job.settings, devices=(self._device,), precision=precision))


def _difference(own: str | None, wanted: str) -> str:
    """Return the parts of two identities that differ, in words."""
    one, other = msgspec.json.decode(own or "{}"), msgspec.json.decode(wanted)
    return ", ".join(f"{name}: {one.get(name)} and {other[name]}" for name in sorted(other) if one.get(name) != other[name])


class EncodeProgress:
    """Progress of all workers in tokens, one side after the other; tokens of shards to come are estimated from their characters."""

    def __init__(self, sizes: Mapping[str, tuple[Side, int]], on_progress: OnProgress | None) -> None:
        """Take the side and the characters of each shard by name, in their order."""
        self._sizes, self._on_progress = sizes, on_progress
        self._sides = list(dict.fromkeys(side for side, _ in sizes.values()))
        self._tokens: dict[str, int] = {}
        self._running: dict[str, tuple[int, int]] = {}

    def running(self, states: States) -> None:
        """Take the states of all workers, as `ShardEncoder.progress` returns them."""
        self._running |= {name: (done, total) for name, done, total in states if name in self._sizes}
        self._report()

    def finished(self, name: str, tokens: int) -> None:
        """Count a finished shard."""
        self._tokens[name] = tokens
        self._report()

    def _report(self) -> None:
        if self._on_progress is None:
            return
        waiting = {side for name, (side, _) in self._sizes.items() if name not in self._tokens}
        side = next((each for each in self._sides if each in waiting), self._sides[-1])
        states = self._running | {name: (tokens, tokens) for name, tokens in self._tokens.items()}
        known = {name: state for name, state in states.items() if self._sizes[name][0] == side and state[1]}
        seen = sum(self._sizes[name][1] for name in known)
        left = sum(size for name, (own, size) in self._sizes.items() if own == side and name not in states)
        tokens = sum(total for _, total in known.values())
        self._on_progress(
            sum(done for done, _ in known.values()),
            tokens + int(left * (tokens / seen if seen else TOKENS_OF_A_CHARACTER)),
            f"encoding {'passages' if side == 'passages' else 'queries'}",
        )


# Of the passages of a task, which takes a core a few seconds, and of a GPU's: with more blocks the driver, which merges what each finds, is
# slower than 8 GPUs (benchmarks/cluster_simulation.py). Passages are sent once for all queries.
BLOCK_BYTES, BLOCK_BYTES_GPU, QUERIES = 2**26, 2**30, 8_192


@dataclass(frozen=True, slots=True)
class PassageBlock:
    """Passages: their ids (b,) int32, ascending, and their vectors (b, d) float32."""

    ids: Ids
    vectors: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """The best of a passage block for a query block: its number, the number of passages, scores and ids (m, k)."""

    queries: int
    passages: int
    scores: Floats
    ids: Ids


def block_rows(passages: VectorRows, *, use_gpu: bool) -> int:
    """Return the most passages of a block."""
    return max(1, (BLOCK_BYTES_GPU if use_gpu else BLOCK_BYTES) // (4 * max(1, passages.shape[1])))


def passage_blocks(passages: VectorRows, count: int, size: int) -> Iterator[PassageBlock]:
    """Yield the first `count` passages in the order of their files, each once, at most `size` at a time."""
    for ids, vectors in walk(passages, size, count):
        order = np.argsort(ids)  # equal scores break ties by place, so places must be in the order of ids
        yield PassageBlock(ids[order].astype(np.int32), vectors[order])


def query_blocks(queries: VectorRows) -> list[Floats]:
    """Return all queries, at most QUERIES in a block, as float32."""
    return [np.ascontiguousarray(queries[start : start + QUERIES], np.float32) for start in range(0, len(queries), QUERIES)]


class BlockSearcher:
    """A worker that searches; `use_gpu` where it has one."""

    def __init__(self, use_gpu: bool) -> None:
        self._use_gpu = use_gpu

    def search(self, number: int, queries: Floats, passages: PassageBlock, k: int, memory_budget: int | None) -> Found:
        """Return the min(k, b) best passages of a block for query block `number`."""
        on_gpu = self._use_gpu and gpu_count() > 0
        scores, places = top_k(queries, passages.vectors, k, use_gpu=on_gpu, memory_budget=memory_budget)
        return Found(number, len(passages.ids), scores, passages.ids[places])


class Merged:
    """The k best passages of each query so far, from results in any order."""

    def __init__(self, sizes: list[int], k: int) -> None:
        """Take the number of queries in each block."""
        self._k = k
        self._found = [(np.empty((size, 0), np.float32), np.empty((size, 0), np.int32)) for size in sizes]

    def add(self, found: Found) -> None:
        """Take the result of a query block and a passage block."""
        scores, ids = self._found[found.queries]
        both = np.concatenate([scores, found.scores], 1), np.concatenate([ids, found.ids], 1)
        self._found[found.queries] = best_of(*both, self._k)

    def result(self) -> tuple[Floats, Ids]:
        """Return scores and ids of all queries, (m, k)."""
        return np.concatenate([scores for scores, _ in self._found]), np.concatenate([ids for _, ids in self._found])
