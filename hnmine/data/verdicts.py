"""What people decided about query-candidate pairs, and what that means for one corpus.

A verdict belongs to a query's text and a passage's text, not to a run: it bears on every row, of every data set, that asks
the same and holds the same passage ("same" as everywhere: after `corpus.fold`). So a review outlives the runs it was made
on, and travels as JSON lines.

`match_verdicts` finds the pairs in a corpus; what `select` and the exports make of them:

- *drop*: a false negative or junk. Never a negative of this query again, not even as back-fill.
- *promote*: it answers the query. From then on a positive in all respects: it joins `pos` of every row with this query,
  counts for the guards' anchor, and is never its negative.
- *keep*: a true negative. It is taken before all others; neither a guard nor the window's start, which are there against
  false negatives, keep it out. The window's end does, as long as the window has enough: a negative that a newer model ranks
  far away has done its work. Where places have to be filled from outside, kept ones come first.
- *skip*: nobody knows. It has no effect on mining.

Finding 10,000 verdicts takes 0.1 s, most of it folding and hashing their texts.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import InputError
from hnmine.core.text import normalize_text
from hnmine.data.corpus import Corpus, find
from hnmine.data.lines import MAX_LINE_BYTES, LineReader

__all__ = [
    "CHOICES",
    "Choice",
    "Verdict",
    "VerdictPairs",
    "match_verdicts",
    "pair_key",
    "pairs_of",
    "parse_time",
    "read_verdicts",
    "sorted_by_time",
    "verdict_lines",
]

Choice = Literal["keep", "drop", "promote", "skip"]
CHOICES: tuple[Choice, ...] = ("keep", "drop", "promote", "skip")

Ids = npt.NDArray[np.int32]
Pairs = tuple[Ids, Ids]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one pair.

    Attributes:
        query, passage: the texts, as they were shown.
        verdict: "keep", "drop", "promote" or "skip".
        when: ISO 8601 time in UTC; who: who decided. Both may be empty.
    """

    query: str
    passage: str
    verdict: Choice
    when: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VerdictPairs:
    """What verdicts mean for one corpus.

    Attributes:
        dropped, kept, promoted: (queries, passages), each (m,) int32, sorted by query, then passage; no pair in two of them.
        applied: the verdicts behind them, in an order of their own; skipped pairs are not among them.
        elsewhere: verdicts on texts that this corpus does not hold.
        digest: 16 hexadecimal digits, the same for the same pairs of the same corpus.
    """

    dropped: Pairs
    kept: Pairs
    promoted: Pairs
    applied: tuple[Verdict, ...]
    elsewhere: int
    digest: str

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs are "dropped", "promoted" and "kept"."""
        return {"dropped": len(self.dropped[0]), "promoted": len(self.promoted[0]), "kept": len(self.kept[0])}


def pair_key(query: str, passage: str) -> bytes:
    """Return 16 bytes that all spellings of a query and a passage which count as the same have in common."""
    digest = hashlib.blake2b(normalize_text(query).encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(b"\0" + normalize_text(passage).encode("utf-8", "surrogatepass"))
    return digest.digest()


def read_verdicts(path: str | os.PathLike[str]) -> list[Verdict]:
    """Read verdicts from JSON lines: `query`, `passage`, `verdict`, and if wanted `when` and `who`; other fields are not used.

    Returns:
        The oldest first, as `sorted_by_time` has them: of several about one pair the last counts.

    Raises:
        InputError: the file cannot be read, or a line is no verdict; nothing of the file is used then.
    """
    reader = LineReader(path, (), False, MAX_LINE_BYTES)
    decode = msgspec.json.Decoder(Verdict).decode
    found: list[Verdict] = []
    for raw in reader.lines():
        try:
            verdict = decode(raw)
            empty = next((name for name in ("query", "passage") if not getattr(verdict, name).strip()), None)
            if empty:
                raise msgspec.ValidationError(f"`{empty}` is empty")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(
                f"{path}:{reader.line} is no verdict ({error}); write one object a line, such as "
                '{"query": "...", "passage": "...", "verdict": "drop"}, with keep, drop, promote or skip'
            ) from error
        found.append(verdict)
    return sorted_by_time(found)


def sorted_by_time(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return verdicts from the oldest to the newest by `when`; those of the same moment stay in their order."""
    return sorted(verdicts, key=lambda each: parse_time(each.when))


def parse_time(when: str) -> datetime.datetime:
    """Parse a time; one without a zone is UTC, and what is no time, or none at all, is older than all."""
    try:
        parsed = datetime.datetime.fromisoformat(when)
    except ValueError:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[bytes]:
    """Yield one line of JSON for each verdict, newline included."""
    encode = msgspec.json.Encoder().encode
    for verdict in verdicts:
        yield encode(verdict) + b"\n"


def match_verdicts(corpus: Corpus, verdicts: Iterable[Verdict]) -> VerdictPairs:
    """Find the pairs of a corpus that verdicts are about. Of several about one pair the last counts."""
    given = list(verdicts)
    queries, passages = pairs_of(corpus, [each.query for each in given], [each.passage for each in given])
    here = np.flatnonzero(passages >= 0)
    last = {(int(queries[place]), int(passages[place])): int(place) for place in here.tolist()}
    pairs: dict[Choice, list[tuple[int, int]]] = {choice: [] for choice in CHOICES}
    applied: list[Verdict] = []
    digest = hashlib.blake2b(digest_size=8)
    for pair, place in sorted(last.items()):
        verdict = given[place]
        pairs[verdict.verdict].append(pair)
        if verdict.verdict != "skip":
            applied.append(verdict)
            digest.update(f"{pair[0]} {pair[1]} {verdict.verdict}\n".encode())
    dropped, kept, promoted = (_columns(pairs[choice]) for choice in ("drop", "keep", "promote"))
    return VerdictPairs(dropped, kept, promoted, tuple(applied), len(given) - len(here), digest.hexdigest() if applied else "")


def pairs_of(corpus: Corpus, queries: Sequence[str], passages: Sequence[str]) -> Pairs:
    """Return the pairs that texts stand for: (p,) int32 each, both -1 where the corpus lacks one of the two texts."""
    numbers: dict[str, int] = {}  # a query is judged many times
    asked = np.fromiter((numbers.setdefault(text, len(numbers)) for text in queries), np.int64, len(queries))
    query_ids = find(list(numbers), corpus.queries, corpus.query_hashes)[asked]
    passage_ids = np.full(len(passages), -1, np.int32)
    here = np.flatnonzero(query_ids >= 0)
    texts = [passages[place] for place in here.tolist()]
    # What may be mined stands in canonical order, and what may not behind it too.
    count = corpus.n_candidates
    found = find(texts, corpus.passages[:count], corpus.passage_hashes[:count])
    if count < len(corpus.passages):
        behind = find(texts, corpus.passages[count:], corpus.passage_hashes[count:])
        found = np.where((found < 0) & (behind >= 0), behind + count, found).astype(np.int32)
    passage_ids[here] = found
    query_ids[passage_ids < 0] = -1
    return query_ids, passage_ids


def _columns(pairs: list[tuple[int, int]]) -> Pairs:
    table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
