"""The type of each field as `datasets` loads it, where loading stops, and problems of `pos_scores` and `neg_scores`.

The loader decides types by the first 10 MiB (docs/internals.md). FlagEmbedding with `--knowledge_distillation` needs both scores on every
row, and looks them up by position. Two scales are reported only if every row is wholly within 0..1 or wholly outside -1..1, and both occur.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

import msgspec

from hnmine.checks.kinds import EXAMPLES, Finding, Tallies
from hnmine.core.text import counted

__all__ = ["CHUNK", "FIELDS", "Fault", "Schema", "Scores"]

# Bytes that datasets reads at once: datasets.packaged_modules.json.JsonConfig.chunksize.
CHUNK = 10 << 20
_CORE = frozenset(("query", "pos", "neg", "pos_scores", "neg_scores"))
FaultKind = Literal["mixed-types", "late-fraction", "late-field"]
_NUMBERS = frozenset(("a whole number", "1.0", "a fraction"))
_FIRST = {b'"': "a text", b"t": "true or false", b"f": "true or false", b"n": "null"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A field that cannot be loaded: kind of finding, name, path, types with counts, and the first places of the rarer types."""

    kind: FaultKind
    name: str
    path: str
    kinds: tuple[tuple[str, int], ...]
    count: int
    examples: tuple[tuple[int, str], ...]
    late: bool  # whether datasets 5.2 stops there


@dataclass(slots=True)
class _Seen:
    head: bool  # whether it occurs in the first part
    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)


class Schema:
    """Collects the types of each path (`meta.year`, `tags[]`), row by row; a field costs a look at its first byte."""

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], dict[str, _Seen]] = {}  # name of the field, path
        self._head = True  # whether the current row begins in the first part

    def add(self, fields: Mapping[str, msgspec.Raw], line: int, start: int) -> None:
        """Add a row's undecoded fields; it begins at the byte `start` of the file."""
        self._head = start < CHUNK
        for key, raw in fields.items():
            if key in _CORE:
                continue
            first = bytes(raw)[:1]
            kind = _FIRST.get(first)
            if kind is not None:
                self._take(key, key, kind, raw, line)
            elif first in b"[{":
                self._nested(key, raw, line)
            else:
                self._take(key, key, _number(bytes(raw)), raw, line)

    def numbers(self, key: str, raw: msgspec.Raw, values: Sequence[float], line: int) -> None:
        """Add a decoded list of numbers of the row added last: one type for all of them."""
        kind = "a whole number"
        if b"." in bytes(raw) or b"e" in bytes(raw):
            kind = "1.0" if all(value.is_integer() for value in values) else "a fraction"
        self._take(key, f"{key}[]", kind, raw, line)

    def faults(self) -> list[Fault]:
        """Return the fields that cannot be loaded, in file order."""
        found: list[Fault] = []
        for (name, path), kinds in self._paths.items():
            real = {kind: seen for kind, seen in kinds.items() if kind != "null"}
            families: dict[str, list[_Seen]] = {}
            for kind, seen in real.items():
                families.setdefault("a number" if kind in _NUMBERS else kind, []).append(seen)
            counts = {family: sum(seen.count for seen in group) for family, group in families.items()}
            if len(families) > 1:
                usual = max(counts, key=lambda family: counts[family])
                rare = [seen for family, group in families.items() if family != usual for seen in group]
                # If the first part has all types, the field holds JSON values, and everything can be cast.
                heads = [any(seen.head for seen in group) for group in families.values()]
                late = any(heads) and not all(heads)
                found.append(self._fault("mixed-types", name, path, counts, rare, late=late))
            elif real and not self._head and not any(seen.head for seen in real.values()):
                # The parts of an object or list begin with it.
                if not any(path.startswith(f"{each.path}{separator}") for each in found for separator in ".["):
                    found.append(self._fault("late-field", name, path, counts, real.values(), late=True))
            elif {kind for kind, seen in real.items() if seen.head} == {"a whole number"} and "a fraction" in real:
                found.append(self._fault("late-fraction", name, path, counts, [real["a fraction"]], late=True))
        return found

    def _fault(self, kind: FaultKind, name: str, path: str, counts: dict[str, int], seen: Collection[_Seen], *, late: bool) -> Fault:
        ranked = tuple(sorted(counts.items(), key=lambda item: -item[1]))
        places = sorted(place for each in seen for place in each.examples)
        return Fault(kind, name, path, ranked, sum(each.count for each in seen), tuple(places[:EXAMPLES]), late)

    def _take(self, name: str, path: str, kind: str, value: msgspec.Raw, line: int) -> None:
        kinds = self._paths.setdefault((name, path), {})
        seen = kinds.get(kind)
        if seen is None:
            seen = kinds[kind] = _Seen(self._head)
        seen.count += 1
        if len(seen.examples) < EXAMPLES:
            seen.examples.append((line, bytes(value)[:400].decode("utf-8", "replace")))

    def _nested(self, key: str, raw: msgspec.Raw, line: int) -> None:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return  # reported as invalid JSON by the reader
        kinds: dict[tuple[str, str], None] = {}
        _walk(key, value, kinds)
        for path, kind in kinds:
            self._take(key, path, kind, raw, line)


