"""Every error hnmine raises, in one tree.

A message says what was wrong, the value, the place (`train.jsonl:17 $.pos[1]`) and what to do about it, so the command
line and the app can show it as it is. `exit_status` is what `python -m hnmine` ends with: 2 for what the user can mend
in the call or the input, 1 for the rest, 130 when someone asked us to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "Cancelled",
    "ColumnsError",
    "EncodeError",
    "HnmineError",
    "InputError",
    "ModelError",
    "OutputError",
    "SettingsError",
    "WorkspaceError",
]


class HnmineError(Exception):
    """Base of all errors of this package."""

    exit_status = 1


class SettingsError(HnmineError, ValueError):
    """A setting is out of range, or two settings contradict each other."""

    exit_status = 2


class InputError(HnmineError, ValueError):
    """An input file cannot be read, or holds rows that somebody has to decide about.

    `problems` lists every one of them (`hnmine.data.problems.Problem`), not only the first; it is empty when the file as a whole is at
    fault.
    """

    exit_status = 2

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class ColumnsError(InputError):
    """It cannot be told which columns of a table hold what; `names` are those there are."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class ModelError(HnmineError):
    """The embedding model cannot be had or loaded."""


class EncodeError(HnmineError):
    """The embedding model answered with something that is no set of vectors, one per text."""


class OutputError(HnmineError):
    """The result cannot be written where it was asked for."""


class WorkspaceError(HnmineError):
    """The workspace folder lacks what was asked for, or cannot be written."""


class Cancelled(HnmineError):
    """Somebody asked the work to stop; no output was written."""

    exit_status = 130
