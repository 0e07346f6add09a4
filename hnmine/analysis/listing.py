"""Which queries a screen lists, and in which order: search, filters, a range of similarity, and a sort by any column.

A table in a browser that holds 100,000 queries is slow to send and slower to sort; here a page of it is computed and only
that is sent. At 100,000 queries x 15 negatives everything at once (words, filter, range, sort) takes 80 ms on one core,
most of it the search for the words.

Ties are broken by the query's place in the corpus, which is by text hash: the order of a list depends on content alone.
What cannot be compared (a query without a negative has no margin) stands last, whichever way the sort goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.queries import QueryTable
from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import DECIDED
from hnmine.selection.select import Selection

__all__ = ["COLUMNS", "FILTERS", "REVIEWED", "Listing", "alphabetical", "found", "pages", "sorted_by"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FILTERS = ("close", "above", "low", "short")
REVIEWED = ("reviewed", "unreviewed", *DECIDED)
# What can be sorted by, and whether the largest comes first when nobody says.
COLUMNS = {
    "fn_probability": True,
    "share": True,
    "hardest": True,
    "margin": False,
    "positive": False,
    "positive_rank": True,
    "negatives": False,
    "reviewed": True,
    "query": False,
}


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for.

    Attributes:
        words: all of them must stand in the query, in any order; what stands in double quotes must stand there as it is.
        show: "close" (hardest negative over 95 % of the positive), "above" (over the positive), "low" (best positive below the top
            10), "short" (short or back-filled), or None for all.
        reviewed: "reviewed", "unreviewed", or one of `DECIDED`: queries with a passage of that verdict; None for all.
        low, high: queries with a chosen negative whose similarity is in this range; None for no bound.
        sort: one of `COLUMNS`; descending: the largest first. "fn_probability", the highest estimate among the negatives, stands for "share"
            where nothing can be estimated.
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
                raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(known)}, or left out")


def sorted_by(asked: Listing, table: QueryTable) -> str:
    """Return the column that a list is sorted by: "share" instead of "fn_probability" where nothing can be estimated."""
    return "share" if asked.sort == "fn_probability" and table.fn_probability is None else asked.sort


def alphabetical(folded: Sequence[str]) -> Ints:
    """Return the place of each query in the order of the alphabet: (q,) int64."""
    places = np.empty(len(folded), dtype=np.int64)
    places[sorted(range(len(folded)), key=folded.__getitem__)] = np.arange(len(folded))
    return places


def found(asked: Listing, table: QueryTable, selection: Selection, folded: Sequence[str], places: Ints | None = None) -> Ints:
    """Return the queries that fit, sorted: (m,) int64.

    Args:
        asked: what to look for.
        table, selection: of the same run.
        folded: the queries after `corpus.fold`; looked at only for `words`. The words are taken as they are: fold them too.
        places: `alphabetical(folded)`, needed only to sort by "query".
    """
    keep = _kept(asked, table, selection)
    if terms := _terms(asked.words):
        among = np.flatnonzero(keep)
        hits = (all(term in folded[query] for term in terms) for query in among.tolist())
        among = among[np.fromiter(hits, bool, len(among))]
    else:
        among = np.flatnonzero(keep)
    if asked.sort == "query":
        values = (alphabetical(folded) if places is None else places)[among]
    else:
        values = getattr(table, sorted_by(asked, table))[among]
    if asked.descending:
        values = -values
    return among[np.argsort(values, kind="stable")].astype(np.int64)  # NaN is last for NumPy, and its negative too


def _kept(asked: Listing, table: QueryTable, selection: Selection) -> Bools:
    keep = np.ones(len(table.positive), dtype=bool)
    with np.errstate(invalid="ignore"):
        if asked.show == "close":
            keep &= table.share > 0.95
        elif asked.show == "above":
            keep &= table.hardest > table.positive
        elif asked.show == "low":
            keep &= table.positive_rank >= 10
        elif asked.show == "short":
            keep &= selection.short | (table.random_filled > 0)
        if asked.low is not None or asked.high is not None:
            inside = selection.negatives >= 0
            if asked.low is not None:
                inside &= selection.scores >= asked.low
            if asked.high is not None:
                inside &= selection.scores <= asked.high
            keep &= inside.any(axis=1)
    if asked.reviewed == "unreviewed":
        keep &= table.reviewed == 0
    elif asked.reviewed is not None:
        keep &= (table.reviewed if asked.reviewed == "reviewed" else table.verdicts[asked.reviewed]) > 0
    return keep


def _terms(words: str) -> list[str]:
    """Split a search into words and, from between double quotes, phrases; a quote that is not closed counts as closed at the end."""
    terms: list[str] = []
    for number, part in enumerate(words.split('"')):
        terms += part.split() if number % 2 == 0 else [part.strip()]
    return [term for term in terms if term]


def pages(count: int, size: int) -> int:
    """Return how many pages of `size` lines `count` lines fill; an empty list has one."""
    return max(1, -(-count // size))
