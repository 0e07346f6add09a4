"""The check reads ms-swift's rows by the rules of its embedding training, and other trainers' rows are errors for it."""

from __future__ import annotations

import json

import pytest

from hnmine.checks.check import check
from hnmine.checks.repair import repaired
from hnmine.cli.main import main
from hnmine.core.errors import InputError


def message(text: object, role: str = "user") -> dict[str, object]:
    return {"role": role, "content": text}


def row(number: int, negatives: int = 2, **fields: object) -> dict[str, object]:
    return {
        "messages": [message(f"query {number}")],
        "positive_messages": [[message(f"positive {number}")]],
        "negative_messages": [[message(f"negative {number} {place}")] for place in range(negatives)],
        **fields,
    }


def found(path, **settings) -> list[tuple[str, list[int]]]:
    return [(each.kind, [example.line for example in each.examples]) for each in check(path, **settings).findings]


PAIRS = {key: value for key, value in row(1).items() if key != "negative_messages"}


@pytest.mark.parametrize(
    "rows",
    [
        [row(number) for number in range(5)],
        [PAIRS],
        [PAIRS | {"negative_messages": None}, row(2), row(3, 5)],
        [row(1) | {"negative_messages": []}],
        [PAIRS | {"label": label} for label in (1, 0.2, 0, None)],
        [row(1) | {"messages": [message("instruction", "system"), message(f"query {number}")]} for number in range(2)],
        [row(number) | {"positive_messages": [[message("answer", "assistant")]], "channel": "a"} for number in range(2)],
        [  # the same text with different pictures
            row(number)
            | {
                "messages": [message("<image>")],
                "images": [f"{number}.jpg"],
                "positive_messages": [[message("<image>")]],
                "positive_images": [[f"{number}-a.jpg"]],
                "negative_messages": [[message("<image>")]] * 2,
                "negative_images": [[f"{number}-b.jpg"], [f"{number}-c.jpg"]],
            }
            for number in range(2)
        ],
        [row(1) | {"messages": [message([{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "what is it"}])]}],
    ],
)
def test_good_rows_have_no_findings(write_jsonl, rows):
    report = check(write_jsonl(rows))
    assert report.findings == ()
    assert (report.trainers, report.rows) == (("ms-swift",), len(rows))
    assert str(report).endswith("no problems found for ms-swift")


def test_texts_are_counted_and_compared(write_jsonl):
    rows = [row(1), row(2), row(3), row(2)]
    rows[0]["negative_messages"] = [[message("POSITIVE  1")], [message("a")], [message("a")], [message("query 1")]]
    rows[2]["messages"] = rows[1]["messages"]
    rows[2]["negative_messages"] = [[message("positive 2", "assistant")], [message(" ")]]
    report = check(write_jsonl(rows))
    assert (report.rows, report.queries, report.positives, report.negatives) == (4, 2, 4, 9)
    assert [(each.kind, [example.line for example in each.examples]) for each in report.findings] == [
        ("positive-among-negatives", [1]),
        ("positive-of-another-row", [3]),
        ("query-among-negatives", [1]),
        ("repeated-negative", [1]),
        ("repeated-row", [4]),
        ("blank-passage", [3]),
    ]
    assert report.repairs == ()


