"""Stand-in until the splits are here."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["dev_path"]


def dev_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the dev file that belongs to a train file."""
    path = Path(path)
    return path.with_name(f"{path.stem}.dev{path.suffix}")
