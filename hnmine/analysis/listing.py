"""Search, filter and sort the queries of a selection.

A browser is slow to receive and sort 100,000 rows, so the order is computed here and one page is sent. Everything at once
takes 80 ms for 100,000 queries x 15 negatives, most of it the search. Ties are broken by the index in the corpus, which
is the order of text hashes; NaN (a query without a negative has no margin) is last in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.diagnostics import LOW_RANK
from hnmine.analysis.explanation import CLOSE
from hnmine.analysis.queries import QueryTable
from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import DECIDED
from hnmine.selection.select import Selection

__all__ = ["COLUMNS", "FILTERS", "REVIEWED", "Listing", "alphabetical", "found", "pages", "sorted_by"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FILTERS = ("close", "above", "low", "short")
REVIEWED = ("reviewed", "unreviewed", *DECIDED)
# What can be sorted by, and whether the largest comes first by default.
COLUMNS = {
    "fn_probability": True,
    "ratio": True,
    "hardest": True,
    "margin": False,
    "positive": False,
    "positive_rank": True,
    "negatives": False,
    "reviewed": True,
    "query": False,
}


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search words, filters and order of the list.

    Attributes:
        words: the query must contain all words, in any order, and each phrase in double quotes as it is.
        show: "close" (hardest negative above 95% of the positive), "above" (above the positive), "low" (best positive not in the
            top 10), "short" (too few negatives, or random-filled ones), or None for all.
        reviewed: queries with a verdict ("reviewed"), without one ("unreviewed"), or with one of that kind; None for all.
        low, high: queries with a chosen negative whose similarity is in this range; None for no bound.
        sort: one of `COLUMNS`; "ratio" is used instead of "fn_probability" where the run has no estimate.
        descending: the largest first.
    """

    words: str = ""
    show: Literal["close", "above", "low", "short"] | None = None
    reviewed: str | None = None
    low: float | None = None
    high: float | None = None
    sort: str = "fn_probability"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.sort not in COLUMNS:
            raise SettingsError(f"sort is {self.sort!r}; it must be one of {', '.join(COLUMNS)}")
        for name, known in (("show", FILTERS), ("reviewed", REVIEWED)):
            if (value := getattr(self, name)) is not None and value not in known:
                raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(known)}, or None")


def sorted_by(asked: Listing, table: QueryTable) -> str:
    """Return the column that a list is sorted by: "ratio" instead of "fn_probability" where the run has no estimate."""
    return "ratio" if asked.sort == "fn_probability" and table.fn_probability is None else asked.sort


def alphabetical(folded: Sequence[str]) -> Ints:
    """Return each query's position in alphabetical order: (q,) int64."""
    places = np.empty(len(folded), dtype=np.int64)
    places[sorted(range(len(folded)), key=folded.__getitem__)] = np.arange(len(folded))
    return places


def found(asked: Listing, table: QueryTable, selection: Selection, folded: Sequence[str], places: Ints | None = None) -> Ints:
    """Return the queries that match, sorted: (m,) int64.

    Args:
        asked: search words, filters and order.
        table, selection: of the same run.
        folded: the queries after `normalize_text`, used for `words` and "query" only; normalize `words` too.
        places: `alphabetical(folded)`, used to sort by "query" only.
    """
    keep = _matches(asked, table, selection)
    among = np.flatnonzero(keep)
    if terms := _terms(asked.words):
        hits = (all(term in folded[query] for term in terms) for query in among.tolist())
        among = among[np.fromiter(hits, bool, len(among))]
    if asked.sort == "query":
        values = (alphabetical(folded) if places is None else places)[among]
    else:
        values = getattr(table, sorted_by(asked, table))[among]
    if asked.descending:
        values = -values
    return among[np.argsort(values, kind="stable")].astype(np.int64)  # NaN sorts last, and so does its negative


def _matches(asked: Listing, table: QueryTable, selection: Selection) -> Bools:
    keep = np.ones(len(table.positive), dtype=bool)
    with np.errstate(invalid="ignore"):
        if asked.show == "close":
            keep &= table.ratio > CLOSE
        elif asked.show == "above":
            keep &= table.hardest > table.positive
        elif asked.show == "low":
            keep &= table.positive_rank >= LOW_RANK
        elif asked.show == "short":
            keep &= selection.short | (table.random_filled > 0)
        if asked.low is not None or asked.high is not None:
            low, high = -np.inf if asked.low is None else asked.low, np.inf if asked.high is None else asked.high
            # NaN, where there is no negative, compares as false
            keep &= ((selection.scores >= low) & (selection.scores <= high)).any(axis=1)
    if asked.reviewed == "unreviewed":
        keep &= table.reviewed == 0
    elif asked.reviewed is not None:
        keep &= (table.reviewed if asked.reviewed == "reviewed" else table.verdicts[asked.reviewed]) > 0
    return keep


def _terms(words: str) -> list[str]:
    """Split a search into words and phrases in double quotes; an open quote ends with the text."""
    terms: list[str] = []
    for number, part in enumerate(words.split('"')):
        terms += part.split() if number % 2 == 0 else [part.strip()]
    return [term for term in terms if term]


def pages(count: int, size: int) -> int:
    """Return the number of pages of `size` lines; an empty list has one."""
    return max(1, -(-count // size))
