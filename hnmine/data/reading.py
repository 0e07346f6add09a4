"""Training rows and pools, read from files of any format and shape."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.errors import InputError
from hnmine.data.columns import Columns, is_positive
from hnmine.data.formats.detect import read_as
from hnmine.data.formats.jsonl import Reader
from hnmine.data.labels import label_of, positive_among
from hnmine.data.problems import REPAIRS, InputFile
from hnmine.data.rows import Row, array, training_rows
from hnmine.data.texts import TextWriter

__all__ = ["combined", "join_pairs", "pool_of", "read_pool", "read_training", "training_of"]


def join_pairs(rows: Iterable[Row], reader: Reader, columns: Columns, *, alike: bool) -> list[Row]:
    """Return one row a query, in the order of the queries' first rows.

    Args:
        rows: with one or more passages each; read once, and only the texts of further rows of a query are kept.
        reader: gets the notices.
        columns: `label`, if any, decides whether `pos` of a row is positive, by `positive_labels`.
        alike: return the rows as they are if all labels are positive.

    Raises:
        LabelsError: the values of the label are unknown.
    """
    label, counts = columns.label, Counter[str]()
    held: list[Row] = []
    first: dict[str, Row] = {}
    parts: dict[str, list[tuple[str, list[str], list[str]]]] = {}
    dropped: Counter[str] = Counter()
    labels: dict[bytes, str] = {}  # a few values, each decoded once
    for row in rows:
        found = ""
        if label:
            value = bytes(row.fields[label])
            found = labels.get(value) or labels.setdefault(value, label_of(row.fields[label]))
        counts[found] += 1
        if alike:
            held.append(row)
        known = first.setdefault(row.query, row)
        parts.setdefault(row.query, []).append((found, row.pos, row.neg))
        if known is not row and not alike:
            dropped.update(_differing(known, row))
    positive = positive_among(counts, columns.positive_labels, label, reader.where) if label else {""}
    if alike and positive.issuperset(counts):  # the label says nothing
        return held
    for row in held:
        if (known := first[row.query]) is not row:
            dropped.update(_differing(known, row))
    made: list[Row] = []
    without: list[int] = []
    for query, row in first.items():
        pos = dict.fromkeys(text for found, texts, _ in parts[query] if found in positive for text in texts)
        neg = dict.fromkeys(text for found, texts, old in parts[query] for text in (*(() if found in positive else texts), *old))
        if not pos:
            without.append(row.line)
            continue
        row.fields.pop(label or "", None)
        row.fields.pop("neg", None)
        row.pos, row.neg = list(pos), list(neg)
        row.fields |= {"pos": array(row.pos)} | ({"neg": array(row.neg)} if neg else {})
        made.append(row)
    if without:
        message = f"{len(without):,} of {len(first):,} queries have no positive and are left out"
        reader.notice(without[0], "no-positive", message, "nothing to do, or correct the labels")
    for name, count in dropped.items():
        if name != label:
            message = f"`{name}` differs between the rows of {count:,} queries and is left out there"
            reader.notice(1, "field-left-out", message, "nothing to do")
    return made


def _differing(first: Row, other: Row) -> list[str]:
    """Remove the fields of the first row that another row of its query does not share, and return their names."""
    names = [name for name, value in first.fields.items() if name not in ("query", "pos", "neg") and other.fields.get(name) != value]
    for name in names:
        del first.fields[name]
    return names


T = TypeVar("T")
# Columns of passages that may be lists of sentences.
_IN_SENTENCES = ("abstract", "sentences", "paragraphs")


def read_training(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
) -> InputFile[Row]:
    """Read training rows: `query` (str), `pos` (list of str), optional `neg` (list of str), any other fields.

    Args:
        path: a file in any format of `detect`, optionally compressed with gzip or Zstandard; for BEIR data sets see `beir`.
        columns: the columns to read; a part that is None is found by name.
        repair: kinds of REPAIRS to repair, or "all".
        skip_bad_rows: leave out the other bad rows.

    Raises:
        InputError: the file cannot be read.
        ColumnsError: the columns must be named. Bad rows do not raise: see `problems.require_decided`.
    """
    return training_of([Reader(path, repair, skip_bad_rows, columns=columns)], str(path))


def training_of(readers: list[Reader], where: str) -> InputFile[Row]:
    """Read the rows of one or several files, which are one training set, and close them; `where` names the set.

    Raises:
        InputError: a file cannot be read, or its columns are others than those of the first.
        ColumnsError: the columns must be named.
    """
    with closing(readers[0]):  # the others are read to their end, but a question of the first leaves its file open
        return _training_of(readers, where)


def _training_of(readers: list[Reader], where: str) -> InputFile[Row]:
    first = readers[0]
    first.open()
    found = first.columns or Columns()
    rows = _rows(readers, found.label, named=where != str(first.path))
    joins = not first.source.header or (first.shape is not None and first.shape.joins)
    if found.label or joins:
        joined_rows = join_pairs(rows, first, found, alike=not joins and is_positive(found.pos))
        return _together(readers, joined_rows, where)
    kept: list[Row] = []
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        # Same query and positives: a trainer would see the row twice.
        known = seen.setdefault((row.query, *row.pos), row)
        if known is not row:
            reader = next(each for each in readers if each.name == row.file) if row.file else first
            place = f"line {known.line}" + (f" of {known.file}" if known.file != row.file else "")
            repeat = reader.problem("$", "duplicate-row", f"repeats {place}", REPAIRS["duplicate-row"])
            removed = "duplicate-row" in reader.repair
            reader.problems.append(replace(repeat, severity="notice", resolution="repaired" if removed else "noted"))
            if removed:
                continue
        kept.append(row)
    return _together(readers, kept, where)


def _rows(readers: list[Reader], label: str | None, *, named: bool) -> Iterator[Row]:
    first = readers[0]
    for place, reader in enumerate(readers):
        if reader is not first:
            reader = readers[place] = _opened_like(first, reader)
        for row in training_rows(reader):
            if label and not _has_label(reader, row, label):
                continue
            if named:
                row.file = reader.name
            yield row


def _opened_like(first: Reader, reader: Reader) -> Reader:
    """Return a further file of a training set, opened: read by its own names, else by the columns of the first.

    Raises:
        InputError: it is read in another way than the first.
    """
    ways = [reader.given]
    if first.shape is None and first.columns is not None:  # its beginning may lack a label or negatives
        known = first.columns
        ways.append(msgspec.structs.replace(first.given, query=known.query, pos=known.pos, label=known.label or ""))
    problem: InputError | None = None
    for columns in ways:
        found = reader.renewed(columns)
        try:
            found.open()
        except InputError as error:
            found.close()
            problem = problem or error
            continue
        if _way(found) == _way(first):
            return found
        said = read_as(found.source, found.columns)
        found.close()
        problem = InputError(
            f"{reader.path} is read in another way than {first.path}: {said}, and {read_as(first.source, first.columns)}. Give the "
            "files that belong together by name"
        )
    raise problem or InputError(f"{reader.path}: cannot be read")


def _way(reader: Reader) -> tuple[object, ...]:
    """Return what files of one training set have in common: labels, a header, and whether rows are joined."""
    columns, shape = reader.columns, reader.shape
    return columns and columns.label, reader.source.header, shape.name if shape and (shape.joins or shape.passage_ids) else ""


def _together(readers: Sequence[Reader], items: Sequence[T], where: str) -> InputFile[T]:
    """Return the items of several files with the problems of all, and one fingerprint."""
    if len(readers) == 1:
        return readers[0].file(items)
    files = [reader.file(items) for reader in readers]
    whole = replace(files[0], path=where, problems=[problem for file in files for problem in file.problems], plain=False)
    whole.size, whole.lines = sum(file.size for file in files), sum(file.lines for file in files)
    whole.sha256 = hashlib.sha256(
        "".join(f"{reader.name} {file.sha256}\n" for reader, file in zip(readers, files, strict=True)).encode()
    ).hexdigest()
    others = dict.fromkeys(file.read_as for file in files[1:] if file.read_as != whole.read_as)
    whole.read_as = "; ".join([whole.read_as, *(f"others: {each}" for each in list(others)[:3])])
    whole.titled = {text: title for file in files for text, title in file.titled.items()}
    whole.pool = [text for file in files for text in file.pool or ()] if any(file.pool is not None for file in files) else None
    return whole


def combined(files: Sequence[tuple[str, InputFile[Any]]]) -> tuple[int, str]:
    """Return the bytes of several files, each with a name, and the SHA-256 of their names and fingerprints."""
    text = "".join(f"{Path(name).name} {file.sha256}\n" for name, file in files)
    return sum(file.size for _, file in files), hashlib.sha256(text.encode()).hexdigest()


def _has_label(reader: Reader, row: Row, label: str) -> bool:
    """Return whether a row has a label; report it if not."""
    if bytes(row.fields.get(label, b"null")) not in (b"null", b'""'):
        return True
    reader.admit([reader.missing(label, row.fields)])
    return False


def read_pool(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    repair: Iterable[str] = (),
    skip_bad_rows: bool = False,
    wanted: Collection[str] | None = None,
) -> InputFile[str]:
    """Read a candidate pool: a `text` (str) per line, or a passage per line. A `title` is kept apart; other fields are ignored.

    Arguments and errors as in `read_training`; a blank `text` is repaired by leaving the line out. The texts of the ids in `wanted` are
    in `by_id`, found in the column `columns.id`, or in the one that has most of them.
    """
    return pool_of([Reader(path, repair, skip_bad_rows, role="pool", columns=columns)], str(path), wanted=wanted)


def pool_of(readers: Sequence[Reader], where: str, *, wanted: Collection[str] | None = None) -> InputFile[str]:
    """Read the passages of one or several files, as `read_pool` those of one."""
    titles = TextWriter()  # of the first passages, "" for none
    found_by = _Texts(wanted)
    texts = TextWriter()
    for reader in readers:
        with closing(reader):
            reader.open()
            with reader.net():
                for text, title, fields in _passages(reader, whole=wanted is not None):
                    if title is not None:
                        while len(titles) < len(texts):
                            titles.append("")
                        titles.append(title)
                    texts.append(text)
                    if wanted is not None:
                        found_by.add(fields, text, reader)
    by_id = found_by.best()
    file = _together(readers, texts.texts(), where)
    if any(read := titles.texts()):
        file.titles = read
    file.by_id = by_id
    return file


def _passages(reader: Reader, *, whole: bool) -> Iterator[tuple[str, str | None, Mapping[str, msgspec.Raw]]]:
    """Yield the text, the title (None in a file without titles) and, if `whole`, the fields of each usable passage."""
    name = _text_name(reader)
    titled = "title" in reader.source.names and name != "title"
    for fields, quick, found in reader.objects(text=name, whole=whole):
        if quick:
            text = quick[name]
        else:
            text = ""
            with reader.net_of_line(found):
                if name in fields:
                    text = (_sentences(fields[name]) if name.casefold() in _IN_SENTENCES else "") or reader.text(
                        fields[name], f"$.{name}", found
                    )
                else:
                    found.append(reader.missing(name, fields))
            if [problem.kind for problem in found] == ["empty-text"]:
                reader.admit([replace(found[0], kind="blank-passage", remedy=REPAIRS["blank-passage"])])
                continue
            if found and not reader.admit(found):
                continue
        title = (_plain_title(quick["title"]) if not fields and "title" in quick else _title(fields)) if titled else None
        yield text, (title or "") if titled else None, fields


def _text_name(reader: Reader) -> str:
    return (reader.columns and reader.columns.text) or "text"


def _sentences(raw: msgspec.Raw) -> str:
    """Return the sentences of a passage that is a list of them, as abstracts are, joined; else ""."""
    try:
        return " ".join(msgspec.json.decode(raw, type=list[str])) if bytes(raw)[:1] == b"[" else ""
    except msgspec.MsgspecError:
        return ""


def _title(fields: Mapping[str, msgspec.Raw]) -> str | None:
    raw = fields.get("title")
    return None if raw is None or bytes(raw)[:1] != b'"' else _plain_title(msgspec.json.decode(raw))


def _plain_title(title: object) -> str | None:
    return title.strip() or None if isinstance(title, str) else None


class _Texts:
    """The texts of wanted ids, by the column in which they are found."""

    def __init__(self, wanted: Collection[str] | None) -> None:
        self._wanted = wanted or ()
        self._found: dict[str, dict[str, str]] = {}
        self._twice: dict[str, list[tuple[Reader, int, str]]] = {}

    def add(self, fields: Mapping[str, msgspec.Raw], text: str, reader: Reader) -> None:
        """Add a passage to the texts of each column, or of the named one, whose value is a wanted id."""
        column = reader.given.id
        text_name = _text_name(reader)
        for name in (column,) if column else fields:
            if name == text_name or name not in fields or bytes(fields[name])[:1] in b"[{":
                continue
            value = msgspec.json.decode(fields[name])
            if isinstance(value, str | int) and str(value) in self._wanted:
                known = self._found.setdefault(name, {}).setdefault(str(value), text)
                if known != text:
                    self._twice.setdefault(name, []).append((reader, reader.line, str(value)))

    def best(self) -> dict[str, str]:
        """Return the texts of the column that has most of the ids; an id with two texts is a problem of its second line."""
        column = max(self._found, key=lambda name: len(self._found[name]), default="")
        for reader, line, identity in self._twice.get(column, ()):
            last, reader.line = reader.line, line
            message = f"the id {identity!r} has another text on an earlier line"
            reader.admit([reader.problem(f"$.{column}", "duplicate-id", message, REPAIRS["duplicate-id"])])
            reader.line = last
        return self._found.get(column, {})
