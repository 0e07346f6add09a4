"""The audit samples of a run, in its folder: one for each selection.

The verdicts on a sample change the selection, so it cannot be drawn again later and must be stored. The file is named by a hash of the
selection's settings: with the old settings, the audit is there again.
"""

from __future__ import annotations

import datetime
from contextlib import suppress

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.review.audit_sample import Sample
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings

__all__ = ["audited", "keep_sample", "kept_sample", "kept_samples"]

REMEDY = "remove the file, and draw another sample"


def keep_sample(space: Workspace, run_id: str, sample: Sample) -> Sample:
    """Store a sample, replacing another of the same selection; return it with its time.

    Raises:
        WorkspaceError: there is no such run, or the disk is full.
    """
    space.run(run_id)
    if not sample.drawn:
        sample = msgspec.structs.replace(sample, drawn=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    path = space.selection_file(run_id, "audit", sample.selection)
    small_files.write(path, sample, f"the audit sample cannot be stored in the run {run_id}")
    return sample


def kept_sample(space: Workspace, run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the stored sample of a selection of a run, or None.

    Raises:
        WorkspaceError: it is damaged.
    """
    return small_files.find(space.selection_file(run_id, "audit", selection), Sample, remedy=REMEDY)


def kept_samples(space: Workspace, run_id: str) -> list[Sample]:
    """Return the stored samples of a run, one for each selection; damaged ones are left out."""
    found = []
    for path in sorted(space.run_folder(run_id).glob("audit-*.json")):
        with suppress(WorkspaceError):  # `kept_sample` says so, with this selection
            found.append(small_files.read(path, Sample, ""))
    return found


def audited(space: Workspace, run_id: str) -> list[SelectionSettings]:
    """Return the selections of a run that have a sample."""
    return [sample.selection for sample in kept_samples(space, run_id)]
