"""An executor that runs the work of shards in this process, in any order, with workers that fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from hnmine.cluster.work import BlockSearcher, Encoded, EncodeJob, EncodeTask, Found, PassageBlock, ShardEncoder, States
from hnmine.core.progress import ShouldStop, check_cancelled
from hnmine.models.cards import ModelSettings
from tests.conftest import FakeEncoder


class Trigrams(FakeEncoder):
    """The fake encoder, with settings by which a worker could load it."""

    settings = ModelSettings()


class WorkerLost(Exception):
    """A worker died, as Ray would notice it."""


class SerialWorkers:
    """`workers` in turn. A shard whose number is in `lost` is encoded and written by a worker that dies before it answers."""

    def __init__(self, workers: int = 1, *, seed: int = 0, lost: frozenset[int] = frozenset(), stop_after: int | None = None) -> None:
        self._random, self._lost, self._stop_after = random.Random(seed), lost, stop_after
        self._count = workers
        self.encoders: list[FakeEncoder] = []
        self.calls: list[str] = []
        self.jobs: list[EncodeJob] = []
        self.closed = False

    def encode(
        self,
        job: EncodeJob,
        tasks: Iterator[EncodeTask],
        count: int,
        *,
        on_states: Callable[[States], None],
        should_stop: ShouldStop | None,
    ) -> Iterator[Encoded]:
        self.jobs.append(job)
        workers = [self._worker(job) for _ in range(self._count)]
        shuffled = list(tasks)
        assert len(shuffled) == count
        self._random.shuffle(shuffled)
        for number, task in enumerate(shuffled):
            check_cancelled(should_stop)
            if self._stop_after is not None and number >= self._stop_after:
                raise WorkerLost("the driver died")
            self.calls.append(task.name)
            done = workers[number % self._count].encode(task)
            if number in self._lost:
                workers[number % self._count] = self._worker(job)
                done = workers[number % self._count].encode(task)
            on_states([each.progress() for each in workers])
            yield done

    def search(
        self,
        queries: list[Any],
        passages: Iterator[PassageBlock],
        count: int,
        k: int,
        *,
        use_gpu: bool,
        memory_budget: int | None,
        should_stop: ShouldStop | None,
    ) -> Iterator[Found]:
        worker = BlockSearcher(use_gpu)
        work = [(number, part, block) for block in passages for number, part in enumerate(queries)]
        self._random.shuffle(work)
        for number, part, block in work:
            check_cancelled(should_stop)
            yield worker.search(number, part, block, k, memory_budget)

    def close(self) -> None:
        self.closed = True

    def _worker(self, job: EncodeJob) -> ShardEncoder:
        self.encoders.append(Trigrams())
        encoder = self.encoders[-1]
        return ShardEncoder(job, "cpu", lambda: encoder)  # type: ignore[arg-type, return-value]
