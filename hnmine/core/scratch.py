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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import OutputError
from hnmine.core.files import locked

__all__ = ["on_disk", "scratch_folder"]

_PREFIX = "hnmine-scratch-"
# A younger folder may be one that its process has not locked yet.
_YOUNG_SECONDS = 60.0


def scratch_folder() -> Path:
    """Return this process's folder, made on first use.

    Raises:
        OutputError: it cannot be made.
    """
    return _folder(os.getpid())


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
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); set TMPDIR to a folder with free space") from error
    with contextlib.suppress(OSError):  # Windows keeps the file until the end of the process
        path.unlink()
    return found


@cache
def _folder(process: int) -> Path:
    """Make the folder of a process. A forked process gets one of its own."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise OutputError(f"no temporary folder can be made ({error}); set TMPDIR to a folder with free space") from error
    held = contextlib.ExitStack()
    held.enter_context(locked(folder / "lock", wait=False))
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
