"""The LLM judge of a workspace: `judge.json`, the settings that its screens use, and whose grades count in the app.

A key is never in the file, only the name of its variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import FILE as GRADES
from hnmine.review.judgements import JudgementStore

__all__ = ["FILE", "REMEDY", "counting_judge", "read_judge", "write_judge"]

FILE = "judge.json"
REMEDY = "delete the file, and choose the LLM again on the Quality screen"


def read_judge(root: Path) -> JudgeSettings | None:
    """Return the judge of the workspace in a folder, or None where none is chosen.

    Raises:
        WorkspaceError: the file is damaged.
    """
    return small_files.find(root / FILE, JudgeSettings, remedy=REMEDY)


def write_judge(root: Path, settings: JudgeSettings) -> None:
    """Store the judge of the workspace in a folder.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    small_files.write(root / FILE, settings, "the judge cannot be stored")


def counting_judge(root: Path, judgements: Callable[[], JudgementStore]) -> tuple[str, str] | None:
    """Return the model and the prompt whose grades count everywhere in the app, so that those of two judges are never mixed.

    The judge of the workspace, or where none is chosen or it has judged nothing yet, the one that judged last; None without any grade.
    A damaged choice, which the Quality screen reports, chooses none. The store is asked for only where its file exists.

    Raises:
        WorkspaceError: the store cannot be read.
    """
    if not os.path.lexists(root / GRADES):
        return None
    try:
        settings = read_judge(root)
    except WorkspaceError:
        settings = None
    return judgements().counting(None if settings is None else (settings.model, settings.prompt.version))
