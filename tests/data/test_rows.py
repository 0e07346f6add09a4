"""Reading training rows and pools: every problem has its line, place, kind and remedy, and nothing changes on its own."""

from __future__ import annotations

import bz2
import codecs
import hashlib
import json
import os
import re
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hnmine.core.errors import InputError, SettingsError
from hnmine.data.dataset import read_inputs
from hnmine.data.formats import jsonl, lines
from hnmine.data.problems import PROBLEM_KINDS, REPAIRS, Problem, require_decided
from hnmine.data.reading import read_pool, read_training

GOOD = '{"query": "q", "pos": ["p"]}'


def written(tmp_path: Path, data: bytes | str, name: str = "train.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# One bad line each, behind one good line: (line, JSON path, kind, words of the message, words of the remedy).
BAD_LINES = {
    "unreadable JSON": ('{"query": "q", "pos": ["p"]', "$", "not-json", "not JSON", "correct the line"),
    "two objects on a line": (GOOD + GOOD, "$", "not-json", "trailing", "one JSON object per line"),
    "single quotes": ("{'query': 'q', 'pos': ['p']}", "$", "not-json", "not JSON", "correct the line"),
    "a half surrogate pair in a name beside NaN": (
        '{"\\ud800": 1, "query": "q", "pos": ["p"], "x": NaN}',
        "$",
        "not-json",
        "not JSON",
        "correct the line",
    ),
    "a half surrogate pair": ('{"query": "q\\ud800", "pos": ["p"]}', "$", "not-json", "not JSON", "correct the line"),
    "a list": ('["q", "p"]', "$", "not-an-object", "found a list", "one object per line"),
    "an unclosed list": ('["q", "p"', "$", "not-json", "not JSON", "one object per line"),
    "a string": ('"q"', "$", "not-an-object", "found a string", "one object per line"),
    "a number": ("12", "$", "not-an-object", "found a number", "one object per line"),
    "null": ("null", "$", "not-an-object", "found null", "one object per line"),
    "no query": ('{"text": "q", "pos": ["p"]}', "$.query", "missing-field", "`query` is missing", "the record has `text`, `pos`"),
    "no pos": ('{"query": "q", "positive": ["p"]}', "$.pos", "missing-field", "`pos` is missing", "the record has `query`, `positive`"),
    "query is null": ('{"query": null, "pos": ["p"]}', "$.query", "wrong-type", "found null", "write it as a string"),
    "query is a list": ('{"query": ["q"], "pos": ["p"]}', "$.query", "wrong-type", "found a list", "write it as a string"),
    "query is a number": ('{"query": 3, "pos": ["p"]}', "$.query", "wrong-type", "found a number", "write it as a string"),
    "query is false": ('{"query": false, "pos": ["p"]}', "$.query", "wrong-type", "found true or false", "write it as a string"),
    "query is empty": ('{"query": "", "pos": ["p"]}', "$.query", "empty-text", "empty", "fill it in"),
    "query is blank": ('{"query": " \\t\\u00a0", "pos": ["p"]}', "$.query", "empty-text", "empty", "fill it in"),
    "pos is a number": ('{"query": "q", "pos": 3}', "$.pos", "wrong-type", "found a number", "list of strings"),
    "pos is an object": ('{"query": "q", "pos": {"a": 1}}', "$.pos", "wrong-type", "found an object", "list of strings"),
    "pos is empty": ('{"query": "q", "pos": []}', "$.pos", "no-positive", "no passage", "add a positive"),
    "pos is a string": ('{"query": "q", "pos": "p"}', "$.pos", "string-instead-of-list", "found a string", "wrap it in a list"),
    "a number in pos": ('{"query": "q", "pos": ["p", 7]}', "$.pos[1]", "wrong-type", "found a number", "write it as a string"),
    "an object in pos": ('{"query": "q", "pos": ["p", {}]}', "$.pos[1]", "wrong-type", "found an object", "write it as a string"),
    "null in pos": ('{"query": "q", "pos": [null, "p"]}', "$.pos[0]", "wrong-type", "found null", "write it as a string"),
    "a blank positive": ('{"query": "q", "pos": ["p", " "]}', "$.pos[1]", "blank-passage", "blank", "remove the blank passages"),
    "neg is null": ('{"query": "q", "pos": ["p"], "neg": null}', "$.neg", "null-instead-of-list", "found null", "empty list"),
    "neg is a string": ('{"query": "q", "pos": ["p"], "neg": "n"}', "$.neg", "string-instead-of-list", "found a string", "wrap it"),
    "neg is a number": ('{"query": "q", "pos": ["p"], "neg": 1.5}', "$.neg", "wrong-type", "found a number", "list of strings"),
    "a number in neg": ('{"query": "q", "pos": ["p"], "neg": ["a", "b", 1]}', "$.neg[2]", "wrong-type", "a number", "as a string"),
    "a blank negative": ('{"query": "q", "pos": ["p"], "neg": [""]}', "$.neg[0]", "blank-passage", "blank", "remove the blank"),
    "NaN": ('{"query": "q", "pos": ["p"], "pos_scores": [0.5, NaN]}', "$.pos_scores[1]", "nan", "NaN", "remove `pos_scores`"),
    "Infinity": ('{"query": "q", "pos": ["p"], "x": {"a": [-Infinity]}}', "$.x.a[0]", "nan", "Infinity", "remove `x`"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_reported_with_place_kind_and_remedy(tmp_path, case):
    line, place, kind, message, remedy = BAD_LINES[case]
    file = read_training(written(tmp_path, f"{GOOD}\n{line}\n"))
    (problem,) = file.problems
    assert (problem.file, problem.line, problem.path, problem.kind) == ("train.jsonl", 2, place, kind)
    assert message in problem.message
    assert remedy in problem.remedy
    assert (problem.severity, problem.resolution) == ("error", "open")
    assert str(problem).startswith(f"train.jsonl:2 {place} ")
    assert [row.line for row in file.items] == [1], "a bad row must be left out until it is repaired or skipped"
    assert file.lines == 2


@pytest.mark.parametrize("case", BAD_LINES)
def test_skip_bad_rows_leaves_the_row_out_and_reports_it(tmp_path, case):
    file = read_training(written(tmp_path, f"{GOOD}\n{BAD_LINES[case][0]}\n"), skip_bad_rows=True)
    assert [problem.resolution for problem in file.problems] == ["skipped"]
    assert [row.line for row in file.items] == [1]
    require_decided(file)


def test_not_utf8_names_the_byte(tmp_path):
    file = read_training(written(tmp_path, b'{"query": "caf\xe9", "pos": ["p"]}\n' + GOOD.encode() + b"\n"))
    (problem,) = file.problems
    assert (problem.line, problem.path, problem.kind) == (1, "$", "not-utf8")
    assert "0xe9" in problem.message
    assert "column 15" in problem.message
    assert "UTF-8" in problem.remedy
    assert len(file.items) == 1


@pytest.mark.parametrize("depth", [1_100, 100_000])
@pytest.mark.parametrize(
    "place", ['{"query": "q", "pos": ["p"], "x": %s}', '{"query": "q", "pos": %s}', '{"query": %s, "pos": ["p"]}', "%s"]
)
def test_nesting_without_end_is_a_problem_of_the_line_and_no_crash(tmp_path, depth, place):
    deep = place % ("[" * depth + "]" * depth)
    file = read_training(written(tmp_path, f"{deep}\n{GOOD}\n"))
    assert file.items[-1].line == 2
    if depth == 100_000:
        (problem,) = file.problems
        assert (problem.line, problem.kind) == (1, "not-json")
        assert "nested too deeply" in problem.message


def test_every_problem_of_a_file_is_reported_at_once(tmp_path):
    lines = [case[0] for case in BAD_LINES.values()]
    path = written(tmp_path, "\n".join([*lines, '{"query": "", "pos": ["", 3], "neg": 4}']) + "\n")
    file = read_training(path)
    assert [problem.line for problem in file.problems] == [*range(1, len(lines) + 1), *[len(lines) + 1] * 4]
    assert [problem.path for problem in file.problems[-4:]] == ["$.query", "$.pos[0]", "$.pos[1]", "$.neg"]
    with pytest.raises(InputError) as refusal:
        require_decided(file)
    assert refusal.value.problems == tuple(file.problems)
    text = str(refusal.value)
    shown = sum(str(problem) in text for problem in file.problems)
    counted = sum(map(int, re.findall(r"(\d+) x ", text)))
    assert shown > 20
    assert shown + counted == len(file.problems), "a message has at most 4,000 characters: the others are counted"
    assert len(text) <= 4_000
    assert f"{len(lines) + 1} bad rows" in text
    assert "set skip_bad_rows" in text
    assert "set repair to string-instead-of-list null-instead-of-list blank-passage nan" in text


def test_the_refusal_of_a_thoroughly_bad_file_stays_readable(tmp_path):
    path = written(tmp_path, '{"query": "q", "pos": []}\n' * 500)
    with pytest.raises(InputError, match="500 bad rows") as refusal:
        require_decided(read_training(path))
    assert len(str(refusal.value).splitlines()) < 60
    shown = str(refusal.value).count("\n  train.jsonl:")
    assert shown > 20
    assert f"{500 - shown} x no positive" in str(refusal.value)
    assert len(refusal.value.problems) == 500


def test_every_kind_has_words(tmp_path):
    kinds = {case[2] for case in BAD_LINES.values()} | {
        "not-utf8",
        "line-too-long",
        "duplicate-row",
        "duplicate-key",
        "byte-order-mark",
        "crlf",
        "blank-line",
        "bad-record",
        "duplicate-id",
        "unknown-id",
        "no-query",
        "field-renamed",
        "field-left-out",
        "record-left-out",
        "reading-note",
        "improbable-data",
    }
    assert kinds == set(PROBLEM_KINDS)
    assert set(REPAIRS) <= set(PROBLEM_KINDS)


# Repairs


@pytest.mark.parametrize(
    ("line", "kind", "pos", "neg"),
    [
        ('{"query": "q", "pos": "p"}', "string-instead-of-list", ["p"], []),
        ('{"query": "q", "pos": ["p"], "neg": "n"}', "string-instead-of-list", ["p"], ["n"]),
        ('{"query": "q", "pos": ["p"], "neg": null}', "null-instead-of-list", ["p"], []),
        ('{"query": "q", "pos": ["", "p", " "], "neg": ["n", "\\n"]}', "blank-passage", ["p"], ["n"]),
    ],
)
def test_a_repair_repairs_its_kind_and_reports_it(tmp_path, line, kind, pos, neg):
    path = written(tmp_path, line + "\n")
    for repair in ([kind], ["all"]):
        file = read_training(path, repair=repair)
        assert {problem.resolution for problem in file.problems} == {"repaired"}
        (row,) = file.items
        assert (row.pos, row.neg) == (pos, neg)
        assert msgspec.json.decode(row.fields["pos"]) == pos
        assert "neg" not in row.fields or msgspec.json.decode(row.fields["neg"]) == neg
        require_decided(file)
    others = set(REPAIRS) - {kind}
    assert {problem.resolution for problem in read_training(path, repair=others).problems} == {"open"}


def test_a_row_with_one_problem_beyond_repair_stays_out(tmp_path):
    path = written(tmp_path, '{"query": "", "pos": "p"}\n')
    file = read_training(path, repair=["all"])
    assert not file.items
    assert [problem.resolution for problem in file.problems] == ["open", "open"]
    assert not read_training(path, repair=["all"], skip_bad_rows=True).open_problems


def test_a_positive_list_of_blanks_cannot_be_repaired(tmp_path):
    file = read_training(written(tmp_path, '{"query": "q", "pos": ["", " "]}\n{"query": "q", "pos": ""}\n'), repair=["all"])
    assert not file.items
    assert [problem.kind for problem in file.problems if problem.path == "$.pos"] == [
        "no-positive",
        "string-instead-of-list",
        "no-positive",
    ]


def test_repairing_nan_removes_the_field_and_leaves_the_others_byte_for_byte(tmp_path):
    line = '{"id": 1.0, "query": "caf\\u00e9", "pos": ["p"], "pos_scores": [NaN], "big": 1e5, "o": {"a" : [1.50]} , "last": -0}\n'
    (row,) = read_training(written(tmp_path, line), repair=["nan"]).items
    assert row.query == "café"
    assert {key: bytes(value) for key, value in row.fields.items()} == {
        "id": b"1.0",
        "query": b'"caf\\u00e9"',
        "pos": b'["p"]',
        "big": b"1e5",
        "o": b'{"a" : [1.50]}',
        "last": b"-0",
    }
    assert list(row.fields) == ["id", "query", "pos", "big", "o", "last"]


def test_nan_as_text_is_text(tmp_path):
    file = read_training(written(tmp_path, '{"query": "NaN", "pos": ["Infinity"], "x": "NaN"}\n'))
    assert not file.problems
    assert file.items[0].query == "NaN"


@pytest.mark.parametrize(
    ("scores", "left"), [("[0.9, 0.10, 0.7]", b"[0.9, 0.7]"), ("[0.9, 0.8]", b"[0.9, 0.8]"), ("null", b"null"), ('"x"', b'"x"')]
)
def test_dropping_a_blank_positive_drops_its_score_too(tmp_path, scores, left):
    """Else every score behind it would silently belong to another passage. Scores that never fitted are left as they are."""
    path = written(tmp_path, f'{{"query": "q", "pos": ["a", " ", "c"], "pos_scores": {scores}}}\n')
    (row,) = read_training(path, repair=["blank-passage"]).items
    assert row.pos == ["a", "c"]
    assert bytes(row.fields["pos_scores"]) == left


def test_unknown_repairs_are_refused_by_name(tmp_path):
    with pytest.raises(SettingsError, match=r"'blanks'.*blank-passage"):
        read_training(written(tmp_path, GOOD + "\n"), repair=["blanks"])


# Rows that repeat


def test_duplicate_rows_are_noted_or_dropped(tmp_path):
    lines = [GOOD, '{"query": "q", "pos": ["other"]}', '{"pos": ["p"], "query": "q", "neg": ["n"]}', GOOD]
    path = written(tmp_path, "\n".join(lines) + "\n")
    file = read_training(path)
    assert [(p.line, p.path, p.kind, p.severity, p.resolution) for p in file.problems] == [
        (3, "$", "duplicate-row", "notice", "noted"),
        (4, "$", "duplicate-row", "notice", "noted"),
    ]
    assert "line 1" in file.problems[0].message
    assert "keep the first" in file.problems[0].remedy
    assert [row.line for row in file.items] == [1, 2, 3, 4]
    require_decided(file)
    file = read_training(path, repair=["duplicate-row"])
    assert [row.line for row in file.items] == [1, 2]
    assert [problem.resolution for problem in file.problems] == ["repaired", "repaired"]


def test_a_row_that_repeats_only_after_its_repair_is_found(tmp_path):
    path = written(tmp_path, GOOD + '\n{"query": "q", "pos": "p"}\n')
    file = read_training(path, repair=["all"])
    assert [problem.kind for problem in file.problems] == ["string-instead-of-list", "duplicate-row"]
    assert [row.line for row in file.items] == [1]


# What is carried through


@pytest.mark.parametrize(
    "value",
    ["1.0", "1e5", "-0", "1E+2", '"\\u00e9"', '"\\/"', "123456789012345678901234567890", '{"b" : 1,"a":[ 1.50 ]}', "null", "true", "1e999"],
)
def test_other_fields_are_carried_byte_for_byte(tmp_path, value):
    (row,) = read_training(written(tmp_path, f'{{"x": {value}, "query": "q", "é": 1, "pos": ["p"]}}\n')).items
    assert bytes(row.fields["x"]) == value.encode()
    assert list(row.fields) == ["x", "query", "é", "pos"]


def test_texts_are_unescaped_while_their_fields_keep_the_spelling(tmp_path):
    (row,) = read_training(written(tmp_path, '{"query": "caf\\u00e9 \\ud83d\\ude00", "pos": ["a\\tb"]}\n')).items
    assert row.query == "café 😀"
    assert row.pos == ["a\tb"]
    assert bytes(row.fields["query"]) == b'"caf\\u00e9 \\ud83d\\ude00"'
    assert bytes(row.fields["pos"]) == b'["a\\tb"]'


def test_line_separators_inside_texts_do_not_break_lines(tmp_path):
    text = "one\u2028two\x85three"
    file = read_training(written(tmp_path, json.dumps({"query": text, "pos": [text]}, ensure_ascii=False) + "\n"))
    assert [row.query for row in file.items] == [text]


# The file as a whole


def test_a_byte_order_mark_is_noted_and_not_read(tmp_path):
    file = read_training(written(tmp_path, codecs.BOM_UTF8 + GOOD.encode() + b"\n"))
    assert [(p.line, p.kind, p.severity, p.resolution) for p in file.problems] == [(1, "byte-order-mark", "notice", "noted")]
    assert file.items[0].query == "q"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_line_may_end_in_any_way(tmp_path, end):
    assert [row.line for row in read_training(written(tmp_path, f"{GOOD}\n{GOOD}{end}")).items] == [1, 2]


def test_windows_line_ends_are_noted_once(tmp_path):
    file = read_training(written(tmp_path, '{"query": "a", "pos": ["p"]}\r\n{"query": "b", "pos": ["p"]}\r\n'))
    assert [row.query for row in file.items] == ["a", "b"]
    (problem,) = file.problems
    assert (problem.line, problem.kind, problem.resolution) == (1, "crlf", "noted")
    assert "2 lines" in problem.message


def test_blank_lines_are_noted_once_and_counted_as_lines(tmp_path):
    file = read_training(written(tmp_path, f"\n{GOOD}\n  \t\n\n" + '{"query": "z", "pos": ["p"]}\n'))
    assert [row.line for row in file.items] == [2, 5]
    (problem,) = file.problems
    assert (problem.line, problem.kind, problem.severity) == (1, "blank-line", "notice")
    assert "3 blank lines" in problem.message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_read_with_and_without_a_byte_order_mark(tmp_path, encoding):
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF16_BE
    data = mark + (GOOD + "\n").encode(encoding)
    file = read_training(written(tmp_path, data))
    assert len(file.items) == 1
    assert "utf-16" in file.read_as
    assert (file.plain, file.size, file.sha256) == (False, len(data), hashlib.sha256(data).hexdigest())
    file = read_training(written(tmp_path, data[2:]))
    assert (len(file.items), file.open_problems) == (1, [])
    assert encoding in file.read_as


def test_a_json_array_is_read_and_beyond_its_limit_refused_with_a_remedy(tmp_path, monkeypatch):
    for text, numbers in ((f"[{GOOD}]\n", [1]), (f"[\n{GOOD},\n{GOOD}\n]\n", [2, 3])):
        assert [row.line for row in read_training(written(tmp_path, text)).items] == numbers
    monkeypatch.setattr("hnmine.data.formats.tables.MAX_ARRAY_BYTES", 10)
    with pytest.raises(InputError, match=r"one JSON array.*jq"):
        read_training(written(tmp_path, text))


def test_a_later_line_that_is_an_array_is_a_bad_row_and_no_reason_to_refuse_the_file(tmp_path):
    file = read_training(written(tmp_path, f"{GOOD}\n[{GOOD}]\n"))
    assert [(problem.line, problem.kind) for problem in file.problems] == [(2, "not-an-object")]
    assert len(file.items) == 1


def test_a_packing_that_is_not_read_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match=r"compressed with bzip2; unpack it first"):
        read_training(written(tmp_path, bz2.compress(GOOD.encode()), "train.jsonl.bz2"))


def test_a_missing_file_or_a_folder_is_refused_by_path(tmp_path):
    for path in (tmp_path / "nowhere.jsonl", tmp_path):
        for read in (read_training, read_pool):
            with pytest.raises(InputError, match=r"cannot be read.*check the path") as refusal:
                read(path)
            assert str(path) in str(refusal.value)


def test_an_empty_file_has_no_rows_and_no_lines(tmp_path):
    file = read_training(written(tmp_path, b""))
    assert (file.items, file.problems, file.lines) == ([], [], 0)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_beyond_the_limit_is_reported_and_reading_goes_on(tmp_path, end, monkeypatch):
    """The long line is several times what is read at once, so that its rest must be passed over too."""
    over = '{"query": "long", "pos": ["' + "y" * 3_000_000 + '"]}'
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 200)
    file = read_training(written(tmp_path, f"{GOOD}{end}{over}{end}{GOOD}{end}"))
    (problem,) = [each for each in file.problems if each.severity == "error"]
    assert (problem.line, problem.path, problem.kind, problem.resolution) == (2, "$", "line-too-long", "open")
    assert "limit" in problem.message
    assert "line ends" in problem.remedy
    assert [row.line for row in file.items] == [1, 3]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_of_exactly_the_limit_is_read(tmp_path, end, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", len(GOOD))
    file = read_training(written(tmp_path, GOOD + end))
    assert [row.line for row in file.items] == [1]


def test_a_file_that_ends_in_a_line_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    file = read_training(written(tmp_path, f"{GOOD}\n" + "z" * 5_000))
    assert [(problem.line, problem.kind) for problem in file.problems] == [(2, "line-too-long")]


# Pools


def test_a_pool_is_its_texts_and_other_fields_do_not_matter(tmp_path):
    lines = ['{"_id": "1", "title": "T", "text": "one", "x": [1, {}]}', '{"text": "  two "}']
    file = read_pool(written(tmp_path, "\n".join(lines) + "\n", "pool.jsonl"))
    assert file.items == ["one", "  two "]
    assert not file.problems


@pytest.mark.parametrize(
    ("line", "place", "kind", "repairable"),
    [
        ('{"text": "x"', "$", "not-json", False),
        ('"x"', "$", "not-an-object", False),
        ('{"passage": "x"}', "$.text", "missing-field", False),
        ('{"text": ["x"]}', "$.text", "wrong-type", False),
        ('{"text": null}', "$.text", "wrong-type", False),
        ('{"text": ""}', "$.text", "blank-passage", True),
        ('{"text": " \\n"}', "$.text", "blank-passage", True),
        ('{"text": "x", "score": NaN}', "$.score", "nan", True),
    ],
)
def test_a_bad_line_of_a_pool(tmp_path, line, place, kind, repairable):
    path = written(tmp_path, f'{{"text": "good"}}\n{line}\n', "pool.jsonl")
    file = read_pool(path)
    (problem,) = file.problems
    assert (problem.file, problem.line, problem.path, problem.kind, problem.resolution) == ("pool.jsonl", 2, place, kind, "open")
    assert file.items == ["good"]
    with pytest.raises(InputError, match=r"pool\.jsonl:2"):
        require_decided(file)
    assert [each.resolution for each in read_pool(path, repair=["all"]).problems] == ["repaired" if repairable else "open"]
    assert read_pool(path, repair=["all"]).items == (["good", "x"] if kind == "nan" else ["good"])
    assert [each.resolution for each in read_pool(path, skip_bad_rows=True).problems] == ["skipped"]


def test_a_problem_reads_as_place_fault_and_remedy():
    problem = Problem(file="train.jsonl", line=17, path="$.pos[1]", kind="wrong-type", message="expected a string", remedy="write it so")
    assert str(problem) == "train.jsonl:17 $.pos[1]  expected a string  -> write it so"


def test_files_in_flagembeddings_own_format_are_read_without_a_complaint(shared_data):
    """Among them rows with scores, prompt and type, as trainers hold them."""
    for path in sorted((shared_data / "formats").glob("*.jsonl")):
        file = read_training(path)
        assert file.items, path
        assert not file.open_problems, path


def test_a_field_that_occurs_twice_is_no_row(tmp_path):
    """JSON keeps the last of them: the first positive would be lost, and could be mined as a negative."""
    path = tmp_path / "twice.jsonl"
    path.write_text(
        '{"query": "a", "pos": ["right"], "pos": ["other"]}\n{"query": "\\"pos\\" and", "pos": ["pos", "query"], "id": 1}\n', "utf-8"
    )
    file = read_training(path)
    assert [row.line for row in file.items] == [2]
    (problem,) = file.problems
    assert (problem.line, problem.path, problem.kind, problem.resolution) == (1, "$.pos", "duplicate-key", "open")
    assert "keep one" in problem.remedy


def test_a_field_that_occurs_twice_in_two_spellings_is_found(tmp_path):
    (problem,) = read_pool(written(tmp_path, '{"te\\u0078t": "a", "text": "b"}\n{"x" : "\\u00e9", "text": "ok"}\n')).problems
    assert (problem.line, problem.path, problem.kind) == (1, "$.text", "duplicate-key")


@pytest.mark.parametrize("layout", ['{"query": "q", "pos": ["p"], "id": %s, "id": 2}', '{"id":%s,"query":"q","id":2,"pos":["p"]}'])
@pytest.mark.parametrize("value", ["1", '"id"', "9" * 5000])
def test_a_field_of_a_short_name_that_occurs_twice_is_found_in_any_layout(tmp_path, layout, value):
    assert [problem.path for problem in read_training(written(tmp_path, layout % value + "\n")).problems] == ["$.id"]
    assert len(read_training(written(tmp_path, layout.replace('"id": 2', '"d": 2').replace('"id":2', '"d":2') % value + "\n")).items) == 1


# Two ways through a line, one result

ODD_LINES = [
    *(case[0].encode() for case in BAD_LINES.values()),
    *(b"", b" \t", b"{}", b"[", b'{"text": "\\u00a0"}', b'{"text": "a\tb"}', b'{"text": "a", "text": "b"}', b'{"": 1, "": 2}'),
    *(b'{"text": "a\xff"}', b'{"text": "a", "x": "\xe9"}', b'{"\xff": 1, "text": "a"}', b'{"text": "say \\"text", "title": "text"}'),
    *(b'{"query": "q", "pos": ["p", "\xc3"], "neg": []}', b'{"te\\u0078t": "a\xff", "text": "b"}', b'{"text": "a"}\r{"text": "b"}'),
]
GOOD_LINES = [
    GOOD.encode(),
    b'{"query":"a","pos":["p","r"],"neg":["n"],"prompt":"x","id":1}',
    '{"query": "é", "pos": ["ß ü"], "neg": ["日"], "id": 5, "x": {"a": [1.0, "é"]}}'.encode(),
    b'{"_id": "1", "title": "T", "text": "one"}',
    '{"text":"tä","":1e999}'.encode(),
]
any_line = st.one_of(
    st.sampled_from(GOOD_LINES),
    st.sampled_from(ODD_LINES),
    st.tuples(st.sampled_from(GOOD_LINES), st.integers(0, 60), st.binary(max_size=1)).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :]),
)


