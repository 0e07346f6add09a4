"""The audit sample: a stratified random sample of a selection's negatives, to estimate the rate of false negatives.

The population is the negatives of all *rows*, as a trainer sees them: a pair on three rows counts three times and is reviewed once.
Draws are hashes of seed, selection and texts, so a selection gives everybody the same sample, in any order of rows; a cleaned selection
gets a new one. A sample of n is the first n of one order, so more reviews continue it. The next draw is from the band where it narrows
the interval most, W √((p + 2/n) / n(n + 1)): Neyman's allocation by the expected rate p, with two more false negatives in n assumed. At
a rate of 1%, 120 reviews give ±2.3%, and ±2.9% by Neyman's rule alone (benchmarks/audit.py).
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import InputError, SettingsError
from hnmine.core.hashing import Hashes, query_keys, splitmix64
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings

__all__ = ["MOST", "AuditSettings", "Band", "Sample", "different_pairs", "draw", "fingerprint", "gain", "pairs_in"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

Measure = Literal["ratio", "risk"]

# Draws stored with a sample: 2,000 reviews give a rate of 2% to ±0.6%.
MOST = 2_000
# Each band gets this number of the first draws.
FLOOR = 5
# Ratios to the positive where bands end, at usual filter values; and the rates expected in each band, roughly those of three labelled
# test sets. They decide how many draws a band gets, never the estimate.
RATIOS = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
EXPECTED_BY_RATIO = (0.002, 0.004, 0.01, 0.03, 0.05, 0.05, 0.05)
# A band with a smaller fraction of the negatives is merged with the band below.
SMALLEST = 0.02
# Bands by risk end at these quantiles.
QUANTILES = (0.5, 0.8, 0.95, 0.99)
EXPECTED_BY_RISK = (0.002, 0.005, 0.02, 0.06, 0.15)
_HASH = re.compile("[0-9a-f]{16}")
# Makes the random draws of this module independent of others.
_PURPOSE = 5


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sample is drawn.

    Attributes:
        size: negatives to review, 1 to MOST: the first `size` of one order.
        seed: any integer; the same seed gives the same order.
        by: the measure of the bands: "ratio" to the positive, or "risk", an array from the caller.
    """

    size: int = 120
    seed: int = 42
    by: Measure = "ratio"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not 1 <= self.size <= MOST:
            raise SettingsError(f"size is {self.size!r}; an audit reviews 1 to {MOST:,} negatives")
        if self.by not in get_args(Measure):
            raise SettingsError(f"by is {self.by!r}; it must be one of {', '.join(get_args(Measure))}")


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A stratum: the negatives whose measure is above `low` and at most `high`; None for no bound.

    Attributes:
        negatives: their number, over all rows.
        similarity: their mean similarity to the query.
    """

    low: float | None
    high: float | None
    negatives: int
    similarity: float


class Draw(msgspec.Struct, frozen=True, array_like=True):
    """One draw: the hashes of the folded query and passage (16 hexadecimal digits), and the index of the band."""

    query: str
    passage: str
    band: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of one selection with the sizes of its bands, because reviewing changes the selection; plain JSON.

    Attributes:
        settings: how it was drawn; the first `settings.size` of `draws` are to be reviewed.
        selection: the settings of the selection. fingerprint: of its negatives.
        negatives: their number, over all rows.
        bands: the strata, lowest measure first.
        draws: in the order of review, at most MOST; a pair appears once for each row that it was drawn for.
        drawn: ISO 8601 time in UTC, or empty.
    """

    settings: AuditSettings
    selection: SelectionSettings
    fingerprint: str
    negatives: int
    bands: tuple[Band, ...]
    draws: tuple[Draw, ...]
    drawn: str = ""

    def __post_init__(self) -> None:
        for each in self.draws:
            if not 0 <= each.band < len(self.bands) or not _HASH.fullmatch(each.query) or not _HASH.fullmatch(each.passage):
                raise InputError(f"{each} has an unknown band or a hash that is not 16 hexadecimal digits; draw the sample again")

    @property
    def reviewed_draws(self) -> tuple[Draw, ...]:
        """The draws to review."""
        return self.draws[: self.settings.size]

    def of_size(self, size: int) -> Sample:
        """Return this sample with `size` draws to review, or all if there are fewer.

        Raises:
            SettingsError: the size is below 1.
        """
        settings = msgspec.structs.replace(self.settings, size=min(size, len(self.draws)))
        return msgspec.structs.replace(self, settings=settings)


