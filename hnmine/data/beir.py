"""A BEIR data set (folder or zip) as training rows and their pool: corpus.jsonl, queries.jsonl and qrels/*.tsv.

Each query with a relevant passage (score above 0, or by `positive_labels`) becomes a row with its text, these passages, and its `id`;
other judged passages, and those of hard_negatives.jsonl, are its old negatives. The whole corpus is the pool. A passage is title and
text joined by a space, as in BEIR's own evaluation. The qrels are those of train, else dev, else test, unless a split is named.
The fingerprint of a folder is the hash of its parts' hashes, that of an archive the hash of its bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import msgspec

from hnmine.core.errors import InputError
from hnmine.data.columns import Columns
from hnmine.data.formats.detect import Role, Source, read_as
from hnmine.data.formats.jsonl import Reader
from hnmine.data.formats.lines import LineReader
from hnmine.data.formats.streams import Parts, parts_of
from hnmine.data.labels import is_positive
from hnmine.data.problems import REPAIRS, InputFile, Problem
from hnmine.data.rows import Row, array, joined, training_rows
from hnmine.data.texts import TextWriter

__all__ = ["BeirFolder", "beir_at"]

# Query id -> relevant passage id -> line in the qrels.
Judged = dict[str, dict[str, int]]
_PREFERRED = ("train", "dev", "validation", "test")
_ENDINGS = ("", ".gz", ".zst")
_QRELS = re.compile(r"qrels/[^/]+\.tsv")


def beir_at(path: str | os.PathLike[str], file: BinaryIO | None = None) -> BeirFolder | None:
    """Return the BEIR data set in a folder or zip archive, or None if there is none; other forms of qrels are read by `several`.

    `file` has the archive's bytes if `path` is only a name.

    Raises:
        InputError: the archive is damaged.
    """
    try:
        parts = parts_of(Path(path), file)
    except OSError:  # the reader of single files reports the reason
        return None
    if parts is None or _named(parts, "corpus.jsonl") is None or _named(parts, "queries.jsonl") is None:
        return None
    found = BeirFolder(Path(path), parts, file)
    return found if found.splits else None


def _named(parts: Parts, name: str) -> str | None:
    return next((name + ending for ending in _ENDINGS if name + ending in parts), None)


class BeirFolder:
    """The parts of one data set; `splits` are the names of its qrels, the default one first."""

    def __init__(self, path: Path, parts: Parts, file: BinaryIO | None) -> None:
        self.path = path
        self._parts = parts
        self._file = file
        self._qrels = {name.removeprefix("qrels/").removesuffix(".tsv"): name for name in parts if _QRELS.fullmatch(name)}
        if not self._qrels and "qrels.tsv" in parts:
            self._qrels = {"qrels": "qrels.tsv"}
        self.splits = tuple(sorted(self._qrels, key=lambda name: (name not in _PREFERRED, (*_PREFERRED, name).index(name), name)))

    def __str__(self) -> str:
        return str(Source(format="beir", names=self.splits))

    @property
    def members(self) -> tuple[str, ...]:
        """The names of its parts."""
        tables = (_named(self._parts, name) for name in ("corpus.jsonl", "queries.jsonl"))
        return (*filter(None, tables), *(self._qrels[split] for split in self.splits))

    def read(self, *, columns: Columns | None, repair: Iterable[str], skip_bad_rows: bool) -> tuple[InputFile[Row], InputFile[str]]:
        """Read the rows and the pool; arguments and errors as in `reading.read_training`, `columns.split` names the split.

        Raises:
            InputError: there are no qrels of that name, or a part cannot be read.
        """
        split = (columns.split if columns else None) or self.splits[0]
        if split not in self._qrels:
            there = ", ".join(f"`{name}`" for name in self.splits)
            raise InputError(f"{self.path}: there are no qrels named `{split}`; choose one of {there}")

        def reader_at(name: str, role: Role = "pool") -> Reader:
            reader = Reader(self.path / name, repair, skip_bad_rows, role=role, opener=self._parts[name], name=name)
            reader.open()
            return reader

        qrels_name = self._qrels[split]
        qrels = LineReader(self.path / qrels_name, repair, skip_bad_rows, opener=self._parts[qrels_name], name=qrels_name)
        with qrels.net():
            judged, irrelevant = _judged(qrels, columns.positive_labels if columns else None)
        hard = [reader_at("hard_negatives.jsonl", "training")] if "hard_negatives.jsonl" in self._parts else []
        for each in hard:
            _add_negatives(each, judged, irrelevant)
        wanted = {passage for sides in (judged, irrelevant) for passages in sides.values() for passage in passages}
        corpus = reader_at(str(_named(self._parts, "corpus.jsonl")))
        with corpus.net():
            pool, texts = _corpus(corpus, wanted)
        queries = reader_at(str(_named(self._parts, "queries.jsonl")))
        with queries.net():
            rows = _rows(queries, qrels, judged, irrelevant, texts)

        found_as = read_as(Source(format="beir", names=self.splits), None)
        found_as += f"; read: the queries in qrels/{split}, their relevant passages, and the corpus as the pool"
        size, digest = self._fingerprint([each.file([]) for each in (corpus, queries, qrels, *hard)])
        chosen = Columns(split=split)
        problems = [problem for each in (qrels, queries, *hard) for problem in each.problems]
        training = InputFile(str(self.path), rows, problems, queries.line, size, digest, found_as, False, self.splits, chosen)
        return training, InputFile(str(self.path), pool, corpus.problems, corpus.line, size, digest, found_as, False, self.splits, chosen)

    def _fingerprint(self, files: list[InputFile[str]]) -> tuple[int, str]:
        if self._file is None and self.path.is_dir():
            text = "".join(f"{Path(file.path).relative_to(self.path).as_posix()} {file.sha256}\n" for file in files)
            return sum(file.size for file in files), hashlib.sha256(text.encode()).hexdigest()
        with nullcontext(self._file) if self._file is not None else self.path.open("rb") as file:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            return file.tell(), digest


def _judged(reader: LineReader, positive: Sequence[str] | None) -> tuple[Judged, Judged]:
    """Return the relevant and the irrelevant passages of each query, in the order of the file, with their lines."""
    found: Judged = {}
    others: Judged = {}
    swapped = False  # the header may name the passage first
    for number, raw in enumerate(reader.lines()):
        cells = raw.decode("utf-8", "replace").split("\t")
        if len(cells) == 1:
            cells = raw.decode("utf-8", "replace").split()
        if number == 0 and re.match(r"(corpus|doc|passage|p)", cells[0].casefold()) and "id" in cells[0].casefold():
            swapped = True
        elif swapped and len(cells) == 3:
            cells[:2] = cells[1], cells[0]
        if len(cells) == 4:  # TREC format: query, iteration, passage, score
            del cells[1]
        try:
            query, passage, score = cells
            relevant = is_positive(score, positive) if positive else float(score) > 0
        except ValueError:
            if number == 0 and len(cells) == 3:  # the header
                continue
            message = "expected query-id, corpus-id and a number, separated by tabs"
            reader.admit([reader.problem("$", "bad-record", message, "correct the line, or skip it")])
            continue
        (found if relevant else others).setdefault(query, {}).setdefault(passage, reader.line)
    return found, others


def _add_negatives(reader: Reader, judged: Judged, negatives: Judged) -> None:
    """Add the negatives of each query in hard_negatives.jsonl, in the layout of the published ones of MS MARCO."""
    for row in training_rows(reader):
        if (known := judged.get(row.query)) is not None:
            negatives.setdefault(row.query, {}).update({each: row.line for each in row.neg if each not in known})


def _records(reader: Reader) -> Iterator[tuple[str, dict[str, msgspec.Raw], str | None]]:
    """Yield (id, fields, text) of each record with an id; the text is None if it has problems."""
    for fields, values, found in reader.objects(text="text", whole=True):
        if (not found or reader.admit(found)) and (identity := _id(fields, reader)) is not None:
            yield identity, fields, values.get("text")


def _id(fields: dict[str, msgspec.Raw], reader: Reader) -> str | None:
    raw = bytes(fields.get("_id", fields.get("id", msgspec.Raw(b""))))
    if raw[:1] in (b"", b"[", b"{", b"n"):
        reader.admit([reader.problem("$._id", "missing-field", "`_id` is missing", "add `_id`")])
        return None
    try:
        return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode()
    except msgspec.DecodeError as error:
        reader.admit([reader.problem("$._id", "not-json", f"not a valid string: {error}", "correct the escape in the text")])
        return None


def _twice(identity: str, reader: Reader) -> Problem:
    return reader.problem("$._id", "duplicate-id", f"the id {identity!r} occurs on an earlier line", REPAIRS["duplicate-id"])


def _corpus(reader: Reader, wanted: set[str]) -> tuple[Sequence[str], dict[str, str]]:
    """Return all passages, and a dict of those with the wanted ids."""
    pool = TextWriter()
    texts: dict[str, str] = {}
    seen: set[str] = set()
    for identity, fields, text in _records(reader):
        faults: list[Problem] = []
        title = msgspec.json.decode(fields["title"]) if bytes(fields.get("title", b""))[:1] == b'"' else None
        if text is None and "text" in fields:
            text = reader.text(fields["text"], "$.text", faults)
        whole = joined(title if isinstance(title, str) else None, text)
        if faults and all(each.kind == "empty-text" for each in faults):
            faults = []  # a title without a text is enough
        if not whole and not faults:
            faults = [reader.problem("$.text", "blank-passage", "`title` and `text` are blank", REPAIRS["blank-passage"])]
        if identity in seen:
            faults.append(_twice(identity, reader))
        if faults:
            reader.admit(faults)
            continue
        seen.add(identity)
        pool.append(whole)
        if identity in wanted:
            texts[identity] = whole
    return pool.texts(), texts


def _rows(reader: Reader, qrels: LineReader, judged: Judged, irrelevant: Judged, texts: dict[str, str]) -> list[Row]:
    """Return a row for each query with a relevant passage, in the order of the queries; report qrels of unknown ids."""
    rows: list[Row] = []
    known: set[str] = set()
    for identity, fields, text in _records(reader):
        if identity in known:
            reader.admit([_twice(identity, reader)])
            continue
        known.add(identity)
        if identity not in judged:
            continue
        query = text or ""
        if not query:
            faults: list[Problem] = []
            if "text" in fields:
                query = reader.text(fields["text"], "$.text", faults)
            else:
                faults.append(reader.problem("$.text", "missing-field", "`text` is missing", "add `text`"))
            if faults and not reader.admit(faults):
                continue
        pos = [texts[passage] for passage in judged[identity] if passage in texts]
        if pos:
            given = {"id": fields.get("_id", fields.get("id", msgspec.Raw(b"null")))}
            neg = [texts[passage] for passage in irrelevant.get(identity, ()) if passage in texts]
            named = {**given, "query": msgspec.Raw(msgspec.json.encode(query)), "pos": array(pos), **({"neg": array(neg)} if neg else {})}
            rows.append(Row(reader.line, query, pos, neg, named))
    last = qrels.line
    for query_id, passages in judged.items():
        for passage, line in passages.items():
            what, name = ("query", query_id) if query_id not in known else ("passage", passage)
            if what == "query" or name not in texts:
                qrels.line = line
                message = f"the {what} {name!r} of the qrels does not exist"
                qrels.admit([qrels.problem("$", "unknown-id", message, REPAIRS["unknown-id"])])
    qrels.line = last
    return rows
