"""Reviewers' verdicts on (query, passage) pairs, and the pairs of a corpus that they apply to.

A verdict belongs to the two texts, not to a run or data set, so a review applies to later runs and is stored as JSON lines.
What mining does with each verdict: `Verdict`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.decode import convert, decoder
from hnmine.core.errors import InputError
from hnmine.core.paths import require_possible
from hnmine.core.text import _folded, shortened
from hnmine.data.corpus import Corpus, find
from hnmine.data.formats.lines import LineReader
from hnmine.data.formats.unreadable import reason_of

__all__ = [
    "CHOICES",
    "DECIDED",
    "Choice",
    "Verdict",
    "VerdictPairs",
    "match_verdicts",
    "pair_key",
    "pair_keys",
    "pairs_of",
    "parse_time",
    "read_verdicts",
    "sorted_by_time",
    "verdict_lines",
    "verdict_pairs",
]

Choice = Literal["negative", "relevant", "positive", "junk", "unsure"]
# The verdicts that change what is mined, and all verdicts.
DECIDED: tuple[Choice, ...] = ("negative", "relevant", "positive", "junk")
CHOICES: tuple[Choice, ...] = (*DECIDED, "unsure")

Ids = npt.NDArray[np.int32]
Pairs = tuple[Ids, Ids]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One reviewer's verdict on one pair.

    Attributes:
        query, passage: the texts as the reviewer saw them.
        verdict: "negative": a true negative, selected first; no filter and no window start rejects it. "relevant": a false negative,
            removed: never a negative of this query, not even as random fill. "positive": also relevant, and added to the positives
            of every row with this query. "junk": removed like "relevant", but not a false negative. "unsure": no effect.
        when: ISO 8601 time in UTC. who: the reviewer. note: the reviewer's remark. Each may be empty.
    """

    query: str
    passage: str
    verdict: Choice
    when: str = ""
    who: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VerdictPairs:
    """The pairs of one corpus that have a verdict.

    Attributes:
        negative, relevant, positive, junk: (queries, passages), each (m,) int32, sorted by query, then passage; no pair is in two groups.
        removed: the relevant and junk pairs together, in the same form.
        applied: the verdicts of these pairs, in that order; "unsure" verdicts are left out.
        elsewhere: number of verdicts on texts that the corpus does not contain.
        digest: 16 hexadecimal digits, equal for equal pairs and verdicts; empty without any.
    """

    negative: Pairs
    relevant: Pairs
    positive: Pairs
    junk: Pairs
    removed: Pairs
    applied: tuple[Verdict, ...]
    elsewhere: int
    digest: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of pairs of each verdict in `DECIDED`."""
        return {name: len(getattr(self, name)[0]) for name in DECIDED}


def pair_key(query: str, passage: str) -> bytes:
    """Return a 16-byte key of a pair, equal for all spellings that match after folding."""
    return pair_keys([(query, passage)])[0]


def pair_keys(pairs: Iterable[tuple[str, str]]) -> list[bytes]:
    """Return `pair_key` of each pair; a query of several pairs is folded and hashed once."""
    begun: dict[str, hashlib.blake2b] = {}
    found = []
    for query, passage in pairs:
        if (own := begun.get(query)) is None:
            own = begun[query] = hashlib.blake2b(_folded(query) + b"\0", digest_size=16)
        digest = own.copy()
        digest.update(_folded(passage))
        found.append(digest.digest())
    return found


def read_verdicts(path: str | os.PathLike[str], *, of_judges: bool = False) -> list[Verdict]:
    """Read verdicts from JSON lines with `query`, `passage`, `verdict` and, optionally, `when`, `who` and `note`; ignore others.

    Args:
        of_judges: read the lines of an LLM judge too, which have the key `judge`. They are not taken for the verdicts of people.

    Returns:
        The verdicts, oldest first (`sorted_by_time`); of several on one pair the last counts.

    Raises:
        InputError: the file cannot be read, or a line is not a valid verdict, or of a judge; nothing is read then.
    """
    require_possible("reviews", path, InputError)
    reader = LineReader(path)
    decode = decoder(Verdict)
    found: list[Verdict] = []
    for raw in reader.lines():
        try:
            # msgspec refuses an escaped lone surrogate, which JSON allows.
            verdict = convert(json.loads(raw), Verdict) if b"\\ud" in raw.lower() else decode(raw)
            empty = next((name for name in ("query", "passage") if not getattr(verdict, name).strip()), None)
            if empty:
                raise msgspec.ValidationError(f"`{empty}` is empty")
        except (msgspec.DecodeError, ValueError, RecursionError, TypeError) as error:
            raise InputError(
                f"{reader.where}:{reader.line} is not a valid verdict ({reason_of(error)}); write one object per line, such as "
                f'{{"query": "...", "passage": "...", "verdict": "relevant"}}; allowed verdicts: {", ".join(CHOICES)}'
            ) from error
        if not of_judges and b'"judge"' in raw and (judge := json.loads(raw).get("judge")):
            raise InputError(
                f"{reader.where}:{reader.line} is the verdict of a judge, {shortened(str(judge))}, and verdicts of people are read here; "
                "to mine with it, give this file as --judgements"
            )
        found.append(verdict)
    return sorted_by_time(found)


def sorted_by_time(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return verdicts sorted by `when`, oldest first; verdicts with equal times keep their order."""
    return sorted(verdicts, key=lambda each: parse_time(each.when))


