"""Repairs of a training file: the chosen faults, and not a byte more.

A row without a chosen fault keeps its bytes. In other rows only the affected fields are written anew: passages keep their
spelling and scores, other fields and other faults are copied (`msgspec.Raw`). Malformed lines are copied. Blank lines, a byte
order mark and CR are not kept, and a table becomes JSON lines. The file is read twice: a repair without a finding does nothing,
and mixed types and positives of other rows are only known at the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import msgspec
import numpy as np

from hnmine.checks.field_types import FIELDS
from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.checks.reader import RawReader
from hnmine.checks.rules import of_rows, of_types
from hnmine.checks.survey import Hashes, Survey, repeats, surveyed
from hnmine.core.errors import InputError
from hnmine.data.columns import Columns
from hnmine.data.formats.jsonl import members, spelled
from hnmine.data.problems import Problem, repairs_from
from hnmine.data.rows import Row, without

__all__ = ["repaired"]

Fields = dict[str, msgspec.Raw]
_EMPTY = msgspec.Raw(b'""')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Fields).decode


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
        InputError: the file cannot be read, its rows have ms-swift's form, or a line that is too long or malformed cannot be copied.
    """
    chosen = repairs_from(repairs, OUTPUT_REPAIRS)
    survey, _ = surveyed(path, columns)
    if chosen and survey.form == "messages":
        raise InputError(f"{path}: rows of `messages` and `positive_messages` are checked and not repaired; correct the file")
    offered = {each.repair for each in (*of_rows(survey), *of_types(survey), *survey.scores.findings(len(survey.lines)))}
    useless = {"missing-prompt", "scores"} - offered  # nothing to repair if all rows have scores, or none a prompt
    if not len(survey.negatives):
        useless.add("empty-negatives")
    return _lines(path, _RowRepair(chosen - useless, survey), columns)


def _lines(path: str | os.PathLike[str], repair_row: _RowRepair, columns: Columns | None) -> Iterator[bytes]:
    reader = _Lines(path, columns)
    seen = 0
    for row in reader.rows():
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
        self._as_text = {fault.name for fault in faults if fault.kind == "mixed-types"}
        if "missing-prompt" in chosen:  # which writes texts, so the other prompts must be texts too
            self._as_text.add("prompt")
        self._seen: set[int] = set()

    def __call__(self, row: Row, raw: bytes, problems: Sequence[Problem], *, plain: bool) -> bytes | None:
        """Return the line of the row, or None if the row is removed."""
        chosen, fields = self._chosen, row.fields
        before = _original(raw) if problems else dict(fields)
        # Fields with NaN were left out by the reader.
        kept = {key for key in (before.keys() - fields.keys()) & _with_nan(problems) if not self._removes(key)}
        gaps: dict[str, list[int]] = {}  # places of the blank texts that stay
        for side in ("pos", "neg"):
            faults = [each for each in problems if each.path.partition("[")[0] == f"$.{side}" and side not in kept]
            kinds = {each.kind for each in faults if each.kind != "nan"}
            if kinds <= chosen or not plain:
                continue
            fields |= {key: before[key] for key in (side, f"{side}_scores") if key in fields}
            if "string-instead-of-list" in kinds & chosen:
                fields[side] = msgspec.Raw(b"[" + bytes(before[side]) + b"]")
            elif kinds == {"blank-passage"}:
                gaps[side] = [int(each.path.partition("[")[2][:-1]) for each in faults]
        query = self._hash(row.query)
        positives, negatives = [self._hash(text) for text in row.pos], [self._hash(text) for text in row.neg]
        own = set(positives)
        if "repeated-positive" in chosen:
            dropped = repeats(positives)
            positives = _keep(fields, "pos", positives, dropped, gaps.get("pos", ()))
        if negatives:
            negatives = _keep(fields, "neg", negatives, self._dropped(query, own, negatives), gaps.get("neg", ()))
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
        for key in self._as_text & fields.keys():
            if bytes(fields[key])[:1] not in (b'"', b"n"):
                fields[key] = msgspec.Raw(_encode(bytes(fields[key]).decode()))
        if kept:
            names = dict.fromkeys((*before, *fields))
            fields = {key: fields[key] if key in fields else before[key] for key in names if key in fields or key in kept}
        same = fields.keys() == before.keys() and all(
            fields[key] is value or bytes(fields[key]) == bytes(value) for key, value in before.items()
        )
        return raw if same and plain else spelled(fields)

    def _removes(self, key: str) -> bool:
        """Return whether a field with NaN is removed: by itself, or with all scores."""
        return "nan" in self._chosen or ("scores" in self._chosen and key in FIELDS)

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


def _original(raw: bytes) -> Fields:
    """Return the undecoded fields of a line as written, NaN included."""
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return {key: msgspec.Raw(source.encode()) for key, _, source in members(raw.decode())}


def _with_nan(problems: Sequence[Problem]) -> set[str]:
    """Return the fields with problems of kind "nan"; a name may have dots and brackets itself, so every beginning of a path is one."""
    paths = [each.path[2:] for each in problems if each.kind == "nan"]
    return {path[:end] for path in paths for end in (*(found.start() for found in re.finditer(r"[.\[]", path)), len(path))}


def _keep(fields: Fields, side: str, keys: list[int], dropped: Sequence[int], gaps: Sequence[int]) -> list[int]:
    """Remove the passages at these places and their scores; return the remaining keys. `gaps` are the places of blank texts."""
    if not dropped:
        return keys
    gone = set(dropped)
    places = [place for place in range(len(keys) + len(gaps)) if place not in gaps]
    written = [places[place] for place in dropped]
    for name in (side, f"{side}_scores"):
        if name in fields:
            fields[name] = without(fields[name], written, len(keys) + len(gaps) - len(written))
    if bytes(fields[side])[:1] == b'"':  # a string instead of a list
        fields[side] = msgspec.Raw(b"[]")
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
