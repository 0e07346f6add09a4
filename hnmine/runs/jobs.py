"""Background jobs: one thread, the progress of its job, and a way to stop it.

Jobs run one after the other: encoding uses every core, so two at once would both be slower. A job belongs to the server, not to a browser
tab: a reload or a second tab shows a snapshot of the same job.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from hnmine.core.errors import Cancelled, HnmineError
from hnmine.core.progress import OnProgress, ShouldStop, unit_of
from hnmine.models.encoder import Encoder
from hnmine.models.reranker import Reranker
from hnmine.runs.mine import mine
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace

__all__ = ["Job", "JobRunner", "mine_dataset"]

State = Literal["queued", "running", "done", "failed", "cancelled"]
Work = Callable[[OnProgress, ShouldStop], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A snapshot of one job.

    Attributes:
        subject: the id of the data set it works on.
        stage: such as "encoding passages"; done and total count that stage's items, total 0 when unknown.
        started, stage_started, ended: of the job and of its stage, seconds of `time.monotonic`.
        result: what the work returned (the id of a run), once done.
        error: the message of a failed job.
    """

    id: int
    subject: str
    state: State = "queued"
    stage: str = "waiting for another run to finish"
    done: int = 0
    total: int = 0
    started: float = 0.0
    stage_started: float = 0.0
    ended: float = 0.0
    result: str | None = None
    error: str | None = None

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")

    @property
    def unit(self) -> str:
        """What `done` and `total` count, such as "tokens"; empty when unknown."""
        return unit_of(self.stage)

    @property
    def rate(self) -> float:
        """Items a second in this stage; 0 when nothing is done yet."""
        passed = time.monotonic() - self.stage_started
        return self.done / passed if self.done and passed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until this stage ends; None when unknown."""
        return (self.total - self.done) / self.rate if self.rate else None


class JobRunner:
    """Runs jobs one at a time in a background thread; every method may be called from any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hnmine-job")
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._stops: dict[int, threading.Event] = {}
        self._numbers = itertools.count(1)

    def submit(self, subject: str, work: Work) -> Job:
        """Queue `work(on_progress, should_stop)`; its return value becomes the job's result."""
        with self._lock:
            job = Job(id=next(self._numbers), subject=subject)
            self._jobs[job.id] = job
            self._stops[job.id] = threading.Event()
        self._pool.submit(self._run, job.id, work)
        return job

    def get(self, job_id: int) -> Job:
        """Return a snapshot of a job."""
        with self._lock:
            return self._jobs[job_id]

    def latest(self, subject: str) -> Job | None:
        """Return a snapshot of the newest job about `subject`, or None."""
        with self._lock:
            return next((job for job in reversed(self._jobs.values()) if job.subject == subject), None)

    def cancel(self, job_id: int) -> None:
        """Stop a job at its next batch."""
        self._stops[job_id].set()

    def _update(self, job_id: int, **changes: object) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], **changes)  # type: ignore[arg-type]

    def _run(self, job_id: int, work: Work) -> None:
        stop = self._stops[job_id]
        now = time.monotonic()
        self._update(job_id, state="running", stage="starting", started=now, stage_started=now)

        def on_progress(done: int, total: int, note: str) -> None:
            changes: dict[str, object] = {"done": done, "total": total}
            if note != self.get(job_id).stage:
                changes |= {"stage": note, "stage_started": time.monotonic()}
            self._update(job_id, **changes)

        state, result, error = "done", None, None
        try:
            if stop.is_set():
                raise Cancelled("stopped before it began")
            result = work(on_progress, stop.is_set)
        except Cancelled:
            state = "cancelled"
        except HnmineError as failure:
            state, error = "failed", str(failure)
        except Exception as failure:  # noqa: BLE001 - the thread has no caller; the screen shows the error
            state, error = "failed", f"unexpected {type(failure).__name__}: {failure}"
        self._update(job_id, state=state, result=result, error=error, ended=time.monotonic())


def mine_dataset(
    workspace: Workspace,
    dataset_id: str,
    settings: MineSettings,
    depth: int,
    load_encoder: Callable[[OnProgress], Encoder],
    on_progress: OnProgress,
    should_stop: ShouldStop,
    *,
    load_reranker: Callable[[OnProgress], Reranker] | None = None,
) -> str:
    """Rank a data set of the workspace and store the run.

    Args:
        workspace, dataset_id: where the files are.
        settings: model, pool mode, decisions about bad rows, and the first selection.
        depth: candidates to rank for each query, at least the window's end.
        load_encoder: returns the encoder; called in the job's thread, so that imports block no screen. load_reranker: the same for
            the reranker, when the settings name one.

    Returns:
        The run's id.
    """
    mined = mine(
        workspace.training_path(dataset_id),
        workspace.pool_path(dataset_id),
        settings,
        lambda: load_encoder(on_progress),
        depth=depth,
        load_reranker=None if load_reranker is None else lambda: load_reranker(on_progress),
        signals=True,
        store=workspace.store(),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    on_progress(0, 0, "saving the run")
    workspace.dataset(dataset_id)  # deleted meanwhile, the run could not be opened
    return workspace.save_run(dataset_id, settings, mined.ranking, mined.manifest).id
