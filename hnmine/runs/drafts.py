"""Drafts: unsaved selection settings of a session, one small file each in the run's folder, so that a reload loses nothing.

A draft belongs to the session that made it. Another session that opens its address reads it, and copies it before it changes anything.
The last DRAFTS_KEPT of a run are kept.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import msgspec

from hnmine.core import small_files
from hnmine.core.files import keep_newest
from hnmine.runs.workspace import Workspace
from hnmine.selection.settings import SelectionSettings

__all__ = ["DRAFTS_KEPT", "Draft", "delete_draft", "new_id", "read_draft", "write_draft"]

DRAFTS_KEPT = 20
REMEDY = "remove the file, and change the settings again"


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
    return small_files.read(path, Draft, missing, remedy=REMEDY)


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
