"""The cache: what counts how much, what leaves first, and that a result is made once."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hnmine.core.cache import LEAST, Cache, size_of

MB = 2**20


def array(megabytes: float) -> np.ndarray[Any, Any]:
    return np.zeros(int(megabytes * MB), np.uint8)


@dataclass(slots=True)
class Slotted:
    first: Any
    second: Any = None


class Struct(msgspec.Struct):
    rows: list[Any]


class Plain:
    def __init__(self, held: object) -> None:
        self.held = held


class Index:
    nbytes = 7 * MB


def texts(count: int, length: int) -> list[str]:
    return [f"{n:0{length}d}" for n in range(count)]


def test_arrays_count_exactly_wherever_they_are() -> None:
    for value in (array(3), [array(1), array(2)], Slotted(array(3)), Struct([array(3)]), Plain({"a": (array(3),)}), array(3)[:10]):
        assert size_of(value) == pytest.approx(3 * MB, rel=0.01)
    twice = array(3)
    assert size_of([twice, twice[5:], Plain(twice)]) == pytest.approx(3 * MB, rel=0.01), "what is there twice counts once"
    assert size_of(Index()) == pytest.approx(7 * MB, rel=0.01)


def test_long_lists_are_estimated_from_a_sample() -> None:
    found = texts(100_000, 100)
    exact = sys.getsizeof(found) + sum(map(sys.getsizeof, found))
    assert size_of(found) == pytest.approx(exact, rel=0.01)
    assert size_of([Slotted(text, [text]) for text in found]) == pytest.approx(exact + 100_000 * (56 + 64), rel=0.2)
    assert size_of(dict(enumerate(found))) == pytest.approx(exact + 100_000 * 100, rel=0.5)
    line = b'{"a": "' + b"x" * 1000 + b'"}'
    fields = [msgspec.json.decode(line, type=dict[str, msgspec.Raw]) for _ in range(10_000)]
    assert size_of(fields) == pytest.approx(10_000 * 1400, rel=0.2)


def test_what_is_in_a_file_counts_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array(5))
    assert size_of(np.load(tmp_path / "a.npy", mmap_mode="r")) < MB
    assert size_of(np.load(tmp_path / "a.npy", mmap_mode="r")[5:]) < MB


def test_the_least_recently_used_leave_first_and_the_newest_stays() -> None:
    cache = Cache(10 * MB)
    for name in "abc":
        cache.get(name, lambda: array(3))
    cache.get("a", lambda: pytest.fail("it is there"))
    cache.get("d", lambda: array(3))
    assert (len(cache), cache.size <= cache.budget) == (3, True)
    cache.get("a", lambda: pytest.fail("used before d came"))
    made: list[str] = []
    cache.get("b", lambda: made.append("b"))
    assert made == ["b"]
    cache.get("huge", lambda: array(50))
    assert len(cache) == 1
    cache.get("huge", lambda: pytest.fail("the newest stays, or it would be made at each use"))
    cache.get("small", lambda: array(1))
    assert cache.size == pytest.approx(MB, rel=0.01)


def test_shared_parts_count_once_and_stay_as_long_as_one_has_them() -> None:
    cache = Cache(10 * MB + 10 * LEAST)
    shared = array(6)
    for n in range(5):
        cache.get(n, lambda: Slotted(shared, array(0.5)))
    assert cache.size == pytest.approx(8.5 * MB, rel=0.01)
    cache.get("more", lambda: array(3))
    assert len(cache) == 3
    assert cache.size == pytest.approx(10 * MB, rel=0.01)


def test_many_small_results_are_bounded_too() -> None:
    cache = Cache(100 * LEAST)
    for n in range(1000):
        cache.get(n, lambda: None)
    assert len(cache) == 100


def test_what_is_not_valid_is_made_again_and_errors_are_not_kept() -> None:
    cache, made = Cache(MB), iter(range(10))
    assert cache.get("a", lambda: next(made)) == cache.get("a", lambda: next(made)) == 0
    assert cache.get("a", lambda: next(made), lambda found: found > 0) == 1
    with pytest.raises(ZeroDivisionError):
        cache.get("b", lambda: 1 // 0)
    assert cache.get("b", lambda: 5) == 5
    assert len(cache) == 2


def test_threads_wait_for_a_result_that_is_being_made() -> None:
    cache, made, inside = Cache(MB), [], threading.Event()

    def make() -> int:
        made.append(threading.get_ident())
        inside.set()
        return cache.get("inner", lambda: 7)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("a", make))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(made), found) == (1, [7] * 8)
