"""The records of a file as rows of its shape, which the first records decide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import msgspec

from hnmine.core.errors import InputError
from hnmine.core.text import counted
from hnmine.data.columns import Columns, is_label
from hnmine.data.formats.literals import literal_in
from hnmine.data.labels import are_flags, contradicting
from hnmine.data.problems import Problem
from hnmine.data.shapes.annotated import ARGILLA, ARGILLA_FLAT, LABEL_STUDIO, PRODIGY, RANKER
from hnmine.data.shapes.choices import CHOICES
from hnmine.data.shapes.ids import COLLECTION, ID_TABLE, IDS, IDS_ONLY, JUDGED_OBJECT, JUDGED_TABLE, looks_like_id
from hnmine.data.shapes.judged import JUDGED, JUDGED_IDS, judged, passages_in
from hnmine.data.shapes.messages import CONVERSATION, MESSAGES
from hnmine.data.shapes.nested import FLATTENED, INSTRUCTED, OBJECTS, SQUAD, SQUAD_FLAT, WRAPPED, WRAPPED_TEXTS, dotted
from hnmine.data.shapes.preferences import AB, ALPACA, KTO, NUMBERED, OPENAI, PREFERENCES
from hnmine.data.shapes.published import COLUMNAR, DUPLICATES, MULTIHOP, QUESTIONS, SNIPPETS
from hnmine.data.shapes.separated import SEPARATED, UNSEPARATED
from hnmine.data.shapes.shape import Fields, Record, Shape, raw, text_in

__all__ = ["SHAPES", "Shaped", "recognised"]


SHAPES = (
    *(
        COLLECTION,
        JUDGED_OBJECT,
        RANKER,
        LABEL_STUDIO,
        ARGILLA,
        ARGILLA_FLAT,
        PRODIGY,
        MESSAGES,
        PREFERENCES,
        OPENAI,
        KTO,
        AB,
        CONVERSATION,
    ),
    *(SQUAD, SQUAD_FLAT, MULTIHOP, QUESTIONS, SNIPPETS, DUPLICATES, COLUMNAR),
    *(WRAPPED, WRAPPED_TEXTS, INSTRUCTED, JUDGED, JUDGED_IDS, *NUMBERED, *CHOICES, ALPACA, OBJECTS, *SEPARATED, UNSEPARATED),
    *(IDS, IDS_ONLY, JUDGED_TABLE, ID_TABLE, FLATTENED),
)


def recognised(records: Sequence[Record], given: Columns) -> Shape | None:
    """Return the shape of the first records, decoded, or None for rows whose fields are the columns.

    Columns that the user names are read as they are, but passages in them may be judged, and their names may lead into objects.
    """
    shapes: Sequence[Shape] = SHAPES
    if given.query or given.pos:
        shapes = (judged(given.query, given.pos), dotted([name for name in (given.query, *(given.pos or ()), *(given.neg or ())) if name]))
    return next((shape for shape in shapes if shape.fits(records)), None) if records else None


# Records that decide.
SAMPLE = 50
# Different fields of these records, beyond which a file is no training data: an export has hundreds, an embedding in columns thousands.
MOST_FIELDS = 5_000

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")

_SPLIT = re.compile(r"train(ing)?|dev(elopment)?|valid(ation)?|val|test(ing)?|eval(uation)?", re.IGNORECASE)

_fields = msgspec.json.Decoder(Fields).decode
_record = msgspec.json.Decoder(dict[str, Any]).decode


class _Reader(Protocol):
    path: Path
    line: int
    problems: list[Problem]

    def notice(self, line: int, kind: str, message: str, remedy: str) -> None: ...


class Shaped:
    """Reads ahead, and gives the records of `reader` as rows.

    Attributes:
        shape: the shape of the first records, or None.
        names: the fields of their rows, if there is a shape.
        kinds: which fields hold labels, numbers, flags and the like, as `Source` names them.
        packed: the fields that hold lists or objects as text.
        pool: the passages of records that hold their own pool, or None.
        examples: of each field, its first value as text.
    """

    def __init__(self, reader: _Reader, records: Iterator[bytes], given: Columns | None) -> None:
        """Read the first records.

        Args:
            reader, records: as `RecordReader`.
            given: the columns that the user names; None if no shape is looked for.

        Raises:
            InputError: no file of this shape can be read.
        """
        self._reader = reader
        self._records = records
        known_problems = len(reader.problems)
        self._first = [(reader.line, record) for record in islice(records, SAMPLE)]
        self._end = reader.line
        self._early = reader.problems[known_problems:]  # reported in the order of the lines, with those of the records
        del reader.problems[known_problems:]
        decoded = [found for _, record in self._first if (found := _decoded(record)) is not None]
        if len({name for record in decoded for name in record}) > MOST_FIELDS:
            raise InputError(
                f"{reader.path}: the first records have more than {MOST_FIELDS:,} different fields; write rows with `query` and `pos`, "
                "and leave out fields that are no texts"
            )
        self.packed = _packed(decoded) if given is not None else ()
        self.shape = None if given is None else recognised([_unpacked(record, self.packed) for record in decoded], given)
        if self.shape is not None and self.shape.refused:
            raise InputError(f"{reader.path}: {self.shape.refused}")
        rows = [row for _, record in self._first for row in self._rows(record) or ()] if self.shape else []
        self.names = tuple(dict.fromkeys(name for row in rows for name in row))
        plain = [_plain(row) for row in rows] if self.shape else decoded
        self.kinds = _kinds([_unpacked(record, self.packed) for record in plain])
        self.examples = {name: _shown(each) for record in reversed(plain) for name, each in record.items() if each not in (None, "", [])}
        self._split = _split(decoded) if given is not None else None  # a column of splits
        self._splits: dict[str, tuple[int, int]] = {}  # split -> records, and the first line
        self._counts: dict[str, tuple[int, int]] = {}  # what -> how often, and the first line
        self.pool: list[str] | None = [] if self.shape is not None and self.shape.pool is not None else None

    def __iter__(self) -> Iterator[bytes]:
        reader = self._reader
        for line, record in self._first:
            while self._early and self._early[0].line < line:
                reader.problems.append(self._early.pop(0))
            reader.line = line
            yield from self._given(record)
        reader.problems += self._early
        reader.line = self._end
        if self.shape is None and self._split is None:
            yield from self._records
            return
        for record in self._records:
            yield from self._given(record)
        self._report()

    def _report(self) -> None:
        """Add the notices about all records."""
        reader = self._reader
        if len(self._splits) > 1:
            counts = ", ".join(f"{name!r} in {counted(count, 'record')}" for name, (count, _) in self._splits.items())
            message = f"`{self._split}` is {counts}; all are read"
            line = list(self._splits.values())[1][1]
            reader.notice(line, "reading-note", message, "leave out the records that are kept for evaluation")
        if self.shape is None:
            return
        for what, (count, line) in self._counts.items():
            if what == self.shape.left_out:
                reader.notice(line, "record-left-out", f"{count:,} x {what}, the first here: left out", self.shape.remedy)
            else:
                reader.notice(line, "reading-note", f"{count:,} x {what}, the first here", "nothing to do")

    def _given(self, record: bytes) -> Iterator[bytes]:
        if self._split is not None and (name := _split_of(record, self._split)) is not None:
            count, line = self._splits.get(name, (0, self._reader.line))
            self._splits[name] = count + 1, line
        rows = self._rows(record)
        if rows is None:
            yield record
            return
        if self.pool is not None and self.shape is not None and self.shape.pool is not None:
            self.pool += self.shape.pool(_fields(record) | self._inside(record))
        if self.shape is not None and self.shape.noted is not None and (note := self.shape.noted(_fields(record) | self._inside(record))):
            self._count(note)
        for row in rows:
            if row:
                yield msgspec.json.encode(row)
            else:
                self._count(self.shape.left_out if self.shape else "")

    def _count(self, what: str) -> None:
        count, line = self._counts.get(what, (0, self._reader.line))
        self._counts[what] = count + 1, line

    def _inside(self, record: bytes) -> Fields:
        """Return the lists and objects that the record holds as text."""
        if not self.packed or self.shape is None:
            return {}
        return {name: raw(each) for name, each in _unpacked(_record(record), self.packed).items() if name in self.packed}

    def _rows(self, record: bytes) -> list[Fields] | None:
        """Return the rows of a record, or None if it is read as it is."""
        if self.shape is None:
            return None
        try:
            fields = _fields(record)
            inside = self._inside(record)
            # A field that the shape does not read stays as it was.
            return [
                {name: fields[name] if name in inside and bytes(each) == bytes(inside[name]) else each for name, each in row.items()}
                for row in self.shape.rows(fields | inside)
            ]
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever a record lacks: it is read as it is, and its problems are reported
            return None


def _decoded(record: bytes) -> Record | None:
    try:
        return _record(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _packed(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the fields that hold lists, or objects with texts, as text."""
    names = dict.fromkeys(name for record in records for name in record)
    found = {name: [_literal(each) for record in records if (each := record.get(name)) not in (None, "")] for name in names}
    return tuple(name for name, literals in found.items() if None not in literals and any(literals))


