"""The error classes of hnmine, in one tree.

A message says what is wrong, the value, the place (`train.jsonl:17 $.pos[1]`) and the remedy, so the command line and
the app show it unchanged. `exit_status` is the exit status of `python -m hnmine`: 2 for errors in the call or the input,
1 for all others, 130 after a cancel, and 143 after SIGTERM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hnmine.core.text import legible

__all__ = [
    "Cancelled",
    "ClusterError",
    "ColumnsError",
    "EncodeError",
    "EncodingError",
    "HnmineError",
    "InputError",
    "LabelsError",
    "LimitError",
    "ModelError",
    "OutputError",
    "QuestionError",
    "SettingsError",
    "TextsError",
    "VersionError",
    "WorkspaceError",
]


class HnmineError(Exception):
    """Base class of all errors of this package; a message is at most 4,000 characters long and has none that could rearrange a screen."""

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(legible(message))


class SettingsError(HnmineError, ValueError):
    """A setting is out of range, or two settings contradict each other."""

    exit_status = 2


class InputError(HnmineError, ValueError):
    """An input file cannot be read, or has bad rows that are neither repaired nor skipped.

    `problems` lists all of them (`hnmine.data.problems.Problem`); it is empty when the error concerns the whole file.
    """

    exit_status = 2

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class QuestionError(InputError):
    """The data can be read in several ways, and the user must say which; the message names the setting that does."""


class ColumnsError(QuestionError):
    """The columns of a table cannot be assigned by name; `names` lists the columns of the file."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class LabelsError(QuestionError):
    """Which labels of pairs count as positive is unknown; `name` is their column, `counts` how often each value occurs."""

    def __init__(self, message: str, name: str, counts: Mapping[str, int]) -> None:
        super().__init__(message)
        self.name = name
        self.counts = dict(counts)


class TextsError(QuestionError):
    """The rows hold ids, and the file with their texts is missing; `missing` has "queries", "passages" or both."""

    def __init__(self, message: str, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class EncodingError(QuestionError):
    """The encoding of a text file can only be guessed, so the user must name it.

    `guess` is Python's name of the most likely encoding; `preview` has the first lines that are not ASCII, decoded with it.
    """

    def __init__(self, message: str, guess: str, preview: Sequence[str]) -> None:
        super().__init__(message)
        self.guess = guess
        self.preview = tuple(preview)


class ModelError(HnmineError):
    """The model cannot be downloaded or loaded."""


class EncodeError(HnmineError):
    """The model did not return one finite vector per text, or one finite score per pair."""


class LimitError(HnmineError):
    """A limit on what a run may cost was reached; what was done until then is kept."""


class ClusterError(HnmineError):
    """The cluster cannot be reached, or its workers cannot do the work."""


class OutputError(HnmineError):
    """The output file cannot be written; `exit_status` is 2 where that is known before any work."""

    def __init__(self, message: str, *, exit_status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class WorkspaceError(HnmineError):
    """Something is missing in the workspace folder, or the folder cannot be written."""


class VersionError(WorkspaceError):
    """A file of the workspace was written by a newer version of hnmine; it is whole, and this version leaves it as it is."""


class Cancelled(HnmineError):
    """The work was cancelled; no output was written."""

    exit_status = 130
