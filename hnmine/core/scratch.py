"""The folder for large temporary files of this process.

It is in the system's folder for such files (TMPDIR), and is removed when the process ends. A process holds a lock on its
folder, so those of killed processes are recognised, and the next process that needs a folder removes them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import OutputError
from hnmine.core.files import cannot_write, locked

__all__ = ["on_disk", "scratch_folder", "temporary_files"]

_PREFIX = "hnmine-scratch-"
# A younger folder may be one that its process has not locked yet.
_YOUNG_SECONDS = 60.0


def scratch_folder() -> Path:
    """Return this process's folder, made on first use.

    Raises:
        OutputError: it cannot be made.
    """
    folder = _folder(os.getpid())
    if not folder.is_dir():  # a server that runs for weeks: the system removes old files from TMPDIR
        _folder.cache_clear()
        folder = _folder(os.getpid())
    return folder


def on_disk(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a writable copy of an array, mapped from a temporary file.

    Raises:
        OutputError: the file cannot be written.
    """
    path = scratch_folder() / f"{secrets.token_hex(8)}.npy"
    try:
        np.save(path, values, allow_pickle=False)
        found = np.lib.format.open_memmap(path, mode="r+") if values.size else values
    except OSError as error:
        raise OutputError(_remedy(path, error)) from error
    with contextlib.suppress(OSError):  # Windows keeps the file until the end of the process
        path.unlink()
    return found


@contextlib.contextmanager
def temporary_files(prefix: str) -> Iterator[Path]:
    """Yield a folder in `scratch_folder`, which is removed afterwards.

    Raises:
        OutputError: it cannot be made.
    """
    folder = scratch_folder() / f"{prefix}{secrets.token_hex(8)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(_remedy(folder, error)) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent() -> Path:
    """Return the folder for temporary files: TMPDIR where it is set, else the system's.

    Raises:
        OutputError: TMPDIR is no folder, or no folder can be written.
    """
    named = os.environ.get("TMPDIR")
    if named and not Path(named).is_dir():  # Python would take another folder, which may be small, and say nothing
        raise OutputError(f"TMPDIR is {named}, which is no folder; make it, or set TMPDIR to a folder that can be written")
    try:
        return Path(named or tempfile.gettempdir())
    except OSError as error:
        raise OutputError(f"there is no folder for temporary files ({error}); set TMPDIR to a folder that can be written") from error


def _remedy(path: Path, error: OSError) -> str:
    return f"{cannot_write(path, error)}, or set TMPDIR to another folder"


@cache
def _folder(process: int) -> Path:
    """Make the folder of a process. A forked process gets one of its own."""
    parent = _parent()
    held = contextlib.ExitStack()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        held.enter_context(locked(folder / "lock", wait=False))
    except OSError as error:
        raise OutputError(_remedy(parent, error)) from error
    _sweep(folder.parent)

    def remove() -> None:
        if os.getpid() == process:
            held.close()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that have ended without doing so."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with locked(folder / "lock", wait=False) as abandoned:
                if abandoned:
                    shutil.rmtree(folder, ignore_errors=True)
