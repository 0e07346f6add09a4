"""What a part of the campaign returns, and what all parts share. `python -m tests.campaign` runs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.conftest import FakeEncoder


@dataclass(kw_only=True)
class Outcome:
    """The outcome of one part.

    Attributes:
        name: of the part. tried: number of trials.
        failed: a line for each failed trial, with the seed or the file that repeats it.
        figures: what was measured, in one line; empty without any.
    """

    name: str
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    figures: str = ""

    def __str__(self) -> str:
        line = f"{self.name:<12} {self.tried:>6,} tried {len(self.failed):>4,} failed"
        return f"{line}  {self.figures}".rstrip()


class Tiny(FakeEncoder):
    """A model of a campaign: trigrams, whose manifest can be repeated."""

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"weights_sha256": "0" * 64, "model_class": "encoder-only-base"}
