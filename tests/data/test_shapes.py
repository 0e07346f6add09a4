"""Shapes of training data are recognised by content, whatever the container, and give the same rows."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnmine.core.errors import ColumnsError, InputError, LabelsError, TextsError
from hnmine.data.columns import Columns, columns_from
from hnmine.data.dataset import read_files, read_inputs

PLANTS = ("tomato", "basil", "rose", "lavender", "courgette", "pea", "carrot", "onion", "garlic", "potato")
QUERIES = [f"how often should I water my {plant}" for plant in PLANTS]
POSITIVES = [f"Water the {plant} every {number + 2} days, early in the morning." for number, plant in enumerate(PLANTS)]
NEGATIVES = [f"Cut the {plant} back in March, a finger above a bud." for plant in PLANTS]
TRIPLES = list(zip(QUERIES, POSITIVES, NEGATIVES, strict=True))
ROWS = [(query, [pos], [neg]) for query, pos, neg in TRIPLES]


def write(path: Path, records: object, *, lines: bool = True) -> Path:
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records) if lines else json.dumps(records)  # type: ignore[union-attr]
    path.write_text(text, "utf-8")
    return path


def rows(path: Path, pool: Path | None = None, **settings: object) -> list[tuple[str, list[str], list[str]]]:
    return [(row.query, row.pos, row.neg) for row in read_inputs(path, pool, **settings).rows]


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def pairs(label: object = 1, other: object = 0) -> list[tuple[str, str, object]]:
    return [each for query, pos, neg in TRIPLES for each in ((query, pos, label), (query, neg, other))]


def asked(query: str, answer: str) -> list[dict[str, str]]:
    return [*chat(query), {"role": "assistant", "content": answer}]


def task(number: int, query: str, passage: str, choice: str) -> dict[str, object]:
    result = [{"from_name": "relevance", "type": "choices", "value": {"choices": [choice]}}]
    return {"id": number, "data": {"query": query, "passage": passage}, "annotations": [{"id": 1, "result": result}]}


def passages(texts: list[str], ids: list[int]) -> list[dict[str, object]]:
    return [{"docid": number, "text": texts[number]} for number in ids]


def squad() -> dict[str, object]:
    paragraphs = [
        {"context": pos, "qas": [{"id": query, "question": query, "answers": [{"text": "every 2 days", "answer_start": 0}]}]}
        for query, pos in zip(QUERIES, POSITIVES, strict=True)
    ]
    return {"version": "2.0", "data": [{"title": "Garden", "paragraphs": paragraphs}]}


# A shape -> its records, and the rows without negatives if it has none.
SHAPES: dict[str, tuple[list[object], bool]] = {
    "rows": ([{"query": q, "pos": [p], "neg": [n]} for q, p, n in TRIPLES], True),
    "triplet columns": ([{"anchor": q, "positive": p, "negative": n} for q, p, n in TRIPLES], True),
    "lists by place": ([[q, p, n] for q, p, n in TRIPLES], True),
    "pairs by place": ([[q, p] for q, p, _ in TRIPLES], False),
    "within one object": ([{"set": {"query": q, "pos": [p], "neg": [n]}} for q, p, n in TRIPLES], True),
    "list within one object": ([{"set": [q, p]} for q, p, _ in TRIPLES], False),
    "instruction and text": (
        [{"query": ["Find advice.", q], "pos": [["", p]], "neg": [["", n]]} for q, p, n in TRIPLES],
        True,
    ),
    "messages": (
        [{"messages": chat(q), "positive_messages": [chat(p)], "negative_messages": [chat(n)]} for q, p, n in TRIPLES],
        True,
    ),
    "query, response, rejected_response": ([{"query": q, "response": p, "rejected_response": [n]} for q, p, n in TRIPLES], True),
    "DPR": (
        [{"question": q, "answers": ["2 days"], "positive_ctxs": [{"title": "", "text": p}], "hard_negative_ctxs": [{"text": n}]}
         for q, p, n in TRIPLES],
        True,
    ),
    "Tevatron": (
        [{"query_id": str(i), "query": q, "positive_passages": [{"docid": "1", "text": p}],
          "negative_passages": [{"docid": "2", "text": n}]}
         for i, (q, p, n) in enumerate(TRIPLES)],
        True,
    ),
    "SQuAD rows": ([{"id": q, "question": q, "context": p, "answers": {"text": ["2"], "answer_start": [0]}} for q, p, _ in TRIPLES], False),
    "question, context, answer": ([{"question": q, "context": p, "answer": f"every {i}"} for i, (q, p, _) in enumerate(TRIPLES)], False),
    "question, contexts, answer, ground_truth": (
        [{"question": q, "contexts": [p], "answer": "2 days", "ground_truth": "2"} for q, p, _ in TRIPLES],
        False,
    ),
    "labels 1 and 0": ([{"query": q, "passage": p, "label": label} for q, p, label in pairs()], True),
    "labels true and false": ([{"sentence1": q, "sentence2": p, "is_relevant": label} for q, p, label in pairs(True, False)], True),
    "labels as words": ([{"query": q, "document": p, "relevancy": label} for q, p, label in pairs("relevant", "not relevant")], True),
    "labels in an unnamed third column": ([list(each) for each in pairs()], True),
    "labels in a third column of another name": ([{"query": q, "document": p, "good": label} for q, p, label in pairs("yes", "no")], True),
    "labelled messages": (
        [{"messages": chat(q), "positive_messages": [chat(p)], "label": label} for q, p, label in pairs(1.0, 0.0)],
        True,
    ),
    "passages with is_selected": (
        [{"query": q, "passages": [{"passage_text": n, "is_selected": 0, "url": "u"}, {"passage_text": p, "is_selected": 1, "url": "v"}]}
         for q, p, n in TRIPLES],
        True,
    ),
    "MS MARCO": (
        [{"answers": ["2 days"], "passages": {"is_selected": [0, 1], "passage_text": [n, p], "url": ["u", "v"]}, "query": q, "query_id": i}
         for i, (q, p, n) in enumerate(TRIPLES)],
        True,
    ),
    "DPR retriever": (
        [{"question": q, "answers": ["2"], "ctxs": [{"id": "1", "title": "", "text": p, "score": "80.5", "has_answer": True},
                                                    {"id": "2", "title": "", "text": n, "score": "79.2", "has_answer": False}]}
         for q, p, n in TRIPLES],
        True,
    ),
    "DuReader": (
        [{"question": q, "documents": [{"title": "", "paragraphs": [p], "is_selected": True},
                                       {"title": "", "paragraphs": [n], "is_selected": False}]} for q, p, n in TRIPLES],
        True,
    ),
    "labelled lists": ([{"query": q, "docs": [n, p], "labels": [0, 1]} for q, p, n in TRIPLES], True),
    "candidates and a place": (
        [{"query": q, "candidates": [p, n] if i % 2 else [n, p], "answer_idx": (i + 1) % 2} for i, (q, p, n) in enumerate(TRIPLES)],
        True,
    ),
    "choices and a key": (
        [{"question": q, "choices": {"text": [n, p], "label": ["A", "B"]}, "answerKey": "B"} for q, p, n in TRIPLES],
        True,
    ),
    "options and a letter": ([{"question": q, "option_a": n, "option_b": p, "answer": "B"} for q, p, n in TRIPLES], True),
    "numbered answers with scores": (
        [{"question": q, "answer_0": n, "answer_1": p, "score_0": -0.5, "score_1": 0.5} for q, p, n in TRIPLES],
        True,
    ),
    "answers A and B": (
        [{"history": q, "human_ref_A": p if i % 2 else n, "human_ref_B": n if i % 2 else p, "labels": i % 2}
         for i, (q, p, n) in enumerate(TRIPLES)],
        True,
    ),
    "preferences": ([{"prompt": q, "chosen": p, "rejected": n} for q, p, n in TRIPLES], True),
    "preferences as chats": ([{"chosen": asked(q, p), "rejected": asked(q, n)} for q, p, n in TRIPLES], True),
    "preferences as chats with a prompt": (
        [{"prompt": chat(q), "chosen": asked(q, p)[1:], "rejected": asked(q, n)[1:]} for q, p, n in TRIPLES],
        True,
    ),
    "conversations": ([{"messages": asked(q, p)} for q, p, _ in TRIPLES], False),
    "ShareGPT": (
        [{"id": q, "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": p}]} for q, p, _ in TRIPLES],
        False,
    ),
    "instruction, input, output": (
        [{"instruction": q, "input": "", "output": p} for q, p, _ in TRIPLES],
        False,
    ),
    "answer and incorrect answers": ([{"question": q, "answer": p, "incorrect_answers": [n]} for q, p, n in TRIPLES], True),
    "support and distractors": (
        [{"question": q, "distractor1": "one", "distractor2": "two", "correct_answer": "2 days", "support": p} for q, p, _ in TRIPLES],
        False,
    ),
    "Label Studio": ([task(i // 2, q, p, label) for i, (q, p, label) in enumerate(pairs("Relevant", "Irrelevant"))], True),
    "Label Studio, minimal": (
        [{"query": q, "passage": p, "choice": label, "annotator": 1} for q, p, label in pairs("Relevant", "Irrelevant")],
        True,
    ),
    "Argilla": (
        [{"fields": {"query": q, "passage": p}, "responses": {"label": [{"value": label, "status": "submitted"}]}}
         for q, p, label in pairs("relevant", "irrelevant")],
        True,
    ),
    "columns of Argilla": (
        [{"query": q, "passage": p, "label.responses": [label], "label.responses.status": ["submitted"], "label.suggestion": "relevant"}
         for q, p, label in pairs("relevant", "irrelevant")],
        True,
    ),
    "objects with texts": (
        [{"query": {"text": q, "lang": "en"}, "positive": {"text": p}, "negative": [{"text": n}]} for q, p, n in TRIPLES],
        True,
    ),
}  # fmt: skip


def table(records: list[object]) -> list[dict[str, object]]:
    """The records with text cells alone; lists and objects are JSON in a cell."""
    made = [dict(enumerate(each)) if isinstance(each, list) else each for each in records]
    return [
        {name: json.dumps(cell) if isinstance(cell, list | dict) else cell for name, cell in each.items()}
        for each in made  # type: ignore[attr-defined]
    ]


def delimited(records: list[dict[str, object]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if not isinstance(next(iter(records[0])), int):
        writer.writerow(records[0])
    writer.writerows(each.values() for each in records)
    return out.getvalue()


CONTAINERS = ("jsonl", "array", "object", "parquet", "csv", "tsv", "semicolons", "utf-16")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_gives_the_same_rows_in_every_container(tmp_path, shape, container):
    records, with_negatives = SHAPES[shape]
    path = tmp_path / "data"
    if container in ("csv", "tsv", "semicolons", "utf-16"):
        if len(records[0]) == 1:  # type: ignore[arg-type]
            pytest.skip("one column is no table")
        delimiter = {"tsv": "\t", "utf-16": "\t", "semicolons": ";"}.get(container, ",")
        path.write_bytes(delimited(table(records), delimiter).encode("utf-16" if container == "utf-16" else "utf-8"))
    elif container == "parquet":
        if isinstance(records[0], list):
            pytest.skip("columns have names")
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        write(path, {"data": records} if container == "object" else records, lines=container == "jsonl")
    expected = ROWS if with_negatives else [(query, pos, []) for query, pos, _ in ROWS]
    assert rows(path) == expected
    assert not read_files(path).problems


def places(item: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of each value inside a record."""
    for key, each in item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ():
        yield (*path, key)
        yield from places(each, (*path, key))


