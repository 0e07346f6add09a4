"""The check finds each planted fault and nothing else; its claims about trainers are tested in test_trainers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnmine.checks.check import check
from hnmine.checks.kinds import KINDS, OUTPUT_REPAIRS, TRAINERS, Report
from hnmine.checks.repair import repaired
from hnmine.checks.survey import Lengths
from hnmine.cli.main import main
from hnmine.core.errors import Cancelled, InputError, SettingsError
from hnmine.core.text import shortened
from hnmine.models import cards
from hnmine.runs.find_knn_neg import find_knn_neg

ROOT = Path(__file__).parents[2]
FAULTY = Path(__file__).parent / "faulty"
CARD = cards.describe(cards.ModelSettings())

# File -> what is planted in it: kind, rows, lines.
PLANTED = {
    "blank-passage": [("blank-passage", 2, [4, 9])],
    "duplicate-key": [("duplicate-key", 1, [3])],
    "empty-file": [("empty-file", 0, [])],
    "empty-negatives": [("empty-negatives", 2, [4, 9])],
    "empty-text": [("empty-text", 1, [7])],
    "missing-field": [("missing-field", 2, [7, 10])],
    "missing-prompt": [("missing-prompt", 4, [2, 5, 10, 11])],
    "mixed-types-inside-an-object": [("mixed-types", 1, [5])],
    "mixed-types-list-and-text": [("mixed-types", 1, [8])],
    "mixed-types-number-and-text": [("mixed-types", 2, [6, 12])],
    "nan": [("nan", 1, [6])],
    "no-positive": [("no-positive", 2, [7, 8])],
    "not-an-object": [("not-an-object", 1, [6])],
    "not-json": [("not-json", 1, [6])],
    "not-utf8": [("not-utf8", 1, [8])],
    "one-kind-of-scores": [("one-kind-of-scores", 12, [1, 2, 3, 4, 5])],
    "positive-among-negatives": [("positive-among-negatives", 2, [4, 9])],
    "positive-of-another-row": [("positive-of-another-row", 1, [13])],
    "query-among-negatives": [("query-among-negatives", 1, [6])],
    "query-among-positives": [("query-among-positives", 1, [8])],
    "repeated-negative": [("repeated-negative", 2, [2, 5])],
    "repeated-positive": [("repeated-positive", 1, [10])],
    "repeated-row": [("repeated-row", 2, [7, 14])],
    "scores-length": [("scores-length", 2, [3, 8])],
    "scores-nan": [("scores-not-numbers", 2, [2, 7])],
    "scores-not-numbers": [("scores-not-numbers", 2, [4, 10])],
    "scores-of-two-scales": [("scores-of-two-scales", 1, [11])],
    "scores-on-some-rows": [("scores-on-some-rows", 2, [5, 6])],
    "several": [
        ("empty-negatives", 1, [7]),
        ("mixed-types", 1, [9]),
        ("missing-prompt", 1, [2]),
        ("positive-among-negatives", 1, [5]),
        ("repeated-negative", 1, [4]),
        ("blank-passage", 1, [10]),
    ],
    "short-negatives": [("short-negatives", 2, [3, 7])],
    "string-instead-of-list": [("string-instead-of-list", 1, [3])],
    "too-long": [("too-long", 1, [5])],
    "type-not-constant": [("type-not-constant", 2, [7, 10])],
    "wrong-type": [("wrong-type", 1, [7])],
}


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def row(number: int, negatives: int = 8, **fields):
    return {
        "query": f"query {number}",
        "pos": [f"positive {number}"],
        "neg": [f"negative {number} {place}" for place in range(negatives)],
        **fields,
    }


# What it finds


def test_each_faulty_file_is_known():
    assert sorted(path.stem for path in FAULTY.iterdir()) == sorted(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_with_its_count_and_lines_and_nothing_else_is(name):
    report = check(FAULTY / f"{name}.jsonl", model=CARD)
    assert [(each.kind, each.count, [example.line for example in each.examples]) for each in report.findings] == PLANTED[name]
    assert report.ok == all(KINDS[kind].severity != "error" for kind, _, _ in PLANTED[name])
    assert all(each.message and each.remedy and each.trainers for each in report.findings)


def test_every_kind_of_finding_is_planted_or_tried_below():
    planted = {kind for found in PLANTED.values() for kind, _, _ in found}
    elsewhere = {"line-too-long", "bad-record", "other-fault", "late-field", "late-fraction", "file-name"}
    elsewhere |= {"file-pattern", "other-form", "several-positives"}  # test_trainers, test_ms_swift
    assert {kind for kind, each in KINDS.items() if each.severity != "note"} == planted | elsewhere


@pytest.mark.parametrize("name", ["Banking77Classification", "msmarco", "nq", "reranker_toy", "sts", "toy_finetune_data"])
def test_real_files_have_no_findings(shared_data, name):
    report = check(shared_data / "formats" / f"{name}.jsonl", model=CARD)
    assert report.findings == ()
    assert report.rows >= 9
    assert "no problems found" in str(report)


def test_a_mined_file_is_sound(tmp_path, fake_encoder):
    example = ROOT / "examples" / "bikeshare"
    out = tmp_path / "out.jsonl"
    find_knn_neg(fake_encoder, example / "train.jsonl", example / "pool.jsonl", out, "0-60", with_scores=True)
    report = check(out, model=CARD, negative_number=15)
    assert kinds(report) == ["too-long"]  # the example has such passages, planted
    assert (report.rows, report.negatives, report.negative_number) == (124, 1860, 15)


def test_old_scores_leave_no_finding_in_a_mined_file(tmp_path, fake_encoder, write_jsonl):
    """`mine` removes scores of replaced negatives; what is left must not be half of a pair."""
    rows = [row(number, 2, pos_scores=[0.5]) for number in range(9)]
    rows[3]["neg_scores"], rows[5]["neg_scores"] = [0.25, 0.125], [7]
    del rows[7]["pos_scores"]
    out = tmp_path / "out.jsonl"
    for settings in ({}, {"with_scores": True}):
        find_knn_neg(fake_encoder, write_jsonl(rows), None, out, "0-15", 7, **settings)
        assert kinds(check(out, trainers=["flagembedding"])) == []


def test_what_is_normal_is_reported_by_the_file(write_jsonl):
    assert kinds(check(write_jsonl([row(number, 3) for number in range(9)]))) == []
    few = check(write_jsonl([row(number, 3) for number in range(9)]))
    assert "few-negatives" in [note.kind for note in few.notes]
    short = check(write_jsonl([row(number, 2 if number == 4 else 3) for number in range(9)]))
    assert [(each.kind, each.count) for each in short.findings] == [("short-negatives", 1)]
    asked = check(write_jsonl([row(number, 8) for number in range(9)]), negative_number=15)
    assert [(each.kind, each.count) for each in asked.findings] == [("short-negatives", 9)]
    single = [row(number, 1 if number < 4 else 8, type="only_1neg") for number in range(9)]
    assert kinds(check(write_jsonl(single))) == []


def test_a_repeat_among_many_is_a_note(write_jsonl):
    rows = [row(number, 100) for number in range(3)]
    rows[1]["neg"][7] = rows[1]["neg"][3]
    rare = check(write_jsonl(rows))
    assert (kinds(rare), [note.kind for note in rare.notes]) == ([], ["rare-repeats", "no-prompt"])
    assert kinds(check(write_jsonl(rows), negative_number=100)) == ["repeated-negative"]


def test_scores_of_one_model_around_zero_and_one_are_no_mixture(write_jsonl):
    scores = [(0.9, [0.2] * 8), (-4.0, [-7.5] * 8), (8.5, [0.5, -3] * 4)]
    rows = [row(number, pos_scores=[one], neg_scores=many) for number, (one, many) in enumerate(scores)]
    assert kinds(check(write_jsonl(rows))) == []


def test_only_the_wanted_trainers_are_simulated(write_jsonl):
    path = write_jsonl([row(1, type="a"), row(2, type="b"), row(3, prompt="x")], "rows.txt")
    assert kinds(check(path)) == ["missing-prompt", "type-not-constant", "file-name"]
    assert kinds(check(path, trainers=["ms-swift"])) == ["other-form"]
    with pytest.raises(SettingsError, match="unknown trainer 'word2vec'; choose from: flagembedding"):
        check(path, trainers=["word2vec"])
    with pytest.raises(SettingsError, match="negative_number is 0"):
        check(path, negative_number=0)


def test_other_formats_are_read_too(write_jsonl, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,wrong\nwho,me,you\nwho,you,me\n")
    report = check(path)
    assert [(each.kind, each.count) for each in report.findings] == [("positive-of-another-row", 2), ("file-name", 2)]
    assert any("read as" in note.message for note in report.notes)


def test_a_long_text_is_found_and_counted_exactly_below_the_sample_and_nearly_above(write_jsonl, monkeypatch):
    long = "word " * 300
    rows = [row(number) for number in range(40)]
    for number in range(10):
        rows[number]["neg"][0] = f"{number} {long}"
    rows[20]["neg"][0] = rows[3]["neg"][0]  # the same text counts once
    found = check(write_jsonl(rows), model=CARD).findings
    assert [(each.kind, each.count) for each in found] == [("too-long", 10)]
    assert "10 of 359 different passages" in found[0].message
    monkeypatch.setattr("hnmine.checks.survey.SAMPLE", 50)
    few = Lengths("passage", 256)
    for number in range(2000):
        few.add(f"{number} " + "word " * (300 if number % 4 else 100), hash_of(number), number)
    about = few.finding(CARD.folder, "model", 2000)
    assert about is not None and "about" in about.message and 1100 < about.count < 1900


def hash_of(number: int) -> int:
    return random.Random(number).getrandbits(64)


def test_texts_of_the_file_reach_a_terminal_harmless(write_jsonl):
    evil = "\x1b[31mred\u202e\n# heading"
    rows = [row(1), {**row(2), "query": evil, "neg": []}]
    report = check(write_jsonl(rows))
    assert "\x1b" not in str(report) and "\u202e" not in str(report)
    assert len(shortened("x" * 1000)) == 90


def test_cancelling_and_progress(write_jsonl):
    path = write_jsonl([row(1)])
    with pytest.raises(Cancelled):
        check(path, should_stop=lambda: True)
    seen: list[tuple[int, int, str]] = []
    check(path, on_progress=lambda *each: seen.append(each))
    assert seen == [(0, path.stat().st_size, "checking rows")]
    with pytest.raises(InputError, match="is a folder; give a file"):
        check(path.parent)
    with pytest.raises(InputError, match="cannot be read"):
        check(path.with_name("nowhere.jsonl"))


def test_a_report_is_the_same_each_time_goes_through_json_and_can_be_hashed(write_jsonl):
    path = FAULTY / "several.jsonl"
    report = check(path, model=CARD)
    assert check(path, model=CARD) == report
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert len({report, check(path, model=CARD)}) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.lists(st.sampled_from("pqrs"), min_size=1), st.lists(st.sampled_from("pqrst"))), min_size=1
    )
)
def test_across_rows_as_by_brute_force(tmp_path_factory, given_rows):
    path = tmp_path_factory.getbasetemp() / "across.jsonl"
    path.write_text("".join(json.dumps({"query": query, "pos": pos, "neg": neg}) + "\n" for query, pos, neg in given_rows))
    own = [line for line, (_, pos, neg) in enumerate(given_rows, 1) if set(pos) & set(neg)]
    called = [{text for one, texts, _ in given_rows if one == query for text in texts} for query, _, _ in given_rows]
    other = [line for line, ((_, pos, neg), texts) in enumerate(zip(given_rows, called, strict=True), 1) if set(neg) & texts - set(pos)]
    found = {each.kind: [example.line for example in each.examples] for each in check(path).findings}
    assert found.get("positive-among-negatives", []) == own[:5]
    assert found.get("positive-of-another-row", []) == other[:5]
    repaired_rows = [json.loads(line) for line in repaired(path, ["positive-among-negatives", "positive-of-another-row"])]
    assert not any(texts & set(now["neg"]) for texts, now in zip(called, repaired_rows, strict=True))


# What is repaired_rows


@pytest.mark.parametrize("name", [name for name, found in PLANTED.items() if any(KINDS[kind].repair for kind, _, _ in found)])
def test_repairing_removes_the_fault_and_leaves_the_other_rows_as_they_were(tmp_path, name):
    path = FAULTY / f"{name}.jsonl"
    report = check(path)
    out = tmp_path / "repaired.jsonl"
    out.write_bytes(b"".join(repaired(path, report.repairs)))
    assert kinds(check(out)) == []
    if not {"mixed-types", "scores"} & set(report.repairs):  # these concern every row
        lines = set(path.read_bytes().splitlines())
        bad = {line for _, _, places in PLANTED[name] for line in places}
        new = [line for line in out.read_bytes().splitlines() if line not in lines]
        assert len(new) <= len(bad)


def test_nothing_is_repaired_unasked_or_without_fault(shared_data):
    for path in [*FAULTY.iterdir(), shared_data / "formats" / "msmarco.jsonl"]:
        assert b"".join(repaired(path, [])) == path.read_bytes()
    path = shared_data / "formats" / "msmarco.jsonl"
    assert b"".join(repaired(path, "all")) == path.read_bytes()  # its scores are good
    with pytest.raises(SettingsError, match="unknown repair 'prompt'"):
        list(repaired(path, ["prompt"]))


def test_what_is_repaired_keeps_every_other_byte(write_jsonl):
    first = (
        '{"query":"q\\u00e9",  "pos": ["a" ],"neg":["x","b\\u0301", "x",  "c"], "neg_scores":[4e0,3.0,4e0, 1], "pos_scores":[5], "n":1.0}'
    )
    path = write_jsonl([first, first.replace("q\\u00e9", "other").replace('"x",  "c"', '"d","c"'), '["no row"]'])
    one, two, three = repaired(path, ["repeated-negative"])
    assert one == (
        b'{"query": "q\\u00e9", "pos": ["a" ], "neg": ["x", "b\\u0301", "c"], "neg_scores": [4e0, 3.0, 1], "pos_scores": [5], "n": 1.0}\n'
    )
    assert two + three == b"".join(path.read_bytes().splitlines(keepends=True)[1:])


def test_repairing_one_fault_leaves_the_others_of_the_row(write_jsonl):
    rows = [row(1, prompt="p"), {**row(2), "pos": "alone", "neg": ["a", "", "a"]}]
    path = write_jsonl(rows)
    repaired_rows = [json.loads(line) for line in repaired(path, ["missing-prompt"])]
    assert repaired_rows == [rows[0], {**rows[1], "prompt": ""}]
    repaired_rows = [json.loads(line) for line in repaired(path, ["blank-passage", "repeated-negative"])]
    assert repaired_rows[1] == {**rows[1], "neg": ["a"]}


def test_a_row_that_loses_its_last_negative_can_go_with_it(write_jsonl):
    path = write_jsonl([row(1), {**row(2), "neg": ["positive 2"]}])
    assert len(list(repaired(path, ["positive-among-negatives"]))) == 2
    assert len(list(repaired(path, ["positive-among-negatives", "empty-negatives"]))) == 1


def test_a_line_that_was_never_read_is_not_lost(write_jsonl, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('query,pos,neg\nwho,me,you\nwho,"me,you\n')
    with pytest.raises(InputError, match="cannot be copied"):
        list(repaired(path, ["repeated-negative"]))


def test_a_table_leaves_as_json_lines(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,wrong,wrong_2\nwho,me,you,you\n")
    assert [json.loads(line) for line in repaired(path, ["repeated-negative"])] == [{"query": "who", "pos": ["me"], "neg": ["you"]}]


# The command line


def test_the_command_reports_and_ends_with_a_status(capsys, tmp_path):
    assert main(["check", str(FAULTY / "several.jsonl")]) == 2
    printed = capsys.readouterr()
    assert "line 2  " in printed.out and "(repair: missing-prompt)" in printed.out and "4 errors, 2 warnings" in printed.out
    assert printed.err == ""
    assert main(["check", str(FAULTY / "too-long.jsonl")]) == 0
    assert main(["check", str(FAULTY / "too-long.jsonl"), "--no_lengths"]) == 0
    assert "too" not in capsys.readouterr().out.split("no problems found")[-1]
    assert main(["check", str(tmp_path / "nowhere.jsonl")]) == 2
    assert "nowhere.jsonl: cannot be read" in capsys.readouterr().err


def test_the_command_speaks_json(capsys):
    assert main(["check", str(FAULTY / "missing-prompt.jsonl"), "--json", "--trainer", "flagembedding"]) == 2
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert (kinds(report), report.trainers) == (["missing-prompt"], ("flagembedding",))


def test_the_command_repairs_into_another_file(capsys, tmp_path):
    path, out = FAULTY / "several.jsonl", tmp_path / "out.jsonl"
    assert main(["check", str(path), "--repair", "all", "--output_file", str(out)]) == 0
    assert "no problems found" in capsys.readouterr().out
    assert kinds(check(out)) == []
    for argv, message in [
        (["--repair", "all"], "--repair needs --output_file"),
        (["--output_file", str(out)], "--output_file needs --repair"),
        (["--repair", "all", "--output_file", str(path)], "is the file that is checked"),
    ]:
        assert main(["check", str(path), *argv]) == 2
        assert message in capsys.readouterr().err
    assert main(["check", str(path), "--repare", "all"]) == 2
    assert "did you mean --repair?" in capsys.readouterr().err


def test_every_repair_and_trainer_is_offered(capsys):
    assert {each.repair for each in KINDS.values()} - {None} == set(OUTPUT_REPAIRS)
    main(["check", "--help"])
    printed = "".join(capsys.readouterr().out.split())
    assert all(name in printed for name in (*OUTPUT_REPAIRS, *TRAINERS))


# Anything at all

TEXTS = st.sampled_from(["a", "A ", "b", "c", " ", "q", "Q"])
NUMBERS = st.sampled_from([1, 0.5, -3.0, float("nan"), float("inf"), None, "1", True])
SCORES = st.one_of(st.none(), st.just("x"), st.lists(NUMBERS, max_size=4))
VALUES = st.sampled_from([None, 1, 1.5, 1.0, "t", "", True, [], ["a"], [1], {}, {"k": 1}, {"k": "v"}, float("nan"), 2**70, 1e300])
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "query": st.one_of(TEXTS, st.sampled_from([None, 3])),
        "pos": st.one_of(st.lists(st.one_of(TEXTS, st.sampled_from([7, float("nan")])), max_size=3), TEXTS, st.none()),
        "neg": st.one_of(st.lists(TEXTS, max_size=5), TEXTS, st.none(), st.sampled_from([{}, [float("inf")]])),
        "pos_scores": SCORES,
        "neg_scores": SCORES,
        "prompt": st.sampled_from([None, "", "p", 5]),
        "type": st.sampled_from(["normal", None, "only_1neg"]),
        "x": VALUES,
        "x.y": VALUES,
    },
)
LINES = st.one_of(ROWS, st.sampled_from(["", "[1]", "{", '{"query": "a", "query": "b"}', '"text"', '{"query": "\\ud800"}']))

# A good row, and what can be wrong with one.
FAULTS = [
    {"query": ""},
    {"query": 7},
    {"pos": "alone"},
    {"pos": " "},
    {"pos": None},
    {"pos": ["p", "p", ""]},
    {"pos": ["p", None]},
    {"pos": ["p", float("nan")]},
    {"neg": []},
    {"neg": None},
    {"neg": "alone"},
    {"neg": "q"},
    {"neg": " "},
    {"neg": ["", "p", "n", "n"]},
    {"neg": ["q", " ", "q"]},
    {"neg": ["q"]},
    {"neg": ["n", float("inf")]},
    {"prompt": "p"},
    {"prompt": float("nan")},
    {"x": 1},
    {"x": {"y": float("nan")}},
    {"x": "1", "x.y": [1, "a"]},
    {"x.y": {"z": 1}},
    {"neg_scores": None},
    {"neg_scores": [float("nan"), 1, 2]},
    {"pos_scores": [1, 2], "neg_scores": [3]},
    {"pos_scores": "x", "pos_scores_of": float("nan")},
    {"pos_scores": [7.5], "neg_scores": [5.5, -4.5]},
    {"pos_scores": [0.9], "neg_scores": [0.5, 0.1]},
]
DAMAGED = st.lists(st.sampled_from(FAULTS), max_size=3).map(
    lambda faults: {"query": "q", "pos": ["p"], "neg": ["n", "m"]} | {key: value for fault in faults for key, value in fault.items()}
)


@given(st.one_of(st.lists(LINES, max_size=5), st.lists(st.one_of(DAMAGED, LINES), max_size=5)))
def test_whatever_a_file_holds_is_reported_and_each_repair_that_is_offered_helps(tmp_path_factory, lines):
    folder = tmp_path_factory.getbasetemp()
    path, out = folder / "anything.jsonl", folder / "repaired.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    try:
        report = check(path)
    except InputError as error:  # refused as a whole, in words
        assert "anything.jsonl" in str(error)
        return
    assert [each.order for each in report.findings] == sorted(each.order for each in report.findings)
    assert str(report) and msgspec.json.encode(report)
    out.write_bytes(b"".join(repaired(path, [])))
    assert [line for line in path.read_bytes().split(b"\n") if line.strip()] == out.read_bytes().splitlines()
    for repair in report.repairs:  # each of them alone helps what it is offered for
        out.write_bytes(b"".join(repaired(path, [repair])))
        after = check(out, trainers=report.trainers)
        offered = [each for each in report.findings if each.repair == repair]
        left = {each.kind: each.count for each in after.findings}
        assert after.rows > report.rows or any(left.get(each.kind, 0) < each.count for each in offered), repair
        assert repair not in after.repairs, "it was just tried"
    out.write_bytes(b"".join(repaired(path, "all")))
    assert check(out, trainers=report.trainers).repairs == ()
