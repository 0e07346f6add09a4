"""Records with several judgements, lists written as text, and objects: read right, or a question; never a wrong reading in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.checks.check import check
from hnmine.core.errors import ColumnsError, InputError, LabelsError
from hnmine.data.columns import Columns, columns_from, is_label, training_columns
from hnmine.data.dataset import read_inputs
from hnmine.data.formats.literals import list_in, literal_in, looks_like_list

PLANTS = ("tomato", "basil", "rose", "lavender", "courgette", "pea", "carrot", "onion", "garlic", "potato")
TRIPLES = [
    (f"how often should I water my {plant}", f"Water the {plant} every {n + 2} days, early.", f"Cut the {plant} back in March.")
    for n, plant in enumerate(PLANTS)
]
ROWS = [(query, [pos], [neg]) for query, pos, neg in TRIPLES]


def write(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), "utf-8")
    return path


def rows(path: Path, *words: str, pool: Path | None = None, **settings: object) -> list[tuple[str, list[str], list[str]]]:
    found = read_inputs(path, pool, columns=columns_from(words), **settings)  # type: ignore[arg-type]
    return [(row.query, row.pos, row.neg) for row in found.rows]


def messages(path: Path, **settings: object) -> list[str]:
    return [each.message for each in read_inputs(path, **settings).problems]  # type: ignore[arg-type]


def chat(query: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]


# Judged passages


@pytest.mark.parametrize("flag", ["score", "relevance", "rank", "distance"])
def test_a_grade_or_a_score_of_passages_is_asked_about(tmp_path, flag):
    records = [{"query": q, "passages": [{"text": p, flag: 3}, {"text": n, flag: 2}]} for q, p, n in TRIPLES]
    path = write(tmp_path / "data.jsonl", records)
    with pytest.raises(LabelsError, match=f"`{flag}` is '3' in 10 rows, '2' in 10 rows"):
        rows(path)
    assert rows(path, "positive_labels=3") == ROWS


def test_scores_beside_a_list_of_passages_are_asked_about(tmp_path):
    path = write(tmp_path / "data.jsonl", [{"query": q, "passages": [p, n], "scores": [0.9, 0.1]} for q, p, n in TRIPLES])
    with pytest.raises(LabelsError, match=r"`scores` is '0\.9'"):
        rows(path)
    assert rows(path, "positive_labels=>=0.5") == ROWS


def test_a_judgement_goes_before_the_score_of_the_retriever(tmp_path):
    records = [
        {"question": q, "ctxs": [{"text": n, "score": 9.5, "has_answer": False}, {"text": p, "score": 9.1, "has_answer": True}]}
        for q, p, n in TRIPLES
    ]
    assert rows(write(tmp_path / "data.jsonl", records)) == ROWS


def test_a_title_is_joined_and_the_passage_of_the_pool_without_it_is_the_same(tmp_path):
    records = [{"query": q, "passages": [{"title": "Garden", "text": p, "label": 1}, {"text": n, "label": 0}]} for q, p, n in TRIPLES]
    pool = write(tmp_path / "pool.jsonl", [{"text": text} for _, p, n in TRIPLES for text in (p, n)])
    found = read_inputs(write(tmp_path / "data.jsonl", records), pool)
    assert found.rows[0].pos == [f"Garden {TRIPLES[0][1]}"]
    assert len(found.corpus.passages) == 20


def test_a_query_without_a_selected_passage_is_counted(tmp_path):
    records = [{"query": q, "passages": [{"text": p, "is_selected": 1}, {"text": n, "is_selected": 0}]} for q, p, n in TRIPLES]
    records[3]["passages"] = [{"text": "Not at all.", "is_selected": 0}]
    records[4]["passages"] = []
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == [*ROWS[:3], *ROWS[5:]]
    assert {"1 of 9 queries have no positive and are left out", "1 x query without a passage, the first here: left out"} == {
        *messages(path)
    }


def test_a_passage_without_its_flag_is_a_problem_of_its_line(tmp_path):
    records = [{"query": q, "passages": [{"text": p, "is_selected": 1}, {"text": n, "is_selected": 0}]} for q, p, n in TRIPLES]
    records[2]["passages"] = [{"text": "It has none.", "is_selected": None}]
    with pytest.raises(InputError, match=r"data\.jsonl:3 \$\.is_selected  `is_selected` is missing"):
        rows(write(tmp_path / "data.jsonl", records))


def test_scores_of_named_positives_are_no_judgements(tmp_path):
    records = [{"query": q, "positives": [{"text": p, "score": 0.4}], "hard_negatives": [{"text": n, "score": 0.3}]} for q, p, n in TRIPLES]
    assert rows(write(tmp_path / "data.jsonl", records)) == ROWS


@pytest.mark.parametrize("way", ["texts", "objects", "numbers"])
def test_judged_passages_may_be_ids(tmp_path, way):
    def passages(n: int) -> dict[str, object]:
        if way == "objects":
            return {"docs": [{"docid": f"d{n}", "label": 1}, {"docid": f"d{n + 10}", "label": 0}]}
        named = {"docs": [f"d{n}", f"d{n + 10}"]} if way == "texts" else {"doc_ids": [n, n + 10]}
        return {**named, "labels": [1, 0]}

    records = [{"query": q, **passages(n)} for n, (q, _, _) in enumerate(TRIPLES)]
    texts = [p for _, p, _ in TRIPLES] + [n for _, _, n in TRIPLES]
    pool = write(tmp_path / "pool.jsonl", [{"docid": n if way == "numbers" else f"d{n}", "text": text} for n, text in enumerate(texts)])
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path, pool=pool) == ROWS
    with pytest.raises(InputError, match="passages by id"):
        rows(path)


def test_judged_passages_in_fields_that_the_user_names(tmp_path):
    records = [{"ticket": q, "hits": [{"text": p, "label": 1}, {"text": n, "label": 0}]} for q, p, n in TRIPLES]
    path = write(tmp_path / "data.jsonl", records)
    with pytest.raises(ColumnsError, match=r"--columns query=ticket pos=hits"):
        rows(path)
    assert rows(path, "query=ticket", "pos=hits") == ROWS


# The place of the right one


def places(first: int, *, last: bool = True) -> list[dict[str, object]]:
    """Records whose right candidate is in the middle, or in one of them the last."""
    return [
        {"question": q, "choices": [n, "No.", p] if last and not i else [n, p, "No."], "answer": (2 if last and not i else 1) + first}
        for i, (q, p, n) in enumerate(TRIPLES)
    ]


def test_places_count_from_one_if_one_is_the_number_of_candidates(tmp_path):
    path = write(tmp_path / "data.jsonl", places(1))
    assert [row[1] for row in rows(path)] == [[p] for _, p, _ in TRIPLES]


def test_places_that_may_count_from_either_are_asked_about(tmp_path):
    path = write(tmp_path / "data.jsonl", places(0, last=False))
    with pytest.raises(LabelsError) as question:
        rows(path)
    assert question.value.counts == {"counted-from-0": 10, "counted-from-1": 10, "0": 10}
    assert [row[1] for row in rows(path, "positive_labels=counted-from-0")] == [[p] for _, p, _ in TRIPLES]


def test_the_right_candidate_may_be_named_by_its_text_or_in_a_list_of_places(tmp_path):
    named = [{"question": q, "options": [n, p], "answer": p} for q, p, n in TRIPLES]
    assert rows(write(tmp_path / "text.jsonl", named)) == ROWS
    listed = [{"question": q, "passages": [p, n] if i else [n, p], "pos_idx": [0 if i else 1]} for i, (q, p, n) in enumerate(TRIPLES)]
    assert rows(write(tmp_path / "places.jsonl", listed)) == ROWS


# Comparisons and chats


def test_answers_with_the_same_score_are_left_out_and_counted(tmp_path):
    records = [{"question": q, "answer_0": n, "answer_1": p, "score_0": -1, "score_1": 0.5} for q, p, n in TRIPLES]
    records[2] |= {"score_0": 0, "score_1": 0}
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == [*ROWS[:2], *ROWS[3:]]
    assert messages(path) == ["1 x query whose answers have the same score, the first here: left out"]


def test_a_chat_written_as_one_text_is_a_preference_too(tmp_path):
    records = [
        {name: f"\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: {q}\n\nAssistant: {text}" for name, text in (("chosen", p), ("rejected", n))}
        for q, p, n in TRIPLES
    ]
    assert rows(write(tmp_path / "data.jsonl", records)) == ROWS


def test_later_turns_are_left_out_and_counted(tmp_path):
    records: list[dict[str, object]] = [
        {"conversations": [*chat(q, p), *(chat("And the other one?", n) if i % 2 else [])]} for i, (q, p, n) in enumerate(TRIPLES)
    ]
    records.append({"conversations": [{"role": "assistant", "content": "Hello"}]})
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == [(q, [p], []) for q, p, _ in TRIPLES]
    assert messages(path) == ["6 x turn of a conversation that is no first question with its answer, the first here: left out"]


def test_an_instruction_for_all_rows_is_no_query(tmp_path):
    records = [{"instruction": "Find advice.", "input": q, "output": p} for q, p, _ in TRIPLES]
    with pytest.raises(ColumnsError):
        rows(write(tmp_path / "data.jsonl", records))


# Wrong answers, labels


def test_wrong_answers_are_negatives_of_answers_and_not_of_contexts():
    def found(*names: str) -> Columns:
        columns = training_columns(names, Columns(), "f")
        assert columns is not None
        return columns

    assert found("question", "answer", "incorrect_answers").neg == ("incorrect_answers",)
    assert found("question", "correct_answer", "distractor1", "distractor2").neg == ("distractor1", "distractor2")
    science = found("question", "distractor1", "distractor2", "correct_answer", "support")
    assert (science.pos, science.neg) == (("support",), ())
    assert found("question", "best_answer", "correct_answers", "incorrect_answers").pos == ("correct_answers",)


@pytest.mark.parametrize("name", ["is_selected", "has_answer", "hasanswer", "clicked", "choice", "is_positive", "gold"])
def test_names_of_flags_are_labels(name):
    assert is_label(name)


@pytest.mark.parametrize("name", ["is_negative", "correct_answer", "selected_text", "rank", "incorrect_answers", "click_id"])
def test_these_are_none(name):
    assert not is_label(name)


def test_words_that_are_all_the_same_at_first_are_still_labels(tmp_path):
    pairs = [(q, p, "relevant") for q, p, _ in TRIPLES * 6] + [(q, n, "irrelevant") for q, _, n in TRIPLES]
    path = write(tmp_path / "data.jsonl", [{"query": q, "passage": text, "relevance": label} for q, text, label in pairs])
    assert rows(path) == ROWS


def class_label(table: pa.Table, features: dict[str, object]) -> pa.Table:
    return table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


@pytest.mark.parametrize("container", ["parquet", "arrow"])
def test_the_names_of_a_class_label_take_the_place_of_its_numbers(tmp_path, container):
    pairs = [each for q, p, n in TRIPLES for each in ((q, p, 0), (q, n, 1))]
    columns = dict(zip(("question", "sentence", "label"), map(list, zip(*pairs, strict=True)), strict=True))
    table = class_label(pa.table(columns), {"label": {"names": ["entailment", "not_entailment"], "_type": "ClassLabel"}})
    path = tmp_path / "qnli"
    if container == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    assert rows(path) == ROWS


def test_class_labels_in_lists_have_names_too_and_minus_one_is_none(tmp_path):
    table = pa.table({"query": [q for q, _, _ in TRIPLES], "docs": [[p, n] for _, p, n in TRIPLES], "labels": [[0, 1]] * 9 + [[-1, 1]]})
    features = {"labels": {"feature": {"names": ["relevant", "irrelevant"], "_type": "ClassLabel"}, "_type": "List"}}
    path = tmp_path / "data.parquet"
    pq.write_table(class_label(table, features), path)
    with pytest.raises(InputError, match=r"data\.parquet:10 \$\.labels  `labels` is missing"):
        rows(path)
    assert rows(path, skip_bad_rows=True) == ROWS[:9]


# Lists and objects as text

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=1, max_size=4)


@given(TEXTS)
def test_a_list_is_read_back_as_python_json_and_numpy_print_it(texts):
    with np.printoptions(threshold=10_000):
        array = np.array(texts, dtype=object)
        for text in (str(texts), json.dumps(texts), str(array), repr(array)):
            assert list_in(text) == texts


@pytest.mark.parametrize("text", ["['a', 'b' 'c']", "['a''b']", "['a b' ... 'c d']", "[{'a': 1} 'b']"])
def test_a_damaged_list_is_none_and_looks_like_one(text):
    assert literal_in(text) is None
    assert looks_like_list(text)


@pytest.mark.parametrize("text", ["[1] Water it.", "a | b", "[see below]", "array(x)", "{x}"])
def test_a_text_with_brackets_is_a_text(text):
    assert literal_in(text) is None
    assert not looks_like_list(text)


@pytest.mark.parametrize("names", [("query", "pos", "neg"), ("question", "positive", "negatives")])
def test_a_list_in_a_string_is_its_passages_and_a_damaged_one_a_problem(tmp_path, names):
    records: list[dict[str, object]] = [dict(zip(names, (q, json.dumps([p]), str(np.array([n, n]))), strict=True)) for q, p, n in TRIPLES]
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == [(q, pos, neg * 2) for q, pos, neg in ROWS]
    records[1][names[1]] = "['Water it.' ... 'Cut it.']"
    path = write(tmp_path / "data.jsonl", records)
    for repair in ((), "all"):
        with pytest.raises(InputError, match=rf"data\.jsonl:2 \$\.{names[1]}  expected a list, found the text of one"):
            rows(path, repair=repair)


def test_a_trainer_does_not_read_a_list_in_a_string_and_wrapping_it_is_not_offered(tmp_path):
    found = check(write(tmp_path / "data.jsonl", [{"query": q, "pos": json.dumps([p]), "neg": [n]} for q, p, n in TRIPLES]))
    assert any(each.severity == "error" for each in found.findings)
    assert "string-instead-of-list" not in {each.kind for each in found.findings}


def test_objects_as_text_in_a_table_are_judged_and_other_cells_stay(tmp_path):
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "passages", "meta"])
        for q, p, n in TRIPLES:
            passages = {"is_selected": np.array([0, 1], dtype=np.int32), "passage_text": np.array([n, p], dtype=object)}
            writer.writerow([q, passages, '{"a": 1}'])
    assert rows(path) == ROWS
    assert bytes(read_inputs(path).rows[0].fields["meta"]) == rb'"{\"a\": 1}"'


@pytest.mark.parametrize("bar", ["|", " | ", "||", " ||| "])
def test_passages_separated_by_bars_are_cut_apart(tmp_path, bar):
    lines = ["query\tpositives\tnegatives", *(f"{q}\t{p}\t{bar.join([n, f'Not {n}'])}" for q, p, n in TRIPLES)]
    path = tmp_path / "data.tsv"
    path.write_text("\n".join(lines) + "\n")
    assert rows(path) == [(q, pos, [*neg, f"Not {neg[0]}"]) for q, pos, neg in ROWS]


def test_a_few_bars_are_asked_about_in_a_plural_column_and_belong_to_the_text_in_another(tmp_path):
    for name in ("positives", "positive"):
        texts = [f"{p} | Or not at all." if not i else p for i, (_, p, _) in enumerate(TRIPLES)]
        path = write(tmp_path / f"{name}.jsonl", [{"query": q, name: text} for (q, _, _), text in zip(TRIPLES, texts, strict=True)])
        if name == "positives":
            with pytest.raises(InputError, match=r"positives\.jsonl: some cells of the passages have `\|`.*JSON list"):
                rows(path)
        else:
            assert [row[1] for row in rows(path)] == [[text] for text in texts]


# Annotations


def task(query: str, passage: str, *choices: str | None) -> dict[str, object]:
    made = [
        {"result": [] if each is None else [{"from_name": "relevance", "type": "choices", "value": {"choices": [each]}}]}
        for each in choices
    ]
    return {"data": {"query": query, "passage": passage}, "annotations": made}


def test_the_majority_of_annotators_counts_and_a_notice_says_so(tmp_path):
    records = [each for q, p, n in TRIPLES for each in (task(q, p, "Relevant"), task(q, n, "Irrelevant"))]
    records[0] = task(*TRIPLES[0][:2], "Relevant", "Irrelevant", "Relevant")
    records += [task("why", "Because of it.", "Relevant", "Irrelevant"), task("when", "Now and then.", None), task("who", "Somebody.")]
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == ROWS
    assert messages(path) == [
        "1 x record whose annotators disagree: the label of the majority counts, the first here",
        "3 x record without an annotation, or without a majority of its annotators, the first here: left out",
    ]


def test_ratings_of_annotators_are_asked_about(tmp_path):
    def rated(query: str, passage: str, rating: int) -> dict[str, object]:
        value = [{"from_name": "stars", "type": "rating", "value": {"rating": rating}}]
        return {"data": {"query": query, "passage": passage}, "annotations": [{"result": value}]}

    path = write(tmp_path / "data.jsonl", [each for q, p, n in TRIPLES for each in (rated(q, p, 5), rated(q, n, 2))])
    with pytest.raises(LabelsError, match="'5' in 10 rows, '2' in 10 rows"):
        rows(path)
    assert rows(path, "positive_labels=5") == ROWS


@pytest.mark.parametrize("form", ["by user", "columns"])
def test_a_suggestion_counts_only_without_a_response_and_a_discarded_response_never(tmp_path, form):
    def record(query: str, passage: str, answers: list[tuple[str, str]]) -> dict[str, object]:
        if form == "columns":
            return {
                "query": query,
                "passage": passage,
                "label.responses": [value for value, _ in answers] or None,
                "label.responses.status": [status for _, status in answers] or None,
                "label.suggestion": "relevant",
            }
        return {
            "fields": {"query": query, "passage": passage},
            "responses": [{"user_id": "u", "status": status, "values": {"label": {"value": value}}} for value, status in answers],
            "suggestions": [{"question_name": "label", "value": "relevant", "agent": "model"}],
        }

    records = [
        each
        for q, p, n in TRIPLES
        for each in (record(q, p, []), record(q, n, [("irrelevant", "submitted"), ("relevant", "discarded"), ("relevant", "discarded")]))
    ]
    path = write(tmp_path / "data.jsonl", records)
    assert rows(path) == ROWS
    assert messages(path) == ["10 x record without a response: the model's suggestion is its label, the first here"]


# Objects


def test_other_objects_are_listed_by_dotted_names_that_can_be_named(tmp_path):
    records = [{"input": {"question": q}, "output": {"answers": [{"text": p}], "bad": n}} for q, p, n in TRIPLES]
    path = write(tmp_path / "data.jsonl", records)
    with pytest.raises(ColumnsError, match=r"--columns query=input\.question") as question:
        rows(path)
    assert question.value.names == ("input.question", "output.answers", "output.bad")
    assert rows(path, "query=input.question", "pos=output.answers", "neg=output.bad") == ROWS
    with pytest.raises(InputError, match=r"no column `input\.query`"):
        rows(path, "query=input.query", "pos=output.answers")


def test_passages_in_objects_are_listed_too_and_never_lost(tmp_path):
    records = [{"query": {"text": q}, "documents": {"relevant": [{"text": p}], "irrelevant": [n]}} for q, p, n in TRIPLES]
    for name, query in (("object", "query.text"), ("text", "query")):
        path = write(
            tmp_path / f"{name}.jsonl", [each | {"query": each["query"] if name == "object" else each["query"]["text"]} for each in records]
        )  # type: ignore[index]
        with pytest.raises(ColumnsError, match=r"documents\.relevant") as question:
            rows(path)
        assert question.value.names == (query, "documents.relevant", "documents.irrelevant")
        assert rows(path, f"query={query}", "pos=documents.relevant", "neg=documents.irrelevant") == ROWS


def test_an_answer_of_a_word_does_not_take_the_place_of_a_context_in_an_object(tmp_path):
    records = [
        {"question": q, "answer": f"every {n} days", "context": {"title": ["A"], "sentences": [[p]]}} for n, (q, p, _) in enumerate(TRIPLES)
    ]
    with pytest.raises(ColumnsError, match=r"context\.sentences"):
        rows(write(tmp_path / "data.jsonl", records))


def test_what_a_query_object_has_beside_its_text_is_kept(tmp_path):
    path = write(tmp_path / "data.jsonl", [{"query": {"id": n, "text": q}, "positive": {"text": p}} for n, (q, p, _) in enumerate(TRIPLES)])
    assert rows(path) == [(q, pos, []) for q, pos, _ in ROWS]
    assert bytes(read_inputs(path).rows[3].fields["query.id"]) == b"3"
