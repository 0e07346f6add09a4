"""What was downloaded from a run: for each selection its last export, in the run's folder.

The file is named by a hash of the selection's settings, as the audits are: the variant that has these settings was exported then.
"""

from __future__ import annotations

import datetime

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings

__all__ = ["Exported", "last_export", "record_export"]

REMEDY = "remove the file; the next download writes it again"


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
    export = msgspec.structs.replace(export, exported=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    path = space.selection_file(run_id, "exported", export.selection)
    small_files.write(path, export, f"the export cannot be recorded in the run {run_id}")
    return export


def last_export(space: Workspace, run_id: str, selection: SelectionSettings) -> Exported | None:
    """Return the last export of a selection of a run; None without one, also if its record is damaged."""
    try:
        return small_files.find(space.selection_file(run_id, "exported", selection), Exported, remedy=REMEDY)
    except WorkspaceError:  # only the time is lost, and the next export writes it again
        return None
