"""Background jobs: one thread, the progress of its job, and a way to stop it.

Jobs run one after the other: encoding uses every core, so two at once would both be slower. A job belongs to the server, not to a browser
tab: a reload or a second tab shows a snapshot of the same job. A job with a request is recorded, so that a server that starts after a
crash can offer to resume it.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from hnmine.cluster.settings import ClusterSettings
from hnmine.core.errors import Cancelled, HnmineError
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled, unit_of
from hnmine.core.time_left import Forecast, Work
from hnmine.data.corpus import Corpus
from hnmine.models.encoder import Encoder
from hnmine.models.reranker import Reranker
from hnmine.retrieval.signals import without_judge
from hnmine.review.judgements import FILE as JUDGEMENTS
from hnmine.review.judgements import Judgement, JudgementStore, counting
from hnmine.runs.job_records import JobRecord, JobRecords, Request
from hnmine.runs.judge_setup import chosen_judge
from hnmine.runs.mine import mine
from hnmine.runs.settings import MineSettings
from hnmine.runs.workspace import Workspace

__all__ = ["Job", "JobRunner", "mine_dataset"]

State = Literal["queued", "running", "done", "failed", "cancelled"]
Task = Callable[[OnProgress, ShouldStop], str]

# Seconds between two writes of a job's progress.
RECORDED_EVERY = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A snapshot of one job.

    Attributes:
        subject: what it works on, such as the id of a data set. name: its title for people, such as "Mining train.jsonl".
        stage: such as "encoding passages"; done and total count that stage's items, total 0 when unknown.
        share: part of the whole job that is done, 0 to 1; None until its work is known.
        left: estimated seconds until the end of the job, at the time `reported`; None until its work is known.
        started, stage_started, ended: of the job and of its stage, seconds of `time.monotonic`.
        result: what the work returned (the id of a run), once done.
        error: the message of a failed job. stopping: whether it was cancelled, and has not ended yet.
    """

    id: int
    subject: str
    name: str = ""
    state: State = "queued"
    stage: str = "waiting for another run to finish"
    done: int = 0
    total: int = 0
    share: float | None = None
    left: float | None = None
    reported: float = 0.0
    started: float = 0.0
    stage_started: float = 0.0
    ended: float = 0.0
    result: str | None = None
    error: str | None = None
    stopping: bool = False

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
        """Estimated seconds until the end of the job, over all its stages; None when unknown."""
        return None if self.left is None else max(0.0, self.left - (time.monotonic() - self.reported))


class _Progress:
    """Progress of a running job: keeps its snapshot and its record up to date."""

    def __init__(self, runner: JobRunner, job_id: int, forecast: Forecast, record: JobRecord | None) -> None:
        self._runner, self._job_id, self._forecast, self._record = runner, job_id, forecast, record
        self._records, self._recorded = runner.records, 0.0

    def plan(self, works: Sequence[Work], key: str) -> None:
        self._forecast.plan(works, key)

    def __call__(self, done: int, total: int, note: str, /) -> None:
        now = time.monotonic()
        self._forecast(done, total, note)
        changes: dict[str, object] = {"done": done, "total": total, "reported": now}
        changes |= {"share": self._forecast.share, "left": self._forecast.seconds_left}
        if note != self._runner.get(self._job_id).stage:
            changes |= {"stage": note, "stage_started": now}
        self._runner._update(self._job_id, **changes)
        if self._records is not None and self._record is not None and now - self._recorded >= RECORDED_EVERY:
            self._recorded = now
            share = self._forecast.share or 0.0
            self._records.write(msgspec.structs.replace(self._record, share=share, stage=note, done=done, total=total))


