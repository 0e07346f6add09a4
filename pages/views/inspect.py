"""Screen 3, Inspect: similarity histogram, list of queries, and the candidates of one query with their status."""

from __future__ import annotations

import streamlit as st

from hnmine.analysis import queries
from pages.inspect import candidates, query_list
from pages.shared import state

st.title("Inspect", anchor=False)
run, selection = state.opened()
corpus = run.inputs.corpus

# All queries

drawn = query_list.similarity_range(run, selection)
query = query_list.listed(run, selection, *query_list.asked_for(drawn))

# One query

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.subheader("Query", anchor=False)
    with st.container(horizontal=True, width="content"):
        with st.popover("Link", icon=":material/link:", help="A link to this run and query."):
            address = state.link("inspect", query_list.query_id(corpus, query))
            st.code(address, language=None, wrap_lines=True)
            st.text(state.link_note(address))
        if st.button(
            "Review candidates", icon=":material/rate_review:", key="inspect-review", help="Review this query's candidates one by one."
        ):
            st.session_state["review-query"] = corpus.queries[query]
            st.switch_page("pages/views/review.py")
st.text(corpus.queries[query])
details = queries.candidates_of(corpus, run.ranking, selection, query)
candidates.most_probable(run, details, query)
# The rank curve fits beside the positives, a map does not.
beside = st.columns([3, 2]) if st.session_state.get("inspect-figure", "curve") == "curve" else (st.container(), st.container())
with beside[0]:
    candidates.positives(run, details, query)
with beside[1]:
    candidates.figure(run, selection, details, query)
candidates.candidates(run, selection, details, query)
with st.expander("Search the passages", icon=":material/travel_explore:"):
    candidates.own_words(run)