def without(record: object, path: tuple[str | int, ...]) -> object:
    """A copy of the record whose value at this path is null."""
    made = copy.deepcopy(record)
    inside = made
    for key in path[:-1]:
        inside = inside[key]  # type: ignore[index]
    inside[path[-1]] = None  # type: ignore[index]
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_a_missing_value_is_a_question_or_a_problem_and_never_changes_another_row(tmp_path, shape):
    records, with_negatives = SHAPES[shape]
    expected = {query: (pos, neg if with_negatives else []) for query, pos, neg in ROWS}
    for path in places(records[5]):
        if path[0] == "label.responses":  # then the suggestion counts, with a notice
            continue
        file = write(tmp_path / "data.jsonl", [without(each, path) if number == 5 else each for number, each in enumerate(records)])
        try:
            found = rows(file)
        except InputError:
            continue
        assert len(found) >= len(ROWS) - 1, path
        for query, pos, neg in found:
            assert query in expected and {*pos} <= {*expected[query][0]} and {*neg} <= {*expected[query][1]}, path


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", [True, False])
def test_other_fields_do_not_change_what_is_read(tmp_path, shape, first):
    records, with_negatives = SHAPES[shape]
    if not isinstance(records[0], dict) or len(records[0]) == 1:
        pytest.skip("a record has no other fields")
    others: dict[str, object] = {
        "url": "https://x.org/7",
        "metadata": {"a": 1, "b": "c"},
        "tags": ["x", "y"],
        "flags": [0, 1],
        "weight": 0.5,
    }
    others |= {"meta": '{"k": [1, 2]}', "notes": '["a", "b"]', "token_counts": [12, 14], "difficulty": "hard", "embedding": [0.1, 0.2]}
    path = write(tmp_path / "data.jsonl", [others | each if first else each | others for each in records])  # type: ignore[operator]
    found = read_inputs(path)
    assert [(row.query, row.pos, row.neg) for row in found.rows] == [(q, pos, neg if with_negatives else []) for q, pos, neg in ROWS]
    if shape not in ("Label Studio", "Argilla"):
        kept = found.rows[0].fields
        assert {name: json.loads(bytes(kept[name])) for name in others} == others


