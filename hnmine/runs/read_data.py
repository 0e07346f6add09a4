"""The first step of a run: its files are read as the settings say, and their paths are kept for the manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hnmine.core.progress import ShouldStop, Stages, check_cancelled
from hnmine.data.dataset import Inputs, read_inputs
from hnmine.data.objects import are_paths
from hnmine.runs.settings import MineSettings

__all__ = ["read_data"]


def read_data(
    input_file: Any, candidate_pool: Any, settings: MineSettings, *, stages: Stages, should_stop: ShouldStop | None = None
) -> Inputs:
    """Read the data as `settings` say, and add to the fingerprints the paths; arguments and errors as in `dataset.read_inputs`."""
    check_cancelled(should_stop)
    stages(0, 0, "reading the files")
    inputs = read_inputs(
        input_file,
        candidate_pool,
        pool_mode=settings.pool_mode,
        columns=settings.columns,
        repair=settings.repair,
        skip_bad_rows=settings.skip_bad_rows,
    )
    for name, path in (("input_file", input_file), ("candidate_pool", candidate_pool)):
        if isinstance(path, (str, os.PathLike)):
            inputs.files[name]["path"] = _absolute(path)
        elif name in inputs.files and are_paths(path, is_pool=name == "candidate_pool"):
            inputs.files[name]["paths"] = [_absolute(each) for each in path]
    return inputs


def _absolute(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if text.startswith("hf://") else str(Path(text).resolve())
