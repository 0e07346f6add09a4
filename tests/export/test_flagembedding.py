"""What is written: rows as they came, `neg` replaced, and a file that is whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import OutputError
from hnmine.core.files import write_all, write_atomic
from hnmine.data.corpus import build_corpus
from hnmine.data.reading import read_training
from hnmine.data.rows import Row
from hnmine.data.verdicts import Verdict, match_verdicts
from hnmine.export.json_lines import flagembedding_lines, promoted_rows, stale_scores
from hnmine.export.scores import model_scores
from hnmine.retrieval.ranking import rank
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings


@pytest.fixture
def exported(fake_encoder):
    """Mine rows with the fake encoder and give the lines, with what they were made from."""

    def run(rows, pool=None, *, with_scores=False, verdicts=(), **settings):
        corpus = build_corpus(rows, pool)
        settings = SelectionSettings(**{"window_start": 0, "window_end": 50, "negative_number": 2, **settings})
        ranking = rank(corpus, fake_encoder, settings.window_end)
        judged = match_verdicts(corpus, verdicts)
        corpus, ranking = apply_promotions(corpus, ranking, judged)
        selection = select(corpus, ranking, settings, judged)
        scores = model_scores(ranking, selection) if with_scores else None
        return list(flagembedding_lines(rows, corpus, selection, scores=scores)), corpus, ranking, selection

    return run


def test_the_bytes_of_a_line(write_jsonl, exported):
    """Field order, spacing and bytes are kept; `neg` keeps its place, or comes last."""
    lines = [
        '{"id":1.0,"query":"caf\\u00e9",   "neg": ["old"],"pos":["p1" , "p2"],"n": {"b":1e5 ,"a":[ ]}, "type" : null}',
        '{"pos": ["p3"], "query": "other"}',
    ]
    rows = read_training(write_jsonl(lines)).items
    written, *_ = exported(rows, ["x é", "y/\u2028<b>"], strategy="hardest", negative_number=9)
    first, second = (line.decode() for line in written)
    assert first.startswith('{"id": 1.0, "query": "caf\\u00e9", "neg": ["')
    assert first.endswith('"], "pos": ["p1" , "p2"], "n": {"b":1e5 ,"a":[ ]}, "type": null}\n')
    assert second.startswith('{"pos": ["p3"], "query": "other", "neg": ["')
    assert '"y/\u2028<b>"' in second, "texts are written as UTF-8, nothing escaped that need not be"
    assert '"x é"' in second
    assert {*json.loads(second)["neg"]} == {"old", "p1", "p2", "x é", "y/\u2028<b>"}


def test_one_line_a_row_in_file_order_and_nothing_else_changed(write_jsonl, exported):
    items = [{"query": f"question {i % 3}", "pos": [f"answer {i}"], "id": i, "prompt": "p"} for i in (5, 3, 9, 1, 7)]
    written, *_ = exported(read_training(write_jsonl(items)).items)
    assert all(line.count(b"\n") == 1 and line.endswith(b"}\n") for line in written)
    objects = [json.loads(line) for line in written]
    assert [{key: value for key, value in each.items() if key != "neg"} for each in objects] == items
    assert all(len(each["neg"]) == 2 for each in objects)


def test_a_row_without_any_negative_gets_an_empty_list(write_jsonl, exported):
    written, *_ = exported(read_training(write_jsonl([{"query": "q", "pos": ["p"]}])).items)
    assert written == [b'{"query": "q", "pos": ["p"], "neg": []}\n']


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip), min_size=2, max_size=5))
def test_any_text_comes_back_as_it_was(exported, texts):
    fields = {"query": msgspec.Raw(b'"the query"'), "pos": msgspec.Raw(msgspec.json.encode(texts[:1]))}
    (line,), corpus, *_ = exported([Row(1, "the query", texts[:1], texts[1:], fields)], negative_number=9)
    negatives = json.loads(line)["neg"]
    assert set(negatives) <= set(texts)
    assert len(negatives) == len(corpus.passages) - 1


def test_scores_are_aligned_with_their_passages(write_jsonl, exported):
    items = [
        {
            "query": "red apple pie",
            "pos": ["apple pie", "pie of red apples"],
            "pos_scores": [3, 4],
            "neg": ["a"],
            "neg_scores": [0.1],
            "id": 7,
        },
        {"query": "blue sky", "pos": ["sky"]},
    ]
    rows = read_training(write_jsonl(items)).items
    written, corpus, ranking, _ = exported(rows, [f"filler {i}" for i in range(20)], with_scores=True, negative_number=5)
    assert list(json.loads(written[0])) == ["query", "pos", "pos_scores", "neg", "neg_scores", "id"]
    assert list(json.loads(written[1])) == ["query", "pos", "neg", "pos_scores", "neg_scores"]
    ids = {text: number for number, text in enumerate(corpus.passages)}
    queries = {text: number for number, text in enumerate(corpus.queries)}
    for line in written:
        fields = json.loads(line)
        vector = ranking.query_vectors[queries[fields["query"]]].astype(np.float64)
        for texts, scores in (("pos", "pos_scores"), ("neg", "neg_scores")):
            expected = [np.float32(vector @ ranking.passage_vectors[ids[text]].astype(np.float64)) for text in fields[texts]]
            assert [np.float32(score) for score in fields[scores]] == expected
        assert fields["neg_scores"] == sorted(fields["neg_scores"], reverse=True), "hardest first"


def test_every_row_gets_scores_and_none_is_nan_even_when_short(write_jsonl, exported):
    rows = read_training(write_jsonl([{"query": "q", "pos": ["p"]}])).items
    (line,), *_ = exported(rows, ["x"], with_scores=True, negative_number=5)
    fields = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not valid JSON"))
    assert len(fields["neg"]) == len(fields["neg_scores"]) == 1
    assert len(fields["pos_scores"]) == 1


def test_scores_of_negatives_that_were_replaced_are_left_out_and_counted(write_jsonl, exported):
    """A trainer would pair them, silently, with the new negatives. Scores of the positives alone are of no use to it."""
    items = [{"query": "q", "pos": ["p"], "pos_scores": [0.5], "neg": ["n"], "neg_scores": [0.25]}, {"query": "r", "pos": ["s"]}]
    rows = read_training(write_jsonl([*items, {"query": "t", "pos": ["u"], "pos_scores": [0.5]}])).items
    written, *_ = exported(rows)
    assert [list(json.loads(line)) for line in written] == [["query", "pos", "neg"]] * 3
    assert stale_scores(rows) == 2


# Promotions


PROMOTED = [
    Verdict(query="The query", passage="b", verdict="positive"),
    Verdict(query="the  QUERY", passage="A", verdict="positive"),
    Verdict(query="the query", passage="p", verdict="positive"),
]


def test_promoted_passages_join_pos_of_every_row_that_asks_and_the_other_bytes_stay(write_jsonl, exported):
    lines = [
        '{"query": "the query", "pos": ["p" ,"q\\u00e9" ] , "id": 1.0}',
        '{"query": "another", "pos": ["p"]}',
        '{"id": 2, "pos": ["B "], "neg": ["a", "c", "d"], "query": "The Query "}',
    ]
    rows = read_training(write_jsonl(lines)).items
    written, corpus, *_ = exported(rows, ["b"], verdicts=PROMOTED, negative_number=9)
    added = [corpus.passages[each] for each in corpus.promoted(int(corpus.row_queries[0]))]
    assert set(added) == {"a", "p", "B "}, "the corpus has one spelling of each"
    assert list(corpus.promoted(0)) == sorted(corpus.promoted(0))
    first, second, third = (line.decode() for line in written)
    new = ", ".join(json.dumps(text) for text in added if text != "p")
    assert first.startswith('{"query": "the query", "pos": ["p" ,"q\\u00e9", ' + new + ' ], "id": 1.0, "neg": ')
    assert second.startswith('{"query": "another", "pos": ["p"], "neg": ')
    assert third.startswith('{"id": 2, "pos": ["B ", ' + ", ".join(json.dumps(text) for text in added if text != "B ") + '], "neg": ')
    assert [sorted(each.tolist()) for each in promoted_rows(corpus).values()] == [
        sorted(each for each in corpus.promoted(int(corpus.row_queries[0])) if corpus.passages[each] not in kept)
        for kept in (("p",), ("B ",))
    ]
    for line in (first, third):
        assert set(json.loads(line)["neg"]) == {"c", "d"}
    assert set(json.loads(second)["neg"]) >= {"a", "c", "d"}, "for another query it is not a positive"


def test_scores_cover_the_promoted_and_old_ones_that_no_longer_fit_go(write_jsonl, exported):
    items = [
        {"query": "the query", "pos": ["p"], "pos_scores": [0.5], "neg": ["a", "b", "c"]},
        {"query": "the query", "pos": ["b", "p", "A"], "pos_scores": [1, 2, 3]},
        {"query": "another", "pos": ["p"], "pos_scores": [0.25]},
    ]
    rows = read_training(write_jsonl(items)).items
    written, corpus, *_ = exported(rows, verdicts=PROMOTED)
    first, second, third = map(json.loads, written)
    assert sorted(first["pos"]) == ["A", "b", "p"]
    assert not any("pos_scores" in line for line in (first, second, third))
    assert stale_scores(rows) == 3

    written, _, ranking, _ = exported(rows, verdicts=PROMOTED, with_scores=True)
    ids = {text: number for number, text in enumerate(corpus.passages)}
    for line, query in zip(map(json.loads, written), corpus.row_queries, strict=True):
        found = ranking.score_pairs(np.full(len(line["pos"]), query, np.int32), np.array([ids[text] for text in line["pos"]], np.int32))
        assert [np.float32(score) for score in line["pos_scores"]] == found.tolist()


# Atomic writing


def test_large_and_many_chunks_come_out_whole_with_their_digest(tmp_path):
    chunks = [bytes([number % 256]) * (number * 37) for number in range(600)]
    (one, two) = write_all([(tmp_path / "one", iter(chunks)), (tmp_path / "two", [])])
    assert (tmp_path / "one").read_bytes() == b"".join(chunks)
    assert one == (len(b"".join(chunks)), hashlib.sha256(b"".join(chunks)).hexdigest())
    assert two == (0, hashlib.sha256(b"").hexdigest())


def test_of_files_that_belong_together_none_is_replaced_before_all_are_written(tmp_path):
    (tmp_path / "one").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"nowhere.two cannot be written"):
        write_all([(tmp_path / "one", [b"new"]), (tmp_path / "nowhere" / "two", [b"new"])])
    assert (tmp_path / "one").read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["one"]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("a much longer old content")
    assert write_atomic(path, [b"new", b" one\n"]) == 8
    assert path.read_bytes() == b"new one\n"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("failure", [RuntimeError("in the middle"), KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("old", [None, b"old\n"])
def test_a_failure_in_the_middle_leaves_what_was_there_and_nothing_else(tmp_path, failure, old):
    path = tmp_path / "out.jsonl"
    if old is not None:
        path.write_bytes(old)

    def chunks():
        yield b"half a line" * 100_000
        raise failure

    expected = OutputError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected) as raised:
        write_atomic(path, chunks())
    if expected is OutputError:
        assert "No space left" in str(raised.value)
        assert "unchanged" in str(raised.value)
        assert str(path) in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == ([] if old is None else ["out.jsonl"])
    assert old is None or path.read_bytes() == old


def test_the_new_file_is_on_the_disk_before_it_takes_the_place_of_the_old(tmp_path, monkeypatch):
    steps = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *args: (steps.append("replace"), replace(*args)))
    write_atomic(tmp_path / "out", [b"x"])
    assert steps == ["fsync", "replace"]


def test_a_missing_folder_or_a_folder_in_place_of_the_file_is_reported(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written"):
        write_atomic(tmp_path / "nowhere" / "out", [b"x"])
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match=r"taken cannot be written"):
        write_atomic(tmp_path / "taken", [b"x"])
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_what_a_killed_process_left_behind_is_removed_after_a_day(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    yesterday = time.time() - 25 * 60 * 60
    kept = {
        f".out.jsonl.{os.getpid()}-0123abcd.tmp": yesterday,  # its process is running
        f".out.jsonl.{ended.pid}-0123abcd.tmp": time.time(),
        f".other.jsonl.{ended.pid}-0123abcd.tmp": yesterday,
        f".out.jsonl.{ended.pid}-notes.tmp": yesterday,
    }
    for name, changed in {**kept, f".out.jsonl.{ended.pid}-ffffffff.tmp": yesterday}.items():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (changed, changed))
    write_atomic(tmp_path / "out.jsonl", [b"whole"])
    assert {each.name for each in tmp_path.iterdir()} == {*kept, "out.jsonl"}