@pytest.mark.parametrize(
    ("fields", "kind", "place"),
    [
        ({"positive_messages": ...}, "missing-field", "$.positive_messages"),
        ({"messages": ...}, "missing-field", "$.messages"),
        ({"positive_messages": []}, "no-positive", "$.positive_messages"),
        ({"positive_messages": None}, "no-positive", "$.positive_messages"),
        ({"positive_messages": [message("p")]}, "wrong-type", "$.positive_messages[0]"),
        ({"positive_messages": ["p"]}, "wrong-type", "$.positive_messages[0]"),
        ({"negative_messages": "n"}, "wrong-type", "$.negative_messages"),
        ({"negative_messages": [[]]}, "wrong-type", "$.negative_messages[0]"),
        ({"messages": []}, "wrong-type", "$.messages"),
        ({"messages": ["q"]}, "wrong-type", "$.messages[0]"),
        ({"messages": [{"content": "q"}]}, "wrong-type", "$.messages[0]"),
        ({"messages": [message("q", "customer")]}, "wrong-type", "$.messages[0]"),
        ({"messages": [message(None)]}, "wrong-type", "$.messages[0]"),
        ({"negative_messages": [[message("n")], [{"role": "user"}]]}, "wrong-type", "$.negative_messages[1][0]"),
        ({"messages": [message(" ")]}, "empty-text", "$.messages"),
        ({"messages": [message("instruction", "system")]}, "empty-text", "$.messages"),
        ({"label": "yes"}, "wrong-type", "$.label"),
        ({"label": float("nan")}, "nan", "$.label"),
    ],
)
def test_a_row_that_ms_swift_leaves_out_is_an_error_with_its_place_and_no_repair(write_jsonl, fields, kind, place):
    rows = [row(number) for number in range(3)]
    rows[1] = {key: value for key, value in (rows[1] | fields).items() if value is not ...}
    (finding,) = check(write_jsonl(rows)).findings
    assert (finding.kind, finding.severity, finding.count, finding.repair) == (kind, "error", 1, None)
    assert finding.examples[0].line == 2 and finding.examples[0].text.startswith(f"{place} ")
    assert finding.remedy
    if kind in ("missing-field", "no-positive", "wrong-type"):
        assert "ms-swift leaves the row out" in finding.message


def test_several_positives_are_a_warning(write_jsonl):
    rows = [row(1), row(2) | {"positive_messages": [[message("a")], [message("b")]]}]
    (finding,) = check(write_jsonl(rows)).findings
    assert (finding.kind, finding.severity, finding.examples[0].line) == ("several-positives", "warning", 2)
    assert "trains on the first" in finding.message and finding.remedy == "write a row for each positive"


def test_rows_of_the_other_trainers_are_an_error_of_the_file_for_ms_swift_and_the_other_way_round(write_jsonl, capsys):
    plain = [{"query": "q", "pos": ["p"], "neg": ["n"]}, {"query": "r", "pos": ["s"], "neg": ["t"]}]
    path = write_jsonl(plain)
    assert check(path).trainers == ("flagembedding", "sentence-transformers")
    assert found(path) == []
    (finding,) = check(path, trainers=["ms-swift"]).findings
    assert (finding.kind, finding.severity, finding.trainers, finding.count) == ("other-form", "error", ("ms-swift",), 2)
    assert finding.remedy.endswith("--output_format ms-swift")
    assert main(["check", str(path), "--trainer", "ms-swift", "--no_lengths"]) == 2
    assert "--output_format ms-swift" in capsys.readouterr().out

    path = write_jsonl([row(1), row(2)])
    for trainer in ("flagembedding", "sentence-transformers"):
        (finding,) = check(path, trainers=[trainer]).findings
        assert (finding.kind, finding.trainers) == ("other-form", (trainer,))

    path = write_jsonl([{"query": "q", "response": "p", "rejected_response": "n"}])
    assert check(path).trainers == ("sentence-transformers",)
    assert [kind for kind, _ in found(path, trainers=["ms-swift"])] == ["other-form"]
    assert [kind for kind, _ in found(path, trainers=["flagembedding"])] == ["other-form"]


def test_an_empty_file_and_a_file_of_no_known_form(write_jsonl):
    assert found(write_jsonl([]), trainers=["ms-swift"]) == [("empty-file", [])]
    assert [kind for kind, _ in found(write_jsonl([{"a": 1}]), trainers=["ms-swift"])] == ["other-form", "missing-field"]


def test_rows_of_messages_are_not_repaired(write_jsonl):
    path = write_jsonl([row(1), row(1)])
    with pytest.raises(InputError, match="are checked and not repaired"):
        list(repaired(path, "all"))
    assert b"".join(repaired(path, [])) == path.read_bytes()


def test_a_field_that_begins_late_stops_ms_swift_too(write_jsonl):
    rows = [json.dumps(PAIRS | {"channel": "x" * 900}) for _ in range(11_500)]
    path = write_jsonl([*rows, json.dumps(row(2))])
    assert ("late-field", [11_501]) in found(path)
