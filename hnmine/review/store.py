"""Where verdicts are kept: an SQLite file to which decisions are only ever added.

A decision is written, and the file synced (WAL, synchronous=FULL), before `decide` returns: a killed server has lost none
that a screen had moved on from. On a laptop's disk that is 2 to 5 ms a decision, and one sync for a batch of thousands.

Each *event* tells of one pair what stood before and what stands after. Whatever belongs together ("apply to all 42") is one
*batch*, and is undone as one. An undo is a batch too, so that the log stays whole and undo and redo go on over restarts, for
each reviewer on their own; it is written even when no pair changes by it.

Of each pair the last decision that its author has not taken back is in force, with their name and time. So an undo leaves
what somebody else has decided since then, and when they take that back in turn, what was undone before does not return.
Every event also names the decision that is in force after it, its `source`: its own, or, for an undo or redo, an older one.

Of each pair the current source is kept in `heads`, written in the same transaction: 100,000 verdicts are read in 0.3 s.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES, Choice, Verdict, pair_key, parse_time, sorted_by_time
from hnmine.review.event_log import EventLog, as_stored, as_text

__all__ = ["Change", "Decision", "Imported", "Reverted", "ReviewStore"]

Pair = tuple[str, str]
# Versions of a file that was moved away, and of the one that took its place, must not be taken for one another.
_GENERATION = 1 << 40


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that is in force: its last verdict, its batch, and for how many of the batch's pairs it still stands."""

    verdict: Verdict
    batch: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one event left: the verdict that stands after it, or None, and who caused it; `id` is a version of the store."""

    id: int
    query: str
    passage: str
    verdict: Choice | None
    who: str


@dataclass(frozen=True, slots=True)
class Reverted:
    """What an undo or redo did: the pairs it put back, and how many it left alone because somebody else decided them since.

    `verdicts` has, for each of `pairs`, what stands now, or None.
    """

    batch: int
    pairs: tuple[Pair, ...]
    verdicts: tuple[Choice | None, ...]
    skipped: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of imported verdicts: new pairs, changed ones, those that stood already, and those older than ours.

    Of those that stood already, one that was decided later gives its pair the later time and name; nothing else changes.
    """

    batch: int
    new: int
    changed: int
    same: int
    older: int


