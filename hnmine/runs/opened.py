"""A run as a screen opens it, a data set as it is read, and the keys of what is computed from them.

A key names ids and settings, never the content of arrays: it costs microseconds, and stays the same in another session.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import msgspec

from hnmine.data.columns import Columns
from hnmine.data.verdicts import VerdictPairs
from hnmine.review.relabelling import JudgedPairs
from hnmine.runs.descriptions import Run
from hnmine.runs.reviewed import Reviewed
from hnmine.runs.uploads import Stamp
from hnmine.selection.select import Selection

__all__ = ["Data", "OpenRun", "as_json", "cache_key"]


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
