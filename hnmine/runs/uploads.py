"""Files of users: inspected before use, listed from the workspace's folder, stored with their own bytes.

`inspect_file` reads the beginning of a file (of Parquet and zip the directory at its end) and returns its format and its columns without
reading the rest. A stored file keeps its bytes and gets the suffix of its format.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from hnmine.core.errors import EncodingError, InputError, LabelsError, QuestionError
from hnmine.data.beir import BeirFolder, beir_at
from hnmine.data.columns import Columns, is_positive
from hnmine.data.detect import Role, Source, read_as
from hnmine.data.jsonl import Reader
from hnmine.data.labels import label_of
from hnmine.data.pairs import join_pairs
from hnmine.data.rows import Row, training_rows
from hnmine.data.tables import RecordReader

__all__ = ["SUFFIXES", "FileInfo", "FirstRow", "Stamp", "first_rows", "inspect_file", "list_files", "sample", "stamp", "store"]

# Of each file: its path, its times in nanoseconds, its size.
Stamp = tuple[tuple[str, int, int, int], ...]

# Suffixes of uploads and listed files; the format is detected from the content.
SUFFIXES = ("jsonl", "json", "ndjson", "parquet", "arrow", "feather", "xlsx", "csv", "tsv", "tab", "txt", "gz", "zst", "zip")
# Records that `first_rows` reads: rows of a query that stand together are joined.
_BEGINNING = 50
_SUFFIX = {"jsonl": ".jsonl", "json": ".json", "parquet": ".parquet", "arrow": ".arrow", "excel": ".xlsx", "text": ".txt", "beir": ".zip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """The detected format of a file.

    Attributes:
        source: format, and the names of its columns (fields, splits).
        said: the same in words, with the columns that are read.
        columns: which are read as what; None when they must be named.
        plain: JSON lines or an array with `query` and `pos` (of a pool `text`).
    """

    source: Source
    said: str
    columns: Columns | None
    plain: bool

    @property
    def suffix(self) -> str:
        """The suffix of a file of this kind, such as ".csv.gz"."""
        kind = _SUFFIX.get(self.source.format) or (".tsv" if self.source.layout.delimiter == "\t" else ".csv")
        return kind + {"": "", "gzip": ".gz", "zstd": ".zst"}[self.source.packing]


class _Borrowed(io.RawIOBase):
    """A view of an open file that reads from its beginning and leaves it open; several views keep their own positions."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._place)
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._place += len(block)
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(self._place)
        self._place = self._file.seek(offset, whence)
        return self._place

    def tell(self) -> int:
        return self._place


def _beir(source: BinaryIO | Path, name: str) -> BeirFolder | None:
    if isinstance(source, Path):
        return beir_at(source)
    source.seek(0)
    if source.read(4) != b"PK\x03\x04":
        return None
    return beir_at(name, cast(BinaryIO, io.BufferedReader(_Borrowed(source))))


def inspect_file(source: BinaryIO | Path, name: str, role: Role = "training", columns: Columns | None = None) -> FileInfo:
    """Return the format of a file, before it is used.

    Args:
        source: a path, or a seekable file; it stays open.
        name: its name; breaks ties.
        role: its use.
        columns: the columns that the user named.

    Raises:
        InputError: it is damaged, has an unsupported format, or lacks a named column.
    """
    if (beir := _beir(source, name)) is not None:
        found = Source(format="beir", names=beir.splits)
        return FileInfo(source=found, said=str(beir), columns=Columns(split=(columns and columns.split) or beir.splits[0]), plain=False)
    opener = None if isinstance(source, Path) else lambda: cast(BinaryIO, io.BufferedReader(_Borrowed(source)))
    reader = RecordReader(source if isinstance(source, Path) else name, role=role, columns=columns, opener=opener, name=name)
    try:
        reader.open()
    except EncodingError as question:
        return FileInfo(source=reader.source, said=f"the encoding is not UTF-8, probably {question.guess}", columns=None, plain=False)
    except QuestionError:
        return FileInfo(source=reader.source, said=str(reader.source), columns=None, plain=False)
    finally:
        reader.close()
    plain = reader.plain and reader.source.format in ("jsonl", "json")
    said = str(reader.source) if plain else read_as(reader.source, reader.columns)
    return FileInfo(source=reader.source, said=said, columns=reader.columns, plain=plain)


def stamp(path: Path) -> Stamp:
    """Return a value that changes with a file, or with a file of a folder; nothing is read. A missing file is left out."""
    found = []
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        with suppress(OSError):
            seen = each.stat()
            found.append((str(each), seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size))
    return tuple(found)


