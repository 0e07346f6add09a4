"""Statistics of a selection, cached for all reruns and sessions.

At 100,000 queries the bins of a run take 600 ms, the histograms of a selection 20 ms, the table of queries 60 ms and
normalizing the queries for a search 100 ms. The passages are normalized at the first search.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine import resources
from hnmine.analysis import compare, diagnostics, listing, queries
from hnmine.analysis import histograms as histogram
from hnmine.core import text
from hnmine.core.text import normalize_text
from hnmine.data.texts import Texts
from hnmine.resources import OpenRun, cached
from hnmine.review import audit_sample
from hnmine.runs.summary import Summary, summarise
from hnmine.selection.select import Selection

Ints = npt.NDArray[np.int64]


@cached()
def bins(run: OpenRun) -> histogram.RunBins:
    """Return the bins of a run's histograms, the same for every selection."""
    return histogram.run_bins(run.ranking)


@cached()
def summary(run: OpenRun, selection: Selection) -> Summary:
    """Return the counts and averages of a run's selection, with the estimated false-negative rate where the run has signals."""
    return summarise(run.inputs, run.ranking, selection, fn_model=resources.estimator(run))


def figures(run: OpenRun, selection: Selection) -> tuple[int, str]:
    """Return the number of negatives, and the estimated false-negative rate as text; "" where the run has no signals."""
    found = summary(run, selection)
    return found.negatives, "" if found.estimated_fn_rate is None else str(found.estimated_fn_rate)


@cached()
def histograms(run: OpenRun, selection: Selection) -> histogram.Histograms:
    """Return the similarity histograms of a run's selection."""
    return histogram.score_histograms(run.ranking, selection, bins(run))


@cached()
def overlay(first: tuple[OpenRun, Selection], second: tuple[OpenRun, Selection], same_model: bool) -> histogram.Overlay:
    """Return the histograms of two selections in common bins."""
    sides = (compare.Side(run.inputs.corpus, run.ranking, selection) for run, selection in (first, second))
    return histogram.overlay(*sides, same_model=same_model)


@cached()
def query_table(run: OpenRun, selection: Selection) -> queries.QueryTable:
    """Return the table of the queries of a run's selection."""
    return queries.query_table(run.inputs.corpus, run.ranking, selection, resources.fn_probabilities(run, selection))


@cached(by_verdicts=False)
def _folded(run: OpenRun) -> list[str]:
    return [normalize_text(query) for query in run.inputs.corpus.queries]


@cached(by_verdicts=False)
def _folded_passages(run: OpenRun) -> list[str]:
    return [normalize_text(passage) for passage in run.inputs.corpus.passages]


@cached(by_verdicts=False)
def _places(run: OpenRun) -> Ints:
    return listing.alphabetical(_folded(run))


@cached()
def _folded_of(run: OpenRun, selection: Selection) -> listing.Texts:
    corpus = run.inputs.corpus
    if not isinstance(corpus.passages, Texts):
        return listing.Texts(_folded(run), _folded_passages(run))
    ids = listing.searched(corpus, selection)  # the others do not fit into memory
    return listing.Texts(_folded(run), [normalize_text(passage) for passage in corpus.passages.take(ids)], ids)


@cached()
def _matching(run: OpenRun, selection: Selection, words: str) -> listing.Bools | None:
    return listing.matching(words, run.inputs.corpus, selection, _folded_of(run, selection))


@cached()
def found(run: OpenRun, selection: Selection, asked: listing.Listing) -> Ints:
    """Return the queries that match, sorted: (m,) int64."""
    among = _matching(run, selection, asked.words) if asked.words.strip() else None
    return listing.found(asked, query_table(run, selection), selection, among, _places(run) if asked.sort == "query" else None)


@cached()
def filter_counts(run: OpenRun, selection: Selection) -> dict[str, int]:
    """Return the number of queries that each filter of the list keeps."""
    table = query_table(run, selection)
    return {name: int(np.count_nonzero(listing.filtered(name, table, selection))) for name in listing.FILTERS}


@cached(by_verdicts=False)
def common_words(run: OpenRun) -> frozenset[str]:
    """Return the words that are in too many of a run's passages to be informative."""
    return text.common_words(run.inputs.corpus.passages)


@cached()
def comparison(first: tuple[OpenRun, Selection], second: tuple[OpenRun, Selection]) -> compare.Comparison:
    """Return the comparison of two runs."""
    return compare.compare(*(compare.Side(run.inputs.corpus, run.ranking, selection) for run, selection in (first, second)))


@cached()
def fingerprint(run: OpenRun, selection: Selection) -> str:
    """Return the fingerprint of a selection's negatives."""
    return audit_sample.fingerprint(run.inputs.corpus, selection.negatives)


@cached()
def positives(run: OpenRun, selection: Selection) -> diagnostics.Positives:
    """Return the rank of each positive."""
    return diagnostics.positives(run.inputs.corpus, run.ranking, selection)


@cached()
def hubs(run: OpenRun, selection: Selection) -> diagnostics.Hubs:
    """Return how often each passage is chosen."""
    return diagnostics.hubs(run.inputs.corpus, selection)


@cached()
def lengths(run: OpenRun, selection: Selection) -> diagnostics.Lengths:
    """Return the lengths of positives, chosen negatives and candidates."""
    return diagnostics.lengths(run.inputs.corpus, run.ranking, selection)


@cached()
def separation(run: OpenRun, selection: Selection) -> diagnostics.Separation:
    """Return the separation of positives and chosen negatives by similarity."""
    return diagnostics.separation(run.inputs.corpus, run.ranking, selection)
