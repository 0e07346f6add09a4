"""Garbage collection beside much that stays.

Streamlit collects garbage after each rerun. That visits every object of the process: with 10,529 rows and the modules 80 to 150 ms of each
click. What is kept is not visited. How much there is to visit is known from the time of the last full collection: `gc.get_objects` takes
hold of tuples that other threads are still building, which then fail with SystemError.
"""

from __future__ import annotations

import gc
import time

__all__ = ["collect", "keep"]

# Processor time of a full collection, above which what is there is kept: it visits some 50,000 objects.
LONG = 0.005

_began = _took = 0.0


def collect() -> None:
    """Free what cannot be reached any longer, including what was kept."""
    gc.unfreeze()
    gc.collect()


def keep() -> None:
    """Leave the objects that have survived so far (modules, rows, caches) out of collections until the next `collect`, if it is LONG."""
    global _took
    if _took > LONG:
        collect()
        gc.freeze()
        _took = 0.0


def _watch(phase: str, info: dict[str, int]) -> None:
    global _began, _took
    if info["generation"] < 2:
        return
    if phase == "start":
        _began = time.thread_time()
    else:
        _took = time.thread_time() - _began


gc.callbacks.append(_watch)
