"""The variants of a run: named selections from its ranking, one file each in the run's folder, with figures and a note beside them.

Every run has the variant MINED, the selection that it was mined with. A variant is never changed, only renamed or deleted, so exports,
links, audits and comparisons that name it keep their meaning. The last settings of a workspace of before become a variant. Figures take a
second to compute; they hold for the verdicts and the audit sample that they name (`version`, `sample`), and can be lost.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.core.small_files import now, or_error
from hnmine.core.text import line_of, visible
from hnmine.review.audit import Rate
from hnmine.runs.workspace import NAME_LENGTH, Workspace
from hnmine.selection.fn_model import FNRate
from hnmine.selection.presets import PRESETS, preset_of
from hnmine.selection.settings import SelectionSettings

__all__ = [
    "MINED",
    "NOTE_LENGTH",
    "Figures",
    "Variant",
    "all_variants",
    "damaged",
    "delete_variant",
    "forget",
    "keep_figures",
    "kept_figures",
    "name_of",
    "note",
    "rename_variant",
    "save_note",
    "save_variant",
    "variant",
]


MINED = "mined"
EARLIER = "Earlier settings"
REMEDY = "remove the file, and save the variant again"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A named selection of a run; `created` is an ISO 8601 time in UTC."""

    id: str
    name: str
    settings: SelectionSettings
    created: str

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", visible(self.name))


def name_of(settings: SelectionSettings, *, deepest: int | None = None) -> str:
    """Return a name for settings: that of their preset, or "Custom"; `deepest` as in `with_preset`."""
    preset = preset_of(settings, deepest=deepest)
    return "Custom" if preset is None else PRESETS[preset].label.partition(" (")[0]


def all_variants(space: Workspace, run_id: str) -> list[Variant]:
    """Return the variants of a run, MINED first, then by age; `damaged` names those that cannot be read.

    Raises:
        WorkspaceError: there is no such run.
    """
    run = space.run(run_id)
    _migrate(space, run_id)
    candidates = (run.manifest.get("summary") or {}).get("candidates")  # a preset ends where they do
    name = name_of(run.settings.selection, deepest=candidates if isinstance(candidates, int) else None)
    mined = Variant(id=MINED, name=name, settings=run.settings.selection, created=run.created)
    found = [each for each in _stored(space, run_id) if isinstance(each, Variant)]
    return [mined, *sorted(found, key=lambda each: (each.created, each.id))]


def variant(space: Workspace, run_id: str, variant_id: str) -> Variant:
    """Return a variant of a run.

    Raises:
        WorkspaceError: there is no such run or variant, or it is damaged.
    """
    found = next((each for each in all_variants(space, run_id) if each.id == variant_id), None)
    if found is not None:
        return found
    space.run_folder(variant_id)  # an id from an address must be a plain name
    return small_files.read(
        _folder(space, run_id) / f"{variant_id}.json", Variant, f"there is no variant {variant_id!r} of the run {run_id}"
    )


def save_variant(space: Workspace, run_id: str, name: str, settings: SelectionSettings) -> Variant:
    """Store a named selection of a run; the same settings again return the variant that has them.

    Raises:
        WorkspaceError: the name is empty or taken, there is no such run, or the disk is full.
    """
    known = all_variants(space, run_id)
    if (same := next((each for each in known if each.settings == settings), None)) is not None:
        return same
    return _write(
        space, run_id, Variant(id=secrets.token_hex(4), name=_new_name(name, known), settings=settings, created=now("milliseconds"))
    )


def rename_variant(space: Workspace, run_id: str, variant_id: str, name: str) -> Variant:
    """Give a variant another name.

    Raises:
        WorkspaceError: as `save_variant`, or it is MINED.
    """
    known = [each for each in all_variants(space, run_id) if each.id != variant_id]
    held = variant(space, run_id, variant_id)
    if variant_id == MINED:
        raise WorkspaceError("the variant that the run was mined with cannot be renamed; save its settings under another name")
    return _write(space, run_id, msgspec.structs.replace(held, name=_new_name(name, known)))


