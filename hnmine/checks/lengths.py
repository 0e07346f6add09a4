"""How many texts of a file are longer than a model reads, without holding the texts.

A token takes at least one byte, so short texts need no tokenizer. Of the others the SAMPLE with the smallest hashes are kept: a fair sample
of the different texts, the same in whatever order they come, and all of them if they are no more. 4,000 texts tell a share to within 0.8
percent, in 2 s on two cores for passages of 200 tokens.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from hnmine.checks.report import Example, Finding, counted, finding, shortened
from hnmine.models.batching import token_counts

__all__ = ["SAMPLE", "Lengths"]

SAMPLE = 4_000


class Lengths:
    """Samples the texts of one side ("query" or "passage") that may be longer than `limit` tokens."""

    def __init__(self, side: str, limit: int, sample: int = SAMPLE) -> None:
        self.side = side
        self.limit = limit
        self._sample = sample
        self._kept: dict[int, tuple[int, str]] = {}  # hash -> line, text
        self._bound = 2**64
        self._hashes = array("Q")

    def add(self, text: str, key: int, line: int) -> None:
        """Take a text, its hash and its line; the same text may come again."""
        # Two tokens frame a text.
        if 4 * len(text) <= self.limit - 2 or len(text.encode("utf-8", "replace")) <= self.limit - 2:
            return
        self._hashes.append(key)
        if key < self._bound and key not in self._kept:
            self._kept[key] = (line, text)
            if len(self._kept) > 2 * self._sample:
                self._prune()

    def _prune(self) -> None:
        smallest = sorted(self._kept)[: self._sample]
        self._bound = smallest[-1]
        self._kept = {key: self._kept[key] for key in smallest}

    def finding(self, folder: Path | None, model: str, total: int) -> Finding | None:
        """Count tokens with the tokenizer of `folder`; None if no text is too long, or nothing can count. `total` texts are different."""
        if not self._kept:
            return None
        self._prune()
        candidates = len(np.unique(np.frombuffer(self._hashes, dtype=np.uint64)))
        places = sorted(self._kept.values())
        counts = token_counts(folder, [text for _, text in places])
        if counts is None or not len(counts):
            return None
        over = counts > self.limit
        if not over.any():
            return None
        sampled = candidates > len(counts)
        longer = round(float(over.mean()) * candidates)
        name = {"query": "queries"}.get(self.side, f"{self.side}s")
        if sampled:
            longer = int(float(f"{longer:.2g}"))  # two digits are what the sample knows
        about = f"about {longer:,}" if sampled else f"{longer:,}"
        message = (
            f"{about} of {counted(total, f'different {self.side}', f'different {name}')} ({100 * longer / max(total, 1):.1f} %) "
            f"{'is' if longer == 1 else 'are'} longer than the {self.limit:,} tokens that {model} reads: the rest is cut off, unread"
        )
        examples = tuple(
            Example(line, f"{int(count):,} tokens: {shortened(text, 70)}")
            for (line, text), count, long in zip(places, counts.tolist(), over.tolist(), strict=True)
            if long
        )[:5]
        return finding("too-long", message, longer, examples)