def test_squad_documents_give_a_row_a_question_and_count_the_unanswerable(tmp_path):
    data = squad()
    data["data"][0]["paragraphs"][3]["qas"].append({"question": "why", "id": "x", "answers": [], "is_impossible": True})  # type: ignore[index]
    path = write(tmp_path / "dev-v2.0.json", data, lines=False)
    assert rows(path) == [(query, pos, []) for query, pos, _ in ROWS]
    (notice,) = read_files(path).problems
    assert (notice.kind, notice.severity) == ("record-left-out", "notice")
    assert "1 x question without an answer" in notice.message


def test_one_object_of_queries_corpus_and_judgements_is_rows_and_pool(tmp_path):
    data = {
        "queries": {f"q{n}": query for n, query in enumerate(QUERIES)},
        "corpus": {f"d{n}": text for n, text in enumerate([*POSITIVES, *NEGATIVES])},
        "relevant_docs": {f"q{n}": [f"d{n}"] for n in range(len(QUERIES))},
        "mode": "text",
    }
    found = read_inputs(write(tmp_path / "data.json", data, lines=False))
    assert [(row.query, row.pos) for row in found.rows] == [(query, pos) for query, pos, _ in ROWS]
    assert found.pool == [*POSITIVES, *NEGATIVES]


# Labels


