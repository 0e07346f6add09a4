"""Names are understood by their words; what may be read wrongly is a question, and the answer that it prints works."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from hnmine.core.errors import ColumnsError, LabelsError
from hnmine.data.columns import columns_from, is_label
from hnmine.data.dataset import read_files, read_inputs
from hnmine.data.names import is_retrieved, side

PLANTS = ("tomato", "basil", "rose", "lavender", "courgette", "pea", "carrot", "onion", "garlic", "potato")
TRIPLES = [
    (
        f"how often should I water my {plant}",
        f"Water the {plant} every {n + 2} days, early.",
        f"Cut the {plant} back in March, above a bud.",
    )
    for n, plant in enumerate(PLANTS)
]
ROWS = [(query, [pos], [neg]) for query, pos, neg in TRIPLES]
POSITIVE = [(query, [pos], []) for query, pos, _ in TRIPLES]
BOTH = [(query, [neg, pos], []) for query, pos, neg in TRIPLES]


def write(path: Path, records: list[dict[str, object]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records), "utf-8")
    return path


def rows(path: Path, *words: str) -> list[tuple[str, list[str], list[str]]]:
    return [(row.query, row.pos, row.neg) for row in read_inputs(path, columns=columns_from(words)).rows]


def suggested(path: Path) -> list[str]:
    """The words after --columns of the question about a file."""
    with pytest.raises(ColumnsError) as caught:
        read_inputs(path)
    found = re.search(r"for example: --columns (.*?)\.(?: If | The file has )", str(caught.value))
    assert found, str(caught.value)
    return shlex.split(found[1])


def pairs(name: str, positive: object, negative: object, **more: object) -> list[dict[str, object]]:
    return [
        {"query": query, "passage": text, name: value, **more}
        for query, pos, neg in TRIPLES
        for text, value in ((pos, positive), (neg, negative))
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "neg") for name in (
            "wrong answer", "hard negative", "Irrelevant Passage", "downvoted_answer", "hardNegative", "not relevant document",
            "non-relevant text", "falsche Antwort", "irrelevanter Text", "неверный ответ", "нерелевантный документ", "错误答案",
            "不正解の文", "오답", "respuesta incorrecta", "risposta sbagliata", "resposta errada", "rejected output",
            "réponse fausse", "negative_passages_bm25",
        )),
        *((name, "pos") for name in (
            "good answer", "relevant passage", "gold_doc", "upvoted answer", "correct answer", "richtige Antwort", "правильный ответ",
            "正确答案", "正解の文", "bonne réponse",
        )),
        *((name, "query") for name in ("search query", "User question", "Kundenfrage", "текст запроса", "検索クエリ")),
        *((name, "") for name in (
            "negative_score", "num_negatives", "is_negative", "good_natured", "relevance", "relevant", "correct", "right", "best", "answer",
            "positive_id", "false_negative", "question_answer", "wrongness", "text", "title", "负例编号", "正解率の得点",
        )),
    ],
)  # fmt: skip
def test_a_name_is_understood_by_all_its_words(name, expected):
    assert side(name) == expected


def test_results_of_a_search_are_known_by_name_and_a_search_query_is_none():
    assert all(map(is_retrieved, ["retrieved_contexts", "retrieval_context", "search_results", "retrievedDocs", "hits", "top_k_docs"]))
    assert not any(map(is_retrieved, ["search query", "reference_contexts", "contexts", "passages", "hitherto"]))


@pytest.mark.parametrize(
    "names",
    [
        ("search query", "relevant passage", "irrelevant passage"),
        ("вопрос", "ответ", "неверный ответ"),
        ("问题", "答案", "错误答案"),
        ("質問", "正解の文", "不正解の文"),
        ("Frage", "richtige Antwort", "falsche Antwort"),
        ("User question", "good answer", "bad answer"),
    ],
)
@pytest.mark.parametrize("kind", ["d.csv", "d.jsonl"])
def test_headers_of_several_words_and_languages_are_read(tmp_path, names, kind):
    assert rows(write(tmp_path / kind, [dict(zip(names, triple, strict=True)) for triple in TRIPLES])) == ROWS


# Flags, ids and numbers are no texts


@pytest.mark.parametrize("name", ["negative", "irrelevant", "wrong", "hard_negative", "falsch", "incorrect answer"])
@pytest.mark.parametrize(("yes", "no"), [(1, 0), (True, False), ("yes", "no"), ("T", "F")])
@pytest.mark.parametrize("kind", ["d.csv", "d.jsonl"])
def test_a_flag_that_is_called_negative_is_asked_about_and_never_a_text(tmp_path, name, yes, no, kind):
    path = write(tmp_path / kind, pairs(name, no, yes))
    with pytest.raises(LabelsError, match=f"which values of `{name}` make a passage positive"):
        rows(path)
    assert rows(path, f"positive_labels={str(no).lower() if kind == 'd.jsonl' and isinstance(no, bool) else no}") == ROWS


def test_a_flag_that_is_called_positive_is_the_label(tmp_path):
    assert rows(write(tmp_path / "d.csv", pairs("positive", 1, 0))) == ROWS


def test_a_score_that_is_called_negative_is_no_text(tmp_path):
    with pytest.raises(LabelsError, match="`negative` is"):
        rows(write(tmp_path / "d.csv", pairs("negative", 0.12, 0.93)))


@pytest.mark.parametrize("code", ["00000000-1b2c-4d5e-8f90-{:012d}", "q{}", "MS-{}"])
def test_ids_in_a_query_are_not_read_beside_its_text(tmp_path, code):
    records = [{"query": code.format(n), "query_text": q, "positive": p} for n, (q, p, _) in enumerate(TRIPLES)]
    assert rows(write(tmp_path / "d.csv", records)) == POSITIVE


@pytest.mark.parametrize("name", ["text", "content"])
def test_the_text_is_judged_and_not_the_short_answer_beside_it(tmp_path, name):
    records = [
        {"question": q, "answers": [f"{n} days"], name: text, "label": label}
        for n, (q, p, bad) in enumerate(TRIPLES)
        for text, label in ((p, 1), (bad, 0))
    ]
    assert rows(write(tmp_path / "d.jsonl", records)) == ROWS


def test_a_short_answer_beside_a_longer_text_of_another_name_is_asked_about(tmp_path):
    records = [
        {"question": q, "answer": f"{n} days", "wiki_part": text, "label": label}
        for n, (q, p, bad) in enumerate(TRIPLES)
        for text, label in ((p, 1), (bad, 0))
    ]
    path = write(tmp_path / "d.jsonl", records)
    with pytest.raises(ColumnsError, match="`answer` has short answers"):
        rows(path)
    assert rows(path, *suggested(path)) == ROWS


# Several passages, search results, two labels


@pytest.mark.parametrize(
    "name", ["passages", "documents", "docs", "contexts", "candidates", "results", "ctxs", "retrieved_contexts", "search_results"]
)
def test_several_passages_that_nothing_judges_are_asked_about(tmp_path, name):
    path = write(tmp_path / "d.jsonl", [{"query": q, name: [bad, p]} for q, p, bad in TRIPLES])
    assert suggested(path) == ["query=query", f"pos={name}"]
    assert rows(path, *suggested(path)) == BOTH


@pytest.mark.parametrize("name", ["passages", "documents", "docs", "contexts"])
def test_one_passage_in_each_row_is_the_positive(tmp_path, name):
    assert rows(write(tmp_path / "d.jsonl", [{"query": q, name: [p]} for q, p, _ in TRIPLES])) == POSITIVE


def test_results_of_a_search_are_no_positives_and_references_are(tmp_path):
    found = [{"user_input": q, "retrieved_contexts": [bad], "response": "so", "reference": "this"} for q, _, bad in TRIPLES]
    with pytest.raises(ColumnsError, match="`retrieved_contexts` has the results of a search"):
        rows(write(tmp_path / "d.jsonl", found))
    both = [each | {"reference_contexts": [p]} for each, (_, p, _) in zip(found, TRIPLES, strict=True)]
    assert rows(write(tmp_path / "d.jsonl", both)) == POSITIVE


def test_two_labels_that_contradict_each_other_are_asked_about(tmp_path):
    path = write(tmp_path / "d.csv", [each | {"relevance": 1 - int(str(each["label"]))} for each in pairs("label", 1, 0)])
    with pytest.raises(ColumnsError, match="The labels `label` and `relevance` contradict each other"):
        rows(path)
    assert rows(path, "label=label") == ROWS
    assert rows(write(tmp_path / "e.csv", [each | {"relevance": int(str(each["label"])) * 2} for each in pairs("label", 1, 0)])) == ROWS


def test_the_splits_of_a_column_are_counted(tmp_path):
    path = write(tmp_path / "d.csv", [{"query": q, "pos": p, "split": "test" if n > 7 else "train"} for n, (q, p, _) in enumerate(TRIPLES)])
    (note,) = [each.message for each in read_files(path).problems if each.severity == "notice"]
    assert note == "`split` is 'train' in 8 records, 'test' in 2 records; all are read"


def test_low_values_may_be_the_relevant_ones(tmp_path):
    path = write(tmp_path / "d.csv", pairs("distance", 0.25, 0.75))
    with pytest.raises(LabelsError, match="which values of `distance`"):
        rows(path)
    assert rows(path, "positive_labels=<=0.5") == ROWS


# The printed answer works

SUGGESTED: dict[str, tuple[list[dict[str, object]], list[tuple[str, list[str], list[str]]]]] = {
    "negatives by name": ([{"title_body": q, "upvoted_answer": p, "downvoted_answer": n} for q, p, n in TRIPLES], ROWS),
    "objects": ([{"row": {"query": q, "positive": p, "negative": n}, "row_idx": 4} for q, p, n in TRIPLES], ROWS),
    "blanks in names": ([{"what they ask": q, "our best reply here": p, "a wrong one": n} for q, p, n in TRIPLES], ROWS),
    "an id first": ([{"hash": f"{n:032x}", "asked for": q, "found text": p} for n, (q, p, _) in enumerate(TRIPLES)], POSITIVE),
    "addresses": ([{"link": f"https://x.org/{n}", "topic_line": q, "wiki": p} for n, (q, p, _) in enumerate(TRIPLES)], POSITIVE),
    "dates": ([{"day": f"2024-05-{n + 10} 10:00", "topic_line": q, "wiki": p} for n, (q, p, _) in enumerate(TRIPLES)], POSITIVE),
    "the question last": ([{"flores_part": p, "question": q, "num": 1, "ds": "2023-05-03"} for q, p, _ in TRIPLES], POSITIVE),
    "languages": ([{"query_en": q, "query_de": f"wie oft {q}", "positive_en": p, "positive_de": f"Es {p}"}
                   for q, p, _ in TRIPLES], POSITIVE),
    "code and its text": ([{"whole_code": f"def f():\n    # {p}\n    return 1", "doc_string": q} for q, p, _ in TRIPLES], [
        (q, [f"def f():\n    # {p}\n    return 1"], []) for q, p, _ in TRIPLES]),
    "an empty column": ([{"instruction": q, "context": "" if n else p, "response": p} for n, (q, p, _) in enumerate(TRIPLES)], POSITIVE),
    "a label": ([{"asked": q, "found": text, "is_relevant": value} for q, p, n in TRIPLES for text, value in ((p, 1), (n, 0))], ROWS),
    "answers with ranks": ([{"prompt": q, "answers": [{"answer": n}, {"answer": p}], "good_natured": True} for q, p, n in TRIPLES], BOTH),
    "numbers of choices": ([{"passage_de": p, "question": q, "correct_answer_num": str(n % 4)}
                            for n, (q, p, _) in enumerate(TRIPLES)], POSITIVE),
    "several passages": ([{"query": q, "docs": [n, p]} for q, p, n in TRIPLES], BOTH),
    "a comma in a name": ([{"asked, really": q, "found": p} for q, p, _ in TRIPLES], POSITIVE),
    "names in German": ([{"Betreff": q, "Text der Hilfe": p, "falscher Treffer": n} for q, p, n in TRIPLES], ROWS),
}  # fmt: skip


@pytest.mark.parametrize("kind", SUGGESTED)
def test_the_columns_that_a_question_prints_work(tmp_path, kind):
    records, expected = SUGGESTED[kind]
    path = write(tmp_path / "d.jsonl", records)
    assert rows(path, *suggested(path)) == expected


def test_ranks_of_answers_are_asked_about_and_not_another_flag_of_the_row(tmp_path):
    records = [
        {"prompt": q, "answers": [{"answer": n, "rank": 2.0}, {"answer": p, "rank": 1.0}], "turns": 1, "good_natured": True}
        for q, p, n in TRIPLES
    ]
    path = write(tmp_path / "d.jsonl", records)
    words = suggested(path)
    with pytest.raises(LabelsError, match="which values of `rank` make a passage positive"):
        rows(path, *words)
    assert rows(path, *words, "positive_labels=<=1") == ROWS


# Published data sets


def chat(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


PUBLISHED: dict[str, tuple[list[dict[str, object]], list[tuple[str, list[str], list[str]]]]] = {
    "HotpotQA": ([{"question": q, "answer": "so", "supporting_facts": [["A", 0]], "context": [["B", [n]], ["A", [p]]]}
                  for q, p, n in TRIPLES], [(q, [f"A {p}"], [f"B {n}"]) for q, p, n in TRIPLES]),
    "HotpotQA of the hub": ([
        {"question": q, "answer": "so", "supporting_facts": {"title": ["A"], "sent_id": [0]},
         "context": {"title": ["B", "A"], "sentences": [[n], [p]]}} for q, p, n in TRIPLES],
        [(q, [f"A {p}"], [f"B {n}"]) for q, p, n in TRIPLES]),
    "GermanDPR": ([
        {"question": q, "answers": ["so"], "positive_ctxs": {"title": ["A"], "text": [p], "passage_id": ["1"]},
         "hard_negative_ctxs": {"title": [""], "text": [n], "passage_id": ["2"]}} for q, p, n in TRIPLES], [
        (q, [f"A {p}"], [n]) for q, p, n in TRIPLES]),
    "BioASQ": ([{"body": q, "type": "factoid", "documents": ["http://x"], "snippets": [{"text": p, "document": "http://x"}]}
                for q, p, _ in TRIPLES], POSITIVE),
    "MFAQ": ([{"id": 0, "domain": "a.de", "qa_pairs": [{"question": q, "answer": p, "language": "de"} for q, p, _ in TRIPLES]}], POSITIVE),
    "Quora": ([{"questions": {"id": [1, 2], "text": [q, text]}, "is_duplicate": label} for q, p, n in TRIPLES
               for text, label in ((p, True), (n, False))], ROWS),
    "Prodigy": ([{"text": text, "query": q, "_input_hash": 17, "answer": answer} for q, p, n in TRIPLES
                 for text, answer in ((p, "accept"), (n, "reject"), ("Not sure about this one.", "ignore"))], ROWS),
    "OpenAI": ([{"input": {"messages": chat("user", q), "tools": []}, "preferred_output": chat("assistant", p),
                 "non_preferred_output": chat("assistant", n)} for q, p, n in TRIPLES], ROWS),
    "KTO": ([{"prompt": q, "completion": text, "label": label} for q, p, n in TRIPLES for text, label in ((p, True), (n, False))], ROWS),
    "KTO with chats": ([{"prompt": chat("user", q), "completion": chat("assistant", text), "label": label} for q, p, n in TRIPLES
                        for text, label in ((p, True), (n, False))], ROWS),
    "Label Studio's ranker": ([
        {"data": {"text": q, "items": [{"id": "a", "body": p}, {"id": "b", "body": n}]},
         "annotations": [{"result": [{"value": {"ranker": {"relevant": ["a"], "irrelevant": ["b"]}}}]}]} for q, p, n in TRIPLES], ROWS),
    "HellaSwag": ([{"ctx": q, "activity_label": "Plants", "endings": [p, n] if k % 2 else [n, p], "label": k % 2 ^ 1}
                   for k, (q, p, n) in enumerate(TRIPLES)], ROWS),
}  # fmt: skip


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_data_sets_are_read(tmp_path, kind):
    records, expected = PUBLISHED[kind]
    assert rows(write(tmp_path / "d.jsonl", records)) == expected


def test_a_preference_of_null_is_no_negative_and_without_a_chosen_answer_no_row(tmp_path):
    records: list[dict[str, object]] = [{"prompt": q, "chosen": p, "rejected": n} for q, p, n in TRIPLES]
    records[0]["rejected"] = None
    records[1]["chosen"] = None
    path = write(tmp_path / "d.jsonl", records)
    assert rows(path) == [(TRIPLES[0][0], [TRIPLES[0][1]], []), *ROWS[2:]]
    (notice,) = read_files(path).problems
    assert notice.message.startswith("1 x query without a chosen answer")


@pytest.mark.parametrize("name", ["Reject", "negative_query", "reject"])
def test_a_decision_and_a_negative_query_are_no_negatives(name: str) -> None:
    assert side(name) == ""


@pytest.mark.parametrize("name", ["keep", "is_valid", "approved"])
def test_a_flag_that_keeps_a_pair_is_its_label(name: str) -> None:
    assert is_label(name)
