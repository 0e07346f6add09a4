"""The version of the package, below everything that reports it."""

from __future__ import annotations

import re

__all__ = ["__version__", "newer"]

__version__ = "0.1.0"


def newer(version: object) -> bool:
    """Return whether a version, such as "0.2.0", is newer than this one; False for what is no version."""
    return isinstance(version, str) and _numbers(version) > _numbers(__version__)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d{1,9}", version)[:3])