def found_in(file):
    items = [
        (each.line, each.query, each.pos, each.neg, [(key, bytes(raw)) for key, raw in each.fields.items()])
        if hasattr(each, "fields")
        else each
        for each in file.items
    ]
    return items, file.problems, file.lines


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    parts=st.lists(st.tuples(any_line, st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=8),
    options=st.sampled_from([{}, {"repair": "all"}, {"skip_bad_rows": True}]),
    limit=st.sampled_from([60, lines.MAX_LINE_BYTES]),
    block=st.sampled_from([1, 7, 64]),
    last=st.booleans(),
)
def test_the_quick_way_through_a_line_finds_what_the_careful_one_does(tmp_path, monkeypatch, parts, options, limit, block, last):
    """And where the blocks end in which a file is read has no say."""

    def refuse(raw):
        raise ValueError

    data = b"".join(line + end for line, end in parts)
    path = written(tmp_path, data if last else data.rstrip(b"\n"))
    for read in (read_training, read_pool):
        answers = []
        for careful in (False, True):
            with monkeypatch.context() as patch:
                patch.setattr(lines, "MAX_LINE_BYTES", limit)
                if careful:
                    patch.setattr(jsonl, "_quick_text", refuse)
                    patch.setattr(jsonl, "_quick_texts", refuse)
                    patch.setattr(jsonl, "_fixed_reader", lambda fields, text: lambda raw: "")
                    patch.setattr(lines, "BLOCK", block)
                try:
                    answers.append(found_in(read(path, **options)))
                except InputError as error:
                    answers.append(str(error))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("data", [b"", GOOD.encode(), codecs.BOM_UTF8 + GOOD.encode() + b"\r\n\n{\xff\n" + b"y" * 3_000_000])
