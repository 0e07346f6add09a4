"""Screen 5, Quality: the false-negative rate, the health of the data and a suggested threshold; details are folded."""

from __future__ import annotations

import streamlit as st

from hnmine.core.errors import HnmineError
from pages.quality import agreement, bands, diagnostics, health_card, judge_card, rate_card, threshold_card
from pages.shared import audit as auditing
from pages.shared import state
from pages.shared.widgets import failed

run, selection = state.opened()
audit, damage = None, None
try:
    audit = auditing.current(run, selection)
except HnmineError as error:
    damage = error
with st.grid(3, min_column_width=260):
    with st.container(border=True, height="stretch"):
        st.subheader("False-negative rate", anchor=False)
        if damage is None:
            rate_card.draw(run, selection, audit)
        else:
            failed("The audit cannot be read", damage)
    with st.container(border=True, height="stretch"):
        st.subheader("Data health", anchor=False)
        health_card.draw(run, selection)
    with st.container(border=True, height="stretch"):
        st.subheader("Suggested threshold", anchor=False)
        threshold_card.draw(run, selection, audit)
with st.container(border=True):
    judge_card.draw(run, selection, audit)
agreement.draw(run, selection)
if audit is not None:
    details = st.expander("Audit in detail", icon=":material/verified:", key="quality-audit", on_change="rerun")
    if details.open:
        with details:
            rate_card.plan(run, audit)
            rate_card.new_sample(run, selection, audit)
            bands.draw(audit)
            st.write(rate_card.notes(audit))
details = st.expander("Data health in detail", icon=":material/monitor_heart:", key="quality-details", on_change="rerun")
if details.open:
    with details:
        diagnostics.draw(run, selection)
