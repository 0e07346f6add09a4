"""Presses of Undo and Redo: each is carried out once, however often a message tells of it and however many come in one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.core.errors import WorkspaceError
from hnmine.review.store import Reverted
from pages.review import presses
from pages.review import session as review_session
from pages.review.presses import LAST, Presses

NAMES = st.sampled_from(["undo", "redo"])


def told(desk: str, made: list[str]) -> dict[str, Any]:
    """What the page tells after these presses."""
    return {"desk": desk, "count": len(made), "last": made[-LAST:]}


@given(made=st.lists(NAMES, max_size=40), when=st.lists(st.integers(0, 40), max_size=40))
def test_every_press_is_carried_out_once_and_in_order(made: list[str], when: list[int]) -> None:
    """Messages come in order, some twice, and some never because a later one took their place."""
    counted = Presses()
    carried_out: list[str] = []
    for count in sorted(min(each, len(made)) for each in [*when, len(made)]):
        carried_out += counted.owed(told(counted.desk, made[:count])) or []
    assert carried_out == made


def test_more_presses_than_are_told_by_name_leave_no_debt() -> None:
    counted = Presses()
    made = ["undo", "redo"] * LAST
    assert counted.owed(told(counted.desk, made)) == made[-LAST:]
    assert counted.owed(told(counted.desk, made)) == []
    assert counted.owed(told(counted.desk, [*made, "undo"])) == ["undo"]


def test_what_was_counted_for_a_server_that_has_gone_is_not_carried_out_by_the_next() -> None:
    before, now = Presses(), Presses()
    assert now.owed(told(before.desk, ["undo"] * 5)) is None
    assert now.done == 0


def test_what_no_page_tells_is_no_count() -> None:
    counted = Presses()
    whole = told(counted.desk, ["undo"])
    for wrong in (None, "undo", [], {}, whole | {"desk": None}, whole | {"count": "1"}, whole | {"count": None}, whole | {"last": "undo"}):
        assert counted.owed(wrong) is None
    assert counted.owed(whole | {"count": -3}) == []
    assert counted.owed(whole | {"count": 2, "last": [{"undo": 1}, "undo"]}) == ["undo"]


class Session:
    """A session of the screen whose store only writes down what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int = 100) -> None:
        self.asked: list[str] = []
        self.left = left
        self.broken = False
        self.desk = SimpleNamespace(message="", error="", catch_up=list)
        self.state: dict[str, Any] = {review_session.KEY: self.desk, "review-who": "Ann"}
        monkeypatch.setattr(review_session.st, "session_state", self.state)
        monkeypatch.setattr(review_session.resources, "reviews", lambda: SimpleNamespace(undo=self.undo, redo=self.undo))

    def undo(self, who: str) -> Reverted | None:
        if self.broken:
            raise WorkspaceError("the verdicts cannot be written: the disk is full")
        if self.left == len(self.asked):
            return None
        self.asked.append(who)
        return Reverted(1, (), (), 0)

    def message(self, *made: str) -> None:
        """A message from the page, which tells these presses by its count."""
        self.state[presses.KEY] = {"pressed": told(presses._presses().desk, list(made))}


def test_a_press_that_two_messages_tell_is_carried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick of the poll took the press along, and then came its own message."""
    session = Session(monkeypatch)
    session.message("undo")
    review_session.undo()  # the button's and the counter's callback, of the first message
    review_session.pressed()
    review_session.undo()  # and of the second
    assert session.asked == ["Ann"]
    session.message("undo", "undo", "undo", "undo")  # of three quick ones only the last message came through
    review_session.undo()
    assert len(session.asked) == 4
    assert session.desk.message == "Undone. (3 times)"
    session.message("undo", "undo", "undo", "undo", "redo", "undo")  # a key of the two without its button's message
    review_session.pressed()
    assert len(session.asked) == 6
    assert session.desk.message == "Redone. Undone."


def test_without_a_counter_each_message_is_a_press(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    review_session.undo()
    review_session.redo()
    review_session.pressed()
    assert len(session.asked) == 2


def test_what_cannot_be_undone_is_told_and_not_tried_again_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch, left=2)
    session.message("undo", "undo", "undo")
    review_session.undo()
    assert session.desk.message == "Undone. (2 times)"
    session.message(*["undo"] * 4)
    review_session.undo()
    assert session.desk.message == "Nothing to undo."
    session.broken = True
    session.message(*["undo"] * 6)
    review_session.undo()
    assert "the disk is full" in session.desk.error
    session.broken, session.left = False, 100
    review_session.undo()
    assert len(session.asked) == 2
    session.message(*["undo"] * 7)
    review_session.undo()
    assert len(session.asked) == 3
    assert session.desk.error == ""
