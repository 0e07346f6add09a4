"""Stand-in until the formats are here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnmine.corpus import Corpus
from hnmine.export import flagembedding_lines, write_atomic
from hnmine.ranking import Ranking
from hnmine.rows import Row
from hnmine.select import Selection

__all__ = ["FORMATS", "Written", "write_export"]

FORMATS: dict[str, Any] = {"flagembedding": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that was written."""

    path: Path
    bytes: int
    sha256: str
    rows: int
    part: str = "all"
    notes: tuple[str, ...] = ()


def write_export(
    path: str | os.PathLike[str],
    format_name: str,
    rows: Sequence[Row],
    corpus: Corpus,
    ranking: Ranking,
    selection: Selection,
    *,
    with_scores: bool = False,
    dev_share: float = 0.0,
    seed: int = 42,
) -> list[Written]:
    """Write a selection."""
    path = Path(path)
    size = write_atomic(path, flagembedding_lines(rows, corpus, ranking, selection, with_scores=with_scores))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [Written(path=path, bytes=size, sha256=digest, rows=len(rows))]
