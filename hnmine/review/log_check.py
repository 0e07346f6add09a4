"""What is wrong within a file of verdicts that SQLite finds whole: its events against their texts and each other, its tables against them.

There are no checksums. A change that leaves a record possible is not found: in a note, in the case of a letter, in the time or name of an
imported verdict, in the verdict of a decision that nothing follows.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hnmine.core.text import counted
from hnmine.data.verdicts import CHOICES, pair_keys, parse_time
from hnmine.review.batches import as_text
from hnmine.review.store import OLDEST

__all__ = ["faults"]

# The kinds of batches with events, and those that make decisions.
_ACTIONS = ("do", "import", "undo", "redo")
_DECIDING = ("do", "import")
# The times of browsers are stored without their microseconds.
_ROUNDED = datetime.timedelta(milliseconds=1)


class _Batch(NamedTuple):
    at: str
    who: str
    action: str
    of: int | None
    desk: str | None


class _Event(NamedTuple):
    batch: int
    at: Any
    who: Any
    query: str | bytes
    passage: str | bytes
    pair: bytes
    before: str | None
    after: str | None
    was: int | None
    source: int | None
    note: Any


def faults(db: sqlite3.Connection) -> Iterator[str]:
    """Yield each fault of the log, in words that name the batch, event or table; the caller holds a transaction.

    Raises:
        sqlite3.Error: the file cannot be read, or a text in it is not UTF-8.
    """
    batches = {number: _Batch(*row) for number, *row in db.execute("SELECT id, at, who, action, of, desk FROM batches ORDER BY id")}
    events = {number: _Event(*row) for number, *row in db.execute(f"SELECT id, {', '.join(_Event._fields)} FROM events ORDER BY id")}
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'").fetchone()
    for name, ids, end in (("batch", batches, max(batches, default=0)), ("event", events, max(last, *events, 0))):
        if missing := set(range(1, end + 1)) - ids.keys():
            yield f"{name} {min(missing)} is missing"
    yield from _of_batches(batches)
    for number, event in events.items():
        if fault := _of_event(number, event, events, batches):
            yield f"event {number} {fault}"
    yield from _of_keys(events)
    yield from _of_tables(db, events, batches)


def _of_batches(batches: Mapping[int, _Batch]) -> Iterator[str]:
    named = set[int]()
    for number, batch in batches.items():
        reverts = batch.action in ("undo", "redo")
        target = batches.get(batch.of or 0)
        if not _is_time(batch.at):
            yield f"batch {number} has the time {batch.at!r}"
        if batch.action not in (*_ACTIONS, "none"):
            yield f"batch {number} has the action {batch.action!r}"
        elif (batch.of is not None) != reverts or (
            reverts and (target is None or batch.of in named or not 0 < (batch.of or 0) < number or target.action == "none")
        ):
            yield f"batch {number} ({batch.action}) is of batch {batch.of}"
        named |= {batch.of or 0}


def _of_event(number: int, event: _Event, events: Mapping[int, _Event], batches: Mapping[int, _Batch]) -> str | None:
    batch = batches.get(event.batch)
    if batch is None or batch.action not in _ACTIONS:
        return f"is of batch {event.batch}"
    for verdict in (event.before, event.after):
        if verdict not in (None, *CHOICES):
            return f"has the verdict {verdict!r}"
    if not isinstance(event.at, str) or not isinstance(event.who, str) or not isinstance(event.note, str | bytes):
        return "has a value of another type"
    if batch.action != "import" and (event.who != batch.who or not _is_of(event.at, batch)):
        return f"has the time {event.at!r} and the name {event.who!r}, and its batch {batch.at!r} and {batch.who!r}"
    was, source = (None if each is None else events.get(each) for each in (event.was, event.source))
    if event.was is not None and (was is None or event.was >= number or was.pair != event.pair):
        return f"follows event {event.was}"
    if event.before != (None if was is None else was.after):
        return f"has the verdict before it {event.before!r}"
    if event.source is None:
        if (event.after is None) != (batch.action not in _DECIDING) or (event.after is not None and batch.action == "do"):
            return f"has the verdict {event.after!r} without a decision"
    elif (
        source is None
        or (source.pair, source.after, source.source) != (event.pair, event.after, event.source)
        or (event.source == number) != (batch.action in _DECIDING)
        or event.source > number
    ):
        return f"has the decision {event.source}"
    return None


def _of_keys(events: Mapping[int, _Event]) -> Iterator[str]:
    keys = pair_keys((as_text(event.query), as_text(event.passage)) for event in events.values())
    for (number, event), key in zip(events.items(), keys, strict=True):
        if key != event.pair:
            yield f"event {number} has a text that was changed"


def _of_tables(db: sqlite3.Connection, events: Mapping[int, _Event], batches: Mapping[int, _Batch]) -> Iterator[str]:
    undone: dict[int, bool] = {}
    reverted = {batch.of: number for number, batch in batches.items() if batch.of is not None}
    for number in sorted(batches, reverse=True):  # what reverts a batch is after it
        undone[number] = number in reverted and not undone.get(reverted[number], False)
    current: dict[Any, int | None] = {}
    judged: dict[Any, int | None] = {}
    for number, event in events.items():
        heard = event.source is None and event.after is not None
        if not heard:
            current[event.pair] = event.source
        if (heard or event.source == number) and not undone.get(event.batch, False):
            judged[event.pair, event.who] = number
    held_current: dict[Any, int | None] = dict(db.execute("SELECT pair, decision FROM current").fetchall())
    held_judged = {(pair, who): number for pair, who, number in db.execute("SELECT pair, who, decision FROM judged")}
    for name, wanted, held in (("current", current, held_current), ("judged", judged, held_judged)):
        if wrong := sum(wanted.get(key) != held.get(key) for key in wanted.keys() | held.keys()):
            yield f"the table {name} differs from the events in {counted(wrong, 'place')}"


def _is_of(at: Any, batch: _Batch) -> bool:
    """Return whether an event may have a time: that of its batch, or an earlier one of a browser."""
    if at == batch.at or batch.desk is None:
        return bool(at == batch.at)
    return _is_time(at) and _is_time(batch.at) and parse_time(batch.at) - OLDEST - _ROUNDED <= parse_time(at) <= parse_time(batch.at)


def _is_time(at: object) -> bool:
    try:
        return isinstance(at, str) and datetime.datetime.fromisoformat(at) is not None
    except ValueError:
        return False
