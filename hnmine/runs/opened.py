"""A run as a screen opens it, a data set as it is read, and the keys of what is computed from them.

A key names ids and settings, never the content of arrays: it costs microseconds, and stays the same in another session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hnmine.core.files import keep_newest, write_atomic
from hnmine.data.columns import Columns
from hnmine.data.verdicts import VerdictPairs, verdict_lines
from hnmine.review.judgements import judgement_lines
from hnmine.review.relabelling import JudgedPairs
from hnmine.runs.folders import Run
from hnmine.runs.reviewed import Reviewed
from hnmine.runs.uploads import Stamp
from hnmine.runs.workspace import Workspace
from hnmine.selection.select import Selection

__all__ = ["Data", "OpenRun", "as_json", "cache_key", "judgement_file", "verdict_file"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun(Reviewed):
    """A run with the current verdicts and grades applied.

    Attributes:
        run: its description.
        key: changes with the run, these verdicts and grades, and relabelling; what is computed from a run is cached by it.
    """

    run: Run
    key: str


class Data(msgspec.Struct, frozen=True):
    """The files of a data set as they are now (`stamp`), read with these decisions and columns."""

    dataset_id: str
    stamp: Stamp
    repair: tuple[str, ...]
    skip_bad_rows: bool
    columns: Columns


def as_json(settings: msgspec.Struct) -> str:
    """Return settings as JSON."""
    return msgspec.json.encode(settings).decode()


def cache_key(value: Any, *, by_verdicts: bool) -> Hashable:
    """Return the key of an argument: of a run its id, and its verdicts if wanted; of a selection its settings.

    Raises:
        TypeError: it has none.
    """
    match value:
        case OpenRun():
            return value.key if by_verdicts else value.run.id
        case Selection():
            return as_json(value.settings)
        case VerdictPairs() | JudgedPairs():
            return value.digest
        case msgspec.Struct():
            return as_json(value)
        case list() | tuple():
            return tuple(cache_key(each, by_verdicts=by_verdicts) for each in value)
    hash(value)
    return type(value), value


# Files of each kind that stay.
KEPT = 4


def verdict_file(space: Workspace, run: OpenRun) -> Path | None:
    """Write the applied verdicts of a run into its folder; None when there are none.

    Raises:
        OutputError: the file cannot be written.
    """
    return _written(space, run, "reviews", verdict_lines(run.verdict_pairs.applied))


def judgement_file(space: Workspace, run: OpenRun, relevant_from: int) -> Path | None:
    """Write the grades of a run's pairs into its folder, as `verdict_file` does the verdicts."""
    return _written(space, run, "judgements", judgement_lines(run.judged.judgements, relevant_from))


def _written(space: Workspace, run: OpenRun, name: str, lines: Iterable[bytes]) -> Path | None:
    content = b"".join(lines)
    if not content:
        return None
    path = space.run_folder(run.run.id) / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    if not path.exists():
        keep_newest(path, name, KEPT)
        write_atomic(path, [content])
    return path
