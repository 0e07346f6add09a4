"""Paths that users give: names that no file can have are refused before any work, and opening a pipe or a device never hangs."""

from __future__ import annotations

import errno
import io
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hnmine.core.errors import HnmineError, SettingsError
from hnmine.core.text import one_line

__all__ = ["open_input", "require_possible", "shown"]

PATIENCE = 10.0  # seconds until a pipe without a writer is given up


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for a message: on one line, at most 300 characters."""
    return one_line(os.fspath(path), 300)


def require_possible(argument: str, path: str | os.PathLike[str], error_class: type[HnmineError] = SettingsError) -> None:
    """Check that a file or folder can have this path; it need not exist.

    Raises:
        HnmineError: of `error_class`; it is empty, "-", too long, holds NUL, or is a link to itself. `argument` names it.
    """
    text = os.fspath(path)
    if not text.strip():
        raise error_class(f"{argument} is {text!r}; give the path of a file")
    if text == "-" and not os.path.lexists(text):
        raise error_class(f"{argument} is -, which is no file here; give the path of a file, such as /dev/stdin for input from a pipe")
    try:
        Path(text).stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise error_class(f"{argument} {shown(text)} can be no file ({reason}); give another path") from error


def open_input(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a file or a pipe for reading, unbuffered.

    Raises:
        OSError: it cannot be opened, it is a device, or no program writes to the pipe within PATIENCE.
        ValueError: the path holds NUL.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "it is a device, not a file")
    return io.FileIO(_open_pipe(path) if stat.S_ISFIFO(mode) else path, "rb")


def _open_pipe(path: str | os.PathLike[str]) -> int:
    with ThreadPoolExecutor(1, "pipe") as beside:
        opening = beside.submit(os.open, path, os.O_RDONLY)
        try:
            return opening.result(PATIENCE)
        except BaseException as error:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # ends the wait
            os.close(opening.result())
            if isinstance(error, TimeoutError):
                raise OSError(errno.ETIMEDOUT, "no program writes to this pipe") from error
            raise
