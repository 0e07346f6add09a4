"""Headers with any names are seen, or asked about; what stands above them or repeats them is left out and reported."""

from __future__ import annotations

import io
import json
from pathlib import Path

import openpyxl
import pytest

from hnmine.core.errors import ColumnsError
from hnmine.data.columns import Columns
from hnmine.data.reading import read_pool, read_training

QUERIES = ("what is the bus fare", "who repairs bicycles here", "when does the library open", "how long does shipping take")
PASSAGES = tuple(f"This is passage number {n}, which answers {query} in some words." for n, query in enumerate(QUERIES))
ROWS = tuple(zip(QUERIES, PASSAGES, strict=True))
HEADERS = [
    ("User asks", "We say"),
    ("Frage vom Kunden", "Antwort des Teams"),
    ("Вопрос клиента", "Ответ оператора"),
    ("用户问题", "标准答案"),
    ("Question?", "Answer!"),
]


def table(*rows: tuple[object, ...]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def written(tmp_path: Path, data: str | bytes, name: str = "t.tsv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def pairs(path: Path, **columns: object) -> list[tuple[str, str]]:
    return [(row.query, row.pos[0]) for row in read_training(path, columns=Columns(**columns)).items]  # type: ignore[arg-type]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header[0])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_header_of_any_names_is_never_a_row_in_silence(tmp_path, header, count):
    path = written(tmp_path, table(header, *ROWS[:count]))
    with pytest.raises(ColumnsError) as question:
        read_training(path)
    assert all(name in str(question.value) for name in header)
    assert pairs(path, query=header[0], pos=(header[1],)) == [*ROWS[:count]]


def test_a_first_record_that_looks_like_a_header_may_be_a_row(tmp_path):
    for first in (("cats", "pets that sleep"), ("bus", "see fares")):
        path = written(tmp_path, table(first, *ROWS))
        with pytest.raises(ColumnsError, match="`column_1`"):
            read_training(path)
        assert pairs(path, query="column_1", pos=("column_2",)) == [first, *ROWS]


def test_records_without_a_header_are_not_asked_about(tmp_path):
    assert pairs(written(tmp_path, table(*ROWS))) == [*ROWS]
    assert pairs(written(tmp_path, table(("cats", "Cats sleep a lot."), *ROWS)))[0] == ("cats", "Cats sleep a lot.")
    short = (("dog", "Hund"), ("cat", "Katze"), ("mouse", "Maus"), ("horse", "Pferd"))
    assert pairs(written(tmp_path, table(*short))) == [*short]


def test_a_header_of_a_pool_is_no_passage(tmp_path):
    numbered = table(
        ("product_id", "category hierarchy", "product text"), *((n, "Home / Kitchen", text) for n, text in enumerate(PASSAGES))
    )
    path = written(tmp_path, numbered)
    with pytest.raises(ColumnsError, match="product text"):
        read_pool(path)
    assert read_pool(path, columns=Columns(text="product text")).items == [*PASSAGES]
    unsure = written(tmp_path, table(("Kapitel im ganzen Buch", "Inhalt"), *ROWS))
    with pytest.raises(ColumnsError, match=r"The first record may hold the names .* text=Inhalt"):
        read_pool(unsure)
    assert read_pool(unsure, columns=Columns(text="Inhalt")).items == [*PASSAGES]


@pytest.mark.parametrize("end", [".json", ".jsonl"])
def test_records_that_are_lists_may_have_a_header(tmp_path, end):
    def lists(header: tuple[str, str]) -> Path:
        rows = [json.dumps(row) for row in (header, *ROWS)]
        return written(tmp_path, "[" + ",\n".join(rows) + "]" if end == ".json" else "\n".join(rows), "t" + end)

    assert pairs(lists(("query", "positive"))) == [*ROWS]
    path = lists(("User asks", "We say"))
    with pytest.raises(ColumnsError, match="User asks"):
        read_training(path)
    assert pairs(path, query="User asks", pos=("We say",)) == [*ROWS]


@pytest.mark.parametrize(("between", "end"), [("", ".csv"), ("\ufeff", ".csv"), ("", ".xlsx")])
def test_a_header_among_the_records_is_left_out_and_reported(tmp_path, between, end):
    rows = [("query", "positive"), *ROWS[:2], (between + "query", "positive"), *ROWS[2:], ("query", "positive")]
    path = written(tmp_path, workbook(*rows) if end == ".xlsx" else "".join(f'{a},"{b}"\n' for a, b in rows), "t" + end)
    file = read_training(path)
    assert [(row.query, row.pos[0]) for row in file.items] == [*ROWS]
    ((line, kind, message),) = [(each.line, each.kind, each.message) for each in file.problems]
    assert (line, kind, message) == (4, "record-left-out", "the header comes again, also in the lines 7: left out")


@pytest.mark.parametrize("rule", ["|:--|:-:|", "|-|-|", "| :- | -: |", "|--|--|", "| - | :-: |", "|\u2014|\u2014|"])
@pytest.mark.parametrize("bars", [True, False])
def test_markdown_rules_of_every_kind_are_no_records(tmp_path, rule, bars):
    lines = ["|query|positive|", rule, *(f"|{query}|{passage}|" for query, passage in ROWS)]
    path = written(tmp_path, "\n".join(line if bars else line[1:-1] for line in lines), "t.md")
    assert pairs(path) == [*ROWS]


# Excel


def workbook(*rows: tuple[object, ...]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


def test_titles_above_the_header_of_a_sheet_are_left_out_and_reported(tmp_path):
    above = [("FAQ of the support, March 2024",), ("by the team",), ()]
    file = read_training(written(tmp_path, workbook(*above, ("Frage", "Antwort", "Kategorie"), *((*row, "x") for row in ROWS)), "t.xlsx"))
    assert [(row.line, row.query, row.pos[0]) for row in file.items] == [(n, *row) for n, row in enumerate(ROWS, 5)]
    (notice,) = file.problems
    assert "2 rows before the table, such as 'FAQ of the support, March 2024': left out" in notice.message


@pytest.mark.parametrize(
    "header",
    [
        [("Input", None, "Texts", None), ("id", "question", "positive", "negative")],
        [("id", "question", "passages", None), (None, None, "positive", "negative")],
    ],
)
def test_merged_cells_above_names_are_no_names(tmp_path, header):
    rows = [(n, *row, "Something else.") for n, row in enumerate(ROWS, 10)]
    file = read_training(written(tmp_path, workbook(*header, *rows), "t.xlsx"))
    assert [(row.query, row.pos[0], row.neg) for row in file.items] == [(*row, ["Something else."]) for row in ROWS]


def test_an_unnamed_column_does_not_make_a_record_the_header(tmp_path):
    rows = [("query", "positive", None), ("a short one", "b", "x"), *((*row, "x") for row in ROWS)]
    assert pairs(written(tmp_path, workbook(*rows), "t.xlsx")) == [("a short one", "b"), *ROWS]


def test_numbers_in_columns_of_texts_are_texts_and_other_cells_keep_their_type(tmp_path):
    path = written(
        tmp_path, workbook(("query", "positive", "n"), (404, "The page is missing.", 7), ("pi", 3.5, 8), (-1, 12.0, 9)), "t.xlsx"
    )
    file = read_training(path)
    assert [(row.query, row.pos) for row in file.items] == [("404", ["The page is missing."]), ("pi", ["3.5"]), ("-1", ["12"])]
    assert {name: json.loads(bytes(value)) for name, value in file.items[0].fields.items()} == {
        "query": "404",
        "pos": ["The page is missing."],
        "n": 7,
    }
    assert read_pool(written(tmp_path, workbook(("text",), ("one",), (2001,)), "p.xlsx")).items == ["one", "2001"]
