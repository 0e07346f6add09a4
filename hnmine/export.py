"""Writing what was selected: FlagEmbedding's training JSONL, atomically.

Rows leave in their order with their fields as they came, byte for byte; `neg` is replaced, hardest first (trainers that
truncate keep the hardest), and stands at the end where a row had none. `neg_scores` belonged to the negatives that were
replaced: it is left out, or written anew with `with_scores`, because a trainer would silently pair old scores with new
passages.

A row with 15 negatives takes some 15 µs, half of it waiting for the passages' memory. Keeping encoded passages for their next use
was no faster and took as much memory again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hnmine.corpus import Corpus
from hnmine.errors import OutputError
from hnmine.jsonl import spelled
from hnmine.ranking import Ranking
from hnmine.rows import Row
from hnmine.select import Selection

__all__ = ["flagembedding_lines", "stale_scores", "write_atomic"]

_encode = msgspec.json.Encoder().encode
# What a killed process was writing is of no use to anybody; after this many seconds it is removed with the next write.
_LEFT_OVER = 24 * 60 * 60


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
    counts = (selection.negatives >= 0).sum(axis=1).tolist()
    passages = corpus.passages
    for number, (row, query) in enumerate(zip(rows, corpus.row_queries.tolist(), strict=True)):
        count = counts[query]
        ids = selection.negatives[query, :count].tolist()
        fields: dict[str, bytes | msgspec.Raw] = {**row.fields}
        fields["neg"] = b"[" + b", ".join(map(_encode, [passages[passage] for passage in ids])) + b"]"
        if row_scores is not None:
            part = row_scores[corpus.row_positive_starts[number] : corpus.row_positive_starts[number + 1]]
            fields["pos_scores"] = _numbers(part)
            fields["neg_scores"] = _numbers(selection.scores[query, :count])
        else:
            fields.pop("neg_scores", None)
        yield spelled(fields) + b"\n"


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
    _remove_left_overs(path)
    # Threads of one process may write the same file at the same time: each its own temporary one, the last rename stands.
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    size = 0
    try:
        try:
            with temporary.open("wb", buffering=2**20) as file:
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


def _remove_left_overs(path: Path) -> None:
    """Remove the temporary files of `path` whose process was killed, if they are older than a day."""
    pattern = re.compile(re.escape(f".{path.name[:200]}.") + r"(\d+)-[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):
        for each in path.parent.iterdir():
            if (match := pattern.fullmatch(each.name)) and time.time() - each.stat().st_mtime > _LEFT_OVER and not _runs(int(match[1])):
                each.unlink()


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, asking would end it: what is a day old has to do
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, and belongs to somebody else
        pass
    return True
