"""The same records in every container: JSON of every shape, tables, Parquet, Arrow, Excel."""

from __future__ import annotations

import builtins
import contextlib
import csv
import datetime
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import ColumnsError, InputError
from hnmine.data.columns import Columns
from hnmine.data.formats import lines
from hnmine.data.formats.tables import RecordReader
from hnmine.data.reading import read_pool, read_training
from hnmine.runs.uploads import inspect_file, store

NAMES = ("question", "answer", "other")


def written(tmp_path: Path, data: bytes | str, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def records(path: Path, encoding: str | None = None, role: str = "training") -> list[dict[str, object]]:
    reader = RecordReader(path, encoding=encoding, role=role)
    with contextlib.suppress(ColumnsError):  # which are the query and so on is asked elsewhere
        reader.open()
    found = [json.loads(line) for line in reader.lines()]
    assert not [each for each in reader.problems if each.severity == "error"]
    return found


def table(rows: list[tuple[str, ...]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([NAMES, *rows])
    return out.getvalue()


def arrow(items: pa.Table, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    writer = (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(out, items.schema, options=pa.ipc.IpcWriteOptions(**options))
    with writer:
        writer.write_table(items, max_chunksize=100)
    return out.getvalue()


def workbook(*sheets: list[tuple[object, ...]]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
        for cells in sheet.iter_rows():
            for cell in cells:
                if isinstance(cell.value, str):
                    cell.data_type = "s"  # not a formula
    book.save(out)
    return out.getvalue()


def is_utf8(data: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        return bool(data.decode())
    return False


LETTERS = st.characters(codec="cp1252", exclude_categories=["Cc"]) | st.sampled_from("\t,;|\"'\n")
CELL = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text.strip() and not text.startswith("["))
TEXTS = ("lines", "array", "pretty", "object", "lists", "lists array", ",", ";", "\t", "|")
BINARY = ("parquet", "file", "stream", "zstd", "excel")


def stored(rows: list[tuple[str, ...]], way: str) -> str | bytes:
    items = [dict(zip(NAMES, row, strict=True)) for row in rows]
    if way in BINARY:
        columns = pa.Table.from_pylist(items)
        if way == "parquet":
            out = io.BytesIO()
            pq.write_table(columns, out)
            return out.getvalue()
        if way == "excel":
            return workbook([NAMES, *rows])
        return arrow(columns, "file" if way == "zstd" else way, **({"compression": "zstd"} if way == "zstd" else {}))
    return {
        "lines": lambda: "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items),
        "array": lambda: json.dumps(items, ensure_ascii=False),
        "pretty": lambda: json.dumps({"version": 1, "data": items}, ensure_ascii=False, indent=2),
        "object": lambda: json.dumps({"version": {"of": ["x"]}, "rows": items}, ensure_ascii=False),
        "lists": lambda: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "lists array": lambda: json.dumps(rows, ensure_ascii=False),
    }.get(way, lambda: table(rows, way))()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5),
    way=st.sampled_from([*TEXTS, *BINARY]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_the_same_records_come_back_from_every_container_in_every_encoding(tmp_path, rows, way, encoding):
    data = stored(rows, way)
    wanted = [dict(zip(NAMES, row, strict=True)) for row in rows]
    if way.startswith("lists"):
        assume(not all(any(map(str.isdigit, cell)) for row in rows for cell in row[:2]))  # ids without names are judgements
        wanted = [{f"column_{place}": text for place, text in enumerate(row, 1)} for row in rows]
    if isinstance(data, str):
        data = data.encode(encoding)
        if encoding == "cp1252":  # letters can happen to be valid UTF-8, which wins
            assume(data.isascii() or not is_utf8(data))
    assert records(written(tmp_path, data, "data"), "cp1252" if encoding == "cp1252" else None) == wanted


# JSON


def test_lists_keep_the_types_of_their_values(tmp_path):
    rows = [["a query", "a passage", 1], ["another query", "é passage", 0.5], ["q", "p", None]]
    for data in (json.dumps(rows), json.dumps(rows, indent=1), "".join(json.dumps(row) + "\n" for row in rows)):
        path = written(tmp_path, data, "rag-list.json")
        assert records(path) == [{"column_1": one, "column_2": two, "column_3": three} for one, two, three in rows]
        assert str(inspect_file(path, path.name).source).endswith("no header, 3 columns: column_1, column_2, column_3")


def test_lists_of_texts_are_read_by_place_and_a_number_in_the_third_is_a_label(tmp_path):
    path = written(tmp_path, '["how to prune", "cut it", "water it"]\n["q", "p", "n"]\n', "t.jsonl")
    assert [(row.query, row.pos, row.neg) for row in read_training(path).items] == [
        ("how to prune", ["cut it"], ["water it"]),
        ("q", ["p"], ["n"]),
    ]
    labelled = '["a query", "a passage", 1]\n["a query", "another", 0]\n' + '["q", "p", 0]\n["q", "r", 1]\n'
    assert [(row.query, row.pos, row.neg) for row in read_training(written(tmp_path, labelled, "t.jsonl")).items] == [
        ("a query", ["a passage"], ["another"]),
        ("q", ["r"], ["p"]),
    ]


def test_faults_among_lists_have_their_line(tmp_path):
    file = read_training(written(tmp_path, '["a", "b"]\n["c", "d", "e"]\n{"query": 1}\n["broken"\n["f", "g"]\n', "t.jsonl"))
    assert {(each.line, each.kind) for each in file.open_problems} == {(2, "bad-record"), (3, "missing-field"), (4, "not-json")}
    assert len(file.items) == 2


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["data", "rows", "examples", "train", "my rows"])
def test_the_list_in_an_object_is_read_and_named(tmp_path, name, indent):
    rows = [{"query": f"q{n}", "pos": [f"p{n}"]} for n in range(4)]
    path = written(tmp_path, json.dumps({"version": "1.0", "licence": {"x": [1]}, name: rows, "tags": ["a"]}, indent=indent), "t.json")
    file = read_training(path)
    assert [row.query for row in file.items] == ["q0", "q1", "q2", "q3"]
    assert f"JSON, the list `{name}`, 2 fields: query, pos" in file.read_as


def test_several_lists_in_an_object_are_a_question(tmp_path):
    rows = [{"query": "q", "pos": ["p"]}]
    path = written(tmp_path, json.dumps({"train": rows, "test": rows}), "t.json")
    with pytest.raises(InputError, match=r"2 lists of records: `train`, `test`; .*jq"):
        read_training(path)
    late = json.dumps({"train": rows * 100_000, "test": rows})  # beyond what is looked at first
    with pytest.raises(InputError, match=r"2 lists of records: `train`, `test`"):
        read_training(written(tmp_path, late, "t.json"))


def test_one_record_with_lists_inside_is_a_record(tmp_path):
    record = {"query": "q", "positive_passages": [{"text": "p"}], "negative_passages": [{"text": "n"}]}
    for indent in (None, 2):
        (row,) = read_training(written(tmp_path, json.dumps(record, indent=indent), "t.jsonl")).items
        assert (row.query, row.pos, row.neg) == ("q", ["p"], ["n"])


def test_a_bad_first_line_does_not_make_a_document_of_json_lines(tmp_path):
    text = '{"query": "q", "pos": ["p"]\n{"query": "q", "pos": ["p"]}\n{"data": [{"x": 1}]}\n'
    assert {each.line for each in read_training(written(tmp_path, text, "t.jsonl")).open_problems} == {1, 3}


def test_elements_on_one_line_are_counted_and_on_several_have_their_line(tmp_path):
    rows = [{"query": "q", "pos": ["p"]}, {"query": "q2"}, {"query": "q3", "pos": ["p"]}]
    (problem,) = read_training(written(tmp_path, json.dumps({"data": rows}), "t.json")).open_problems
    assert str(problem).startswith("t.json:element 2 $.pos")
    text = '{"data": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}"
    (problem,) = read_training(written(tmp_path, text, "t.json")).open_problems
    assert str(problem).startswith("t.json:3 $.pos")


# Tables


def test_a_tab_in_every_record_wins_over_commas(tmp_path):
    for text in ("shirt, red, cotton, size L", "shirt, red"):
        rows = [(f"{colour} shirt for men", text) for colour in ("red", "blue", "green", "black")]
        path = written(tmp_path, "".join("\t".join(row) + "\n" for row in rows), "catalogue.tsv")
        assert [(row.query, row.pos) for row in read_training(path).items] == [(query, [passage]) for query, passage in rows]
    rows3 = "".join(f"a shirt {n}\tshirt, red, wool\that, red, wool\n" for n in range(4))
    assert read_training(written(tmp_path, rows3, "t")).items[0].neg == ["hat, red, wool"]


def test_a_quotation_mark_at_the_start_of_a_tsv_cell_is_text_unless_cells_are_quoted(tmp_path):
    triples = "".join(f'how often {n}\t"Give the tomato, often {n}\t"Cut it back, {n}\n' for n in range(5))
    assert read_training(written(tmp_path, triples, "t.tsv")).items[0].pos == ['"Give the tomato, often 0']
    one = "".join(f"how often {n}\tgive water {n}\n" for n in range(5)) + '"to be or not to be"\tHamlet says so\n'
    assert read_training(written(tmp_path, one, "t.tsv")).items[5].query == '"to be or not to be"'
    passages = "id\ttext\ttitle\n" + "".join(f'{n}\t"Give the tomato, often {n}"\tTomato\n' for n in range(5))
    assert read_pool(written(tmp_path, passages, "t.tsv")).items[0] == "Give the tomato, often 0"
    excel = "question\tanswer\n" + "how\tso\n" * 9 + 'why\t"because, ""so"""\n'
    assert read_training(written(tmp_path, excel, "t.tsv")).items[-1].pos == ['because, "so"']


# Arrow


@pytest.mark.parametrize("form", ["file", "stream"])
def test_rows_of_arrow_are_those_of_parquet(tmp_path, form):
    day = datetime.date(2024, 1, 1)
    items = pa.table({
        "question": pa.array([f"q{n}" for n in range(300)]).dictionary_encode(),
        "answer": [[f"p{n}", "é"] for n in range(300)],
        "n": range(300),
        "at": [day] * 300,
        "image": [b"\xff"] * 300,
        "meta": [{"a": None, "b": 1.5}] * 300,
    })  # fmt: skip
    out = io.BytesIO()
    pq.write_table(items, out)
    wanted = read_training(written(tmp_path, out.getvalue(), "t.parquet"))
    path = written(tmp_path, arrow(items, form), "t.arrow")
    found = read_training(path)
    assert [row.fields for row in found.items] == [row.fields for row in wanted.items]
    assert [(each.kind, each.severity) for each in found.problems] == [("field-left-out", "notice")]
    assert found.read_as == wanted.read_as.replace("Parquet", "Arrow")
    with path.open("rb") as file:  # an upload
        assert inspect_file(file, "t").source.format == "arrow"
        assert store(file, "t", "training", tmp_path)[0] == "train.arrow"


def test_faults_in_arrow_have_their_row(tmp_path, monkeypatch):
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers())
    path = written(tmp_path, arrow(pa.table({"query": ["q1", "q2"], "pos": bad}), "stream"), "t.arrow")
    (problem,) = read_training(path).open_problems
    assert (problem.line, problem.kind) == (2, "not-utf8")
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1_000)
    long = pa.table({"query": ["q1", "q2"], "pos": ["p" * 2_000, "p"]})
    assert [(each.line, each.kind) for each in read_training(written(tmp_path, arrow(long, "file"), "t")).problems] == [
        (1, "line-too-long")
    ]


def test_a_type_of_arrow_without_a_json_form_is_refused_by_column(tmp_path):
    odd = pa.RunEndEncodedArray.from_arrays([2], pa.array(["p"]))
    path = written(tmp_path, arrow(pa.table({"query": ["q1", "q2"], "pos": odd}), "file"), "t.arrow")
    with pytest.raises(InputError, match=r"the column `pos` has the type run_end_encoded.*write it as text"):
        read_training(path)


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_damaged_anywhere_is_refused_and_never_crashes(tmp_path, form):
    items = pa.table({"query": [f"q{n}" for n in range(60)], "pos": [[f"p{n}"] for n in range(60)]})
    data = arrow(items, form)
    for place in range(8, len(data), max(len(data) // 120, 1)):
        path = written(tmp_path, data[:place] + bytes(each ^ 0x5A for each in data[place : place + 9]) + data[place + 9 :], "t.arrow")
        for way in (lambda path=path: inspect_file(path, path.name), lambda path=path: read_training(path)):
            try:
                way()
            except InputError as error:
                assert str(path) in str(error) or path.name in str(error)


# Excel


def test_a_header_of_a_sheet_may_have_blanks_and_long_texts_are_no_header(tmp_path):
    path = written(tmp_path, workbook([("Die Frage", "Die Antwort"), ("wie", "so")]), "t.xlsx")
    assert inspect_file(path, "t").source.names == ("Die Frage", "Die Antwort")
    rows = [(f"how often should I water plant {n}", f"Give the plant {n} litres of water every day, early") for n in range(3)]
    assert [(row.query, row.pos) for row in read_training(written(tmp_path, workbook(rows), "t.xlsx")).items] == [
        (query, [passage]) for query, passage in rows
    ]


def test_a_sheet_keeps_the_types_of_its_cells(tmp_path):
    rows = [
        ("question", "answer", "n", "ok", "on", "wrong"),
        ("why", "because", 7, True, datetime.datetime(2024, 1, 2), '["x", "y"]'),
        (None,),
        ("how", "so\nand so", 1.5, False, None, None),
    ]
    path = written(tmp_path, workbook(rows), "t.xlsx")
    file = read_training(path)
    assert [{key: json.loads(bytes(value)) for key, value in row.fields.items()} for row in file.items] == [
        {"query": "why", "pos": ["because"], "n": 7, "ok": True, "on": "2024-01-02T00:00:00", "neg": ["x", "y"]},
        {"query": "how", "pos": ["so\nand so"], "n": 1.5, "ok": False, "on": None, "neg": []},
    ]
    assert [row.line for row in file.items] == [2, 4]
    assert file.read_as.startswith("Excel, 6 columns: question, answer, n, ok, on, wrong; read as query = question")
    assert (file.size, file.lines) == (path.stat().st_size, 4)
    with path.open("rb") as handle:
        assert store(handle, "t", "training", tmp_path)[0] == "train.xlsx"


def test_of_several_sheets_the_first_with_rows_is_read_and_named(tmp_path):
    rows = [("question", "answer"), ("q", "p")]
    assert "sheet" not in read_training(written(tmp_path, workbook([], rows), "t.xlsx")).read_as
    file = read_training(written(tmp_path, workbook([], rows, [("x",)]), "t.xlsx"))
    assert file.read_as.startswith("Excel, the sheet `Sheet 2`, the first of several, 2 columns: question, answer")
    assert len(file.items) == 1
    with pytest.raises(InputError, match=r"Excel workbook has no row"):
        read_training(written(tmp_path, workbook([]), "t.xlsx"))


def test_faults_in_a_sheet_have_their_row(tmp_path):
    rows = [("question", "answer"), ("q", "p"), ("q2", None), *[("q", "p")] * 300, ("q3", "p", "beyond")]
    file = read_training(written(tmp_path, workbook(rows), "t.xlsx"))
    assert [(each.line, each.kind) for each in file.open_problems] == [(3, "no-positive"), (304, "bad-record")]


def test_without_openpyxl_the_package_to_install_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *rest, **more)

    path = written(tmp_path, workbook([("question", "answer"), ("q", "p")]), "t.xlsx")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"pip install openpyxl"):
        read_training(path)


def test_a_workbook_damaged_anywhere_is_refused_and_never_crashes(tmp_path):
    data = workbook([("question", "answer"), *[(f"q{n}", f"p{n}") for n in range(50)]])
    for place in range(4, len(data), max(len(data) // 60, 1)):
        path = written(tmp_path, data[:place] + bytes(each ^ 0x5A for each in data[place : place + 20]) + data[place + 20 :], "t.xlsx")
        for way in (lambda path=path: inspect_file(path, path.name), lambda path=path: read_training(path)):
            try:
                way()
            except InputError as error:
                assert path.name in str(error)


def test_a_workbook_that_grows_without_measure_is_refused(tmp_path):
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
        with packed.open("xl/worksheets/sheet1.xml", "w") as part:
            for _ in range(300):
                part.write(b" " * 2**20)
    with pytest.raises(InputError, match=r"250-fold"):
        read_training(path)


def test_named_columns_apply_to_every_container(tmp_path):
    rows = [("Thema", "Rat"), ("wie oft", "jeden Tag")]
    columns = Columns(query="Thema", pos=("Rat",))
    for data in (workbook(rows), arrow(pa.table({"Thema": ["wie oft"], "Rat": ["jeden Tag"]}), "stream")):
        path = written(tmp_path, data, "t")
        with pytest.raises(ColumnsError):
            read_training(path)
        assert [(row.query, row.pos) for row in read_training(path, columns=columns).items] == [("wie oft", ["jeden Tag"])]
