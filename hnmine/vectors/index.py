"""The index of the vector store: one SQLite file that lists the shards, shared by several processes.

A shard exists if its row does; the row is committed after the files are synced, so a killed process leaves files without a
row, never a row without files. A connection lives for one transaction, in WAL mode: readers never wait, writers wait for
milliseconds. A damaged or foreign index is moved aside and its shards become orphans: encoding again costs time, trusting
it could cost a result.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hnmine.core.files import locked
from hnmine.core.small_files import other_format
from hnmine.vectors.shards import Shard

__all__ = ["INDEX_NAME", "EncoderKey", "ShardIndex", "SpaceUsage"]

T = TypeVar("T")

INDEX_NAME = "index.sqlite"
WAIT_SECONDS = 15.0
TOUCH_SECONDS = 3600.0
_FORMAT = 1  # change it with the schema
_APPLICATION = 0x686E6D30 + _FORMAT  # "hnm1"
_SCHEMA = """
CREATE TABLE spaces (id TEXT PRIMARY KEY, identity TEXT, model TEXT, dimension INTEGER, dtype TEXT, created REAL);
CREATE TABLE shards (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, space TEXT REFERENCES spaces (id),
    rows INTEGER, bytes INTEGER, sha256 TEXT, created REAL, last_used REAL);
