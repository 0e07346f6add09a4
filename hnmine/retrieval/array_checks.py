"""Checks of the arrays of a ranking: shapes and types always; values where the run has no fingerprints, as runs of before.

What a power cut, a bad disk or a file of another run leaves has the right shape and wrong values. Values are checked in blocks, and of the
scores a part is computed again from the vectors: 0.5 s for 100,000 queries x 300 candidates that are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.vectors.similarity import VectorRows, pair_scores

__all__ = ["check_shapes", "check_values"]

# Bytes of zeros in a row that are a hole of a file, not data: a page of memory.
HOLE = 4096
# Pairs whose score is computed again, and how far it may be off: other processors and searches round otherwise.
COMPARED, TOLERANCE = 2_048, 0.02


def check_shapes(arrays: Mapping[str, Any], signals: Mapping[str, Any], positive_signals: Mapping[str, Any], scale: Any) -> None:
    """Check shapes and types of a ranking's arrays; values are not read.

    Raises:
        ValueError: an array does not match the others.
    """
    ids, positive_scores, passages = arrays["ids"], arrays["positive_scores"], arrays["passage_vectors"]
    queries, depth = ids.shape if ids.ndim == 2 else (-1, -1)
    positives = len(positive_scores) if positive_scores.ndim == 1 else -1
    width = passages.shape[-1]
    wanted: list[tuple[str, Any, type, tuple[int, ...]]] = [
        ("ids", ids, np.int32, (queries, depth)),
        ("scores", arrays["scores"], np.float32, (queries, depth)),
        ("positive_scores", positive_scores, np.float32, (positives,)),
        ("query_vectors", arrays["query_vectors"], np.floating, (queries, width)),
        ("passage_vectors", passages, np.floating, (len(passages), width)),
        *((f"signal {name}", values, np.float32, (queries, depth)) for name, values in signals.items()),
        *((f"signal {name} of the positives", values, np.float32, (positives,)) for name, values in positive_signals.items()),
    ]
    if scale is not None:
        wanted.append(("scale", scale, np.float64, (2, 2)))
    for name, values, kind, shape in wanted:
        if values.shape != shape or not np.issubdtype(values.dtype, kind):
            raise ValueError(f"{name} is {values.shape} {values.dtype} and should be {shape} {kind.__name__}")


def check_values(arrays: Mapping[str, Any], signals: Mapping[str, Any], positive_signals: Mapping[str, Any], scale: Any) -> None:
    """Check the values of arrays with the right shapes.

    Raises:
        ValueError: an id is out of range or twice in a row, a number is NaN or infinite, a file has a hole of zeros, or the scores are
            not those of the vectors.
    """
    ids, scores = arrays["ids"], arrays["scores"]
    passages = len(arrays["passage_vectors"])
    for first, end in row_blocks(*ids.shape):
        part, known = ids[first:end], ids[first:end] >= 0
        if part.size and not -1 <= part.min() <= part.max() < passages:
            raise ValueError(f"ids has passages from {part.min():,} to {part.max():,}, and there are {passages:,}")
        if np.any((part[:, 1:] == part[:, :-1]) & known[:, 1:]):
            raise ValueError("ids has a passage twice in a row")
        if not np.isfinite(scores[first:end])[known].all():
            raise ValueError("scores has a NaN or an infinity")
        for name, values in signals.items():  # NaN is unknown
            if np.isinf(values[first:end]).any():
                raise ValueError(f"signal {name} has an infinity")
    for name in ("query_vectors", "passage_vectors"):
        _check_vectors(name, arrays[name])
    for name, values in (("positive_scores", arrays["positive_scores"]), ("scale", scale)):
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"{name} has a NaN or an infinity")
    for name, values in positive_signals.items():
        if np.isposinf(values).any():
            raise ValueError(f"signal {name} of the positives has an infinity")
    for name in ("scores", "positive_scores"):  # zeros in ids are one passage twice in a row
        _check_holes(name, arrays[name])
    _check_scores(ids, scores, arrays["query_vectors"], arrays["passage_vectors"])


def _check_vectors(name: str, vectors: VectorRows) -> None:
    for first, end in row_blocks(len(vectors), vectors.shape[1]):
        block = np.asarray(vectors[first:end])
        if not np.isfinite(block).all():
            raise ValueError(f"{name} has a NaN or an infinity")
        _check_holes(name, block)


def _check_holes(name: str, values: npt.NDArray[Any]) -> None:
    flat = np.asarray(values).reshape(-1)
    length = HOLE // 2 // flat.itemsize  # a hole of a page covers such a block as a whole
    blocks = flat[: len(flat) // length * length].reshape(-1, length)
    if not blocks.any(axis=1).all():
        raise ValueError(f"{name} has a hole of zeros")


def _check_scores(ids: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], queries: VectorRows, passages: VectorRows) -> None:
    """Compare scores at places spread over all queries and ranks with those that the vectors give."""
    if not ids.size:
        return
    places = np.unique(np.linspace(0, ids.size - 1, COMPARED).astype(np.int64))
    rows, ranks = np.divmod(places, ids.shape[1])
    chosen, given = ids[rows, ranks], scores[rows, ranks]
    rows, chosen, given = rows[chosen >= 0], chosen[chosen >= 0], given[chosen >= 0]
    again = pair_scores(queries, rows.astype(np.int32), passages, chosen)
    if np.any(np.abs(again - given) > TOLERANCE * np.maximum(1, np.abs(again))):
        raise ValueError("the scores are not those of the vectors: one of them is of another run")