def test_grades_are_asked_with_their_counts_and_chosen_by_value_or_threshold(tmp_path):
    graded = [each for query, pos, neg in TRIPLES for each in ((query, pos, 4), (query, neg, 1), (query, f"Not {query}", 2))]
    path = write(tmp_path / "graded.jsonl", [{"query": q, "document": p, "grade": grade} for q, p, grade in graded])
    with pytest.raises(LabelsError, match=r"`grade` is '4' in 10 rows.*--positive_labels 4") as question:
        rows(path)
    assert question.value.counts == {"4": 10, "1": 10, "2": 10}
    expected = [(query, pos, [*neg, f"Not {query}"]) for query, pos, neg in ROWS]
    assert rows(path, columns=columns_from(["positive_labels=4"])) == expected
    assert rows(path, columns=columns_from(["positive_labels=>=3"])) == expected
    assert [row[1] for row in rows(path, columns=columns_from(["positive_labels=4,2"]))] == [
        [*pos, f"Not {query}"] for query, pos, _ in ROWS
    ]
    with pytest.raises(LabelsError, match=r"no row has the label '5'"):
        rows(path, columns=columns_from(["positive_labels=5"]))
    assert len(rows(path, columns=columns_from(["label="]))) == 30


@pytest.mark.parametrize("name", ["is_negative", "distance", "rank", "page", "edited"])
@pytest.mark.parametrize("more", [{}, {"editor": "anna"}])
def test_a_column_of_few_values_that_is_not_named_as_a_label_is_asked_about(tmp_path, name, more):
    path = write(tmp_path / "pairs.jsonl", [{"query": q, "passage": p, **more, name: value} for q, p, value in pairs(0, 1)])
    with pytest.raises(LabelsError, match=f"which values of `{name}` make a passage positive"):
        rows(path)
    assert rows(path, columns=columns_from(["positive_labels=0"])) == ROWS
    assert len(rows(path, columns=columns_from(["label="]))) == 20


