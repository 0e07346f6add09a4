"""Mining in the background: start it, resume it after a crash of the server, or forget it."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.cluster.settings import ClusterSettings
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.data.dataset import Inputs
from hnmine.models import loading
from hnmine.models.cards import ModelSettings
from hnmine.models.reranker import Reranker
from hnmine.runs.job_records import DamagedRecord, JobRecord, Request
from hnmine.runs.jobs import Job, mine_dataset
from hnmine.runs.settings import MineSettings
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.shared import servers, state

__all__ = ["DEPTH", "damaged", "dismiss", "interrupted", "other_servers", "recommended", "resume", "start"]

# Candidates ranked for each query, so that the window can be extended: ranking 500 instead of 210 takes 2 ms more per query.
DEPTH = 500


def recommended(dataset_id: str, read: Inputs) -> MineSettings:
    """Return the settings that the Mine screen begins with: the packaged model and the recommended preset."""
    repair, skip = state.decisions(dataset_id)
    return MineSettings(
        selection=with_preset(RECOMMENDED, SelectionSettings(), deepest=min(DEPTH, read.corpus.n_candidates)),
        model=ModelSettings(),
        use_gpu=loading.gpu_here(),
        columns=state.columns(dataset_id),
        repair=repair,
        skip_bad_rows=skip,
    )


def start(dataset_id: str, settings: MineSettings, depth: int, cluster: ClusterSettings | None = None) -> Job:
    """Queue the mining of a data set; it continues without the page, and can be resumed after a crash of the server.

    Raises:
        WorkspaceError: there is no such data set.
        AccessError: it names a server of models that may not be asked.
    """
    servers.require_all(settings)
    space = resources.workspace()
    name = f"Mining {space.dataset(dataset_id).name}"

    def reranker(tell: OnProgress) -> Reranker:
        assert settings.reranker is not None  # else it is not asked for
        return resources.cross_encoder(settings.reranker, tell)

    def work(on_progress: OnProgress, should_stop: ShouldStop) -> str:
        return mine_dataset(
            space,
            dataset_id,
            settings,
            depth,
            lambda tell: resources.encoder(settings.model or ModelSettings(), tell),
            on_progress,
            should_stop,
            load_reranker=reranker,
            cluster=cluster,
        )

    request = Request(dataset_id=dataset_id, settings=settings, depth=depth, cluster=cluster)
    job = resources.jobs().submit(dataset_id, work, name=name, request=request)
    # Watched from now on: a job that is done before the next page is drawn is announced, and its result opened, all the same.
    st.session_state.setdefault("watched", set()).add(job.id)
    return job


def interrupted() -> list[JobRecord]:
    """Return the jobs that a crash interrupted, newest first."""
    records = resources.jobs().records
    return [] if records is None else records.interrupted()


def damaged() -> list[DamagedRecord]:
    """Return the records of interrupted jobs that cannot be read."""
    records = resources.jobs().records
    return [] if records is None else records.damaged()


def other_servers() -> int:
    """Return how many other servers use this workspace."""
    records = resources.jobs().records
    return 0 if records is None else records.other_servers()


def resume(record: JobRecord) -> Job:
    """Queue an interrupted job again with the same settings; stored vectors are not encoded again.

    Raises:
        WorkspaceError: its data set has been deleted.
        AccessError: as `start`.
    """
    job = start(record.request.dataset_id, record.request.settings, record.request.depth, record.request.cluster)
    dismiss(record)
    return job


def dismiss(record: JobRecord | DamagedRecord) -> None:
    """Forget an interrupted job."""
    if (records := resources.jobs().records) is not None:
        records.end(record.id)
