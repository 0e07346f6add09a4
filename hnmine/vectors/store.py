"""The vector store: no text is encoded twice, and a killed run loses seconds.

A vector is found by the encoder's identity (fingerprint of the weights, pooling, lengths, instruction, precision; never the
model's name) and the exact text. Vectors of reduced precision are float16, rounded whether they are stored or not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError, SettingsError, VersionError, WorkspaceError
from hnmine.core.files import parse_size
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.scratch import scratch_folder
from hnmine.data.texts import Texts, take
from hnmine.models.encoder import ONE, Encoder, Side, encode
from hnmine.models.served.probe import near
from hnmine.vectors import shards
from hnmine.vectors.index import EncoderKey, SpaceUsage
from hnmine.vectors.shard_set import Keys, ShardSet, unique_keys
from hnmine.vectors.shards import DamagedShard, Rows, Shard, StoredVectors

__all__ = ["Made", "SpaceUsage", "StoredVectors", "VectorStore", "encoder_key", "space_of", "vectors_of"]

Ids = npt.NDArray[np.int64]
# Places (b,) of the requested rows, and the rows (b, d).
Made = tuple[Ids, npt.NDArray[np.float32]]

LIMIT_BYTES = 20 * 2**30
# Store encoded rows after so many seconds, after this fraction of the elapsed time, or at so many bytes in memory.
FLUSH_SECONDS, FLUSH_FRACTION, FLUSH_BYTES = 5.0, 0.02, 2**28


class VectorStore:
    """The store in the folder `root`, which is created on first use.

    Attributes:
        limit_bytes: above this size the least recently used vectors are evicted, except those open in this process.
        notes: messages for the user, such as damage or a full disk, one sentence each.
        found, encoded: numbers of different texts that were stored before, and that were encoded; a text of both sides counts once.
    """

    def __init__(self, root: str | os.PathLike[str], *, limit_bytes: int | None = None) -> None:
        """Set the folder and its size limit: None is HNMINE_STORE_LIMIT ("5GB"), else 20 GiB. Nothing is read or created yet.

        Raises:
            SettingsError: HNMINE_STORE_LIMIT is not an amount of memory.
        """
        if limit_bytes is None:
            limit = os.environ.get("HNMINE_STORE_LIMIT")
            limit_bytes = parse_size(limit) if limit else LIMIT_BYTES
        self.root = Path(root).absolute()
        self.limit_bytes = limit_bytes
        self.found = self.encoded = 0
        self._counted: dict[str, npt.NDArray[np.uint64]] = {}  # first halves of the keys that are in these numbers, by space
        self._shards = ShardSet(self.root, limit_bytes)
        self.notes = self._shards.notes

    def vectors(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        side: Side,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> StoredVectors:
        """Return the vectors of `texts`, (n, d) in their order; missing ones are encoded, each text once, and stored.

        Raises:
            SettingsError: the encoder has no identity.
            EncodeError: it did not return one finite vector per text; earlier vectors are stored.
            Cancelled: `should_stop` returned True; encoded vectors are stored.
        """
        space = space_of(encoder, side)
        if space is None:
            raise SettingsError("the vectors of a model without an identity cannot be stored; use vectors_of")
        return self._of(self.known(space), encoder, texts, side, on_progress, should_stop)

    def known(self, space: EncoderKey) -> EncoderKey:
        """Return the stored key of the same model, where an identity has a `probe`, whose last digits vary; else `space` itself.

        A note says where stored vectors are of another model with the same name and address.
        """
        rest, probe = _without_probe(space.identity)
        if probe is None:
            return space
        others = 0
        with suppress(WorkspaceError):  # without its index the store keeps nothing, and says so
            for each in self.usage():
                if each.dtype == space.dtype and (own := _without_probe(each.identity))[0] == rest:
                    if near(own[1], probe):
                        return encoder_key(each.identity, each.model, np.dtype(each.dtype))
                    others += each.rows
        if others:
            self._shards.note(
                f"the model behind the address of {space.model} has changed: {others:,} stored vectors or scores of it are not used"
            )
        return space

    def _of(
        self,
        space: EncoderKey,
        encoder: Encoder,
        texts: Sequence[str],
        side: Side,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> StoredVectors:
        check_cancelled(should_stop)
        keys, firsts, inverse = unique_keys(shards.text_keys(texts))

        missing_keys = np.zeros(len(keys), dtype=bool)

        def encoded(missing: Ids) -> Iterator[Made]:
            missing_keys[missing] = True
            order = np.argsort(firsts[missing])  # texts in a file are read in its order
            wanted = take(texts, firsts[missing[order]])
            batches = encoder.encode_batches(wanted, side, on_progress=on_progress, should_stop=should_stop)
            try:
                for ids, vectors in batches:
                    known = np.asarray(ids)
                    inside = known.size == 0 or 0 <= known.min() <= known.max() < len(order)  # `_take` refuses others
                    yield order[known] if inside else known, vectors
            finally:
                if (close := getattr(batches, "close", None)) is not None:
                    close()

        segments, places = self.rows(space, keys, encoded, lambda place: f"the {ONE[side]} {texts[firsts[place]][:80]!r}")
        new = self._count(space, keys)
        self.found += int((new & ~missing_keys).sum())
        self.encoded += int(missing_keys.sum())
        return StoredVectors(segments, places[inverse])

    def rows(
        self,
        space: EncoderKey,
        keys: Keys,
        make: Callable[[Ids], Iterator[Made]],
        name: Callable[[int], str],
    ) -> tuple[list[Rows], Ids]:
        """Return the rows of `keys`; missing ones are made and stored.

        Args:
            space: the encoder key; the first rows set its dimension.
            keys: (n, 2) uint64, unique and sorted.
            make: given the places (m,) of the missing keys, ascending, yields (places among these m, rows (b, d) float32).
            name: returns the name of the row at a place of the keys for messages, such as "the passage 'a text'".

        Returns:
            Arrays of rows, and the place of each key in their concatenation, (n,) int64.

        Raises:
            EncodeError: `make` did not yield one finite row per key; earlier rows are stored.
        """
        self._shards.merge(space.id)
        segments, places = self._shards.find(space.id, keys)
        missing = np.flatnonzero(places < 0)
        if len(missing):
            filling = _Filling(self._shards, space, segments, keys[missing], lambda place: name(int(missing[place])))
            places[missing] = filling.fill(make(missing))
            if self._shards.merge(space.id):  # so that a run links few files
                merged, found = self._shards.find(space.id, keys)
                if (found >= 0).all():
                    segments, places = merged, found
        with suppress(OSError, sqlite3.Error):
            self._shards.evict(self.limit_bytes)
        return segments, places

    def missing(self, space: EncoderKey, keys: Keys) -> Ids:
        """Return the places of the `keys`, (n, 2) uint64, unique and sorted, that are not stored."""
        return np.flatnonzero(self._shards.find(space.id, keys)[1] < 0)

    def adopt(self, space: EncoderKey, shard: Shard) -> bool:
        """Add a shard whose files another process encoded and put into the folder; its rows count as encoded.

        Returns:
            False where the files are missing or damaged, which removes them.

        Raises:
            WorkspaceError: the folder or its index cannot be used.
        """
        with self._wrap_errors():
            try:
                rows = shards.open_vectors(self.root, shard)
                self._count(space, shards.read_keys(self.root, shard))
            except DamagedShard:
                shards.remove_files(self.root, shard.id)
                return False
            with suppress(sqlite3.IntegrityError):  # another run of the same texts was first
                self._shards.index.add(replace(space, dimension=rows.shape[1]), shard)
        self.encoded += shard.rows
        return True

    def _count(self, space: EncoderKey, keys: Keys) -> npt.NDArray[np.bool_]:
        """Return which keys were not counted yet, (n,) bool; they are now."""
        known = self._counted.get(space.id, keys[:0, 0])
        new = ~np.isin(keys[:, 0], known)
        self._counted[space.id] = np.concatenate([known, keys[new, 0]])
        return new

    def usage(self) -> list[SpaceUsage]:
        """Return what is stored, by model and settings, the last used first.

        Raises:
            WorkspaceError: the folder or its index cannot be used; also in `verify` and `prune`.
        """
        with self._wrap_errors():
            return self._shards.index.usage()

    def damaged(self) -> list[DamagedShard]:
        """Read all shards and return the damaged ones; nothing is changed."""
        found = []
        with self._wrap_errors():
            for shard, _ in self._shards.index.shards():
                try:
                    shards.read_keys(self.root, shard)
                    shards.open_vectors(self.root, shard, again=True)
                except DamagedShard as damage:
                    found.append(damage)
        return found

    def verify(self) -> list[str]:
        """Read all shards, remove damaged ones, and return a note on each; on a disk that cannot be written they stay."""
        before = len(self.notes)
        for damage in self.damaged():
            try:
                self._shards.remove_damaged([damage])
            except (OSError, sqlite3.Error) as error:
                self._shards.note(
                    f"a stored file of {damage.shard.rows:,} vectors is damaged ({damage}) and cannot be removed ({error}); it is not used"
                )
        return self.notes[before:]

    def prune(self, *, limit_bytes: int | None = None, older_than_days: float | None = None, everything: bool = False) -> int:
        """Remove vectors not used for so long, then the least recently used down to a limit, and orphaned files; return the bytes freed."""
        oldest = float("-inf") if older_than_days is None else time.time() - older_than_days * 86_400
        with self._wrap_errors():
            known = self._shards.index.shards()
            freed = self._shards.remove([shard for shard, last_used in known if everything or last_used < oldest])
            if limit_bytes is not None:
                freed += self._shards.evict(limit_bytes)
            return freed + self._shards.sweep(0)

    @contextmanager
    def _wrap_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.NotSupportedError):
                raise VersionError(f"the vector store {self.root} cannot be used: {error}") from error
            remedy = "check its disk and your permissions, or choose another folder"
            raise WorkspaceError(f"the vector store {self.root} cannot be used ({error}); {remedy}") from error


class _Filling:
    """Stores rows while they are made, so that a killed run keeps them; `segments` grows."""

    def __init__(self, shard_set: ShardSet, space: EncoderKey, segments: list[Rows], keys: Keys, name: Callable[[int], str]) -> None:
        self._shards, self._space, self._segments, self._keys, self._name = shard_set, space, segments, keys, name
        self._places = np.full(len(keys), -1, dtype=np.int64)
        self._taken = np.zeros(len(keys), dtype=bool)
        self._rows = sum(len(segment) for segment in segments)
        self._dimension = int(segments[0].shape[1]) if segments else None
        self._pending: list[tuple[Ids, Rows]] = []
        self._storing = True

    def fill(self, batches: Iterator[Made]) -> Ids:
        """Store all batches; return the place of each row in the segments, (n,) int64."""
        began = stored = time.monotonic()
        size = 0
        try:
            for ids, vectors in batches:
                size += self._take(np.asarray(ids), vectors)
                now = time.monotonic()
                if size >= FLUSH_BYTES or now - stored >= max(FLUSH_SECONDS, FLUSH_FRACTION * (now - began)):
                    self._store()
                    stored, size = time.monotonic(), 0
        finally:  # also after a cancel or an error
            self._store()
            if (close := getattr(batches, "close", None)) is not None:
                close()  # end its thread now, not at the next garbage collection
        if not self._taken.all():
            raise EncodeError(f"the encoder returned no vector for {self._name(int(np.argmin(self._taken)))}")
        return self._places

    def _take(self, ids: Ids, vectors: npt.NDArray[np.float32]) -> int:
        """Check a batch and keep it; return its bytes."""
        if not ids.size:
            return 0
        if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or self._dimension not in (None, vectors.shape[1]):
            others = f"; others have {self._dimension} dimensions" if self._dimension else ""
            raise EncodeError(f"the encoder returned vectors of shape {vectors.shape} for {ids.size:,} texts{others}")
        if not 0 <= ids.min() <= ids.max() < len(self._keys) or self._taken[ids].any() or len(np.unique(ids)) < len(ids):
            raise EncodeError("the encoder returned a vector twice, or one for an unknown text")
        rows = _rounded(vectors, np.dtype(self._space.dtype), lambda place: self._name(int(ids[place])))
        self._taken[ids] = True
        self._dimension = vectors.shape[1]
        self._pending.append((ids, rows))
        return rows.nbytes

    def _store(self) -> None:
        """Make a segment of the pending rows: a shard, or an array in memory after the store has failed."""
        if not self._pending:
            return
        ids = np.concatenate([ids for ids, _ in self._pending])
        parts = [rows for _, rows in self._pending]
        segment = None
        if self._storing:
            segment = self._shards.append(replace(self._space, dimension=parts[0].shape[1]), self._keys[ids], parts)
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
    """Return the vectors of `texts`, (n, d) in their order: from the store, or in memory if they cannot be stored.

    Those of texts in a file that cannot be stored are in temporary files, which are removed with them.

    Raises:
        As `VectorStore.vectors`.
    """
    if store is not None and encoder.identity(side) is not None:
        return store.vectors(encoder, texts, side, on_progress=on_progress, should_stop=should_stop)
    if isinstance(texts, Texts):
        folder = scratch_folder() / secrets.token_hex(8)  # the store makes it
        space = encoder_key("", "", _dtype(encoder.describe()))
        found = VectorStore(folder)._of(space, encoder, texts, side, on_progress, should_stop)
        weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
        return found
    vectors = encode(encoder, texts, side, on_progress=on_progress, should_stop=should_stop)
    rows = _rounded(vectors, _dtype(encoder.describe()), lambda place: f"the {ONE[side]} {texts[place][:80]!r}")
    return rows.astype(np.float32, copy=False)


def space_of(encoder: Encoder, side: Side) -> EncoderKey | None:
    """Return the key of an encoder's vectors of a side; None if they must not be stored."""
    identity, description = encoder.identity(side), encoder.describe()
    return None if identity is None else encoder_key(identity, str(description.get("name", "")), _dtype(description))


def encoder_key(identity: str, model: str, dtype: np.dtype[Any]) -> EncoderKey:
    """Return the key of an encoder's identity, with vectors stored as `dtype`; the first rows set its dimension."""
    name = hashlib.sha256(f"{dtype} {identity}".encode()).hexdigest()[:16]
    return EncoderKey(id=name, identity=identity, model=model, dimension=0, dtype=dtype.name)


def _without_probe(identity: str) -> tuple[dict[str, Any], Any]:
    """Return the parts of an identity but for its probe, and the probe; None where it has none."""
    parts: dict[str, Any] = msgspec.json.decode(identity) if '"probe"' in identity else {}
    return parts, parts.pop("probe", None)


def _dtype(description: dict[str, Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if description.get("precision", "fp32") == "fp32" else np.float16)


def _rounded(vectors: npt.NDArray[np.float32], dtype: np.dtype[Any], name: Callable[[int], str]) -> Rows:
    with np.errstate(over="ignore"):
        rows: Rows = vectors.astype(dtype)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise EncodeError(
            f"the model returned NaN, infinity or a value beyond float16 for {name(int(np.argmax(bad)))}; "
            "try precision fp32, or check the weights"
        )
    return rows
