"""The audit's sample: which of a selection's negatives people review, so that they tell how many of all are false.

The population is the negatives of the file's *rows*, as a trainer meets them: what stands on three rows that ask the same counts three
times, may be drawn for each of them, and is reviewed once. It is the selection as it is when the sample is drawn. Whoever reviews it
changes the selection (what was dropped leaves, others move in), so a sample is kept with the sizes of its bands, and is about that
selection only.

Negatives are drawn at random within *bands*: of their share of the positive's score, or of any measure of risk that a caller has. Each
negative's lot is a hash of the seed, the selection's fingerprint, the query's text and the passage's, so the same selection gives the same
sample to everybody, in any order of the rows. The fingerprint is in it because another selection must be drawn anew: where an earlier audit
found false negatives they have left, and by the same lots its cleaned sample would come again and find none.

There is one order of all draws, of which a sample of n is the first n: reviewing more goes on where it was, and stopping early leaves a
sample too. The next draw is from the band where it narrows the interval most, W √((p + 2/n) / n(n + 1)): Neyman's allocation by the
expected rate p, as if two in n more were found there. An upper limit cannot trust a guess that a large band holds none: by Neyman's rule
alone 120 reviews of five bands of risk told a rate of 1 % to within ±2.9 %, spread so to ±2.3 %; 400 of them to ±1.1 and ±1.0 %
(benchmarks/audit.py).
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

__all__ = ["MOST", "AuditSettings", "Band", "Sample", "different_pairs", "draw", "fingerprint", "pairs_in"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

Measure = Literal["share", "risk"]

# Draws that a sample is kept with: of 2,000 reviews a rate of 2 % is known to within 0.6 %, and nobody does more.
MOST = 2_000
# Each band has so many of the first draws.
FLOOR = 5
# Shares of the positive's score where a band ends, where guards are set; and the rates expected in each band, as three judged sets have
# them by and large. They decide how many are drawn from where, never what is estimated.
SHARES = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
EXPECTED_BY_SHARE = (0.002, 0.004, 0.01, 0.03, 0.05, 0.05, 0.05)
# A band with less than this part of the negatives goes to its neighbour below.
SMALLEST = 0.02
# Bands of risk hold these parts of the negatives, the least risky first.
QUANTILES = (0.5, 0.8, 0.95, 0.99)
EXPECTED_BY_RISK = (0.002, 0.005, 0.02, 0.06, 0.15)
_HASH = re.compile("[0-9a-f]{16}")
# Draws of this module have nothing to do with those of others.
_PURPOSE = 5


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sample is drawn.

    Attributes:
        size: negatives of rows to be reviewed, 1 to MOST; the first `size` of one order.
        seed: any integer; the same seed gives the same order.
        by: what bands are of: "share" of the positive's score, or "risk", an array that the caller has.
    """

    size: int = 120
    seed: int = 42
    by: Measure = "share"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not 1 <= self.size <= MOST:
            raise SettingsError(f"size is {self.size!r}; an audit reviews 1 to {MOST:,} negatives")
        if self.by not in get_args(Measure):
            raise SettingsError(f"by is {self.by!r}; it must be one of {', '.join(get_args(Measure))}")


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the negatives: those of which the measure is above `low` and at most `high`; None for no bound.

    Attributes:
        negatives: how many rows' negatives are in it.
        similarity: their mean similarity to the query.
    """

    low: float | None
    high: float | None
    negatives: int
    similarity: float


class Draw(msgspec.Struct, frozen=True, array_like=True):
    """One draw: the query and the passage by the hashes of their folded texts (16 hexadecimal digits), and the number of the band."""

    query: str
    passage: str
    band: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of one selection, with all that an estimate needs; plain JSON.

    Attributes:
        settings: how it was drawn; the first `settings.size` of `draws` are to be reviewed.
        selection: the settings of the selection; fingerprint: of its negatives, see `fingerprint`.
        negatives: how many there were, over all rows.
        bands: the strata, the lowest measure first.
        draws: in the order of review, at most MOST; a pair stands there again if it was drawn for another row.
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
                raise InputError(f"{each} is of no band, or its texts are no hashes of 16 hexadecimal digits; draw the sample again")

    @property
    def reviewed_draws(self) -> tuple[Draw, ...]:
        """The draws that are to be reviewed."""
        return self.draws[: self.settings.size]

    def of_size(self, size: int) -> Sample:
        """Return this sample with so many draws to be reviewed, or as many as there are; all of a smaller one are in it.

        Raises:
            SettingsError: the size is below 1.
        """
        settings = msgspec.structs.replace(self.settings, size=min(size, len(self.draws)))
        return msgspec.structs.replace(self, settings=settings)


def fingerprint(corpus: Corpus, negatives: Ids) -> str:
    """Return 16 hexadecimal digits that all selections of the same (query, negative) texts have in common.

    Args:
        corpus: of the selection.
        negatives: (q, N) int32, -1 for none. Rank, score and the order of the rows have no say.
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
        corpus, ranking, selection: the run, with its promotions.
        settings: size, seed, and what the bands are of.
        risk: for bands of "risk": (q, N), how likely each negative is false by any measure; only its order counts. Where there is no
            negative it is not looked at; NaN counts as the highest.

    Raises:
        SettingsError: `risk` is missing, not wanted, or of another shape.
        InputError: the selection has no negative.
    """
    if (risk is None) != (settings.by == "share"):
        raise SettingsError(f"by is {settings.by!r}, and risk was {'not ' if risk is None else ''}given; bands of risk need it")
    if risk is not None and risk.shape != selection.negatives.shape:
        raise SettingsError(f"risk is {risk.shape}; it must be {selection.negatives.shape}, one value for each negative")
    rows, places = np.nonzero(selection.negatives >= 0)
    if not len(rows):
        raise InputError("the selection has no negative, so there is nothing to audit; widen the rank window")
    passages, scores = selection.negatives[rows, places], selection.scores[rows, places].astype(np.float64)
    copies = np.bincount(corpus.row_queries, minlength=len(corpus.queries))[rows]
    measured = ratio_to_positive(scores, selection.positive[rows]) if risk is None else risk[rows, places]
    values = np.nan_to_num(measured.astype(np.float64), nan=np.inf)
    edges, expected = (_share_edges if risk is None else _risk_edges)(values, copies)
    band = np.searchsorted(edges, values)  # a value that is an edge is in the band below it
    sizes = np.bincount(band, weights=copies, minlength=len(expected)).astype(np.int64)
    sums = np.bincount(band, weights=copies * scores, minlength=len(expected))
    mark = fingerprint(corpus, selection.negatives)
    random_keys = query_keys(corpus.query_hashes, settings.seed, _PURPOSE)[rows]
    random_keys ^= corpus.passage_hashes[passages]
    first = [_lowest(np.flatnonzero(band == number), random_keys, copies, int(mark, 16)) for number in range(len(sizes))]
    turns = _turns(sizes, expected)
    taken = np.zeros(len(sizes), dtype=np.int64)
    draws = []
    for number in turns:
        pair = first[number][taken[number]]
        taken[number] += 1
        query, passage = corpus.query_hashes[rows[pair]], corpus.passage_hashes[passages[pair]]
        draws.append(Draw(f"{int(query):016x}", f"{int(passage):016x}", number))
    ends = [None, *edges.tolist(), None]
    return Sample(
        settings=msgspec.structs.replace(settings, size=min(settings.size, len(draws))),
        selection=selection.settings,
        fingerprint=mark,
        negatives=int(sizes.sum()),
        bands=tuple(
            Band(low=ends[number], high=ends[number + 1], negatives=int(size), similarity=float(sums[number] / max(1, size)))
            for number, size in enumerate(sizes)
        ),
        draws=tuple(draws),
    )


def pairs_in(sample: Sample, corpus: Corpus) -> tuple[Ids, Ids]:
    """Return the queries and passages of the draws that are to be reviewed, in their order: (n,) int32 each, -1 for what is not there."""
    draws, candidates = sample.reviewed_draws, corpus.passage_hashes[: corpus.n_candidates]
    return _places([each.query for each in draws], corpus.query_hashes), _places([each.passage for each in draws], candidates)


def _places(wanted: list[str], hashes: Hashes) -> Ids:
    """Return where hashes stand among ascending ones, -1 for those that do not."""
    codes = np.array([int(each, 16) for each in wanted], dtype=np.uint64)
    places = np.minimum(np.searchsorted(hashes, codes), len(hashes) - 1)
    return np.where(hashes[places] == codes, places, -1).astype(np.int32)


def different_pairs(queries: Ids, passages: Ids) -> tuple[Ids, Ids]:
    """Return the pairs of `pairs_in` that people have to look at, in their order: each once, without those that are not there."""
    here = (queries >= 0) & (passages >= 0)
    queries, passages = queries[here], passages[here]
    first = np.sort(np.unique(queries.astype(np.int64) << 32 | passages, return_index=True)[1])
    return queries[first], passages[first]


def _share_edges(values: Floats, copies: Ints) -> tuple[Floats, Floats]:
    """Return where the bands of shares end, small ones joined to a neighbour, and the rate expected in each."""
    kept = list(SHARES)
    expected = list(EXPECTED_BY_SHARE)
    least = SMALLEST * copies.sum()
    for place in reversed(range(len(SHARES))):  # from the top: each goes to the one below it
        above = np.searchsorted(np.array(kept), values) == place + 1
        if copies[above].sum() < least:
            del kept[place], expected[place]
    if kept and copies[values <= kept[0]].sum() < least:
        del kept[0], expected[0]
    return np.array(kept), np.array(expected)


def _risk_edges(values: Floats, copies: Ints) -> tuple[Floats, Floats]:
    """Return the quantiles of the risk where bands end, equal ones once, and the rate expected in each band."""
    order = np.argsort(values, kind="stable")
    ahead = np.cumsum(copies[order])
    at = np.searchsorted(ahead, np.array(QUANTILES) * ahead[-1])
    edges, first = np.unique(values[order][at], return_index=True)
    below = edges < values.max()  # nothing would be above the others
    return edges[below], np.append(np.array(EXPECTED_BY_RISK)[first[below]], EXPECTED_BY_RISK[-1])


def _lowest(pairs: Ints, random_keys: Hashes, copies: Ints, mark: int) -> Ints:
    """Return the pairs of a band in the order of their lots, one for each row, and no more than can be drawn."""
    units = np.repeat(pairs, copies[pairs])
    turn = np.arange(len(units)) - np.repeat(np.cumsum(copies[pairs]) - copies[pairs], copies[pairs])
    own = splitmix64(random_keys[units] ^ splitmix64(np.uint64(mark) + turn.astype(np.uint64)))
    if len(units) > MOST:
        near = np.argpartition(own, MOST - 1)[:MOST]
        units, own = units[near], own[near]
    return units[np.argsort(own, kind="stable")]


def _turns(sizes: Ints, expected: Floats) -> list[int]:
    """Return the band of each draw in turn: first FLOOR of each, then where one more narrows the interval most."""
    taken = np.zeros(len(sizes), dtype=np.int64)
    weights = sizes / sizes.sum()
    turns = []
    for _ in range(min(MOST, int(sizes.sum()))):
        n = np.maximum(taken, 1)
        worth = weights * np.sqrt((expected + 2 / n) / (n * (n + 1)))
        worth = np.where(taken < FLOOR, 2.0 + FLOOR - taken, worth)
        turns.append(int(np.argmax(np.where(taken < sizes, worth, -1.0))))
        taken[turns[-1]] += 1
    return turns
