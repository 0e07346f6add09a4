"""Atomic writes of output files, and memory sizes as text.

A file is written to a temporary file in the same folder, synced, and renamed, so a killed process never leaves a
half-written output. SHA-256 takes as long as writing a row, so a thread computes it one block of 1 MiB behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hnmine.core.errors import OutputError

__all__ = ["write_all", "write_atomic"]

# Temporary files of killed processes are removed by the next write after this many seconds.
_LEFT_OVER = 24 * 60 * 60
_BLOCK = 2**20


def write_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> int:
    """Write a file atomically (temporary file, fsync, rename) and return its size in bytes.

    Raises:
        OutputError: the folder is missing or cannot be written, or the disk is full. An existing file is left unchanged.
    """
    ((size, _),) = write_all([(path, chunks)])
    return size


def write_all(files: Sequence[tuple[str | os.PathLike[str], Iterable[bytes]]]) -> list[tuple[int, str]]:
    """Write files that belong together, all of them before the first is renamed; return (bytes, SHA-256) of each.

    Raises:
        OutputError: as for `write_atomic`; all existing files are left unchanged.
    """
    found: list[tuple[int, str]] = []
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Path, Path]] = []
        for given, chunks in files:
            path = Path(os.path.realpath(given))  # a link stays a link; its target is replaced
            _remove_left_overs(path)
            # Threads may write the same file at the same time: each has its own temporary file, and the last rename wins.
            temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
            stack.callback(temporary.unlink, missing_ok=True)
            with _wrap_os_error(path):
                found.append(_write(temporary, chunks))
                if path.exists():
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            ready.append((temporary, path))
        for temporary, path in ready:
            with _wrap_os_error(path):
                os.replace(temporary, path)
    return found


@contextlib.contextmanager
def _wrap_os_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); existing files are unchanged") from error


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


def _remove_left_overs(path: Path) -> None:
    """Remove temporary files of `path` that killed processes left more than a day ago."""
    pattern = re.compile(re.escape(f".{path.name[:200]}.") + r"(\d+)-[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):
        for each in path.parent.iterdir():
            if (match := pattern.fullmatch(each.name)) and time.time() - each.stat().st_mtime > _LEFT_OVER and not _runs(int(match[1])):
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
