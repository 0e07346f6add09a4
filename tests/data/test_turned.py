"""JSON objects that hold a table by columns, or records by key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hnmine.core.errors import ColumnsError, InputError
from hnmine.data.columns import Columns
from hnmine.data.reading import read_pool, read_training

QUERIES = [f"what is number {n}" for n in range(5)]
PASSAGES = [f"It is {n}, as everyone knows." for n in range(5)]
PAIRS = list(zip(QUERIES, PASSAGES, strict=True))


def written(tmp_path: Path, value: object, indent: int | None = None) -> Path:
    path = tmp_path / "t.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=indent))
    return path


def pairs(path: Path, columns: Columns | None = None) -> list[tuple[str, str]]:
    return [(row.query, row.pos[0]) for row in read_training(path, columns=columns).items]


def by_row(values: list[str], name: str) -> dict[str, str]:
    return {name.format(number): value for number, value in enumerate(values)}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["{}", "row-{}"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_table_by_columns_is_read_by_rows(tmp_path, indent, name, count):
    table = {"query": by_row(QUERIES[:count], name), "positive": by_row(PASSAGES[:count], name)}
    file = read_training(written(tmp_path, table, indent))
    assert [(row.query, row.pos[0]) for row in file.items] == PAIRS[:count]
    assert "an object of columns" in file.read_as
    ids = [json.loads(bytes(row.fields["id"])) for row in file.items if "id" in row.fields]
    assert ids == ([] if name == "{}" else [name.format(n) for n in range(count)])  # numbers of rows say nothing
    assert pairs(written(tmp_path, {"query": QUERIES[:count], "positive": PASSAGES[:count]}, indent)) == PAIRS[:count]


def test_the_original_ms_marco_is_read(tmp_path):
    passages = [{"is_selected": 1, "passage_text": text, "url": "u"} for text in PASSAGES]
    wrong = {"is_selected": 0, "passage_text": "Something else.", "url": "u"}
    table = {
        "answers": {str(n): ["short"] for n in range(5)},
        "passages": {str(n): [wrong, each] for n, each in enumerate(passages)},
        "query": by_row(QUERIES, "{}"),
        "query_id": {str(n): n + 100 for n in range(5)},
    }
    file = read_training(written(tmp_path, table))
    assert [(row.query, row.pos, row.neg) for row in file.items] == [(query, [text], ["Something else."]) for query, text in PAIRS]


def test_a_large_table_by_columns_is_recognised_by_its_beginning(tmp_path):
    many = 30_000
    table = {
        "query": {str(n): f"a query with the number {n}" for n in range(many)},
        "pos": {str(n): [f"Passage {n}."] for n in range(many)},
    }
    assert len(json.dumps(table["query"])) > 2**20
    assert len(pairs(written(tmp_path, table))) == many
    assert len(pairs(written(tmp_path, {name: list(column.values()) for name, column in table.items()}))) == many
    by_key = {f"k{n}": {"query": f"a query with the number {n}", "pos": [f"Passage {n}."]} for n in range(many)}
    assert len(pairs(written(tmp_path, by_key))) == many


@pytest.mark.parametrize("indent", [None, 2])
def test_records_by_id_keep_it(tmp_path, indent):
    records = {str(n * 7 + 1): {"QUESTION": query, "positive": [text], "score": 1.50} for n, (query, text) in enumerate(PAIRS)}
    file = read_training(written(tmp_path, records, indent))
    assert [(row.query, row.pos[0]) for row in file.items] == PAIRS
    assert [json.loads(bytes(row.fields["id"])) for row in file.items] == ["1", "8", "15", "22", "29"]
    own = {key: {"id": "own", **record} for key, record in records.items()}
    fields = read_training(written(tmp_path, own)).items[0].fields
    assert (bytes(fields["id"]), bytes(fields["id_"])) == (b'"own"', b'"1"')


@pytest.mark.parametrize("value", [lambda text: text, lambda text: [text]])
def test_whether_a_key_is_the_query_is_asked(tmp_path, value):
    path = written(tmp_path, {query: value(text) for query, text in PAIRS})
    with pytest.raises(ColumnsError, match="query=key_text pos=value"):
        read_training(path)
    assert pairs(path, Columns(query="key_text", pos=("value",))) == PAIRS


def test_a_pool_may_have_its_passages_by_id(tmp_path):
    assert read_pool(written(tmp_path, by_row(PASSAGES, "d{}"))).items == PASSAGES
    assert read_pool(written(tmp_path, {f"d{n}": {"text": text} for n, text in enumerate(PASSAGES)})).items == PASSAGES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"query": {"0": "a b", "1": "c d"}, "positive": {"0": "x"}}', "`query` and `positive` do not have the same rows: only one has"),
        ('{"a b": ["x"], "a b": ["y"], "c d": ["z"], "e f": ["u"]}', "the key 'a b' occurs 2 times"),
        ('{"query": {"0": "a", "0": "b", "1": "c"}, "positive": {"0": "x", "1": "y"}}', "the key '0' occurs 2 times"),
    ],
)
def test_nothing_is_lost_in_silence(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_training(written(tmp_path, text))


@pytest.mark.parametrize("indent", [None, 2])
def test_one_record_stays_one_record(tmp_path, indent):
    assert pairs(written(tmp_path, {"query": "q w", "pos": ["p"], "neg": ["n"]}, indent)) == [("q w", "p")]
    nested = {"query": {"text": "q w", "id": "1"}, "positive": {"text": "p", "id": "2"}}
    assert pairs(written(tmp_path, nested, indent)) == [("q w", "p")]
    with pytest.raises(ColumnsError, match=r"input\.question"):
        read_training(written(tmp_path, {"meta": {"id": 1}, "input": {"question": "q w"}, "output": {"reply": "p"}}, indent))
