"""Vectors by content: no text is encoded twice, and a killed run loses seconds.

A vector is found by what decides it: the encoder's identity (weights' fingerprint, pooling, lengths, instruction,
precision; never a model's name, for a new checkpoint may lie in the same folder) and the exact text. While texts are
encoded, what is done is stored every 5 s, in long runs after each further 2 % of the time: a kill costs no more than
that, and ten hours leave some 350 files, which are then merged.

Vectors of a model in reduced precision are kept as float16: half the disk and half the reading, and still finer than
the bfloat16 they were computed in. They are rounded before anybody sees them, stored or not, so that a cold run, a warm
one and one without a store give the same bits.

To look up 1,000,000 texts takes 2 s, most of it for hashing them. Encoding them takes hours.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, SettingsError, WorkspaceError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.sizes import parse_size
from hnmine.models.encoder import Encoder, Side, encode
from hnmine.vectors import shards
from hnmine.vectors.index import EncoderKey, SpaceUsage
from hnmine.vectors.shard_set import Keys, ShardSet, unique_keys
from hnmine.vectors.shards import DamagedShard, Rows, StoredVectors

__all__ = ["Made", "SpaceUsage", "StoredVectors", "VectorStore", "encoder_key", "vectors_of"]

Ids = npt.NDArray[np.int64]
# Places (b,) of what was asked for, and its rows (b, d).
Made = tuple[Ids, npt.NDArray[np.float32]]

LIMIT_BYTES = 20 * 2**30
# When to store what was encoded: after so many seconds, so large a share of the time so far, or so many bytes in memory.
FLUSH_SECONDS, FLUSH_SHARE, FLUSH_BYTES = 5.0, 0.02, 2**28
_ONE: dict[Side, str] = {"queries": "the query", "passages": "the passage"}


class VectorStore:
    """The store in the folder `root`, which is made at the first use.

    Attributes:
        found, encoded: texts that this object found stored, and that it had encoded.
    """

    def __init__(self, root: str | os.PathLike[str], *, limit_bytes: int | None = None) -> None:
        """Name the folder, and the size above which the least recently used vectors leave.

        Args:
            root: the folder.
            limit_bytes: left out, HNMINE_STORE_LIMIT ("5GB") says it, or else it is 20 GiB.

        Raises:
            SettingsError: HNMINE_STORE_LIMIT is no amount.
        """
        if limit_bytes is None:
            limit = os.environ.get("HNMINE_STORE_LIMIT")
            limit_bytes = parse_size(limit) if limit else LIMIT_BYTES
        self.root = Path(root).absolute()
        self.found = self.encoded = 0
        self._shelf = ShardSet(self.root, limit_bytes)

    @property
    def limit_bytes(self) -> int:
        """The size above which the least recently used vectors leave, but none that this process has open."""
        return self._shelf.limit_bytes

    @property
    def notes(self) -> list[str]:
        """What a person should hear of: damage, a full disk; plain sentences."""
        return self._shelf.notes

    def vectors(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        side: Side,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> StoredVectors:
        """Return the vectors of `texts`, (n, d) in their order; what is not stored is encoded, each text once, and stored on the way.

        Raises:
            SettingsError: the encoder cannot say what decides its vectors.
            EncodeError: it gave something that is no vector; what it gave before is stored.
            Cancelled: `should_stop` said so; what was encoded is stored.
        """
        identity = encoder.identity(side)
        if identity is None:
            raise SettingsError("the model cannot say what decides its vectors, so they cannot be stored; use vectors_of")
        check_cancelled(should_stop)
        description = encoder.describe()
        keys, firsts, inverse = unique_keys(shards.text_keys(texts))

        lacking = 0

        def encoded(missing: Ids) -> Iterator[Made]:
            nonlocal lacking
            lacking = len(missing)
            wanted = [texts[i] for i in firsts[missing]]
            return encoder.encode_batches(wanted, side, on_progress=on_progress, should_stop=should_stop)

        space = encoder_key(identity, str(description.get("name", "")), _dtype(description))
        segments, places = self.rows(space, keys, encoded, lambda place: f"{_ONE[side]} {texts[firsts[place]][:80]!r}")
        self.found += len(keys) - lacking
        self.encoded += lacking
        return StoredVectors(segments, places[inverse])

    def rows(
        self,
        space: EncoderKey,
        keys: Keys,
        make: Callable[[Ids], Iterator[Made]],
        name: Callable[[int], str],
    ) -> tuple[list[Rows], Ids]:
        """Return the rows of `keys` in a space; those that are not stored are made, and stored on the way.

        Args:
            space: whose rows; its dimension is what the first rows tell.
            keys: (n, 2) uint64, unique and sorted.
            make: given the places (m,) of the keys that are not stored, ascending, yields (places among these m, rows (b, d) float32).
            name: says in a message which one stands at a place of the keys, such as "the passage 'a text'".

        Returns:
            Arrays that hold the rows, and (n,) where each stands when they are laid end to end.

        Raises:
            EncodeError: what was made is no vector of finite numbers for each; what came before it is stored.
        """
        self._shelf.merge(space.id)
        segments, places = self._shelf.find(space.id, keys)
        missing = np.flatnonzero(places < 0)
        if len(missing):
            filling = _Filling(self._shelf, space, segments, keys[missing], lambda place: name(int(missing[place])))
            places[missing] = filling.fill(make(missing))
            if self._shelf.merge(space.id):  # a run that links its vectors shall link few files
                merged, found = self._shelf.find(space.id, keys)
                if (found >= 0).all():
                    segments, places = merged, found
        with suppress(OSError, sqlite3.Error):
            self._shelf.evict(self.limit_bytes)
        return segments, places

    def missing(self, space: EncoderKey, keys: Keys) -> Ids:
        """Return the places of those `keys`, (n, 2) uint64, unique and sorted, that are not stored."""
        return np.flatnonzero(self._shelf.find(space.id, keys)[1] < 0)

    def usage(self) -> list[SpaceUsage]:
        """Return what is stored, by model and settings, the last used first.

        Raises:
            WorkspaceError: the folder or its index cannot be used; so for `verify` and `prune`.
        """
        with self._asked():
            return self._shelf.catalog.usage()

    def verify(self) -> list[str]:
        """Read everything, drop what is damaged, and return a sentence on each."""
        told = len(self.notes)
        with self._asked():
            for shard, _ in self._shelf.catalog.shards():
                try:
                    shards.read_keys(self.root, shard)
                    shards.open_vectors(self.root, shard, again=True)
                except DamagedShard as damage:
                    self._shelf.drop([damage])
        return self.notes[told:]

    def prune(self, *, limit_bytes: int | None = None, older_than_days: float | None = None, everything: bool = False) -> int:
        """Remove what was not used for so long, then the least recently used down to a limit, and the files that killed runs left.

        Returns:
            The bytes freed.
        """
        oldest = float("-inf") if older_than_days is None else time.time() - older_than_days * 86_400
        with self._asked():
            known = self._shelf.catalog.shards()
            freed = self._shelf.remove([shard for shard, last_used in known if everything or last_used < oldest])
            if limit_bytes is not None:
                freed += self._shelf.evict(limit_bytes)
            return freed + self._shelf.sweep(0)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(f"the vector store {self.root} cannot be used ({error}); remove it, or name another") from error


class _Filling:
    """Takes rows as they are made and stores them bit by bit: `segments` grows, and with it what a kill leaves."""

    def __init__(self, shelf: ShardSet, space: EncoderKey, segments: list[Rows], keys: Keys, name: Callable[[int], str]) -> None:
        self._shelf, self._space, self._segments, self._keys, self._name = shelf, space, segments, keys, name
        self._places = np.full(len(keys), -1, dtype=np.int64)
        self._taken = np.zeros(len(keys), dtype=bool)
        self._rows = sum(len(segment) for segment in segments)
        self._dimension = int(segments[0].shape[1]) if segments else None
        self._pending: list[tuple[Ids, Rows]] = []
        self._storing = True

    def fill(self, batches: Iterator[Made]) -> Ids:
        """Take all; return (n,) the place of each row among the segments."""
        began = stored = time.monotonic()
        size = 0
        try:
            for ids, vectors in batches:
                size += self._take(np.asarray(ids), vectors)
                now = time.monotonic()
                if size >= FLUSH_BYTES or now - stored >= max(FLUSH_SECONDS, FLUSH_SHARE * (now - began)):
                    self._store()
                    stored, size = time.monotonic(), 0
        finally:  # cancelled, interrupted or failed: what is done is done
            self._store()
            if (close := getattr(batches, "close", None)) is not None:
                close()  # a generator with a thread behind it should not wait for the garbage collector
        if not self._taken.all():
            raise EncodeError(f"the encoder gave no vector for {self._name(int(np.argmin(self._taken)))}")
        return self._places

    def _take(self, ids: Ids, vectors: npt.NDArray[np.float32]) -> int:
        """Check a batch and remember it; return its bytes."""
        if not ids.size:
            return 0
        if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or self._dimension not in (None, vectors.shape[1]):
            others = f"; others have {self._dimension} dimensions" if self._dimension else ""
            raise EncodeError(f"the encoder gave vectors of shape {vectors.shape} for {ids.size:,} texts{others}")
        if not 0 <= ids.min() <= ids.max() < len(self._keys) or self._taken[ids].any() or len(np.unique(ids)) < len(ids):
            raise EncodeError("the encoder gave a vector twice, or one for no text")
        rows = _rounded(vectors, np.dtype(self._space.dtype), lambda place: self._name(int(ids[place])))
        self._taken[ids] = True
        self._dimension = vectors.shape[1]
        self._pending.append((ids, rows))
        return rows.nbytes

    def _store(self) -> None:
        """Make a segment of what is pending: a shard, or an array in memory once the store has failed."""
        if not self._pending:
            return
        ids = np.concatenate([ids for ids, _ in self._pending])
        parts = [rows for _, rows in self._pending]
        segment = None
        if self._storing:
            segment = self._shelf.append(replace(self._space, dimension=parts[0].shape[1]), self._keys[ids], parts)
            self._storing = segment is not None
        self._segments.append(np.concatenate(parts) if segment is None else segment)
        self._places[ids] = np.arange(self._rows, self._rows + len(ids))
        self._rows += len(ids)
        self._pending.clear()


def vectors_of(
    encoder: Encoder,
    texts: Sequence[str],
    side: Side,
    store: VectorStore | None,
    *,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> StoredVectors | npt.NDArray[np.float32]:
    """Return the vectors of `texts`, (n, d) in their order: from the store, else, or when nothing can be kept, in memory.

    Raises:
        As `VectorStore.vectors`.
    """
    if store is not None and encoder.identity(side) is not None:
        return store.vectors(encoder, texts, side, on_progress=on_progress, should_stop=should_stop)
    vectors = encode(encoder, texts, side, on_progress=on_progress, should_stop=should_stop)
    rows = _rounded(vectors, _dtype(encoder.describe()), lambda place: f"{_ONE[side]} {texts[place][:80]!r}")
    return rows.astype(np.float32, copy=False)


def encoder_key(identity: str, model: str, dtype: np.dtype[Any]) -> EncoderKey:
    """Return the space of what `identity` decides, kept as `dtype`; its dimension is told by the first rows."""
    name = hashlib.sha256(f"{dtype} {identity}".encode()).hexdigest()[:16]
    return EncoderKey(id=name, identity=identity, model=model, dimension=0, dtype=dtype.name)


def _dtype(description: dict[str, Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if description.get("precision", "fp32") == "fp32" else np.float16)


def _rounded(vectors: npt.NDArray[np.float32], dtype: np.dtype[Any], name: Callable[[int], str]) -> Rows:
    with np.errstate(over="ignore"):
        rows: Rows = vectors.astype(dtype)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise EncodeError(
            f"the model gave NaN, infinity or more than float16 holds for {name(int(np.argmax(bad)))}; "
            "try precision fp32, or check the weights"
        )
    return rows
