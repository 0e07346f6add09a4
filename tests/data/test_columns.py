"""Which columns hold what: well-known names, what a person says, and never a guess that could make a wrong positive."""

from __future__ import annotations

import json

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.checks.check import check
from hnmine.core.errors import InputError, SettingsError
from hnmine.data.columns import Columns, columns_from, in_words, pool_columns, training_columns
from hnmine.data.reading import read_pool, read_training

NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("names", "query", "pos", "neg"),
    [
        (["anchor", "positive", "negative"], "anchor", ("positive",), ("negative",)),
        (["anchor", "positive", "negative_1", "negative_2"], "anchor", ("positive",), ("negative_1", "negative_2")),
        (["id", "question", "answer"], "question", ("answer",), ()),
        (["Question", "Answer", "Hard Negative"], "Question", ("Answer",), ("Hard Negative",)),
        (["query_id", "query", "positive_passages", "negative_passages"], "query", ("positive_passages",), ("negative_passages",)),
        (["question", "answers", "positive_ctxs", "negative_ctxs", "hard_negative_ctxs"], "question", ("positive_ctxs",),
         ("negative_ctxs", "hard_negative_ctxs")),
        (["sentence1", "sentence2"], "sentence1", ("sentence2",), ()),
        (["sentence_0", "sentence_1", "sentence_2"], "sentence_0", ("sentence_1",), ("sentence_2",)),
        (["query", "pos_1", "pos_2", "neg"], "query", ("pos_1", "pos_2"), ("neg",)),
        (["question", "context"], "question", ("context",), ()),
        (["pos", "query", "wrong"], "query", ("pos",), ("wrong",)),
    ],
)  # fmt: skip
def test_well_known_names_are_found(names, query, pos, neg):
    assert training_columns(names, Columns(), "f") == Columns(query=query, pos=pos, neg=neg)


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        ["query", "other"],
        ["question"],
        [],
    ],
)
def test_unknown_names_are_never_guessed(names):
    assert training_columns(names, Columns(), "f") is None


@pytest.mark.parametrize(
    ("names", "query", "pos", "label"),
    [
        (["sentence1", "sentence2", "label"], "sentence1", "sentence2", "label"),
        (["query", "passage", "score"], "query", "passage", "score"),
        (["sentence_a", "sentence_b", "similarity"], "sentence_a", "sentence_b", "similarity"),
        (["query", "document", "relevancy"], "query", "document", "relevancy"),
        (["question", "context", "answer"], "question", "context", None),
        (["question", "answer", "contexts", "ground_truth"], "question", "contexts", None),
        (["Frage", "Antwort", "Falsch"], "Frage", "Antwort", None),
        (["问题", "答案"], "问题", "答案", None),
    ],
)
def test_the_second_text_of_a_pair_goes_with_its_label_and_a_context_before_its_answer(names, query, pos, label):
    found = training_columns(names, Columns(), "f")
    assert (found.query, found.pos, found.label) == (query, (pos,), label)


def test_what_is_described_wins_part_by_part():
    names = ["query", "question", "pos", "answer", "neg"]
    assert training_columns(names, Columns(query="question"), "f") == Columns(query="question", pos=("pos",), neg=("neg",))
    assert training_columns(names, Columns(pos=("answer", "pos"), neg=()), "f") == Columns(query="query", pos=("answer", "pos"), neg=())


def test_a_column_that_is_not_there_is_reported_with_those_that_are():
    with pytest.raises(InputError, match=r"f\.csv: there is no column `frage`; the file has `question`, `answer`"):
        training_columns(["question", "answer"], Columns(query="frage"), "f.csv")
    with pytest.raises(InputError, match=r"no column `body`; the file has `id`"):
        pool_columns(["id"], Columns(text="body"), "f")
    with pytest.raises(InputError, match=r"`a` is named for two parts"):
        training_columns(["a", "b"], Columns(query="a", pos=("a",)), "f")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["_id", "title", "text"], "text"),
        (["docid", "contents"], "contents"),
        (["x"], None),
        (["id", "passage"], "passage"),
        (["a", "b"], None),
    ],
)
def test_the_text_of_a_pool_is_found(names, text):
    assert pool_columns(names, Columns(), "f") == (None if text is None else Columns(text=text))


@given(
    query=st.none() | NAME, pos=st.none() | st.lists(NAME, min_size=1, max_size=3), neg=st.none() | st.lists(NAME, max_size=3), text=NAME
)
def test_columns_survive_the_command_line(query, pos, neg, text):
    columns = Columns(query=query, pos=None if pos is None else tuple(pos), neg=None if neg is None else tuple(neg), text=text)
    assert columns_from(columns.words()) == columns


@pytest.mark.parametrize("words", [["query"], ["title=x"], ["query=a,b"], ["query="], ["pos="], ["neg=a", "neg=b"]])
def test_words_of_another_form_are_refused(words):
    with pytest.raises(SettingsError, match=r"columns"):
        columns_from(words)


def test_the_mapping_is_described_in_words():
    assert in_words(Columns(query="question", pos=("a", "b"), neg=())) == "query = question, pos = a + b"


