"""Approximate scores of a block of passages for every query, with a bound on how wrong each of them can be.

Two matrix products do it: float32 through NumPy, which needs nothing loaded, and bfloat16 through torch on processors that
multiply it in hardware (AVX-512 BF16, AMX), two to three times as fast. Either states for each query an `error` that no
score of the block exceeds: the candidates that it cannot rule out are scored exactly afterwards, so that the choice of the
product changes the time and not one bit of the result.

The bound is rigorous and simple. Summing d products in float32, in any order, errs by at most d * 2^-24 * |q| |p|
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); twice that is used. A vector rounded to bfloat16
moves by at most 2^-8 of its length, and by Cauchy and Schwarz each score by |q - q16| |p| + |q16| |p - p16|. The queries'
own residuals are measured (0.4 of the worst case); measuring the passages' would cost more than the pairs it saves. That
the product itself is rounded to bfloat16 matters only at the k-th score, because rounding keeps the order: see `least`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from hnmine.core.errors import EncodeError
from hnmine.vectors.similarity import Floats

__all__ = ["Bfloat16Product", "FirstPass", "Float32Product", "Product", "kind_of", "where"]

FirstPass = Literal["auto", "float32", "bfloat16"]
Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# bfloat16 saves about 4 ms for 10^9 operations on two cores, so that importing torch (3 s) pays from about here on ...
TORCH_PAYS = 1e12
# ... and where it is loaded already, from here on.
BFLOAT16_PAYS = 1e9
# Norms are computed in float32: a little more than they may lack.
GENEROUS = 1.001
# More than all that underflow can take: bfloat16 units treat the smallest numbers as zero.
TINY = 2.0**-100
# Passages whose mean is at least this part of their length are centred, which costs a pass over them.
WORTH_CENTRING = 0.25
# Products of longer vectors could overflow float32.
LONGEST = 1e18


class Product(Protocol):
    """Scores g queries against one block of passages after another."""

    offset: Doubles
    """(g,) what each query's scores are short of its inner products, once a block is loaded."""

    def load(self, passages: Floats) -> Doubles:
        """Take the next block, (b, d) float32; return what no score is off by more than, (g,), before its own rounding."""

    def scores(self, rows: slice) -> npt.NDArray[Any]:
        """Return raw scores (r, b) of these queries against the block, valid until the next call."""

    def values(self, raw: npt.NDArray[Any]) -> Floats:
        """Return raw scores as numbers."""

    def hits(self, raw: npt.NDArray[Any], floor: Floats) -> tuple[Places, Places, Floats]:
        """Return rows, columns and values of the raw scores that reach their row's floor, (r,) made by `rounded_down`."""

    def least(self, scores: Floats) -> Doubles:
        """Return the least that these scores can have been before they were rounded."""

    def rounded_down(self, values: Doubles) -> Floats:
        """Return the values rounded down to what a score can be."""


def kind_of(multiplications: float, wanted: FirstPass) -> Callable[[Floats, int], Product]:
    """Return the faster product for so much work, to be made with queries (g, d) and the most scores asked for at a time.

    Args:
        multiplications: queries x passages x dimensions.
        wanted: "auto" takes bfloat16 where the processor has it and the work is worth it.
    """
    if wanted == "auto":
        worth = 2 * multiplications >= (BFLOAT16_PAYS if "torch" in sys.modules else TORCH_PAYS)
        wanted = "bfloat16" if worth and re.search(r"\b(avx512_bf16|amx_bf16)\b", _processor()) else "float32"
    return Bfloat16Product if wanted == "bfloat16" else Float32Product


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _norms(vectors: Floats) -> Doubles:
    with np.errstate(over="ignore", invalid="ignore"):
        norms: Doubles = GENEROUS * np.sqrt(np.vecdot(vectors, vectors).astype(np.float64))
    if not (norms < LONGEST).all():
        raise EncodeError(f"vector {np.flatnonzero(~(norms < LONGEST))[0]} of a block is not finite, or longer than {LONGEST:.0e}")
    return norms


def where(values: npt.NDArray[Any], wanted: npt.NDArray[np.bool_]) -> tuple[Places, Places, npt.NDArray[Any]]:
    """Return rows, columns and values of what is wanted of (r, c); faster than `nonzero`, much so where it is little."""
    places = np.flatnonzero(wanted)
    rows = places // wanted.shape[1]
    return rows, places - rows * wanted.shape[1], values.reshape(-1)[places]


def _summing(dimension: int) -> float:
    # And a few more, for the rounding of the exact score to float32.
    return 2 * (dimension + 4) * 2.0**-24


