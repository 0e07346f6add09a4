"""`python -m hnmine`: the command line of `hnmine.cli.main`."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # FlagEmbedding's process pool imports this module again in each worker
    try:
        from hnmine.cli.main import main

        status = main()
    except KeyboardInterrupt:  # while importing, before main() installs its handlers
        status = 130
    sys.exit(status)
