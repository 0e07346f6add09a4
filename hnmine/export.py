"""Writing what was selected: FlagEmbedding's training JSONL, atomically.

Rows leave in their order with their fields as they came, byte for byte; `neg` is replaced, hardest first (trainers that
truncate keep the hardest), and stands at the end where a row had none. `neg_scores` belonged to the negatives that were
replaced: it is left out, or written anew with `with_scores`, because a trainer would silently pair old scores with new
passages.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hnmine.corpus import Corpus
from hnmine.errors import OutputError
from hnmine.ranking import Ranking
from hnmine.rows import Row
from hnmine.select import Selection

__all__ = ["flagembedding_lines", "stale_scores", "write_atomic"]

_encode = msgspec.json.Encoder().encode


def flagembedding_lines(
    rows: Sequence[Row], corpus: Corpus, ranking: Ranking, selection: Selection, *, with_scores: bool = False
) -> Iterator[bytes]:
    """Yield one line of UTF-8 JSON for each row, newline included.

    Args:
        rows: the rows the corpus was built from.
        corpus, ranking, selection: what was mined for them.
        with_scores: write `pos_scores` and `neg_scores` (similarities of the mining model), replacing those of the row.
    """
    row_scores = (
        ranking.score_pairs(np.repeat(corpus.row_queries, np.diff(corpus.row_positive_starts)), corpus.row_positive_ids)
        if with_scores
        else None
    )
    for number, row in enumerate(rows):
        query = corpus.row_queries[number]
        ids = selection.negatives[query]
        count = int((ids >= 0).sum())
        fields: dict[str, bytes] = {key: bytes(raw) for key, raw in row.fields.items()}
        fields["neg"] = b"[" + b", ".join(_encode(corpus.passages[i]) for i in ids[:count].tolist()) + b"]"
        if row_scores is not None:
            part = row_scores[corpus.row_positive_starts[number] : corpus.row_positive_starts[number + 1]]
            fields["pos_scores"] = _numbers(part)
            fields["neg_scores"] = _numbers(selection.scores[query, :count])
        else:
            fields.pop("neg_scores", None)
        yield b"{" + b", ".join(_encode(key) + b": " + value for key, value in fields.items()) + b"}\n"


def _numbers(values: Iterable[np.float32]) -> bytes:
    # str() of a float32 is its shortest exact form: 0.6123457 rather than 0.6123456954956055.
    return ("[" + ", ".join(str(value) for value in values) + "]").encode()


def stale_scores(rows: Sequence[Row]) -> int:
    """Return how many rows carry `neg_scores` of negatives that mining replaces."""
    return sum("neg_scores" in row.fields for row in rows)


def write_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> int:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename. Returns the bytes written.

    Raises:
        OutputError: the folder is missing or cannot be written, or the disk is full. An old file stays as it was.
    """
    path = Path(os.path.realpath(path))  # a link stays a link, and what it points to is replaced
    # Threads of one process may write the same file at the same time: each its own temporary one, the last rename stands.
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    size = 0
    try:
        try:
            with temporary.open("wb") as file:
                for chunk in chunks:
                    size += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); what was there before is untouched") from error
    return size
