"""Actions of desks: recorded once and in order, however often and in whatever pieces they arrive; several reviewers, notes."""

from __future__ import annotations

import datetime
import random
import threading
from pathlib import Path

import pytest

from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import Verdict, read_verdicts, verdict_lines
from hnmine.review.store import Action, ReviewStore


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite")


def decide(seq: int, passage: str, verdict: str | None = "relevant", who: str = "Ann", **more: str) -> Action:
    return Action(seq, "decide", (("q", passage),), verdict, who=who, **more)  # type: ignore[arg-type]


def verdicts(store: ReviewStore) -> dict[str, tuple[str, str]]:
    return {each.passage: (each.verdict, each.who) for each in store.verdicts()}


def of_reviewers(store: ReviewStore) -> set[tuple[str, str, str]]:
    return {(each.passage, each.who, each.verdict) for each in store.by_reviewer()}


def test_actions_that_arrive_twice_out_of_order_and_in_pieces_are_recorded_once(store: ReviewStore) -> None:
    actions = [decide(number + 1, f"p{number}") for number in range(40)]
    actions += [Action(41, "undo", who="Ann"), Action(42, "undo", who="Ann"), Action(43, "redo", who="Ann"), decide(44, "last", "junk")]
    chance = random.Random(7)
    while (done := store.recorded("desk")) < 44:
        end = min(44, done + chance.randrange(1, 6))
        piece = actions[chance.randrange(0, done + 1) : end]
        chance.shuffle(piece)
        assert store.record("desk", piece + piece[:2]) == end
        store = ReviewStore(store.path)  # a restart
    assert store.record("desk", actions) == 44
    assert verdicts(store) == {**{f"p{number}": ("relevant", "Ann") for number in range(39)}, "last": ("junk", "Ann")}
    assert len(store.changes(0)) == 44
    assert store.record("other", [decide(1, "theirs", "negative", "Bob")]) == 1  # each desk counts for itself
    assert (store.recorded("desk"), store.recorded("other"), store.recorded("none")) == (44, 1, 0)


def test_a_missing_number_is_named_and_nothing_is_written(store: ReviewStore) -> None:
    store.record("desk", [decide(1, "a")])
    with pytest.raises(SettingsError, match=r"action 3 of the desk desk is missing: the last recorded one is 2, the next one given is 4"):
        store.record("desk", [decide(2, "b"), decide(4, "d")])
    assert store.recorded("desk") == 1
    assert set(verdicts(store)) == {"a"}
    with pytest.raises(SettingsError, match="action 1 of the desk new is missing"):
        store.record("new", [decide(7, "x")])
    with pytest.raises(SettingsError, match="verdict is 'maybe'"):
        store.record("desk", [decide(2, "b"), decide(3, "c", "maybe")])
    with pytest.raises(SettingsError, match="action is 'drop'; it must be one of decide, undo, redo"):
        store.record("desk", [Action(2, "drop", who="Ann")])  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="name of the desk is empty"):
        store.record("", [decide(1, "a")])
    assert store.recorded("desk") == 1
    assert store.record("desk", []) == 1


def test_an_undo_that_finds_nothing_counts_as_recorded_and_is_no_step(store: ReviewStore) -> None:
    assert (
        store.record("desk", [Action(1, "undo", who="Ann"), Action(2, "redo", who="Ann"), Action(3, "decide", (), "junk", who="Ann")]) == 3
    )
    assert store.history("Ann") == (False, False)
    assert store.record("desk", [decide(4, "a"), Action(5, "undo", who="Ann"), Action(6, "undo", who="Ann")]) == 6
    assert verdicts(store) == {}
    assert store.record("desk", [Action(7, "redo", who="Ann"), Action(8, "redo", who="Ann")]) == 8
    assert verdicts(store) == {"a": ("relevant", "Ann")}


def test_two_desks_of_one_name_do_not_undo_each_other_until_they_have_nothing_of_their_own(store: ReviewStore) -> None:
    store.decide([("q", "before")], "relevant", "Ann")
    store.record("left", [decide(1, "left")])
    store.record("right", [decide(1, "right")])
    store.record("left", [Action(2, "undo", who="Ann")])
    assert set(verdicts(store)) == {"before", "right"}
    store.record("left", [Action(3, "redo", who="Ann"), Action(4, "undo", who="Ann"), Action(5, "undo", who="Ann")])
    assert set(verdicts(store)) == {"before"}  # the reviewer's last one, of the other desk
    store.record("right", [Action(2, "undo", who="Ann")])
    assert verdicts(store) == {}
    assert store.history("Ann", "right") == (False, True)
    store.record("right", [Action(3, "redo", who="Ann")])
    assert set(verdicts(store)) == {"before"}
    store.record("right", [Action(4, "undo", who="Bob")])  # of another name
    assert set(verdicts(store)) == {"before"}


