"""Files as users have them, and damages to them, by seed: bytes, structure of JSON, cells, tables of Arrow, packings, encodings, names.

`made(rng)` returns the name and the bytes of a file, `damaged(rng, name, data)` the same with damages, and what was done in words.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from tests.data.test_containers import arrow, stored, workbook
from tests.data.test_shapes import NEGATIVES, POSITIVES, QUERIES, SHAPES, TRIPLES, delimited, table

__all__ = ["damaged", "made", "odd_json"]

Rng = random.Random

# JSON that a record may hold where a text is expected.
ODD = (
    "null", "true", "0", "-0", "1e999", "-1E+9999999", "NaN", "-Infinity", "Infinity", "{}", "[]", '""', '" "', '"\\u0000"', "[[]]",
    '"\\ud83d"', '"x\\udc80y"', '["\\ud83d"]', '{"\\ud83d": 1}', '{"text": "\\udfff"}', '"\\u202egnp.exe"', '"\\u001b[2J\\u001b[31m"',
    '"nan"', '{"text": null}', '{"text": {"text": "a"}}', '[null, "a"]', '[["a", "b"], ["c"]]', '[{"text": 5}]', '"[\'a\' \'b\'"',
    "truth",
    "'single'", "[1,]", "{1: 2}", "0x10", "1.", ".5", "+1", "01", "2" * 5_000, "1" + "0" * 400, "1." + "3" * 400, '{"": ""}',
    '{"a": 1, "a": 2}', '{"role": "user"}', '[{"role": "user", "content": null}]', '[{"role": 5, "content": [{"text": []}]}]',
    '{"is_selected": [0, 1], "passage_text": ["a"]}', '{"text": ["a"], "label": []}', '[0, 1]', '{"1": 1, "2": "x"}', '"\\ud83d\\ude00"',
)  # fmt: skip
NAMES = ("query", "pos", "neg", "text", "_id", "id", "title", "label", "split", "passages", "messages", "", " ", "\u202e", "a\nb",
    "\x1b[31m",
         "$.pos[0]", "`", "column_1", "x" * 3_000, "é" * 300, "corpus", "queries", "relevant_docs", "qrels")  # fmt: skip


def odd_json(rng: Rng) -> str:
    """Return the source of a value that is unusual, or no JSON."""
    way = rng.random()
    if way < 0.7:
        return rng.choice(ODD)
    depth = rng.choice([3, 100, 900, 1_100, 5_000, 100_000])
    if way < 0.8:
        return "[" * depth + "]" * (depth - rng.choice([0, 0, 1]))
    if way < 0.88:
        return '{"a":' * depth + "1" + "}" * depth
    if way < 0.95:
        return json.dumps(rng.choice(["x", "a b ", "\u0300", "[", '"', "\\"]) * rng.choice([100, 5_000, 200_000]))
    return json.dumps(["a", {"b": [1.5, None, True]}] * rng.choice([1, 50, 2_000]))


# Files


def _records(rng: Rng) -> list[Any]:
    return copy.deepcopy(SHAPES[rng.choice(list(SHAPES))][0])


def _json_file(rng: Rng, records: list[Any]) -> tuple[str, str]:
    """Return records as JSON, with some values, names or whole records replaced."""
    marks: dict[str, str] = {}

    def mark(source: str) -> str:
        marks[f"@@{len(marks)}@@"] = source
        return f"@@{len(marks) - 1}@@"

    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        at: Any = records
        while True:
            keys = list(range(len(at))) if isinstance(at, list) else list(at)
            if not keys:
                break
            key = rng.choice(keys)
            if rng.random() < 0.4 or not isinstance(at[key], list | dict):
                break
            at = at[key]
        if not keys:
            continue
        if isinstance(at, dict) and rng.random() < 0.3:
            name = rng.choice(NAMES)
            at[mark(f'"{key}"') if rng.random() < 0.2 else name] = at[key] if rng.random() < 0.5 else at.pop(key)
        elif rng.random() < 0.15:
            del at[key]
        else:
            at[key] = mark(odd_json(rng))
    way = rng.choice(["lines", "lines", "lines", "array", "pretty", "data", "keys", "columns", "several"])
    ascii_only = rng.random() < 0.5
    if way == "lines":
        text = "".join(json.dumps(each, ensure_ascii=ascii_only) + "\n" for each in records)
    elif way == "several":
        text = "\n".join(json.dumps(each, ensure_ascii=ascii_only, indent=1) for each in records)
    else:
        whole: Any = records
        if way == "data":
            whole = {"version": "1", rng.choice(["data", "rows", "train"]): records}
        elif way == "keys":
            whole = {f"id{number}": each for number, each in enumerate(records)}
        elif way == "columns" and all(isinstance(each, dict) for each in records):
            whole = {name: {str(number): each.get(name) for number, each in enumerate(records)} for name in records[0]}
        text = json.dumps(whole, ensure_ascii=ascii_only, indent=2 if way == "pretty" else None)
    for name, source in marks.items():
        text = text.replace(f'"{name}"', source)
    return rng.choice(["train.jsonl", "train.json", "data", "train.txt"]), text


def _cells(rng: Rng) -> str:
    return rng.choice(
        ["", " ", '"', '""', "'", "a\nb", "a,b", "\t", "x" * 50_000, '["a", "b"]', "['a' 'b']", "[" * 2_000, '["\\ud83d"]',
        '{"text": "\\ud83d"}',
         "nan", "\x00", "\x1b[1m", "\u202e", "total", "-1", "1e400", "0,5", "=1+1", "# note", "sep=;", "query", '[["a"], {"text": 1}]',
         '["a"', "{'a': " * 300,
         "9" * 5_000, "(" * 300, "-" * 5_000 + "1", "[" + "-" * 3_000 + "1]", "[" + "1+" * 3_000 + "1]", '{"text": null}']
    )  # fmt: skip


def _table_file(rng: Rng, records: list[Any]) -> tuple[str, str]:
    made_cells = table(records)
    for _ in range(rng.choice([0, 1, 1, 3])):
        row = rng.choice(made_cells)
        row[rng.choice(list(row))] = _cells(rng)
    delimiter = rng.choice(",;\t|")
    text = delimited(made_cells, delimiter)
    if rng.random() < 0.1:
        text = "\n".join("| " + line.replace(delimiter, " | ") + " |" for line in text.split("\n"))
    if rng.random() < 0.1:
        text = rng.choice(["sep=;\n", "# made today\n", "Export\n\n", "\n\n\n", "query,positive\n"]) + text
    return rng.choice(["train.csv", "train.tsv", "train", "train.txt"]), text


def _odd_column(rng: Rng, rows: int) -> pa.Array:
    """Return a column of a type that training data rarely has."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    ways: list[Callable[[], pa.Array]] = [
        lambda: pa.array([decimal.Decimal("1.50")] * rows),
        lambda: pa.array([decimal.Decimal(10) ** 70] * rows, pa.decimal256(76, 2)),
        lambda: pa.array([datetime.timedelta(days=-1, seconds=3)] * rows),
        lambda: pa.array([2**62] * rows, pa.duration(rng.choice(["s", "ns"]))),
        lambda: pa.array([2**52] * rows, pa.timestamp(rng.choice(["s", "ns"]), rng.choice([None, "UTC", "Europe/Berlin", "+05:30"]))),
        lambda: pa.array([moment] * rows),
        lambda: pa.array([2**31 - 1] * rows, pa.date32()),
        lambda: pa.array([[("a", [("b", 1)])]] * rows, pa.map_(pa.string(), pa.map_(pa.string(), pa.int32()))),
        lambda: pa.array([[({"x": 1}, "b")]] * rows, pa.map_(pa.struct([("x", pa.int8())]), pa.string())),
        lambda: pa.DictionaryArray.from_arrays(pa.array([0] * rows), pa.array(["a text"])),
        lambda: pa.DictionaryArray.from_arrays(pa.array([0] * rows), pa.array([["a"], ["b"]])),
        lambda: pa.array([b"\xff\xfe"] * rows),
        lambda: pa.array([None] * rows),
        lambda: pa.array([float("nan")] * rows),
        lambda: pa.array([[]] * rows, pa.list_(pa.null())),
        lambda: pa.array([{"a": None}] * rows, pa.struct([("a", pa.null())])),
        lambda: pa.array(["x" * 3] * rows, pa.string_view()),
        lambda: pa.array([["a", "b"]] * rows, pa.list_(pa.string(), 2)),
        lambda: pa.array([["a"]] * rows, pa.list_view(pa.string())),
        lambda: pa.array([(1, 2, 3)] * rows, pa.month_day_nano_interval()),
        lambda: pa.array([0.5] * rows, pa.float16()),
        lambda: pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1] * rows, pa.int8())),
        lambda: pa.array([str(number) * 2 for number in range(rows)], pa.large_string()),
        lambda: pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array(["a text"])),
        lambda: pa.UnionArray.from_dense(
            pa.array([0] * rows, pa.int8()), pa.array(list(range(rows)), pa.int32()), [pa.array(["u"] * rows)]
        ),
        lambda: pa.array(['{"a": 1}'] * rows, pa.json_()),
        lambda: pa.array([b"0" * 16] * rows, pa.uuid()),
        lambda: pa.array(["y" * 500_000] * rows),
        lambda: pa.array([[["deep"]]] * rows),
    ]
    return rng.choice(ways)()


