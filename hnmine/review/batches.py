"""The batches of the event log: decisions, imports, undo and redo, each in the transaction of its caller.

A batch is undone if an undo names it (`of`), and an undo is redone if a redo names it; a redo can be undone again, so each batch is named
at most once. An event holds the verdict of a pair before and after it, and the decisions current before (`was`) and after it (`source`,
its own id for a decision). The table `current` has the current decision on each pair, and `judged` that of each reviewer. Nothing asks
the file pair by pair: a batch of 100,000 pairs would be 300,000 statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple

from hnmine.data.verdicts import Choice, pair_keys

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
    "is_undone",
    "judged",
    "new",
    "recorded",
    "reversible",
    "revert",
    "reviewers",
]

Pair = tuple[str, str]
# The desk and the number of its action (`store.Action`), or twice None.
Number = tuple[str | None, int | None]

# Pairs named in one statement.
_AT_ONCE = 1_000

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
    """The current decision on a pair: its event, verdict, time and note; None, None and "" without one."""

    source: int | None = None
    verdict: Choice | None = None
    at: str = ""
    note: str | bytes = ""


def new(db: sqlite3.Connection, at: str, who: str, action: str, number: Number = (None, None), of: int | None = None) -> int:
    """Add a batch; return its id."""
    columns = (at, who, action, of, *number)
    batch = db.execute("INSERT INTO batches (at, who, action, of, desk, seq) VALUES (?, ?, ?, ?, ?, ?)", columns).lastrowid
    assert batch is not None  # set by the INSERT
    return batch


def recorded(db: sqlite3.Connection, desk: str) -> int:
    """Return the number of the last recorded action of a desk, 0 before the first."""
    return int(db.execute("SELECT max(seq) FROM batches WHERE desk = ?", (desk,)).fetchone()[0] or 0)


def current(db: sqlite3.Connection, keys: Collection[bytes]) -> dict[bytes, Current]:
    """Return the current decision on each pair that has one."""
    ask = "SELECT current.pair, decision, after, at, note FROM current JOIN events ON id = decision WHERE current.pair IN (?)"
    return {key: Current(*columns) for key, *columns in _of_pairs(db, ask, keys)}


def judged(db: sqlite3.Connection, keys: Collection[bytes]) -> dict[tuple[bytes, str], str]:
    """Return the time of the last verdict of each reviewer on pairs."""
    ask = "SELECT judged.pair, judged.who, at FROM judged JOIN events ON id = decision WHERE judged.pair IN (?)"
    return {(key, who): at for key, who, at in _of_pairs(db, ask, keys)}


def reviewers(db: sqlite3.Connection, keys: Collection[bytes]) -> dict[bytes, tuple[str, ...]]:
    """Return the names of all who have a verdict on pairs, sorted."""
    found: dict[bytes, tuple[str, ...]] = {}
    ask = (
        "SELECT judged.pair, judged.who FROM judged JOIN events ON id = decision WHERE after IS NOT NULL AND judged.pair IN (?) "
        "ORDER BY 1, 2"
    )
    for key, who in _of_pairs(db, ask, keys):
        found[key] = (*found.get(key, ()), who)
    return found


def _of_pairs(db: sqlite3.Connection, ask: str, keys: Collection[bytes]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a question about pairs, whose keys take the place of its one "?"."""
    ordered = sorted(keys)  # neighbours in the file
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        yield from db.execute(ask.replace("?", ",".join("?" * len(some))), some)


def decide(db: sqlite3.Connection, batch: int, pairs: Sequence[Pair], verdict: Choice | None, note: str | None, who: str, at: str) -> int:
    """Append one verdict on several pairs, each once; return the batch. The note None keeps the current note of each pair."""
    keyed = dict(zip(pair_keys(pairs), pairs, strict=True))
    held = current(db, keyed)
    notes = {key: as_text(each.note) for key, each in held.items()} if note is None else {}
    append(db, batch, [Row(*pair, key, verdict, at, who, notes.get(key, note or "")) for key, pair in keyed.items()], held)
    return batch


def append(db: sqlite3.Connection, batch: int, rows: Iterable[Row], held: Mapping[bytes, Current]) -> None:
    """Append decisions, and make those that count current; at most one of a pair counts. `held` has the `current` ones."""
    first = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()[0])
    events = []
    for number, row in enumerate(rows, start=first):
        before = held.get(row.key, Current())
        columns = (as_stored(row.query), as_stored(row.passage), row.key, before.verdict, row.verdict, before.source)
        events.append((number, batch, row.at, row.who, *columns, number if row.counts else None, as_stored(row.note)))
    db.executemany(
        "INSERT INTO events (id, batch, at, who, query, passage, pair, before, after, was, source, note) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        events,
    )
    events.sort(key=lambda event: event[6])  # neighbours in the file, which is three times as fast
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
    ask = f"SELECT query, passage, pair, who, source FROM events WHERE batch = ? AND (source = id OR {HEARD}) ORDER BY id"
    events = db.execute(ask, (_decided(db, target),)).fetchall()
    keys = {event[2] for event in events}
    held, last, own = current(db, keys), dict[bytes, tuple[int, Choice | None]](), dict[tuple[bytes, str], int]()
    undone = cache(partial(is_undone, db))
    ask = f"SELECT pair, who, id, batch, source, after FROM events WHERE pair IN (?) AND (source = id OR {HEARD})"
    for key, name, event, of, source, after in _of_pairs(db, ask, keys):
        if not undone(of):
            own[key, name] = max(event, own.get((key, name), 0))
            if source is not None and event > last.get(key, (0, None))[0]:
                last[key] = event, after
    touched = sorted({(event[2], event[3]) for event in events})
    db.executemany("DELETE FROM judged WHERE pair = ? AND who = ?", (each for each in touched if each not in own))
    kept = ((*each, own[each]) for each in touched if each in own)
    db.executemany("INSERT OR REPLACE INTO judged (pair, who, decision) VALUES (?, ?, ?)", kept)
    moved, skipped = [], 0
    for query, passage, key, _, source in events:
        if source is None:
            continue
        was, now_is = held.get(key, Current()), last.get(key, (None, None))
        if now_is[0] == was.source:
            skipped += 1
        else:
            moved.append((query, passage, key, was, *now_is))
    db.executemany(
        "INSERT INTO events (batch, at, who, query, passage, pair, before, after, was, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((batch, now, who, query, passage, key, was.verdict, after, was.source, event) for query, passage, key, was, event, after in moved),
    )
    db.executemany(
        "UPDATE current SET decision = ? WHERE pair = ?", ((each[4], each[2]) for each in sorted(moved, key=lambda each: each[2]))
    )
    pairs = tuple((as_text(each[0]), as_text(each[1])) for each in moved)
    return Reverted(batch, pairs, tuple(each[5] for each in moved), skipped)


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
