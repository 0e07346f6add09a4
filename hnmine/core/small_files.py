"""The small JSON files of a workspace: one reader, one writer, and the number of the format in each.

A file without a number has format 1, that of all files so far. Every fault of a file is a WorkspaceError with its path and the remedy, so a
damaged file affects nothing else. A file of a newer format, or with fields that this version does not know, is not damaged: it is a
VersionError, and it is never overwritten.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hnmine.core.decode import convert as typed
from hnmine.core.errors import OutputError, VersionError, WorkspaceError
from hnmine.core.files import cannot_write, remove_left_overs, write_atomic
from hnmine.core.version import __version__, newer

__all__ = ["DAMAGES", "FORMAT", "REMEDY", "encoded", "find", "find_text", "now", "or_error", "other_format", "read", "write", "write_text"]

FORMAT = 1
REMEDY = "restore it from a backup (python -m hnmine workspace restore)"

A = TypeVar("A")
T = TypeVar("T")
Convert = Callable[[Any], Any]

# What decoding a damaged file raises, also in the checks of its types.
DAMAGES = (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)


def read(path: Path, kind: type[T], missing: str, *, remedy: str = REMEDY, convert: Convert | None = None) -> T:
    """Read a JSON file of the workspace.

    Args:
        path: the file.
        kind: the type of its content.
        missing: the message when there is no such file.
        remedy: how to continue when it is damaged.
        convert: converts the content of an older version.

    Raises:
        WorkspaceError: the file is missing, cannot be read, or is damaged; as VersionError, it was written by a newer version.
    """
    found = find(path, kind, remedy=remedy, convert=convert)
    if found is None:
        raise WorkspaceError(missing)
    return found


def find(path: Path, kind: type[T], *, remedy: str = REMEDY, convert: Convert | None = None) -> T | None:
    """Return the content of a JSON file of the workspace, or None where there is no such file; arguments and errors as for `read`."""
    content = _content(path, remedy)
    if content is None:
        return None
    value: Any = None
    try:
        value = msgspec.json.decode(content)
        number = value.pop("format", FORMAT) if isinstance(value, dict) else FORMAT
        if type(number) is not int or number < 1:
            raise ValueError(f"its format is {number!r}")
        if number > FORMAT:
            raise VersionError(other_format(path, number, FORMAT))
        return typed(value if convert is None else convert(value), kind)
    except VersionError:
        raise
    except DAMAGES as error:
        if (version := _newer_version(value, error)) is not None:
            raise VersionError(f"{path} was written by another version of hnmine ({version}); update hnmine") from error
        raise WorkspaceError(f"{path} is damaged ({error}); {remedy}") from error


def or_error(read_file: Callable[[A], T], argument: A) -> T | WorkspaceError:
    """Return what `read_file` returns, or the WorkspaceError that it raises."""
    try:
        return read_file(argument)
    except WorkspaceError as error:
        return error


def now(timespec: str = "seconds") -> str:
    """Return the time as files have it, ISO 8601 in UTC; with "milliseconds" where two may be of one second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=timespec)


def find_text(path: Path, *, remedy: str) -> str | None:
    """Return the content of a text file of the workspace, or None where there is no such file. Bytes that are not UTF-8 become U+FFFD.

    Raises:
        WorkspaceError: it cannot be read.
    """
    content = _content(path, remedy)
    return None if content is None else content.decode("utf-8", "replace")


def write(path: Path, value: msgspec.Struct, failure: str, *, make_folder: bool = False) -> None:
    """Write a JSON file of the workspace, atomically and synced; `make_folder` makes its folder if it is missing.

    Raises:
        WorkspaceError: it cannot be written, or replaces one of a newer version; the message begins with `failure`.
    """
    if (number := _format_of(path)) > FORMAT:
        raise VersionError(f"{failure}: {other_format(path, number, FORMAT)}")
    _write(path, encoded(value), failure, make_folder=make_folder)


def write_text(path: Path, text: str, failure: str, *, make_folder: bool = False) -> None:
    """Write a text file of the workspace, as `write`; an empty text removes it."""
    if text:
        _write(path, text.encode("utf-8", "replace"), failure, make_folder=make_folder)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{failure}: {cannot_write(path, error)}") from error


def encoded(value: msgspec.Struct) -> bytes:
    """Return the content of a JSON file: the fields of an object, and the format."""
    return msgspec.json.encode(
        {"format": FORMAT}
        | {name: getattr(value, field) for name, field in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)}
    )


def other_format(what: object, found: int, known: int) -> str:
    """Return the message about something that a newer version has written."""
    return f"{what} was written by another version of hnmine (format {found}; this version reads format {known}); update hnmine"


def _content(path: Path, remedy: str) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise WorkspaceError(f"{path} is damaged (it is a link to a file that does not exist); {remedy}") from error
        return None
    except OSError as error:
        if path.is_dir():
            raise WorkspaceError(f"{path} is damaged (it is a folder, not a file); {remedy}") from error
        raise WorkspaceError(f"{path} cannot be read ({error.strerror or error}); check the file and your permissions") from error


def _newer_version(value: Any, error: BaseException) -> str | None:
    """Return why content that cannot be converted is of another version: the number, or a field that is unknown here; None if it is not."""
    for name in ("manifest", "versions", "hnmine"):  # of a run
        value = value.get(name) if isinstance(value, dict) else None
    if newer(value):
        return f"{value}; this is {__version__}; {error}"
    return str(error) if "unknown field" in str(error) else None


def _write(path: Path, content: bytes, failure: str, *, make_folder: bool) -> None:
    try:
        if make_folder:
            path.parent.mkdir(exist_ok=True)
        remove_left_overs(path.parent)  # many names are random, and never written again
        write_atomic(path, [content])
    except OutputError as error:
        raise WorkspaceError(f"{failure}: {error}") from error
    except OSError as error:
        raise WorkspaceError(f"{failure}: {cannot_write(path, error)}") from error


def _format_of(path: Path) -> int:
    try:
        value = msgspec.json.decode(path.read_bytes())
        number = value.get("format", FORMAT)
        return number if type(number) is int else FORMAT
    except (OSError, *DAMAGES):  # a damaged file may be replaced
        return FORMAT
