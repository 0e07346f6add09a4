"""Objects that stay are left out of collections, and cycles among them are still freed by `collect`."""

import gc
import weakref

import pytest

from hnmine.core import garbage


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_kept_is_not_visited_and_can_be_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "MANY", 0)
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
    monkeypatch.setattr(garbage, "MANY", 10**9)
    garbage.keep()
    assert gc.get_freeze_count() == 0
