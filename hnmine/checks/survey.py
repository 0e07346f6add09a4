"""One reading of a training file, row by row: hashes and counts of what a trainer would look at, and the first places of what is odd.

Of each passage a 64-bit hash of its folded text is kept (`corpus.fold`: two texts that differ in case or blanks alone are one), 8 bytes a
passage; texts are not. The hashes of the last few hundred thousand different texts are remembered by Python's own hash, because the
passages of mined files come back often: folding and hashing cost ten times as much as looking one up.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from hnmine.checks.field_types import CHUNK, Schema
from hnmine.checks.lengths import Lengths
from hnmine.checks.report import EXAMPLES, Tallies, shortened
from hnmine.checks.scores import Scores
from hnmine.core.text import normalize_text, text_hash
from hnmine.data.columns import Columns
from hnmine.data.jsonl import Reader
from hnmine.data.lines import MAX_LINE_BYTES
from hnmine.data.problems import Problem
from hnmine.data.rows import Row

__all__ = ["Hashes", "RawReader", "Repeats", "Survey"]

# Folded texts whose hashes are remembered; 100 MB at most.
_CACHE = 2**19
# A `type` that is different on each row is told as well by its first values.
_TYPES = 1_000


class RawReader(Reader):
    """A reader that remembers the present line as it stands, and how far it has come in the file.

    Attributes:
        raw: the bytes of the line, without its end.
        start: the byte at which the line begins, blank lines aside.
    """

    def __init__(self, path: str | os.PathLike[str], repair: Iterable[str], columns: Columns | None) -> None:
        super().__init__(path, repair, False, MAX_LINE_BYTES, columns=columns)
        self.raw = b""
        self.start = 0
        self._end = 0

    def lines(self) -> Iterator[bytes]:
        for raw in super().lines():
            self.raw, self.start = raw, self._end
            self._end += len(raw) + 1
            yield raw


class Hashes:
    """64-bit hashes of folded texts; those of the last few hundred thousand different texts are remembered."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def __call__(self, text: str) -> int:
        """Return the hash."""
        key = hash(text)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            found = self._known[key] = text_hash(normalize_text(text))
        return found


class Repeats(msgspec.Struct, frozen=True):
    """The repeats among the negatives of one row: how many are superfluous, and how many pairs of equal ones they make."""

    line: int
    text: str
    surplus: int
    pairs: int
    negatives: int


class Survey:
    """What one reading gathers; `lengths` are of queries and passages, or none."""

    def __init__(self, lengths: Sequence[Lengths] = ()) -> None:
        self.tallies = Tallies()
        self.schema = Schema()
        self.scores = Scores(self.tallies, self.schema)
        self.lengths = lengths
        self.lines = array("Q")
        self.queries = array("Q")
        self.positives = array("Q")
        self.negatives = array("Q")
        self.positive_counts = array("L")
        self.negative_counts = array("L")
        self.single = bytearray()  # 1 for rows whose type takes one negative
        self.prompts = 0  # rows with the field
        self.types: Counter[str] = Counter()
        self.type_lines: dict[str, list[int]] = {}
        self.repeats: list[Repeats] = []
        self._hashed = Hashes()
        self._rows: dict[int, int] = {}

    def take(self, row: Row, problems: Iterable[Problem], start: int) -> None:
        """Take a row, what the reader found in it, and the byte at which it begins."""
        tallies, line, fields = self.tallies, row.line, row.fields
        head = start < CHUNK
        query = self._hashed(row.query)
        positives = [self._hashed(text) for text in row.pos]
        negatives = [self._hashed(text) for text in row.neg]
        self.lines.append(line)
        self.queries.append(query)
        self.positives.extend(positives)
        self.negatives.extend(negatives)
        self.positive_counts.append(len(positives))
        self.negative_counts.append(len(negatives))

        self.schema.add(fields, line, head=head)
        if not negatives:
            tallies.add("empty-negatives", line, row.query)
        if "prompt" not in fields or bytes(fields["prompt"]) == b"null":
            tallies.add("missing-prompt", line, row.query)
        self.prompts += "prompt" in fields
        kind = bytes(fields["type"]).decode("utf-8", "replace") if "type" in fields else "none"
        self.single.append(kind == '"only_1neg"')
        if kind in self.types or len(self.types) < _TYPES:
            self.types[kind] += 1
            places = self.type_lines.setdefault(kind, [])
            if len(places) < EXAMPLES:
                places.append(line)

        odd = [each.path[2:].partition("[")[0] for each in problems if each.kind == "nan"]
        if "pos_scores" in fields or "neg_scores" in fields or odd:
            self.scores.add(fields, {"pos": len(positives), "neg": len(negatives)}, odd, line, row.query, head=head)
        else:
            tallies.add("pos_scores/neg_scores", line, row.query)

        unique = set(negatives)
        if len(unique) < len(negatives):
            times = Counter(negatives)
            first = next(place for place, key in enumerate(negatives) if times[key] > 1)
            pairs = sum(count * (count - 1) // 2 for count in times.values())
            self.repeats.append(Repeats(line, shortened(row.neg[first]), len(negatives) - len(unique), pairs, len(negatives)))
        own = set(positives)
        if len(own) < len(positives):
            second = next(place for place, key in enumerate(positives) if key in positives[:place])
            tallies.add("repeated-positive", line, row.pos[second], len(positives) - len(own))
        if own & unique:
            places = [place for place, key in enumerate(negatives) if key in own]
            tallies.add("positive-among-negatives", line, row.neg[places[0]], len(places))
        if query in unique:
            tallies.add("query-among-negatives", line, row.query, negatives.count(query))
        if query in own:
            tallies.add("query-among-positives", line, row.query)
        first_line = self._rows.setdefault(hash((query, -1, *positives, -1, *negatives, bytes(fields.get("prompt", b"")), kind)), line)
        if first_line != line:
            tallies.add("repeated-row", line, f"repeats line {first_line:,}: {row.query}")
        if self.lengths:
            self.lengths[0].add(row.query, query, line)
            for text, key in zip(row.pos, positives, strict=True):
                self.lengths[1].add(text, key, line)
            for text, key in zip(row.neg, negatives, strict=True):
                self.lengths[1].add(text, key, line)
