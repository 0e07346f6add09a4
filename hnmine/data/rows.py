"""Training rows and pool passages, read with all problems: each with its line, field and remedy.

A reader changes nothing on its own. It reports all problems of the file; a row with one is used only if `repair` names its
kind, `skip_bad_rows` leaves the others out, and `problems.require_decided` raises if any is left open. Fields other than
`query`, `pos` and `neg` are never parsed: `Row.fields` holds the bytes of each value (`msgspec.Raw`), so `1.0`, `1e5` and
`"\\u00e9"` are written as they were read. A training file therefore takes 2.6 times its size in memory (`json.loads`: 1.6); of a
pool only the texts are kept. Data sets with other column names are renamed to `query`, `pos` and `neg` (`Renamer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from hnmine.core.decode import decoder
from hnmine.core.text import counted
from hnmine.data.columns import Columns
from hnmine.data.formats.jsonl import Reader
from hnmine.data.formats.literals import LONGEST_MISSING, is_missing, literal_in, looks_like_list
from hnmine.data.problems import REPAIRS, Problem
from hnmine.data.shapes.shape import joined

__all__ = ["Passage", "Renamer", "Row", "array", "joined", "training_rows", "without"]

_encode: Callable[[object], bytes] = msgspec.json.encode


class Passage(msgspec.Struct, frozen=True):
    """A passage object of a retrieval data set; the name of its text differs between data sets."""

    title: str | None = None
    text: str | None = None
    passage: str | None = None
    contents: str | None = None
    content: str | None = None


_TEXTS = {*Passage.__struct_fields__} - {"title"}

_text = msgspec.json.Decoder(str).decode
_texts = msgspec.json.Decoder(list[str]).decode
_mixed = decoder(list[str | Passage | None])
_one = decoder(Passage)


def array(texts: Sequence[str]) -> msgspec.Raw:
    """Return texts as a JSON array, with the spaces of Python's json module."""
    return msgspec.Raw(b"[" + b", ".join(map(_encode, texts)) + b"]")


def without(raw: msgspec.Raw, dropped: Sequence[int], kept: int) -> msgspec.Raw:
    """Return scores without those of removed passages, so that the others stay aligned with their passages."""
    try:
        scores = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        return raw
    if len(scores) != kept + len(dropped):
        return raw
    left = {*dropped}
    return msgspec.Raw(b"[" + b", ".join(bytes(score) for index, score in enumerate(scores) if index not in left) + b"]")


class Renamer:
    """Reads the records of one file by its columns, and renames these to `query`, `pos` and `neg`."""

    def __init__(self, reader: Reader, columns: Columns) -> None:
        self._reader = reader
        self._query = columns.query or "query"
        self._pos = columns.pos or ()
        self._neg = columns.neg or ()
        self._parts = {self._query: "query", **dict.fromkeys(self._pos, "pos"), **dict.fromkeys(self._neg, "neg")}
        self._renamed: set[str] = set()
        self._missing: list[tuple[int, str, str]] = []  # line, path and word

    def row(self, fields: dict[str, msgspec.Raw], found: list[Problem]) -> tuple[str, list[str], list[str]]:
        """Return the query, positives and negatives of a record, and rename its `fields`; append problems to `found`."""
        reader = self._reader
        query = ""
        if self._query in fields:
            query = reader.text(fields[self._query], f"$.{self._query}", found)
        else:
            found.append(reader.missing(self._query, fields))
        before = len(found)
        pos, drop_pos = self._passages(self._pos, fields, found)
        if not pos and all(problem.kind in REPAIRS for problem in found[before:]):
            if any(name in fields for name in self._pos):
                names = " and ".join(f"`{name}`" for name in self._pos)
                message = f"{names} hold{'s' if len(self._pos) == 1 else ''} no passage"
                found.append(reader.problem(f"$.{self._pos[0]}", "no-positive", message, "add a positive, or skip the row"))
            else:
                found.append(reader.missing(self._pos[0], fields))
        neg, drop_neg = self._passages(self._neg, fields, found)
        self._rename(fields, query, pos, neg)
        for scores, dropped, kept in (("pos_scores", drop_pos, pos), ("neg_scores", drop_neg, neg)):
            if dropped and scores in fields:
                fields[scores] = without(fields[scores], dropped, len(kept))
        return query, pos, neg

    def report(self) -> None:
        """Report the words for missing values that were read as no passage."""
        if self._missing:
            line, path, word = self._missing[0]
            message = f"{counted(len(self._missing), 'value')} of a passage, the first here {word!r} in `{path[2:]}`: read as missing"
            self._reader.notice(line, "reading-note", message, "nothing to do")

    def _rename(self, fields: dict[str, msgspec.Raw], query: str, pos: list[str], neg: list[str]) -> None:
        named: dict[str, msgspec.Raw] = {}
        for name, value in fields.items():
            part = self._parts.get(name)
            if part is None:
                new = name
                while new in ("query", "pos", "neg") or (new != name and new in fields):
                    new += "_"
                if new != name and name not in self._renamed:
                    self._renamed.add(name)
                    message = f"the field `{name}` is not used and is written as `{new}`"
                    self._reader.notice(self._reader.line, "field-renamed", message, "nothing to do")
                named[new] = value
            elif part == "query":
                named[part] = msgspec.Raw(_encode(query)) if self._reader.number(value) else value
            elif part not in named:
                named[part] = array(pos if part == "pos" else neg)
        if "pos" not in named:  # a bad row: only its problems are used
            named["pos"] = array(pos)
        fields.clear()
        fields.update(named)

    def _passages(self, names: Sequence[str], fields: dict[str, msgspec.Raw], found: list[Problem]) -> tuple[list[str], list[int]]:
        """Return the passages of these columns, and the positions of blank ones."""
        texts: list[str] = []
        dropped: list[int] = []
        before = 0  # passages of earlier columns
        for name in names:
            if name not in fields:
                continue
            kept, blank = self._cell(fields[name], f"$.{name}", found)
            dropped += [before + place for place in blank]
            before += len(kept) + len(blank)
            texts += kept
        return texts, dropped

    def _cell(self, raw: msgspec.Raw, path: str, found: list[Problem]) -> tuple[list[str], list[int]]:
        reader, first = self._reader, bytes(raw)[:1]
        try:
            if first == b"[":
                plain = _texts(raw)
                if all(text and not text.isspace() and not is_missing(text) for text in plain):
                    return plain, []
            elif first == b'"':
                cell = _text(raw)
                bare = cell.strip()
                if len(bare) > LONGEST_MISSING and bare[0] not in "[{a":  # no list, and not missing
                    return [cell], []
        except msgspec.DecodeError:
            pass
        try:
            if first == b"n":
                return [], []
            if first == b'"':
                items: list[str | Passage | None] = [_text(raw)]
                if path[2:] in reader.packed and (inside := _written_out(str(items[0]))) is not None:
                    return self._cell(inside, path, found)
                if looks_like_list(str(items[0])):
                    found.append(reader.damaged_list(path))
                    return [], []
                if reader.source.is_table and not str(items[0]).strip():
                    return [], []
                if is_missing(str(items[0])):
                    self._missing.append((reader.line, path, str(items[0]).strip()))
                    return [], []
            elif number := reader.number(raw):
                items = [number]
            else:
                items = [_one(raw)] if first == b"{" else _mixed(raw)
        except (msgspec.DecodeError, RecursionError):
            texts, dropped = reader.texts(raw, path, found)
            return texts, dropped or []
        several = first == b"["
        kept: list[str] = []
        blank: list[int] = []
        for index, item in enumerate(items):
            place = f"{path}[{index}]" if several else path
            if isinstance(item, Passage):
                alone = item.text or item.passage or item.contents or item.content
                text = joined(item.title, alone)
                if item.title and alone:
                    reader.titled[alone.strip()] = text
            elif item is None:
                found.append(reader.problem(place, "wrong-type", "expected a string, found null", "write it as a string"))
                continue
            else:
                text = item
            if text.strip() and not is_missing(text):
                kept.append(text)
            else:
                blank.append(index)
                found.append(reader.blank_passage(place, text))
        return kept, blank