def _in_parquet(kind: Any) -> bool:
    """Return whether Arrow can write a type as Parquet."""
    types = pa.types
    lists = types.is_list_view(kind) or types.is_union(kind) or types.is_run_end_encoded(kind) or types.is_interval(kind)
    return not lists and not (types.is_dictionary(kind) and not types.is_string(kind.value_type))


def _arrow_file(rng: Rng, records: list[Any]) -> tuple[str, bytes]:
    named = [each if isinstance(each, dict) else {f"column_{place}": cell for place, cell in enumerate(each)} for each in records]
    columns = pa.Table.from_pylist(named)
    way = rng.choice(["parquet", "parquet", "file", "stream", "excel"])
    if rng.random() < 0.6:
        column = _odd_column(rng, len(columns))
        name = rng.choice([*columns.column_names, *NAMES])
        place = columns.column_names.index(name) if name in columns.column_names else -1
        columns = columns.append_column(name, column) if place < 0 else columns.set_column(place, name, column)
    if rng.random() < 0.1:
        metadata = rng.choice([b"{", b"[]", b'{"info": {"features": []}}',
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}',
                               b'{"info": {"features": {"query": {"_type": "ClassLabel", "names": ["a"]}}}}', b"\xff",
                                   b"[" * 20_000])  # fmt: skip
        columns = columns.replace_schema_metadata({b"huggingface": metadata})
    if rng.random() < 0.1:
        columns = columns.slice(0, rng.choice([0, 1]))
    out = io.BytesIO()
    if way == "excel":
        cells = [[cell if isinstance(cell, str | int | float | bool) else json.dumps(cell) for cell in each.values()] for each in named]
        clean = [[cell[:30_000] if isinstance(cell, str) else cell for cell in row] for row in cells]
        return "train.xlsx", workbook([list(named[0]), *clean])
    if way == "parquet":
        writable = [name for name in columns.column_names if _in_parquet(columns.schema.field(name).type)]
        columns = columns.select([place for place, name in enumerate(columns.column_names) if name in writable])
        options: dict[str, Any] = {"compression": rng.choice(["snappy", "zstd", "none", "gzip"]), "use_dictionary": rng.random() < 0.7}
        pq.write_table(columns, out, data_page_version=rng.choice(["1.0", "2.0"]), row_group_size=rng.choice([3, 1_000]), **options)
        return "train.parquet", out.getvalue()
    if rng.random() < 0.3:
        pyarrow.feather.write_feather(columns, out, compression=rng.choice(["lz4", "zstd", "uncompressed"]))
        return "train.feather", out.getvalue()
    return "train.arrow", arrow(columns, way)


