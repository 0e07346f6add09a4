"""Statistics of a selection, cached for all reruns and sessions.

At 100,000 queries the histograms take 80 ms, the table of queries 60 ms and normalizing the queries for a search 100 ms.
Each cache keeps a few entries of at most some megabytes.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.analysis import compare, diagnostics, listing, maps, queries
from hnmine.core import text
from hnmine.core.text import normalize_text
from hnmine.resources import OpenRun
from hnmine.review import audit_sample
from hnmine.selection.select import Selection

Ints = npt.NDArray[np.int64]


def histograms(run: OpenRun, selection: Selection) -> queries.Histograms:
    """Return the similarity histograms of a run's selection."""
    return _histograms(run.key, _settings(selection), run, selection)


def query_table(run: OpenRun, selection: Selection) -> queries.QueryTable:
    """Return the table of the queries of a run's selection."""
    return _query_table(run.key, _settings(selection), run, selection)


def found(run: OpenRun, selection: Selection, asked: listing.Listing) -> Ints:
    """Return the queries that match, sorted: (m,) int64."""
    return _found(run.key, _settings(selection), msgspec.json.encode(asked).decode(), run, selection)


def common_words(run: OpenRun) -> frozenset[str]:
    """Return the words that are in too many of a run's passages to be informative."""
    return _common_words(run.run.id, run)


def overview(run: OpenRun) -> maps.Overview:
    """Return the map of a run's passages, which does not depend on verdicts."""
    return _overview(run.run.id, run)


def comparison(first: tuple[OpenRun, Selection], second: tuple[OpenRun, Selection]) -> compare.Comparison:
    """Return the comparison of two runs."""
    return _comparison(first[0].key, _settings(first[1]), second[0].key, _settings(second[1]), (first, second))


def fingerprint(run: OpenRun, selection: Selection) -> str:
    """Return the fingerprint of a selection's negatives."""
    return _fingerprint(run.key, _settings(selection), run, selection)


def positives(run: OpenRun, selection: Selection) -> diagnostics.Positives:
    """Return the rank of each positive."""
    return _positives(run.key, _settings(selection), run, selection)


def hubs(run: OpenRun, selection: Selection) -> diagnostics.Hubs:
    """Return how often each passage is chosen."""
    return _hubs(run.key, _settings(selection), run, selection)


def lengths(run: OpenRun, selection: Selection) -> diagnostics.Lengths:
    """Return the lengths of positives, chosen negatives and candidates."""
    return _lengths(run.key, _settings(selection), run, selection)


def separation(run: OpenRun, selection: Selection) -> diagnostics.Separation:
    """Return the separation of positives and chosen negatives by similarity."""
    return _separation(run.key, _settings(selection), run, selection)


def _settings(selection: Selection) -> str:
    return msgspec.json.encode(selection.settings).decode()


@st.cache_resource(show_spinner=False, max_entries=16)
def _histograms(key: str, settings: str, _run: OpenRun, _selection: Selection) -> queries.Histograms:
    return queries.score_histograms(_run.ranking, _selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _query_table(key: str, settings: str, _run: OpenRun, _selection: Selection) -> queries.QueryTable:
    return queries.query_table(_run.inputs.corpus, _run.ranking, _selection, resources.fn_probabilities(_run, _selection))


@st.cache_resource(show_spinner=False, max_entries=2)
def _folded(run_id: str, _run: OpenRun) -> list[str]:
    return [normalize_text(query) for query in _run.inputs.corpus.queries]


@st.cache_resource(show_spinner=False, max_entries=2)
def _places(run_id: str, _run: OpenRun) -> Ints:
    return listing.alphabetical(_folded(run_id, _run))


@st.cache_resource(show_spinner=False, max_entries=8)
def _found(key: str, settings: str, asked: str, _run: OpenRun, _selection: Selection) -> Ints:
    wanted = msgspec.json.decode(asked, type=listing.Listing)
    reads = wanted.words.strip() or wanted.sort == "query"
    return listing.found(
        wanted,
        query_table(_run, _selection),
        _selection,
        _folded(_run.run.id, _run) if reads else (),
        _places(_run.run.id, _run) if wanted.sort == "query" else None,
    )


@st.cache_resource(show_spinner=False, max_entries=4)
def _common_words(run_id: str, _run: OpenRun) -> frozenset[str]:
    return text.common_words(_run.inputs.corpus.passages)


@st.cache_resource(show_spinner=False, max_entries=4)
def _overview(run_id: str, _run: OpenRun) -> maps.Overview:
    return maps.overview(_run.inputs.corpus, _run.ranking)


@st.cache_resource(show_spinner=False, max_entries=4)
def _comparison(
    key: str, settings: str, other: str, other_settings: str, _sides: tuple[tuple[OpenRun, Selection], tuple[OpenRun, Selection]]
) -> compare.Comparison:
    return compare.compare(*(compare.Side(run.inputs.corpus, run.ranking, selection) for run, selection in _sides))


@st.cache_resource(show_spinner=False, max_entries=4)
def _fingerprint(key: str, settings: str, _run: OpenRun, _selection: Selection) -> str:
    return audit_sample.fingerprint(_run.inputs.corpus, _selection.negatives)


@st.cache_resource(show_spinner=False, max_entries=4)
def _positives(key: str, settings: str, _run: OpenRun, _selection: Selection) -> diagnostics.Positives:
    return diagnostics.positives(_run.inputs.corpus, _run.ranking, _selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _hubs(key: str, settings: str, _run: OpenRun, _selection: Selection) -> diagnostics.Hubs:
    return diagnostics.hubs(_run.inputs.corpus, _selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _lengths(key: str, settings: str, _run: OpenRun, _selection: Selection) -> diagnostics.Lengths:
    return diagnostics.lengths(_run.inputs.corpus, _run.ranking, _selection)


@st.cache_resource(show_spinner=False, max_entries=4)
def _separation(key: str, settings: str, _run: OpenRun, _selection: Selection) -> diagnostics.Separation:
    return diagnostics.separation(_run.inputs.corpus, _run.ranking, _selection)
