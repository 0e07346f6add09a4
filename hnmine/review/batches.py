"""The batches of the event log: decisions, imports, undo and redo, each in the transaction of its caller.

A batch is undone if an undo names it (`of`), and an undo is redone if a redo names it; a redo can be undone again, so each batch is named
at most once. An event holds the verdict of a pair before and after it, and the decisions current before (`was`) and after it (`source`,
its own id for a decision). The table `current` has the current decision on each pair, and `judged` that of each reviewer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, NamedTuple

from hnmine.data.verdicts import Choice, pair_key, parse_time

__all__ = [
    "HEARD",
    "Current",
    "Pair",
    "Reverted",
    "Row",
    "append",
    "as_stored",
    "as_text",
    "current",
    "decide",
    "is_news",
    "is_undone",
    "new",
    "recorded",
    "reversible",
    "revert",
]

Pair = tuple[str, str]
# The desk and the number of its action (`store.Action`), or twice None.
Number = tuple[str | None, int | None]

# The condition of an imported verdict that is older than the current one: it counts for its reviewer only.
HEARD = "source IS NULL AND after IS NOT NULL"


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


class Row(NamedTuple):
    """A decision to append; `counts` is whether it becomes the current one."""

    query: str
    passage: str
    key: bytes
    verdict: Choice | None
    at: str
    who: str
    note: str
    counts: bool = True


class Current(NamedTuple):
    """The current decision on a pair: its event, verdict and time; None, None and "" without one."""

    source: int | None
    verdict: Choice | None
    at: str


def new(db: sqlite3.Connection, at: str, who: str, action: str, number: Number = (None, None), of: int | None = None) -> int:
    """Add a batch; return its id."""
    columns = (at, who, action, of, *number)
    batch = db.execute("INSERT INTO batches (at, who, action, of, desk, seq) VALUES (?, ?, ?, ?, ?, ?)", columns).lastrowid
    assert batch is not None  # set by the INSERT
    return batch


def recorded(db: sqlite3.Connection, desk: str) -> int:
    """Return the number of the last recorded action of a desk, 0 before the first."""
    return int(db.execute("SELECT max(seq) FROM batches WHERE desk = ?", (desk,)).fetchone()[0] or 0)


def current(db: sqlite3.Connection, key: bytes) -> Current:
    """Return the current decision on a pair."""
    ask = "SELECT current.decision, after, at FROM current JOIN events ON id = current.decision WHERE current.pair = ?"
    row = db.execute(ask, (key,)).fetchone()
    return Current(None, None, "") if row is None else Current(*row)


def is_news(db: sqlite3.Connection, key: bytes, who: str, when: str) -> bool:
    """Return whether a verdict of this time is later than the reviewer's last one on the pair, or their first."""
    row = db.execute("SELECT at FROM judged JOIN events ON id = decision WHERE judged.pair = ? AND judged.who = ?", (key, who)).fetchone()
    return row is None or parse_time(when) > parse_time(row[0])


def decide(db: sqlite3.Connection, batch: int, pairs: Sequence[Pair], verdict: Choice | None, note: str | None, who: str, at: str) -> int:
    """Append one verdict on several pairs, each once; return the batch. The note None keeps the current note of each pair."""
    keyed = {pair_key(*pair): pair for pair in pairs}
    append(db, batch, [Row(*pair, key, verdict, at, who, _note(db, key) if note is None else note) for key, pair in keyed.items()])
    return batch


def _note(db: sqlite3.Connection, key: bytes) -> str:
    row = db.execute("SELECT note FROM current JOIN events ON id = current.decision WHERE current.pair = ?", (key,)).fetchone()
    return "" if row is None else as_text(row[0])


def append(db: sqlite3.Connection, batch: int, rows: Iterable[Row]) -> None:
    """Append decisions, and make those that count current; at most one of a pair counts."""
    first = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()[0])
    events = []
    for number, row in enumerate(rows, start=first):
        held = current(db, row.key)
        columns = (as_stored(row.query), as_stored(row.passage), row.key, held.verdict, row.verdict, held.source)
        events.append((number, batch, row.at, row.who, *columns, number if row.counts else None, as_stored(row.note)))
    db.executemany(
        "INSERT INTO events (id, batch, at, who, query, passage, pair, before, after, was, source, note) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        events,
    )
    counting = ((event[6], event[0]) for event in events if event[10] is not None)
    db.executemany("INSERT OR REPLACE INTO current (pair, decision) VALUES (?, ?)", counting)
    judged = ((event[6], event[3], event[0]) for event in events)
    db.executemany("INSERT OR REPLACE INTO judged (pair, who, decision) VALUES (?, ?, ?)", judged)