@lru_cache(maxsize=1)
def _cranfield() -> list[str]:
    rows = [(query, pos, neg) for query, pos, neg in TRIPLES]
    return [data if isinstance(data, str) else "" for data in (stored(rows, way) for way in ("lines", "array", ",", "\t"))]


def _beir_files(rng: Rng) -> dict[str, str]:
    corpus = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(POSITIVES + NEGATIVES)]
    queries = [{"_id": f"q{number}", "text": text} for number, text in enumerate(QUERIES)]
    score = rng.choice(["1", "1", "1.0", "1e400", "nan", "-1", "x", "9" * 400, "", "0x1", "１"])
    grades = "query-id\tcorpus-id\tscore\n" + "".join(f"q{number}\td{number}\t{score if number == 3 else 1}\n" for number in range(10))
    identity: Any = rng.choice([5, 1e400, 10**400, None, True, [1], {"a": 1}, 0.5, "\ud83d", "d1", "", "x" * 9_000])
    rng.choice([corpus, queries])[rng.randrange(10)]["_id"] = identity
    found = {"qrels/train.tsv": grades}
    for name, records in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        mark = rng.choice(records) if rng.random() < 0.5 else None
        if mark is not None:
            mark[rng.choice(["text", "title", "_id"])] = "@@"
        found[name] = "".join(json.dumps(each) + "\n" for each in records).replace('"@@"', odd_json(rng))
    return found


