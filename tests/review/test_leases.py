"""Desks beside each other: no pair twice outside the overlap, two reviewers for each pair in it, nothing kept by a desk that is gone."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from hnmine.data.verdicts import pairs_of
from hnmine.review import queue
from hnmine.review.leases import Leases
from hnmine.review.queue import STATES, Queue, QueueSettings
from hnmine.review.store import Action, ReviewStore
from tests.review.test_queue import House, large

HOUSE = House()


class Desk:
    """A desk of one reviewer: its queue, and what it has shown."""

    def __init__(self, store: ReviewStore, leases: Leases, name: str, who: str, overlap: int, **settings: object) -> None:
        self.store, self.leases, self.name, self.who, self.overlap = store, leases, name, who, overlap
        self.version, self.sent, self.alive = store.version(), 0, {name}
        pairs = queue.pairs_with_verdict(HOUSE.corpus, HOUSE.verdict_pairs, [])
        judged = queue.pairs_by_reviewer(HOUSE.corpus, store.by_reviewer())
        self.queue = queue.build(HOUSE.corpus, HOUSE.ranking, HOUSE.selection, QueueSettings(**settings), pairs, judged=judged)  # type: ignore[arg-type]

    def catch_up(self) -> None:
        changes = self.store.changes(self.version)
        if changes:
            self.version = changes[-1].id
            pairs = pairs_of(HOUSE.corpus, [each.query for each in changes], [each.passage for each in changes])
            states = np.array([STATES.index(each.verdict or "unreviewed") for each in changes], np.int8)
            self.queue.note(*pairs, states, [each.reviewers for each in changes])

    def take(self, n: int = 5) -> list[int]:
        return self.leases.take("run", self.name, self.queue, self.who, n, self.overlap, self.alive.__contains__, self.catch_up)

    def judge(self, places: list[int], verdict: str = "negative") -> None:
        pairs = [HOUSE.texts(self.queue.pair(place)) for place in places]
        actions = [Action(self.sent + turn, "decide", (pair,), verdict, who=self.who) for turn, pair in enumerate(pairs, start=1)]  # type: ignore[arg-type]
        self.sent = self.store.record(self.name, actions)


@pytest.mark.parametrize("overlap", [0, 10, 100])
@pytest.mark.parametrize("names", [["Ann", "Bob"], ["Ann", "Bob", "Cy"], ["Ann", "Ann", "Bob"]])
def test_desks_beside_each_other_judge_each_pair_once_and_shared_ones_twice(tmp_path: Path, overlap: int, names: list[str]) -> None:
    store, leases, chance = ReviewStore(tmp_path / "reviews.sqlite"), Leases(), random.Random(overlap)
    desks = [Desk(store, leases, str(number), who, overlap, order="random") for number, who in enumerate(names)]
    for desk in desks:
        desk.alive = {each.name for each in desks}
    idle = 0
    while idle < 30:
        desk = chance.choice(desks)
        places = desk.take(chance.randrange(1, 8))
        desk.judge(places[: chance.randrange(len(places) + 1)])
        idle = 0 if places else idle + 1
    judged: dict[tuple[str, str], list[str]] = {}
    for each in store.changes(0):
        judged.setdefault((each.query, each.passage), []).append(each.who)
    found = desks[0].queue
    assert len(judged) == len(found)
    for place in range(len(found)):
        who = judged[HOUSE.texts(found.pair(place))]
        assert len(who) == len(set(who)) == (2 if found.overlap[place] < overlap else 1)


def test_a_desk_keeps_what_it_holds_and_one_that_is_gone_does_not(tmp_path: Path) -> None:
    store, leases = ReviewStore(tmp_path / "reviews.sqlite"), Leases()
    ann, bob = Desk(store, leases, "a", "Ann", 0), Desk(store, leases, "b", "Bob", 0)
    ann.alive = bob.alive = {"a", "b"}
    assert ann.take(3) == [0, 1, 2]
    assert bob.take(3) == [3, 4, 5]
    ann.judge([1])
    assert ann.take(3) == [0, 2, 6]
    assert bob.take(3) == [3, 4, 5]
    assert leases.names("run", "a", ann.alive.__contains__) == ["Bob"]
    assert leases.names("another run", "a", ann.alive.__contains__) == []
    assert leases.take("another run", "c", bob.queue, "Cy", 1, 0, ann.alive.__contains__) == [0]
    bob.alive = {"b"}
    assert bob.take(5) == [3, 4, 5, 0, 2]  # not the one that Ann judged
    assert leases.keep("run", "a", "Ann", [ann.queue.pair(place) for place in (0, 2, 6)], ann.alive.__contains__) == [ann.queue.pair(6)]
    assert ann.take(2) == [6, 7]
    leases.release("b")
    assert ann.take(4) == [6, 7, 0, 2]


def test_after_a_restart_a_desk_names_what_it_holds_before_others_take_it(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews.sqlite")
    ann, bob = Desk(store, Leases(), "a", "Ann", 0), Desk(store, Leases(), "b", "Bob", 0)
    held = [ann.queue.pair(place) for place in ann.take(3)]
    ann.leases = bob.leases = Leases()
    ann.alive = bob.alive = {"a", "b"}
    assert ann.leases.keep("run", "a", "Ann", held, ann.alive.__contains__) == held
    assert bob.take(2) == [3, 4]
    assert ann.take(3) == [0, 1, 2]


def test_a_queue_of_the_disagreements_shows_them_all_to_anybody_until_they_are_judged_again(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews.sqlite")
    plain = Desk(store, Leases(), "a", "Ann", 0)
    pairs = plain.queue.queries[:3], plain.queue.passages[:3]
    with_verdict = (*pairs, np.full(3, STATES.index("negative"), np.int8))
    settings = QueueSettings(source="disagreements")
    found = queue.build(HOUSE.corpus, HOUSE.ranking, HOUSE.selection, settings, with_verdict, sample=pairs, judged={"Ann": pairs})
    assert found.open("Ann", 100).tolist() == [True] * 3
    found.note(found.queries[:1], found.passages[:1], np.array([2], np.int8), [("Ann",)])
    assert found.open("Ann", 100).tolist() == [False, True, True]
    none = queue.build(HOUSE.corpus, HOUSE.ranking, HOUSE.selection, settings, with_verdict, sample=(pairs[0][:0], pairs[1][:0]))
    assert len(none) == 0


def test_a_pair_is_shared_by_its_texts_alone_and_in_the_given_proportion() -> None:
    corpus, ranking, selection = large(4_000)
    none = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8))

    def shared(order: str) -> Queue:
        return queue.build(corpus, ranking, selection, QueueSettings(order=order), none)  # type: ignore[arg-type]

    one, other = shared("random"), shared("hubs")
    np.testing.assert_array_equal(one.overlap, other.overlap[other.places(one.queries, one.passages)])
    assert 0.09 < (one.overlap < 10).mean() < 0.11
    assert one.overlap.max() == 99


def test_a_desk_of_a_large_run_waits_for_nothing() -> None:
    corpus, ranking, selection = large(10_550)
    none = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8))
    found = queue.build(corpus, ranking, selection, QueueSettings(order="query"), none)
    assert len(found) > 158_000
    done = np.arange(100_000)
    for name, own in (("Ann", done[::2]), ("Bob", done[1::2])):
        names = [(name,)] * len(own)
        found.note(found.queries[own], found.passages[own], np.ones(len(own), np.int8), names)
    leases = Leases()
    times = []
    for turn in range(40):
        start = time.perf_counter()
        places = leases.take("run", f"desk {turn % 4}", found, f"name {turn % 4}", 50, 10, lambda _: True)
        times.append(time.perf_counter() - start)
        assert len(places) == 50
    assert sorted(times)[20] < 0.02  # 1 ms on a quiet machine
