"""The judging of pairs on a screen: its cost and its button before, its progress while it runs, and how it ended."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, shortened
from hnmine.core.time_left import in_words
from hnmine.resources import OpenRun
from hnmine.review.judge_settings import JudgeSettings
from hnmine.runs.jobs import Job
from pages.shared import judging
from pages.shared.widgets import failed

__all__ = ["ended", "name", "offer", "progress"]

# The last job of a data set whose end this session has read.
_SEEN = "judge-seen"


def name(settings: JudgeSettings) -> None:
    """Draw which LLM it is, literally."""
    st.text(f"{shortened(settings.model, 60)} · served at {settings.server.address} · prompt {settings.prompt.version}")


def offer(run: OpenRun, pairs: judging.Pairs, settings: JudgeSettings, key: str, *, ask_again: bool = False) -> None:
    """Draw what judging pairs takes, and the button that begins it; `ask_again` asks about those again that got no usable grade."""
    try:
        with st.spinner("Counting tokens ...", show_time=False):
            plan = judging.cost(run, pairs, settings, ask_again=ask_again)
    except HnmineError as error:
        failed("The cost cannot be estimated", error)
        return
    if not plan.calls:
        without = f", {plan.without_grade:,} of them without a grade" if plan.without_grade else ""
        st.text(f"{counted(plan.pairs, 'pair is', 'pairs are')} judged already{without}." if plan.pairs else "No pairs are left to judge.")
        return
    st.text(plan.cost if ask_again else str(plan))
    if over := plan.calls > settings.max_calls:
        st.text(f"More calls than the limit of {settings.max_calls:,}. Raise the limit, or choose fewer pairs.")
    what = counted(plan.calls, "other pair" if plan.judged else "pair")
    label = f"Ask again about {what}" if ask_again else f"Judge {what}"
    if st.button(label, icon=":material/gavel:", type="secondary" if ask_again else "primary", disabled=over, key=f"{key}-start"):
        try:
            judging.start(run, pairs, settings, ask_again=ask_again)
        except HnmineError as error:
            failed("The pairs cannot be judged", error)
            return
        st.rerun()


@st.fragment(run_every="1s")
def progress(job_id: int) -> None:
    """Draw a job that waits or runs."""
    job = resources.jobs().get(job_id)
    if not job.active:
        st.rerun()
    st.progress(job.done / job.total if job.total else 0.0, text=_text(job))
    if job.stopping:
        st.text("Stopping. Nothing more is asked, and the answers under way are stored.")
    elif st.button("Cancel", icon=":material/stop_circle:", key=f"judge-cancel-{job_id}"):
        resources.jobs().cancel(job_id)
        st.rerun()


def _text(job: Job) -> str:
    if job.state == "queued":
        return job.stage
    if not job.done:
        return "Asking the judge ..."
    left = job.seconds_left if job.seconds_left is not None else (job.total - job.done) / job.rate if job.rate else None
    parts = [f"{job.done:,} of {counted(job.total, 'pair')}", f"{job.rate:.1f} pairs/s"]
    parts += [f"{in_words(left)} left"] if left is not None else []
    with suppress(HnmineError):  # with which the job ends
        parts.append(f"{judging.tokens(job):,} tokens so far")
    return " · ".join(parts)


def ended(job: Job | None) -> None:
    """Draw how a job ended that did not succeed, or what it has to say, until it is dismissed."""
    if job is None or job.active or st.session_state.get(_SEEN) == job.id or not (job.error or job.result or job.state == "cancelled"):
        return
    with st.container(border=job.state == "failed"):
        if job.state == "failed":
            failed("Judging ended with an error. What was judged before is stored.", job.error)
        else:
            st.text("Cancelled. What is judged is stored." if job.state == "cancelled" else str(job.result))
        if st.button("Dismiss", type="tertiary", key=f"judge-dismiss-{job.id}"):
            st.session_state[_SEEN] = job.id
            st.rerun()
