"""A file of verdicts that SQLite finds whole is checked against itself; what the store writes is never a fault."""

from __future__ import annotations

import datetime
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hnmine.data.verdicts import Verdict
from hnmine.review.log_check import faults
from hnmine.review.store import Action, ReviewStore
from tests.review.test_migration import old_file

WHO = ("Ann", "Bob", "Cy")
TIMES = ("", "2020-01-01", "yesterday", "2030-01-01T00:00:00+00:00")


def found(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(faults(db))


@pytest.mark.parametrize("seed", range(4))
def test_what_the_store_writes_has_no_fault(tmp_path: Path, seed: int) -> None:
    chance, path, last = random.Random(seed), tmp_path / "reviews.sqlite", 0
    store = ReviewStore(path)
    browsers = [TIMES[1], (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)).isoformat()]
    for _ in range(50):
        who, verdict = chance.choice(WHO), chance.choice(["negative", "junk", None])
        pairs = tuple((chance.choice("ab"), chance.choice("xyz\ud800")) for _ in range(chance.choice([1, 3])))
        match chance.randrange(6):
            case 0 | 1:
                store.decide(pairs, verdict, who, chance.choice([None, "a note"]))
            case 2:
                store.undo(who)
            case 3:
                store.redo(who)
            case 4:
                named = [
                    Verdict(query=q, passage=p, verdict="junk", who=chance.choice(("", *WHO)), when=chance.choice(TIMES)) for q, p in pairs
                ]
                store.add(named, who)
            case 5:
                last += 1
                store.record(
                    "desk", [Action(last, chance.choice(["decide", "undo", "redo"]), pairs, verdict, "", who, chance.choice(browsers))]
                )
    assert found(path) == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_converted_file_has_no_fault(tmp_path: Path, version: int) -> None:
    ReviewStore(old_file(tmp_path / "reviews.sqlite", version)).close()
    assert found(tmp_path / "reviews.sqlite") == []


DAMAGES = {
    "a letter of a passage": ("UPDATE events SET passage = 'b' WHERE id = 1", "event 1 has a text that was changed"),
    "a letter of a query": ("UPDATE events SET query = 'who?' WHERE id = 2", "event 2 has a text that was changed"),
    "a text of bytes": ("UPDATE events SET query = x'ff' WHERE id = 2", None),
    "a digit of a time": ("UPDATE events SET at = replace(at, '-', '.') WHERE id = 1", "event 1 has the time"),
    "the time of a desk": ("UPDATE events SET at = '1' || substr(at, 2) WHERE id = 3", "event 3 has the time"),
    "the time of a batch": ("UPDATE batches SET at = 'x' WHERE id = 5", "batch 5 has the time 'x'"),
    "a name": ("UPDATE events SET who = 'Anm' WHERE id = 1", "event 1 has the time"),
    "a verdict": ("UPDATE events SET after = 'junj' WHERE id = 1", "event 1 has the verdict 'junj'"),
    "another verdict": ("UPDATE events SET after = 'negative' WHERE id = 1", "event 2 has the verdict before it 'junk'"),
    "a removed verdict": ("UPDATE events SET before = NULL WHERE id = 2", "event 2 has the verdict before it None"),
    "a decision": ("UPDATE events SET source = 99 WHERE id = 4", "event 4 has the decision 99"),
    "an earlier event": ("UPDATE events SET was = 3 WHERE id = 2", "event 2 follows event 3"),
    "a batch of nothing": ("UPDATE events SET batch = 99 WHERE id = 1", "event 1 is of batch 99"),
    "an undo of nothing": ("UPDATE batches SET of = NULL WHERE action = 'undo'", "(undo) is of batch None"),
    "an event is gone": ("DELETE FROM events WHERE id = 3", "event 3 is missing"),
    "the last event is gone": ("DELETE FROM events WHERE id = 5", "event 5 is missing"),
    "current is empty": ("DELETE FROM current", "the table current differs from the events in 2 places"),
    "judged is empty": ("DELETE FROM judged", "the table judged differs from the events in 4 places"),
    "another current decision": ("UPDATE current SET decision = 1", "the table current differs"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_changed_record_is_a_fault(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "reviews.sqlite"
    store = ReviewStore(path)
    store.decide([("who", "a")], "junk", "Ann")
    store.decide([("who", "a")], "relevant", "Bob")
    store.record("desk", [Action(1, "decide", (("who", "c"),), "junk", "", "Cy"), Action(2, "undo", who="Cy"), Action(3, "redo", who="Cy")])
    store.add([Verdict(query="who", passage="a", verdict="junk", who="Dee", when="2020-01-01")], "Ann")
    store.close()
    assert found(path) == []
    statement, wanted = DAMAGES[damage]
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER events_stay")
        db.execute("DROP TRIGGER events_keep")
        db.execute(statement)
        db.commit()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if wanted is None:
            with pytest.raises(sqlite3.DatabaseError, match="a stored text is not valid"):
                list(faults(db))
            return
    assert any(wanted in each for each in found(path)), found(path)
