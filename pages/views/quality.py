"""Screen 5, Quality: the audit, which estimates the rate of false negatives from a reviewed random sample, and diagnostics."""

from __future__ import annotations

import streamlit as st

from pages.quality import audit_report, diagnostics
from pages.shared import state

st.title("Quality", anchor=False)
run, selection = state.opened()
audit_report.draw(run, selection)
st.subheader("Diagnostics", anchor=False)
diagnostics.draw(run, selection)
st.page_link("pages/views/runs.py", label="Compare with another run", icon=":material/compare_arrows:")