@pytest.mark.parametrize(
    "names", [("qid", "question", "answer", "is_correct"), ("", "query", "passage", "good"), ("id", "text_a", "text_b", "similar")]
)
def test_a_label_beside_other_columns_is_seen(tmp_path, names):
    lines = [names, *((n, q, p, label) for n, (q, p, label) in enumerate(pairs()))]
    path = tmp_path / "pairs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert rows(path) == ROWS


def test_numbers_are_no_passages_and_may_have_a_decimal_comma(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{q}\t{p}\t0,{70 + n if label else 10 + n}\n" for n, (q, p, label) in enumerate(pairs())))
    with pytest.raises(LabelsError, match=r"`column_3` (is|has)"):
        rows(path)
    assert rows(path, columns=columns_from(["positive_labels=>=0.5"])) == ROWS


def test_words_for_a_missing_value_are_no_passages_of_a_spreadsheet(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        "query,positive,negative\n"
        + "".join(f'{q},"{p}",{"NaN" if n % 2 else n_}\n' for n, (q, p, n_) in enumerate((q, p, f'"{n}"') for q, p, n in TRIPLES))
    )
    assert [row[2] for row in rows(path)] == [[] if n % 2 else [NEGATIVES[n]] for n in range(len(PLANTS))]


def test_a_query_without_a_positive_label_is_counted_and_left_out(tmp_path):
    records = [{"query": q, "passage": p, "label": label} for q, p, label in [*pairs(), ("why", "Because of it.", 0)]]
    path = write(tmp_path / "pairs.jsonl", records)
    assert rows(path) == ROWS
    (notice,) = read_files(path).problems
    assert (notice.kind, notice.line, notice.severity) == ("no-positive", 21, "notice")
    assert "1 of 11 queries" in notice.message


def test_a_row_without_its_label_is_a_problem_of_its_line(tmp_path):
    records: list[dict[str, object]] = [{"query": q, "passage": p, "label": label} for q, p, label in pairs()]
    records[4]["label"] = None
    path = write(tmp_path / "pairs.jsonl", records)
    with pytest.raises(InputError, match=r"pairs\.jsonl:5 \$\.label  `label` is missing"):
        rows(path)
    assert len(rows(path, skip_bad_rows=True)) == 9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(QUERIES), st.sampled_from([*POSITIVES, *NEGATIVES]), st.booleans()), min_size=1, max_size=30))
