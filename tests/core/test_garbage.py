"""Objects that stay are left out of collections, and cycles among them are still freed by `collect`."""

import gc
import threading
import weakref

import pytest

from hnmine.core import garbage


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_kept_is_not_visited_and_can_be_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LONG", -1)
    try:
        cycle = Cycle()
        seen = weakref.ref(cycle)
        gc.collect()
        garbage.keep()
        del cycle
        gc.collect()
        assert gc.get_freeze_count() > 0
        assert seen() is not None
        garbage.collect()
        assert seen() is None
        assert gc.get_freeze_count() == 0
    finally:
        gc.unfreeze()


def test_few_objects_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.unfreeze()
    monkeypatch.setattr(garbage, "LONG", 10**9)
    garbage.keep()
    assert gc.get_freeze_count() == 0


def test_collections_of_many_objects_are_long_and_what_is_kept_shortens_them() -> None:
    many = [[each] for each in range(1_000_000)]
    try:
        gc.collect()
        assert garbage._took > garbage.LONG
        garbage.keep()
        assert gc.get_freeze_count() >= len(many)
        gc.collect()
        assert garbage._took < garbage.LONG
    finally:
        gc.unfreeze()


def test_other_threads_build_tuples_meanwhile() -> None:
    faults: list[Exception] = []
    ended = threading.Event()

    def build() -> None:
        while not ended.is_set() and not faults:
            try:
                tuple(str(each) for each in range(20))
            except SystemError as error:
                faults.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for each in threads:
        each.start()
    try:
        for _ in range(20):
            garbage._took = 1.0
            garbage.keep()
    finally:
        ended.set()
        for each in threads:
            each.join()
        gc.unfreeze()
    assert faults == []
