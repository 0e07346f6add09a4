"""Pseudo-random values that depend on texts and a seed, never on order: hashes of pairs, and a permutation per query.

`keyed_permutation` is a pseudo-random permutation of [0, count) for each key, evaluated only at the requested positions: a
four-round Feistel network over the next even power of two, repeated while the value is outside (cycle walking).
`position_of` is its inverse. A step takes 0.2 µs; a hash for every (query, passage) pair would need 10^11 hashes for
100,000 queries x 1,000,000 passages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Hashes", "keyed_permutation", "position_of", "query_keys", "splitmix64"]

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int32]

_ROUNDS = 4


def splitmix64(values: Hashes, out: Hashes | None = None) -> Hashes:
    """Scramble 64-bit values (the finaliser of SplitMix64: Steele, Lea and Flood, 2014), into `out` when it is given."""
    shifted = values >> np.uint64(30)
    out = np.bitwise_xor(values, shifted, out=out)
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= np.right_shift(out, np.uint64(27), out=shifted)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= np.right_shift(out, np.uint64(31), out=shifted)
    return out


def query_keys(query_hashes: Hashes, seed: int, purpose: int) -> Hashes:
    """Return a key for each query, (q,) uint64; another seed or purpose gives unrelated keys."""
    salt = np.array([(seed * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03) % 2**64], dtype=np.uint64)
    return splitmix64(query_hashes ^ splitmix64(salt))


def keyed_permutation(keys: Hashes, positions: Hashes, count: int) -> Ids:
    """Return the image of each position under each key's permutation of [0, count), (keys, positions) int32."""
    shape = (len(keys), len(positions))
    own = np.broadcast_to(keys[:, None], shape).ravel()
    return _cycle(own, np.broadcast_to(positions, shape).ravel().astype(np.uint64), count, forward=True).reshape(shape).astype(np.int32)


def position_of(keys: Hashes, ids: Ids, count: int) -> npt.NDArray[np.int64]:
    """Return the position that each id has in the permutation of its key: (p,) keys, (p,) ids -> (p,) int64."""
    return _cycle(keys, ids.astype(np.uint64), count, forward=False).astype(np.int64)


def _cycle(keys: Hashes, values: Hashes, count: int, *, forward: bool) -> Hashes:
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask, shift = np.uint64(2**half - 1), np.uint64(half)
    values = values.copy()
    outside = np.arange(len(values))
    while len(outside):
        left, right, own = values[outside] >> shift, values[outside] & mask, keys[outside]
        if forward:
            for round_ in range(_ROUNDS):
                left, right = right, left ^ (splitmix64(right ^ splitmix64(own + np.uint64(round_))) & mask)
        else:
            for round_ in reversed(range(_ROUNDS)):
                left, right = right ^ (splitmix64(left ^ splitmix64(own + np.uint64(round_))) & mask), left
        values[outside] = (left << shift) | right
        outside = outside[values[outside] >= count]
    return values