class Float32Product:
    """float32 scores by NumPy's BLAS."""

    def __init__(self, queries: Floats, scores_held: int) -> None:
        self._queries = queries
        self._lengths = _norms(queries)
        self.offset = np.zeros(len(queries))
        self._passages = queries[:0]
        self._out = np.empty(scores_held, np.float32)

    def load(self, passages: Floats) -> Doubles:
        """See `Product`."""
        self._passages = passages
        return _summing(passages.shape[1]) * self._lengths * float(_norms(passages).max(initial=0.0)) + TINY

    def scores(self, rows: slice) -> Floats:
        """See `Product`."""
        queries = self._queries[rows]
        out = self._out[: len(queries) * len(self._passages)].reshape(len(queries), -1)
        return np.matmul(queries, self._passages.T, out=out)

    def values(self, raw: Floats) -> Floats:
        """See `Product`."""
        return raw

    def hits(self, raw: Floats, floor: Floats) -> tuple[Places, Places, Floats]:
        """See `Product`."""
        return where(raw, raw >= floor[:, None])

    def least(self, scores: Floats) -> Doubles:
        """See `Product`."""
        return scores.astype(np.float64)

    def rounded_down(self, values: Doubles) -> Floats:
        """See `Product`."""
        return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


class Bfloat16Product:
    """bfloat16 scores by torch, which sums in float32 and rounds once.

    Where the passages point one way on the whole, as those of many models do, their mean is subtracted first: it adds the
    same to all scores of a query, but the error grows with the length of what is multiplied. For unit vectors with a mean
    of length 0.95 that takes a tenth of the time.
    """

    def __init__(self, queries: Floats, scores_held: int) -> None:
        import torch

        self._torch = torch
        full = torch.from_numpy(_writable(queries))
        self._full, self._queries = queries, full.to(torch.bfloat16)
        self._lengths = _norms(queries)
        self._residuals = _norms((full - self._queries.float()).numpy())
        self._centre: Floats | None = None
        self._aside = 0.0
        self.offset = np.zeros(len(queries))
        self._passages = self._queries[:0]
        self._out = torch.empty(scores_held, dtype=torch.bfloat16)

    def load(self, passages: Floats) -> Doubles:
        """See `Product`."""
        if self._centre is None:
            self._centre = self._mean(passages)
        moved = passages - self._centre if self._aside else _writable(passages)
        self._passages = self._torch.from_numpy(moved).to(self._torch.bfloat16)
        longest = float(_norms(moved).max(initial=0.0))
        summing = _summing(moved.shape[1])
        # 1.02: |q16| |p16| against |q| |p|. The offset errs too, and so does subtracting it from an exact score.
        error = self._residuals + (2.0**-8 + 1.02 * summing) * (self._lengths + self._residuals)
        return error * longest + 2 * summing * self._lengths * self._aside + TINY

    def _mean(self, passages: Floats) -> Floats:
        lengths, mean = _norms(passages), np.asarray(passages.mean(axis=0), np.float32)
        length = float(_norms(mean[None])[0])
        if length > WORTH_CENTRING * lengths.mean():
            self._aside, self.offset = length, (self._full @ mean).astype(np.float64)
        return mean

    def scores(self, rows: slice) -> npt.NDArray[np.int16]:
        """See `Product`; the numbers' bits, because NumPy has no bfloat16."""
        queries = self._queries[rows]
        out = self._out[: len(queries) * len(self._passages)].view(len(queries), -1)
        self._torch.mm(queries, self._passages.T, out=out)
        bits: npt.NDArray[np.int16] = out.view(self._torch.int16).numpy()
        return bits

    def values(self, raw: npt.NDArray[np.int16]) -> Floats:
        """See `Product`."""
        return (raw.astype(np.int32) << 16).view(np.float32)

    def hits(self, raw: npt.NDArray[np.int16], floor: Floats) -> tuple[Places, Places, Floats]:
        """See `Product`."""
        least = (_in_order(floor.view(np.int32)) >> 16).astype(np.int16)
        # Positive numbers are ordered as their bits are, and as integers all negative ones lie below.
        comparable = raw if (least >= 0).all() else _in_order(raw)
        rows, columns, bits = where(raw, comparable >= least[:, None])
        return rows, columns, self.values(bits)

    def least(self, scores: Floats) -> Doubles:
        """See `Product`."""
        values = scores.astype(np.float64)
        return values - 2.0**-8 * np.abs(values)

    def rounded_down(self, values: Doubles) -> Floats:
        """See `Product`."""
        bits = np.nextafter(values.astype(np.float32), np.float32(-np.inf)).view(np.int32)
        return ((bits + np.where(bits < 0, 0xFFFF, 0).astype(np.int32)) & np.int32(-0x10000)).view(np.float32)


def _writable(array: Floats) -> Floats:
    return array if array.flags.writeable else array.copy()  # torch warns of what cannot be written


def _in_order(bits: Any) -> Any:
    """Turn the bits of floats into integers of the same order; a negative zero comes below the other."""
    highest = 8 * bits.itemsize - 1
    return bits ^ ((bits >> highest) & bits.dtype.type((1 << highest) - 1))