def list_files(root: Path) -> list[str]:
    """Return the files below `root` that can be opened, by their suffixes, and its BEIR folders, as relative paths, sorted."""
    found: list[str] = []
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if any(part.startswith(".") for part in name.parts):
            continue
        if path.is_dir():
            if _is_beir(path):
                found.append(name.as_posix())
        elif path.suffix.lower().removeprefix(".") in SUFFIXES and path.is_file() and not _is_part(path):
            found.append(name.as_posix())
    return sorted(found)


def _is_beir(folder: Path) -> bool:
    try:
        return beir_at(folder) is not None
    except InputError:  # one without qrels: its files are listed
        return False


def _is_part(path: Path) -> bool:
    if path.parent.name == "qrels":
        return _is_beir(path.parent.parent)
    return path.name.split(".")[0] in ("corpus", "queries", "qrels") and _is_beir(path.parent)


def store(source: BinaryIO | Path, name: str, role: Role, folder: Path) -> tuple[str, int, str, FileInfo | None]:
    """Copy a file into `folder` under a name of its role; return that name, its bytes, sha256 and format.

    Raises:
        OSError: it cannot be read, or the disk is full.
    """
    stem = "train" if role == "training" else "pool"
    try:
        found: FileInfo | None = inspect_file(source, name, role)
    except InputError:  # reading it reports the fault
        found = None
    if isinstance(source, Path) and source.is_dir():
        given = beir_at(source)
        size, digest = 0, hashlib.sha256()
        for member in given.members if given else ():
            target = folder / stem / member
            target.parent.mkdir(parents=True, exist_ok=True)
            more, fingerprint = _copy(source / member, target)
            size += more
            digest.update(f"{member} {fingerprint}\n".encode())
        return stem, size, digest.hexdigest(), found
    stored = stem + (found.suffix if found else ".jsonl")
    return (stored, *_copy(source, folder / stored), found)


def _copy(source: BinaryIO | Path, target: Path) -> tuple[int, str]:
    """Copy a file; return its bytes and sha256."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _copy(file, target)
    digest, size = hashlib.sha256(), 0
    source.seek(0)
    with target.open("wb") as out:
        while chunk := source.read(2**22):
            out.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        out.flush()
        os.fsync(out.fileno())
    return size, digest.hexdigest()


def sample(path: Path, role: Role, count: int = 20, *, encoding: str | None = None) -> list[dict[str, Any]]:
    """Return the first records of a file unchanged, for a user who has to name the columns.

    Raises:
        InputError: it is damaged.
    """
    # A part that is named, here as nothing, means that no shape is looked for.
    reader = RecordReader(path, (), True, role=role, columns=Columns(pos=(), encoding=encoding))
    with suppress(QuestionError):
        reader.open()
    found: list[dict[str, Any]] = []
    for line in reader.lines():
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        if len(found) == count:
            break
    reader.close()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRow:
    """A training row at the beginning of a file. `label` is set if it is not known which labels are positive."""

    line: int
    query: str
    pos: list[str]
    neg: list[str]
    label: str | None = None


class _Beginning(Reader):
    """Reads the first records alone, however many of them are bad."""

    def lines(self) -> Iterator[bytes]:
        return islice(super().lines(), _BEGINNING)


def first_rows(path: Path, columns: Columns, count: int) -> list[FirstRow]:
    """Return the first rows of a training file as they are read with these columns; the rest of the file is not read.

    Raises:
        InputError: it cannot be read, or no row at its beginning is good.
    """
    reader = _Beginning(path, columns=columns)
    try:
        rows = list(training_rows(reader))
        read = reader.columns or Columns()
        name = read.label
        if name:
            rows = [row for row in rows if bytes(row.fields.get(name, b"null")) not in (b"null", b'""')]
        labels = [label_of(row.fields[name]) if name else None for row in rows]
        found = list(map(_first, rows, labels))
        if name or not reader.source.header:
            with suppress(LabelsError):  # the label is shown
                found = list(map(_first, join_pairs(rows, reader, read, alike=reader.source.header and is_positive(read.pos))))
    finally:
        reader.close()
    if not found:
        bad = reader.problems[0] if reader.problems else None
        raise InputError(f"no row at the beginning of the file can be read: {bad.path} {bad.message}" if bad else "the file has no row")
    return found[:count]


def _first(row: Row, label: str | None = None) -> FirstRow:
    return FirstRow(line=row.line, query=row.query, pos=row.pos, neg=row.neg, label=label)
