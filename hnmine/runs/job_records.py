"""What a server writes of its jobs: the one that runs, so that a crash can be resumed, and how fast earlier ones were.

`jobs/<id>.json` exists while a job waits or runs; its server holds a lock on it, which ends with the process, so a record without a lock is
of a job that a crash interrupted. `timings.json` has the factors of `core.time_left` by model and device, of the last TIMINGS_KEPT.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hnmine.cluster.settings import ClusterSettings
from hnmine.core.errors import OutputError
from hnmine.core.files import locked, write_atomic
from hnmine.core.time_left import Factors
from hnmine.runs.settings import MineSettings

__all__ = ["JobRecord", "JobRecords", "Request"]

TIMINGS_KEPT = 20


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: a data set, its settings, the candidates to rank for each query, and where to encode and search."""

    dataset_id: str
    settings: MineSettings
    depth: int
    cluster: ClusterSettings | None = None


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job that waits, runs or was interrupted: its request, its start (ISO 8601, UTC) and its last progress."""

    id: str
    request: Request
    started: str
    share: float = 0.0
    stage: str = ""
    done: int = 0
    total: int = 0


class JobRecords:
    """The records in a workspace's folder `root`. A folder that cannot be written loses records, never a job."""

    def __init__(self, root: Path) -> None:
        self._folder, self._timings = root / "jobs", root / "timings.json"
        self._locks: dict[str, contextlib.ExitStack] = {}

    def begin(self, request: Request) -> JobRecord:
        """Write the record of a new job, locked until `end` or the end of the process."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = JobRecord(id=secrets.token_hex(6), request=request, started=now)
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            self._locks[record.id] = contextlib.ExitStack()
            self._locks[record.id].enter_context(locked(self._lock(record.id), wait=False))
        self.write(record)
        return record

    def write(self, record: JobRecord) -> None:
        """Write a record with its progress as it is now."""
        with contextlib.suppress(OutputError):
            write_atomic(self._folder / f"{record.id}.json", [msgspec.json.encode(record)])

    def end(self, record_id: str) -> None:
        """Remove the record of a job that ended, or one that is resumed or dismissed."""
        for path in (self._folder / f"{record_id}.json", self._lock(record_id)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._locks.pop(record_id, contextlib.ExitStack()).close()

    def interrupted(self) -> list[JobRecord]:
        """Return the jobs that a crash interrupted, newest first; an unreadable record is left out."""
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                record = msgspec.json.decode(path.read_bytes(), type=JobRecord)
                if record.id == path.stem and record.id not in self._locks and self._is_free(record.id):
                    found.append(record)
        return sorted(found, key=lambda record: record.started, reverse=True)

    def timings(self) -> dict[str, dict[str, float]]:
        """Return the factors of earlier runs by their key; empty without any."""
        try:
            return msgspec.json.decode(self._timings.read_bytes(), type=dict[str, dict[str, float]])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}

    def save_timings(self, key: str, factors: Factors) -> None:
        """Store the factors of a run."""
        kept: Mapping[str, Factors] = {name: held for name, held in self.timings().items() if name != key}
        kept = dict(list(kept.items())[1 - TIMINGS_KEPT :]) | {key: self.timings().get(key, {}) | dict(factors)}
        with contextlib.suppress(OutputError):
            write_atomic(self._timings, [msgspec.json.encode(kept)])

    def _is_free(self, record_id: str) -> bool:
        with locked(self._lock(record_id), wait=False) as acquired:
            return acquired

    def _lock(self, record_id: str) -> Path:
        return self._folder / f"{record_id}.lock"