def _written_out(text: str) -> msgspec.Raw | None:
    """Return the passages that a text holds as a list or object, as JSON, or None if it is a passage."""
    inside = literal_in(text)
    items = inside if isinstance(inside, list) else [] if inside is None else [inside]
    if inside is None or not all(map(_is_passage, items)):
        return None
    return msgspec.Raw(_encode(inside))


def _is_passage(item: object) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and any(isinstance(item.get(key), str) for key in _TEXTS))


@dataclass(slots=True, eq=False)
class Row:
    """One training row: the parsed texts, and the bytes of every field in file order; `file` names its file where there are several."""

    line: int
    query: str
    pos: list[str]
    neg: list[str]
    fields: dict[str, msgspec.Raw]
    file: str = ""


def training_rows(reader: Reader) -> Iterator[Row]:
    """Yield the usable rows of `reader` one at a time, without holding all of them in memory as `read_training` does."""
    reader.open()
    with reader.net():
        yield from _rows_of(reader)


def _rows_of(reader: Reader) -> Iterator[Row]:
    renamer = None if reader.plain or reader.columns is None else Renamer(reader, reader.columns)
    for fields, texts, found in reader.objects(text=None) if renamer else reader.objects(text="query", lists=("pos", "neg")):
        if "query" in texts and texts.get("pos"):
            query, pos, neg = texts["query"], texts["pos"], texts.get("neg", [])
        else:
            query, pos, neg = "", [], []
            with reader.net_of_line(found):
                query, pos, neg = renamer.row(fields, found) if renamer else _examine(reader, fields, found)
            if found and not reader.admit(found):
                continue
        yield Row(reader.line, query, pos, neg, fields)
    if renamer:
        renamer.report()


def _examine(reader: Reader, fields: dict[str, msgspec.Raw], found: list[Problem]) -> tuple[str, list[str], list[str]]:
    """Read the texts of a row that may have problems; append these to `found`, and repair `fields` where possible."""
    query = ""
    passages: dict[str, list[str]] = {"pos": [], "neg": []}
    if "query" in fields:
        query = reader.text(fields["query"], "$.query", found)
    else:
        found.append(reader.missing("query", fields))
    before = len(found)
    for side in passages:
        if side in fields:
            passages[side], dropped = reader.texts(fields[side], f"$.{side}", found)
            if dropped is not None:
                fields[side] = array(passages[side])
                if (scores := f"{side}_scores") in fields:
                    fields[scores] = without(fields[scores], dropped, len(passages[side]))
            if side == "pos" and not passages[side] and all(problem.kind in REPAIRS for problem in found[before:]):
                found.append(reader.problem("$.pos", "no-positive", "`pos` has no passage", "add a positive, or skip the row"))
        elif side == "pos":
            found.append(reader.missing("pos", fields))
    return query, passages["pos"], passages["neg"]
