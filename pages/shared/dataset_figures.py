"""Figures of a data set's files before it is mined, cached for all sessions: duplicates, lengths, and whether the files are as uploaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hnmine import resources
from hnmine.analysis import queries
from hnmine.models.batching import token_counts
from hnmine.runs.folders import is_whole

__all__ = ["Lengths", "is_as_uploaded", "text_duplicates", "text_lengths"]

# The token counts of the queries and of the passages, int32 each.
Lengths = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


@resources.cached()
def is_as_uploaded(read: resources.Data) -> bool:
    """Return whether the files of a data set have the bytes that were uploaded; all are read."""
    return is_whole(resources.workspace().dataset_folder(read.dataset_id), resources.workspace().dataset(read.dataset_id))


@resources.cached()
def text_duplicates(read: resources.Data) -> dict[str, int]:
    """Return `queries.text_duplicates` of a data set with its pool."""
    return queries.text_duplicates(resources.inputs(read, "extend"))


@resources.cached()
def text_lengths(read: resources.Data, folder: Path) -> Lengths | None:
    """Return the token counts of a data set's queries and passages (samples), or None without a tokenizer in the folder."""
    found = resources.files(read)
    of_queries = token_counts(folder, [row.query for row in found.training.items])
    of_passages = token_counts(folder, found.passages)
    return None if of_queries is None or of_passages is None else (of_queries, of_passages)
