"""The SQLite file in which events are only ever added: its tables, its connections, and what its errors mean to a person.

WAL with synchronous=FULL: a transaction is on the disk when it has ended, readers never wait for a writer, and writers of
several processes take turns. Connections are lent one at a time and wait in between, because a screen runs in a new thread
each time and opening one costs fifty times what it costs to ask the file for its last event.

The file may be moved away under a running server, as the remedy for a damaged one says; a waiting connection would go on
with the moved one. So each is lent only while the path still leads to the file it was opened on, which costs one `stat`.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnmine.core.errors import WorkspaceError

__all__ = ["EventLog", "as_stored", "as_text"]

SCHEMA_VERSION = 1
BUSY_SECONDS = 15.0

_File = tuple[int, int]  # device and inode: what stays when a file is moved

_SCHEMA = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('do', 'import', 'undo', 'redo')), of INTEGER
);
CREATE INDEX batches_who ON batches (who, id);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL REFERENCES batches (id), at TEXT NOT NULL, who TEXT NOT NULL,
    query TEXT NOT NULL, passage TEXT NOT NULL, pair BLOB NOT NULL, before TEXT, after TEXT, was INTEGER, source INTEGER
);
CREATE INDEX events_batch ON events (batch);
CREATE INDEX events_pair ON events (pair);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER events_keep BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TABLE heads (pair BLOB PRIMARY KEY, decision INTEGER) WITHOUT ROWID;
CREATE INDEX heads_decision ON heads (decision);
"""


class EventLog:
    """The file `path`, made when it is missing; safe to use from many threads and processes at once.

    Attributes:
        generation: how often another file has come to stand at the path; what was read of an earlier one no longer holds.

    Raises:
        WorkspaceError: it cannot be opened or made, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.generation = 0
        self._file: _File | None = None
        self._idle: list[tuple[sqlite3.Connection, _File | None]] = []
        self._process = os.getpid()
        with self.connection():
            pass

    def close(self) -> None:
        """Close the connections that wait; the next use opens one again."""
        while self._idle:
            self._idle.pop()[0].close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; errors of SQLite become ours."""
        try:
            if self._process != os.getpid():  # a forked child must not touch its parent's connections
                self._idle, self._process = [], os.getpid()
            db, file = self._take()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._idle.append((db, file))
        except sqlite3.Error as error:
            raise WorkspaceError(f"the verdicts in {self.path} {_remedy(error)}") from error

    def _take(self) -> tuple[sqlite3.Connection, _File | None]:
        """Return a connection to the file that is at the path now, and which file that is."""
        here = _file_at(self.path)
        while True:
            try:
                db, file = self._idle.pop()
            except IndexError:
                break
            if file == here is not None:
                return db, file
            db.close()  # SQLite sees that the file was moved, and leaves the WAL of the one at the path now alone
        db, file = self._open(), _file_at(self.path)
        if file is not None and file != self._file:
            self.generation += self._file is not None
            self._file = file
        return db, file

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found < SCHEMA_VERSION:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # no other process was quicker
                for statement in _statements(_SCHEMA):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        elif found > SCHEMA_VERSION:
            raise WorkspaceError(
                f"the verdicts in {self.path} were written by a newer version of hnmine (format {found}, this one knows "
                f"{SCHEMA_VERSION}); update hnmine, or set HNMINE_HOME to another folder"
            )
        elif db.execute("SELECT 1 FROM sqlite_master WHERE name = 'events_pair'").fetchone() is None:
            db.execute("CREATE INDEX IF NOT EXISTS events_pair ON events (pair)")  # a file from before there was one

    @contextmanager
    def writing(self, who: str, action: str) -> Iterator[tuple[sqlite3.Connection, int, str]]:
        """Lend a connection inside a transaction that only one process has at a time, with a new batch and the time."""
        with self.connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                batch = db.execute("INSERT INTO batches (at, who, action) VALUES (?, ?, ?)", (now, who, action)).lastrowid
                assert batch is not None  # an INSERT gives one
                yield db, batch, now
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise


def _file_at(path: Path) -> _File | None:
    try:
        found = path.stat()
    except OSError:  # opening it will tell what is wrong
        return None
    return found.st_dev, found.st_ino


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit before it, and another process could come between."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def as_stored(text: str) -> str | bytes:
    """Return a text as SQLite takes it: lone surrogates, which JSON can hold, are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def as_text(stored: str | bytes) -> str:
    try:
        return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")
    except (UnicodeDecodeError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"what should be a text is none: {error}") from error


def _remedy(error: sqlite3.Error) -> str:
    """Say what an error of SQLite means and what to do."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"are held by another program for more than {BUSY_SECONDS:.0f} seconds ({error}); close it, then try again"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            f"are damaged ({error}); move that file away together with those ending in -wal and -shm, and import the verdicts "
            "from your last download of them"
        )
    if name.startswith("SQLITE_FULL"):
        return "cannot be written: the disk is full; free some space, then try again"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return f"cannot be opened or written ({error}); check the folder and your permissions, or set HNMINE_HOME to another folder"
    return f"cannot be used ({error})"
