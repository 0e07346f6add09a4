"""The LLM judge of a workspace: `judge.json`, the settings that its screens use.

A key is never in the file, only the name of its variable.
"""

from __future__ import annotations

from pathlib import Path

from hnmine.core import small_files
from hnmine.core.errors import WorkspaceError
from hnmine.review.judge_settings import JudgeSettings

__all__ = ["FILE", "REMEDY", "chosen_judge", "read_judge", "write_judge"]

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


def chosen_judge(root: Path) -> tuple[str, str] | None:
    """Return the model and the version of the prompt of the workspace in a folder, for `judgements.counting`; None where none is chosen.

    A damaged choice, which the Quality screen reports, chooses none.
    """
    try:
        settings = read_judge(root)
    except WorkspaceError:
        return None
    return None if settings is None else (settings.model, settings.prompt.version)