def _literal(cell: object) -> Any:
    inside = literal_in(cell) if isinstance(cell, str) else None
    return None if isinstance(inside, dict) and all(isinstance(each, int | float | None) for each in inside.values()) else inside


def _split(records: Sequence[Record]) -> str | None:
    """Return the field that names a split of the data set, such as train or test."""
    for name in ("split", "subset", "fold", "partition", "set"):
        values = [record[name] for record in records if record.get(name) is not None]
        if values and all(isinstance(each, str) and _SPLIT.fullmatch(each) for each in values):
            return name
    return None


def _split_of(record: bytes, name: str) -> str | None:
    try:
        return str(value) if (value := _record(record).get(name)) is not None else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # reported when it is read


def _unpacked(record: Record, packed: Sequence[str]) -> Record:
    return record | {
        name: inside for name in packed if isinstance(each := record.get(name), str) and (inside := literal_in(each)) is not None
    }


def _plain(row: Fields) -> Record:
    return {name: msgspec.json.decode(item) for name, item in row.items()}


def _kinds(records: Sequence[Record]) -> dict[str, Any]:
    """Return the kinds of fields by the first records."""
    labels = _labels(records)
    values = {
        name: [record[name] for record in records if record.get(name) not in (None, "")]
        for name in dict.fromkeys(name for record in records for name in record)
    }
    texts = {name: [text for each in found if (text := _first_text(each)) is not None] for name, found in values.items()}
    return {
        "labels": labels,
        "numbers": _numbers(records),
        "repeated": _repeated(records),
        "flags": tuple(name for name, found in values.items() if are_flags(found)),
        "codes": tuple(name for name, found in texts.items() if len(found) > 1 and all(map(looks_like_id, found))),
        "several": tuple(name for name, found in values.items() if any(len(passages_in(each) or ()) > 1 for each in found)),
        "contrary": contradicting(records, labels),
        "sizes": {name: median(map(len, found)) for name, found in texts.items() if found},
    }


def _first_text(item: Any) -> str | None:
    """Return a text, or the first one of a list."""
    item = item[0] if isinstance(item, list) and item else item
    return text_in(item)


def _labels(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the fields whose values are few and short in the first records."""
    found = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if record.get(name) is not None]
        values = [each for each in values if each != ""]
        if values and all(isinstance(each, bool | int | float) or (isinstance(each, str) and len(each) <= 24) for each in values):
            different = {str(each) for each in values}
            if 2 <= len(different) <= min(10, len(values) // 2) or is_label(name) or (len(different) > 1 and are_flags(values)):
                found.append(name)
    return tuple(found)


def _numbers(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the fields whose values are numbers, also as text and with a decimal comma."""
    found = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if record.get(name) not in (None, "")]
        if values and all(isinstance(each, int | float | str) and _NUMBER.fullmatch(str(each).strip()) for each in values):
            found.append(name)
    return tuple(found)


def _repeated(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the fields of texts of which at least a fifth occurs before."""
    names = dict.fromkeys(name for record in records for name in record)
    texts = {name: [record[name] for record in records if isinstance(record.get(name), str)] for name in names}
    return tuple(name for name, found in texts.items() if len(found) > 1 and 5 * len({*found}) <= 4 * len(found))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