def test_the_fingerprint_is_that_of_all_bytes_of_the_file(tmp_path, data, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    file = read_training(written(tmp_path, data))
    assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_inputs_are_fingerprinted_while_they_are_read_and_may_come_from_a_pipe(tmp_path):
    data, pipe = GOOD.encode() + b"\n", tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data * 3,))
    writer.start()
    inputs = read_inputs(pipe, written(tmp_path, b'{"text": "t"}\n', "pool.jsonl"))
    writer.join()
    assert len(inputs.rows) == 3
    assert inputs.files == {
        "input_file": {"name": "pipe", "bytes": 3 * len(data), "sha256": hashlib.sha256(data * 3).hexdigest()},
        "candidate_pool": {"name": "pool.jsonl", "bytes": 14, "sha256": hashlib.sha256(b'{"text": "t"}\n').hexdigest()},
    }


# Messages that lead to the fault


def test_line_ends_of_old_macs_are_reported_as_such(tmp_path):
    (problem,) = read_training(written(tmp_path, (GOOD + "\r") * 3)).problems
    assert (problem.line, problem.kind) == (1, "not-json")
    assert "3 rows are separated by CR alone" in problem.message
    assert "save the file with LF line ends" in problem.remedy
    assert read_training(written(tmp_path, GOOD + "\r")).problems == [], "one row needs no line end"