CREATE INDEX shards_by_space ON shards (space);
"""

now = time.time


def _insert(connection: sqlite3.Connection, shard: Shard, space_id: str, last_used: float) -> None:
    connection.execute(
        "INSERT INTO shards (id, space, rows, bytes, sha256, created, last_used) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [shard.id, space_id, shard.rows, shard.bytes, shard.sha256, now(), last_used],
    )


def _refuse_newer(connection: sqlite3.Connection) -> None:
    """Raise NotSupportedError for the index of a newer version, which is neither damaged nor of another program."""
    found = connection.execute("PRAGMA application_id").fetchone()[0] - _APPLICATION + _FORMAT
    if _FORMAT < found < 10:
        raise sqlite3.NotSupportedError(other_format("its index", found, _FORMAT))


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderKey:
    """A set of vectors with the same encoder: identity (canonical JSON), model name, dimension and dtype."""

    id: str
    identity: str
    model: str
    dimension: int
    dtype: str


@dataclass(frozen=True, slots=True)
class SpaceUsage:
    """What the store holds for one encoder key; `identity` is canonical JSON, times are ISO 8601 in UTC."""

    model: str
    identity: str
    dimension: int
    dtype: str
    rows: int
    bytes: int
    shards: int
    created: str
    last_used: str


class ShardIndex:
    """The index in the folder `root`, which is created on first use.

    Methods raise sqlite3.Error or OSError if the index cannot be used. `on_note` receives a sentence if it was damaged.
    """

    def __init__(self, root: Path, on_note: Callable[[str], None]) -> None:
        self.root = root
        self.path = root / INDEX_NAME
        self._on_note = on_note
        self._checked = False

    def add(self, space: EncoderKey, shard: Shard) -> None:
        """Add a shard, and its encoder key if it is new."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO spaces VALUES (?, ?, ?, ?, ?, ?)",
                [space.id, space.identity, space.model, space.dimension, space.dtype, now()],
            )
            _insert(connection, shard, space.id, now())

        self._run(work, write=True)

    def exchange(self, old: Sequence[Shard], merged: Shard, last_used: float) -> bool:
        """Replace shards of one encoder key by a merged one; return False and do nothing if one of them was removed."""

        def work(connection: sqlite3.Connection) -> bool:
            space = connection.execute("SELECT space FROM shards WHERE id = ?", [old[0].id]).fetchone()
            for shard in old:
                if not connection.execute("DELETE FROM shards WHERE id = ?", [shard.id]).rowcount:
                    connection.execute("ROLLBACK")
                    return False
            _insert(connection, merged, space[0], last_used)
            return True

        return self._run(work, write=True)

    def shards(self, space_id: str | None = None) -> list[tuple[Shard, float]]:
        """Return the shards (of one encoder key) with their times of last use, newest first."""

        def work(connection: sqlite3.Connection) -> list[tuple[Shard, float]]:
            chosen = "SELECT id, rows, bytes, sha256, last_used FROM shards WHERE ?1 IS NULL OR space = ?1 ORDER BY number DESC"
            return [(Shard(id=row[0], rows=row[1], bytes=row[2], sha256=row[3]), row[4]) for row in connection.execute(chosen, [space_id])]

        return self._run(work)

    def touch(self, shards: Iterable[tuple[Shard, float]]) -> None:
        """Update the time of last use of shards if it is older than TOUCH_SECONDS, so that a warm run need not write."""
        used = now()
        stale = [(used, shard.id) for shard, last_used in shards if last_used < used - TOUCH_SECONDS]
        if stale:
            self._run(lambda connection: connection.executemany("UPDATE shards SET last_used = ? WHERE id = ?", stale), write=True)

    def remove(self, ids: Iterable[str]) -> list[str]:
        """Remove shards; return the ids that this call removed."""

        def work(connection: sqlite3.Connection) -> list[str]:
            gone = [each for each in ids if connection.execute("DELETE FROM shards WHERE id = ?", [each]).rowcount]
            connection.execute("DELETE FROM spaces WHERE id NOT IN (SELECT space FROM shards)")
            return gone

        return self._run(work, write=True)

    def usage(self) -> list[SpaceUsage]:
        """Return the usage of each encoder key, the last used first."""
        chosen = (
            "SELECT model, identity, dimension, dtype, sum(rows), sum(bytes), count(*), spaces.created, max(last_used) "
            "FROM spaces JOIN shards ON shards.space = spaces.id GROUP BY spaces.id ORDER BY max(last_used) DESC, spaces.id"
        )
        found = self._run(lambda connection: connection.execute(chosen).fetchall())
        return [SpaceUsage(*(*row[:7], *map(_iso, row[7:]))) for row in found]

    def _run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        """Run `work` in one transaction; create the index if there is none or it is damaged."""
        try:
            return self._run_here(work, write)
        except (OSError, sqlite3.OperationalError):  # such as a full or read-only disk
            if write or not self.path.exists():
                raise
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
                _refuse_newer(connection)
                return work(connection)

    def _run_here(self, work: Callable[[sqlite3.Connection], T], write: bool) -> T:
        if self._checked and self.path.exists():
            try:
                return self._transaction(work, write)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:  # locked or disk full, not damaged
                    raise
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / "index.lock", wait=True):
            if not self._is_ours():
                self._create()
        self._checked = True
        return self._transaction(work, write)

    def _transaction(self, work: Callable[[sqlite3.Connection], T], write: bool) -> T:
        with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # a power failure may lose the last vectors, not consistency
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                result = work(connection)
                if connection.in_transaction:
                    connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise
            return result

    def damage(self) -> str | None:
        """Return what is wrong with an index that exists, or None; one of a newer version is not damaged. Nothing is changed."""
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS)) as connection:
                _refuse_newer(connection)
                if connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION:
                    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
                    return None if found == "ok" else found
                return "it belongs to another program" if self._has_tables(connection) else None
        except sqlite3.NotSupportedError:
            return None
        except sqlite3.DatabaseError as error:
            if self.path.is_dir():
                return "it is a folder"
            if type(error) is not sqlite3.DatabaseError:
                raise
            return str(error)

    def _has_tables(self, connection: sqlite3.Connection) -> bool:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _is_ours(self) -> bool:
        """Return whether the index exists and has its tables; a damaged one is moved aside."""
        if not self.path.exists():
            return False
        if (found := self.damage()) is None:
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS)) as connection:
                _refuse_newer(connection)
                return self._has_tables(connection)  # none where it was killed before the first commit
        aside = f"{INDEX_NAME}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}{ending}", self.root / f"{aside}{ending}")
        self._on_note(f"the vector store's index was damaged ({found}); it was moved to {aside} and all texts are encoded again")
        return False

    def _create(self) -> None:
        with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; COMMIT;")
