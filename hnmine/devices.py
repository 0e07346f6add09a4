"""What this machine computes on, told without importing torch or FAISS (seconds that a first screen does not have)."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["gpu_here", "in_words"]


def gpu_here() -> bool:
    """Return whether the driver shows an NVIDIA device; torch and FAISS have the last word when they load."""
    return Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/gpus").is_dir()


def in_words() -> str:
    """Say where encoding and searching will run, and why."""
    if gpu_here():
        return "GPU cuda:0 (an NVIDIA device is here)"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple GPU for encoding, CPU for searching"
    return f"CPU, {os.cpu_count() or 1} cores, float32 (no NVIDIA device found)"
