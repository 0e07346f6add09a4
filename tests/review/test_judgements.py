"""Judgements on disk and as lines: only ever added, the latest counts, apart from the verdicts of people."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from hnmine.core.errors import InputError, WorkspaceError
from hnmine.data.corpus import build_corpus
from hnmine.data.rows import Row
from hnmine.data.verdicts import read_verdicts
from hnmine.review import event_log
from hnmine.review.judgements import Call, Judgement, JudgementStore, counting, judgement_lines, matched, read_judgements


@pytest.fixture
def store(tmp_path: Path) -> JudgementStore:
    return JudgementStore(tmp_path / "judgements.sqlite")


def judged(query: str, passage: str, grade: int | None, judge: str = "m", prompt: str = "v") -> Judgement:
    return Judgement(query, passage, grade, "because", judge, prompt, "2026-01-02T03:04:05+00:00", 70)


def test_a_judgement_is_there_again_after_the_file_is_opened_again(store: JudgementStore) -> None:
    assert (store.all(), store.judges(), store.version()) == ([], [], 0)
    one, odd = judged("q", "p", 2), judged("q", "lone \ud800 half", None)
    store.add([one, odd], [Call(b"1" * 16, 400, 90, 10), Call(b"2" * 16)])
    again = JudgementStore(store.path)
    assert again.all() == [one, odd]
    assert again.held([b"1" * 16, b"3" * 16]) == {b"1" * 16: one}
    assert again.judges() == [("m", "v", 2)]
    usage = again.usage("m", "v")
    assert (usage.calls, usage.size, usage.prompt_tokens, usage.completion_tokens) == (1, 400, 90, 10)
    assert again.version() == 2


def test_the_latest_of_each_judge_prompt_and_pair_counts(store: JudgementStore) -> None:
    store.add([judged("q", "p", 0), judged("q", "p", 1, "other"), judged("q", "p", 2, "m", "v2")])
    store.add([judged("Q ", "p", 3)])  # folded texts are the same pair
    assert [(each.judge, each.prompt, each.grade) for each in store.all()] == [("other", "v", 1), ("m", "v2", 2), ("m", "v", 3)]
    assert [each.grade for each in store.all("m")] == [2, 3]
    assert store.judges() == [("other", "v", 1), ("m", "v2", 1), ("m", "v", 1)]


def test_many_keys_are_found(store: JudgementStore) -> None:
    keys = [number.to_bytes(16) for number in range(1_203)]
    store.add([judged("q", f"p{number}", 1) for number in range(1_203)], [Call(key) for key in keys])
    assert set(store.held(keys * 2)) == set(keys)


def test_judgements_are_only_ever_added(store: JudgementStore) -> None:
    store.add([judged("q", "p", 0)])
    with sqlite3.connect(store.path) as db:
        for statement in ("UPDATE judgements SET grade = 3", "DELETE FROM judgements"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                db.execute(statement)


def test_several_threads_and_stores_write_into_one_file(store: JudgementStore) -> None:
    def write(number: int) -> None:
        own = JudgementStore(store.path)
        for turn in range(10):
            own.add([judged("q", f"{number} {turn}", 1)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(store.all()) == 40


def test_a_file_that_another_process_creates_meanwhile_is_used(store: JudgementStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([judged("q", "p", 1)])
    real, seen = event_log._version, [0]  # at first there was none
    monkeypatch.setattr(event_log, "_version", lambda db: seen.pop() if seen else real(db))
    assert len(JudgementStore(store.path).all()) == 1


def test_a_damaged_file_and_one_of_a_newer_version_have_their_own_message(tmp_path: Path) -> None:
    path = tmp_path / "judgements.sqlite"
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(WorkspaceError, match=r"the judgements in .* are damaged .*then judge again"):
        JudgementStore(path)
    path.unlink()
    JudgementStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(WorkspaceError, match=r"the judgements in .* newer version of hnmine \(format 7; this version reads format 1\)"):
        JudgementStore(path)


def test_lines_are_read_again_and_are_verdicts_that_say_whose_they_are(tmp_path: Path) -> None:
    given = [judged("q", "p", 3), judged("q", "other", 1), judged("q", "odd \ud800", None)]
    path = tmp_path / "judged.jsonl"
    path.write_bytes(b"".join(judgement_lines(given, 2)))
    assert read_judgements(path) == given
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["relevant", "negative", "unsure"]
    assert {line["judge"] for line in lines} == {"m"}
    verdicts = read_verdicts(path, of_judges=True)
    assert [each.verdict for each in verdicts] == ["relevant", "negative", "unsure"]
    assert {each.who for each in verdicts} == {"judge m (prompt v)"}


def test_verdicts_of_people_are_not_read_from_the_lines_of_a_judge(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_bytes(
        b'{"query": "q", "passage": "the word \\"judge\\"", "verdict": "relevant"}\n' + b"".join(judgement_lines([judged("q", "p", 3)], 2))
    )
    with pytest.raises(InputError, match=r"judged\.jsonl:2 is the verdict of a judge, m, .*--judgements"):
        read_verdicts(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "q", "passage": "p", "verdict": "relevant"}', "missing required field `judge`"),
        ('{"query": "q", "passage": "p", "judge": "m"}', "missing required field `grade`"),
        ('{"query": "q", "passage": "p", "judge": "m", "grade": 4}', "`grade` is 4"),
        ('{"query": " ", "passage": "p", "judge": "m", "grade": 1}', "`query` is empty"),
        ('{"query": "q", "passage": "p", "judge": "m", "grade": 1.5}', "grade"),
        ("{", "truncated"),
    ],
)
def test_a_line_that_is_no_judgement_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text('{"query": "q", "passage": "p", "judge": "m", "grade": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=rf"judged\.jsonl:2 is not a valid judgement .*{message}"):
        read_judgements(path)


def test_judgements_are_matched_to_the_pairs_of_a_corpus_and_the_last_one_counts() -> None:
    corpus = build_corpus([Row(1, "a query", ["good"], ["bad", "worse"], {}), Row(2, "another", ["fine"], ["bad"], {})])
    given = [
        judged("a query", "bad", 3),
        judged("A  query", "bad", 1),
        judged("another", "BAD", None),
        judged("another", "elsewhere", 2),
        judged("a query", "good", 3),
    ]
    queries, passages, grades = matched(corpus, given)
    assert (queries.dtype, passages.dtype, grades.dtype) == (np.int32, np.int32, np.float32)
    assert np.all(np.diff(queries.astype(np.int64) << 32 | passages) > 0)
    found = {
        (corpus.queries[query], corpus.passages[passage]): grade
        for query, passage, grade in zip(queries.tolist(), passages.tolist(), grades.tolist(), strict=True)
    }
    assert found[("a query", "bad")] == 1
    assert found[("a query", "good")] == 3
    assert np.isnan(found[("another", "bad")])
    assert len(found) == 3
    assert [len(each) for each in matched(corpus, [])] == [0, 0, 0]


def test_the_judge_that_counts_is_the_chosen_one_once_it_has_judged_this_data_or_the_last_that_has(store: JudgementStore) -> None:
    corpus = build_corpus([Row(1, "q", ["good"], ["p"], {})])
    assert counting(corpus, store.all(), ("m", "1")) == []
    store.add([Judgement("q", "p", 3, judge="m", prompt="1"), Judgement("q", "good", 2, judge="m", prompt="2")])
    store.add([Judgement("q", "p", 0, judge="other", prompt="1"), Judgement("elsewhere", "p", 1, judge="third", prompt="1")])

    def grades(chosen: tuple[str, str] | None) -> list[int | None]:
        return [each.grade for each in counting(corpus, store.all(), chosen)]

    assert grades(None) == [0], "the last one has judged other data alone"
    assert grades(("third", "1")) == grades(("m", "3")) == [0]
    assert grades(("m", "1")) == [3]
    store.add([Judgement("elsewhere", "p", 1, judge="m", prompt="2")])
    assert grades(None) == [0], "what it judged elsewhere is later, and does not count here"
    assert [each.grade for each in store.all("m", "2")] == [2, 1]
    assert [each.grade for each in store.all(prompt="1")] == [3, 0, 1]
