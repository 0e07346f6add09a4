"""Files that keep a reader busy: each suspicious kind at n, 2n, 4n and 8n bytes. CPU time per byte must not grow.

A trial is one kind through one way in. It fails when 8 times the bytes take more than 8 x GROWTH times the CPU time, and more than LEAST
seconds: below that, what is measured is the machine.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hnmine.checks.check import check
from hnmine.checks.repair import repaired
from hnmine.core.errors import HnmineError
from hnmine.data.columns import Columns
from hnmine.data.dataset import gather, read_files
from hnmine.data.verdicts import read_verdicts
from hnmine.runs.manifest import read_manifest
from hnmine.runs.received import require_content
from hnmine.runs.uploads import first_rows, inspect_file, sample
from tests.campaign.campaign import Outcome
from tests.data.test_containers import workbook

GROWTH, LEAST = 2.5, 1.5
N = 2**18  # bytes of the smallest file
Make = Callable[[int], bytes]
GOOD = b'{"query": "how to water a rose", "pos": ["Water it often."], "neg": ["Cut it."]}\n'


def _lines(line: Callable[[int], str]) -> Make:
    def make(size: int) -> bytes:
        parts, length, number = [], 0, 0
        while length < size:
            parts.append(line(number).encode() + b"\n")
            length += len(parts[-1])
            number += 1
        return b"".join(parts)

    return make


def _repeated(before: bytes, unit: bytes, after: bytes = b"") -> Make:
    return lambda size: before + unit * (size // len(unit)) + after


def _row(**fields: object) -> str:
    return json.dumps({"query": "how to water a rose", "pos": ["Water it often."]} | fields)


def _parquet(size: int, columns: int) -> bytes:
    rows = max(1, size // (columns * 12))
    out = io.BytesIO()
    names = ["query", "pos", *(f"c{number}" for number in range(columns - 2))]
    pq.write_table(pa.table({name: [f"text {number}" for number in range(rows)] for name in names}), out)
    return out.getvalue()


def _zip(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(size // 512):
            archive.writestr(f"part-{number:05}.jsonl", GOOD)
    return out.getvalue()


KINDS: dict[str, tuple[str, Make]] = {
    "good lines": ("a.jsonl", _lines(lambda n: _row(id=n, query=f"question {n}"))),
    "repeated rows": ("a.jsonl", _repeated(b"", GOOD)),
    "bad lines": ("a.jsonl", _lines(lambda n: "{" if n % 2 else _row(query=f"q {n}"))),
    "bad texts": ("a.jsonl", _lines(lambda n: _row(query=f"q {n}", pos=["", 5, None, "x"]))),
    "nan": ("a.jsonl", _lines(lambda n: _row(query=f"q {n}", score=float("nan")))),
    "duplicate keys": ("a.jsonl", _lines(lambda n: _row(query=f"q {n}")[:-1] + ', "pos": ["a"]}')),
    "many fields": ("a.jsonl", _lines(lambda n: _row(**{f"f{n}_{k}": k for k in range(20)}))),
    "one row of many fields": ("a.jsonl", lambda size: _row(**{f"f{k}": k for k in range(size // 14)}).encode() + b"\n"),
    "one row of many passages": ("a.jsonl", lambda size: _row(neg=[f"passage {k}" for k in range(size // 17)]).encode() + b"\n"),
    "one row of many equal passages": ("a.jsonl", lambda size: _row(pos=["a"] * (size // 10), neg=["a"] * (size // 10)).encode() + b"\n"),
    "one row of blank passages": ("a.jsonl", lambda size: _row(neg=[""] * (size // 4)).encode() + b"\n"),
    "one row of wrong types": ("a.jsonl", lambda size: _row(neg=[5] * (size // 3)).encode() + b"\n"),
    "one row of nan": ("a.jsonl", lambda size: _row(neg=[float("nan")] * (size // 5)).encode() + b"\n"),
    "one row with duplicate keys": ("a.jsonl", lambda size: b'{"query": "q", "pos": ["a"]' + b', "x": 1' * (size // 8) + b"}\n"),
    "one row, many keys, one twice": ("a.jsonl",
    lambda size: (_row(**{f"f{k}": k for k in range(size // 14)})[:-1] + ', "f1": 0}').encode()),
    "backslashes": ("a.jsonl", _repeated(b'{"query": "q", "pos": ["', b"\\\\", b'"]}\n')),
    "half surrogates": ("a.jsonl", _repeated(b'{"query": "q", "pos": ["', b"\\ud83d", b'"]}\n')),
    "open brackets": ("a.jsonl", _repeated(b"", b"[")),
    "open braces": ("a.jsonl", _repeated(b"", b'{"a":')),
    "lines of open brackets": ("a.jsonl", _repeated(b"", b"[[[[[[[[\n")),
    "open quotes": ("a.jsonl", _repeated(b"", b'"')),
    "blank lines": ("a.jsonl", _repeated(GOOD, b"\n", GOOD)),
    "blanks": ("a.jsonl", _repeated(GOOD, b" ", GOOD)),
    "returns": ("a.jsonl", _repeated(b"", GOOD.replace(b"\n", b"\r"))),
    "one array": ("a.json", lambda size: b"[" + b", ".join([GOOD.strip()] * (size // len(GOOD))) + b"]"),
    "one array of lines": ("a.json", lambda size: b"[" + b",\n".join([GOOD.strip()] * (size // len(GOOD))) + b"]"),
    "array not closed": ("a.json", lambda size: b"[" + b",\n".join([GOOD.strip()] * (size // len(GOOD)))),
    "objects over lines": ("a.json", lambda size: (json.dumps(json.loads(GOOD), indent=1) + "\n").encode() * (size // 100)),
    "object of many lists": ("a.json", lambda size: json.dumps({f"l{k}": [{"a": 1}] for k in range(size // 22)}).encode()),
    "object of records": ("a.json", lambda size: json.dumps({f"id{k}": json.loads(GOOD) for k in range(size // 95)}).encode()),
    "object of columns": ("a.json", lambda size: json.dumps({"query": {str(k): f"q {k}" for k in range(size // 30)},
    "pos": {str(k): f"p {k}" for k in range(size // 30)}}).encode()),
    "object of many columns": ("a.json", lambda size: json.dumps({f"query{k}": {"0": "a b"} for k in range(size // 28)}).encode()),
    "comments": ("a.json", _repeated(b"{", b"/* a */ // b\n", b"}")),
    "slashes": ("a.json", _repeated(b"{", b"/*")),
    "hashes": ("a.json", _repeated(b"{\n", b" #")),
    "blanks in an object": ("a.json", _repeated(b"{", b" \n", b"}")),
    "commas": ("a.json", _repeated(b"[", b", ", b"]")),
    "python": ("a.json", _repeated(b"[", b"{'a': None}, ", b"]")),
    "csv": ("a.csv", _lines(lambda n: f"question {n},a positive {n}" if n else "query,positive")),
    "csv quotes": ("a.csv", _repeated(b"query,positive\n", b'"a","b ""c"""\n')),
    "csv open quote": ("a.csv", _repeated(b"query,positive\n", b'"a,b\n')),
    "csv one open quote": ("a.csv", _repeated(b'query,positive\na,"', b"b,c\n")),
    "csv only quotes": ("a.csv", _repeated(b"query,positive\n", b'"')),
    "csv quote and letter": ("a.csv", _repeated(b"query,positive\n", b'"a"b,c\n')),
    "csv delimiters": ("a.csv", _repeated(b"query,positive\n", b",")),
    "csv lines of delimiters": ("a.csv", _repeated(b"query,positive\n", b",,,,,,,,\n")),
    "csv many columns": ("a.csv",
    lambda size: b"query,positive," + b",".join(b"c%d" % k for k in range(size // 16)) + b"\n" + b"x," * (size // 16 + 1) + b"y\n"),
    "csv many short rows": ("a.csv", _repeated(b"query,positive\n", b"a\n")),
    "csv one column": ("a.csv", _repeated(b"", b"some words in a line\n")),
    "csv lists": ("a.csv", _lines(lambda n: f'question {n},"[""one {n}"", ""two""]"' if n else "query,pos")),
    "csv python lists": ("a.csv", _lines(lambda n: f"question {n},\"['one {n}' 'two']\"" if n else "query,pos")),
    "csv one long list": ("a.csv", lambda size: b"query,pos\nq,\"[" + b"'a' " * (size // 4) + b"]\"\n"),
    "csv one deep list": ("a.csv", lambda size: b"query,pos\nq,\"" + b"[" * (size // 2) + b"]" * (size // 2) + b'"\n'),
    "csv one broken list": ("a.csv", lambda size: b"query,pos\nq,\"['" + b"\\'" * (size // 2) + b"]\"\n"),
    "csv array cells": ("a.csv", lambda size: b"query,pos\nq,\"array([" + b"array( " * (size // 7) + b"'a'])\"\n"),
    "csv braces": ("a.csv", lambda size: b"query,pos\nq,\"[{" + b"} " * (size // 2) + b"}]\"\n"),
    "csv labels": ("a.csv", _lines(lambda n: f"question {n % 5},passage {n},{n}" if n else "query,passage,label")),
    "csv one query": ("a.csv", _lines(lambda n: f"question,passage {n},{n % 2}" if n else "query,passage,label")),
    "csv titles": ("a.csv", _repeated(b"", b"a title\n", b"query,positive\na,b\n")),
    "csv header again": ("a.csv", _repeated(b"", b"query,positive\n")),
    "csv sep": ("a.csv", _repeated(b"sep=;\n", b"sep=;\n")),
    "tsv": ("a.tsv", _lines(lambda n: f"question {n}\ta positive {n}")),
    "tsv quotes": ("a.tsv", _repeated(b"query\tpositive\n", b'"\t')),
    "tsv one quoted": ("a.tsv", _repeated(b'query\tpositive\na\t"', b'""')),
    "apostrophes": ("a.csv", _repeated(b"query,positive\n", b"'a','b'\n")),
    "apostrophe line": ("a.csv", _repeated(b"query,positive\n'", b"','", b"'\n")),
    "markdown": ("a.md", _repeated(b"| query | positive |\n|---|---|\n", b"| a b | c d |\n")),
    "markdown dashes": ("a.md", _repeated(b"a|b\n", b"-|", b"-\n")),
    "markdown blanks": ("a.md", _repeated(b"a|b\n|", b" ", b"-|\n")),
    "dashes": ("a.md", _repeated(b"a|b\n", b"-")),
    "trec": ("a.txt", _lines(lambda n: f"q{n} 0 d{n} 1")),
    "text": ("pool.txt", _repeated(b"", b"some words in a line\n")),
    "one line of text": ("pool.txt", _repeated(b"", b"word ")),
    "html": ("a.html", _repeated(b"", b"<!-- ")),
    "not utf-8": ("a.csv", _repeated(b"query,positive\n", b"\xe4\xf6 a,b\xfc\n")),
    "one line not utf-8": ("a.csv", _repeated(b"query,positive\n", b"\xe4")),
    "invalid utf-8": ("a.jsonl", _repeated(b"", GOOD.replace(b"rose", b"r\xffse"))),
    "zeros": ("a.jsonl", _repeated(b"", b"\0")),
    "utf-16": ("a.jsonl", lambda size: (GOOD.decode() * (size // len(GOOD) // 2)).encode("utf-16")),
    "parquet": ("a.parquet", lambda size: _parquet(size, 2)),
    "parquet many columns": ("a.parquet", lambda size: _parquet(size // 8, max(3, size // 8 // 24))),
    "excel": ("a.xlsx", lambda size: workbook([("query", "positive"), *((f"q {k}", f"p {k}") for k in range(size // 64))])),
    "gzip": ("a.jsonl.gz", lambda size: gzip.compress(random.Random(0).randbytes(size // 2).hex().encode() + b"\n" + GOOD)),
    "gzip of many members": ("a.jsonl.gz", _repeated(b"", gzip.compress(GOOD))),
    "gzip with padding": ("a.jsonl.gz", _repeated(gzip.compress(GOOD), b"\0", gzip.compress(GOOD))),
    "zip of many files": ("a.zip", _zip),
    "ids": ("a.jsonl", _lines(lambda n: json.dumps({"query_id": f"q{n}", "positive_ids": [f"d{n}", f"d{n + 1}"]}))),
    "chats": ("a.jsonl", _lines(lambda n: json.dumps({"messages": [{"role": "user", "content": f"a question {n}"},
    {"role": "assistant", "content": "an answer"}]}))),
    "one long chat": ("a.jsonl", lambda size: json.dumps({"messages": [{"role": "user", "content": "a"}] * (size // 34)}).encode()),
    "squad": ("a.json", lambda size: json.dumps({"data": [{"paragraphs": [{"context": f"some text {k}",
    "qas": [{"question": f"what is {k}", "answers": [{"text": "x"}]}]} for k in range(size // 130)]}]}).encode()),
    "titled passages": ("a.jsonl", _lines(lambda n: _row(query=f"q {n}", pos=[{"title": "t", "text": f"some text {n}"}]))),
    "long common prefixes": ("a.jsonl", _lines(lambda n: _row(query="same " * 200 + str(n), pos=["same " * 200 + f"p{n}"]))),
    "accents": ("a.jsonl", lambda size: (_row(pos=["a" + "\u0300\u0316" * (size // 4)])[:-1] + "}").encode()),
    "plain accents": ("a.jsonl", lambda size: json.dumps({"query": "q", "pos": ["a" + "\u0300\u0316" * (size // 8)]},
    ensure_ascii=False).encode()),
}  # fmt: skip


def _rows(path: Path) -> None:
    gather(read_files(path, repair="all", skip_bad_rows=True))


def _strictly(path: Path) -> None:
    gather(read_files(path))


def _pool(path: Path) -> None:
    good = path.with_name("good.jsonl")
    good.write_bytes(GOOD)
    gather(read_files(good, path, skip_bad_rows=True))


def _checked(path: Path) -> None:
    str(check(path))
    for _ in repaired(path, "all"):
        pass


def _screen(path: Path) -> None:
    for act in (lambda: inspect_file(path, path.name), lambda: require_content(path, path.name), lambda: sample(path, "training"),
                lambda: first_rows(path, Columns(), 5), lambda: require_content(path, path.name, "pool")):  # fmt: skip
        with contextlib.suppress(HnmineError):
            act()


def _others(path: Path) -> None:
    for read in (read_verdicts, read_manifest):
        with contextlib.suppress(HnmineError):
            read(path)


WAYS: dict[str, Callable[[Path], None]] = {
    "rows": _rows, "strictly": _strictly, "pool": _pool, "check": _checked, "screen": _screen, "verdicts and manifest": _others,
}  # fmt: skip
SIZE = len(KINDS) * len(WAYS)


def seconds(kind: str, way: str, size: int) -> float:
    """Return the CPU seconds of one reading."""
    name, make = KINDS[kind]
    with tempfile.TemporaryDirectory(prefix="hnmine-slopes-") as folder:
        path = Path(folder) / name
        path.write_bytes(make(size))
        began = time.process_time()
        with contextlib.suppress(HnmineError):
            WAYS[way](path)
        return time.process_time() - began


def run(size: int, seed: int) -> Outcome:
    """Measure `size` pairs of a kind and a way in, in an order by seed."""
    outcome = Outcome(name="slopes")
    pairs = [(kind, way) for kind in KINDS for way in WAYS]
    random.Random(seed).shuffle(pairs)
    worst = (0.0, "")
    for kind, way in pairs[:size]:
        times = [seconds(kind, way, N * factor) for factor in (1, 8)]
        if times[1] > LEAST and times[1] > 8 * GROWTH * times[0]:
            times = [min(before, seconds(kind, way, N * factor)) for before, factor in zip(times, (1, 8), strict=True)]  # once more
            if times[1] > LEAST and times[1] > 8 * GROWTH * times[0]:
                shown = ", ".join(f"{each:.2f} s" for each in times)
                outcome.failed.append(f"{kind!r} by {way}: {N * 1:,} and {N * 8:,} bytes take {shown}")
        worst = max(worst, (times[1] / (N * 8 / 2**20), f"{kind} by {way}"))
        outcome.tried += 1
    outcome.figures = f"slowest {worst[0]:.2f} s of CPU time a MiB: {worst[1]}"
    return outcome