def made(rng: Rng) -> tuple[str, bytes]:
    """Return the name and the bytes of a file of training data, a pool, an archive of several; most are valid, some hold odd values."""
    way = rng.random()
    if way < 0.35:
        name, text = _json_file(rng, _records(rng))
    elif way < 0.6:
        name, text = _table_file(rng, _records(rng))
    elif way < 0.85:
        return _arrow_file(rng, _records(rng))
    elif way < 0.9:
        name, text = "pool.txt", "\n".join(POSITIVES + NEGATIVES)
    elif way < 0.93:
        name, text = rng.choice(["train.csv", "train.json", "t.jsonl"]), rng.choice(_cranfield())
    else:
        files = _beir_files(rng)
        if rng.random() < 0.3:
            files["README.md"] = rng.choice(
                ["---\nconfigs: 5\n---", "---\nconfigs:\n- config_name: a\n  data_files: [1, {x: 2}]\n---", "---\n{", "---\na: *x\n---"]
            )
        if rng.random() < 0.2:
            files["nested.zip"] = "PK\x03\x04 not a zip"
        return "beir.zip", zipped(
            {rng.choice(["set/", ""]) * (rng.random() < 0.1) + name: text.encode("utf-8", "surrogatepass") for name, text in files.items()},
            rng,
        )
    encoding = rng.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp1252", "gb18030"])
    return name, text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def zipped(files: dict[str, bytes], rng: Rng) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


# Damages


