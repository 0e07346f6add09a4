"""The shards of a store: adding and finding rows, merging small shards, evicting the least recently used.

Nothing here fails a run: unreadable shards count as missing, and rows that cannot be written are not stored, each with a
note. Other processes may add, merge and evict at any time: open maps stay readable, and the lookup is repeated if a shard
disappears meanwhile. Looking up 1,000,000 keys among as many takes 0.4 s: the wanted keys are sorted once, and the keys of
each shard are searched among them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hnmine.core.files import locked
from hnmine.vectors import shards
from hnmine.vectors.index import INDEX_NAME, EncoderKey, ShardIndex
from hnmine.vectors.shards import DamagedShard, Rows, Shard

__all__ = ["Keys", "ShardSet", "unique_keys"]

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

# Bytes left free on the disk, for the output of the run.
RESERVE_BYTES = 2**28
# Large shards are not merged again, so each vector is written two or three times, not once per 64 shards.
MERGED_SHARDS, MERGED_BYTES = 64, 2**27
# A younger file without a row may be a shard that another process is writing; an older one is an orphan.
ORPHAN_SECONDS = 3600.0
# Lookups if another process removes shards between the index and opening.
ATTEMPTS = 5


class ShardSet:
    """The shards in the folder `root`, which is created on first use.

    Attributes:
        index: the index; its methods raise OSError or sqlite3.Error, those of this class do not.
        limit_bytes: above this size the least recently used shards are evicted, except those open in this process.
        notes: messages for the user, one sentence each.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self.notes: list[str] = []
        self.index = ShardIndex(root, self.note)
        self._swept = False

    def note(self, sentence: str) -> None:
        """Add a note, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def find(self, space_id: str, keys: Keys) -> tuple[list[Rows], Ids]:
        """Find the rows of `keys`, (n, 2), unique and sorted.

        Returns:
            The shards with some of the rows, memory-mapped, newest first; and the place of each row in their concatenation,
            (n,) int64, -1 if it is not stored.
        """
        segments: list[Rows] = []
        places = np.full(len(keys), -1, dtype=np.int64)
        try:
            for _ in range(ATTEMPTS):
                segments, places, used, lost = self._look(space_id, keys)
                if self.remove_damaged(lost) == len(lost):  # else another process replaced a shard
                    break
            self.index.touch(used)
        except (OSError, sqlite3.Error) as error:
            self.note(f"the vector store {self.root} cannot be read ({error}); texts are encoded again")
        return segments, places

    def _look(self, space_id: str, keys: Keys) -> tuple[list[Rows], Ids, list[tuple[Shard, float]], list[DamagedShard]]:
        segments: list[Rows] = []
        places = np.full(len(keys), -1, dtype=np.int64)
        used, lost, total, wanted = [], [], 0, len(keys)
        halves = np.ascontiguousarray(keys[:, 0])
        for shard, last_used in self.index.shards(space_id):
            if not wanted:
                break
            try:
                ids, rows = _match(keys, halves, shards.read_keys(self.root, shard))
                new = places[ids] < 0
                if not new.any():
                    continue
                segment = shards.open_vectors(self.root, shard)
            except DamagedShard as damage:
                lost.append(damage)
                continue
            except OSError as error:  # not damage: too many open files, no permission
                self.note(f"a stored file of {shard.rows:,} vectors cannot be read ({error}); its texts are encoded again")
                continue
            places[ids[new]] = total + rows[new]
            wanted -= int(new.sum())
            total += len(segment)
            segments.append(segment)
            used.append((shard, last_used))
        return segments, places, used, lost

    def append(self, space: EncoderKey, keys: Keys, parts: Sequence[Rows]) -> Rows | None:
        """Store rows as one shard and return them memory-mapped; None, with a note, if they cannot be stored."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not self._swept:
                self._swept = True
                self.sweep(ORPHAN_SECONDS)
            if not self._fits(sum(part.nbytes for part in parts)):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            shard = shards.write(self.root, keys, parts, (len(keys), space.dimension), space.dtype)
            try:
                self.index.add(space, shard)
            except (OSError, sqlite3.Error):
                shards.remove_files(self.root, shard.id)
                raise
            segment = shards.open_vectors(self.root, shard)
            self.evict(self.limit_bytes)
        except (OSError, sqlite3.Error, DamagedShard) as error:
            reason = getattr(error, "strerror", None) or error
            self.note(f"vectors could not be stored in {self.root} ({reason}); the run continues without storing them")
            return None
        return segment

    def merge(self, space_id: str) -> bool:
        """Merge the small shards of an encoder key if there are more than MERGED_SHARDS; return whether that was done.

        The newest row of each text is kept. One process merges at a time; others continue.
        """
        try:
            if len(self._small(space_id)) <= MERGED_SHARDS:
                return False
            with locked(self.root / "merge.lock", wait=False) as mine:
                small = self._small(space_id) if mine else []
                if len(small) <= MERGED_SHARDS or not self._fits(sum(shard.bytes for shard, _ in small)):
                    return False
                return self._merge_all([shard for shard, _ in small], max(last_used for _, last_used in small))
        except DamagedShard as damage:
            with suppress(OSError, sqlite3.Error):
                self.remove_damaged([damage])
        except (OSError, sqlite3.Error):
            pass  # many small files only take longer to open
        return False

    def _small(self, space_id: str) -> list[tuple[Shard, float]]:
        return [(shard, last_used) for shard, last_used in self.index.shards(space_id) if shard.bytes < MERGED_BYTES]

    def _merge_all(self, small: list[Shard], last_used: float) -> bool:
        each_keys = [shards.read_keys(self.root, shard) for shard in small]
        keys = np.concatenate(each_keys)
        kept = np.zeros(len(keys), dtype=bool)
        kept[unique_keys(keys)[1]] = True  # small is newest first
        bounds = np.cumsum([0, *(len(part) for part in each_keys)])
        rows = [np.flatnonzero(kept[start:end]) for start, end in itertools.pairwise(bounds)]

        def parts() -> Iterator[Rows]:
            for shard, chosen in zip(small, rows, strict=True):
                yield np.asarray(shards.open_vectors(self.root, shard))[chosen]

        newest = shards.open_vectors(self.root, small[0])
        merged = shards.write(self.root, keys[kept], parts(), (int(kept.sum()), newest.shape[1]), newest.dtype)
        if not self.index.exchange(small, merged, last_used):  # some were evicted in the meantime
            shards.remove_files(self.root, merged.id)
            return False
        for shard in small:
            shards.remove_files(self.root, shard.id)
        return True

    def remove_damaged(self, damaged: Iterable[DamagedShard]) -> int:
        """Remove damaged shards, with a note on each; return the number removed by this call."""
        count = 0
        for damage in damaged:
            if self.index.remove([damage.shard.id]):
                shards.remove_files(self.root, damage.shard.id)
                self.note(f"a stored file of {damage.shard.rows:,} vectors was damaged ({damage}) and removed; its texts are encoded again")
                count += 1
        return count

    def evict(self, limit_bytes: int) -> int:
        """Evict the least recently used shards, except open ones, until the rest fits the limit; return the bytes freed."""
        known = self.index.shards()[::-1]
        excess = sum(shard.bytes for shard, _ in known) - limit_bytes
        leaving = []
        for shard, _ in sorted(known, key=lambda pair: pair[1]):
            if excess > 0 and not shards.in_use(self.root, shard.id):
                leaving.append(shard)
                excess -= shard.bytes
        return self.remove(leaving)

    def remove(self, leaving: Sequence[Shard]) -> int:
        """Remove shards; return the bytes freed."""
        gone = self.index.remove(shard.id for shard in leaving) if leaving else []
        return sum(shards.remove_files(self.root, each) for each in gone)

    def sweep(self, age_seconds: float) -> int:
        """Remove files of that age that are not in the index (at age 0 also damaged indexes); return the bytes freed."""
        found = list(self.root.glob("*.*.npy"))
        known = {shard.id for shard, _ in self.index.shards()}  # read after the listing, so that newer shards are not in it
        leaving = [path for path in found if path.name.partition(".")[0] not in known]
        if not age_seconds:
            leaving += self.root.glob(f"{INDEX_NAME}.damaged-*")
        freed = 0
        for path in leaving:
            with suppress(OSError):
                status = path.stat()
                if status.st_mtime <= time.time() - age_seconds:
                    path.unlink()
                    freed += status.st_size
        return freed

    def _fits(self, size: int) -> bool:
        return shutil.disk_usage(self.root).free - size >= RESERVE_BYTES


def unique_keys(keys: Keys) -> tuple[Keys, Ids, Ids]:
    """Return the unique rows of (n, 2) keys, sorted; the index of the first of each; and the unique row of each key."""
    order = np.argsort(keys[:, 0], kind="stable")
    ordered = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    if np.any(new[1:] & (ordered[1:, 0] == ordered[:-1, 0])):  # keys with equal first halves: unlikely below 2**32 texts
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        ordered = keys[order]
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    if new.all():  # the usual case: no copies
        return ordered, order, inverse
    return ordered[new], order[new], inverse


def _match(keys: Keys, halves: npt.NDArray[np.uint64], stored: Keys) -> tuple[Ids, Ids]:
    """Return (ids, rows) of the keys (unique, sorted) that are among `stored`; `halves` are the first halves of the keys."""
    # Of keys with equal first halves only one is found; the others are encoded again.
    where = np.minimum(np.searchsorted(halves, stored[:, 0]), len(keys) - 1)
    rows = np.flatnonzero((keys[where] == stored).all(axis=1))
    return where[rows], rows
