"""Detection and reading of every format, and errors of damaged files."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import ColumnsError, InputError
from hnmine.data.beir import beir_at
from hnmine.data.columns import Columns
from hnmine.data.dataset import read_inputs
from hnmine.data.formats import lines
from hnmine.data.reading import read_pool, read_training
from hnmine.runs.find_knn_neg import find_knn_neg
from hnmine.runs.uploads import inspect_file

ROWS = [
    {"id": n, "query": f'what is number {n}, or "{n}"?', "pos": [f"It is the\nnumber {n}; é"], "neg": [f"not {n}, no"]} for n in range(12)
]
POOL = [f"passage {number}, of the pool; 日本" for number in range(30)]


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


def jsonl(items: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()


def table(items: list[dict[str, object]], delimiter: str = ",", end: str = "\r\n") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(items[0])
    writer.writerows([each[0] if isinstance(each, list) else each for each in item.values()] for item in items)
    return out.getvalue().encode()


def parquet(items: list[dict[str, object]], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(items), out, **options)
    return out.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


TRAINING = {
    "rows.jsonl": jsonl(ROWS),
    "rows.gz": gzip.compress(jsonl(ROWS)),
    "two.members.gz": gzip.compress(jsonl(ROWS[:5])) + gzip.compress(jsonl(ROWS[5:])),
    "rows.zst": zstd(jsonl(ROWS)),
    "two.frames.zst": zstd(jsonl(ROWS[:5])) + zstd(jsonl(ROWS[5:])),
    "rows.json": json.dumps(ROWS, indent=2).encode(),
    "rows.csv": table(ROWS),
    "unix.csv": table(ROWS, end="\n"),
    "excel.csv": b"\xef\xbb\xbf" + table(ROWS, ";"),
    "rows.tsv": table(ROWS, "\t"),
    "rows.csv.gz": gzip.compress(table(ROWS)),
    "rows.parquet": parquet(ROWS),
    "groups.parquet": parquet(ROWS, row_group_size=5, compression="zstd"),
    "strings.parquet": parquet([{**row, "pos": row["pos"][0], "neg": row["neg"][0]} for row in ROWS]),
    "triplets.jsonl": jsonl(
        [{"id": row["id"], "anchor": row["query"], "positive": row["pos"][0], "negative": row["neg"][0]} for row in ROWS]
    ),
    "rows.zip": archive({"data/rows.csv": table(ROWS), "__MACOSX/data/._rows.csv": b"x"}),
    "no suffix": parquet(ROWS),
}  # fmt: skip
POOLS = {
    "pool.jsonl": jsonl([{"_id": str(place), "text": text} for place, text in enumerate(POOL)]),
    "pool.txt": "".join(f"{text}\n" for text in POOL).encode(),
    "pool": "\n".join(POOL).encode(),
    "pool.txt.gz": gzip.compress("".join(f"{text}\n" for text in POOL).encode()),
    "pool.csv": table([{"id": place, "passage": text} for place, text in enumerate(POOL)]),
    "collection.tsv": "".join(f"{place}\t{text}\n" for place, text in enumerate(POOL)).encode(),
    "pool.parquet": parquet([{"contents": text} for text in POOL]),
    "one.parquet": parquet([{"x": text} for text in POOL]),
    "pool.json": json.dumps([{"text": text} for text in POOL]).encode(),
}


def written(tmp_path: Path, data: bytes | str, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("name", TRAINING)
def test_the_same_rows_come_of_every_format(tmp_path, name):
    file = read_training(written(tmp_path, TRAINING[name], name))
    assert [(row.query, row.pos, row.neg) for row in file.items] == [(row["query"], row["pos"], row["neg"]) for row in ROWS]
    assert not [problem for problem in file.problems if problem.severity == "error"]
    for row, wanted in zip(file.items, ROWS, strict=True):
        fields = {key: json.loads(bytes(value)) for key, value in row.fields.items()}
        cell = str if "csv" in name or name.endswith((".tsv", ".zip")) else int
        assert fields == {**wanted, "id": cell(wanted["id"])}
        assert list(fields) == ["id", "query", "pos", "neg"]
    assert (file.size, file.sha256) == (len(TRAINING[name]), hashlib.sha256(TRAINING[name]).hexdigest())
    assert file.plain == (name.endswith((".jsonl", ".gz", ".zst")) and name not in ("triplets.jsonl", "rows.csv.gz"))


@pytest.mark.parametrize("name", POOLS)
def test_the_same_pool_comes_of_every_format(tmp_path, name):
    file = read_pool(written(tmp_path, POOLS[name], name))
    assert file.items == POOL
    assert not file.open_problems


def test_the_same_output_is_mined_from_every_format(tmp_path, fake_encoder):
    outputs = set()
    for name, data in TRAINING.items():
        out = tmp_path / "out.jsonl"
        summary = find_knn_neg(
            fake_encoder, written(tmp_path, data, name), written(tmp_path, POOLS["pool.txt"], "p"), out, "0-20", 5, columns=Columns()
        )
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        outputs.add(json.dumps([{**row, "id": int(row["id"])} for row in rows]))
        expected = [note for note in summary.notes if note.startswith(f"{name}: ")]
        assert bool(expected) == (name not in ("rows.jsonl", "rows.gz", "two.members.gz", "rows.zst", "two.frames.zst")), name
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rows.csv", "CSV, 4 columns: id, query, pos, neg; read as query = query, pos = pos, neg = neg"),
        ("excel.csv", "CSV with semicolons, 4 columns: id, query, pos, neg; read as query = query, pos = pos, neg = neg"),
        ("rows.csv.gz", "CSV, compressed with gzip, 4 columns: id, query, pos, neg; read as query = query, pos = pos, neg = neg"),
        ("triplets.jsonl", "JSON lines, 4 fields: id, anchor, positive, negative; read as query = anchor, pos = positive, neg = negative"),
        ("rows.zst", "JSON lines, compressed with Zstandard, 4 fields: id, query, pos, neg; read as query = query, pos = pos, neg = neg"),
    ],
)
def test_what_a_file_is_and_how_it_is_read_is_described(tmp_path, name, expected):
    assert read_training(written(tmp_path, TRAINING[name], name)).read_as == expected


# Told by content


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        ("one passage, with a comma\nanother, with one\nand, a third\n", "pool", "Plain text"),
        ("one passage, with a comma\nanother, with one\n", "pool.txt", "Plain text"),
        ("text,id\none,1\ntwo,2\n", "pool.dat", "CSV, 2 columns: text, id"),
        ("a,b\none,1\ntwo,2\n", "pool.txt", "Plain text"),
        ("1\tone passage\n2\tanother one\n3\tand one more\n", "pool.dat", "TSV, no header, 2 columns: column_1, column_2"),
        ('{"text": "x"}\n', "pool.csv", "JSON lines"),
        ('not json at all\n{"text": "x"}\n', "pool.txt", "JSON lines"),
        ('text\none\n"two, and more"\n', "pool.csv", "CSV, 1 column: text"),
    ],
)
def test_a_pool_is_reported_by_its_content_and_a_suffix_breaks_ties_alone(tmp_path, data, name, expected):
    try:
        assert read_pool(written(tmp_path, data, name)).read_as.startswith(expected)
    except ColumnsError as error:
        raise AssertionError(error) from error


def test_columns_that_cannot_be_detected_have_to_be_named(tmp_path):
    for name, text in (
        ("tickets.csv", "ticket,solution\nwhat is it,a house\nand that,another house\n"),
        ("tickets.jsonl", jsonl([{"ticket": "what is it", "solution": "a house"}, {"ticket": "and that", "solution": "another house"}])),
    ):
        path = written(tmp_path, text, name)
        with pytest.raises(ColumnsError, match=r"--columns query=ticket pos=solution") as refusal:
            read_training(path)
        assert refusal.value.names == ("ticket", "solution")
        assert re.findall(r"^  (.*)$", str(refusal.value), re.MULTILINE) == ["ticket: 'what is it'", "solution: 'a house'"]
        file = read_training(path, columns=Columns(query="ticket", pos=("solution",)))
        assert [(row.query, row.pos) for row in file.items] == [("what is it", ["a house"]), ("and that", ["another house"])]
        with pytest.raises(ColumnsError, match=r"columns of the passages are not known.*text=(ticket|solution)"):
            read_pool(path)


def test_triples_without_a_header_are_read_by_place(tmp_path):
    lines = "".join(f'what is a {n}\ta "{n}" is one\tnothing of the kind {n}\n' for n in ("cat", "dog", "cow"))
    file = read_training(written(tmp_path, lines, "triples.train.small.tsv"))
    assert file.items[0].query == "what is a cat"
    assert file.items[0].pos == ['a "cat" is one']
    assert "no header" in file.read_as
    assert read_training(written(tmp_path, "1\t17\tx\n2\t18\ty\n3\t19\tz\n", "ids.tsv")).ids == (True, True)


def test_quotes_mean_nothing_in_a_table_of_tabs_that_does_not_use_them(tmp_path):
    file = read_training(written(tmp_path, 'question\tanswer\n"Hamlet" is by whom\t"The Bard", some say\n5" pipe\t"x\n', "t.tsv"))
    assert [row.pos for row in file.items] == [['"The Bard", some say'], ['"x']]
    assert file.items[1].query == '5" pipe'


def test_cells_that_spell_lists_are_lists_and_empty_cells_hold_nothing(tmp_path):
    text = 'question,pos,neg_1,neg_2\nq1,"[""a"", ""b""]",x,\nq2,"[\'c\', \'d, e\']",,\nq3,"[""f""]",y,z\n'
    file = read_training(written(tmp_path, text, "lists.csv"))
    assert [(row.pos, row.neg) for row in file.items] == [(["a", "b"], ["x"]), (["c", "d, e"], []), (["f"], ["y", "z"])]


def test_values_of_parquet_stay_what_they_are(tmp_path):
    items = [{"question": "q", "answer": "p", "n": 7, "x": 1.5, "tags": ["a", "b"], "o": {"k": None}, "big": 2**60, "yes": True, "z": None}]
    (row,) = read_training(written(tmp_path, parquet(items), "t.parquet")).items
    assert {key: json.loads(bytes(value)) for key, value in row.fields.items()} == {
        "query": "q", "pos": ["p"], "n": 7, "x": 1.5, "tags": ["a", "b"], "o": {"k": None}, "big": 2**60, "yes": True, "z": None,
    }  # fmt: skip


def test_nan_in_parquet_is_reported_and_never_becomes_null(tmp_path):
    items = [{"query": "q", "pos": ["p"], "s": 1.0}, {"query": "r", "pos": ["p"], "s": float("nan")}]
    path = written(tmp_path, parquet(items), "t.parquet")
    (problem,) = read_training(path).problems
    assert (problem.line, problem.path, problem.kind) == (2, "$.s", "nan")
    assert "s" not in read_training(path, repair="nan").items[1].fields


def test_bytes_in_parquet_are_left_out_and_reported(tmp_path):
    file = read_training(written(tmp_path, parquet([{"query": "q", "pos": ["p"], "image": b"\xff\x00"}]), "t.parquet"))
    assert list(file.items[0].fields) == ["query", "pos"]
    assert [(each.kind, each.severity) for each in file.problems] == [("field-left-out", "notice")]


# Faults keep their place


def stored(tmp_path: Path, **columns: object) -> Path:
    out = io.BytesIO()
    pq.write_table(pa.table({"query": ["q1", "q2"], "pos": ["p1", "p2"], **columns}), out)
    return written(tmp_path, out.getvalue(), "t.parquet")


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.timestamp("ns"), 1_704_067_200 * 10**9, "2024-01-01T00:00:00"),
        (pa.timestamp("ns"), 1, "1970-01-01T00:00:00.000000001"),
        (pa.timestamp("us"), -1, "1969-12-31T23:59:59.999999"),
        (pa.timestamp("ns", "UTC"), 0, "1970-01-01T00:00:00Z"),
        (pa.timestamp("ms", "+02:00"), 5, "1970-01-01T02:00:00.005000+02:00"),
        (pa.date32(), 19_723, "2024-01-01"),
        (pa.time64("ns"), 3_600 * 10**9 + 7, "01:00:00.000000007"),
        (pa.time32("s"), 61, "00:01:01"),
        (pa.duration("ns"), 86_403 * 10**9 + 5_000, "P1DT3.000005S"),
        (pa.duration("s"), -(2**62), f"-P{2**62 // 86_400}DT{2**62 % 86_400}S"),
        (pa.duration("us"), 0, "P0D"),
    ],
)
def test_times_in_parquet_are_text_to_the_nanosecond_at_any_depth(tmp_path, kind, value, text, floats):
    times = pa.array([value, None], pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    more = {"f": [1.5, 2.5]} if floats else {}
    inside = pa.ListArray.from_arrays([0, 2, 2], times)
    path = stored(tmp_path, t=times, l=inside, s=pa.StructArray.from_arrays([times], ["k"]), **more)
    rows = [{key: json.loads(bytes(value)) for key, value in row.fields.items()} for row in read_training(path).items]
    assert [row["t"] for row in rows] == [text, None]
    assert [row["l"] for row in rows] == [[text, None], []]
    assert [row["s"] for row in rows] == [{"k": text}, {"k": None}]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([5, 10**12], pa.int64()).cast(pa.timestamp("s")), "a value in the column `t` cannot be read"),
        (pa.array([5, 2**31 - 1], pa.int32()).cast(pa.date32()), "a value in the column `t` cannot be read"),
        (
            pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers()),
            "not UTF-8: byte 0xff in the column `t`",
        ),
    ],
)
def test_a_value_of_parquet_that_is_no_text_is_reported_with_row_and_column(tmp_path, column, words):
    path = stored(tmp_path, t=column)
    (problem,) = read_training(path).open_problems
    assert (problem.line, problem.message.startswith(words)) == (2, True), problem
    assert problem.remedy
    assert [row.query for row in read_training(path, skip_bad_rows=True).items] == ["q1"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([[("a", 1), ("b", None)], None], pa.map_(pa.string(), pa.date32())), [[["a", "1970-01-02"], ["b", None]], None]),
        (
            pa.array([{"m": [("a", ["x"])]}, None], pa.struct([("m", pa.map_(pa.string(), pa.list_(pa.string())))])),
            [{"m": [["a", ["x"]]]}, None],
        ),
        (pa.array([[1, 2], None], pa.list_(pa.date32(), 2)), [["1970-01-02", "1970-01-03"], None]),
        (pa.array([["a", "é"], []], pa.large_list(pa.large_string())), [["a", "é"], []]),
        (pa.array(["a", "b" * 50], pa.string_view()), ["a", "b" * 50]),
        (pa.array([[["a"], []], [None]]), [[["a"], []], [None]]),
        (pa.array([None, None]), [None, None]),
        (pa.array([True, None]), [True, None]),
        (pa.array(["1.50", "2"]).cast(pa.decimal128(5, 2)), [1.5, 2]),
        (pa.array([0.5, None], pa.float16()), [0.5, None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.StructArray.from_arrays([pa.array(["a", None]).dictionary_encode()], ["k"]), [{"k": "a"}, {"k": None}]),
        (pa.array([{"f": 1.5, "n": None}, None]), [{"f": 1.5, "n": None}, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_every_type_of_parquet_comes_as_json(tmp_path, column, values):
    rows = read_training(stored(tmp_path, t=column)).items
    assert [json.loads(bytes(row.fields["t"])) for row in rows] == values


LONG = "x " * 2**19


def bomb(kind: str) -> bytes:
    """Little Parquet that names one long text very often."""
    out, count = io.BytesIO(), 2_000
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([LONG]))
    nested = pa.ListArray.from_arrays(pa.array([*range(count), count], pa.int32()), shared)
    one = pa.ListArray.from_arrays(pa.array([0] + [count] * count, pa.int32()), shared)
    junk = {"flat": shared, "lists": nested, "one row": one}[kind]
    rows = pa.table({"query": [f"q{n}" for n in range(count)], "pos": ["p"] * count, "junk": junk})
    pq.write_table(rows, out, compression="zstd", store_schema=False)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["flat", "lists", "one row"])
def test_parquet_that_names_one_text_very_often_takes_no_memory(tmp_path, kind):
    path = written(tmp_path, bomb(kind), "bomb.parquet")
    assert path.stat().st_size < 40_000
    code = (
        "import resource, sys\n"
        "from hnmine.core.errors import InputError; from hnmine.data.reading import read_training\nimport pyarrow.parquet\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: print(*[(each.kind, each.line) for each in read_training(sys.argv[1]).open_problems])\n"
        "except InputError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    expected, grown = ran.stdout.strip().split("\n")
    assert ("('line-too-long', 1)" if kind == "one row" else "250-fold") in expected
    assert int(grown) < 700, "256 MiB may come, before growth is looked at"


def test_long_rows_of_parquet_come_whole_and_those_beyond_the_limit_are_reported(tmp_path, monkeypatch):
    items = [{"query": f"q{n}", "pos": ["p", f"{n} {LONG}" * (n % 3)]} for n in range(40)]
    path = written(tmp_path, parquet([{**item, "pos": [each for each in item["pos"] if each]} for item in items]), "t.parquet")
    file = read_training(path)
    assert [row.pos for row in file.items] == [[each for each in item["pos"] if each] for item in items]
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 3 * 2**19)
    file = read_training(path)
    assert [(each.kind, each.line) for each in file.open_problems] == [("line-too-long", n + 1) for n in range(40) if n % 3 == 2]


def test_faults_in_a_table_have_their_line_column_and_remedy(tmp_path):
    lines = [
        "question,answer,wrong",
        'q1,"a passage\nover two lines",n',
        "q2,,n",
        ",a,n",
        "q4,a,n,too many",
        'q5,"quoted"x,n',
        "q6,a,n",
    ]
    file = read_training(written(tmp_path, "\n".join(lines) + "\n", "t.csv"))
    assert [(each.line, each.path, each.kind) for each in file.problems] == [
        (4, "$.answer", "no-positive"),
        (5, "$.question", "empty-text"),
        (6, "$", "bad-record"),
        (7, "$", "bad-record"),
    ]
    assert "expected 3 cells, found 4" in file.problems[2].message
    assert [row.line for row in file.items] == [2, 8]
    assert [row.line for row in read_training(written(tmp_path, "\n".join(lines), "t.csv"), skip_bad_rows=True).items] == [2, 8]


def test_a_quote_that_is_never_closed_is_reported_where_it_opens(tmp_path):
    text = 'question,answer\nq1,a\nq2,"never closed\n' + "q,a\n" * 50
    (problem,) = read_training(written(tmp_path, text, "t.csv")).problems
    assert (problem.line, problem.kind) == (3, "bad-record")
    assert "not closed; the record extends to line 53" in problem.message


def test_text_that_is_not_utf8_is_reported_with_its_line(tmp_path):
    file = read_training(written(tmp_path, b"question,answer\nq1,a\nq2,caf\xe9\n", "t.csv"))
    assert [(each.line, each.kind) for each in file.problems] == [(3, "not-utf8")]
    assert "`answer`" in file.problems[0].message
    pool = read_pool(written(tmp_path, b"one\ncaf\xe9\nthree\n", "pool.txt"))
    assert [(each.line, each.kind) for each in pool.problems] == [(2, "not-utf8")]
    assert pool.items == ["one", "three"]


def test_faults_in_parquet_have_their_row(tmp_path):
    items = [{"question": f"q{n}", "answer": None if n == 300 else "a"} for n in range(400)]
    (problem,) = read_training(written(tmp_path, parquet(items, row_group_size=100), "t.parquet")).problems
    assert (problem.line, problem.path, problem.kind) == (301, "$.answer", "no-positive")


def test_a_record_beyond_the_limit_is_reported_after_unpacking(tmp_path, monkeypatch):
    data = table([{"question": "q", "answer": "a"}, {"question": "q2", "answer": "x" * 5_000}, {"question": "q3", "answer": "a"}])
    for name, stored in (("t.csv", data), ("t.csv.gz", gzip.compress(data, mtime=0))):
        monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1_000)
        file = read_training(written(tmp_path, stored, name))
        assert [(each.line, each.kind) for each in file.open_problems] == [(3, "line-too-long")]
        assert [row.line for row in file.items] == [2, 4]
    monkeypatch.undo()
    packed = gzip.compress(jsonl(ROWS[:1]) + b'{"query": "' + b"x" * 50_000_000 + b'"}\n' + jsonl(ROWS[1:2]))
    file = read_training(written(tmp_path, packed, "t.gz"))
    assert [(each.line, each.kind) for each in file.problems] == [(2, "line-too-long")]
    assert [row.line for row in file.items] == [1, 3]


# Damage


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TRAINING["rows.gz"][:-20], r"gzip file is damaged.*again"),
        (TRAINING["rows.gz"][:50] + b"\x00\xff" * 5 + TRAINING["rows.gz"][60:], r"gzip file is damaged"),
        (TRAINING["rows.gz"] + b"garbage", r"gzip file is damaged"),
        (TRAINING["rows.zst"][:-20], r"Zstandard file is damaged.*again"),
        (TRAINING["rows.zst"][:60] + b"\xff" * 20 + TRAINING["rows.zst"][80:], r"Zstandard file is damaged"),
        (TRAINING["rows.parquet"][:-30], r"Parquet file is damaged.*write it again"),
        (b"PAR1" + b"\x00" * 40, r"Parquet file is damaged"),
        (TRAINING["rows.zip"][:-30], r"zip archive is damaged"),
        (archive({"a.csv": b"x", "b.csv": b"y"}), r"zip archive holds 2 files; it must hold one, or a BEIR"),
        (archive({"[Content_Types].xml": b"x", "xl/workbook.xml": b"y"}), r"Office document; save the table as CSV"),
        (b"\xfd7zXZ\x00abc", r"compressed with xz; unpack it first"),
        (b"SQLite format 3\x00abc", r"SQLite"),
        (gzip.compress(TRAINING["rows.parquet"], mtime=0), r"a Parquet file inside gzip; unpack it first"),
        ('[{"query": "q", "pos": ["p"]}', r"JSON array but is not valid"),
        ("query,query,pos\na,b,c\nd,e,f\n", r"two columns are named `query`"),
        (b"ARROW1" + b"\x00" * 40, r"Arrow file is damaged"),
        (b"\xff\xff\xff\xff" + b"\x00\x01\x02" * 40, r"Arrow file is damaged"),
        (archive({"xl/workbook.xml": b"<workbook/>", "xl/worksheets/sheet1.xml": b"<worksheet/>"}), r"Excel workbook is damaged.*as CSV"),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,  # archives hold the time: workers must find the same names
)  # fmt: skip
def test_a_damaged_or_unknown_file_is_refused_by_name_with_a_remedy(tmp_path, data, words):
    path = written(tmp_path, data, "broken.dat")
    with pytest.raises(InputError, match=words) as refusal:
        read_training(path)
    assert str(path) in str(refusal.value)


def test_damage_in_the_middle_of_parquet_is_reported(tmp_path):
    data = bytearray(parquet([{"query": f"q{n}", "pos": ["p" * 500 + str(n)]} for n in range(3_000)], compression="zstd"))
    data[2_000:12_000] = bytes(10_000)
    with pytest.raises(InputError, match=r"Parquet file is damaged"):
        read_training(written(tmp_path, bytes(data), "t.parquet"))


def test_a_file_that_grows_without_measure_is_refused(tmp_path):
    blank = b" " * (2**20 - 1) + b"\n"
    packed = gzip.compress(blank, 9)
    path = written(tmp_path, packed * 400, "bomb.gz")
    with pytest.raises(InputError, match=r"250-fold"):
        read_training(path)
    with pytest.raises(InputError, match=r"250-fold"):
        read_training(written(tmp_path, archive({"rows.jsonl": blank * 400}), "bomb.zip"))


def test_packed_lines_may_come_through_a_pipe_and_parquet_may_not(tmp_path):
    for name, data in (("a", TRAINING["rows.gz"]), ("b", TRAINING["rows.csv"]), ("c", TRAINING["rows.parquet"])):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(data,))
        writer.start()
        if name == "c":
            with pytest.raises(InputError, match=r"cannot be read from a pipe"):
                read_training(pipe)
        else:
            assert len(read_training(pipe).items) == len(ROWS)
        writer.join()


# Round trips

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda text: text.strip() and text.strip(" \t\r\n\f\v") and not text.startswith("[")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, TEXT | st.just("")), min_size=1, max_size=6),
    way=st.sampled_from([",", ";", "\t", "parquet", "groups"]),
)  # fmt: skip
def test_any_text_comes_back_from_a_table_as_it_was(tmp_path, rows, way):
    items = [{"question": query, "answer": answer, "other": other} for query, answer, other in rows]
    if way in ("parquet", "groups"):
        data = parquet(items, row_group_size=1 if way == "groups" else 1000)
    else:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=way, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(items[0])
        writer.writerows(item.values() for item in items)
        data = out.getvalue().encode()
    file = read_training(written(tmp_path, data, "t.csv"), columns=Columns(label=""))  # a third column of two values may be one
    assert not file.open_problems
    found = [(row.query, row.pos[0], json.loads(bytes(row.fields["other"]))) for row in file.items]
    assert found == rows


# BEIR

CORPUS = [{"_id": f"d{n}", "title": f"Title {n}" if n % 2 else "", "text": f"text of {n}"} for n in range(8)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(4)]
QRELS = {
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq0\td0\t1\nq3\td5\t1\n",
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t1\nq1\td4\t0\nq2\td2\t1\nq3\td6\t0\n",
}


def members(**changed: bytes) -> dict[str, bytes]:
    given = {"corpus.jsonl": jsonl(CORPUS), "queries.jsonl": jsonl(QUERIES), **{name: text.encode() for name, text in QRELS.items()}}
    return {**given, **changed}


def folder(tmp_path: Path, parts: dict[str, bytes]) -> Path:
    root = tmp_path / "set"
    (root / "qrels").mkdir(parents=True, exist_ok=True)
    for name, data in parts.items():
        (root / name).write_bytes(data)
    return root


@pytest.mark.parametrize("kind", ["folder", "zip", "packed parts"])
def test_a_beir_data_set_is_rows_and_pool(tmp_path, kind):
    if kind == "zip":
        path = written(tmp_path, archive({f"set/{name}": data for name, data in members().items()}), "set.zip")
    else:
        parts = members()
        if kind == "packed parts":
            parts["corpus.jsonl.gz"] = gzip.compress(parts.pop("corpus.jsonl"))
        path = folder(tmp_path, parts)
    inputs = read_inputs(path)
    assert [(row.query, row.pos) for row in inputs.rows] == [
        ("query 1", ["Title 1 text of 1", "Title 3 text of 3"]),
        ("query 2", ["text of 2"]),
    ]
    assert json.loads(bytes(inputs.rows[0].fields["id"])) == "q1"
    assert list(inputs.rows[0].fields) == ["id", "query", "pos", "neg"]
    assert inputs.rows[0].neg == ["text of 4"]  # judged, and not relevant
    assert inputs.pool == [f"{each['title']} {each['text']}".strip() for each in CORPUS]
    assert inputs.corpus.n_candidates == 8
    assert inputs.corpus.pool_mode == "extend"
    assert not inputs.problems
    assert list(inputs.files) == ["input_file"]
    assert "queries in qrels/train" in inputs.notes[0]
    other = read_inputs(path, columns=Columns(split="test"))
    assert [row.query for row in other.rows] == ["query 0", "query 3"]
    with pytest.raises(InputError, match=r"no qrels named `dev`; choose one of `train`, `test`"):
        read_inputs(path, columns=Columns(split="dev"))
    if kind == "zip":
        assert inputs.files["input_file"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        before = inputs.files["input_file"]["sha256"]
        assert read_inputs(path).files["input_file"]["sha256"] == before
        (path / "qrels/train.tsv").write_text(QRELS["qrels/train.tsv"] + "q0\td0\t1\n")
        assert read_inputs(path).files["input_file"]["sha256"] != before


def test_a_beir_data_set_may_be_the_pool_alone_and_have_another_pool(tmp_path, write_jsonl):
    path = folder(tmp_path, members())
    train = write_jsonl([{"query": "q", "pos": ["p"]}])
    assert len(read_inputs(train, path).pool) == 8
    given = read_inputs(path, written(tmp_path, "one\ntwo\n", "pool.txt"))
    assert given.pool == ["one", "two"]
    assert [row.query for row in given.rows] == ["query 1", "query 2"]


def test_the_header_of_the_judgements_says_which_column_is_the_query(tmp_path):
    swapped = "corpus-id\tquery-id\tscore\nd1\tq1\t2\nd3\tq1\t1\nd2\tq2\t1\n"
    path = folder(tmp_path, members(**{"qrels/train.tsv": swapped.encode()}))
    assert [(row.query, row.pos) for row in read_inputs(path).rows] == [
        ("query 1", ["Title 1 text of 1", "Title 3 text of 3"]),
        ("query 2", ["text of 2"]),
    ]


def test_judgements_are_not_looked_for_where_there_can_be_none(tmp_path, write_jsonl):
    with pytest.raises(InputError, match=r"is one file and has no split to choose"):
        read_inputs(write_jsonl([{"query": "q", "pos": ["p"]}]), columns=Columns(split="dev"))


def test_faults_of_a_beir_data_set_have_their_part_and_line(tmp_path):
    parts = members(**{
        "corpus.jsonl": jsonl(CORPUS) + b'{"_id": "d1", "text": "again"}\n{"text": "no id"}\n{"_id": "e", "title": "", "text": " "}\n',
        "queries.jsonl": jsonl(QUERIES) + b"{\n",
        "qrels/train.tsv": (QRELS["qrels/train.tsv"] + "q2\tgone\t1\nnobody\td1\t1\nq1 d1\n").encode(),
    })  # fmt: skip
    path = folder(tmp_path, parts)
    with pytest.raises(InputError) as refusal:
        read_inputs(path)
    assert [(each.file, each.line, each.kind) for each in refusal.value.problems] == [
        ("qrels/train.tsv", 9, "bad-record"),
        ("qrels/train.tsv", 7, "unknown-id"),
        ("qrels/train.tsv", 8, "unknown-id"),
        ("queries.jsonl", 5, "not-json"),
        ("corpus.jsonl", 9, "duplicate-id"),
        ("corpus.jsonl", 10, "missing-field"),
        ("corpus.jsonl", 11, "blank-passage"),
    ]
    inputs = read_inputs(path, skip_bad_rows=True, repair="all")
    assert len(inputs.rows) == 2
    assert len(inputs.pool) == 8


def test_a_folder_that_is_no_beir_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file has training rows.*queries from queries\.jsonl, passages from corpus\.jsonl"):
        read_inputs(folder(tmp_path, {name: data for name, data in members().items() if "qrels" not in name}))
    (tmp_path / "empty").mkdir()
    assert beir_at(tmp_path / "empty") is None
    with pytest.raises(InputError, match=r"there is no data file in it"):
        read_inputs(tmp_path / "empty")


def test_a_damaged_part_of_an_archive_is_reported(tmp_path):
    data = bytearray(archive({name: text * 200 for name, text in members().items()}))
    data[60:90] = b"\xff" * 30
    with pytest.raises(InputError, match=r"corpus\.jsonl.*(damaged|cannot be unpacked)"):
        read_inputs(written(tmp_path, bytes(data), "set.zip"))


def test_names_of_an_archive_may_begin_at_the_root(tmp_path):
    path = written(tmp_path, b"", "set.zip")
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members().items():
            info = zipfile.ZipInfo(name)
            info.filename = "/" * (name == "corpus.jsonl") + name
            packed.writestr(info, data)
    assert beir_at(path) is not None
    assert inspect_file(path, path.name).source.format == "beir"
    assert len(read_inputs(path).rows) > 0


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_damaged_anywhere_is_refused_and_never_crashes(tmp_path, method):
    path = written(tmp_path, b"", "rows.zip")
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("rows.jsonl", jsonl(ROWS * 20))
    data = path.read_bytes()
    for place in range(4, len(data), max(len(data) // 60, 1)):
        path.write_bytes(data[:place] + bytes(each ^ 0x5A for each in data[place : place + 40]) + data[place + 40 :])
        for way in (lambda: inspect_file(path, path.name), lambda: read_training(path)):
            with contextlib.suppress(InputError):
                way()


@pytest.mark.parametrize(("place", "value", "words"), [(8, 99, "cannot be unpacked"), (6, 1, "cannot be unpacked.*password")])
def test_a_method_that_is_unknown_and_a_password_are_reported(tmp_path, place, value, words):
    data = bytearray(archive({"rows.jsonl": jsonl(ROWS)}))
    directory = data.rindex(b"PK\x01\x02")
    data[place] = data[directory + place + 2] = value
    with pytest.raises(InputError, match=words):
        inspect_file(written(tmp_path, bytes(data), "rows.zip"), "rows.zip")


def test_parquet_damaged_anywhere_is_refused_and_never_crashes(tmp_path):
    data = parquet(ROWS * 20, compression="zstd")
    for place in range(4, len(data), max(len(data) // 80, 1)):
        path = written(tmp_path, data[:place] + bytes(each ^ 0x5A for each in data[place : place + 9]) + data[place + 9 :], "t.parquet")
        for way in (lambda path=path: inspect_file(path, path.name), lambda path=path: read_training(path)):
            with contextlib.suppress(InputError):
                way()


def test_real_beir_data(shared_data):
    inputs = read_inputs(shared_data / "cranfield")
    assert len(inputs.rows) > 180
    assert inputs.corpus.n_candidates > 1_000
    assert all(row.pos for row in inputs.rows)
