"""The commands `python -m hnmine cache` (the stored vectors) and `python -m hnmine workspace` (back up, restore or verify the folder)."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.core.files import in_words
from hnmine.core.paths import require_possible
from hnmine.core.progress import OnProgress
from hnmine.core.text import counted
from hnmine.runs.backup import Backup, back_up
from hnmine.runs.restore import restore, verify_backup
from hnmine.runs.verification import verify
from hnmine.runs.workspace import Workspace, home, vectors_folder
from hnmine.vectors.store import VectorStore

__all__ = ["cache_report", "workspace_report"]


def cache_report(arguments: argparse.Namespace) -> str:
    """Do what the arguments say and return the text to print.

    Raises:
        SettingsError: the folder does not exist, or nothing is chosen to delete.
        WorkspaceError: the store cannot be used.
    """
    if arguments.store is not None:
        require_possible("--store", arguments.store)
    folder = Path(arguments.store or vectors_folder())
    if not folder.is_dir():
        if arguments.store:
            raise SettingsError(f"folder {folder} does not exist; set --store to the folder of the vectors")
        return "[]" if arguments.json else f"{folder} has no vectors"
    store = VectorStore(folder)
    lines: list[str] = []
    if arguments.action == "verify":
        lines += store.verify() or ["no damaged vectors"]
    elif arguments.action == "prune":
        if not (arguments.everything or arguments.limit is not None or arguments.older_than is not None):
            raise SettingsError("choose what to delete: --limit SIZE, --older_than DAYS, or --everything")
        freed = store.prune(limit_bytes=arguments.limit, older_than_days=arguments.older_than, everything=arguments.everything)
        lines.append(f"{in_words(freed)} freed")
    usage = store.usage()
    if arguments.json:
        return msgspec.json.encode(usage).decode()
    for each in usage:
        lines.append(
            f"{each.model}  {each.rows:,} {'scores of pairs' if each.dimension == 1 else f'vectors of {each.dimension} dimensions'}, "
            f"{each.dtype}  {in_words(each.bytes)} in "
            f"{each.shards:,} {'file' if each.shards == 1 else 'files'}  last used {each.last_used[:10]}"
        )
    total = sum(each.bytes for each in usage)
    lines.append(f"{in_words(total)} of at most {in_words(store.limit_bytes)} in {folder}")
    return "\n".join([*lines, *(f"note  {note}" for note in store.notes)])


# Exit status of `verify` where anything is damaged.
DAMAGED = 1


def workspace_report(arguments: argparse.Namespace, on_progress: OnProgress | None) -> tuple[str, int]:
    """Do what the arguments say; return the text to print and the exit status.

    Raises:
        SettingsError: the file or the workspace is missing, or a flag does not apply.
        HnmineError: as `back_up`, `restore` and `verify_backup`.
    """
    root, file = home(), None if arguments.file is None else Path(arguments.file)
    if arguments.vectors and arguments.action != "backup":
        raise SettingsError("--vectors is a flag of backup; a restore writes all that the backup holds")
    if arguments.action == "verify":
        return _verify(root, file, on_progress)
    if file is None:
        raise SettingsError(f"name the file: python -m hnmine workspace {arguments.action} backup.tar")
    if arguments.action == "restore":
        made, done = restore(file, root, on_progress=on_progress), f"restored to {root}"
    else:
        done = f"backed up to {file}{', in place of the file that was there' if file.exists() else ''}"
        made = back_up(_existing(root), file, vectors=arguments.vectors, on_progress=on_progress)
    return "\n".join([f"{done}: {made}", *_left_out(made)]), 0


def _left_out(held: Backup) -> list[str]:
    return [f"left out  {each}" for each in held.left_out]


def _verify(root: Path, file: Path | None, on_progress: OnProgress | None) -> tuple[str, int]:
    if file is not None:
        held, damages = verify_backup(file, on_progress=on_progress)
        lines, found = [*damages, *_left_out(held)], f"{file}: {held}"
    else:
        seen = verify(_existing(root), on_progress=on_progress)
        damages, lines, found = list(seen.damages), [*seen.damages, *seen.other_versions], f"{root}: {seen.read}"
        if seen.other_versions:
            found += f", {counted(len(seen.other_versions), 'file')} of another version"
    result = counted(len(damages), "damage") if damages else "no damage"
    return "\n".join([*lines, f"{found}: {result}"]), DAMAGED if damages else 0


def _existing(root: Path) -> Workspace:
    if not root.is_dir():
        raise SettingsError(f"there is no workspace in {root}; set HNMINE_HOME to its folder")
    return Workspace(root)
