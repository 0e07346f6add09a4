"""Files for retrieval toolkits: Tevatron's JSON lines and a BEIR data set.

Both name their passages. A docid is the hash of the passage's folded text, the same in every export of every data set, so
files can be joined; a query keeps the id its rows have, where each has one of its own. One docid has one text: of several
spellings the smallest, which is told.

BEIR: `corpus.jsonl` holds every passage that was there to be mined, because the data set is there to search in it. The qrels
hold the positives alone. BEIR has no place for negatives: lines with score 0 would say that a person judged them, and readers
that do not look at the score would take them for relevant. They stand in `hard_negatives.jsonl`, laid out as the published
MS MARCO hard negatives are: {"qid", "pos": [docid], "neg": {system: [docid]}}.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import numpy as np

from hnmine.export.examples import Example, ExportPart, names, query_ids
from hnmine.export.scores import numbers

__all__ = ["beir", "tevatron"]

_encode = msgspec.json.Encoder().encode
# The earliest moment a zip can name: the time of writing would change the bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SYSTEM = "hnmine"


def tevatron(part: ExportPart) -> Iterator[bytes]:
    """Yield one line for each query: `query_id`, `query`, `positive_passages`, `negative_passages` ({docid, title, text}, and score)."""
    queries, docids = query_ids(part), names(part.corpus.passage_hashes)

    def passages(ids: list[int], scores: list[np.float32]) -> bytes:
        found = []
        for place, passage in enumerate(ids):
            text = _encode(part.corpus.passages[passage])
            score = f', "score": {scores[place]}' if scores else ""
            found.append(f'{{"docid": "{docids[passage]}", "title": "", "text": '.encode() + text + score.encode() + b"}")
        return b"[" + b", ".join(found) + b"]"

    for example in part.examples():
        _count(part, example)
        part.written += 1
        yield (
            b'{"query_id": '
            + _encode(queries[example.query])
            + b', "query": '
            + _encode(example.text)
            + b', "positive_passages": '
            + passages(example.positive_ids, example.positive_scores)
            + b', "negative_passages": '
            + passages(example.negative_ids, example.negative_scores)
            + b"}\n"
        )


def _count(part: ExportPart, example: Example) -> None:
    part.counted["without"] += not example.negatives
    spelled = part.corpus.passages
    part.counted["respelled"] += sum(
        spelled[passage] != text for passage, text in zip(example.positive_ids, example.positives, strict=True)
    )


def beir(part: ExportPart) -> Iterator[bytes]:
    """Yield a zip with corpus.jsonl, queries.jsonl, qrels/train.tsv, with a split qrels/dev.tsv, and hard_negatives.jsonl."""
    queries, docids = query_ids(part), names(part.corpus.passage_hashes)

    def corpus() -> Iterator[bytes]:
        for docid, text in zip(docids, part.corpus.passages, strict=True):
            yield f'{{"_id": "{docid}", "title": "", "text": '.encode() + _encode(text) + b"}\n"

    def questions() -> Iterator[bytes]:
        for example in part.examples():
            _count(part, example)
            part.written += 1
            yield b'{"_id": ' + _encode(queries[example.query]) + b', "text": ' + _encode(example.text) + b"}\n"

    def qrels(dev: bool) -> Iterator[bytes]:
        yield b"query-id\tcorpus-id\tscore\n"
        for example in part.examples():
            if (part.dev is not None and bool(part.dev[example.query])) == dev:
                for passage in example.positive_ids:
                    yield f"{queries[example.query]}\t{docids[passage]}\t1\n".encode()

    def negatives() -> Iterator[bytes]:
        for example in part.examples():
            fields = {
                "qid": _encode(queries[example.query]),
                "pos": _encode([docids[passage] for passage in example.positive_ids]),
                "neg": b'{"' + _SYSTEM.encode() + b'": ' + _encode([docids[passage] for passage in example.negative_ids]) + b"}",
            }
            if part.with_scores:
                fields["pos_scores"] = numbers(example.positive_scores)
                fields["neg_scores"] = b'{"' + _SYSTEM.encode() + b'": ' + numbers(example.negative_scores) + b"}"
            yield b"{" + b", ".join(b'"' + name.encode() + b'": ' + value for name, value in fields.items()) + b"}\n"

    files = {"corpus.jsonl": corpus(), "queries.jsonl": questions(), "qrels/train.tsv": qrels(False)}
    if part.dev is not None:
        files["qrels/dev.tsv"] = qrels(True)
    files["hard_negatives.jsonl"] = negatives()
    yield from zipped(files)


def zipped(files: Mapping[str, Iterable[bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a zip of files, which are compressed as they come; the same bytes at any time of the day."""
    sink = _Passing()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, chunks in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                for chunk in chunks:
                    file.write(chunk)
                    if sink.held >= 2**20:
                        yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Passing(io.RawIOBase):
    """Takes what a zip writes and gives it on; it cannot go back, so sizes stand behind each file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.held = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        self.held += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what came since the last time."""
        found = b"".join(self._parts)
        self._parts, self.held = [], 0
        return found
