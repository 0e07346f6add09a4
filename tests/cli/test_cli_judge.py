"""The command judge: its cost before the first call, the lines that it writes, limits, faults, Ctrl-C and what is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.served_judge import NAME, completion
from examples.served_models import CHAT, ServedModels
from hnmine.cli.flags import JUDGE_FLAGS
from hnmine.cli.main import main
from hnmine.core.errors import InputError
from hnmine.data.verdicts import read_verdicts
from hnmine.models.served import client
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judgements import JudgementStore, read_judgements

ROOT = Path(__file__).parents[2]
WAIT = 120.0
COST = r"hnmine: 12 pairs: 0 judged before, 12 calls, about \d,\d00 prompt and 720 answer tokens \(limit 2,000 calls\)\n"


class NoModels:
    """For a server that is a judge alone."""

    name, max_tokens = "none", 1


@pytest.fixture
def server() -> Iterator[ServedModels]:
    with ServedModels(NoModels(), chat=completion) as served:  # type: ignore[arg-type]
        yield served


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mined rows: 12 different pairs, one of them twice, and a negative that is a positive of its query too."""
    monkeypatch.setenv("HNMINE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    monkeypatch.setattr(client, "PATIENCE_UNREACHED", 0.1)
    rows: list[dict[str, Any]] = []
    for number in range(4):
        words = [f"word{number}x{place}" for place in range(10)]
        neg = [" ".join([*words[:share], f"other{number}x{share}"]) for share in (0, 4, 9)]
        rows.append({"query": f"query number {number}", "pos": [" ".join(words)], "neg": neg, "id": number})
    rows.append({"query": "query number 0", "pos": ["another good one"], "neg": [rows[0]["neg"][1], "another good one"], "id": 9})
    (tmp_path / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


Judge = Callable[..., int]


@pytest.fixture
def judge(files: Path, server: ServedModels) -> Judge:
    def run(*flags: str) -> int:
        given = ["--input_file", str(files / "mined.jsonl"), "--output_file", str(files / "judged.jsonl")]
        return main(["judge", *given, "--judge_model", NAME, "--judge_server", f"{server.address}/v1", *flags])

    return run


def said_by(judge: Judge, capsys: pytest.CaptureFixture[str], *flags: str) -> pytest.CaptureResult[str]:
    capsys.readouterr()
    assert judge(*flags) == 0
    return capsys.readouterr()


def asked(server: ServedModels) -> int:
    return sum(path == CHAT for path, _ in server.asked)


def test_the_cost_is_said_before_and_grades_and_verdicts_are_written(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge("--quiet") == 0
    said = capsys.readouterr()
    assert re.fullmatch(COST, said.err)
    assert "pairs      12: 0 judged before, 12 calls\n" in said.out
    assert "grade 0    4 (unrelated)\n" in said.out
    assert "relevant   8 of 12 graded (66.7%), from grade 2\n" in said.out
    lines = [json.loads(line) for line in (files / "judged.jsonl").read_text().splitlines()]
    assert [(line["grade"], line["verdict"]) for line in lines[:3]] == [(0, "negative"), (2, "relevant"), (3, "relevant")]
    assert {line["who"] for line in lines} == {f"judge {NAME} (prompt {lines[0]['prompt']})"}
    assert len({(line["query"], line["passage"]) for line in lines}) == 12
    assert "another good one" not in {line["passage"] for line in lines}  # a positive of the same query
    stored = JudgementStore(files / "home" / "judgements.sqlite").all()
    assert sorted(read_judgements(files / "judged.jsonl"), key=msgspec.structs.astuple) == sorted(stored, key=msgspec.structs.astuple)
    assert len(read_verdicts(files / "judged.jsonl", of_judges=True)) == 12


def test_the_grades_of_a_judge_are_no_verdicts_of_people_for_mine(judge: Judge, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("--quiet") == 0
    with pytest.raises(InputError, match=r"judged\.jsonl:1 is the verdict of a judge, judge-by-rule"):
        read_verdicts(files / "judged.jsonl")
    flags = [
        "--input_file",
        str(files / "mined.jsonl"),
        "--output_file",
        str(files / "out.jsonl"),
        "--reviews",
        str(files / "judged.jsonl"),
    ]
    assert main(["mine", *flags]) == 2
    assert "is the verdict of a judge" in capsys.readouterr().err


def test_nothing_is_asked_the_second_time_unless_no_store_is_wanted(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge("--quiet", "--store", str(files / "own.sqlite")) == 0
    first = (files / "judged.jsonl").read_bytes()
    capsys.readouterr()
    assert judge("--quiet", "--store", str(files / "own.sqlite"), "--json") == 0
    said = capsys.readouterr()
    assert said.err == "hnmine: 12 pairs: 12 judged before, 0 calls\n"
    summary = json.loads(said.out)
    assert (summary["judged_before"], summary["calls"], summary["grades"]) == (12, 0, {"0": 4, "1": 0, "2": 4, "3": 4})
    assert (files / "judged.jsonl").read_bytes() == first
    assert not (files / "home").exists()
    assert judge("--quiet", "--no_store") == 0
    assert asked(server) == 24
    assert not (files / "home").exists()
    assert judge("--no_store", "--store", str(files / "own.sqlite")) == 2


def test_a_dry_run_asks_nothing_and_makes_no_file(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge("--dry_run") == 0
    assert re.fullmatch(COST, f"hnmine: {capsys.readouterr().out}")
    assert sorted(path.name for path in files.iterdir()) == ["mined.jsonl"]
    assert main(["judge", "--input_file", str(files / "mined.jsonl"), "--judge_model", "m", "--judge_server", server.address, "--dry_run",
                 "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["calls"] == 12
    assert asked(server) == 0


def test_a_sample_is_the_same_for_a_seed_and_a_larger_one_continues_it(judge: Judge, files: Path, server: ServedModels) -> None:
    def pairs(*flags: str) -> list[str]:
        assert judge("--quiet", *flags) == 0
        return [json.loads(line)["passage"] for line in (files / "judged.jsonl").read_text().splitlines()]

    five = pairs("--sample", "5")
    assert len(five) == 5
    assert asked(server) == 5
    assert pairs("--sample", "5") == five
    assert pairs("--sample", "8")[:5] == five
    assert asked(server) == 8
    assert pairs("--sample", "5", "--seed", "1") != five
    assert judge("--sample", "0") == 2


def test_a_prompt_of_ones_own_and_another_threshold(judge: Judge, files: Path, server: ServedModels) -> None:
    (files / "strict.txt").write_text("{query} {positives} {passage} Answer with a grade.")
    assert judge("--quiet", "--prompt_file", str(files / "strict.txt"), "--relevant_from", "3") == 0
    lines = [json.loads(line) for line in (files / "judged.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines[:3]] == ["negative", "negative", "relevant"]
    assert all(line["prompt"].startswith("strict-") for line in lines)
    assert server.asked[-1][1]["messages"][0]["content"].endswith("Answer with a grade.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--max_calls", "11"],
            "720 answer tokens (limit 11 calls): that is more than --max_calls, and nothing was asked. Judge fewer",
        ),
        (["--relevant_from", "4"], "--relevant_from is 4"),
        (["--judge_key_variable", "PATH"], "--judge_key_variable must be the name"),
        (["--judge_server", "127.0.0.1:80"], "the server's address"),
        (["--judge_server", "http://127.0.0.1:80/v1/embeddings"], "for a judge, and this is the path of an embedding model"),
        (["--prompt_file", "missing.txt"], "the prompt missing.txt cannot be read"),
        (["--output_file", "none/there.jsonl"], "no folder"),
        (["--max_tokens", "0"], "--max_tokens is 0"),
        (["--sampel", "3"], "did you mean --sample?"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_call(
    judge: Judge, server: ServedModels, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert judge(*flags) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("hnmine: ") == 1
    assert asked(server) == 0


def test_a_key_that_is_not_set_is_found_first_and_a_dry_run_needs_none(
    judge: Judge, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge("--judge_key_variable", "MISTYPED_API_KEY") == 1
    key = f"hnmine: the environment variable MISTYPED_API_KEY is not set; set it to the key of {server.address}/v1\n"
    assert capsys.readouterr().err == key
    assert judge("--judge_key_variable", "MISTYPED_API_KEY", "--dry_run") == 0
    assert asked(server) == 0


def test_missing_flags_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "--input_file", "a.jsonl"]) == 2
    assert "the following arguments are required: --output_file, --judge_model, --judge_server" in capsys.readouterr().err
    assert main(["judge", "--dry_run"]) == 2
    assert "the following arguments are required: --input_file, --judge_model, --judge_server" in capsys.readouterr().err


def test_the_output_is_not_written_over_the_input(judge: Judge, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("--output_file", str(files / "mined.jsonl")) == 2
    assert "is the input_file itself" in capsys.readouterr().err


def test_a_file_without_negatives_names_the_command_that_mines_them(judge: Judge, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "mined.jsonl").write_text('{"query": "a query", "pos": ["a passage"]}\n')
    assert judge() == 2
    assert "has no row with negatives; mine them first: python -m hnmine mine" in capsys.readouterr().err


def test_a_fault_ends_it_with_one_message_and_a_line_of_what_is_kept(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "judged.jsonl").write_text("of before\n")
    server.fail("wrong_key", after=5)
    assert judge("--quiet", "--server_concurrency", "1") == 1
    said = capsys.readouterr().err.splitlines()[1:]
    assert said[0] == f"hnmine: 5 new judgements kept in {files / 'home' / 'judgements.sqlite'}: the same command continues with them"
    assert "refuses access with 401" in said[1]
    assert (files / "judged.jsonl").read_text() == "of before\n"
    server.heal()
    assert judge("--quiet") == 0
    assert "12 pairs: 5 judged before, 7 calls" in capsys.readouterr().err


def test_a_run_that_reaches_its_tokens_keeps_what_it_has(judge: Judge, server: ServedModels, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("--quiet", "--max_tokens", "1000", "--server_concurrency", "1") == 1
    assert "and --max_tokens is 1,000: 4 of 12 pairs are judged. What was judged is kept: raise --max_tokens and" in capsys.readouterr().err
    assert asked(server) == 4


def test_pairs_without_a_grade_are_said_and_asked_again_on_request(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail("no_grade", times=2)
    assert judge("--quiet") == 0
    out = capsys.readouterr().out
    assert "no grade   2; --ask_again asks about them again\nrelevant" in out
    assert f"note       the judge {NAME} gave no usable grade for 2 of 12 pairs; --ask_again asks about them again\n" in out
    unsure = [line for line in map(json.loads, (files / "judged.jsonl").read_text().splitlines()) if line["grade"] is None]
    assert [line["verdict"] for line in unsure] == ["unsure", "unsure"]
    assert "12 pairs: 10 judged before, 2 judged before without a grade, 0 calls\n" in said_by(judge, capsys, "--dry_run").out
    assert judge("--quiet", "--ask_again") == 0
    assert "no grade" not in capsys.readouterr().out
    assert asked(server) == 14


def test_one_pair_of_many_without_a_grade_needs_no_note(judge: Judge, server: ServedModels, capsys: pytest.CaptureFixture[str]) -> None:
    server.fail("no_grade", times=1)
    assert judge("--quiet") == 0
    out = capsys.readouterr().out
    assert "no grade   1; --ask_again" in out
    assert "note " not in out


def test_a_judge_that_never_gives_a_grade_is_a_failure_and_writes_nothing(
    judge: Judge, files: Path, server: ServedModels, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail("no_grade")
    for cost in ("0 judged before, 12 calls, about", "0 judged before, 12 judged before without a grade, 0 calls"):
        assert judge("--quiet") == 1
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith(f"hnmine: 12 pairs: {cost}")
        assert "gave no usable grade for any of 12 pairs (the last answer: It depends on what the person wants to know)" in said[-1]
        assert said[-1].endswith("; --ask_again asks about them again")
    assert asked(server) == 12
    assert not (files / "judged.jsonl").exists()
    server.heal()
    assert judge("--quiet", "--ask_again") == 0


def test_the_defaults_are_those_of_the_settings() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(JudgeSettings)}
    named = {flag.name: flag.default for flag in JUDGE_FLAGS}
    for name in ("relevant_from", "max_calls", "max_tokens"):
        assert named[name] == defaults[name]


def test_ctrl_c_waits_for_the_answers_under_way_and_pressed_again_it_ends_at_once(files: Path, server: ServedModels) -> None:
    server.fail("hang", after=6)
    command = [sys.executable, "-m", "hnmine", "judge", "--input_file", str(files / "mined.jsonl"), "--output_file",
               str(files / "out.jsonl"), "--judge_model", NAME, "--judge_server", server.address, "--quiet",
               "--server_timeout", "600"]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    store = files / "home" / "judgements.sqlite"
    end = time.monotonic() + WAIT
    while not store.exists() or len(JudgementStore(store).all()) < 6:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    while "the answers under way are waited for and kept; press again to stop immediately" not in process.stderr.readline():
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=WAIT)[1]
    assert process.returncode == 130
    assert "no output was written. What was answered is kept: the same command continues with it. Answers under way are lost" in said
    assert len(JudgementStore(store).all()) == 6
    assert not (files / "out.jsonl").exists()
