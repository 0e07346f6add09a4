"""Shared parts of the benchmarks: clock, machine facts, GEMM peak, peak memory of a process, and the report.

Speeds are compared only within one process run, because the machine is shared and noisy: each side is repeated, alternating
if that is cheap, and the best time counts (noise only adds). Every script prints a table and writes the same figures to
`build/bench/NAME.json` (`NAME-quick.json` for a small run).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "bench"
# Real data sets beside the checkout, if any: Cranfield cannot be shipped.
DATA = ROOT.parent / "shared" / "data"


def arguments(description: str | None, **extra: Any) -> argparse.Namespace:
    """Parse `--quick` (small sizes, as a test) and the options of a script: name -> default."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, as a test of the script; the figures are meaningless")
    for name, default in extra.items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", default=default, type=type(default))
    return parser.parse_args()


def best(work: Callable[[], Any], *, repeats: int = 3) -> float:
    """Return the shortest of several runs in seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def gemm_peak(dtype: str = "float32", *, size: int = 2048, seconds: float = 1.0) -> float:
    """Return the best rate of a square torch matrix product in FLOP/s: the upper bound of search and encoding."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(getattr(torch, dtype)) for _ in range(2))
    torch.matmul(left, right)
    shortest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.matmul(left, right)
        shortest = min(shortest, time.perf_counter() - start)
    return 2 * size**3 / shortest


def machine() -> dict[str, Any]:
    """Return the processor, cores, memory and versions."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    try:
        cpu = Path("/proc/cpuinfo").read_text()
        facts["processor"] = next(line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name"))
        facts["extensions"] = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in cpu]
        memory = Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]
        facts["memory_gib"] = round(int(memory) / 2**20, 1)
    except (OSError, StopIteration, IndexError):
        facts["processor"] = platform.processor()
    for package in ("torch", "FlagEmbedding", "sentence-transformers", "faiss-gpu", "faiss-cpu", "numpy", "msgspec"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes."""
    try:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def as_process(command: Sequence[str], **options: Any) -> tuple[float, int]:
    """Run a command in its own process; return (seconds, its peak resident bytes).

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{printed.decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss * 1024


def report(name: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any] | None = None) -> None:
    """Print rows as a table with the machine's facts, and write them to build/bench/NAME.json.

    Args:
        rows: one dict per line, str or numbers; missing cells are empty.
        facts: other figures (sizes, peaks), printed above the table.
    """
    facts = {"machine": machine(), **(facts or {})}
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    print(f"\n{name}: {', '.join(f'{key} {_cell(value)}' for key, value in facts['machine'].items() if key != 'extensions')}")
    for key, value in facts.items():
        if key != "machine":
            print(f"  {key}: {_cell(value)}")
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    sys.stdout.flush()
    OUT.mkdir(parents=True, exist_ok=True)
    file = OUT / f"{name}-quick.json" if "--quick" in sys.argv else OUT / f"{name}.json"
    file.write_text(json.dumps({"facts": facts, "rows": list(rows)}, indent=1, default=str) + "\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return (
            f"{value:,.0f}"
            if abs(value) >= 1000
            else f"{value:.3g}"
            if abs(value) < 0.01
            else f"{value:.2f}"
            if abs(value) < 100
            else f"{value:.1f}"
        )
    return f"{value:,}" if isinstance(value, int) else str(value)
