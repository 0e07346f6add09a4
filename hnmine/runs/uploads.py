"""Files of users: inspected before use, listed from the workspace's folder, stored with their own bytes.

`inspect_file` reads the beginning of a file (of Parquet and zip the directory at its end) and returns its format and its columns without
reading the rest. A stored file keeps its bytes and gets the suffix of its format.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from hnmine.core.errors import EncodingError, InputError, LabelsError, QuestionError
from hnmine.core.paths import shown
from hnmine.data.beir import BeirFolder, beir_at
from hnmine.data.columns import Columns
from hnmine.data.folders import Folder, Part, files_at, folder_of
from hnmine.data.formats.detect import Role, Source, read_as
from hnmine.data.formats.jsonl import Reader
from hnmine.data.formats.tables import RecordReader
from hnmine.data.formats.unreadable import unreadable_as_input_error
from hnmine.data.labels import label_of
from hnmine.data.reading import training_of
from hnmine.data.rows import Row, training_rows
from hnmine.data.several import Reading, Sorted, in_words, sorted_files

__all__ = [
    "SUFFIXES",
    "FileInfo",
    "FirstRow",
    "Stamp",
    "Uploaded",
    "below",
    "first_rows",
    "inspect_file",
    "list_files",
    "members",
    "opener_of",
    "sample",
    "stamp",
    "store",
]

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
        files: what each of several files holds, in words; then the rest is that of the first file of rows (of passages for a pool).
        splits: of several, the one that is read first.
        own_pool: the pool is in them.
    """

    source: Source
    said: str
    columns: Columns | None
    files: str = ""
    splits: tuple[str, ...] = ()
    own_pool: bool = False
    plain: bool

    @property
    def suffix(self) -> str:
        """The suffix of a file of this kind, such as ".csv.gz"."""
        if self.files:
            return ".zip"
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


Uploaded = BinaryIO | Path | Mapping[str, BinaryIO]


def opener_of(file: BinaryIO) -> Callable[[], BinaryIO]:
    """Return a function that opens a view of an open file from its beginning; the file stays open."""
    return lambda: cast(BinaryIO, io.BufferedReader(_Borrowed(file)))


def _beir(source: Uploaded, name: str) -> BeirFolder | None:
    if isinstance(source, Path):
        return beir_at(source)
    return None if isinstance(source, Mapping) or not _is_zip(source) else beir_at(name, opener_of(source)())


