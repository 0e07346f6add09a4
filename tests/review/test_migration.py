"""Files of the older formats, as the code of their time wrote them: nothing is lost, undo and redo go on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hnmine.core.errors import WorkspaceError
from hnmine.review.store import Action, ReviewStore

OLD = Path(__file__).parent / "old"


def old_file(path: Path, version: int) -> Path:
    with sqlite3.connect(path) as db:
        db.executescript((OLD / f"reviews-{version}.sql").read_text("utf-8"))
    db.close()
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_keeps_its_verdicts_and_its_history(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path / "reviews.sqlite", version)
    store = ReviewStore(path)
    assert [(each.query, each.passage, each.verdict, each.who, each.note) for each in store.verdicts()] == [
        ("who", "b", "relevant", "Ann", ""),
        ("who", "a", "negative", "Bob", ""),
        ("what", "q\ud800", "positive", "Ann", ""),
        ("when", "e", "negative", "Cy", ""),
    ]
    assert {(each.passage, each.verdict, each.who) for each in store.by_reviewer()} == {
        ("a", "relevant", "Ann"),
        ("b", "relevant", "Ann"),
        ("a", "negative", "Bob"),
        ("q\ud800", "positive", "Ann"),
        ("e", "negative", "Cy"),
    }
    assert store.history("Ann") == (True, True)
    assert store.redo("Bob").verdicts == ("unsure" if version == 1 else "junk",)  # type: ignore[union-attr]
    assert store.redo("Ann").verdicts == ("unsure",)  # type: ignore[union-attr]
    assert [store.undo("Ann").pairs for _ in range(3)] == [  # type: ignore[union-attr]
        (("what", "d"),),
        (("what", "q\ud800"),),
        (("who", "b"),),  # Bob has decided on "a" since
    ]
    assert store.record("desk", [Action(1, "decide", (("who", "a"),), "junk", "a menu", "Ann")]) == 1
    assert store.verdict("who", "a").note == "a menu"  # type: ignore[union-attr]
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            db.execute("UPDATE events SET after = 'relevant'")
    store.close()
    assert len(ReviewStore(path).verdicts()) == 3  # opened again, it is not migrated again


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_has_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    def tables(path: Path) -> dict[str, list[tuple[str, ...]]]:
        ReviewStore(path).close()
        with sqlite3.connect(path) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index') ORDER BY name")]
            return {name: db.execute(f"SELECT name, type FROM pragma_table_info('{name}')").fetchall() for name in names}

    assert tables(old_file(tmp_path / "old.sqlite", version)) == tables(tmp_path / "new.sqlite")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_file(tmp_path / "reviews.sqlite", 1)
    with sqlite3.connect(path) as db:
        before = list(db.iterdump())
    with monkeypatch.context() as patch:
        patch.setattr("hnmine.review.event_log.INDEXES", ("CREATE INDEX nonsense ON nothing (at)",))
        with pytest.raises(WorkspaceError, match="cannot be used"):
            ReviewStore(path)
    with sqlite3.connect(path) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert len(ReviewStore(path).verdicts()) == 4
