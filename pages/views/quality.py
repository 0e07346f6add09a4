"""Screen 5, Quality: how many of the negatives are false, by a random sample that people review; and what else may be wrong."""

from __future__ import annotations

import streamlit as st

from pages.quality import audit_report, diagnostics
from pages.shared import state

st.title("Quality", anchor=False)
run, selection = state.opened()
audit_report.draw(run, selection)
st.subheader("Positives, hubs, lengths, scores", anchor=False)
diagnostics.draw(run, selection)
st.page_link("pages/views/runs.py", label="Compare with another run", icon=":material/compare_arrows:")