def delete_variant(space: Workspace, run_id: str, variant_id: str) -> None:
    """Delete a variant; verdicts and audits stay.

    Raises:
        WorkspaceError: there is none, or it is MINED.
    """
    variant(space, run_id, variant_id)
    if variant_id == MINED:
        raise WorkspaceError("the variant that the run was mined with cannot be deleted; delete the run")
    try:
        (_folder(space, run_id) / f"{variant_id}.json").unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"the variant cannot be deleted ({error.strerror or error}); check the permissions of {space.root}") from error


def damaged(space: Workspace, run_id: str) -> list[str]:
    """Return a message with the remedy for each variant of a run that cannot be read."""
    found = (_earlier(space.run_folder(run_id) / "selection.json"), *_stored(space, run_id))
    return [str(each) for each in found if isinstance(each, WorkspaceError)]


def _migrate(space: Workspace, run_id: str) -> None:
    """Make the last settings of an older workspace, kept in selection.json, a variant."""
    path = space.run_folder(run_id) / "selection.json"
    settings = _earlier(path)
    if isinstance(settings, SelectionSettings):
        if settings != space.run(run_id).settings.selection:
            _write(space, run_id, Variant(id="earlier", name=EARLIER, settings=settings, created=now("milliseconds")))
        path.unlink(missing_ok=True)


def _earlier(path: Path) -> SelectionSettings | WorkspaceError | None:
    return or_error(partial(small_files.find, kind=SelectionSettings, remedy="remove the file, and choose again"), path)


def _stored(space: Workspace, run_id: str) -> list[Variant | WorkspaceError]:
    """Return each stored variant, or the error of reading it; a file is read again when it changes."""
    return [space.unless_changed(path, _read_or_error) for path in sorted(_folder(space, run_id).glob("*.json"))]


def _read_or_error(path: Path) -> Variant | WorkspaceError:
    found = or_error(partial(small_files.read, kind=Variant, missing="the variant was deleted meanwhile", remedy=REMEDY), path)
    if isinstance(found, Variant) and found.id != path.stem:
        return WorkspaceError(
            f"{path} is damaged (it describes {found.id!r}); rename it back to {found.id}.json, or remove it if that exists"
        )
    return found


def _new_name(name: str, known: list[Variant]) -> str:
    kept = line_of(name, NAME_LENGTH)
    if not kept:
        raise WorkspaceError("a variant needs a name; enter one")
    if any(each.name.casefold() == kept.casefold() for each in known):
        raise WorkspaceError(f"this run already has a variant {kept!r}; choose another name")
    return kept


def _write(space: Workspace, run_id: str, variant: Variant) -> Variant:
    path = _folder(space, run_id) / f"{variant.id}.json"
    small_files.write(path, variant, f"the variant cannot be stored in the run {run_id}", make_folder=True)
    return variant


def _folder(space: Workspace, run_id: str) -> Path:
    return space.run_folder(run_id) / "variants"


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
        return line_of(small_files.find_text(_path(space, "notes", run_id, variant_id), remedy="") or "", NOTE_LENGTH)
    return ""


def save_note(space: Workspace, run_id: str, variant_id: str, text: str) -> str:
    """Store a note on a variant, one line of at most NOTE_LENGTH characters; an empty one removes it. Returns the stored note.

    Raises:
        WorkspaceError: there is no such run, or the disk is full.
    """
    space.run(run_id)
    kept, path = line_of(text, NOTE_LENGTH), _path(space, "notes", run_id, variant_id)
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


def _path(space: Workspace, kind: str, run_id: str, variant_id: str) -> Path:
    space.run_folder(variant_id)  # an id from an address must be a plain name
    return space.run_folder(run_id) / kind / variant_id
