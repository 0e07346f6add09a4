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

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.data.jsonl import spelled
from hnmine.data.rows import Row
from hnmine.export.scores import PairScores, numbers
from hnmine.selection.select import Selection

__all__ = ["flagembedding_lines", "promoted_rows", "stale_positive_scores", "stale_scores"]

_encode = msgspec.json.Encoder().encode


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
