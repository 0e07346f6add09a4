"""Screen 3, Inspect: the queries on the left; on the right one query, its histogram, and its negatives with verdict buttons."""

from __future__ import annotations

import streamlit as st

from pages.inspect import detail, query_list
from pages.shared import state

run, selection = state.opened()
query_list.adopt()
queries, query = st.columns([4, 9], gap="medium")
with queries, st.container(gap="small"):
    query_list.draw(run, selection)
with query, st.container(gap="xsmall"):
    detail.draw(run, selection)
