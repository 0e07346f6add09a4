"""Repairs of a training file: the chosen faults, and not a byte more.

A row without a chosen fault keeps its bytes. In other rows only the affected fields are written anew: passages keep their
spelling and scores, other fields are copied (`msgspec.Raw`). Malformed lines are copied. Blank lines, a byte order mark and CR
are not kept, and a table becomes JSON lines. The file is read twice: the check comes first, because a repair without a finding
does nothing, and mixed types and positives of other rows are only known at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import msgspec
import numpy as np

from hnmine.checks.field_types import FIELDS
from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.rules import of_rows, of_types
from hnmine.checks.survey import Hashes, RawReader, Survey, surveyed
from hnmine.core.errors import InputError
from hnmine.data.columns import Columns
from hnmine.data.jsonl import spelled
from hnmine.data.problems import Problem, repairs_from
from hnmine.data.rows import Row, training_rows, without

__all__ = ["repaired"]

Fields = dict[str, msgspec.Raw]
_EMPTY = msgspec.Raw(b'""')
_encode = msgspec.json.Encoder().encode
_original = msgspec.json.Decoder(Fields).decode


class _Lines(RawReader):
    """A reader that keeps the lines since the last row, so that malformed lines are not lost."""

    def __init__(self, path: str | os.PathLike[str], columns: Columns | None) -> None:
        super().__init__(path, columns)
        self.waiting: list[tuple[int, bytes]] = []

    def lines(self) -> Iterator[bytes]:
        for raw in super().lines():
            self.waiting.append((self.line, raw))
            yield raw


def repaired(path: str | os.PathLike[str], repairs: Iterable[str], *, columns: Columns | None = None) -> Iterator[bytes]:
    """Yield the lines of a training file, with newlines, with the chosen faults repaired.

    Args:
        path: the file, in any format that mining reads.
        repairs: keys of `kinds.OUTPUT_REPAIRS`, or "all"; a repair without a finding does nothing.
        columns: the columns to read; a part that is None is found by name.

    Raises:
        SettingsError: a repair is unknown.
        InputError: the file cannot be read, or a line that is too long or malformed cannot be copied.
    """
    chosen = repairs_from(repairs, OUTPUT_REPAIRS)
    survey, _ = surveyed(path, columns)
    offered = {each.repair for each in (*of_rows(survey), *of_types(survey), *survey.scores.findings(len(survey.lines)))}
    useless = {"missing-prompt", "scores"} - offered  # nothing to repair if all rows have scores, or none a prompt
    if not len(survey.negatives):
        useless.add("empty-negatives")
    return _lines(path, _RowRepair(chosen - useless, survey), columns)


def _lines(path: str | os.PathLike[str], repair_row: _RowRepair, columns: Columns | None) -> Iterator[bytes]:
    reader = _Lines(path, columns)
    seen = 0
    for row in training_rows(reader):
        problems, seen = reader.problems[seen:], len(reader.problems)
        waiting, reader.waiting = reader.waiting, []
        _require_kept(reader, problems, waiting)
        for _, raw in waiting[:-1]:
            yield raw + b"\n"
        line = repair_row(row, waiting[-1][1], [each for each in problems if each.line == row.line], plain=reader.plain)
        if line is not None:
            yield line + b"\n"
    _require_kept(reader, reader.problems[seen:], reader.waiting)
    for _, raw in reader.waiting:
        yield raw + b"\n"


def _require_kept(reader: _Lines, problems: Sequence[Problem], waiting: Sequence[tuple[int, bytes]]) -> None:
    """Raise InputError if a bad line was not read and would be lost."""
    lines = {line for line, _ in waiting}
    if lost := [problem for problem in problems if problem.severity == "error" and problem.line not in lines]:
        raise InputError(f"{reader.path}: a line cannot be copied\n  {lost[0]}\nCorrect it first.", lost)


class _RowRepair:
    """Repairs one row at a time; `chosen` are the repairs, `survey` is the result of the first reading."""

    def __init__(self, chosen: AbstractSet[str], survey: Survey) -> None:
        self._chosen = chosen
        self._hash = Hashes()
        self._positives = _shared_positives(survey) if "positive-of-another-row" in chosen else {}
        faults = survey.schema.faults() if "mixed-types" in chosen else ()
        paths = (fault.path for fault in faults if fault.kind == "mixed-types")
        self._as_text = [path.partition(".")[0].partition("[")[0] for path in paths]
        self._seen: set[int] = set()

    def __call__(self, row: Row, raw: bytes, problems: Sequence[Problem], *, plain: bool) -> bytes | None:
        """Return the line of the row, or None if the row is removed."""
        chosen, fields = self._chosen, row.fields
        before = dict(fields)
        if any(each.kind == "nan" and not self._removes(each) for each in problems):
            return raw if plain else spelled(fields)
        changed = any(each.kind == "nan" for each in problems)
        untouched: list[str] = []
        for side in ("pos", "neg"):
            kinds = {each.kind for each in problems if each.path.partition("[")[0] == f"$.{side}"}
            if kinds and not kinds <= chosen and plain:
                if changed:  # not JSON, so the original fields cannot be restored
                    return raw
                untouched.append(side)
                original = _original(raw)
                fields |= {key: original[key] for key in (side, f"{side}_scores") if key in original}
            else:
                changed |= bool(kinds)
        query = self._hash(row.query)
        positives, negatives = [self._hash(text) for text in row.pos], [self._hash(text) for text in row.neg]
        own = set(positives)
        if "pos" not in untouched and "repeated-positive" in chosen:
            positives = _keep(fields, "pos", positives, [place for place, key in enumerate(positives) if key in positives[:place]])
        if "neg" not in untouched and negatives:
            negatives = _keep(fields, "neg", negatives, self._dropped(query, own, negatives))
        if "empty-negatives" in chosen and not negatives:
            return None
        if "missing-prompt" in chosen and ("prompt" not in fields or bytes(fields["prompt"]) == b"null"):
            fields["prompt"] = _EMPTY
        if "scores" in chosen:
            for key in FIELDS:
                fields.pop(key, None)
        if "repeated-row" in chosen:
            rest = (bytes(fields.get("prompt", b"")), bytes(fields.get("type", b"none")))
            whole = hash((query, -1, *positives, -1, *negatives, *rest))
            if whole in self._seen:
                return None
            self._seen.add(whole)
        for key in self._as_text:
            if key in fields and bytes(fields[key])[:1] not in (b'"', b"n"):
                fields[key] = msgspec.Raw(_encode(bytes(fields[key]).decode()))
        changed |= fields.keys() != before.keys() or any(
            fields[key] is not value for key, value in before.items() if key not in (*untouched, *(f"{side}_scores" for side in untouched))
        )
        return spelled(fields) if changed or not plain else raw

    def _removes(self, problem: Problem) -> bool:
        """Return whether a NaN is removed: by itself, or with all scores."""
        return "nan" in self._chosen or ("scores" in self._chosen and problem.path.startswith(("$.pos_scores", "$.neg_scores")))

    def _dropped(self, query: int, own: set[int], negatives: Sequence[int]) -> list[int]:
        """Return the places of the negatives to remove."""
        chosen = self._chosen
        gone: set[int] = set()
        if "query-among-negatives" in chosen:
            gone.add(query)
        if "positive-among-negatives" in chosen:
            gone |= own
        if "positive-of-another-row" in chosen:
            gone |= self._positives.get(query, set()) - own
        if "repeated-negative" not in chosen:
            return [place for place, key in enumerate(negatives) if key in gone]
        places: list[int] = []
        for place, key in enumerate(negatives):
            if key in gone:
                places.append(place)
            gone.add(key)
        return places


def _keep(fields: Fields, side: str, keys: list[int], dropped: Sequence[int]) -> list[int]:
    """Remove the passages at these places and their scores; return the remaining keys."""
    if not dropped:
        return keys
    gone = set(dropped)
    kept = len(keys) - len(gone)
    for name in (side, f"{side}_scores"):
        if name in fields:
            fields[name] = without(fields[name], dropped, kept)
    return [key for place, key in enumerate(keys) if place not in gone]


def _shared_positives(survey: Survey) -> dict[int, set[int]]:
    """Return the positives of each query with several rows, as hashes."""
    queries = np.frombuffer(survey.queries, np.uint64)
    _, inverse, counts = np.unique(queries, return_inverse=True, return_counts=True)
    ends = np.cumsum(np.frombuffer(survey.positive_counts, dtype=np.dtype("L")).astype(np.int64))
    found: dict[int, set[int]] = {}
    for row in np.flatnonzero(counts[inverse] > 1).tolist():
        start = int(ends[row - 1]) if row else 0
        found.setdefault(int(queries[row]), set()).update(survey.positives[start : int(ends[row])])
    return found
