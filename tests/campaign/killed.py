"""A process that forks others, each of which does a piece of work and is killed on the way; `kills.py` talks to it in lines of JSON.

Forked children have imported everything already: a trial takes a fraction of a second. A child kills itself at its n-th write (a file that
it opens to write, renames, removes, or syncs) or at its n-th call of a function, so a trial can be repeated; or the parent kills it after
some seconds, which also hits the inside of SQLite and NumPy.
"""

from __future__ import annotations

import atexit
import io
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from hnmine.models.encoder import FlagEncoder
from hnmine.models.flag_reranker import CrossEncoder
from tests.campaign.campaign import Tiny
from tests.rerankers import FakeReranker

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


class Moment:
    """Kills this process at the n-th event of a kind, "write" or "call"; without a number it counts."""

    def __init__(self, kind: str, number: int | None) -> None:
        self.counts = {"write": itertools.count(1), "call": itertools.count(1)}
        self.reached = {"write": 0, "call": 0}
        self.kind, self.number = kind, number

    def begin(self) -> None:
        sys.addaudithook(self._audit)
        synced = os.fsync

        def fsync(file: int) -> None:
            self.count("write")
            synced(file)

        os.fsync = fsync  # type: ignore[assignment]
        if self.kind == "call" or self.number is None:
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def count(self, kind: str) -> None:
        self.reached[kind] = next(self.counts[kind])
        if kind == self.kind and self.reached[kind] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            self.count("write")

    def _profile(self, _frame: Any, event: str, _argument: Any) -> None:
        if event == "call":
            self.count("call")


def work(job: dict[str, Any]) -> int:
    """Do the work of a child; return its exit status."""
    os.environ.update(job["environment"])
    load = mock.patch.object(FlagEncoder, "load", lambda *_, **__: Tiny(batch=16))
    scores = mock.patch.object(CrossEncoder, "load", lambda *_, **__: FakeReranker())
    moment = Moment(job["kind"], job["at"])
    said = io.StringIO()
    with load, scores, redirect_stdout(said), redirect_stderr(said):
        if job["work"] == "command":
            from hnmine.cli.main import main

            moment.begin()
            status = main(job["arguments"])
        else:
            from tests.campaign import killed_screens

            status = getattr(killed_screens, job["work"])(job, moment.begin)
    sys.setprofile(None)
    Path(job["result"]).write_text(json.dumps({"said": said.getvalue(), **moment.reached}))
    return status


def serve() -> None:
    """Read jobs from the standard input, and answer each with the status of its child: negative if a signal ended it."""
    import faiss  # noqa: F401

    import hnmine.cli.main  # noqa: F401
    from tests.campaign import killed_screens  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        jobs = json.loads(line)
        children = list(_forked(jobs))
        statuses = []
        for child, job in zip(children, jobs, strict=True):
            if job["kind"] == "time" and job["at"] is not None:
                time.sleep(job["at"])
                os.kill(child, signal.SIGKILL)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(json.dumps(statuses), file=answers, flush=True)


def _forked(jobs: list[dict[str, Any]]) -> Iterator[int]:
    for job in jobs:
        child = os.fork()
        if not child:
            status = 70
            try:
                status = work(job)
            except BaseException as error:
                Path(job["result"]).write_text(json.dumps({"said": f"{type(error).__name__}: {error}", "write": 0, "call": 0}))
            finally:
                atexit._run_exitfuncs()
                os._exit(status)
        yield child


if __name__ == "__main__":
    serve()
