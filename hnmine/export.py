"""Writing what was selected: FlagEmbedding's training JSONL, and files that are there whole or not at all.

Rows leave in their order with their fields as they came, byte for byte; `neg` is replaced, hardest first (trainers that
truncate keep the hardest), and stands at the end where a row had none. What people promoted to a positive is added at the
end of `pos`. Scores that came with a row belong to the passages that it came with: `neg_scores` is left out, and so is
`pos_scores` where `pos` grew, or both are written anew with `with_scores`, because a trainer would silently pair old
scores with new passages.

A row with 15 negatives takes some 15 µs, half of it waiting for the passages' memory. Keeping encoded passages for their next use
was no faster and took as much memory again. SHA-256 takes as long as all of that, so it is computed in a thread beside the writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.corpus import Corpus
from hnmine.errors import OutputError
from hnmine.jsonl import spelled
from hnmine.ranking import Ranking
from hnmine.rows import Row
from hnmine.select import Selection

__all__ = [
    "PairScores",
    "flagembedding_lines",
    "model_scores",
    "numbers",
    "promoted_rows",
    "stale_positive_scores",
    "stale_scores",
    "write_all",
    "write_atomic",
]

_encode = msgspec.json.Encoder().encode
# What a killed process was writing is of no use to anybody; after this many seconds it is removed with the next write.
_LEFT_OVER = 24 * 60 * 60
_BLOCK = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """The scores to write beside the passages, whoever gave them.

    Attributes:
        positives: float32, one for each entry of `Corpus.positive_ids`.
        negatives: (q, N) float32, one for each entry of `Selection.negatives`.
    """

    positives: npt.NDArray[np.float32]
    negatives: npt.NDArray[np.float32]

    def of_positives(self, corpus: Corpus, query: int, passages: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the scores of some of a query's positives, (p,)."""
        return np.asarray(self.positives[corpus.positive_starts[query] + np.searchsorted(corpus.positives(query), passages)])


def model_scores(ranking: Ranking, selection: Selection) -> PairScores:
    """Return the similarities of the mining model as scores to write."""
    return PairScores(ranking.positive_scores, selection.scores)


def flagembedding_lines(
    rows: Sequence[Row],
    corpus: Corpus,
    selection: Selection,
    *,
    scores: PairScores | None = None,
    queries: npt.NDArray[np.bool_] | None = None,
) -> Iterator[bytes]:
    """Yield one line of UTF-8 JSON for each row, newline included.

    Args:
        rows: the rows the corpus was built from.
        corpus, selection: what was mined for them.
        scores: written as `pos_scores` and `neg_scores`, replacing those of the row; None for none.
        queries: (q,) bool, those whose rows are wanted; None for all.
    """
    grown = promoted_rows(corpus)
    counts = (selection.negatives >= 0).sum(axis=1).tolist()
    passages = corpus.passages
    wanted = None if queries is None else queries.tolist()
    for number, (row, query) in enumerate(zip(rows, corpus.row_queries.tolist(), strict=True)):
        if wanted is not None and not wanted[query]:
            continue
        count = counts[query]
        ids = selection.negatives[query, :count].tolist()
        fields: dict[str, bytes | msgspec.Raw] = {**row.fields}
        fields["neg"] = b"[" + b", ".join(map(_encode, [passages[passage] for passage in ids])) + b"]"
        added = grown.get(number)
        if added is not None:
            fields["pos"] = _appended(bytes(fields["pos"]), [passages[passage] for passage in added.tolist()])
        if scores is not None:
            positives = corpus.row_positive_ids[corpus.row_positive_starts[number] : corpus.row_positive_starts[number + 1]]
            if added is not None:
                positives = np.concatenate([positives, added])
            fields["pos_scores"] = numbers(scores.of_positives(corpus, query, positives))
            fields["neg_scores"] = numbers(scores.negatives[query, :count])
        else:
            fields.pop("neg_scores", None)
            if added is not None:
                fields.pop("pos_scores", None)
        yield spelled(fields) + b"\n"


def _appended(array: bytes, texts: Sequence[str]) -> bytes:
    """Add texts to the end of a JSON array, whose other bytes stay."""
    body = array.rstrip()[:-1]
    inner = body.rstrip()
    added = b", ".join(map(_encode, texts))
    return inner + (b"" if inner.endswith(b"[") else b", ") + added + body[len(inner) :] + b"]"


def numbers(values: Iterable[np.float32]) -> bytes:
    """Return scores as a JSON array."""
    # str() of a float32 is its shortest exact form: 0.6123457 rather than 0.6123456954956055.
    return ("[" + ", ".join(str(value) for value in values) + "]").encode()


def promoted_rows(corpus: Corpus) -> dict[int, npt.NDArray[np.int32]]:
    """Return the rows whose `pos` grows, each with the promoted passages that it lacks, ascending."""
    if not len(corpus.promoted_ids):
        return {}
    found = {}
    for number in np.flatnonzero(np.diff(corpus.promoted_starts)[corpus.row_queries] > 0).tolist():
        own = corpus.row_positive_ids[corpus.row_positive_starts[number] : corpus.row_positive_starts[number + 1]]
        promoted = corpus.promoted(int(corpus.row_queries[number]))
        if len(added := promoted[~np.isin(promoted, own)]):
            found[number] = added
    return found


def stale_scores(rows: Sequence[Row]) -> int:
    """Return how many rows carry `neg_scores` of negatives that mining replaces."""
    return sum("neg_scores" in row.fields for row in rows)


def stale_positive_scores(rows: Sequence[Row], corpus: Corpus) -> int:
    """Return how many rows carry `pos_scores` and get promoted passages beside the positives these belong to."""
    return sum("pos_scores" in rows[number].fields for number in promoted_rows(corpus))


def write_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> int:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename. Returns the bytes written.

    Raises:
        OutputError: the folder is missing or cannot be written, or the disk is full. An old file stays as it was.
    """
    ((size, _),) = write_all([(path, chunks)])
    return size


def write_all(files: Sequence[tuple[str | os.PathLike[str], Iterable[bytes]]]) -> list[tuple[int, str]]:
    """Write files that belong together, all of them before the first takes its place; return the bytes and SHA-256 of each.

    Raises:
        OutputError: as `write_atomic`; what was there before stays, all of it.
    """
    found: list[tuple[int, str]] = []
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Path, Path]] = []
        for given, chunks in files:
            path = Path(os.path.realpath(given))  # a link stays a link, and what it points to is replaced
            _remove_left_overs(path)
            # Threads of one process may write the same file at the same time: each its own temporary one, the last rename stands.
            temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
            stack.callback(temporary.unlink, missing_ok=True)
            with _told(path):
                found.append(_write(temporary, chunks))
                if path.exists():
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            ready.append((temporary, path))
        for temporary, path in ready:
            with _told(path):
                os.replace(temporary, path)
    return found


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); what was there before is untouched") from error


def _write(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write and sync a file; the digest follows in a thread, one block behind."""
    size, digest = 0, hashlib.sha256()
    block: list[bytes] = []
    held = 0
    digested: Future[None] | None = None
    with path.open("wb", buffering=0) as file, ThreadPoolExecutor(1, "sha256") as beside:

        def put() -> None:
            nonlocal digested
            whole = b"".join(block)
            if digested is not None:
                digested.result()
            digested = beside.submit(digest.update, whole)
            view = memoryview(whole)
            while view:
                view = view[file.write(view) :]

        for chunk in chunks:
            block.append(chunk)
            held += len(chunk)
            if held >= _BLOCK:
                size += held
                put()
                block, held = [], 0
        size += held
        put()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


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