class ReviewStore:
    """The verdicts in an SQLite file; safe to use from many threads and processes at once.

    Args:
        path: the file; made when it is missing.

    Raises:
        WorkspaceError: it cannot be opened or made, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._ledger = EventLog(path)

    # Reading

    def version(self) -> int:
        """Return a number that grows with each event, 0 before the first; takes some 20 µs.

        It is the id of the last event. When another file has come to stand at the path, it is larger than all before it too.
        """
        with self._ledger.connection() as db:
            return self._first() + int(db.execute("SELECT max(id) FROM events").fetchone()[0] or 0)

    def replaced(self, since: int) -> bool:
        """Return whether another file stands at the path than at the version `since`: nothing that was read then holds."""
        with self._ledger.connection():
            return since < self._first()

    def _first(self) -> int:
        return self._ledger.generation * _GENERATION

    def verdicts(self) -> list[Verdict]:
        """Return the verdict of every pair that has one, skipped pairs too, the latest decision last."""
        with self._ledger.connection() as db:
            rows = db.execute(
                "SELECT query, passage, after, at, who FROM heads JOIN events ON id = heads.decision WHERE after IS NOT NULL ORDER BY id"
            )
            return [_verdict(row) for row in rows]

    def verdict(self, query: str, passage: str) -> Verdict | None:
        """Return what stands about one pair."""
        with self._ledger.connection() as db:
            row = db.execute(
                "SELECT query, passage, after, at, who FROM heads JOIN events ON id = heads.decision WHERE heads.pair = ?",
                (pair_key(query, passage),),
            ).fetchone()
            return None if row is None or row[2] is None else _verdict(row)

    def changes(self, since: int) -> list[Change]:
        """Return the events after the event `since`, oldest first: what a screen has to catch up with."""
        with self._ledger.connection() as db:
            rows = db.execute(
                "SELECT events.id, query, passage, after, batches.who FROM events JOIN batches ON batches.id = batch "
                "WHERE events.id > ? ORDER BY events.id",
                (since - self._first(),),
            )
            first = self._first()
            return [Change(first + number, as_text(query), as_text(passage), after, who) for number, query, passage, after, who in rows]

    def recent(self, n: int, who: str | None = None) -> list[Decision]:
        """Return the last n decisions that are in force, newest first, of one reviewer or of all; a batch counts as one."""
        found: list[Decision] = []
        mine, names = ("", ()) if who is None else (" AND who = ?", (who,))
        with self._ledger.connection() as db:
            bound = 2**63 - 1
            while len(found) < n:
                row = db.execute(
                    "SELECT query, passage, after, at, who, batch FROM heads JOIN events ON id = heads.decision "
                    f"WHERE heads.decision < ? AND after IS NOT NULL{mine} ORDER BY heads.decision DESC LIMIT 1",
                    (bound, *names),
                ).fetchone()
                if row is None:
                    break
                # The events of a batch stand in a row, so what is in force of it is a range of an index.
                bound, last = db.execute("SELECT min(id), max(id) FROM events WHERE batch = ?", (row[5],)).fetchone()
                pairs = db.execute("SELECT count(*) FROM heads WHERE decision BETWEEN ? AND ?", (bound, last)).fetchone()[0]
                found.append(Decision(_verdict(row), row[5], pairs))
        return found

    def pairs(self, batch: int) -> list[Pair]:
        """Return the pairs of a batch whose verdict from it is still in force."""
        with self._ledger.connection() as db:
            rows = db.execute(
                "SELECT query, passage FROM events JOIN heads ON heads.decision = id WHERE batch = ? AND after IS NOT NULL ORDER BY id",
                (batch,),
            )
            return [(as_text(query), as_text(passage)) for query, passage in rows]

    def names(self) -> set[str]:
        """Return the names of all who have decided, imported or undone anything."""
        with self._ledger.connection() as db:
            return {who for (who,) in db.execute("SELECT DISTINCT who FROM batches")}

    def history(self, who: str) -> tuple[bool, bool]:
        """Return whether a reviewer has something to undo, and something to redo."""
        with self._ledger.connection() as db:
            return _to_undo(db, who) is not None, _to_redo(db, who) is not None

    # Writing

    def decide(self, items: Sequence[Pair], verdict: Choice | None, who: str) -> int:
        """Give (query, passage) pairs a verdict, or take theirs away (None); return the batch, 0 when there was no pair.

        All of them are one batch. When this returns, they are on the disk.

        Raises:
            SettingsError: the verdict is unknown.
            WorkspaceError: the file cannot be written; nothing of the batch is kept then.
        """
        if verdict is not None and verdict not in CHOICES:
            raise SettingsError(f"the verdict is {verdict!r}; it must be one of {', '.join(CHOICES)}, or None to take one away")
        keyed = {pair_key(*pair): pair for pair in items}
        if not keyed:
            return 0
        with self._ledger.writing(who, "do") as (db, batch, now):
            heads = _heads(db, keyed)
            rows = ((*keyed[key], key, heads[key], verdict, now, who) for key in keyed)
            _append(db, batch, rows)
        return batch

    def clear(self, items: Sequence[Pair], who: str) -> int:
        """Take the verdicts of pairs away; a decision like any other, to be undone as one."""
        return self.decide(items, None, who)

    def add(self, verdicts: Iterable[Verdict], who: str) -> Imported:
        """Import verdicts as one batch of the reviewer `who`; each keeps its own `who` and `when` where it has them.

        Of two verdicts about one pair the later counts, among those given as against the one that stands, so importing what
        somebody decided long ago changes nothing newer. One without a time is the oldest of those given, but counts as
        decided now against what stands.
        """
        keyed = {pair_key(each.query, each.passage): each for each in sorted_by_time(verdicts)}
        new = changed = same = older = 0
        with self._ledger.writing(who, "import") as (db, batch, now):
            heads = _heads(db, keyed)
            rows: list[tuple[str, str, bytes, _Head, Choice | None, str, str]] = []
            for key, each in keyed.items():
                head = heads[key]
                if head.verdict == each.verdict:
                    same += 1
                    if parse_time(each.when) <= parse_time(head.at):
                        continue  # a later time is written down: in whatever order files are imported, the same stands
                elif head.source is not None and each.when and parse_time(each.when) < parse_time(head.at):
                    older += 1
                    continue
                elif head.verdict is None:
                    new += 1
                else:
                    changed += 1
                rows.append((each.query, each.passage, key, head, each.verdict, each.when or now, each.who or who))
            if rows:
                _append(db, batch, rows)
            else:  # nothing to undo: an undo should reach what came before
                db.execute("DELETE FROM batches WHERE id = ?", (batch,))
        return Imported(batch if rows else 0, new, changed, same, older)

    def undo(self, who: str) -> Reverted | None:
        """Undo a reviewer's last decision that is not undone, on any pair; return None when there is none."""
        return self._revert(who, "undo")

    def redo(self, who: str) -> Reverted | None:
        """Redo what a reviewer undid last; return None when nothing is, or when they have decided something since."""
        return self._revert(who, "redo")

    def _revert(self, who: str, action: Literal["undo", "redo"]) -> Reverted | None:
        with self._ledger.writing(who, action) as (db, batch, now):
            # The batch itself stands in the log already: whoever asks what is on top must not see it.
            target = (_to_undo if action == "undo" else _to_redo)(db, who, before=batch)
            if target is None:
                db.execute("DELETE FROM batches WHERE id = ?", (batch,))
                return None
            db.execute("UPDATE batches SET of = ? WHERE id = ?", (target, batch))
            taken_back = _taken_back(db)  # with this one
            events = db.execute(
                "SELECT query, passage, events.pair, heads.decision FROM events JOIN heads ON heads.pair = events.pair "
                "WHERE batch = ? AND source = id ORDER BY events.id",
                (_decided(db, target),),
            ).fetchall()
            moved = [(*event, *found) for event in events if (found := _in_force(db, event[2], taken_back))[0] != event[3]]
            db.executemany(
                "INSERT INTO events (batch, at, who, query, passage, pair, before, after, was, source) "
                "SELECT ?, ?, ?, ?, ?, ?, (SELECT after FROM events WHERE id = ?), ?, ?, ?",
                ((batch, now, who, query, passage, key, was, after, was, source) for query, passage, key, was, source, after in moved),
            )
            db.executemany("UPDATE heads SET decision = ? WHERE pair = ?", ((source, key) for _, _, key, _, source, _ in moved))
        pairs = tuple((as_text(event[0]), as_text(event[1])) for event in moved)
        return Reverted(batch, pairs, tuple(event[5] for event in moved), len(events) - len(moved))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._ledger.close()


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands about a pair: the decision's event, its verdict and time; None, None and "" where none does."""

    source: int | None
    verdict: Choice | None
    at: str