@pytest.mark.parametrize(
    ("text", "column"), [("\\ud83d", 12), ("ab\\uDE00", 14), ("\\ud83d\\ude00 \\ud83d.", 25), ("\\\\ud83d \\udbff\\\\", 20)]
)
def test_half_a_surrogate_pair_is_reported_with_its_column(tmp_path, text, column):
    (problem,) = read_training(written(tmp_path, f'{{"query": "{text}", "pos": ["p"]}}\n')).problems
    assert problem.kind == "not-json"
    assert f"at column {column} is half of a surrogate pair" in problem.message
    assert "both halves" in problem.remedy


def test_one_repair_may_be_named_without_a_list(tmp_path):
    path = written(tmp_path, '{"query": "q", "pos": ["p"], "x": NaN}\n')
    assert [problem.resolution for problem in read_training(path, repair="nan").problems] == ["repaired"]
    with pytest.raises(SettingsError, match=r"unknown repair 'none'"):
        read_training(path, repair="none")


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_refused_by_the_name_of_its_argument(tmp_path, empty):
    with pytest.raises(InputError, match=r"candidate_pool is .*give the path of a file, or None"):
        read_inputs(written(tmp_path, GOOD), empty)
    with pytest.raises(InputError, match=r"input_file is .*give the path of a file$"):
        read_inputs(empty)
