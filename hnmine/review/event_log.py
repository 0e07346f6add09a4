"""The append-only SQLite event log: schema, connections, and error messages with a remedy.

WAL with synchronous=FULL: a committed transaction is on the disk, readers never wait for a writer, and writers of several processes
take turns. Connections are reused, because Streamlit runs each script in a new thread and opening one costs fifty times as much as
reading the last event. The file can be moved away while the server runs (the remedy for a damaged file), so before a connection is
reused one `stat` checks that the path still leads to its file.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnmine.core.errors import WorkspaceError
from hnmine.review.batches import is_undone

__all__ = ["BATCHES", "INDEXES", "JUDGED", "SCHEMA_VERSION", "EventLog", "migrate"]


SCHEMA_VERSION = 3

# "none" is an action of a desk that had no effect; its number counts as recorded.
BATCHES = (
    "CREATE TABLE batches (id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, "
    "action TEXT NOT NULL CHECK (action IN ('do', 'import', 'undo', 'redo', 'none')), of INTEGER, desk TEXT, seq INTEGER)"
)
# The last decision of each reviewer on each pair that is not undone.
JUDGED = "CREATE TABLE judged (pair BLOB, who TEXT, decision INTEGER NOT NULL, PRIMARY KEY (pair, who)) WITHOUT ROWID"
INDEXES = (
    "CREATE INDEX batches_who ON batches (who, id)",
    "CREATE INDEX batches_of ON batches (of) WHERE of IS NOT NULL",
    "CREATE UNIQUE INDEX batches_desk ON batches (desk, seq) WHERE desk IS NOT NULL",
)

_RENAMED = "CASE {0} WHEN 'keep' THEN 'negative' WHEN 'drop' THEN 'relevant' WHEN 'promote' THEN 'positive' WHEN 'skip' THEN 'unsure' END"


def migrate(db: sqlite3.Connection, found: int) -> None:
    """Bring the tables of version `found` to SCHEMA_VERSION, in the caller's transaction."""
    if found == 1:
        (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'events_stay'").fetchone()
        db.execute("DROP TRIGGER events_stay")
        db.execute(f"UPDATE events SET before = {_RENAMED.format('before')}, after = {_RENAMED.format('after')}")
        db.execute(trigger)
        db.execute("CREATE INDEX IF NOT EXISTS events_pair ON events (pair)")
        db.execute("ALTER TABLE heads RENAME TO current")
        db.execute("DROP INDEX heads_decision")
        db.execute("CREATE INDEX current_decision ON current (decision)")
    db.execute("DROP INDEX batches_who")
    db.execute(BATCHES.replace("TABLE batches", "TABLE batches_new"))  # a CHECK cannot be changed in place
    db.execute("INSERT INTO batches_new (id, at, who, action, of) SELECT id, at, who, action, of FROM batches")
    db.execute("DROP TABLE batches")
    db.execute("ALTER TABLE batches_new RENAME TO batches")
    db.execute("ALTER TABLE events ADD COLUMN note TEXT NOT NULL DEFAULT ''")
    for statement in (JUDGED, *INDEXES):
        db.execute(statement)
    rows = db.execute("SELECT pair, who, id, batch FROM events WHERE source = id ORDER BY id").fetchall()
    undone = {batch for batch in {row[3] for row in rows} if is_undone(db, batch)}
    last = {(pair, who): number for pair, who, number, batch in rows if batch not in undone}
    db.executemany("INSERT INTO judged (pair, who, decision) VALUES (?, ?, ?)", ((*key, number) for key, number in last.items()))


BUSY_SECONDS = 15.0
# A batch of 100,000 pairs touches 60 MB of indexes in random order; with SQLite's 2 MB they are written several times.
CACHE_KIB = 64 * 1024

_File = tuple[int, int]  # device and inode, which a moved file keeps

# Single statements: `executescript` commits first, which would let another process in between.
_SCHEMA = (
    BATCHES,
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL REFERENCES batches (id), "
    "at TEXT NOT NULL, who TEXT NOT NULL, query TEXT NOT NULL, passage TEXT NOT NULL, pair BLOB NOT NULL, "
    "before TEXT, after TEXT, was INTEGER, source INTEGER, note TEXT NOT NULL DEFAULT '')",
    "CREATE INDEX events_batch ON events (batch)",
    "CREATE INDEX events_pair ON events (pair)",
    "CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
    "CREATE TRIGGER events_keep BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
    "CREATE TABLE current (pair BLOB PRIMARY KEY, decision INTEGER) WITHOUT ROWID",
    "CREATE INDEX current_decision ON current (decision)",
    JUDGED,
    *INDEXES,
)


class EventLog:
    """The event log in the file `path`, created if missing; safe to use from many threads and processes.

    Attributes:
        generation: how often the file at the path was replaced by another; data read from an earlier one is then outdated.
        holds, restore: for messages: what is in it, and what to do after a damaged file was moved away.
        tables, format: the statements that make an empty file, and the number of its format.

    Raises:
        WorkspaceError: the file cannot be opened or created, is damaged, or has another format.
    """

    holds = "verdicts"
    restore = "import your last download of the verdicts"
    tables: tuple[str, ...] = _SCHEMA
    format = SCHEMA_VERSION

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.generation = 0
        self._file: _File | None = None
        self._idle: list[tuple[sqlite3.Connection, _File | None]] = []
        self._process = os.getpid()
        with self.connection():
            pass

    def close(self) -> None:
        """Close the idle connections; the next use opens a new one."""
        while self._idle:
            self._idle.pop()[0].close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection; raise SQLite errors as `WorkspaceError`."""
        try:
            if self._process != os.getpid():  # SQLite forbids using a connection after a fork
                self._idle, self._process = [], os.getpid()
            db, file = self._take()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._idle.append((db, file))
        except sqlite3.Error as error:
            raise WorkspaceError(f"the {self.holds} in {self.path} {_remedy(error, self.restore)}") from error

    def _take(self) -> tuple[sqlite3.Connection, _File | None]:
        """Return a connection to the file now at the path, and that file's identity."""
        here = _file_at(self.path)
        while True:
            try:
                db, file = self._idle.pop()
            except IndexError:
                break
            if file == here is not None:
                return db, file
            db.close()  # of a moved file; SQLite does not touch the WAL of the new file
        db, file = self._open(), _file_at(self.path)
        if file is not None and file != self._file:
            self.generation += self._file is not None
            self._file = file
        return db, file

    def _open(self) -> sqlite3.Connection:
        if self.path.is_symlink() and not self.path.exists():  # SQLite would begin an empty file there
            raise WorkspaceError(
                f"the {self.holds} in {self.path} cannot be opened: it is a link to a file that does not exist; put that file back, or "
                "remove the link"
            )
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("PRAGMA temp_store = MEMORY")  # sorting needs no second disk
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        found = _version(db)
        if found > self.format:
            raise WorkspaceError(
                f"the {self.holds} in {self.path} were written by a newer version of hnmine (format {found}; this version reads format "
                f"{self.format}); update hnmine, or set HNMINE_HOME to another folder"
            )
        if found == self.format:
            return
        db.execute("BEGIN IMMEDIATE")
        found = _version(db)  # another process may have created or migrated it first
        if found == 0:
            for statement in self.tables:
                db.execute(statement)
        elif found < self.format:
            migrate(db, found)
        db.execute(f"PRAGMA user_version = {self.format}")
        db.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[tuple[sqlite3.Connection, str]]:
        """Yield a connection in an exclusive transaction, and the time."""
        with self.connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db, datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _file_at(path: Path) -> _File | None:
    try:
        found = path.stat()
    except OSError:  # opening it reports what is wrong
        return None
    return found.st_dev, found.st_ino


def _remedy(error: sqlite3.Error, restore: str) -> str:
    """Describe an SQLite error and its remedy."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"have been locked by another program for more than {BUSY_SECONDS:.0f} seconds ({error}); close it, then try again"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"are damaged ({error}); move that file away together with the files ending in -wal and -shm, then {restore}"
    if name.startswith("SQLITE_FULL"):
        return "cannot be written: the disk is full; free some space, then try again"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return f"cannot be opened or written ({error}); check the folder and your permissions, or set HNMINE_HOME to another folder"
    return f"cannot be used ({error})"
