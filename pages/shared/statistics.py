"""Statistics of a selection, cached for all reruns and sessions.

At 100,000 queries the histograms take 80 ms, the table of queries 60 ms and normalizing the queries for a search 100 ms.
Each cache keeps a few entries of at most some megabytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine import resources
from hnmine.analysis import compare, diagnostics, listing, maps, queries
from hnmine.core import text
from hnmine.core.text import normalize_text
from hnmine.resources import OpenRun, cached
from hnmine.review import audit_sample
from hnmine.runs.summary import summarise
from hnmine.selection.select import Selection

Ints = npt.NDArray[np.int64]


@cached(16)
def figures(run: OpenRun, selection: Selection) -> tuple[int, str]:
    """Return the number of negatives, and the estimated false-negative rate as text; "" where the run has no signals."""
    fn_model = None if resources.estimator(run) is None else run.fn_model
    found = summarise(run.inputs, run.ranking, selection, fn_model=fn_model)
    return found.negatives, "" if found.estimated_fn_rate is None else str(found.estimated_fn_rate)


@cached(16)
def histograms(run: OpenRun, selection: Selection) -> queries.Histograms:
    """Return the similarity histograms of a run's selection."""
    return queries.score_histograms(run.ranking, selection)


@cached(4)
def query_table(run: OpenRun, selection: Selection) -> queries.QueryTable:
    """Return the table of the queries of a run's selection."""
    return queries.query_table(run.inputs.corpus, run.ranking, selection, resources.fn_probabilities(run, selection))


@cached(2, by_verdicts=False)
def _folded(run: OpenRun) -> list[str]:
    return [normalize_text(query) for query in run.inputs.corpus.queries]


@cached(2, by_verdicts=False)
def _places(run: OpenRun) -> Ints:
    return listing.alphabetical(_folded(run))


@cached(8)
def found(run: OpenRun, selection: Selection, asked: listing.Listing) -> Ints:
    """Return the queries that match, sorted: (m,) int64."""
    by_query = asked.sort == "query"
    folded = _folded(run) if by_query or asked.words.strip() else ()
    return listing.found(asked, query_table(run, selection), selection, folded, _places(run) if by_query else None)


@cached(4, by_verdicts=False)
def common_words(run: OpenRun) -> frozenset[str]:
    """Return the words that are in too many of a run's passages to be informative."""
    return text.common_words(run.inputs.corpus.passages)


@cached(4, by_verdicts=False)
def overview(run: OpenRun) -> maps.Overview:
    """Return the map of a run's passages, which does not depend on verdicts."""
    return maps.overview(run.inputs.corpus, run.ranking)


@cached(4)
def comparison(first: tuple[OpenRun, Selection], second: tuple[OpenRun, Selection]) -> compare.Comparison:
    """Return the comparison of two runs."""
    return compare.compare(*(compare.Side(run.inputs.corpus, run.ranking, selection) for run, selection in (first, second)))


@cached(4)
def fingerprint(run: OpenRun, selection: Selection) -> str:
    """Return the fingerprint of a selection's negatives."""
    return audit_sample.fingerprint(run.inputs.corpus, selection.negatives)


@cached(4)
def positives(run: OpenRun, selection: Selection) -> diagnostics.Positives:
    """Return the rank of each positive."""
    return diagnostics.positives(run.inputs.corpus, run.ranking, selection)


@cached(4)
def hubs(run: OpenRun, selection: Selection) -> diagnostics.Hubs:
    """Return how often each passage is chosen."""
    return diagnostics.hubs(run.inputs.corpus, selection)


@cached(4)
def lengths(run: OpenRun, selection: Selection) -> diagnostics.Lengths:
    """Return the lengths of positives, chosen negatives and candidates."""
    return diagnostics.lengths(run.inputs.corpus, run.ranking, selection)


@cached(4)
def separation(run: OpenRun, selection: Selection) -> diagnostics.Separation:
    """Return the separation of positives and chosen negatives by similarity."""
    return diagnostics.separation(run.inputs.corpus, run.ranking, selection)
