"""Workers on Ray: actors that Ray starts, restarts and gives work to.

A worker that dies is started again by Ray, and its work is done again (`max_restarts`, `max_task_retries`). IN_FLIGHT tasks a worker are
under way, so the memory of texts and results is bounded. A worker without work is ended, so that one that Ray starts again finds a place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hnmine.cluster.settings import LOCAL
from hnmine.cluster.work import BlockSearcher, Encoded, EncodeJob, EncodeTask, Found, PassageBlock, ShardEncoder, States
from hnmine.core.errors import ClusterError, HnmineError
from hnmine.core.files import available
from hnmine.core.progress import ShouldStop, check_cancelled
from hnmine.models.loading import gpu_here
from hnmine.vectors.similarity import Floats, threads

__all__ = ["RayWorkers", "nodes_in_words"]

IN_FLIGHT = 2
# How often a shard whose worker died is done again.
RETRIES = 5
# Seconds between two looks at progress and cancel; seconds to reach the head node.
TICK, REACH = 0.5, 5.0
# The object store of a local cluster: blocks under way, no vectors that stay; those of GPUs are larger.
OBJECT_STORE, OBJECT_STORE_GPU = 2**28, 2**33
# Memory of a worker with a small model: torch, FlagEmbedding and the weights.
WORKER_BYTES = 3 * 2**29

# Ray has one connection in a process: the last one who opened it here closes it. One that the caller of the library opened stays.
_lock = threading.Lock()
_users = 0


def nodes_in_words(address: str) -> str:
    """Connect to a cluster and return what it has: "2 nodes, 32 CPUs, 4 GPUs".

    Raises:
        As `RayWorkers.start`.
    """
    workers = RayWorkers(address)
    try:
        ray = workers.start()
        found, nodes = ray.cluster_resources(), sum(bool(node["Alive"]) for node in ray.nodes())
    finally:
        workers.close()
    counts = [(nodes, "node"), (int(found.get("CPU", 0)), "CPU"), (int(found.get("GPU", 0)), "GPU")]
    return ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts)


class RayWorkers:
    """The executor on Ray; Ray is started, or connected to, with the first work.

    Args:
        address: as in `ClusterSettings`.
        devices: of a local cluster: one worker for each; () takes all CPUs, or all GPUs where the model runs on a GPU.
    """

    def __init__(self, address: str, devices: tuple[str, ...] = ()) -> None:
        self._address, self._devices = address, devices
        self._ray: Any = None
        self._own = False
        self._free: dict[str, float] = {}

    def start(self) -> Any:
        """Connect, once, and return the module.

        Raises:
            ClusterError: the address cannot be reached, or its versions of Ray and Python are others.
        """
        global _users
        if self._ray is not None:
            return self._ray
        self._reach()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray prints to stdout that a worker died, where the command line prints JSON. It reads this when it is imported.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        with _lock:
            if not _users and not ray.is_initialized():
                with _quiet():
                    self._connect(ray)
                self._own = True
            elif _users:
                self._own = True
            _users += self._own
        self._ray, self._free = ray, ray.available_resources()  # before workers of ours, which free theirs with a delay
        return ray

    def close(self) -> None:
        """Disconnect; a local cluster ends."""
        global _users
        with _lock:
            _users -= self._own
            if self._own and not _users:
                self._ray.shutdown()
            self._own, self._ray = False, None

    def encode(
        self,
        job: EncodeJob,
        tasks: Iterator[EncodeTask],
        count: int,
        *,
        on_states: Callable[[States], None],
        should_stop: ShouldStop | None,
    ) -> Iterator[Encoded]:
        """Encode the tasks; arguments and errors as in `Executor.encode`."""
        ray = self.start()
        kind = msgspec.json.decode(next(iter(job.identities.values()))).get("device", "cpu")
        made = ray.remote(concurrency_groups={"progress": 1})(ShardEncoder)
        actors = [
            made.options(max_restarts=-1, max_task_retries=RETRIES, **options).remote(job, device)
            for device, options in self._places(kind, count, self._devices)
        ]
        asked: dict[Any, Any] = {}
        states: dict[Any, tuple[str, int, int]] = {}

        def look() -> None:
            ready = ray.wait(list(asked), num_returns=len(asked), timeout=0)[0] if asked else []
            for ref in ready:
                actor = asked.pop(ref)
                with contextlib.suppress(ray.exceptions.RayError):  # it died, or has ended
                    states[actor] = ray.get(ref)
            for actor in set(actors) - set(asked.values()):
                asked[actor.progress.options(concurrency_group="progress", max_task_retries=0).remote()] = actor
            on_states(list(states.values()))

        yield from self._run(actors, "encode", ((task,) for task in tasks), look, should_stop)

    def search(
        self,
        queries: list[Floats],
        passages: Iterator[PassageBlock],
        count: int,
        k: int,
        *,
        use_gpu: bool,
        memory_budget: int | None,
        should_stop: ShouldStop | None,
    ) -> Iterator[Found]:
        """Search; arguments and errors as in `Executor.search`."""
        ray = self.start()
        on_gpu = use_gpu and ray.cluster_resources().get("GPU", 0) > 0
        made = ray.remote(BlockSearcher)
        actors = [
            made.options(max_restarts=-1, max_task_retries=RETRIES, **options).remote(on_gpu)
            for _, options in self._places("cuda" if on_gpu else "cpu", count, () if on_gpu else self._devices)
        ]
        held = [ray.put(block) for block in queries]

        def calls() -> Iterator[tuple[Any, ...]]:
            for block in passages:
                sent = ray.put(block)
                yield from ((number, part, sent, k, memory_budget) for number, part in enumerate(held))

        yield from self._run(actors, "search", calls(), None, should_stop)

    def _run(
        self,
        actors: list[Any],
        method: str,
        calls: Iterator[tuple[Any, ...]],
        look: Callable[[], None] | None,
        should_stop: ShouldStop | None,
    ) -> Iterator[Any]:
        """Yield the results of `method` of the actors for the arguments in `calls`; then, or after an error, end the actors."""
        ray = self._ray
        under_way: dict[Any, Any] = {}
        idle = deque(actors * IN_FLIGHT)
        more = True
        try:
            while True:
                while more and idle:
                    arguments = next(calls, None)
                    if more := arguments is not None:
                        actor = idle.popleft()
                        under_way[getattr(actor, method).remote(*arguments)] = actor
                if not more:
                    for actor in set(idle) - set(under_way.values()):
                        ray.kill(actor)
                    idle.clear()
                if not under_way:
                    return
                check_cancelled(should_stop)
                ready, _ = ray.wait(list(under_way), timeout=TICK)
                if look is not None:
                    look()
                for ref in ready:
                    idle.append(under_way.pop(ref))
                    yield self._result(ref)
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                for actor in actors:
                    ray.kill(actor)

    def _result(self, ref: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", error)
            if isinstance(cause, HnmineError):
                raise cause from None
            raise ClusterError(f"a worker failed: {type(cause).__name__}: {cause}") from error
        except errors.RayError as error:
            text = str(error)
            if "No module named" in text:
                raise ClusterError(
                    f"a node of the cluster lacks a package ({_last(text)}); install hnmine with its requirements on all nodes"
                ) from error
            raise ClusterError(
                f"a worker was lost, and so were those that repeated its work ({_last(text)}); they may lack memory: use nodes with more "
                "of it, or a smaller batch_size. Finished shards are kept"
            ) from error

    def _places(self, kind: str, most: int, devices: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
        """Return the device of each of `most` workers at most, and what it asks Ray for; () takes what the cluster has of a kind."""
        if devices:
            cores = max(1, threads() // len(devices))
            return [(device, {"num_cpus": cores, "num_gpus": 0}) for device in devices][:most]
        free = self._free
        if kind == "cuda":
            if not self._ray.cluster_resources().get("GPU"):
                raise ClusterError("the model is set to a GPU and the cluster has none; set devices to cpu")
            count, device, options = free.get("GPU", 0), "cuda:0", {"num_cpus": 1, "num_gpus": 1}
        else:
            count, device, options = min(free.get("CPU", 0), free.get("memory", 0) // WORKER_BYTES), kind, {"num_cpus": 1, "num_gpus": 0}
        if kind not in ("cpu", "cuda"):  # a device that workers cannot share
            count = 1
        return [(device, options)] * max(1, min(int(count), most))

    def _connect(self, ray: Any) -> None:
        common = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        try:
            if self._address == LOCAL:
                size = max(80 * 2**20, min(OBJECT_STORE_GPU if gpu_here() else OBJECT_STORE, available() // 8))
                ray.init(address="local", num_cpus=threads(), include_dashboard=False, object_store_memory=size, **common)
                return
            ray.init(address=self._address, **common)
        except HnmineError:
            raise
        except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and its own
            if "ersion mismatch" in str(error):
                text = " ".join(str(error).split())
                raise ClusterError(
                    f"the cluster {self._address} runs other versions; use its versions of Python and Ray here ({text})"
                ) from error
            raise ClusterError(
                f"the cluster {self._address} cannot be used ({_last(str(error))}); check the address, `ray status` on the "
                "head node, and the token: set RAY_AUTH_MODE=token here too, with the head node's ~/.ray/auth_token"
            ) from error

    def _reach(self) -> None:
        """Refuse an address where nothing answers: Ray tries for minutes."""
        host, _, port = self._address.rpartition("://")[2].rpartition(":")
        if not host:
            return
        try:
            socket.create_connection((host, int(port)), REACH).close()
        except (OSError, OverflowError) as error:
            raise ClusterError(
                f"no cluster answers at {self._address} ({error}); start one there (ray start --head --port {port}), or correct the address"
            ) from error


def _last(text: str) -> str:
    """Return the last line of a message, which holds the reason."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's notices off the terminal while it starts, and the handlers of signals as they are."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    here = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield
    finally:
        logger.setLevel(level)
        for each, handler in before.items():
            signal.signal(each, handler)