class JobRunner:
    """Runs jobs one at a time in a background thread; every method may be called from any thread.

    Args:
        root: the folder of the workspace, where jobs are recorded; None records none.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.records = JobRecords(root) if root is not None else None
        self._queue: queue.SimpleQueue[tuple[int, Task, JobRecord | None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._stops: dict[int, threading.Event] = {}
        self._numbers = itertools.count(1)
        # A daemon: a server that is stopped does not wait for its job, and leaves its record to the next server.
        threading.Thread(target=self._work, name="hnmine-job", daemon=True).start()

    def submit(self, subject: str, work: Task, *, name: str = "", request: Request | None = None) -> Job:
        """Queue `work(on_progress, should_stop)`; its return value becomes the job's result. A job with a request can be resumed."""
        record = self.records.begin(request) if self.records is not None and request is not None else None
        with self._lock:
            job = Job(id=next(self._numbers), subject=subject, name=name)
            self._jobs[job.id] = job
            self._stops[job.id] = threading.Event()
        self._queue.put((job.id, work, record))
        return job

    def active(self) -> list[Job]:
        """Return snapshots of the running job and of those that wait, in their order."""
        with self._lock:
            return [job for job in self._jobs.values() if job.active]

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
        self._update(job_id, stopping=True)

    def _update(self, job_id: int, **changes: object) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], **changes)  # type: ignore[arg-type]

    def _work(self) -> None:
        while True:
            self._run(*self._queue.get())

    def _run(self, job_id: int, work: Task, record: JobRecord | None) -> None:
        stop = self._stops[job_id]
        now = time.monotonic()
        self._update(job_id, state="running", stage="starting", started=now, stage_started=now, reported=now)
        forecast = Forecast(self.records.timings() if self.records is not None else None)
        state, result, error = "done", None, None
        try:
            if stop.is_set():
                raise Cancelled("stopped before it began")
            result = work(_Progress(self, job_id, forecast, record), stop.is_set)
        except Cancelled:
            state = "cancelled"
        except HnmineError as failure:
            state, error = "failed", str(failure)
        except Exception as failure:  # noqa: BLE001 - the thread has no caller; the screen shows the error
            state, error = "failed", f"unexpected {type(failure).__name__}: {failure}"
        if self.records is not None:
            if record is not None:
                self.records.end(record.id)
            if state == "done" and (factors := forecast.factors()):
                self.records.save_timings(forecast.key, factors)
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
    cluster: ClusterSettings | None = None,
) -> str:
    """Rank a data set of the workspace and store the run.

    Args:
        workspace, dataset_id: where the files are.
        settings: model, pool mode, decisions about bad rows, and the first selection.
        depth: candidates to rank for each query, at least the window's end.
        load_encoder: returns the encoder; called in the job's thread, so that imports block no screen. Its progress ends it when the job is
            stopped. load_reranker: the same for the reranker, when the settings name one.
        cluster: what encodes and searches; None is this process.

    Returns:
        The run's id.
    """
    graded = settings.selection.judge_grade is not None

    def loading(done: int, total: int, note: str, /) -> None:
        check_cancelled(should_stop)
        on_progress(done, total, note)

    mined = mine(
        workspace.training_path(dataset_id),
        workspace.pool_path(dataset_id),
        settings,
        lambda: load_encoder(loading),
        depth=depth,
        load_reranker=None if load_reranker is None else lambda: load_reranker(loading),
        signals=True,
        judgements=(lambda corpus: _judgements(workspace, corpus)) if graded else (),
        store=workspace.store(),
        cluster=cluster,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    on_progress(0, 0, "saving the run")
    workspace.dataset(dataset_id)  # deleted meanwhile, the run could not be opened
    # Grades are attached whenever the run is opened, with those that were given since.
    return workspace.save_run(dataset_id, settings, without_judge(mined.ranking), mined.manifest).id


def _judgements(workspace: Workspace, corpus: Corpus) -> list[Judgement]:
    """Return the grades that count for a corpus in this workspace."""
    return counting(corpus, JudgementStore(workspace.root / JUDGEMENTS).all(), chosen_judge(workspace.root))