def test_the_time_of_the_browser_counts_if_it_can_be_right(store: ReviewStore) -> None:
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    given = [now - hour, now + hour, now - 24 * 30 * hour, (now - hour).astimezone(zone)]
    times = [each.isoformat() for each in given] + ["", "noon", now.replace(tzinfo=None).isoformat()]
    store.record("desk", [decide(number + 1, str(number), at=at) for number, at in enumerate(times)])
    stored = [datetime.datetime.fromisoformat(each.when) for each in store.verdicts()]
    ages = [round((now - each) / hour, 1) for each in stored]
    assert ages == [1, 0, 0, 1, 0, 0, 0]
    assert all(each.when.endswith("+00:00") for each in store.verdicts())


def test_many_threads_that_send_the_same_actions_record_each_once(store: ReviewStore) -> None:
    actions = [decide(number + 1, f"p{number}") for number in range(60)]

    def send() -> None:
        for end in range(5, 61, 5):
            store.record("desk", actions[:end])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.recorded("desk") == 60
    assert [each.passage for each in store.changes(0)] == [f"p{number}" for number in range(60)]


def test_a_note_stays_with_its_verdict_and_travels(store: ReviewStore, tmp_path: Path) -> None:
    store.record("desk", [decide(1, "a", note="see §2 \ud800")])
    store.decide([("q", "b")], "junk", "Bob", note="a menu")
    store.decide([("q", "a")], "negative", "Bob")
    assert [(each.passage, each.note) for each in store.verdicts()] == [("b", "a menu"), ("a", "")]
    store.undo("Bob")
    assert store.verdict("q", "a").note == "see §2 \ud800"  # type: ignore[union-attr]
    assert [each.verdict.note for each in store.recent(5)] == ["a menu", "see §2 \ud800"]
    store.decide([("q", "a"), ("q", "b")], "unsure", "Cy", note=None)
    assert [(each.passage, each.verdict, each.note) for each in store.verdicts()] == [
        ("a", "unsure", "see §2 \ud800"),
        ("b", "unsure", "a menu"),
    ]
    file = tmp_path / "verdicts.jsonl"
    file.write_bytes(b"".join(verdict_lines(store.by_reviewer())))
    other = ReviewStore(tmp_path / "other.sqlite")
    other.add(read_verdicts(file), "Cy")
    assert other.verdicts() == store.verdicts()


def test_each_reviewer_has_a_last_verdict_and_the_last_of_all_counts(store: ReviewStore) -> None:
    store.decide([("q", "a")], "negative", "Ann")
    store.decide([("q", "a")], "relevant", "Ann")
    seen = store.version()
    store.decide([("Q ", "A")], "junk", "Bob")
    assert of_reviewers(store) == {("a", "Ann", "relevant"), ("A", "Bob", "junk")}
    assert verdicts(store) == {"A": ("junk", "Bob")}
    assert [each.reviewers for each in store.changes(seen)] == [("Ann", "Bob")]
    store.undo("Ann")  # not the current one, but Ann's
    assert of_reviewers(store) == {("a", "Ann", "negative"), ("A", "Bob", "junk")}
    store.decide([("q", "a")], None, "Bob")
    assert of_reviewers(store) == {("a", "Ann", "negative")}
    assert store.changes(0)[-1].reviewers == ("Ann",)
    store.undo("Bob")
    store.undo("Bob")
    store.undo("Ann")
    assert of_reviewers(store) == set()
    store.redo("Ann")
    store.redo("Bob")
    assert of_reviewers(store) == {("a", "Ann", "negative"), ("A", "Bob", "junk")}


def test_files_of_several_reviewers_keep_the_verdict_of_each_in_any_order(tmp_path: Path) -> None:
    ann = [Verdict(query="q", passage=each, verdict="negative", when="2026-05-02T00:00:00Z", who="Ann") for each in "ab"]
    bob = [
        Verdict(query="q", passage="a", verdict="relevant", when="2026-05-01T00:00:00Z", who="Bob", note="my reason"),
        Verdict(query="q", passage="b", verdict="negative", when="2026-05-01T00:00:00Z", who="Bob"),
    ]
    for name, files in {"one": [ann, bob], "two": [bob, ann], "both": [ann + bob]}.items():
        store = ReviewStore(tmp_path / name)
        for file in files:
            store.add(file, "Cy")
        assert of_reviewers(store) == {
            ("a", "Ann", "negative"),
            ("b", "Ann", "negative"),
            ("a", "Bob", "relevant"),
            ("b", "Bob", "negative"),
        }
        assert verdicts(store) == {"a": ("negative", "Ann"), "b": ("negative", "Ann")}, name
        assert {each.passage: each.verdict for each in store.changes(0)} == {"a": "negative", "b": "negative"}
        assert store.add(ann + bob, "Cy").batch == 0
        for _ in files:
            store.undo("Cy")
        assert (store.verdicts(), store.by_reviewer()) == ([], [])
        for _ in files:
            store.redo("Cy")
        assert len(store.by_reviewer()) == 4
