"""One reading of a training file: hashes and counts for the rules, with the first places of each finding, and text lengths.

Texts are not kept, only a 64-bit hash of each normalised passage, 8 bytes. The hashes of the last few hundred thousand unique
texts are cached, because passages of mined files repeat often and hashing costs ten times as much as a lookup.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from hnmine.checks.field_types import Schema, Scores
from hnmine.checks.kinds import EXAMPLES, Example, Finding, Tallies, finding
from hnmine.checks.reader import RawReader, top
from hnmine.core.errors import InputError
from hnmine.core.paths import require_possible
from hnmine.core.progress import OnProgress, ShouldStop, check_cancelled
from hnmine.core.text import counted, normalize_text, shortened, text_hash
from hnmine.data.columns import Columns
from hnmine.data.problems import InputFile, Problem
from hnmine.data.rows import Row
from hnmine.models.batching import token_counts
from hnmine.models.cards import readable_name

__all__ = ["SAMPLE", "Form", "Hashes", "Lengths", "Repeats", "Survey", "repeats", "surveyed"]

SAMPLE = 4_000
Form = Literal["flagembedding", "fields", "messages"]


class Lengths:
    """Samples the texts of one side ("query" or "passage") that may exceed `limit` tokens, without holding all texts.

    A token has at least one byte, so short texts need no tokenizer. Of the others the SAMPLE with the smallest hashes are kept: a
    random sample of the unique texts, independent of their order. 4,000 texts give a proportion within 0.8 percentage points.
    """

    def __init__(self, side: str, limit: int) -> None:
        self.side = side
        self.limit = limit
        self._kept: dict[int, tuple[int, str]] = {}  # hash -> line, text
        self._bound = 2**64
        self._hashes = array("Q")

    def add(self, text: str, key: int, line: int) -> None:
        """Add a text, its hash and its line; texts may repeat."""
        # Two special tokens are added to a text.
        if 4 * len(text) <= self.limit - 2 or len(text.encode("utf-8", "replace")) <= self.limit - 2:
            return
        self._hashes.append(key)
        if key < self._bound and key not in self._kept:
            self._kept[key] = (line, text)
            if len(self._kept) > 2 * SAMPLE:
                self._prune()

    def _prune(self) -> None:
        smallest = sorted(self._kept)[:SAMPLE]
        self._bound = smallest[-1]
        self._kept = {key: self._kept[key] for key in smallest}

    def finding(self, folder: Path | None, model: str, total: int) -> Finding | None:
        """Count tokens with the tokenizer of `folder` in `total` unique texts; None if no text is too long or there is no tokenizer."""
        if not self._kept:
            return None
        self._prune()
        candidates = len(np.unique(np.frombuffer(self._hashes, dtype=np.uint64)))
        places = sorted(self._kept.values())
        counts = token_counts(folder, [text for _, text in places])
        if counts is None or not len(counts):
            return None
        over = counts > self.limit
        if not over.any():
            return None
        sampled = candidates > len(counts)
        longer = round(float(over.mean()) * candidates)
        name = {"query": "queries"}.get(self.side, f"{self.side}s")
        if sampled:
            longer = int(float(f"{longer:.2g}"))  # two digits, the precision of the sample
        about = f"about {longer:,}" if sampled else f"{longer:,}"
        message = (
            f"{about} of {counted(total, f'different {self.side}', f'different {name}')} ({100 * longer / max(total, 1):.1f}%) "
            f"{'is' if longer == 1 else 'are'} longer than the {self.limit:,} tokens of {readable_name(model)}: the rest is truncated"
        )
        examples = tuple(
            Example(line, f"{int(count):,} tokens: {shortened(text, 70)}")
            for (line, text), count, long in zip(places, counts.tolist(), over.tolist(), strict=True)
            if long
        )[:5]
        return finding("too-long", message, longer, examples)


# Texts whose hashes are cached; 100 MB at most.
_CACHE = 2**19
# Distinct values of `type` that are counted.
_TYPES = 1_000
_ROWS_BETWEEN_PROGRESS = 1_000


class Hashes:
    """64-bit hashes of normalised texts, with a cache."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def __call__(self, text: str) -> int:
        """Return the hash of a text."""
        key = hash(text)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            found = self._known[key] = text_hash(normalize_text(text))
        return found


