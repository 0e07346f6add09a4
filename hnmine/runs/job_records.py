"""What a server writes of its jobs: the one that runs, so that a crash can be resumed, and how fast earlier ones were.

`jobs/<id>.json` exists while a job waits or runs; its server holds a lock on it, which ends with the process, so a record without a lock is
of a job that a crash interrupted. In `servers/` each server holds such a lock for itself, so that others know of it. `timings.json` has
the factors of `core.time_left` by model and device, of the last TIMINGS_KEPT.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hnmine.cluster.settings import ClusterSettings
from hnmine.core import small_files
from hnmine.core.errors import VersionError, WorkspaceError
from hnmine.core.files import locked
from hnmine.core.time_left import Factors
from hnmine.runs.settings import MineSettings

__all__ = ["DamagedRecord", "JobRecord", "JobRecords", "Request", "Timings", "older_timings"]

TIMINGS_KEPT = 20
# The name of this process: containers that share a workspace may have the same process id.
SERVER = f"{os.getpid()}-{secrets.token_hex(4)}"
YOUNG_SECONDS = 60.0
REMEDY = "remove the file, and mine again"
TIMINGS_REMEDY = "remove the file; the next run writes it again"


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


class Timings(msgspec.Struct, frozen=True):
    """The factors of earlier runs by model and device, the last one last."""

    factors: dict[str, dict[str, float]] = {}


def older_timings(value: Any) -> Any:
    """Convert the factors that the file held alone before."""
    return value if isinstance(value, dict) and value.keys() == {"factors"} else {"factors": value}


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that cannot be read: `id` of its job, and `error` with the remedy; `removable` unless another version wrote it."""

    id: str
    error: str
    removable: bool


class JobRecords:
    """The records in a workspace's folder `root`. A folder that cannot be written loses records, never a job."""

    def __init__(self, root: Path) -> None:
        self._folder, self._servers, self._timings = root / "jobs", root / "servers", root / "timings.json"
        self._locks: dict[str, contextlib.ExitStack] = {}

    def begin(self, request: Request) -> JobRecord:
        """Write the record of a new job, locked until `end` or the end of the process."""
        record = JobRecord(id=secrets.token_hex(6), request=request, started=small_files.now())
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            self._locks[record.id] = contextlib.ExitStack()
            self._locks[record.id].enter_context(locked(self._lock(record.id), wait=False))
        self.write(record)
        return record

    def write(self, record: JobRecord) -> None:
        """Write a record with its progress as it is now."""
        with contextlib.suppress(WorkspaceError):
            small_files.write(self._folder / f"{record.id}.json", record, "the job cannot be recorded")

    def end(self, record_id: str) -> None:
        """Remove the record of a job that ended, or one that is resumed or dismissed."""
        for path in (self._folder / f"{record_id}.json", self._lock(record_id)):
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self._locks.pop(record_id, contextlib.ExitStack()).close()

    def interrupted(self) -> list[JobRecord]:
        """Return the jobs that a crash interrupted, newest first; `damaged` has those that cannot be read."""
        found = [record for record in self._records() if isinstance(record, JobRecord)]
        return sorted(found, key=lambda record: record.started, reverse=True)

    def damaged(self) -> list[DamagedRecord]:
        """Return the records of interrupted jobs that cannot be read."""
        return [record for record in self._records() if isinstance(record, DamagedRecord)]

    def other_servers(self) -> int:
        """Return how many other processes serve this workspace; the first call tells them of this one."""
        others = 0
        with contextlib.suppress(OSError):
            if SERVER not in self._locks:
                self._servers.mkdir(exist_ok=True)
                self._locks[SERVER] = contextlib.ExitStack()
                self._locks[SERVER].enter_context(locked(self._servers / f"{SERVER}.lock", wait=False))
            for path in self._servers.glob("*.lock"):
                if path.stem != SERVER:
                    if not _is_free(path):
                        others += 1
                    elif path.stat().st_mtime < time.time() - YOUNG_SECONDS:  # a younger one may not be locked yet
                        path.unlink(missing_ok=True)
        return others

    def _records(self) -> Iterator[JobRecord | DamagedRecord]:
        """Yield the records of jobs that no process has."""
        for path in sorted(self._folder.glob("*.json")):
            if path.stem in self._locks or not _is_free(self._lock(path.stem)):
                continue
            try:
                record = small_files.read(path, JobRecord, "", remedy=REMEDY)
                if record.id != path.stem:
                    raise WorkspaceError(f"{path} is damaged (it describes {record.id!r}); {REMEDY}")
                yield record
            except WorkspaceError as error:
                if path.exists() or path.is_symlink():  # else another server has ended or resumed it
                    yield DamagedRecord(path.stem, str(error), not isinstance(error, VersionError))

    def timings(self) -> dict[str, dict[str, float]]:
        """Return the factors of earlier runs by their key; empty without any."""
        with contextlib.suppress(WorkspaceError):
            found = small_files.find(self._timings, Timings, remedy=TIMINGS_REMEDY, convert=older_timings)
            return {} if found is None else found.factors
        return {}

    def save_timings(self, key: str, factors: Factors) -> None:
        """Store the factors of a run."""
        known = self.timings()
        kept = dict([(name, held) for name, held in known.items() if name != key][1 - TIMINGS_KEPT :])
        with contextlib.suppress(WorkspaceError):
            small_files.write(self._timings, Timings(kept | {key: known.get(key, {}) | dict(factors)}), "the timings cannot be stored")

    def _lock(self, record_id: str) -> Path:
        return self._folder / f"{record_id}.lock"


def _is_free(lock: Path) -> bool:
    try:
        with locked(lock, wait=False) as acquired:
            return acquired
    except OSError:  # on a read-only disk nobody holds one
        return True
