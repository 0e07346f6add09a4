"""The net below all readers: what a parser cannot cope with becomes an InputError with file and place.

Errors of this package pass, and so do an interrupt and a lack of memory, which say nothing about the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import one_line

__all__ = ["reason_of", "unreadable_as_input_error"]

_LONGEST = 200  # characters of a reason


def reason_of(error: Exception) -> str:
    """Return an exception in a few words on one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    first = str(error).partition("\n")[0]
    return one_line(f"{type(error).__name__}: {first}" if first else type(error).__name__, _LONGEST)


@contextlib.contextmanager
def unreadable_as_input_error(where: Callable[[], str]) -> Iterator[None]:
    """Raise InputError in place of any exception of a parser; `where` returns the file, and the line where there is one.

    Raises:
        InputError: the code inside raised another exception.
    """
    try:
        yield
    except (HnmineError, MemoryError):
        raise
    except Exception as error:
        remedy = "correct the file there, or write it again as JSON lines, CSV or Parquet"
        raise InputError(f"{where()}: cannot be read ({reason_of(error)}); {remedy}") from error