def test_joined_pairs_hold_what_a_dictionary_holds(tmp_path_factory, given_pairs):
    path = tmp_path_factory.getbasetemp() / "pairs.jsonl"
    write(path, [{"query": q, "passage": p, "label": int(label)} for q, p, label in given_pairs])
    expected: dict[str, tuple[list[str], list[str]]] = {}
    for query, passage, label in given_pairs:
        sides = expected.setdefault(query, ([], []))
        if passage not in sides[not label]:
            sides[not label].append(passage)
    kept = [(query, pos, neg) for query, (pos, neg) in expected.items() if pos]
    if not kept:
        with pytest.raises(InputError, match="no usable training row"):
            rows(path)
        return
    assert rows(path) == kept


# Ids

POOL = [{"docid": f"d{number}", "text": text} for number, text in enumerate([*POSITIVES, *NEGATIVES])]
BY_ID: dict[str, list[object]] = {
    "lists": [{"query": q, "pos": [f"d{n}"], "neg": [f"d{n + 10}"]} for n, q in enumerate(QUERIES)],
    "named as ids": [
        {"query_text": q, "positive_document_ids": [f"d{n}"], "negative_document_ids": [f"d{n + 10}"]} for n, q in enumerate(QUERIES)
    ],
    "objects": [{"question": q, "pos_doc": [{"id": f"d{n}"}], "neg_doc": [{"id": f"d{n + 10}"}]} for n, q in enumerate(QUERIES)],
    "by source": [{"query": q, "pos": [f"d{n}"], "neg": {"bm25": [f"d{n + 10}"], "dense": [f"d{n + 10}"]}} for n, q in enumerate(QUERIES)],
}


@pytest.mark.parametrize("way", BY_ID)
def test_ids_are_joined_with_the_pool_and_refused_without_it(tmp_path, way):
    path, pool = write(tmp_path / "rows.jsonl", BY_ID[way]), write(tmp_path / "pool.jsonl", POOL)
    assert rows(path, pool) == ROWS
    assert "20 passages by their id in pool.jsonl" in read_files(path, pool).training.read_as
    with pytest.raises(TextsError, match=r"passages by id, such as 'd0', and the file with the passages is missing") as question:
        rows(path)
    assert question.value.missing == ("passages",)


def test_numbers_are_ids_too_and_an_unknown_one_is_a_problem_of_its_row(tmp_path):
    pool = write(tmp_path / "pool.jsonl", [{"nr": n, "text": text} for n, text in enumerate([*POSITIVES, *NEGATIVES])])
    records = [{"query": q, "pos": [n], "neg": [n + 10]} for n, q in enumerate(QUERIES)]
    assert rows(write(tmp_path / "rows.jsonl", records), pool) == ROWS
    records[2]["neg"] = [99]
    path = write(tmp_path / "rows.jsonl", records)
    with pytest.raises(InputError, match=r"rows\.jsonl:3 \$  there is no passage '99' in pool\.jsonl"):
        rows(path, pool)
    repaired = rows(path, pool, repair=["unknown-id"])
    assert repaired[2] == (QUERIES[2], [POSITIVES[2]], [])
    assert rows(path, pool, skip_bad_rows=True) == [row for row in ROWS if row[0] != QUERIES[2]]


def test_a_pool_of_other_ids_is_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", BY_ID["lists"])
    pool = write(tmp_path / "pool.jsonl", [{"docid": f"x{n}", "text": text} for n, text in enumerate(POSITIVES)])
    with pytest.raises(InputError, match=r"20 of 20 ids that the rows name are not in it.*--columns id=NAME"):
        rows(path, pool)


@pytest.mark.parametrize(
    "line", ["{n}\t{p}\t{m}", "{n} 0 d{p} 1", "{n}\td{p}\t1", '{{"qid": {n}, "pos": [{p}], "neg": {{"bm25": [{m}]}}}}', "{n}\td{p}"]
)
def test_queries_by_id_are_refused_with_what_is_missing(tmp_path, line):
    path = tmp_path / "ids.tsv"
    path.write_text("".join(line.format(n=1_000 + n, p=n, m=n + 10) + "\n" for n in range(10)))
    with pytest.raises((TextsError, ColumnsError)) as question:
        read_files(path, write(tmp_path / "pool.jsonl", POOL))
    assert not isinstance(question.value, TextsError) or "queries" in question.value.missing