def _walk(path: str, value: Any, kinds: dict[tuple[str, str], None]) -> None:
    """Collect each (path, type) below a value once."""
    if isinstance(value, list):
        kinds[path, "a list"] = None
        for item in value:
            _walk(f"{path}[]", item, kinds)
    elif isinstance(value, dict):
        kinds[path, "an object"] = None
        for key, item in value.items():
            _walk(f"{path}.{key}", item, kinds)
    elif value is None:
        kinds[path, "null"] = None
    elif isinstance(value, bool):
        kinds[path, "true or false"] = None
    elif isinstance(value, float):
        kinds[path, "1.0" if value.is_integer() else "a fraction"] = None
    else:
        kinds[path, "a text" if isinstance(value, str) else "a whole number"] = None


def _number(raw: bytes) -> str:
    if raw.lstrip(b"-").isdigit():
        return "a whole number"
    value = float(raw)
    return "1.0" if value.is_integer() else "a fraction"


FIELDS = {"pos_scores": "pos", "neg_scores": "neg"}
_decode = msgspec.json.Decoder(list[float]).decode
# Fewer scores on a row do not show their scale.
_ENOUGH = 3


class Scores:
    """Collects problems of the scores, row by row."""

    def __init__(self, tallies: Tallies, schema: Schema) -> None:
        self._tallies = tallies
        self._schema = schema
        self._present = {"pos_scores": 0, "neg_scores": 0}
        self._neither = False  # whether a row is on no clear scale

    def add(self, fields: Mapping[str, msgspec.Raw], passages: Mapping[str, int], odd: Sequence[str], line: int, query: str) -> None:
        """Add a row: its fields, the number of passages in `pos` and `neg`, and the score fields with NaN (not in `fields`)."""
        scores: list[float] = []
        missing: list[str] = []
        for key, side in FIELDS.items():
            raw = fields.get(key)
            if key in odd:
                self._present[key] += 1
                self._tallies.add("scores-not-numbers", line, f"{key} has NaN or Infinity")
            elif raw is None or bytes(raw) == b"null":
                missing.append(key)
            else:
                self._present[key] += 1
                try:
                    values = _decode(raw)
                except (msgspec.DecodeError, ValueError):
                    self._tallies.add("scores-not-numbers", line, f"{key}: {bytes(raw)[:200].decode('utf-8', 'replace')}")
                    continue
                if not all(map(isfinite, values)):
                    self._tallies.add("scores-not-numbers", line, f"{key} has Infinity")
                    continue
                self._schema.numbers(key, raw, values, line)
                if len(values) != passages[side]:
                    self._tallies.add("scores-length", line, f"{counted(len(values), 'score')} for {passages[side]:,} in {side}")
                scores += values
                if key == "neg_scores" and any(later > before for before, later in pairwise(values)):
                    self._tallies.add("not-hardest-first", line, query)
        if missing:
            self._tallies.add("/".join(missing), line, query)
        if len(scores) >= _ENOUGH:
            within = all(0 <= score <= 1 for score in scores)
            if within or all(abs(score) > 1 for score in scores):
                self._tallies.add("within" if within else "beyond", line, ", ".join(f"{score:g}" for score in scores[:5]))
            else:
                self._neither = True

    def findings(self, rows: int) -> list[Finding]:
        """Return the findings in so many rows."""
        tallies = self._tallies
        found: list[Finding] = []
        present = [key for key, count in self._present.items() if count]
        if len(present) == 1:
            one = present[0]
            other = next(each for each in FIELDS if each != one)
            message = (
                f"there is `{one}` but no `{other}`: FlagEmbedding needs both with --knowledge_distillation, and reads neither without it"
            )
            found.append(self._of("one-kind-of-scores", message, (other, "pos_scores/neg_scores"), self._present[one]))
        lacking = ("pos_scores/neg_scores", *(FIELDS if len(present) > 1 else ()))
        if present and (lack := sum(tallies.rows[kind] for kind in lacking)):
            message = (
                f"{lack:,} of {counted(rows, 'row')} {'has' if lack == 1 else 'have'} no scores, though others do: with "
                "--knowledge_distillation FlagEmbedding stops at such a row (AssertionError)"
            )
            found.append(self._of("scores-on-some-rows", message, lacking, lack))
        if count := tallies.rows["scores-not-numbers"]:
            message = f"{counted(count, 'row')} with scores that are not numbers: distillation stops, or its loss becomes NaN"
            found.append(tallies.finding("scores-not-numbers", message))
        if count := tallies.rows["scores-length"]:
            message = (
                f"{counted(count, 'row')} with more or fewer scores than passages: FlagEmbedding looks up scores by position, so a passage "
                "gets another's score, or none (IndexError)"
            )
            found.append(tallies.finding("scores-length", message))
        within, beyond = tallies.rows["within"], tallies.rows["beyond"]
        if within and beyond and not self._neither:
            rarer, rest = ("within", beyond) if within <= beyond else ("beyond", within)
            scale = "within 0..1" if rarer == "within" else "beyond 1"
            message = (
                f"{counted(tallies.rows[rarer], 'row')} with all scores {scale}, {rest:,} on another scale: the loss compares raw with "
                "normalised scores"
            )
            found.append(self._of("scores-of-two-scales", message, (rarer,), tallies.rows[rarer]))
        if (count := tallies.rows["not-hardest-first"]) and not found:
            message = (
                f"{counted(count, 'row')} {'has' if count == 1 else 'have'} negatives that are not sorted hardest first by "
                "`neg_scores`: n-tuples of the first N do not use the hardest"
            )
            found.append(tallies.finding("not-hardest-first", message))
        return found

    def _of(self, kind: str, message: str, counted_as: Sequence[str], count: int) -> Finding:
        examples = sorted((example for each in counted_as for example in self._tallies.examples(each)), key=lambda each: each.line)[:5]
        return msgspec.structs.replace(self._tallies.finding(kind, message), count=count, examples=tuple(examples))
