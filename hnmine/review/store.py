"""The store of verdicts: an event log in SQLite with undo and redo per reviewer.

`decide` returns after the decision is synced to disk, 2 to 5 ms on a laptop, so a killed server loses nothing. Each event records the
verdict of one pair before and after; events that belong together are one batch, undone as one. Undo and redo are batches too, so they
work across restarts. The current verdict of a pair is the last decision on it that its reviewer has not undone: an undo keeps what
others decided since, and undoing those later does not restore it. Each event names the decision that is current after it, its `source`; the
table `current` holds it for each pair, so 100,000 verdicts are read in 0.3 s.
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
# Added to the version for each replacement of the file, so that versions of different files are never equal.
_GENERATION = 1 << 40


@dataclass(frozen=True, slots=True)
class Decision:
    """A current decision: its last verdict, its batch, and the number of the batch's pairs for which it is still current."""

    verdict: Verdict
    batch: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Change:
    """One event: the verdict of the pair after it, or None, and its reviewer; `id` is a version of the store."""

    id: int
    query: str
    passage: str
    verdict: Choice | None
    who: str


@dataclass(frozen=True, slots=True)
class Reverted:
    """The result of an undo or redo.

    Attributes:
        pairs: the pairs it changed. verdicts: their current verdicts, None where there is none.
        skipped: number of pairs left unchanged, because another reviewer has decided on them since.
    """

    batch: int
    pairs: tuple[Pair, ...]
    verdicts: tuple[Choice | None, ...]
    skipped: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import, in numbers of pairs.

    Attributes:
        new, changed: pairs that got a verdict, or another one.
        same: pairs that have this verdict already; a later one updates their time and reviewer.
        older: verdicts ignored because the store has a later one.
    """

    batch: int
    new: int
    changed: int
    same: int
    older: int


class ReviewStore:
    """The verdicts in an SQLite file; safe to use from many threads and processes.

    Args:
        path: the file; created if missing.

    Raises:
        WorkspaceError: the file cannot be opened or created, is damaged, or has another format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._log = EventLog(path)

    # Reading

    def version(self) -> int:
        """Return the id of the last event, 0 before the first, in about 20 µs; it grows if the file is replaced."""
        with self._log.connection() as db:
            return self._first() + int(db.execute("SELECT max(id) FROM events").fetchone()[0] or 0)

    def replaced(self, since: int) -> bool:
        """Return whether the file was replaced by another after the version `since`, so that data read then is outdated."""
        with self._log.connection():
            return since < self._first()

    def _first(self) -> int:
        return self._log.generation * _GENERATION

    def verdicts(self) -> list[Verdict]:
        """Return the current verdict of every pair that has one, "unsure" included, the latest decision last."""
        with self._log.connection() as db:
            rows = db.execute(
                "SELECT query, passage, after, at, who FROM current JOIN events ON id = decision WHERE after IS NOT NULL ORDER BY id"
            )
            return [_verdict(row) for row in rows]

    def verdict(self, query: str, passage: str) -> Verdict | None:
        """Return the current verdict of one pair, or None."""
        with self._log.connection() as db:
            row = db.execute(
                "SELECT query, passage, after, at, who FROM current JOIN events ON id = current.decision WHERE current.pair = ?",
                (pair_key(query, passage),),
            ).fetchone()
            return None if row is None or row[2] is None else _verdict(row)

    def changes(self, since: int) -> list[Change]:
        """Return the events after the version `since`, oldest first."""
        with self._log.connection() as db:
            rows = db.execute(
                "SELECT events.id, query, passage, after, batches.who FROM events JOIN batches ON batches.id = batch "
                "WHERE events.id > ? ORDER BY events.id",
                (since - self._first(),),
            )
            first = self._first()
            return [Change(first + number, as_text(query), as_text(passage), after, who) for number, query, passage, after, who in rows]

    def recent(self, n: int, who: str | None = None) -> list[Decision]:
        """Return the last n current decisions, newest first, of one reviewer or of all; a batch counts as one."""
        found: list[Decision] = []
        mine, names = ("", ()) if who is None else (" AND who = ?", (who,))
        with self._log.connection() as db:
            bound = 2**63 - 1
            while len(found) < n:
                row = db.execute(
                    "SELECT query, passage, after, at, who, batch FROM current JOIN events ON id = current.decision "
                    f"WHERE current.decision < ? AND after IS NOT NULL{mine} ORDER BY current.decision DESC LIMIT 1",
                    (bound, *names),
                ).fetchone()
                if row is None:
                    break
                # The events of a batch have consecutive ids, so its current decisions are a range of the index.
                bound, last = db.execute("SELECT min(id), max(id) FROM events WHERE batch = ?", (row[5],)).fetchone()
                pairs = db.execute("SELECT count(*) FROM current WHERE decision BETWEEN ? AND ?", (bound, last)).fetchone()[0]
                found.append(Decision(_verdict(row), row[5], pairs))
        return found

    def pairs(self, batch: int) -> list[Pair]:
        """Return the pairs of a batch for which its verdict is still current."""
        with self._log.connection() as db:
            rows = db.execute(
                "SELECT query, passage FROM events JOIN current ON current.decision = id WHERE batch = ? AND after IS NOT NULL ORDER BY id",
                (batch,),
            )
            return [(as_text(query), as_text(passage)) for query, passage in rows]

    def names(self) -> set[str]:
        """Return the names of all reviewers in the log."""
        with self._log.connection() as db:
            return {who for (who,) in db.execute("SELECT DISTINCT who FROM batches")}

    def history(self, who: str) -> tuple[bool, bool]:
        """Return whether a reviewer can undo, and whether they can redo."""
        with self._log.connection() as db:
            return _to_undo(db, who) is not None, _to_redo(db, who) is not None

    # Writing

    def decide(self, items: Sequence[Pair], verdict: Choice | None, who: str) -> int:
        """Set the verdict of (query, passage) pairs, or remove it (None), as one batch; return the batch id, 0 without pairs.

        The batch is on the disk when this returns.

        Raises:
            SettingsError: the verdict is unknown.
            WorkspaceError: the file cannot be written; no part of the batch is stored then.
        """
        if verdict is not None and verdict not in CHOICES:
            raise SettingsError(f"the verdict is {verdict!r}; it must be one of {', '.join(CHOICES)}, or None to remove it")
        keyed = {pair_key(*pair): pair for pair in items}
        if not keyed:
            return 0
        with self._log.writing(who, "do") as (db, batch, now):
            current = _current(db, keyed)
            rows = ((*keyed[key], key, current[key], verdict, now, who) for key in keyed)
            _append(db, batch, rows)
        return batch

    def add(self, verdicts: Iterable[Verdict], who: str) -> Imported:
        """Import verdicts as one batch of the reviewer `who`; each keeps its own `who` and `when` if it has them.

        The later of two verdicts on one pair counts, among the given ones and against the current one. A verdict without a time is
        the oldest of the given ones, but newer than the current one.
        """
        keyed = {pair_key(each.query, each.passage): each for each in sorted_by_time(verdicts)}
        new = changed = same = older = 0
        with self._log.writing(who, "import") as (db, batch, now):
            current = _current(db, keyed)
            rows: list[tuple[str, str, bytes, _Current, Choice | None, str, str]] = []
            for key, each in keyed.items():
                held = current[key]
                if held.verdict == each.verdict:
                    same += 1
                    if parse_time(each.when) <= parse_time(held.at):
                        continue  # a later time is stored, so that the order of imports does not matter
                elif held.source is not None and each.when and parse_time(each.when) < parse_time(held.at):
                    older += 1
                    continue
                elif held.verdict is None:
                    new += 1
                else:
                    changed += 1
                rows.append((each.query, each.passage, key, held, each.verdict, each.when or now, each.who or who))
            if rows:
                _append(db, batch, rows)
            else:  # an empty batch must not be the next to undo
                db.execute("DELETE FROM batches WHERE id = ?", (batch,))
        return Imported(batch if rows else 0, new, changed, same, older)

    def undo(self, who: str) -> Reverted | None:
        """Undo a reviewer's last decision; return None if there is nothing to undo."""
        return self._revert(who, "undo")

    def redo(self, who: str) -> Reverted | None:
        """Redo a reviewer's last undo; return None if there is none, or if they have decided anything since."""
        return self._revert(who, "redo")

    def _revert(self, who: str, action: Literal["undo", "redo"]) -> Reverted | None:
        with self._log.writing(who, action) as (db, batch, now):
            # The new batch is in the log already and must not be found.
            target = (_to_undo if action == "undo" else _to_redo)(db, who, before=batch)
            if target is None:
                db.execute("DELETE FROM batches WHERE id = ?", (batch,))
                return None
            db.execute("UPDATE batches SET of = ? WHERE id = ?", (target, batch))
            undone = _undone(db)  # includes this batch
            events = db.execute(
                "SELECT query, passage, events.pair, current.decision FROM events JOIN current ON current.pair = events.pair "
                "WHERE batch = ? AND source = id ORDER BY events.id",
                (_decided(db, target),),
            ).fetchall()
            moved = [(*event, *found) for event in events if (found := _last_decision(db, event[2], undone))[0] != event[3]]
            db.executemany(
                "INSERT INTO events (batch, at, who, query, passage, pair, before, after, was, source) "
                "SELECT ?, ?, ?, ?, ?, ?, (SELECT after FROM events WHERE id = ?), ?, ?, ?",
                ((batch, now, who, query, passage, key, was, after, was, source) for query, passage, key, was, source, after in moved),
            )
            db.executemany("UPDATE current SET decision = ? WHERE pair = ?", ((source, key) for _, _, key, _, source, _ in moved))
        pairs = tuple((as_text(event[0]), as_text(event[1])) for event in moved)
        return Reverted(batch, pairs, tuple(event[5] for event in moved), len(events) - len(moved))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._log.close()


