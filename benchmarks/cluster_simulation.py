"""A simulated cluster: what 1, 8 and 64 workers lose to stragglers, failures and the driver, against perfect division of the work.

The scheduler is that of `--cluster`: the driver sends shards of texts, then blocks of passages with blocks of queries, to workers with
IN_FLIGHT tasks each, and adds each result itself. Workers and tasks differ in speed (log-normal); a worker that fails loses its task and
returns after a restart. Nothing here was measured on several machines. The rates of one worker are measured (benchmarks/RESULTS.md), those
of failures and restarts are assumptions: change them in the tables below.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.measure import arguments, report


@dataclass(frozen=True)
class Rates:
    """One worker: tokens encoded and pairs (query, passage) searched in a second."""

    name: str
    tokens: float
    pairs: float


# Measured, of RESULTS.md: `encode` in fp32 and `search` (a mapped file), half of two cores each; GPU, 1,000,000 passages in fp16.
WORKERS = (
    Rates("a CPU core", 5_915 / 2, 1_000 * 1_000_000 / 3.70 / 2),
    Rates("an H200", 1_000_000 * 185 / 87.6, 10_000 * 1_000_000 / 1.17),
)
# Of the texts, the model (MiniLM) and the run.
PASSAGE_TOKENS, QUERY_TOKENS, DIMENSION, DEPTH = 185, 12, 384, 210
# Of the scheduler: texts of a shard, the least number of shards, queries of a block, tasks of a worker under way.
SHARD, LEAST_SHARDS, QUERY_BLOCK, IN_FLIGHT = 8_192, 32, 8_192, 2


@dataclass(frozen=True)
class Faults:
    """What differs from perfect division.

    Attributes:
        worker_spread, task_spread: standard deviation of the logarithm of speed (assumed).
        failures: of a worker in an hour (assumed). restart: seconds until it works again, with the model loaded (assumed).
        start: seconds until the first task (assumed: Ray and the model).
        shard: seconds of the driver for a shard: texts sent, vectors checked and added (assumed).
        sent: bytes of passages that the driver sends in a second (assumed).
        merged: seconds of the driver for a query and a rank of a block's result (measured: 8,192 queries x 210 take 0.06 s of one core).
    """

    worker_spread: float = 0.1
    task_spread: float = 0.1
    failures: float = 0.01
    restart: float = 60.0
    start: float = 30.0
    shard: float = 0.03
    sent: float = 1e9
    merged: float = 35e-9


@dataclass(frozen=True)
class Task:
    """A task: seconds of a worker of mean speed, and of the driver before and after it."""

    work: float
    send: float
    take: float


class Simulation:
    """Workers and a driver that does one thing at a time, as events in a heap.

    Attributes:
        ideal: seconds if the work were divided perfectly among workers of these speeds.
        finished: how often each task was taken: once. lost: seconds of work that failures destroyed. failed: how many.
    """

    def __init__(self, tasks: Sequence[Task], workers: int, faults: Faults, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._rng, self._tasks, self._faults = rng, tasks, faults
        self._speeds = np.exp(rng.normal(0, faults.worker_spread, workers))
        # The same for every number of workers and failures, so that runs compare.
        self._factors = np.exp(np.random.default_rng(seed + 1).normal(0, faults.task_spread, len(tasks)))
        work = sum(task.work * factor for task, factor in zip(tasks, self._factors, strict=True))
        self.ideal = float(work / self._speeds.sum())
        self._queues: list[deque[int]] = [deque() for _ in range(workers)]
        self._running: list[tuple[int, float] | None] = [None] * workers
        self._alive, self._lives = [True] * workers, [0] * workers
        self._events: list[tuple[float, int, str, int, int]] = []
        self._count = 0
        self._ready: deque[tuple[int, int]] = deque()
        self.finished = [0] * len(tasks)
        self.lost, self.failed = 0.0, 0

    def run(self) -> float:
        """Return the seconds until the driver has taken the last task."""
        now, sent, taken = 0.0, 0, 0
        idle = deque(list(range(len(self._queues))) * IN_FLIGHT)
        for worker in range(len(self._queues)):
            self._plan_failure(worker, now)
        while taken < len(self._tasks):
            self._happen(now)
            if idle and sent < len(self._tasks):
                now += self._tasks[sent].send
                self._happen(now)
                worker = idle.popleft()
                self._queues[worker].append(sent)
                self._start(worker, now)
                sent += 1
            elif self._ready:
                worker, task = self._ready.popleft()
                now += self._tasks[task].take
                self.finished[task] += 1
                taken += 1
                idle.append(worker)
            else:
                now = max(now, self._events[0][0])
        return now

    def _push(self, time: float, kind: str, worker: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, worker, self._lives[worker]))

    def _plan_failure(self, worker: int, now: float) -> None:
        if self._faults.failures:
            self._push(now + self._rng.exponential(3_600 / self._faults.failures), "failure", worker)

    def _start(self, worker: int, now: float) -> None:
        if self._alive[worker] and self._running[worker] is None and self._queues[worker]:
            task = self._queues[worker].popleft()
            self._running[worker] = task, now
            self._push(now + self._tasks[task].work * self._factors[task] / self._speeds[worker], "done", worker)

    def _happen(self, until: float) -> None:
        """Handle the events up to a time."""
        while self._events and self._events[0][0] <= until:
            now, _, kind, worker, life = heapq.heappop(self._events)
            if life != self._lives[worker]:
                continue  # of a task that its worker did not survive
            running = self._running[worker]
            if kind == "done":
                assert running is not None
                self._ready.append((worker, running[0]))
                self._running[worker] = None
            elif kind == "failure":
                self._alive[worker] = False
                self._lives[worker] += 1
                self.failed += 1
                if running is not None:
                    self.lost += now - running[1]
                    self._queues[worker].appendleft(running[0])
                    self._running[worker] = None
                self._push(now + self._faults.restart, "restart", worker)
            else:
                self._alive[worker] = True
                self._plan_failure(worker, now)
            self._start(worker, now)


def stages(passages: int, queries: int, rates: Rates, faults: Faults, block: int) -> tuple[list[Task], list[Task]]:
    """Return the tasks that encode, and those that search with passages in blocks of `block` rows."""
    encode = []
    for texts, tokens in ((passages, PASSAGE_TOKENS), (queries, QUERY_TOKENS)):
        shards = max(math.ceil(texts / SHARD), min(LEAST_SHARDS, texts))
        encode += [Task(texts / shards * tokens / rates.tokens, faults.shard / 2, faults.shard / 2)] * shards
    search = []
    for first in range(0, passages, block):
        rows = min(block, passages - first)
        for number, place in enumerate(range(0, queries, QUERY_BLOCK)):
            asked = min(QUERY_BLOCK, queries - place)
            send = 4 * DIMENSION * rows / faults.sent if number == 0 else 0.0
            search.append(Task(asked * rows / rates.pairs, send, asked * min(DEPTH, rows) * faults.merged))
    return encode, search


def row_of(passages: int, queries: int, workers: int, rates: Rates, faults: Faults, block: int, seed: int = 1) -> dict[str, Any]:
    """Simulate a run with one loss after the other; return its seconds and the part of them that each loss takes."""
    both = stages(passages, queries, rates, faults, block)
    free = [[replace(task, send=0.0, take=0.0) for task in part] for part in both]

    def total(parts: Sequence[Sequence[Task]], given: Faults) -> tuple[float, list[Simulation]]:
        runs = [Simulation(part, workers, given, seed) for part in parts]
        return sum(each.run() for each in runs), runs

    imbalance, runs = total(free, replace(faults, failures=0.0))
    ideal = sum(each.ideal for each in runs)
    failures, runs = total(free, faults)
    driver = total(both, faults)[0]
    took = driver + faults.start
    return {
        "workers": f"{workers} x {rates.name}",
        "passages": passages,
        "queries": queries,
        "ideal, s": ideal,
        "simulated, s": took,
        "start": f"{faults.start / took:z.1%}",
        "imbalance": f"{(imbalance - ideal) / took:z.1%}",
        "failures": f"{(failures - imbalance) / took:z.1%}",
        "driver": f"{(driver - failures) / took:z.1%}",
        "of ideal speed": f"{ideal / took:.0%}",
        "failed": sum(each.failed for each in runs),
        "measured": "not measured on a GPU" if "core" not in rates.name else "not measured on a cluster",
    }


def main() -> None:
    given = arguments(__doc__, block_mib=64)
    block = max(1, given.block_mib * 2**20 // (4 * DIMENSION))
    passages, queries, counts = ([1_000_000, 10_000_000, 100_000_000], [10_000, 100_000, 1_000_000], [1, 8, 64])
    if given.quick:
        passages, queries, counts = [200_000], [1_000, 10_000], [1, 4]
    faults = Faults()
    rows = [
        row_of(size, asked, count, rates, faults, block) for rates in WORKERS for size in passages for asked in queries for count in counts
    ]
    facts = {
        "simulated": "nothing in this table is a measured run; not measured on a GPU",
        "rates of a worker": "; ".join(f"{each.name}: {each.tokens:,.0f} tokens/s, {each.pairs:,.0f} pairs/s" for each in WORKERS),
        "assumed": ", ".join(f"{name} {value:g}" for name, value in vars(faults).items()),
        "block of passages": f"{block:,} rows, {given.block_mib} MiB",
    }
    report("cluster_simulation", rows, facts)


if __name__ == "__main__":
    main()
