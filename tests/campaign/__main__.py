"""The campaign: `python -m tests.campaign [PART ...] [--size N] [--seed N]`, or `make campaign`.

Each part is a module with `SIZE`, the number of trials of a full run, and `run(size, seed)`, which returns an `Outcome`. A line is printed
for each part, and the failed trials below it. The suite runs a small part of each (`test_campaign.py`).
"""

from __future__ import annotations

import argparse
import importlib
import sys

PARTS = ["readers", "slopes", "workspace", "kills", "disk", "hosts", "load", "floods", "served_runs"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Try to break hnmine, and count how often it works.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"all without one: {', '.join(PARTS)}")
    parser.add_argument("--size", type=int, help="number of trials of each part; by default its own")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.parts or PARTS:
        part = importlib.import_module(f"tests.campaign.{name}")
        outcome = part.run(arguments.size or part.SIZE, arguments.seed)
        print(outcome, *(f"    {line}" for line in outcome.failed), sep="\n", flush=True)
        failed += len(outcome.failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
