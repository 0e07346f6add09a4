"""Search, filter and sort the queries of a selection.

A browser is slow to receive and sort 100,000 rows, so the order is computed here and one page is sent. A search finds a query
by its own text, by a positive or by a chosen negative: the matching passages first, then the queries that have them. Ties are
broken by the index in the corpus, which is the order of text hashes; NaN (no margin without a negative) is last in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.analysis.diagnostics import LOW_RANK
from hnmine.analysis.explanation import CLOSE
from hnmine.analysis.queries import QueryTable
from hnmine.core.errors import SettingsError
from hnmine.data.corpus import Corpus
from hnmine.selection.select import Selection

__all__ = ["COLUMNS", "FILTERS", "Listing", "Texts", "alphabetical", "filtered", "found", "matching", "pages", "searched", "sorted_by"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FILTERS = ("above", "close", "low", "short", "reviewed", "unreviewed")
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
    """Search words, filter and order of the list.

    Attributes:
        words: the query, one of its positives or one of its chosen negatives must contain all words, in any order, and each phrase in
            double quotes as it is.
        show: "above" (hardest negative above the positive), "close" (above 95% of it), "low" (best positive not in the top 10),
            "short" (too few negatives, or random-filled ones), "reviewed" or "unreviewed" (with or without a verdict), or None for all.
        sort: one of `COLUMNS`; "ratio" is used instead of "fn_probability" where the run has no estimate.
        descending: the largest first.
    """

    words: str = ""
    show: Literal["above", "close", "low", "short", "reviewed", "unreviewed"] | None = None
    sort: str = "fn_probability"
    descending: bool = True

    def __post_init__(self) -> None:
        for name, known in (("sort", [*COLUMNS]), ("show", [None, *FILTERS])):
            if (value := getattr(self, name)) not in known:
                raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(map(str, known))}")


class Texts(NamedTuple):
    """The queries and passages of a corpus after `normalize_text`; `ids` (m,) are those of the passages, None if they are all."""

    queries: Sequence[str]
    passages: Sequence[str]
    ids: npt.NDArray[np.int32] | None = None


def sorted_by(asked: Listing, table: QueryTable) -> str:
    """Return the column that a list is sorted by: "ratio" instead of "fn_probability" where the run has no estimate."""
    return "ratio" if asked.sort == "fn_probability" and table.fn_probability is None else asked.sort


def alphabetical(folded: Sequence[str]) -> Ints:
    """Return each query's position in alphabetical order: (q,) int64."""
    places = np.empty(len(folded), dtype=np.int64)
    places[sorted(range(len(folded)), key=folded.__getitem__)] = np.arange(len(folded))
    return places


def found(asked: Listing, table: QueryTable, selection: Selection, among: Bools | None = None, places: Ints | None = None) -> Ints:
    """Return the queries that match, sorted: (m,) int64.

    Args:
        asked: search words, filter and order.
        table, selection: of the same run.
        among: the queries that match the words (`matching`), None without words.
        places: `alphabetical` of the queries, needed to sort by "query" only.
    """
    keep = filtered(asked.show, table, selection)
    if among is not None:
        keep &= among
    kept = np.flatnonzero(keep)
    column = sorted_by(asked, table)
    if column == "query":
        assert places is not None
        values = places[kept]
    else:
        values = getattr(table, column)[kept]
    if asked.descending:
        values = -values
    return kept[np.argsort(values, kind="stable")].astype(np.int64)  # NaN sorts last, and so does its negative


def filtered(show: str | None, table: QueryTable, selection: Selection) -> Bools:
    """Return which queries one of FILTERS keeps, all of them for None: (q,) bool."""
    with np.errstate(invalid="ignore"):
        match show:
            case "above":
                return np.asarray(table.hardest > table.positive)
            case "close":
                return np.asarray(table.ratio > CLOSE)
            case "low":
                return np.asarray(table.positive_rank >= LOW_RANK)
            case "short":
                return np.asarray(selection.short | (table.random_filled > 0))
            case "reviewed":
                return np.asarray(table.reviewed > 0)
            case "unreviewed":
                return np.asarray(table.reviewed == 0)
    return np.ones(len(table.positive), dtype=bool)


def searched(corpus: Corpus, selection: Selection) -> npt.NDArray[np.int32]:
    """Return the passages that a search looks at, ascending: the positives and the chosen negatives."""
    return np.unique(np.concatenate([corpus.positive_ids, selection.negatives[selection.negatives >= 0]]))


def matching(words: str, corpus: Corpus, selection: Selection, texts: Texts) -> Bools | None:
    """Return which queries match normalized words, by their own text or that of a positive or chosen negative; None without words."""
    if not (terms := _terms(words)):
        return None
    passages = np.zeros(len(corpus.passages) + 1, dtype=bool)  # the last one is where there is no negative
    passages[slice(-1) if texts.ids is None else texts.ids] = _containing(terms, texts.passages)
    held = _containing(terms, texts.queries) | passages[selection.negatives].any(axis=1)
    return np.asarray(held | np.logical_or.reduceat(passages[corpus.positive_ids], corpus.positive_starts[:-1]))


def _containing(terms: list[str], texts: Sequence[str]) -> Bools:
    first, *others = sorted(terms, key=len, reverse=True)
    hits = [place for place, text in enumerate(texts) if first in text and all(term in text for term in others)]
    held = np.zeros(len(texts), dtype=bool)
    held[hits] = True
    return held


def _terms(words: str) -> list[str]:
    """Split a search into words and phrases in double quotes; an open quote ends with the text."""
    terms: list[str] = []
    for number, part in enumerate(words.split('"')):
        terms += part.split() if number % 2 == 0 else [part.strip()]
    return [term for term in terms if term]


def pages(count: int, size: int) -> int:
    """Return the number of pages of `size` lines; an empty list has one."""
    return max(1, -(-count // size))
