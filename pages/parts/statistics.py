"""Statistics of a selection, computed once for all reruns and sessions that look at it.

At 100,000 queries the histograms take 80 ms, the table of queries 60 ms and folding the queries for a search 70 ms: once
is nothing, at each letter of a search it is what makes a screen slow.
"""

from __future__ import annotations

import msgspec
import streamlit as st

from hnmine import quality, resources
from hnmine.select import SelectionSettings


def histograms(run_id: str, settings: SelectionSettings) -> quality.Histograms:
    """Return the similarity histograms of a run's selection."""
    return _histograms(run_id, msgspec.json.encode(settings).decode())


def query_table(run_id: str, settings: SelectionSettings) -> quality.QueryTable:
    """Return one line a query of a run's selection."""
    return _query_table(run_id, msgspec.json.encode(settings).decode())


@st.cache_resource(show_spinner=False, max_entries=16)
def _histograms(run_id: str, settings: str) -> quality.Histograms:
    selection = resources.selection(run_id, msgspec.json.decode(settings, type=SelectionSettings))
    return quality.score_histograms(resources.open_run(run_id).ranking, selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _query_table(run_id: str, settings: str) -> quality.QueryTable:
    run = resources.open_run(run_id)
    selection = resources.selection(run_id, msgspec.json.decode(settings, type=SelectionSettings))
    return quality.query_table(run.inputs.corpus, run.ranking, selection)


@st.cache_resource(show_spinner=False, max_entries=2)
def folded_queries(run_id: str) -> list[str]:
    """Return a run's queries in the form in which words are looked for in them."""
    return [query.casefold() for query in resources.open_run(run_id).inputs.corpus.queries]
