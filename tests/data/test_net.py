"""Whatever fails inside a reader is an InputError that names the file; what says nothing about the file passes."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hnmine.checks.check import check
from hnmine.checks.repair import repaired
from hnmine.core.errors import Cancelled, HnmineError, InputError
from hnmine.data import rows
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_files
from hnmine.data.formats.jsonl import Reader
from hnmine.data.verdicts import read_verdicts
from hnmine.runs.received import divided, require_content
from hnmine.runs.uploads import first_rows, inspect_file, sample
from tests.data.test_containers import arrow, workbook
from tests.data.test_shapes import TRIPLES, delimited, write

RECORDS = [{"query": query, "pos": [pos], "neg": [neg]} for query, pos, neg in TRIPLES]
FLAT = [{"question": query, "positive": pos, "negative": neg} for query, pos, neg in TRIPLES]


def _file(path: Path) -> Path:
    """Write the file that a name says."""
    name = path.name
    lines = "".join(json.dumps(each) + "\n" for each in RECORDS).encode()
    if name.startswith("beir"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "corpus.jsonl", "".join(json.dumps({"_id": f"d{n}", "text": pos}) + "\n" for n, (_, pos, _) in enumerate(TRIPLES))
            )
            archive.writestr(
                "queries.jsonl", "".join(json.dumps({"_id": f"q{n}", "text": q}) + "\n" for n, (q, _, _) in enumerate(TRIPLES))
            )
            archive.writestr("qrels/train.tsv", "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(10)))
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(FLAT), path)
    elif name.endswith(".arrow"):
        path.write_bytes(arrow(pa.Table.from_pylist(FLAT), "file"))
    elif name.endswith(".xlsx"):
        path.write_bytes(workbook([tuple(FLAT[0]), *(tuple(each.values()) for each in FLAT)]))
    elif name.endswith(".csv"):
        path.write_text(delimited(FLAT, ","))
    elif name.endswith(".json"):
        path.write_text(json.dumps({"data": RECORDS}))
    elif name.startswith("chats"):
        write(path, [{"prompt": query, "chosen": pos, "rejected": neg} for query, pos, neg in TRIPLES])
    elif name.startswith("turned"):
        path.write_text(json.dumps({name: {str(n): each[name] for n, each in enumerate(FLAT)} for name in FLAT[0]}))
    else:
        path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return path


NAMES = ("a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet", "a.arrow", "a.xlsx", "beir.zip", "chats.jsonl", "turned.txt")
WAYS: dict[str, Callable[[Path], Any]] = {
    "rows": read_files,
    "several": lambda path: read_files([path, path.with_name("good.jsonl")]),
    "check": lambda path: (str(check(path)), list(repaired(path, "all"))),
    "screen": lambda path: [
        inspect_file(path, path.name),
        require_content(path, path.name),
        sample(path, "training"),
        first_rows(path, Columns(), 3),
    ],
}


class _Odd(Exception):
    """An exception that no reader expects."""


@contextlib.contextmanager
def failing(at: int) -> Iterator[list[int]]:
    """Raise in the function of hnmine.data that is called as number `at`; count the calls."""
    calls = [0]

    def watch(frame: FrameType, event: str, _arg: Any) -> None:
        name = frame.f_code.co_filename
        inside = frame.f_back is not None and "/hnmine/data/" in frame.f_back.f_code.co_filename
        if (
            event == "call"
            and inside
            and "/hnmine/data/" in name
            and not name.endswith(("net.py", "problems.py"))
            and frame.f_code.co_name != "__init__"
        ):
            calls[0] += 1
            if calls[0] == at:
                raise _Odd("what is this")

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield calls
    finally:
        sys.settrace(before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised where a generator is closed, and dropped
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_an_exception_at_any_step_of_a_reader_is_an_input_error_with_the_file(tmp_path, name, way):
    path = _file(tmp_path / name)
    write(tmp_path / "good.jsonl", RECORDS)
    act = WAYS[way]
    if name == "beir.zip" and way in ("several", "check"):
        pytest.skip("a data set is no file")
    with failing(0) as calls, contextlib.suppress(HnmineError):
        act(path)
    assert calls[0] > 30
    first = 12 if way == "check" else 1  # the first calls make the reader there, and open no file
    for at in [first, *random.Random(name + way).sample(range(first + 1, calls[0]), 10)]:
        with failing(at), contextlib.suppress(HnmineError):
            try:
                act(path)
            except InputError as error:
                assert "a." in str(error) or path.name in str(error) or "good.jsonl" in str(error)
                raise


@pytest.mark.parametrize("passing", [KeyboardInterrupt, MemoryError, Cancelled("stopped on request")])
@pytest.mark.parametrize("name", NAMES[:7])
def test_an_interrupt_a_cancel_and_a_lack_of_memory_pass(tmp_path, monkeypatch, name, passing):
    def stop(*_: Any, **__: Any) -> None:
        raise passing

    path = _file(tmp_path / name)
    monkeypatch.setattr(rows, "Row", stop)
    with pytest.raises(passing if isinstance(passing, type) else type(passing)):
        read_files(path)


def test_what_a_line_fails_by_is_a_problem_of_that_line(tmp_path, monkeypatch):
    plain = Reader.text

    def text(self: Reader, raw: Any, path: str, found: Any) -> str:
        if self.line == 3:
            raise _Odd("what is this\nsecond line")
        return plain(self, raw, path, found)

    monkeypatch.setattr(Reader, "text", text)
    path = _file(tmp_path / "a.csv")
    read = read_files(path, skip_bad_rows=True)
    assert len(read.training.items) == 9
    (problem,) = read.problems
    assert (problem.line, problem.kind, problem.resolution) == (3, "bad-record", "skipped")
    assert "_Odd: what is this)" in problem.message


@pytest.mark.parametrize(
    "cell", ['"[""\\ud83d""]"', "[" * 3_000, '"[' + "-" * 5_000 + '1]"', '"{""text"": ""\\udc00""}"', "'" * 1_000], ids=range(5)
)
def test_a_cell_that_no_parser_takes_is_read_or_reported(tmp_path, cell):
    path = tmp_path / "a.csv"
    path.write_text("question,positive\n" + "".join(f"question {n},{cell}\n" for n in range(3)))
    for act in WAYS.values():
        with contextlib.suppress(HnmineError):
            write(tmp_path / "good.jsonl", FLAT)
            act(path)


@pytest.mark.parametrize("odd", ["[" * 100_000, '{"a":' * 100_000, "9" * 6_000, "1e999", '"\\ud83d"', '{"text": "\\ud83d"}'], ids=range(6))
@pytest.mark.parametrize("field", ["pos", "id", "title", "messages"])
def test_a_value_that_no_parser_takes_costs_its_line_alone(tmp_path, odd, field):
    path = tmp_path / "a.jsonl"
    lines = [
        json.dumps(each)[:-1] + f', "{field}": {odd}' + "}\n" if place == 4 else json.dumps(each) + "\n"
        for place, each in enumerate(RECORDS)
    ]
    path.write_text("".join(lines))
    read = read_files(path, skip_bad_rows=True)
    assert len(read.training.items) >= 9
    assert {problem.line for problem in read.problems} <= {5}
    assert len(sample(path, "training")) >= 9
    assert len(first_rows(path, Columns(), 20)) >= 9
    with path.open("rb") as file, (tmp_path / "a.jsonl").open("rb") as other, contextlib.suppress(InputError):
        divided({"a.jsonl": file, "b.jsonl": other})


@pytest.mark.parametrize("grade", ["1e400", "9" * 5_000, "nan", "x", "", "-1e400"], ids=range(6))
@pytest.mark.parametrize("identity", [10**400, 1e308 * 10, "\ud83d", None, [1]], ids=range(5))
def test_grades_and_ids_of_beir_that_are_out_of_range_are_read_or_reported(tmp_path, grade, identity):
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": f"d{n}", "text": pos} for n, (_, pos, _) in enumerate(TRIPLES)]
    corpus[2]["_id"] = identity
    write(tmp_path / "corpus.jsonl", corpus[:2])
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in corpus))
    write(tmp_path / "queries.jsonl", [{"_id": f"q{n}", "text": query} for n, (query, _, _) in enumerate(TRIPLES)])
    (tmp_path / "qrels" / "train.tsv").write_text("".join(f"q{n}\td{n}\t{grade if n == 5 else 1}\n" for n in range(10)))
    read = read_files(tmp_path, skip_bad_rows=True)
    assert len(read.training.items) >= 8


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"query": ' * 100_000,
        "5",
        '{"query": 5}',
        '{"query": "a", "passage": "b", "verdict": "\u202e' + "x" * 9_000 + '"}',
        "\ufffe",
    ],
    ids=range(6),
)
def test_a_verdict_of_any_other_form_is_refused_with_its_line_in_a_short_message(tmp_path, line):
    path = tmp_path / "verdicts.jsonl"
    path.write_text('{"query": "a", "passage": "b", "verdict": "relevant"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"verdicts\.jsonl:2 is not a valid verdict") as refusal:
        read_verdicts(path)
    assert len(str(refusal.value)) < 1_000
    assert "\u202e" not in str(refusal.value)