def fingerprint(corpus: Corpus, negatives: Ids) -> str:
    """Return 16 hexadecimal digits that are equal for selections with the same (query, negative) texts.

    Args:
        corpus: of the selection.
        negatives: (q, N) int32, -1 for none. Ranks, scores and the order of rows do not matter.
    """
    rows, places = np.nonzero(negatives >= 0)
    codes = splitmix64(splitmix64(corpus.query_hashes)[rows] ^ corpus.passage_hashes[negatives[rows, places]])
    codes.sort()
    return hashlib.blake2b(codes.astype("<u8").tobytes(), digest_size=8).hexdigest()


def draw(
    corpus: Corpus, ranking: Ranking, selection: Selection, settings: AuditSettings, *, risk: npt.NDArray[np.floating] | None = None
) -> Sample:
    """Draw a sample of a selection.

    Args:
        corpus, ranking, selection: the run, after `apply_promotions`.
        settings: size, seed, and measure of the bands.
        risk: for bands by "risk": (q, N), any measure that grows with the probability of a false negative; only its order matters. NaN
            counts as the highest; values without a negative are ignored.

    Raises:
        SettingsError: `risk` is missing, not wanted, or has another shape.
        InputError: the selection has no negatives.
    """
    if (risk is None) != (settings.by == "ratio"):
        raise SettingsError(f"by is {settings.by!r}, and risk was {'not ' if risk is None else ''}given; only bands by risk need it")
    if risk is not None and risk.shape != selection.negatives.shape:
        raise SettingsError(f"risk has shape {risk.shape}; it must be {selection.negatives.shape}, one value for each negative")
    rows, places = np.nonzero(selection.negatives >= 0)
    if not len(rows):
        raise InputError("the selection has no negatives to audit; widen the rank window")
    passages, scores = selection.negatives[rows, places], selection.scores[rows, places].astype(np.float64)
    copies = np.bincount(corpus.row_queries, minlength=len(corpus.queries))[rows]
    measured = ratio_to_positive(scores, selection.positive[rows]) if risk is None else risk[rows, places]
    values = np.nan_to_num(measured.astype(np.float64), nan=np.inf)
    edges, expected = (_ratio_edges if risk is None else _risk_edges)(values, copies)
    band = np.searchsorted(edges, values)  # a value at an edge is in the band below
    sizes = np.bincount(band, weights=copies, minlength=len(expected)).astype(np.int64)
    sums = np.bincount(band, weights=copies * scores, minlength=len(expected))
    selection_fingerprint = fingerprint(corpus, selection.negatives)
    random_keys = query_keys(corpus.query_hashes, settings.seed, _PURPOSE)[rows]
    random_keys ^= corpus.passage_hashes[passages]
    first = [_lowest(np.flatnonzero(band == number), random_keys, copies, int(selection_fingerprint, 16)) for number in range(len(sizes))]
    order = _band_order(sizes, expected)
    taken = np.zeros(len(sizes), dtype=np.int64)
    draws = []
    for number in order:
        pair = first[number][taken[number]]
        taken[number] += 1
        query, passage = corpus.query_hashes[rows[pair]], corpus.passage_hashes[passages[pair]]
        draws.append(Draw(f"{int(query):016x}", f"{int(passage):016x}", number))
    ends = [None, *edges.tolist(), None]
    return Sample(
        settings=msgspec.structs.replace(settings, size=min(settings.size, len(draws))),
        selection=selection.settings,
        fingerprint=selection_fingerprint,
        negatives=int(sizes.sum()),
        bands=tuple(
            Band(low=ends[number], high=ends[number + 1], negatives=int(size), similarity=float(sums[number] / max(1, size)))
            for number, size in enumerate(sizes)
        ),
        draws=tuple(draws),
    )