# JSON lines with other names


def test_triplets_of_sentence_transformers(write_jsonl):
    path = write_jsonl(
        [{"id": 7, "anchor": "q", "positive": "p", "negative": "n", "x": [1.50]}, {"anchor": "q", "positive": "r", "negative": "m"}]
    )
    file = read_training(path)
    assert [(row.query, row.pos, row.neg) for row in file.items] == [("q", ["p"], ["n"]), ("q", ["r"], ["m"])]
    assert {key: json.loads(bytes(value)) for key, value in file.items[0].fields.items()} == {
        "id": 7, "query": "q", "pos": ["p"], "neg": ["n"], "x": [1.5],
    }  # fmt: skip
    assert list(file.items[0].fields) == ["id", "query", "pos", "neg", "x"]
    assert not file.problems
    assert "read as query = anchor, pos = positive, neg = negative" in file.read_as
    assert not file.plain


def test_passages_as_objects_are_their_title_and_text(write_jsonl):
    row = {
        "query_id": "1",
        "query": "q",
        "positive_passages": [{"docid": "a", "title": "T", "text": "one"}, {"docid": "b", "text": "two"}],
        "negative_passages": [{"docid": "c", "title": "", "text": "three"}],
    }
    (found,) = read_training(write_jsonl([row])).items
    assert (found.pos, found.neg) == (["T one", "two"], ["three"])
    assert list(found.fields) == ["query_id", "query", "pos", "neg"]


def test_faults_are_reported_by_the_names_of_the_file(write_jsonl):
    lines = [
        {"anchor": "q", "positive": ["p", " "]},
        {"anchor": 3, "positive": "p"},
        {"anchor": "q"},
        {"anchor": "q", "positive": []},
        {"positive": "p"},
        {"anchor": "other", "positive": [{"title": "", "text": ""}, "p"]},
        {"anchor": "q", "positive": 5},
    ]
    file = read_training(write_jsonl(lines))
    assert [(each.line, each.path, each.kind) for each in file.problems] == [
        (1, "$.positive[1]", "blank-passage"),
        (2, "$.anchor", "wrong-type"),
        (3, "$.positive", "missing-field"),
        (4, "$.positive", "no-positive"),
        (5, "$.anchor", "missing-field"),
        (6, "$.positive[0]", "blank-passage"),
        (7, "$.positive", "wrong-type"),
    ]
    repaired = read_training(write_jsonl(lines), repair="all", skip_bad_rows=True)
    assert [(row.line, row.pos) for row in repaired.items] == [(1, ["p"]), (6, ["p"])]


def test_a_field_of_a_taken_name_is_kept_under_another_and_reported(write_jsonl):
    path = write_jsonl([{"query": "old", "question": "q", "answer": "p", "neg": ["n"], "neg_": 1}])
    file = read_training(path, columns=Columns(query="question", neg=()))
    (row,) = file.items
    assert {key: json.loads(bytes(value)) for key, value in row.fields.items()} == {
        "query_": "old", "query": "q", "pos": ["p"], "neg__": ["n"], "neg_": 1,
    }  # fmt: skip
    assert [each.kind for each in file.problems] == ["field-renamed", "field-renamed"]
    assert row.neg == []


def test_scores_stay_with_their_passages(write_jsonl):
    path = write_jsonl([{"anchor": "q", "positive": ["a", " ", "c"], "pos_scores": [1, 2, 3]}])
    (row,) = read_training(path, repair=["blank-passage"]).items
    assert json.loads(bytes(row.fields["pos_scores"])) == [1, 3]


def test_plain_rows_stay_byte_for_byte_as_they_were(write_jsonl):
    line = '{"pos":["p" , "\\u00e9"],"answer": "x", "query": "q"}'
    file = read_training(write_jsonl([line]))
    assert bytes(file.items[0].fields["pos"]) == b'["p" , "\\u00e9"]'
    assert file.plain


def test_a_pool_under_another_name(write_jsonl):
    path = write_jsonl([{"docid": "1", "contents": "one"}, {"docid": "2", "contents": " "}], "pool.jsonl")
    file = read_pool(path)
    assert file.items == ["one"]
    assert [(each.line, each.path, each.kind) for each in file.problems] == [(2, "$.contents", "blank-passage")]
    assert read_pool(write_jsonl([{"a": "x", "b": "y"}], "pool.jsonl"), columns=Columns(text="b")).items == ["y"]


@pytest.mark.parametrize("read", [read_training, read_pool, check])
def test_a_file_with_a_question_is_closed_when_it_is_asked(tmp_path, read):
    """Windows would not let it be renamed or removed, and a server would collect open files."""
    table = pytest.importorskip("openpyxl").Workbook()
    for row in (["alpha", "beta"], *([f"left {n}", f"right {n}"] for n in range(5))):
        table.active.append(row)
    table.save(tmp_path / "asks.xlsx")
    with pytest.raises(InputError) as asked:
        read(tmp_path / "asks.xlsx")
    assert [file.path for file in psutil.Process().open_files() if file.path.endswith("asks.xlsx")] == []
    assert "alpha" in str(asked.value)