def _is_zip(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def _folder(source: Uploaded, name: str) -> Folder | None:
    if isinstance(source, Mapping):
        return folder_of(name, Path(name), {each: opener_of(file) for each, file in source.items()})
    if isinstance(source, Path):
        return files_at(source)
    return files_at(name, file=opener_of(source)()) if _is_zip(source) else None


def _main(folder: Folder, role: Role, columns: Columns) -> tuple[Part, Sorted]:
    """Return the first file of rows, or of a pool's passages."""
    held = sorted_files(folder, Reading(columns, (), True))
    parts = held.rows if role == "training" else [*held.passages, *held.texts, *folder.parts]
    if not parts:
        raise InputError(f"{folder.name}: no file has training rows; add one with queries and positives. There are {in_words(held)}")
    return parts[0], held


def inspect_file(source: Uploaded, name: str, role: Role = "training", columns: Columns | None = None) -> FileInfo:
    """Return the format of a file, or of several, before it is used.

    Args:
        source: a path, a seekable file, or several by their names; they stay open.
        name: its name; breaks ties.
        role: its use.
        columns: the columns that the user named.

    Raises:
        InputError: it is damaged, has an unsupported format, or lacks a named column.
    """
    with unreadable_as_input_error(lambda: shown(name)):
        return _inspected(source, name, role, columns)


def _inspected(source: Uploaded, name: str, role: Role, columns: Columns | None) -> FileInfo:
    given = columns or Columns()
    if (beir := _beir(source, name)) is not None:
        found = Source(format="beir", names=beir.splits)
        split = Columns(split=given.split or beir.splits[0])
        return FileInfo(source=found, said=str(beir), columns=split, splits=beir.splits, own_pool=True, plain=False)
    if (folder := _folder(source, name)) is not None:
        part, held = _main(folder, role, given)
        one = _looked_at(part.path, part.name, role, columns, part.opener)
        words = in_words(held) if role == "training" else f"{len(folder.parts):,} files"
        return replace(one, said=f"{words}; {one.said}", plain=False, files=words, splits=held.splits, own_pool=bool(held.passages))
    assert not isinstance(source, Mapping)  # several files are a folder
    if isinstance(source, Path):
        return _looked_at(source, name, role, columns, None)
    return _looked_at(Path(name), name, role, columns, opener_of(source))


def _looked_at(path: Path, name: str, role: Role, columns: Columns | None, opener: Callable[[], BinaryIO] | None) -> FileInfo:
    reader = RecordReader(path, role=role, columns=columns, opener=opener, name=name)
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


def _one(path: Path, role: Role, encoding: str | None) -> Part:
    """Return the file whose first records are shown: of several, the first of rows."""
    folder = _folder(path, path.name)
    return Part(name=path.name, path=path) if folder is None else _main(folder, role, Columns(encoding=encoding))[0]


def stamp(path: Path) -> Stamp:
    """Return a value that changes with a file, or with a file of a folder; nothing is read. A missing file is left out."""
    found = []
    for each in [path, *below(path)] if path.is_dir() else [path]:
        with suppress(OSError):
            seen = each.stat() if each.exists() else each.lstat()  # of a link to nothing
            found.append((str(each), seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size))
    return tuple(found)


def below(folder: Path) -> list[Path]:
    """Return everything below a folder, sorted; what another process deletes meanwhile is left out."""
    found = ((Path(parent), [*folders, *files]) for parent, folders, files in os.walk(folder))
    return sorted(parent / name for parent, names in found for name in names)


def list_files(root: Path) -> list[str]:
    """Return the files below `root` that can be opened, by their suffixes, and its folders of several, as relative paths, sorted.

    Of a BEIR data set and of a folder of `datasets` the parts are not listed.
    """
    found: list[str] = []
    for path in below(root):
        name = path.relative_to(root)
        if any(part.startswith(".") for part in name.parts):
            continue
        if path.is_dir():
            if path.name == "qrels" and _is_beir(path.parent):
                continue
            if _is_beir(path) or sum(each.suffix.lower().removeprefix(".") in SUFFIXES for each in _listed(path)) > 1:
                found.append(name.as_posix())
        elif path.suffix.lower().removeprefix(".") in SUFFIXES and path.is_file() and not _is_part(path):
            found.append(name.as_posix())
    return sorted(found)


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _is_beir(folder: Path) -> bool:
    try:
        return beir_at(folder) is not None
    except (InputError, OSError):  # one without qrels, or deleted meanwhile: its files are listed
        return False


def _is_part(path: Path) -> bool:
    if path.parent.name == "qrels":
        return _is_beir(path.parent.parent)
    return path.name.split(".")[0] in ("corpus", "queries", "qrels") and _is_beir(path.parent)


def store(source: Uploaded, name: str, role: Role, folder: Path) -> tuple[str, int, str, FileInfo | None]:
    """Copy a file, or several, into `folder` under a name of their role; return that name, the bytes, sha256 and format.

    Raises:
        OSError: it cannot be read, or the disk is full.
    """
    stem = "train" if role == "training" else "pool"
    try:
        found: FileInfo | None = inspect_file(source, name, role)
    except InputError:  # reading it reports the fault
        found = None
    if isinstance(source, Mapping) or (isinstance(source, Path) and source.is_dir()):
        size, digest = 0, hashlib.sha256()
        for member, file in members(source).items():
            target = folder / stem / member
            target.parent.mkdir(parents=True, exist_ok=True)
            more, fingerprint = _copy(file, target)
            size += more
            digest.update(f"{member} {fingerprint}\n".encode())
        return stem, size, digest.hexdigest(), found
    stored = stem + (found.suffix if found else ".jsonl")
    return (stored, *_copy(source, folder / stored), found)


def members(source: Path | Mapping[str, BinaryIO]) -> dict[str, Path | BinaryIO]:
    """Return the files of a folder, or the uploads, by their names."""
    if isinstance(source, Mapping):
        return dict(sorted(source.items()))
    if (beir := beir_at(source)) is not None:
        return {member: source / member for member in beir.members}
    folder = files_at(source)
    names = sorted([*(part.name for part in folder.parts), *folder.about]) if folder else []
    return {member: source / member for member in names}


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
    found: list[dict[str, Any]] = []
    with unreadable_as_input_error(lambda: shown(path)):
        # A part that is named, here as nothing, means that no shape is looked for.
        part = _one(path, role, encoding)
        given = Columns(pos=(), encoding=encoding)
        reader = RecordReader(part.path, (), True, role=role, columns=given, opener=part.opener, name=part.name)
        with closing(reader):
            with suppress(QuestionError):
                reader.open()
            for line in reader.lines():
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    found.append(msgspec.json.decode(line, type=dict[str, Any]))
                if len(found) == count:
                    break
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
    with unreadable_as_input_error(lambda: shown(path)):
        return _first_rows(path, columns)[:count]


def _first_rows(path: Path, columns: Columns) -> list[FirstRow]:
    part = _one(path, "training", columns.encoding)

    def beginning() -> _Beginning:
        return _Beginning(part.path, columns=columns, opener=part.opener, name=part.name)

    reader = beginning()
    try:
        rows = [_first(row) for row in training_of([reader], str(part.path)).items]
    except LabelsError as question:  # the label is shown
        labelled = [row for row in training_rows(beginning()) if bytes(row.fields.get(question.name, b"null")) not in (b"null", b'""')]
        rows = [_first(row, label_of(row.fields[question.name])) for row in labelled]
    finally:
        reader.close()
    if not rows:
        bad = reader.problems[0] if reader.problems else None
        reason = f"no row at the beginning of the file can be read: {bad.path} {bad.message}" if bad else "the file has no row"
        raise InputError(f"{shown(path.name)}: {reason}")
    return rows


def _first(row: Row, label: str | None = None) -> FirstRow:
    return FirstRow(line=row.line, query=row.query, pos=row.pos, neg=row.neg, label=label)
