"""`python -m hnmine`: the command line of `hnmine.cli.main`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def _stopped(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"hnmine: stopped on request\n")
    os._exit(128 + number)


if __name__ == "__main__":  # FlagEmbedding's process pool imports this module again in each worker
    for each in (signal.SIGINT, signal.SIGTERM):  # while importing, before main() installs its handlers
        signal.signal(each, _stopped)
    from hnmine.cli.main import main

    status = main()
    for each in (signal.SIGINT, signal.SIGTERM):  # the work is done, and its outcome printed
        signal.signal(each, signal.SIG_IGN)
    sys.exit(status)
