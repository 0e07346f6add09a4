"""A split of the queries into train and dev, drawn by seed and text.

Rows that ask the same share a query, whatever their spelling, so no query stands in both parts. Each query draws a hash of
the seed and its own text, and the lowest are dev: exactly the share that was asked for, the same ones in any order of the
rows, and with further rows added most of the same ones still (a draw by position would reshuffle them all, and a model
tuned on one dev set would have been trained on the next). Passages are shared: what is a positive in dev may be a negative
in train, as it is in use.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.core.hashing import query_keys
from hnmine.data.corpus import Corpus

__all__ = ["dev_path", "dev_queries"]

# Sets these draws apart from those of the selection with the same seed.
_PURPOSE = 0x5B117


def dev_queries(corpus: Corpus, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which queries are dev: (q,) bool, `round(share * q)` of them, at least one and not all when `share` is above 0.

    Raises:
        SettingsError: the share is no share, or there is but one query to split.
    """
    if not 0 <= share < 1:
        raise SettingsError(f"dev_share is {share!r}; it is a share of the queries, such as 0.05, or 0 for no split")
    count = len(corpus.queries)
    chosen = np.zeros(count, dtype=bool)
    if share > 0:
        if count < 2:
            raise SettingsError(f"dev_share is {share} and there is only one query; a split needs two, so leave dev_share at 0")
        wanted = min(max(1, round(share * count)), count - 1)
        # Queries stand in the order of their hashes: the rare two with one hash differ by text, not by place in the file.
        order = np.argsort(query_keys(corpus.query_hashes, seed, _PURPOSE), kind="stable")
        chosen[order[:wanted]] = True
    return chosen


def dev_path(path: str | os.PathLike[str]) -> Path:
    """Return where the dev part goes when the train part is written to `path`: `out.jsonl` and `out.dev.jsonl`."""
    path = Path(path)
    return path.with_name(f"{path.stem}.dev{path.suffix}")