def test_texts_of_one_word_are_no_ids(tmp_path):
    brands = [{"query": f"who makes the {plant} shears", "pos": [f"{plant.title()}ia"]} for plant in PLANTS]
    assert len(rows(write(tmp_path / "brands.jsonl", brands))) == len(PLANTS)


# Titles


def titled(**changed: object) -> tuple[list[object], list[object]]:
    train = [{"query": q, "pos": [{"title": plant.title(), "text": p}]} for plant, (q, p, _) in zip(PLANTS, TRIPLES, strict=True)]
    pool = [{"title": PLANTS[n % 10].title(), "text": text} for n, text in enumerate([*POSITIVES, *NEGATIVES])]
    return train, pool


@pytest.mark.parametrize("rows_have", ["title and text", "text"])
@pytest.mark.parametrize("pool_has", ["title and text", "text"])
def test_a_pool_passage_that_equals_a_positive_with_or_without_its_title_is_that_positive(tmp_path, rows_have, pool_has):
    train = [
        {"query": q, "positive_passages": [{"title": plant.title(), "text": p} if "title" in rows_have else {"text": p}]}
        for plant, (q, p, _) in zip(PLANTS, TRIPLES, strict=True)
    ]
    pool = [
        {"title": PLANTS[n % 10].title(), "text": text} if "title" in pool_has else {"text": text}
        for n, text in enumerate([*POSITIVES, *NEGATIVES])
    ]
    found = read_inputs(write(tmp_path / "train.jsonl", train), write(tmp_path / "pool.jsonl", pool))
    assert len(found.corpus.passages) == 20, "a positive stands in the pool a second time"


def test_titles_are_joined_or_left_out_as_the_user_says(tmp_path):
    train = write(tmp_path / "train.jsonl", [{"query": "why", "pos": ["Because."]}])
    pool = write(tmp_path / "pool.jsonl", [{"title": "Rose", "text": "Water it."}])
    for words, expected in (([], "Water it."), (["titles=join"], "Rose Water it."), (["titles=ignore"], "Water it.")):
        assert read_inputs(train, pool, columns=columns_from(words)).pool == [expected]


# What recognition misses


def test_short_positives_beside_a_longer_column_stop_until_confirmed(tmp_path):
    records = [{"query": q, "pos": ["every 2"], "source": f"{p} {n}"} for q, p, n in TRIPLES]
    path = write(tmp_path / "rows.jsonl", records)
    with pytest.raises(InputError, match=r"fewer than 3 words, such as 'every 2', and `source` has texts of \d+ words") as refusal:
        rows(path)
    assert "repair to improbable-data" in str(refusal.value)
    with pytest.raises(InputError):
        rows(path, repair="all")
    assert len(rows(path, repair=["improbable-data"])) == len(PLANTS)


def test_one_positive_for_most_queries_stops_until_confirmed(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"query": q, "pos": ["See the manual for all of this."]} for q in QUERIES])
    with pytest.raises(InputError, match=r"100% of the queries have the same positive, 'See the manual"):
        rows(path)


def test_swapped_columns_and_contradictions_are_noted(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"query": 5 * p, "pos": [q], "neg": [q]} for q, p, _ in TRIPLES])
    messages = [problem.message for problem in read_files(path).problems if problem.kind == "improbable-data"]
    assert len(messages) == 2
    assert "10 rows have a passage both as positive and as negative" in messages[0]
    assert "perhaps the columns are swapped" in messages[1]


def test_named_columns_switch_the_shapes_off(tmp_path):
    path = write(tmp_path / "rows.jsonl", BY_ID["lists"])
    assert read_files(path, columns=Columns(query="query", pos=("pos",))).training.items[0].pos == ["d0"]
