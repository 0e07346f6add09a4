"""Which type each field of a file gets when `datasets` loads it, and where the loading stops.

The JSON loader of `datasets` (5.2; FlagEmbedding and sentence-transformers read with it) reads 10 MiB at a time. The first part decides
the type of each field, and what follows is cast to it. So what a mixture does depends on where it stands: within the first part numbers and
texts make a field of JSON values (older versions refuse it there), behind it the cast fails. Whole numbers followed by fractions, or a
field that appears behind the first part only, stop it as well; null fits everywhere, and fractions followed by whole numbers do.
A mixture is always told as a fault: the field's type then differs from that in the next file, and files of two types cannot be joined.

Fields within objects and lists count by their path (`meta.year`, `tags[]`). A field costs a look at its first byte; lists and objects are
decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

__all__ = ["CHUNK", "Fault", "Schema"]

# Bytes that datasets reads at once: datasets.packaged_modules.json.JsonConfig.chunksize.
CHUNK = 10 << 20
_EXAMPLES = 5
_CORE = frozenset(("query", "pos", "neg", "pos_scores", "neg_scores"))
FaultKind = Literal["mixed-types", "late-fraction", "late-field"]
_NUMBERS = frozenset(("a whole number", "1.0", "a fraction"))
_FIRST = {b'"': "a text", b"t": "true or false", b"f": "true or false", b"n": "null"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One field that cannot be loaded: the finding's kind, path, the kinds of value with counts, the first places of the rarer."""

    kind: FaultKind
    path: str
    kinds: tuple[tuple[str, int], ...]
    count: int
    examples: tuple[tuple[int, str], ...]
    late: bool  # whether the loader of datasets 5.2 stops there


@dataclass(slots=True)
class _Seen:
    count: int = 0
    head: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    late: list[tuple[int, str]] = field(default_factory=list)


class Schema:
    """Collects the kinds of value of each path, row by row."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, _Seen]] = {}
        self._reached_rest = False

    def add(self, fields: Mapping[str, msgspec.Raw], line: int, *, head: bool) -> None:
        """Take a row's undecoded fields; `head` says that it begins within the first CHUNK bytes of the file."""
        self._reached_rest |= not head
        for key, raw in fields.items():
            if key in _CORE:
                continue
            first = bytes(raw)[:1]
            kind = _FIRST.get(first)
            if kind is not None:
                self._take(key, kind, raw, line, head)
            elif first in b"[{":
                self._nested(key, raw, line, head)
            else:
                self._take(key, _number(bytes(raw)), raw, line, head)

    def numbers(self, key: str, raw: msgspec.Raw, values: Sequence[float], line: int, *, head: bool) -> None:
        """Take a list of numbers that was decoded elsewhere: one kind for all of them."""
        kind = "a whole number"
        if b"." in bytes(raw) or b"e" in bytes(raw):
            kind = "1.0" if all(value.is_integer() for value in values) else "a fraction"
        self._take(f"{key}[]", kind, raw, line, head)

    def faults(self) -> list[Fault]:
        """Return what cannot be loaded, in the order of the fields."""
        found: list[Fault] = []
        for path, kinds in self._paths.items():
            real = {kind: seen for kind, seen in kinds.items() if kind != "null"}
            families: dict[str, list[_Seen]] = {}
            for kind, seen in real.items():
                families.setdefault("a number" if kind in _NUMBERS else kind, []).append(seen)
            counts = {family: sum(seen.count for seen in group) for family, group in families.items()}
            if len(families) > 1:
                usual = max(counts, key=lambda family: counts[family])
                rare = [seen for family, group in families.items() if family != usual for seen in group]
                places = sorted(place for seen in rare for place in seen.examples)
                # A first part that holds all the kinds makes a field of JSON values, into which anything can be cast.
                heads = [any(seen.head for seen in group) for group in families.values()]
                late = any(heads) and not all(heads)
                found.append(self._fault("mixed-types", path, counts, rare, places, late=late))
            elif real and self._reached_rest and not any(seen.head for seen in real.values()):
                # What stands within an object or list begins with it.
                if not any(path.startswith(f"{each.path}{mark}") for each in found for mark in ".["):
                    places = sorted(place for seen in real.values() for place in seen.late)
                    found.append(self._fault("late-field", path, counts, real.values(), places, late=True))
            elif {kind for kind, seen in real.items() if seen.head} == {"a whole number"} and "a fraction" in real:
                seen = real["a fraction"]
                found.append(self._fault("late-fraction", path, counts, [seen], seen.late, late=True))
        return found

    def _fault(
        self, kind: FaultKind, path: str, counts: dict[str, int], seen: Iterable[_Seen], places: list[tuple[int, str]], *, late: bool
    ) -> Fault:
        ranked = tuple(sorted(counts.items(), key=lambda item: -item[1]))
        return Fault(kind, path, ranked, sum(each.count for each in seen), tuple(places[:_EXAMPLES]), late)

    def _take(self, path: str, kind: str, value: msgspec.Raw | bytes, line: int, head: bool) -> None:
        seen = self._paths.setdefault(path, {}).setdefault(kind, _Seen())
        seen.count += 1
        seen.head += head
        if len(seen.examples) < _EXAMPLES:
            seen.examples.append((line, bytes(value)[:400].decode("utf-8", "replace")))
        if not head and len(seen.late) < _EXAMPLES:
            seen.late.append((line, bytes(value)[:400].decode("utf-8", "replace")))

    def _nested(self, key: str, raw: msgspec.Raw, line: int, head: bool) -> None:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return  # reported as no JSON by whoever reads the file
        kinds: dict[tuple[str, str], None] = {}
        _walk(key, value, kinds)
        for path, kind in kinds:
            self._take(path, kind, raw, line, head)


def _walk(path: str, value: Any, kinds: dict[tuple[str, str], None]) -> None:
    """Gather each (path, kind) below a value once."""
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
