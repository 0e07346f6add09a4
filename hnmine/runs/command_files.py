"""The verdicts and grades of an opened run as files in its folder, so that the command line mines with the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from hnmine.core.files import keep_newest, write_atomic
from hnmine.data.verdicts import verdict_lines
from hnmine.review.judgements import judgement_lines
from hnmine.runs.opened import OpenRun
from hnmine.runs.workspace import Workspace

__all__ = ["judgement_file", "verdict_file"]

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
