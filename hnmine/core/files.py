"""Atomic writes of output files, and memory sizes as text.

A file is written to a temporary file in the same folder, synced, and renamed, so a killed process never leaves a
half-written output; so is a folder. SHA-256 takes as long as writing a row, so a thread computes it one block of 1 MiB behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hnmine.core.errors import OutputError, SettingsError

__all__ = [
    "available",
    "cannot_write",
    "in_words",
    "keep_newest",
    "locked",
    "parse_size",
    "remove_left_overs",
    "write_all",
    "write_atomic",
    "write_folder",
]

# Temporary files of killed processes are removed by the next write after this many seconds.
_LEFT_OVER = 24 * 60 * 60
_OWN = r"(\d+)-[0-9a-f]{8}\.tmp"  # the end of their names, as `_temporary` makes them
_BLOCK = 2**20


_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


def cannot_write(what: object, error: OSError) -> str:
    """Return a message that something cannot be written: the reason and the remedy."""
    if error.errno in _FULL:
        remedy = "free some space there, then try again"
    elif error.errno in _FORBIDDEN:
        remedy = "check the permissions there, or choose another folder"
    else:
        remedy = "check the folder and the disk, then try again"
    return f"{what} cannot be written ({error.strerror or error}); {remedy}"


def write_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> int:
    """Write a file atomically (temporary file, fsync, rename) and return its size in bytes.

    Raises:
        OutputError: the folder is missing or cannot be written, or the disk is full. An existing file is left unchanged.
    """
    ((size, _),) = write_all([(path, chunks)])
    return size


def write_all(
    files: Sequence[tuple[str | os.PathLike[str], Iterable[bytes]]], *, accept: Callable[[list[tuple[int, str]]], None] | None = None
) -> list[tuple[int, str]]:
    """Write files that belong together, all of them before the first is renamed; return (bytes, SHA-256) of each.

    `accept` gets what will be returned before anything is renamed; if it raises, all existing files are left unchanged.

    Raises:
        OutputError: as for `write_atomic`; all existing files are left unchanged.
    """
    found: list[tuple[int, str]] = []
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Path, Path]] = []
        for given, chunks in files:
            path = Path(os.path.realpath(given))  # a link stays a link; its target is replaced
            remove_left_overs(path.parent, re.escape(f".{_beginning(path)}.") + _OWN)
            temporary = _temporary(path)
            stack.callback(_forget, temporary)
            with _wrap_os_error(path):
                found.append(_write(temporary, chunks))
                if path.exists():
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            ready.append((temporary, path))
        if accept is not None:
            accept(found)
        for temporary, path in ready:
            with _wrap_os_error(path):
                os.replace(temporary, path)
    return found


def write_folder(
    given: str | os.PathLike[str],
    files: Mapping[str, Iterable[bytes]],
    *,
    accept: Callable[[dict[str, tuple[int, str]]], None] | None = None,
) -> dict[str, tuple[int, str]]:
    """Write a folder whose files belong together, all of them before it gets its name; return (bytes, SHA-256) of each.

    An existing folder is replaced with everything in it. A folder cannot be replaced in one step: it is renamed first, and renamed back
    if the new one cannot take its place.

    Args:
        given: the folder.
        files: their paths in the folder, such as "train/state.json"; they are written in this order.
        accept: as in `write_all`.

    Raises:
        OutputError: as for `write_atomic`; an existing folder is left unchanged.
    """
    path = Path(os.path.realpath(given))
    remove_left_overs(path.parent, re.escape(f".{_beginning(path)}.") + _OWN)
    new, old = _temporary(path), _temporary(path)
    with contextlib.ExitStack() as stack, _wrap_os_error(path):
        stack.callback(shutil.rmtree, new, ignore_errors=True)
        new.mkdir()
        found = {}
        for name, chunks in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            found[name] = _write(new / name, chunks)
        if accept is not None:
            accept(found)
        if not path.exists():
            os.replace(new, path)
            return found
        new.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(path, old)
        try:
            os.replace(new, path)
        except BaseException:
            os.replace(old, path)
            raise
        stack.callback(shutil.rmtree, old, ignore_errors=True)
    return found


def _forget(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # the disk has become read-only, which the write has reported
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    # Threads may write the same file at the same time: each has its own temporary file, and the last rename wins.
    return path.with_name(f".{_beginning(path)}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _beginning(path: Path) -> str:
    """Return as much of a file's name as leaves room for the rest of a temporary name: systems limit its bytes, to 255."""
    return os.fsdecode(os.fsencode(path.name)[:200])


