"""A cache bounded by the bytes of what it holds; what was least recently used leaves first.

Results differ by a factor of a million, so a number of entries bounds nothing. Bytes are counted when a result comes in: arrays exactly,
long lists from a sample of 256. What several results share counts once. What is mapped from a file is not counted: the system takes its
pages back when it needs them. The newest result always stays, however large.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

__all__ = ["Cache", "size_of"]

R = TypeVar("R")

SAMPLE = 256
# Smaller parts count for their result alone, also where another one has them too.
SHARED_BYTES = 2**14
# A result counts at least this, which bounds their number too.
LEAST = 2**12
_NOTHING = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, weakref.ref)


class Cache:
    """Results by key, for several threads. One that is being made is awaited, not made twice.

    Args:
        budget: bytes of all results.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.size = 0
        self._results: OrderedDict[Hashable, tuple[Any, int, dict[int, int]]] = OrderedDict()
        self._holders: dict[int, tuple[int, int]] = {}  # of each block its bytes and the number of results that have it
        self._making: weakref.WeakValueDictionary[Hashable, _Making] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: Hashable, make: Callable[[], R], valid: Callable[[R], bool] | None = None) -> R:
        """Return the result of a key; it is made where there is none, or it is not valid any longer. An error of `make` is not kept."""
        with self._lock:
            making = self._making.get(key)
            if making is None:
                making = self._making[key] = _Making()
        with making.lock:
            with self._lock:
                found = self._results.get(key)
                if found is not None:
                    self._results.move_to_end(key)
            if found is not None and (valid is None or valid(found[0])):
                return cast(R, found[0])
            result = make()
            own, shared = _sizes(result)
            with self._lock:
                self._remove(key)
                self._add(key, result, max(own, LEAST), shared)
                while self.size > self.budget and len(self._results) > 1:
                    self._remove(next(iter(self._results)))
            return result

    def _add(self, key: Hashable, result: Any, own: int, shared: dict[int, int]) -> None:
        self._results[key] = result, own, shared
        self.size += own
        for block, size in shared.items():
            size, holders = self._holders.get(block, (size, 0))
            self.size += 0 if holders else size
            self._holders[block] = size, holders + 1

    def _remove(self, key: Hashable) -> None:
        if key not in self._results:
            return
        _, own, shared = self._results.pop(key)
        self.size -= own
        for block in shared:
            size, holders = self._holders.pop(block)
            if holders > 1:
                self._holders[block] = size, holders - 1
            else:
                self.size -= size


class _Making:
    def __init__(self) -> None:
        self.lock = threading.RLock()


def size_of(value: object) -> int:
    """Return the estimated bytes that a value and all that it holds take in memory."""
    own, shared = _sizes(value)
    return own + sum(shared.values())


def _sizes(value: object) -> tuple[int, dict[int, int]]:
    """Return the bytes of a value's small parts together, and of each large one, by its id."""
    shared: dict[int, int] = {}
    return _walk(value, shared, set()), shared


def _walk(value: object, found: dict[int, int], seen: set[int]) -> int:
    """Add the shared parts of a value to `found`; return the bytes of the rest. What was seen counts nothing."""
    if value is None or isinstance(value, _NOTHING) or id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return _array(value, found, seen)
    if isinstance(value, msgspec.Raw):  # its own size is wrong where it is a view of a line
        return 64 + memoryview(value).nbytes
    size = sys.getsizeof(value, 0)
    if isinstance(value, str | bytes | bytearray | int | float | complex | np.generic):
        return size
    if isinstance(own := getattr(value, "nbytes", None), int):  # such as an index of FAISS
        return _part(value, own, found)
    if hasattr(value, "memory_usage"):  # of pandas
        return _part(value, int(np.sum(value.memory_usage(deep=True))), found)
    count, parts = _parts(value)
    stride = max(1, count // SAMPLE)
    if stride == 1:
        return _part(value, size + sum(_walk(each, found, seen) for each in parts), found)
    # The parts of a sample are not looked for elsewhere: there are too many of them.
    sample = sum(size_of(each) for each in islice(parts, 0, None, stride))
    return _part(value, size + sample * count // len(range(0, count, stride)), found)


def _part(value: object, size: int, found: dict[int, int]) -> int:
    if size < SHARED_BYTES:
        return size
    found[id(value)] = size
    return 0


def _array(array: np.ndarray[Any, Any], found: dict[int, int], seen: set[int]) -> int:
    while isinstance(array.base, np.ndarray):
        array = array.base
    if isinstance(array, np.memmap) or array.base is not None:  # of a file, or of another object's memory
        return 0 if isinstance(array, np.memmap) else _walk(array.base, found, seen)
    size = array.nbytes + 128
    if array.dtype == object:
        size += size_of(array.ravel().tolist())
    return _part(array, size, found)


def _parts(value: object) -> tuple[int, Iterator[object]]:
    """Return what a value holds, and how much."""
    if isinstance(value, Mapping):
        return len(value), iter(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return len(value), iter(value)
    names = getattr(value, "__struct_fields__", None) or [
        name for kind in type(value).__mro__ for name in _slots(kind) if not name.startswith("__")
    ]
    held = [getattr(value, name, None) for name in names]
    held += list(getattr(value, "__dict__", {}).values())
    return 0, iter(held)


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