def _at(rng: Rng, data: bytes) -> int:
    return rng.choice([0, 1, len(data) - 1, len(data) // 2, rng.randrange(len(data) + 1), min(rng.randrange(64), len(data))]) if data else 0


def _flip(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 30])):
        if changed:
            changed[min(_at(rng, data), len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(rng: Rng, data: bytes) -> bytes:
    place = _at(rng, data)
    more = rng.choice(
        [
            b"\xff",
            b"\0",
            b"\n",
            b"\r",
            b'"',
            b"\\",
            b"{",
            b"]",
            b",",
            b"\xef\xbb\xbf",
            b"\xf0\x9f",
            b"\xed\xa0\x80",
            b"\x1a",
            b"\n\n\n",
            b"\0" * 4096,
        ]
    )
    return data[:place] + more * rng.choice([1, 2, 200]) + data[place:]


def _repeat(rng: Rng, data: bytes) -> bytes:
    begin, end = sorted((_at(rng, data), _at(rng, data)))
    return data[:end] + data[begin:end] * rng.choice([1, 5]) + data[end:]


def _quoted(rng: Rng, data: bytes) -> bytes:
    """Return the bytes with a value of JSON replaced, wherever it is."""
    parts = data.split(b'"')
    if len(parts) > 2:
        parts[rng.randrange(1, len(parts))] = rng.choice(
            [b"", b"\\ud83d", b"\\u0000", b"\xff\xfe", b"\n", b"x" * 70_000, b"\\", "\u202e".encode(), b"[" * 3_000]
        )
    return b'"'.join(parts)


def _mixed(rng: Rng, data: bytes) -> bytes:
    half = data.rfind(b"\n", 0, len(data) // 2) + 1
    return data[:half] + data[half:].decode("utf-8", "replace").encode(rng.choice(["utf-16-le", "cp1252", "utf-32-be"]), "replace")


DAMAGES: dict[str, Callable[[Rng, bytes], bytes]] = {
    "flipped": _flip,
    "inserted": _insert,
    "repeated": _repeat,
    "value replaced": _quoted,
    "mixed encodings": _mixed,
    "cut": lambda rng, data: data[: _at(rng, data)],
    "beginning cut": lambda rng, data: data[_at(rng, data) :],
    "part deleted": lambda rng, data: data[: (place := _at(rng, data))] + data[place + rng.choice([1, 10, 1_000]) :],
    "zeros": lambda rng, data: data[: (place := _at(rng, data))] + b"\0" * min(50, len(data) - place) + data[place + 50 :],
    "line ends": lambda rng, data: data.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\x0b", b"\n\r", b"\xe2\x80\xa8", b""])),
    "twice": lambda rng, data: data + data,
    "empty": lambda rng, data: rng.choice(
        [b"", b"\n", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"[]", b"{}", b"null", b'""', b"\0", b"PK\x05\x06" + b"\0" * 18]
    ),
    "last bytes": lambda rng, data: data[: -rng.choice([1, 4, 8])] + rng.randbytes(rng.choice([1, 4, 8])),
}


def _gzip(rng: Rng, data: bytes) -> bytes:
    return gzip.compress(data, mtime=0) + rng.choice([b"", b"\0" * 512, b"tail", gzip.compress(b"", mtime=0)])


def _zstd(rng: Rng, data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True) if data else b"\x28\xb5\x2f\xfd"


def _zip_of_one(rng: Rng, data: bytes) -> bytes:
    name = rng.choice(
        ["train.jsonl", "a/b/train.csv", "../../evil.jsonl", "/abs.jsonl", "C:\\x.json", "\u202ex.json", "x" * 300, "a\nb.csv", ".hidden"]
    )
    whole = bytearray(zipped({name: data} if rng.random() < 0.8 else {name: data, "other.csv": data, "more/other.csv": b"a,b\n"}, rng))
    local, central = 0, whole.rfind(b"PK\x01\x02")
    if central < 0:
        return bytes(whole)
    way = rng.random()
    if way < 0.15:  # says that it is encrypted
        whole[local + 6] |= 1
        whole[central + 8] |= 1
    elif way < 0.4:  # wrong sizes, or a wrong checksum
        struct.pack_into("<I", whole, central + rng.choice([16, 20, 24]), rng.choice([0, 5, 2**31, 2**32 - 1]))
    elif way < 0.5:  # an unknown method, a wrong place
        struct.pack_into("<H", whole, central + rng.choice([10, 28, 30, 32, 42]), rng.choice([1, 99, 65_535]))
    return bytes(whole)


PACKINGS: dict[str, tuple[str, Callable[[Rng, bytes], bytes]]] = {
    "gzip": (".gz", _gzip),
    "zstd": (".zst", _zstd),
    "zip": (".zip", _zip_of_one),
}


def damaged(rng: Rng, name: str, data: bytes) -> tuple[str, bytes, str]:
    """Return a file with damages, and these in words."""
    done = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        what = rng.choice(list(DAMAGES))
        data = DAMAGES[what](rng, data)
        done.append(what)
    while rng.random() < 0.15:
        what = rng.choice(list(PACKINGS))
        suffix, pack = PACKINGS[what]
        name, data = (name if rng.random() < 0.2 else name + suffix), pack(rng, data)
        done.append(what)
        if rng.random() < 0.4:
            what = rng.choice(["cut", "flipped", "zeros", "last bytes", "part deleted"])
            data = DAMAGES[what](rng, data)
            done.append(what)
    return name, data[: 4 * 2**20], ", ".join(done) or "none"
