"""Probes: fixed texts that show whether the model behind an address is still the same.

A name identifies no weights, so the vectors (or scores) of five texts do. Last digits of a server vary with its batches, so no hash but a
sketch is kept: 16 fixed projections of each unit vector, to 3 digits. Noise of bfloat16 moves them by 0.005, another model by about 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.core.hashing import splitmix64

__all__ = ["PASSAGES", "QUERY", "SAME_COSINE", "TEXTS", "all_alike", "near", "same_model", "sketch"]

TEXTS = (
    "The library opens at nine in the morning.",
    "How do I return a rented bicycle?",
    "Der Zug nach Norden fährt um acht Uhr ab.",
    "Water boils at 100 degrees Celsius at sea level.",
    "def area(radius): return 3.14159 * radius ** 2",
)
# From an answer to what has nothing to do with the query, so that scores on a scale of probabilities differ too.
QUERY = "When does the library open?"
PASSAGES = (
    "The library opens at nine in the morning.",
    "The library is closed on Sundays.",
    "The bookshop opens when the library does.",
    "Opening a door takes a key.",
    "Water boils at 100 degrees Celsius at sea level.",
)
# Vectors of one text by one model are at least so similar, in whatever precision.
SAME_COSINE = 0.99
# Texts on different subjects and in different languages are less similar by any model.
ALIKE_COSINE = 0.999
_PROJECTIONS, _DIGITS, _TOLERANCE = 16, 3, 0.02


def sketch(vectors: npt.NDArray[np.float32]) -> list[list[float]]:
    """Return the sketch of vectors, (n, d), of any length but 0: n lists of 16 numbers."""
    bits = splitmix64(np.arange(vectors.shape[1] * _PROJECTIONS, dtype=np.uint64) + np.uint64(1)) >> np.uint64(63)
    signs = np.where(bits, 1.0, -1.0).reshape(vectors.shape[1], _PROJECTIONS)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    found: list[list[float]] = np.round(vectors / np.where(lengths > 0, lengths, 1) @ signs, _DIGITS).tolist()
    return found


def all_alike(vectors: npt.NDArray[np.float32]) -> bool:
    """Return whether the vectors of TEXTS, (5, d), say nothing: each has nearly the direction of the first."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return bool((unit[1:] @ unit[0] > ALIKE_COSINE).all())


def near(one: Any, other: Any) -> bool:
    """Return whether two sketches, or two lists of scores, are of the same model."""
    try:
        first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return first.shape == second.shape and first.size > 0 and bool(np.all(np.abs(first - second) <= _TOLERANCE * (1 + np.abs(second))))


def same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two `describe()` are of the same weights: by their SHA-256, or by the probe of a served model."""
    if one.get("probe") is not None or other.get("probe") is not None:
        return near(one.get("probe"), other.get("probe"))
    return bool(one.get("weights_sha256") == other.get("weights_sha256"))
