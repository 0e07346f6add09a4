"""A running job: progress, speed, time left, and the button that cancels it."""

from __future__ import annotations

import time

import streamlit as st

from hnmine import resources
from hnmine.runs.jobs import Job

__all__ = ["show"]


def show(now: Job) -> None:
    """Draw a queued or running job."""
    with st.container(border=True):
        st.progress(now.done / now.total if now.total else 0.0, text=_text(now))
        if st.button("Cancel", icon=":material/stop_circle:", key=f"cancel-{now.id}"):
            resources.jobs().cancel(now.id)
            st.caption("Stopping at the next batch ...")


def _text(now: Job) -> str:
    if not now.total:
        return f"{now.stage} · {time.monotonic() - now.started:,.0f} s" if now.started else now.stage
    left = "" if now.seconds_left is None else f" · about {now.seconds_left:,.0f} s left"
    return f"{now.stage}: {now.done:,} of {now.total:,} {now.unit} · {now.rate:,.0f} {now.unit}/s{left}"
