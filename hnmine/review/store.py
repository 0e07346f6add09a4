"""The store of verdicts: an event log in SQLite with undo and redo per reviewer.

`decide` returns after the decision is synced to disk, 2 to 5 ms on a laptop, so a killed server loses nothing. Each event records the
verdict of one pair before and after; events that belong together are one batch, undone as one. Undo and redo are batches too, so they
work across restarts. The current verdict of a pair is the last decision on it that its reviewer has not undone: an undo keeps what
others decided since, and undoing those later does not restore it. Each event names the decision that is current after it, its `source`; the
table `current` holds it for each pair, so 100,000 verdicts are read in 0.3 s.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import CHOICES, Choice, Verdict, pair_key, pair_keys, parse_time, sorted_by_time
from hnmine.review import batches
from hnmine.review.batches import Pair, Reverted, as_text
from hnmine.review.event_log import EventLog

__all__ = ["Action", "Change", "Decision", "Imported", "Reverted", "ReviewStore"]

# How old the browser's time of an action can be: a desk keeps its actions while the network is away.
OLDEST = datetime.timedelta(days=7)
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
    """One event: the verdict of the pair after it, or None, and its reviewer; `id` is a version of the store.

    Attributes:
        reviewers: all who have a verdict on the pair now.
    """

    id: int
    query: str
    passage: str
    verdict: Choice | None
    who: str
    reviewers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """A numbered action of a desk (a browser tab): numbers start at 1 and have no gaps.

    Attributes:
        pairs, verdict, note: of a "decide"; the verdict None removes the current one.
        at: the browser's time, ISO 8601.
    """

    seq: int
    kind: Literal["decide", "undo", "redo"]
    pairs: tuple[Pair, ...] = ()
    verdict: Choice | None = None
    note: str = ""
    who: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import, in numbers of pairs.

    Attributes:
        new, changed: pairs that got a verdict, or another one.
        same: pairs that have this verdict already; a later one updates their time and reviewer.
        older: pairs that keep their verdict because it is later.
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
                "SELECT query, passage, after, at, who, note FROM current JOIN events ON id = decision WHERE after IS NOT NULL ORDER BY id"
            )
            return [_verdict(row) for row in rows]

    def verdict(self, query: str, passage: str) -> Verdict | None:
        """Return the current verdict of one pair, or None."""
        with self._log.connection() as db:
            row = db.execute(
                "SELECT query, passage, after, at, who, note FROM current JOIN events ON id = current.decision WHERE current.pair = ?",
                (pair_key(query, passage),),
            ).fetchone()
            return None if row is None or row[2] is None else _verdict(row)

    def by_reviewer(self, pair: Pair | None = None) -> list[Verdict]:
        """Return the last verdict of each reviewer that is not undone, on each pair or on one, the latest decision last."""
        where, keys = ("", ()) if pair is None else ("AND judged.pair = ? ", (pair_key(*pair),))
        with self._log.connection() as db:
            rows = db.execute(
                "SELECT query, passage, after, at, events.who, note FROM judged JOIN events ON id = decision WHERE after IS NOT NULL "
                f"{where}ORDER BY id",
                keys,
            )
            return [_verdict(row) for row in rows]

    def decisions(self) -> list[Verdict]:
        """Return all verdicts that are not undone, oldest first; those of a reviewer before they removed theirs are left out."""
        with self._log.connection() as db:
            rows = db.execute(
                f"SELECT query, passage, after, at, who, note, pair, batch FROM events WHERE source = id OR ({batches.HEARD}) ORDER BY id"
            ).fetchall()
            held: dict[tuple[bytes, str], list[Verdict]] = {}
            undone = cache(partial(batches.is_undone, db))
            for *row, key, batch in rows:
                if undone(batch):
                    continue
                own = held.setdefault((key, row[4]), [])
                if row[2] is None:
                    own.clear()
                else:
                    own.append(_verdict(tuple(row)))
        return sorted_by_time(each for own in held.values() for each in own)

    def changes(self, since: int) -> list[Change]:
        """Return the events after the version `since`, oldest first."""
        with self._log.connection() as db:
            first = self._first()
            db.execute("BEGIN")  # both questions are about one state of the file
            rows = db.execute(
                f"SELECT events.id, pair, query, passage, CASE WHEN {batches.HEARD} THEN before ELSE after END, batches.who "
                "FROM events JOIN batches ON batches.id = batch WHERE events.id > ? ORDER BY events.id",
                (since - first,),
            ).fetchall()
            reviewers = batches.reviewers(db, {row[1] for row in rows})
            db.execute("COMMIT")
        return [
            Change(first + number, as_text(query), as_text(passage), after, who, reviewers.get(key, ()))
            for number, key, query, passage, after, who in rows
        ]

    def recent(self, n: int, who: str | None = None) -> list[Decision]:
        """Return the last n current decisions, newest first, of one reviewer or of all; a batch counts as one."""
        found: list[Decision] = []
        mine, names = ("", ()) if who is None else (" AND who = ?", (who,))
        with self._log.connection() as db:
            bound = 2**63 - 1
            while len(found) < n:
                row = db.execute(
                    "SELECT query, passage, after, at, who, note, batch FROM current JOIN events ON id = current.decision "
                    f"WHERE current.decision < ? AND after IS NOT NULL{mine} ORDER BY current.decision DESC LIMIT 1",
                    (bound, *names),
                ).fetchone()
                if row is None:
                    break
                # The events of a batch have consecutive ids, so its current decisions are a range of the index.
                bound, last = db.execute("SELECT min(id), max(id) FROM events WHERE batch = ?", (row[6],)).fetchone()
                pairs = db.execute("SELECT count(*) FROM current WHERE decision BETWEEN ? AND ?", (bound, last)).fetchone()[0]
                found.append(Decision(_verdict(row), row[6], pairs))
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

    def history(self, who: str, desk: str | None = None) -> tuple[bool, bool]:
        """Return whether a reviewer can undo, and whether they can redo, at a desk (`record`)."""
        with self._log.connection() as db:
            undo, redo = (batches.reversible(db, who, action, desk) is not None for action in ("undo", "redo"))
            return undo, redo

    def recorded(self, desk: str) -> int:
        """Return the number of the last recorded action of a desk, 0 before the first."""
        with self._log.connection() as db:
            return batches.recorded(db, desk)

    # Writing

    def decide(self, items: Sequence[Pair], verdict: Choice | None, who: str, note: str | None = "") -> int:
        """Set the verdict of (query, passage) pairs, or remove it (None), as one batch; return the batch id, 0 without pairs.

        The batch is on the disk when this returns. The note None keeps the current note of each pair.

        Raises:
            SettingsError: the verdict is unknown.
            WorkspaceError: the file cannot be written; no part of the batch is stored then.
        """
        _check(verdict)
        if not items:
            return 0
        with self._log.writing() as (db, now):
            return batches.decide(db, batches.new(db, now, who, "do"), items, verdict, note, who, now)

    def record(self, desk: str, actions: Iterable[Action]) -> int:
        """Write a desk's numbered actions that are not recorded yet, in their order; return the number of the last recorded one.

        An action may arrive more than once. All are on the disk when this returns, in one transaction. An undo reverts the last
        decision of its reviewer at this desk or, without one, the reviewer's last; it counts as recorded if there is none. So two
        desks of one name do not undo each other's decisions while they have some of their own. `Action.at` counts if it has a time
        zone and is at most a week old; else the server's time does.

        Raises:
            SettingsError: the name of the desk is empty, a verdict or an action is unknown, or a number is missing.
            WorkspaceError: the file cannot be written. Nothing is written in either case.
        """
        if not desk:
            raise SettingsError("the name of the desk is empty; give each browser tab its own")
        with self._log.writing() as (db, now):
            last = batches.recorded(db, desk)
            for action in sorted(actions, key=lambda each: each.seq):
                if action.seq <= last:
                    continue
                if action.seq != last + 1:
                    raise SettingsError(
                        f"action {last + 1:,} of the desk {desk} is missing: the last recorded one is {last:,}, the next one given is "
                        f"{action.seq:,}; send all actions after {last:,}, or start a new desk if they are lost"
                    )
                last, number = action.seq, (desk, action.seq)
                if action.kind == "decide":
                    _check(action.verdict)
                    batch = batches.new(db, now, action.who, "do" if action.pairs else "none", number)
                    batches.decide(db, batch, action.pairs, action.verdict, action.note, action.who, _sane(action.at, now))
                elif action.kind not in ("undo", "redo"):
                    raise SettingsError(f"the action is {action.kind!r}; it must be one of decide, undo, redo")
                elif batches.revert(db, now, action.who, action.kind, number) is None:
                    batches.new(db, now, action.who, "none", number)
            return last

    def add(self, verdicts: Iterable[Verdict], who: str) -> Imported:
        """Import verdicts as one batch of the reviewer `who`; each keeps its own `who`, `when` and `note` if it has them.

        The later of two verdicts on one pair counts, among the given ones and against the current one. A verdict without a time is
        the oldest of the given ones, but newer than the current one. The last verdict of each other reviewer is kept beside it, for
        `by_reviewer`.
        """
        keyed: dict[bytes, dict[str, Verdict]] = {}
        given = sorted_by_time(verdicts)
        for key, each in zip(pair_keys((each.query, each.passage) for each in given), given, strict=True):
            named = keyed.setdefault(key, {})
            name = each.who or who
            named.pop(name, None)  # the latest is last
            named[name] = each
        new = changed = same = older = 0
        rows: list[batches.Row] = []
        with self._log.writing() as (db, now):
            current, judged = batches.current(db, keyed), batches.judged(db, keyed)
            for key, named in keyed.items():
                held = current.get(key, batches.Current())
                name, last = named.popitem()
                later = parse_time(last.when) > parse_time(held.at)
                counts = True
                if held.verdict == last.verdict:
                    same += 1
                    counts = later  # a later time is stored, so that the order of imports does not matter
                elif held.source is not None and last.when and not later and parse_time(last.when) < parse_time(held.at):
                    older += 1
                    counts = False
                elif held.verdict is None:
                    new += 1
                else:
                    changed += 1
                for other, each in [*named.items(), (name, last)]:
                    own = judged.get((key, other))
                    if (is_last := each is last and counts) or own is None or parse_time(each.when) > parse_time(own):
                        rows.append(batches.Row(each.query, each.passage, key, each.verdict, each.when or now, other, each.note, is_last))
            batch = batches.new(db, now, who, "import") if rows else 0  # an empty batch must not be the next to undo
            batches.append(db, batch, rows, current)
        return Imported(batch, new, changed, same, older)

    def undo(self, who: str) -> Reverted | None:
        """Undo a reviewer's last decision; return None if there is nothing to undo."""
        with self._log.writing() as (db, now):
            return batches.revert(db, now, who, "undo")

    def redo(self, who: str) -> Reverted | None:
        """Redo a reviewer's last undo; return None if there is none, or if they have decided anything since."""
        with self._log.writing() as (db, now):
            return batches.revert(db, now, who, "redo")

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._log.close()


def _verdict(row: tuple[Any, ...]) -> Verdict:
    if row[2] not in CHOICES or not isinstance(row[3], str) or not isinstance(row[4], str):
        raise sqlite3.DatabaseError(f"a decision holds {row[2:5]!r}")
    return Verdict(query=as_text(row[0]), passage=as_text(row[1]), verdict=row[2], when=row[3], who=row[4], note=as_text(row[5]))


def _check(verdict: Choice | None) -> None:
    if verdict is not None and verdict not in CHOICES:
        raise SettingsError(f"the verdict is {verdict!r}; it must be one of {', '.join(CHOICES)}, or None to remove it")


def _sane(at: str, now: str) -> str:
    """Return a browser's time in UTC, or the server's if the browser's has no time zone or cannot be right."""
    try:
        given = datetime.datetime.fromisoformat(at)
    except ValueError:
        return now
    own = datetime.datetime.fromisoformat(now)
    if given.tzinfo is None or not own - OLDEST <= given <= own:
        return now
    return given.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
