"""`check` and `repair`: a training file, from anywhere, as each trainer would read it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hnmine.checks import check as checking
from hnmine.checks.kinds import OUTPUT_REPAIRS, Report
from hnmine.checks.repair import repaired
from hnmine.core.errors import SettingsError
from hnmine.core.files import write_atomic
from hnmine.data.problems import repairs_from
from hnmine.models.cards import ModelSettings, describe

__all__ = ["check", "repair"]


def check(path: str | os.PathLike[str], *, trainers: Sequence[str] | None = None, model: str | ModelSettings | None = None) -> Report:
    """Return a report of the faults that trainers would stop or stumble on; `print` it, or look at `report.ok`.

    Args:
        path: the training file.
        trainers: such as ["ms-swift"]; None for those that read rows of this form.
        model: a hub name, a folder or `ModelSettings`, whose tokenizer and lengths count; None leaves lengths out.

    Raises:
        InputError: the file cannot be read.
        SettingsError: a trainer is unknown.
        ModelError: there is no such model.
    """
    if isinstance(model, str):
        model = ModelSettings(name_or_path=model)
    return checking.check(path, trainers=trainers, model=None if model is None else describe(model))


def repair(path: str | os.PathLike[str], output: str | os.PathLike[str], repairs: Iterable[str] = "all") -> Report:
    """Write a training file with the chosen faults repaired, and return the report on what was written.

    Args:
        path: the training file; it stays as it is.
        output: where to write JSON lines.
        repairs: keys of `hnmine.checks.kinds.OUTPUT_REPAIRS`, or "all".

    Raises:
        InputError: the file cannot be read.
        SettingsError: a repair is unknown, or the output is the file itself.
        OutputError: the output cannot be written.
    """
    chosen = repairs_from((repairs,) if isinstance(repairs, str) else tuple(repairs), OUTPUT_REPAIRS)
    if Path(output).exists() and Path(path).exists() and Path(output).samefile(path):
        raise SettingsError(f"output is the file that is repaired ({output}); write to another one")
    write_atomic(Path(output), repaired(path, chosen))
    return checking.check(output)
