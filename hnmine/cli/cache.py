"""The command `python -m hnmine cache`: show, verify or prune the stored vectors."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from hnmine.core.errors import SettingsError
from hnmine.core.files import in_words
from hnmine.runs.workspace import vectors_folder
from hnmine.vectors.store import VectorStore

__all__ = ["cache_report"]


def cache_report(arguments: argparse.Namespace) -> str:
    """Do what the arguments say and return the text to print.

    Raises:
        SettingsError: the folder does not exist, or nothing is chosen to delete.
        WorkspaceError: the store cannot be used.
    """
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
