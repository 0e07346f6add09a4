"""Garbage collection beside much that stays.

Streamlit collects garbage after each rerun. That visits every object of the process: with 10,529 rows and the modules 80 to 150 ms of each
click. What is kept is not visited.
"""

from __future__ import annotations

import gc

__all__ = ["collect", "keep"]

# Fewer objects take a few milliseconds.
MANY = 20_000


def collect() -> None:
    """Free what cannot be reached any longer, including what was kept."""
    gc.unfreeze()
    gc.collect()


def keep() -> None:
    """Leave the objects that have survived so far (modules, rows, caches) out of collections until the next `collect`, if they are MANY."""
    if len(gc.get_objects(generation=2)) > MANY:
        collect()
        gc.freeze()
