"""Leases: which pairs each desk (browser tab) holds, so that no other desk of this server gets them.

They are in memory. After a restart of the server each desk names the pairs that it still holds (`keep`). A pair is free again when its
desk is not alive, takes others, or has judged it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from hnmine.review.queue import Queue

__all__ = ["Leases"]

Pair = tuple[int, int]
Alive = Callable[[str], bool]


@dataclass(slots=True)
class Leases:
    """The pairs that the desks of one server hold; safe to use from many threads.

    `run` is a key of the run whose corpus numbers the pairs. `alive` returns whether a desk is connected; it must be quick.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _held: dict[str, dict[str, tuple[str, list[Pair]]]] = field(default_factory=dict)

    def take(
        self,
        run: str,
        desk: str,
        queue: Queue,
        who: str,
        n: int,
        overlap: int,
        alive: Alive,
        catch_up: Callable[[], object] = lambda: None,
    ) -> list[int]:
        """Return the indices of the next n pairs for a desk: those it holds and has not judged, then others in the order of the queue.

        Args:
            queue: the desk's own queue of the run. overlap: percentage of shared pairs (`Queue.open`).
            catch_up: updates the queue from the store. It is called while other desks wait: a pair that one of them has judged and
                released before is then known to be judged.
        """
        with self._lock:
            catch_up()
            desks = self._living(run, desk, alive)
            free = queue.open(who, overlap)
            others = _places(queue, [pair for name, (_, pairs) in desks.items() if name != desk for pair in pairs])
            free[others] = False
            held = _places(queue, desks[desk][1] if desk in desks else [])
            held = np.sort(held[free[held]])[:n]
            free[held] = False
            places = [*held.tolist(), *np.flatnonzero(free)[: n - len(held)].tolist()]
            desks[desk] = (who, [queue.pair(place) for place in places])
            return places

    def keep(self, run: str, desk: str, who: str, pairs: Iterable[Pair], alive: Alive) -> list[Pair]:
        """Lease the (query, passage) pairs that a returning desk still holds; return those that no other desk has taken since."""
        with self._lock:
            desks = self._living(run, desk, alive)
            taken = {pair for name, (_, theirs) in desks.items() if name != desk for pair in theirs}
            own = [pair for pair in pairs if pair not in taken]
            desks[desk] = (who, own)
            return own

    def release(self, desk: str) -> None:
        """Free all pairs of a desk."""
        with self._lock:
            for desks in self._held.values():
                desks.pop(desk, None)

    def names(self, run: str, desk: str, alive: Alive) -> list[str]:
        """Return the names of the reviewers at the other desks of a run, sorted."""
        with self._lock:
            return sorted({who for name, (who, _) in self._living(run, desk, alive).items() if name != desk})

    def _living(self, run: str, desk: str, alive: Alive) -> dict[str, tuple[str, list[Pair]]]:
        """Return the desks of a run, and forget those that are not alive."""
        found = {name: held for name, held in self._held.get(run, {}).items() if name == desk or alive(name)}
        self._held[run] = found
        return found


def _places(queue: Queue, pairs: list[Pair]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indices of those pairs that are in the queue."""
    table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    places = queue.places(table[:, 0], table[:, 1])
    return places[places >= 0]
