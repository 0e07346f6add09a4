"""Files for retrieval toolkits (Tevatron, DPR, a BEIR data set) and delimited text (MS MARCO triples, CSV).

A docid is the hash of the normalised text; a query keeps its row's id if all have one. A docid has one text, the smallest original. MS
MARCO
triples are unquoted, so tabs and line breaks become spaces. CSV cells that begin like a formula get an apostrophe, as OWASP advises:
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import numpy as np

from hnmine.export.examples import Example, ExportPart, Names, query_ids
from hnmine.export.scores import numbers

__all__ = ["Buffer", "beir", "dpr", "is_formula", "msmarco", "spreadsheet", "tevatron", "zipped"]

_encode = msgspec.json.Encoder().encode
# A constant time (the earliest in a zip), so that the bytes do not depend on the time of writing.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SYSTEM = "hnmine"


def tevatron(part: ExportPart) -> Iterator[bytes]:
    """Yield one line for each query: `query_id`, `query`, `positive_passages`, `negative_passages` (docid, title, text, score)."""
    queries, docids = query_ids(part), Names(part.corpus.passage_hashes)

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


def dpr(part: ExportPart) -> Iterator[bytes]:
    """Yield a JSON array with an object for each query, one a line; DPR reads every list and the title of every passage."""

    def passages(texts: list[str]) -> bytes:
        return b"[" + b", ".join(b'{"title": "", "text": ' + _encode(text) + b"}" for text in texts) + b"]"

    yield b"["
    for example in part.examples():
        part.counts["without"] += not example.negatives
        yield (
            (b",\n" if part.written else b"\n")
            + b'{"question": '
            + _encode(example.text)
            + b', "answers": [], "positive_ctxs": '
            + passages(example.positives)
            + b', "negative_ctxs": [], "hard_negative_ctxs": '
            + passages(example.negatives)
            + b"}"
        )
        part.written += 1
    yield b"\n]\n"


def _count(part: ExportPart, example: Example) -> None:
    part.counts["without"] += not example.negatives
    spelled = part.corpus.passages
    part.counts["respelled"] += sum(spelled[passage] != text for passage, text in zip(example.positive_ids, example.positives, strict=True))


def beir(part: ExportPart) -> Iterator[bytes]:
    """Yield a zip with corpus.jsonl, queries.jsonl, qrels/train.tsv, with a split qrels/dev.tsv, and hard_negatives.jsonl."""
    queries, docids = query_ids(part), Names(part.corpus.passage_hashes)

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
    """Yield the bytes of a zip archive, compressed as the files are read; the bytes do not depend on the time."""
    sink = Buffer()
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


class Buffer(io.RawIOBase):
    """A write-only buffer whose bytes are taken while it grows; it cannot seek, so a zip archive has sizes behind each file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.held = self._before = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        self.held += len(part)
        return len(part)

    def tell(self) -> int:
        return self._before + self.held

    def taken(self) -> bytes:
        """Return the bytes written since the last call."""
        found = b"".join(self._parts)
        self._before, self._parts, self.held = self.tell(), [], 0
        return found


# The tab, and every character that a reader may treat as a line end.
_BREAKS = re.compile("\r\n|[\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Full-width signs count in East Asian locales; some programs skip leading spaces.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")
# Excel truncates longer cells, and reads no more rows.
CELL_LIMIT, ROW_LIMIT = 32_767, 1_048_576


def msmarco(part: ExportPart) -> Iterator[bytes]:
    """Yield `query <tab> positive <tab> negative`, one line for each triple, without a header and without quotes."""

    def flat(text: str) -> str:
        if text.isprintable():  # the common case; no line break is printable
            return text
        found, changed = _BREAKS.subn(" ", text)
        part.counts["flattened"] += bool(changed)
        return found

    for example in part.examples():
        part.counts["without"] += not example.negatives
        if not example.negatives:
            continue
        query = flat(example.text)
        negatives = [flat(text) for text in example.negatives]
        for positive in [flat(text) for text in example.positives]:
            part.written += len(negatives)
            yield "".join(f"{query}\t{positive}\t{negative}\n" for negative in negatives).encode()


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet program may run a cell as a formula."""
    return _FORMULA.match(text) is not None


def spreadsheet(part: ExportPart) -> Iterator[bytes]:
    """Yield a CSV with a line for each pair: query_id, query, label, place, optional score, passage_id, passage.

    The encoding is UTF-8 with a byte order mark, which Excel needs, and CRLF.
    """
    queries, docids = query_ids(part), Names(part.corpus.passage_hashes)

    def cell(text: str) -> str:
        part.counts["too long"] += len(text) > CELL_LIMIT
        if is_formula(text):
            part.counts["prefixed"] += 1
            text = f"'{text}"
        return '"' + text.replace('"', '""') + '"'

    yield f"\ufeffquery_id,query,label,place,{'score,' if part.with_scores else ''}passage_id,passage\r\n".encode()
    for example in part.examples():
        start = f"{cell(queries[example.query])},{cell(example.text)}"
        lines: list[str] = []
        for label, texts, ids, scores in (
            ("positive", example.positives, example.positive_ids, example.positive_scores),
            ("negative", example.negatives, example.negative_ids, example.negative_scores),
        ):
            for place, (text, passage) in enumerate(zip(texts, ids, strict=True)):
                score = f"{scores[place]}," if part.with_scores else ""
                lines.append(f"{start},{label},{place + 1},{score}{docids[passage]},{cell(text)}\r\n")
        part.written += len(lines)
        yield "".join(lines).encode()
    if part.written >= ROW_LIMIT:
        part.counts["too many"] = part.written
