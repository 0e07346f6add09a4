"""Words for missing values, such as "nan", are no passages in any format; a query may be one."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hnmine.data.reading import read_training

WORDS = ["None", "nan", "NaN", "null", "NULL", "N/A", "n/a", "<NA>", " none "]


def written(tmp_path: Path, row: dict[str, object], kind: str) -> Path:
    path = tmp_path / f"t.{kind}"
    rows = [row, {name: [value] if isinstance(row[name], list) else value for name, value in GOOD.items() if name in row}]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


GOOD = {
    "query": "a good query",
    "positive": "a good positive",
    "negative": "a good negative",
    "pos": "a good positive",
    "neg": "a negative",
}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_a_word_in_place_of_a_text_is_missing(tmp_path, word, kind):
    file = read_training(written(tmp_path, {"query": "q w", "positive": "the text", "negative": word}, kind))
    assert [row.neg for row in file.items] == [[], ["a good negative"]]
    assert "1 value of a passage, the first here" in file.problems[0].message
    assert word.strip() in file.problems[0].message
    file = read_training(written(tmp_path, {"query": "q w", "positive": word, "negative": "the text"}, kind))
    assert [each.kind for each in file.open_problems] == ["no-positive"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("names", [("pos", "neg"), ("positive", "negative")])
def test_a_word_in_a_list_is_a_blank_passage(tmp_path, word, names):
    path = written(tmp_path, {"query": "q w", names[0]: ["the text"], names[1]: ["one", word]}, "jsonl")
    (problem,) = read_training(path).open_problems
    assert (problem.line, problem.path, problem.kind) == (1, f"$.{names[1]}[1]", "blank-passage")
    assert f"{word.strip()!r}, a word for a missing value" in problem.message
    assert read_training(path, repair=["blank-passage"]).items[0].neg == ["one"]


@pytest.mark.parametrize("word", ["none", "null", "nan"])
def test_a_query_and_longer_texts_stay(tmp_path, word):
    row = {"query": word, "pos": [f"{word} of them", f"{word}."], "neg": ["No", "0", "-"]}
    file = read_training(written(tmp_path, row, "jsonl"))
    assert not file.problems
    first = file.items[0]
    assert (first.query, first.pos, first.neg) == (word, [f"{word} of them", f"{word}."], ["No", "0", "-"])