def repeats(keys: Iterable[int]) -> list[int]:
    """Return the places of keys that occur before."""
    seen: set[int] = set()
    places = []
    for place, key in enumerate(keys):
        if key in seen:
            places.append(place)
        seen.add(key)
    return places


class Repeats(msgspec.Struct, frozen=True):
    """Duplicates among the negatives of one row: how many are superfluous, and the number of equal pairs."""

    line: int
    text: str
    surplus: int
    pairs: int
    negatives: int


class Survey:
    """The result of one reading; `lengths` are those of queries and passages, or empty.

    Attributes:
        form: the form of the rows: "flagembedding" (also for a table), "fields" (JSON with other field names) or "messages" (ms-swift).
        lost: whether a bad line could not be read, so that a repair cannot copy it.
    """

    def __init__(self, lengths: Sequence[Lengths] = ()) -> None:
        self.form: Form = "flagembedding"
        self.lost = False
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
        self._hash = Hashes()
        self._rows: dict[int, int] = {}

    @property
    def n_queries(self) -> int:
        """The number of unique queries."""
        return len(set(self.queries))

    def take(self, row: Row, problems: Iterable[Problem], start: int) -> None:
        """Add a row, its problems, and its position in bytes."""
        tallies, line, fields = self.tallies, row.line, row.fields
        query = self._hash(row.query)
        positives = [self._hash(text) for text in row.pos]
        negatives = [self._hash(text) for text in row.neg]
        self.lines.append(line)
        self.queries.append(query)
        self.positives.extend(positives)
        self.negatives.extend(negatives)
        self.positive_counts.append(len(positives))
        self.negative_counts.append(len(negatives))

        self.schema.add(fields, line, start)
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

        odd = [top(each.path) for each in problems if each.kind == "nan"]
        if "pos_scores" in fields or "neg_scores" in fields or odd:
            self.scores.add(fields, {"pos": len(positives), "neg": len(negatives)}, odd, line, row.query)
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
            second = repeats(positives)[0]
            tallies.add("repeated-positive", line, row.pos[second], len(positives) - len(own))
        if own & unique:
            places = [place for place, key in enumerate(negatives) if key in own]
            tallies.add("positive-among-negatives", line, row.neg[places[0]], len(places))
        if query in unique:
            tallies.add("query-among-negatives", line, row.query, negatives.count(query))
        if query in own:
            tallies.add("query-among-positives", line, row.query)
        rest = [bytes(fields.get("prompt", b"")), kind]
        if "pos" not in fields:  # ms-swift: the system's message and the label belong to the pair
            rest += [bytes(fields.get(name, b"")) for name in ("messages", "label")]
            if len(positives) > 1:
                tallies.add("several-positives", line, row.query)
        first_line = self._rows.setdefault(hash((query, -1, *positives, -1, *negatives, *rest)), line)
        if first_line != line:
            tallies.add("repeated-row", line, f"repeats line {first_line:,}: {row.query}")
        if self.lengths:
            self.lengths[0].add(row.query, query, line)
            for text, key in zip([*row.pos, *row.neg], [*positives, *negatives], strict=True):
                self.lengths[1].add(text, key, line)


def surveyed(
    path: str | os.PathLike[str],
    columns: Columns | None,
    lengths: Sequence[Lengths] = (),
    *,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[Survey, InputFile[Row]]:
    """Read a training file once; return the survey, and the file with its problems and without rows. Arguments as in `check`."""
    require_possible("the file", path, InputError)
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; give a file of training rows")
    reader, survey = RawReader(path, columns), Survey(lengths)
    total = Path(path).stat().st_size if Path(path).is_file() else 0
    seen = 0
    for number, row in enumerate(reader.rows()):
        if number % _ROWS_BETWEEN_PROGRESS == 0:
            check_cancelled(should_stop)
            if on_progress is not None:
                on_progress(min(reader.start, total), total, "checking rows")
        problems, seen = reader.problems[seen:], len(reader.problems)
        with reader.net():
            survey.take(row, [each for each in problems if each.line == row.line], reader.start)
    survey.lost = reader.lost
    if reader.messages:
        survey.form = "messages"
    elif not reader.plain and not reader.source.is_table:
        survey.form = "fields"
    with reader.net():
        return survey, reader.file([])