@dataclass(frozen=True, slots=True)
class _Current:
    """The current decision on a pair: its event, verdict and time; None, None and "" without one."""

    source: int | None
    verdict: Choice | None
    at: str


_NONE = _Current(None, None, "")


def _current(db: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, _Current]:
    ask = "SELECT current.decision, after, at FROM current JOIN events ON id = current.decision WHERE current.pair = ?"
    found = ((key, db.execute(ask, (key,)).fetchone()) for key in keys)
    return {key: _NONE if row is None else _Current(*row) for key, row in found}


def _append(db: sqlite3.Connection, batch: int, rows: Iterable[tuple[str, str, bytes, _Current, Choice | None, str, str]]) -> None:
    """Append decisions (query, passage, key, current decision, verdict, when, who) and make them current."""
    first = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()[0])
    events = [
        (number, batch, at, who, as_stored(query), as_stored(passage), key, held.verdict, verdict, held.source, number)
        for number, (query, passage, key, held, verdict, at, who) in enumerate(rows, start=first)
    ]
    db.executemany(
        "INSERT INTO events (id, batch, at, who, query, passage, pair, before, after, was, source) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        events,
    )
    db.executemany("INSERT OR REPLACE INTO current (pair, decision) VALUES (?, ?)", ((event[6], event[10]) for event in events))


