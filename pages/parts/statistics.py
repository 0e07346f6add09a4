"""Statistics of a selection, computed once for all reruns and sessions that look at it.

At 100,000 queries the histograms take 80 ms, the table of queries 60 ms and folding the queries for a search 70 ms: once
is nothing, at each letter of a search it is what makes a screen slow.
"""

from __future__ import annotations

import msgspec
import streamlit as st

from hnmine import quality
from hnmine.resources import OpenRun
from hnmine.select import Selection


def histograms(run: OpenRun, selection: Selection) -> quality.Histograms:
    """Return the similarity histograms of a run's selection."""
    return _histograms(run.key, _settings(selection), run, selection)


def query_table(run: OpenRun, selection: Selection) -> quality.QueryTable:
    """Return one line a query of a run's selection."""
    return _query_table(run.key, _settings(selection), run, selection)


def folded_queries(run: OpenRun) -> list[str]:
    """Return a run's queries in the form in which words are looked for in them."""
    return _folded_queries(run.run.id, run)


def _settings(selection: Selection) -> str:
    return msgspec.json.encode(selection.settings).decode()


@st.cache_resource(show_spinner=False, max_entries=16)
def _histograms(key: str, settings: str, _run: OpenRun, _selection: Selection) -> quality.Histograms:
    return quality.score_histograms(_run.ranking, _selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _query_table(key: str, settings: str, _run: OpenRun, _selection: Selection) -> quality.QueryTable:
    return quality.query_table(_run.inputs.corpus, _run.ranking, _selection)


@st.cache_resource(show_spinner=False, max_entries=2)
def _folded_queries(run_id: str, _run: OpenRun) -> list[str]:
    return [query.casefold() for query in _run.inputs.corpus.queries]
