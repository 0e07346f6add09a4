"""The formats of JSON lines: the rows of FlagEmbedding, and those of ms-swift."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.data.corpus import Corpus
from hnmine.data.formats.jsonl import spelled
from hnmine.data.rows import Row, array
from hnmine.export.examples import ExportPart
from hnmine.export.scores import PairScores, numbers
from hnmine.selection.select import Selection

__all__ = ["flagembedding_lines", "ms_swift", "promoted_rows", "stale_scores"]


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
        scores: written as `pos_scores` and `neg_scores`, replacing those of the row; None for none.
        queries: (q,) bool, the queries whose rows are written; None for all.
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
        fields["neg"] = array([passages[passage] for passage in ids])
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
            fields.pop("pos_scores", None)
            fields.pop("neg_scores", None)
        yield spelled(fields) + b"\n"


def _appended(array: bytes, texts: Sequence[str]) -> bytes:
    """Append texts to a JSON array without changing its other bytes."""
    body = array.rstrip()[:-1]
    inner = body.rstrip()
    added = b", ".join(map(_encode, texts))
    return inner + (b"" if inner.endswith(b"[") else b", ") + added + body[len(inner) :] + b"]"


def promoted_rows(corpus: Corpus) -> dict[int, npt.NDArray[np.int32]]:
    """Return the rows whose `pos` grows, each with the added passage ids, ascending."""
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
    """Return the number of rows with scores of passages that are replaced."""
    return sum("pos_scores" in row.fields or "neg_scores" in row.fields for row in rows)


_TAGS = re.compile("<(image|video|audio)>")


def ms_swift(part: ExportPart) -> Iterator[bytes]:
    """Yield one line for each positive: `messages`, `positive_messages` and `negative_messages`."""

    def chat(text: str) -> bytes:
        return b'[{"role": "user", "content": ' + _encode(text) + b"}]"

    for example in part.examples():
        part.counts["without"] += not example.negatives
        part.counts["tags"] += sum(_TAGS.search(text) is not None for text in (example.text, *example.positives, *example.negatives))
        head = b'{"messages": ' + chat(example.text) + b', "positive_messages": ['
        tail = b', "negative_messages": [' + b", ".join(map(chat, example.negatives)) + b"]}\n" if example.negatives else b"}\n"
        for positive in example.positives:
            part.written += 1
            yield head + chat(positive) + b"]" + tail
