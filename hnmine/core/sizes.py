"""Amounts of memory: as people write them, and how much of it this machine has to spare."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from hnmine.core.errors import SettingsError

__all__ = ["available", "in_words", "parse_size"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
CGROUP = Path("/sys/fs/cgroup")


def parse_size(text: str) -> int:
    """Parse an amount such as "2GB", "512 MiB" or "1000000" into bytes; units are powers of 1,024.

    Raises:
        SettingsError: the text is not an amount of memory.
    """
    match = _SIZE.fullmatch(text)
    if match is None or (size := int(float(match[1]) * _UNITS[match[2].lower()])) < 1:
        raise SettingsError(f"{text!r} is not an amount of memory; write a number with a unit, such as 2GB or 512MB")
    return size


def in_words(size: float) -> str:
    """Return a number of bytes as text, such as "1.5 GB"; units are powers of 1,024."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:,.0f} {unit}" if unit in ("bytes", "kB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TB"


def available() -> int:
    """Return the bytes of memory available without swapping, within the container's limit (cgroup v2) if there is one."""
    import psutil

    found = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int((CGROUP / "memory.max").read_text()) - int((CGROUP / "memory.current").read_text()))
    return max(found, 2**26)