@contextlib.contextmanager
def _wrap_os_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{cannot_write(path, error)}; existing files are unchanged") from error


def _write(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write and sync a file; a thread computes the digest, one block behind."""
    size, digest = 0, hashlib.sha256()
    block: list[bytes] = []
    held = 0
    digested: Future[None] | None = None
    with path.open("wb", buffering=0) as file, ThreadPoolExecutor(1, "sha256") as beside:

        def put() -> None:
            nonlocal digested
            whole = b"".join(block)
            if digested is not None:
                digested.result()
            digested = beside.submit(digest.update, whole)
            view = memoryview(whole)
            while view:
                view = view[file.write(view) :]

        for chunk in chunks:
            block.append(chunk)
            held += len(chunk)
            if held >= _BLOCK:
                size += held
                put()
                block, held = [], 0
        size += held
        put()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def remove_left_overs(parent: Path, pattern: str = rf"\..+\.{_OWN}") -> None:
    """Remove the temporary files and folders that killed processes left more than a day ago, by default of all files in a folder.

    The group of `pattern` is the number of the process.
    """
    with contextlib.suppress(OSError):
        for each in parent.iterdir():
            match = re.fullmatch(pattern, each.name)
            if match and time.time() - each.stat().st_mtime > _LEFT_OVER and not _runs(int(match[1])):
                if each.is_dir():
                    shutil.rmtree(each)
                else:
                    each.unlink()


def _runs(process: int) -> bool:
    if os.name != "posix":  # on Windows os.kill would end the process; the age of a day has to do
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs under another user
        pass
    return True


def keep_newest(path: Path, kind: str, kept: int) -> None:
    """Remove the oldest files or folders of a kind beside `path`: `kept` are left, `path` included; train and dev count as one."""
    groups: dict[str, list[Path]] = {}
    found: list[tuple[float, Path]] = []
    for each in path.parent.glob(f"{kind}-*"):
        with contextlib.suppress(FileNotFoundError):  # another session removes them too
            found.append((each.stat().st_mtime, each))
    for _, each in sorted(found, reverse=True):
        groups.setdefault(each.name.partition(".")[0], []).append(each)
    groups.pop(path.name.partition(".")[0], None)
    for group in list(groups.values())[kept - 1 :]:
        for each in group:
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # a read-only disk; the next call removes it
                    each.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an inter-process lock on a file; yield whether it was acquired. It is released when the process ends."""
    with path.open("ab") as file:
        acquired = True
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            acquired = False
        yield acquired  # closing the file unlocks


_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
CGROUP = Path("/sys/fs/cgroup")


def parse_size(text: str) -> int:
    """Parse an amount such as "2GB", "512 MiB" or "1000000" into bytes; units are powers of 1,024.

    Raises:
        SettingsError: the text is not an amount of memory.
    """
    match = _SIZE.fullmatch(text)
    if match is None or (size := int(float(match[1]) * _UNITS[match[2].lower()])) < 1:
        raise SettingsError(f"{text!r} is not an amount of memory; write a number with a unit, such as 2GB or 512MB")
    return size


def in_words(size: float) -> str:
    """Return a number of bytes as text, such as "1.5 GB"; units are powers of 1,024."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:,.0f} {unit}" if unit in ("bytes", "kB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TB"


def available() -> int:
    """Return the bytes of memory available without swapping, within the container's limit (cgroup v2) if there is one."""
    import psutil

    found = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int((CGROUP / "memory.max").read_text()) - int((CGROUP / "memory.current").read_text()))
    return max(found, 2**26)