def parse_time(when: str) -> datetime.datetime:
    """Parse an ISO 8601 time, in UTC unless it has a zone; an invalid or empty time sorts before all others."""
    try:
        parsed = datetime.datetime.fromisoformat(when)
    except ValueError:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[bytes]:
    """Yield one line of JSON for each verdict, newline included."""
    encode = msgspec.json.Encoder().encode
    for verdict in verdicts:
        try:
            yield encode(verdict) + b"\n"
        except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
            yield json.dumps(msgspec.structs.asdict(verdict)).encode() + b"\n"


def match_verdicts(corpus: Corpus, verdicts: Iterable[Verdict]) -> VerdictPairs:
    """Match verdicts to the pairs of a corpus; of several verdicts on one pair the last counts."""
    given = list(verdicts)
    queries, passages = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    found = {
        (query, passage): each for query, passage, each in zip(queries.tolist(), passages.tolist(), given, strict=True) if passage >= 0
    }
    return verdict_pairs(found, len(given) - int(np.count_nonzero(passages >= 0)))


def verdict_pairs(verdicts: Mapping[tuple[int, int], Verdict], elsewhere: int) -> VerdictPairs:
    """Return the pairs of a corpus with their verdicts, given by (query, passage); `elsewhere` verdicts are on other texts."""
    given = list(verdicts.values())
    table = np.array(list(verdicts), dtype=np.int32).reshape(-1, 2)
    choices = np.fromiter((CHOICES.index(each.verdict) for each in given), np.int8, len(given))
    order = np.lexsort((table[:, 1], table[:, 0]))
    order = order[choices[order] < len(DECIDED)]
    table, choices = table[order], choices[order]
    digest = hashlib.blake2b(table.astype("<i4").tobytes() + choices.tobytes(), digest_size=8)
    groups = {name: _columns(table[choices == number]) for number, name in enumerate(DECIDED)}
    return VerdictPairs(
        **groups,
        removed=_columns(table[np.isin(choices, [DECIDED.index("relevant"), DECIDED.index("junk")])]),
        applied=tuple(given[place] for place in order.tolist()),
        elsewhere=elsewhere,
        digest=digest.hexdigest() if len(order) else "",
    )


def pairs_of(corpus: Corpus, queries: Sequence[str], passages: Sequence[str]) -> Pairs:
    """Return the query and passage ids of texts: (p,) int32 each, both -1 where the corpus lacks one of the two texts."""
    asked, query_numbers = _numbered(queries)
    query_ids = find(asked, corpus.queries, corpus.query_hashes)[query_numbers]
    here = np.flatnonzero(query_ids >= 0)
    texts, passage_numbers = _numbered([passages[place] for place in here.tolist()])
    # Passages that can be mined are sorted by hash, and so are the others, which follow them.
    count = corpus.n_candidates
    found = find(texts, corpus.passages[:count], corpus.passage_hashes[:count])
    if count < len(corpus.passages):
        behind = find(texts, corpus.passages[count:], corpus.passage_hashes[count:])
        found = np.where((found < 0) & (behind >= 0), behind + count, found).astype(np.int32)
    passage_ids = np.full(len(passages), -1, np.int32)
    passage_ids[here] = found[passage_numbers]
    query_ids[passage_ids < 0] = -1
    return query_ids, passage_ids


def _numbered(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the different texts, and the number of each given one: the same text is in many pairs."""
    numbers: dict[str, int] = {}
    places = np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, len(texts))
    return list(numbers), places


def _columns(table: npt.NDArray[np.int32]) -> Pairs:
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
