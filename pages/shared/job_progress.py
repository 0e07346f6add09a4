"""Jobs in the context bar: the running one with its share and time left, one that a crash interrupted, and the end of one."""

from __future__ import annotations

import re

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, shortened
from hnmine.core.time_left import in_words
from hnmine.runs.job_records import DamagedRecord, JobRecord
from hnmine.runs.jobs import Job
from pages.shared import mining, state
from pages.shared.widgets import failed

__all__ = ["announce", "anything", "in_short", "show", "show_all"]

# Pixels of the running job: its name, share, time left, and Cancel.
RUNNING = 330
ENDS = {
    "done": ("Mining is done.", ":material/check_circle:"),
    "failed": ("Mining failed. Its page shows the reason.", ":material/error:"),
    "cancelled": ("Mining is cancelled. What is finished is stored.", ":material/stop_circle:"),
}


def announce() -> bool:
    """Say that jobs have ended that this session saw running; return whether one of them is done."""
    watched: set[int] = st.session_state.setdefault("watched", set())
    ended = [job for job in map(resources.jobs().get, sorted(watched)) if not job.active]
    for job in ended:
        watched.discard(job.id)
        words, icon = ENDS[job.state]
        st.toast(words.replace("Mining", job.name.split(" ", 1)[0] or "The job"), icon=icon)
        if job.state == "done":
            st.session_state.finished = job
    return any(job.state == "done" for job in ended)


def anything() -> bool:
    """Return whether there is a job to show."""
    jobs = resources.jobs().active() or mining.interrupted() or mining.damaged() or st.session_state.get("finished")
    return bool(jobs or mining.other_servers())


def show_all(*, on_mine: bool) -> None:
    """Draw the running job, or else one that ended or was interrupted. While one runs, this part runs again every second.

    Mine itself draws the job of the open data set. Another server on this workspace is named too.
    """
    _other_servers()
    active = resources.jobs().active()
    st.session_state.setdefault("watched", set()).update(job.id for job in active)
    finished = st.session_state.get("finished")
    if on_mine and finished is not None and finished.subject == st.session_state.dataset:
        _finished(finished, on_mine=True)
        return
    if on_mine and any(job.subject == st.session_state.dataset for job in active):
        return
    if active:
        with st.container(width=RUNNING):  # in a narrow bar all of it moves to the next line, and nothing is cut
            st.fragment(_running, run_every="1s")()
    elif finished is not None:
        _finished(finished, on_mine=on_mine)
    elif records := mining.interrupted():
        _interrupted(records[0])
    elif damaged := mining.damaged():
        _damaged(damaged[0])


def _running() -> None:
    active = resources.jobs().active()
    if any(not resources.jobs().get(number).active for number in st.session_state.watched) or not active:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        more = f", {len(active) - 1} waiting" if active[1:] else ""
        st.text(f"{_short_name(active[0])}: {in_short(active[0])}{more}", width="content")
        stopping = active[0].stopping
        if not stopping and st.button("Cancel", icon=":material/stop_circle:", type="tertiary", key=f"cancel-job-{active[0].id}"):
            resources.jobs().cancel(active[0].id)
            st.toast("Cancelling at the next batch.")


def _finished(job: Job, *, on_mine: bool) -> None:
    """Open the result of a job on Mine, and offer it on other pages."""
    same = job.subject == st.session_state.dataset
    if job.result == st.session_state.run or job.result not in [run.id for run in resources.workspace().runs()]:
        st.session_state.finished = None
        return
    with _line():
        st.text(f"{job.name}: done", width="content")
        if (on_mine and same) or st.button("Open the result", icon=":material/open_in_new:", key="open-finished"):
            st.session_state.finished = None
            state.open_run(str(job.result))
            st.rerun()
        if st.button("Dismiss", type="tertiary", key="dismiss-finished"):
            st.session_state.finished = None
            st.rerun()


def _interrupted(record: JobRecord) -> None:
    """Draw a job that a crash interrupted, what is kept of it, and how to continue."""
    space, dataset_id = resources.workspace(), record.request.dataset_id
    try:
        name = space.dataset(dataset_id).name
    except HnmineError as error:
        if not space.dataset_folder(dataset_id).exists():  # nothing to resume
            mining.dismiss(record)
            st.toast("A job was interrupted, and its data set has been deleted. The job is forgotten.", icon=":material/info:")
            return
        with _line():
            st.text("A job was interrupted, and its data set cannot be opened.", width="content", help=_literal(error))
            _dismissing(record)
        return
    kept = f" {record.done:,} of {record.total:,} tokens are stored." if "encoding" in record.stage and record.total else ""
    with _line():
        st.text(f"Mining {name}: interrupted at {record.share:.0%}.{kept}", width="content")
        if st.button("Resume", icon=":material/resume:", key="resume-job"):
            try:
                mining.resume(record)
            except HnmineError as error:
                failed("Cannot resume this job", error)
            else:
                st.rerun()
        _dismissing(record)


def _damaged(record: DamagedRecord) -> None:
    """Draw a job that was interrupted and whose record cannot be read."""
    with _line():
        st.text("A job was interrupted, and its record cannot be read.", width="content", help=_literal(record.error))
        if record.removable:
            _dismissing(record)


def _literal(error: object) -> str:
    """Return the text of an error as Markdown, which a help is."""
    return re.sub(r"([^\w\s])", r"\\\1", str(error))


def _dismissing(record: JobRecord | DamagedRecord) -> None:
    if st.button("Dismiss", type="tertiary", key="dismiss-job"):
        mining.dismiss(record)
        st.rerun()


def _other_servers() -> None:
    if count := mining.other_servers():
        st.text(
            f"{counted(count, 'other server')} on this workspace",
            width="content",
            help="Verdicts of both are kept. Jobs of the other server do not show here, and two people may get the same pair to review.",
        )


def _line() -> DeltaGenerator:
    """Return a container with a line of its own."""
    return st.container(horizontal=True, vertical_alignment="center", gap="xsmall")


def _short_name(job: Job) -> str:
    """Return what a job does; of which data set only where that is not the open one."""
    same = job.subject.rpartition(" ")[2] == st.session_state.dataset  # "judging ID" of a judge
    return job.name.partition(" ")[0] if same else shortened(job.name or "A job", 28)


def in_short(job: Job) -> str:
    """Return the share done and the time left of a job, over all its stages."""
    if job.stopping:
        return "stopping"
    if job.state == "queued":
        return "waiting"
    if job.share is None or job.seconds_left is None:
        return job.stage
    return f"{job.share:.0%}, {in_words(job.seconds_left)} left"


def show(now: Job) -> None:
    """Draw a queued or running job with its stage."""
    with st.container(border=True):
        st.progress(now.share or 0.0, text=_text(now))
        if st.button("Cancel", icon=":material/stop_circle:", key=f"cancel-{now.id}"):
            resources.jobs().cancel(now.id)
            st.text("Stopping at the next batch ...")


def _text(now: Job) -> str:
    stage = f"{now.stage}: {now.done:,} of {now.total:,} {now.unit} · {now.rate:,.0f} {now.unit}/s" if now.total else now.stage
    return f"{in_short(now)} · {stage}" if now.share is not None else stage
