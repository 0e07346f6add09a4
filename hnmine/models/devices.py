"""Device and precision of this machine, found without importing torch or FAISS, which takes seconds.

The driver's files, torch's version file and the processor's flags decide: fp16 on a CUDA device; bf16 on a CPU with
bf16 instructions (1.7 times fp32's speed at a cosine of 0.9999); else fp32. `loader` checks them against torch.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from pathlib import Path

from hnmine.core.errors import ModelError, SettingsError

__all__ = ["check_device", "cpu_flags", "default_device", "gpu_here", "in_words", "precision_on", "reproducible_products"]

_KINDS = ("cpu", "cuda", "mps", "npu", "musa", "xpu")
# The driver of Linux, and of Linux inside Windows.
_DRIVER = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/gpus"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
_CPU = Path("/proc/cpuinfo")


def gpu_here() -> bool:
    """Return whether the driver shows an NVIDIA device; torch and FAISS have the last word when they load."""
    return any(path.exists() for path in _DRIVER)


def torch_has_cuda() -> bool:
    """Return whether the torch that is installed was built for CUDA (or ROCm, which goes by the same name)."""
    spec = importlib.util.find_spec("torch")
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8") if spec is not None and spec.origin else ""
    except OSError:
        return False
    return re.search(r"^(cuda|hip)\b[^=\n]*=\s*['\"]", text, re.MULTILINE) is not None


def default_device() -> str:
    """Return the device that a model runs on when none is named: "cuda:0", "mps" or "cpu"."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    if gpu_here() and torch_has_cuda() and not hidden:
        return "cuda:0"
    return "mps" if platform.system() == "Darwin" and platform.machine() == "arm64" else "cpu"


def check_device(device: str) -> None:
    """Refuse a device that torch cannot use.

    Raises:
        SettingsError: the kind of device is unknown.
        ModelError: it is a CUDA device, and torch was installed without CUDA.
    """
    kind = device.partition(":")[0]
    if kind not in _KINDS:
        raise SettingsError(f"device {device!r} is unknown; write cpu, cuda:0, cuda:1, ... or mps")
    if kind == "cuda" and not torch_has_cuda():
        raise ModelError(f"device {device!r} is not available: torch is installed without CUDA; set devices to cpu, or leave it out")


def precision_on(device: str, wanted: str = "auto") -> str:
    """Return the precision to compute in: "fp32", "bf16" or "fp16".

    Raises:
        SettingsError: fp16 is wanted on a CPU, or bf16 on a CPU without bf16 instructions.
    """
    kind = device.partition(":")[0]
    if wanted == "fp16" and kind == "cpu":
        raise SettingsError("precision fp16 needs a GPU, and the model runs on the CPU; use auto or fp32")
    if wanted == "bf16" and kind == "cpu" and not _cpu_has_bf16():
        # Emulated products are slower than fp32, and their bits depend on the other texts of the batch.
        raise SettingsError(
            "precision bf16 needs a CPU with bf16 instructions (avx512_bf16 or amx_bf16), which this CPU does not have; use auto or fp32"
        )
    if wanted != "auto":
        return wanted
    if kind == "cuda":
        return "fp16"
    return "bf16" if kind == "cpu" and _cpu_has_bf16() else "fp32"


def in_words(precision: str = "auto") -> str:
    """Say where encoding and searching will run, in which precision, and why.

    Raises:
        SettingsError: the CPU does not support the precision; see `precision_on`.
    """
    device = default_device()
    if device == "cuda:0":
        return f"GPU cuda:0, {precision_on(device, precision)} (NVIDIA device found)"
    if device == "mps":
        return "Apple GPU for encoding, CPU for searching"
    reason = "torch is installed without CUDA" if gpu_here() and not torch_has_cuda() else "no NVIDIA device found"
    return f"CPU, {os.cpu_count() or 1} cores, {precision_on(device, precision)} ({reason})"


def reproducible_products() -> None:
    """Make the float32 products of Intel's MKL independent of threads and rows; call it before the first product of the process.

    Otherwise MKL divides long sums among threads, by a plan that depends on the rows. Speed is the same; a user's own setting stays.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor, as Linux names them; none on other systems."""
    try:
        with _CPU.open(encoding="utf-8", errors="replace") as lines:
            return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:  # not Linux
        return frozenset()


def _cpu_has_bf16() -> bool:
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