def revert(db: sqlite3.Connection, now: str, who: str, action: Literal["undo", "redo"], number: Number = (None, None)) -> Reverted | None:
    """Undo a reviewer's last decision, or redo their last undo; return None if there is none."""
    target = reversible(db, who, action, number[0])
    if target is None:
        return None
    batch = new(db, now, who, action, number, target)
    events = db.execute(
        f"SELECT query, passage, pair, who, source, (SELECT decision FROM current WHERE current.pair = events.pair) "
        f"FROM events WHERE batch = ? AND (source = id OR {HEARD}) ORDER BY id",
        (_decided(db, target),),
    ).fetchall()
    undone = cache(partial(is_undone, db))
    moved: list[tuple[str, str, bytes, int | None, int | None, Choice | None]] = []
    kept = 0
    for query, passage, key, name, source, was in events:
        own, _ = _last(db, undone, f"(source = id OR {HEARD}) AND pair = ? AND who = ?", key, name)
        if own is None:
            db.execute("DELETE FROM judged WHERE pair = ? AND who = ?", (key, name))
        else:
            db.execute("INSERT OR REPLACE INTO judged (pair, who, decision) VALUES (?, ?, ?)", (key, name, own))
        if source is None:
            continue
        last, after = _last(db, undone, "source = id AND pair = ?", key)
        if last == was:
            kept += 1
        else:
            moved.append((query, passage, key, was, last, after))
    db.executemany(
        "INSERT INTO events (batch, at, who, query, passage, pair, before, after, was, source) "
        "SELECT ?, ?, ?, ?, ?, ?, (SELECT after FROM events WHERE id = ?), ?, ?, ?",
        ((batch, now, who, query, passage, key, was, after, was, last) for query, passage, key, was, last, after in moved),
    )
    db.executemany("UPDATE current SET decision = ? WHERE pair = ?", ((last, key) for _, _, key, _, last, _ in moved))
    pairs = tuple((as_text(each[0]), as_text(each[1])) for each in moved)
    return Reverted(batch, pairs, tuple(each[5] for each in moved), kept)


def reversible(db: sqlite3.Connection, who: str, action: str, desk: str | None = None) -> int | None:
    """Return the batch that a reviewer's next undo or redo concerns, or None: one of the desk if it has any, else the last.

    An undo concerns the last decision or redo that is not undone; a redo the last undo that is not redone, if no decision followed.
    """
    found = None if desk is None else _reversible(db, action, "desk = ? AND who = ?", (desk, who))
    return _reversible(db, action, "who = ?", (who,)) if found is None else found


def _reversible(db: sqlite3.Connection, action: str, where: str, names: tuple[str, ...]) -> int | None:
    actions = "'do', 'import', 'redo'" if action == "undo" else "'undo'"
    row = db.execute(
        f"SELECT id FROM batches AS one WHERE {where} AND action IN ({actions}) "
        "AND NOT EXISTS (SELECT 1 FROM batches WHERE of = one.id) ORDER BY id DESC LIMIT 1",
        names,
    ).fetchone()
    if row is None:
        return None
    since = f"SELECT 1 FROM batches WHERE {where} AND id > ? AND action IN ('do', 'import') LIMIT 1"
    if action == "redo" and db.execute(since, (*names, row[0])).fetchone():
        return None
    return int(row[0])


def _decided(db: sqlite3.Connection, batch: int) -> int:
    """Return the original batch that a batch undoes or redoes; a decision returns itself."""
    while (of := db.execute("SELECT of FROM batches WHERE id = ?", (batch,)).fetchone()[0]) is not None:
        batch = int(of)
    return batch


def is_undone(db: sqlite3.Connection, batch: int) -> bool:
    """Return whether a batch is undone and not redone."""
    undone = False
    while (row := db.execute("SELECT id FROM batches WHERE of = ?", (batch,)).fetchone()) is not None:
        batch, undone = row[0], not undone
    return undone


def _last(db: sqlite3.Connection, undone: Callable[[int], bool], where: str, *values: bytes | str) -> tuple[int | None, Choice | None]:
    """Return the last event of a condition that is not undone, and its verdict; None and None without one."""
    rows = db.execute(f"SELECT id, after, batch FROM events WHERE {where} ORDER BY id DESC", values)
    return next(((number, after) for number, after, batch in rows if not undone(batch)), (None, None))


def as_stored(text: str) -> str | bytes:
    """Return a text in a form that SQLite stores: as bytes if it has lone surrogates, which JSON allows and UTF-8 does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def as_text(stored: str | bytes) -> str:
    """Return the text that `as_stored` stored."""
    try:
        return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")
    except (UnicodeDecodeError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"a stored text is not valid: {error}") from error
