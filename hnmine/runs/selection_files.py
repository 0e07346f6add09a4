"""What is stored of the selections of a run, a small file each in its folder: drafts, audit samples, and the last exports.

A draft is unsaved settings of a session, so that a reload loses nothing. It belongs to that session: another one that opens its address
copies it before it changes anything. Audit samples and exports are named by a hash of the settings: with the old settings, they are there
again. The verdicts on a sample change the selection, so a sample cannot be drawn again later.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.core.files import keep_newest
from hnmine.review.audit_sample import Sample
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings

__all__ = [
    "DRAFTS_KEPT",
    "Draft",
    "Exported",
    "audited",
    "delete_draft",
    "keep_sample",
    "kept_sample",
    "kept_samples",
    "last_export",
    "new_id",
    "read_draft",
    "record_export",
    "write_draft",
]


DRAFTS_KEPT = 20
DRAFT_REMEDY = "remove the file, and change the settings again"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Unsaved settings of a run, and the variant that they began with."""

    id: str
    variant: str
    settings: SelectionSettings


def new_id() -> str:
    """Return the id of a new draft; the prefix lets `keep_newest` find drafts."""
    return f"draft-{secrets.token_hex(4)}"


def read_draft(space: Workspace, run_id: str, draft_id: str) -> Draft:
    """Return a draft of a run.

    Raises:
        WorkspaceError: there is none, or it is damaged.
    """
    space.run_folder(draft_id)  # an id from an address must be a plain name
    missing = "the unsaved changes of this address are not kept any longer; the saved variant is shown"
    path = space.run_folder(run_id) / "drafts" / f"{draft_id}.json"
    return small_files.read(path, Draft, missing, remedy=DRAFT_REMEDY)


def write_draft(space: Workspace, run_id: str, draft: Draft) -> None:
    """Store a draft, in place of its former settings, and remove the oldest drafts of the run.

    Raises:
        WorkspaceError: the disk is full or cannot be written.
    """
    path = space.run_folder(run_id) / "drafts" / f"{draft.id}.json"
    is_new = not path.exists()
    small_files.write(path, draft, f"unsaved changes of the run {run_id} cannot be stored", make_folder=True)
    if is_new:
        keep_newest(path, "draft", DRAFTS_KEPT)


def delete_draft(space: Workspace, run_id: str, draft_id: str) -> None:
    """Remove a draft, if it is there."""
    with suppress(OSError):
        (space.run_folder(run_id) / "drafts" / f"{draft_id}.json").unlink(missing_ok=True)


SAMPLE_REMEDY = "remove the file, and draw another sample"


def keep_sample(space: Workspace, run_id: str, sample: Sample) -> Sample:
    """Store a sample, replacing another of the same selection; return it with its time.

    Raises:
        WorkspaceError: there is no such run, or the disk is full.
    """
    space.run(run_id)
    if not sample.drawn:
        sample = msgspec.structs.replace(sample, drawn=small_files.now())
    path = space.selection_file(run_id, "audit", sample.selection)
    small_files.write(path, sample, f"the audit sample cannot be stored in the run {run_id}")
    return sample


def kept_sample(space: Workspace, run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the stored sample of a selection of a run, or None.

    Raises:
        WorkspaceError: it is damaged.
    """
    return small_files.find(space.selection_file(run_id, "audit", selection), Sample, remedy=SAMPLE_REMEDY)


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


EXPORT_REMEDY = "remove the file; the next download writes it again"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The last download of a selection.

    Attributes:
        selection: its settings. variant: its name at that time, with a word on unsaved changes.
        file_name, output_format, rows, bytes, sha256: the file, or of a folder as `export.formats.Written` has them.
        verdicts: how many verdicts were applied.
        exported: ISO 8601 time in UTC.
    """

    selection: SelectionSettings
    variant: str
    file_name: str
    output_format: str
    rows: int
    bytes: int
    sha256: str
    verdicts: int = 0
    exported: str = ""


def record_export(space: Workspace, run_id: str, export: Exported) -> Exported:
    """Store an export in place of an earlier one of the same selection; return it with its time.

    Raises:
        WorkspaceError: there is no such run, or the disk is full.
    """
    space.run(run_id)
    export = msgspec.structs.replace(export, exported=small_files.now())
    path = space.selection_file(run_id, "exported", export.selection)
    small_files.write(path, export, f"the export cannot be recorded in the run {run_id}")
    return export


def last_export(space: Workspace, run_id: str, selection: SelectionSettings) -> Exported | None:
    """Return the last export of a selection of a run; None without one, also if its record is damaged."""
    try:
        return small_files.find(space.selection_file(run_id, "exported", selection), Exported, remedy=EXPORT_REMEDY)
    except WorkspaceError:  # only the time is lost, and the next export writes it again
        return None
