"""The event log's schema versions, and the migration of older files in place.

Version 1 has the verdicts keep, drop, promote and skip. "drop" becomes "relevant", not "junk": both remove the passage, and version 1
does not record which one was meant. Version 2 has neither desks, notes nor the table `judged`. A migration runs in one transaction, so a
killed process leaves the file as it was.
"""

from __future__ import annotations

import sqlite3

from hnmine.review.batches import is_undone

__all__ = ["BATCHES", "INDEXES", "JUDGED", "SCHEMA_VERSION", "migrate"]

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