def pairs_in(sample: Sample, corpus: Corpus) -> tuple[Ids, Ids]:
    """Return the queries and passages of the draws to review, in their order: (n,) int32 each, -1 where the corpus lacks the text."""
    draws, candidates = sample.reviewed_draws, corpus.passage_hashes[: corpus.n_candidates]
    return _places([each.query for each in draws], corpus.query_hashes), _places([each.passage for each in draws], candidates)


def _places(wanted: list[str], hashes: Hashes) -> Ids:
    """Return the indices of hashes in a sorted array, -1 for missing ones."""
    codes = np.array([int(each, 16) for each in wanted], dtype=np.uint64)
    places = np.minimum(np.searchsorted(hashes, codes), len(hashes) - 1)
    return np.where(hashes[places] == codes, places, -1).astype(np.int32)


def different_pairs(queries: Ids, passages: Ids) -> tuple[Ids, Ids]:
    """Return the pairs of `pairs_in` in their order, each once, without missing ones."""
    here = (queries >= 0) & (passages >= 0)
    queries, passages = queries[here], passages[here]
    first = np.sort(np.unique(queries.astype(np.int64) << 32 | passages, return_index=True)[1])
    return queries[first], passages[first]


def _ratio_edges(values: Floats, copies: Ints) -> tuple[Floats, Floats]:
    """Return the edges of the bands by ratio, with small bands merged, and the rate expected in each band."""
    kept = list(RATIOS)
    expected = list(EXPECTED_BY_RATIO)
    least = SMALLEST * copies.sum()
    for place in reversed(range(len(RATIOS))):  # from the top: each is merged with the band below
        above = np.searchsorted(np.array(kept), values) == place + 1
        if copies[above].sum() < least:
            del kept[place], expected[place]
    if kept and copies[values <= kept[0]].sum() < least:
        del kept[0], expected[0]
    return np.array(kept), np.array(expected)


def _risk_edges(values: Floats, copies: Ints) -> tuple[Floats, Floats]:
    """Return the edges of the bands by risk, without repeats, and the rate expected in each band."""
    order = np.argsort(values, kind="stable")
    ahead = np.cumsum(copies[order])
    at = np.searchsorted(ahead, np.array(QUANTILES) * ahead[-1])
    edges, first = np.unique(values[order][at], return_index=True)
    below = edges < values.max()  # no value is above the others
    return edges[below], np.append(np.array(EXPECTED_BY_RISK)[first[below]], EXPECTED_BY_RISK[-1])


def _lowest(pairs: Ints, random_keys: Hashes, copies: Ints, salt: int) -> Ints:
    """Return the pairs of a band in random order, one for each row, at most MOST."""
    units = np.repeat(pairs, copies[pairs])
    copy = np.arange(len(units)) - np.repeat(np.cumsum(copies[pairs]) - copies[pairs], copies[pairs])
    own = splitmix64(random_keys[units] ^ splitmix64(np.uint64(salt) + copy.astype(np.uint64)))
    if len(units) > MOST:
        near = np.argpartition(own, MOST - 1)[:MOST]
        units, own = units[near], own[near]
    return units[np.argsort(own, kind="stable")]


def gain(weights: Floats, expected: Floats, taken: Ints) -> Floats:
    """Return how much one more draw of each stratum narrows the interval, by weight, expected rate and draws so far; only its order means
    anything."""
    n = np.maximum(taken, 1)
    return np.asarray(weights * np.sqrt((expected + 2 / n) / (n * (n + 1))))


def _band_order(sizes: Ints, expected: Floats) -> list[int]:
    """Return the band of each draw: first FLOOR of each band, then the band where a draw narrows the interval most."""
    taken = np.zeros(len(sizes), dtype=np.int64)
    weights = sizes / sizes.sum()
    order: list[int] = []
    for _ in range(min(MOST, int(sizes.sum()))):
        worth = np.where(taken < FLOOR, 2.0 + FLOOR - taken, gain(weights, expected, taken))
        order.append(int(np.argmax(np.where(taken < sizes, worth, -1.0))))
        taken[order[-1]] += 1
    return order