_NONE = _Head(None, None, "")


def _heads(db: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, _Head]:
    ask = "SELECT heads.decision, after, at FROM heads JOIN events ON id = heads.decision WHERE heads.pair = ?"
    found = ((key, db.execute(ask, (key,)).fetchone()) for key in keys)
    return {key: _NONE if row is None else _Head(*row) for key, row in found}


def _append(db: sqlite3.Connection, batch: int, rows: Iterable[tuple[str, str, bytes, _Head, Choice | None, str, str]]) -> None:
    """Write decisions (query, passage, key, what stands, verdict, when, who): each is in force by itself from now on."""
    first = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()[0])
    events = [
        (number, batch, at, who, as_stored(query), as_stored(passage), key, head.verdict, verdict, head.source, number)
        for number, (query, passage, key, head, verdict, at, who) in enumerate(rows, start=first)
    ]
    db.executemany(
        "INSERT INTO events (id, batch, at, who, query, passage, pair, before, after, was, source) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        events,
    )
    db.executemany("INSERT OR REPLACE INTO heads (pair, decision) VALUES (?, ?)", ((event[6], event[10]) for event in events))


def _to_undo(db: sqlite3.Connection, who: str, *, before: int = 2**62) -> int | None:
    """Return the reviewer's last batch that no undo has taken back: each undo takes one, a redo is as good as a new one."""
    undone = 0
    for batch, action in db.execute("SELECT id, action FROM batches WHERE who = ? AND id < ? ORDER BY id DESC", (who, before)):
        if action == "undo":
            undone += 1
        elif undone:
            undone -= 1
        else:
            return int(batch)
    return None


def _to_redo(db: sqlite3.Connection, who: str, *, before: int = 2**62) -> int | None:
    """Return the reviewer's last undo that no redo has taken back, unless they have decided something since."""
    redone = 0
    for batch, action in db.execute("SELECT id, action FROM batches WHERE who = ? AND id < ? ORDER BY id DESC", (who, before)):
        if action == "redo":
            redone += 1
        elif action != "undo":
            return None
        elif redone:
            redone -= 1
        else:
            return int(batch)
    return None


def _decided(db: sqlite3.Connection, batch: int) -> int:
    """Return the decision that a batch is, undoes or redoes."""
    while (of := db.execute("SELECT of FROM batches WHERE id = ?", (batch,)).fetchone()[0]) is not None:
        batch = int(of)
    return batch


def _taken_back(db: sqlite3.Connection) -> set[int]:
    """Return the batches that their authors have undone and not redone."""
    decided: dict[int, int] = {}
    found: set[int] = set()
    for batch, action, of in db.execute("SELECT id, action, of FROM batches WHERE of IS NOT NULL ORDER BY id"):
        decided[batch] = decided.get(of, of)
        (found.add if action == "undo" else found.discard)(decided[batch])
    return found


def _in_force(db: sqlite3.Connection, key: bytes, taken_back: set[int]) -> tuple[int | None, Choice | None]:
    """Return the last decision about a pair that is not taken back, and its verdict; None and None when there is none."""
    rows = db.execute("SELECT id, after, batch FROM events WHERE pair = ? AND source = id ORDER BY id DESC", (key,))
    return next(((number, after) for number, after, batch in rows if batch not in taken_back), (None, None))


def _verdict(row: tuple[Any, ...]) -> Verdict:
    if row[2] not in CHOICES or not isinstance(row[3], str) or not isinstance(row[4], str):
        raise sqlite3.DatabaseError(f"a decision holds {row[2:5]!r}")
    return Verdict(query=as_text(row[0]), passage=as_text(row[1]), verdict=row[2], when=row[3], who=row[4])
