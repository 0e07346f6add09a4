"""What a table of variants shows of each, stored in the run's folder: figures that take a second to compute, and a note.

Figures hold for the verdicts and the audit sample that they name (`version`, `sample`). Variants never change, so nothing else makes
them old. They can be lost: they are computed again. Notes are one line that people wrote.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.review.audit import Rate
from hnmine.runs.variants import delete_variant
from hnmine.runs.workspace import Workspace
from hnmine.selection.fn_model import FNRate

__all__ = ["NOTE_LENGTH", "Figures", "forget", "keep_figures", "kept_figures", "note", "save_note"]

NOTE_LENGTH = 200


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a variant.

    Attributes:
        version: of the store of verdicts (`ReviewStore.version`) when they were last checked.
        key: of the run with its verdicts. sample: of the audit sample, empty without one.
        negatives: over all rows. hardness: mean similarity, None without negatives. above_positive: fraction that scores above it.
        histogram: counts of the negatives' similarities. verdicts: on pairs of the run.
        estimated: false-negative rate, None without signals. measured: by the audit, None without one; reviewed: its draws that count.
    """

    version: int
    key: str
    sample: str
    negatives: int
    hardness: float | None
    above_positive: float | None
    histogram: tuple[int, ...]
    verdicts: int
    estimated: FNRate | None
    measured: Rate | None
    reviewed: int


def kept_figures(space: Workspace, run_id: str, variant_id: str) -> Figures | None:
    """Return the stored figures of a variant; None without them, also if they cannot be read."""
    with suppress(WorkspaceError):
        return small_files.find(_path(space, "figures", run_id, variant_id), Figures)
    return None


def keep_figures(space: Workspace, run_id: str, variant_id: str, figures: Figures) -> None:
    """Store the figures of a variant; a full disk only means that they are computed again."""
    with suppress(WorkspaceError):
        small_files.write(_path(space, "figures", run_id, variant_id), figures, "the figures cannot be stored", make_folder=True)


def note(space: Workspace, run_id: str, variant_id: str) -> str:
    """Return the note on a variant, or an empty string."""
    with suppress(WorkspaceError):
        return _one_line(small_files.find_text(_path(space, "notes", run_id, variant_id), remedy="") or "")
    return ""


def save_note(space: Workspace, run_id: str, variant_id: str, text: str) -> str:
    """Store a note on a variant, one line of at most NOTE_LENGTH characters; an empty one removes it. Returns the stored note.

    Raises:
        WorkspaceError: there is no such run, or the disk is full.
    """
    space.run(run_id)
    kept, path = _one_line(text), _path(space, "notes", run_id, variant_id)
    small_files.write_text(path, kept, f"the note cannot be stored in the run {run_id}", make_folder=True)
    return kept


def forget(space: Workspace, run_id: str, variant_id: str) -> None:
    """Delete a variant with its note and figures.

    Raises:
        WorkspaceError: as `variants.delete_variant`.
    """
    delete_variant(space, run_id, variant_id)
    for kind in ("figures", "notes"):
        with suppress(OSError):
            _path(space, kind, run_id, variant_id).unlink(missing_ok=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:NOTE_LENGTH].strip()


def _path(space: Workspace, kind: str, run_id: str, variant_id: str) -> Path:
    space.run_folder(variant_id)  # an id from an address must be a plain name
    return space.run_folder(run_id) / kind / variant_id