def _to_undo(db: sqlite3.Connection, who: str, *, before: int = 2**62) -> int | None:
    """Return the reviewer's last batch that is not undone; a redo counts as a new batch."""
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
    """Return the reviewer's last undo that is not redone, or None if they have decided anything since."""
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
    """Return the original batch that a batch undoes or redoes; a decision returns itself."""
    while (of := db.execute("SELECT of FROM batches WHERE id = ?", (batch,)).fetchone()[0]) is not None:
        batch = int(of)
    return batch


def _undone(db: sqlite3.Connection) -> set[int]:
    """Return the batches that are undone and not redone."""
    decided: dict[int, int] = {}
    found: set[int] = set()
    for batch, action, of in db.execute("SELECT id, action, of FROM batches WHERE of IS NOT NULL ORDER BY id"):
        decided[batch] = decided.get(of, of)
        (found.add if action == "undo" else found.discard)(decided[batch])
    return found


def _last_decision(db: sqlite3.Connection, key: bytes, undone: set[int]) -> tuple[int | None, Choice | None]:
    """Return the last decision on a pair that is not undone, and its verdict; None and None without one."""
    rows = db.execute("SELECT id, after, batch FROM events WHERE pair = ? AND source = id ORDER BY id DESC", (key,))
    return next(((number, after) for number, after, batch in rows if batch not in undone), (None, None))


def _verdict(row: tuple[Any, ...]) -> Verdict:
    if row[2] not in CHOICES or not isinstance(row[3], str) or not isinstance(row[4], str):
        raise sqlite3.DatabaseError(f"a decision holds {row[2:5]!r}")
    return Verdict(query=as_text(row[0]), passage=as_text(row[1]), verdict=row[2], when=row[3], who=row[4])
