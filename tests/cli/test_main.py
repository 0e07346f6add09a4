"""The command line: flags as hn_mine.py spells them, exit statuses, clean streams, interrupts, and the way back to a line."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hnmine.runs.mine
from hnmine.checks.kinds import OUTPUT_REPAIRS
from hnmine.cli.flags import FLAGS, SHARED, command_line
from hnmine.cli.main import main
from hnmine.core import progress as progress_of
from hnmine.core.errors import HnmineError
from hnmine.core.progress import Progress, progress_shown
from hnmine.data.columns import Columns
from hnmine.data.problems import REPAIRS
from hnmine.models.cards import MODEL_CLASSES, PACKAGED_NAME, PRECISIONS, ModelSettings
from hnmine.models.reranker import RERANKER_CLASSES, RerankerSettings
from hnmine.retrieval.approximate import INDEXES
from hnmine.retrieval.retrievers import FUSION_DEPTH, RETRIEVERS, second_model_settings
from hnmine.review.relabelling import RELABELS
from hnmine.runs.mine import SCORE_SOURCES, MineSettings
from hnmine.selection.settings import SelectionSettings

ROOT = Path(__file__).parents[2]

# FlagEmbedding's scripts/hn_mine.py: DataArgs and ModelArgs, with the defaults we promise to share.
UPSTREAM = {
    "input_file": None,
    "output_file": None,
    "candidate_pool": None,
    "range_for_sampling": "10-210",
    "negative_number": 15,
    "use_gpu_for_searching": False,
    "search_batch_size": None,
    "embedder_name_or_path": None,
    "embedder_model_class": None,
    "normalize_embeddings": True,
    "pooling_method": None,
    "use_fp16": True,
    "devices": None,
    "query_instruction_for_retrieval": None,
    "query_instruction_format_for_retrieval": None,
    "examples_for_task": None,
    "examples_instruction_format": None,
    "trust_remote_code": False,
    "cache_dir": None,
    "batch_size": None,
    "embedder_query_max_length": None,
    "embedder_passage_max_length": None,
}
ALL_FLAGS = {flag.name: flag for flags in FLAGS.values() for flag in flags}


class Caught(HnmineError):
    """Ends a run where the settings are known, before any model is loaded."""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A good input file and an output file, as flags."""
    row = {"query": "what is a rank window", "pos": ["the slice of ranks that negatives come from"]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    return ["--input_file", str(tmp_path / "train.jsonl"), "--output_file", str(tmp_path / "out.jsonl")]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, files: list[str]):
    """A function: flags to the MineSettings that find_knn_neg itself makes of them."""
    seen: list[MineSettings] = []

    def catch(_input, _pool, settings, *_args, **_kwargs):
        seen.append(settings)
        raise Caught("far enough")

    monkeypatch.setattr(hnmine.runs.mine, "mine", catch)

    def run(*flags: str) -> MineSettings:
        seen.clear()
        assert main(["mine", *files, "--quiet", *flags]) == Caught.exit_status
        assert seen, f"{flags} did not reach the pipeline"
        return seen[0]

    return run


def child(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hnmine", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False, **options
    )


# Flags


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine", "--help"]) == 0
    listed = set(re.findall(r"^  --(\w+)", capsys.readouterr().out, re.MULTILINE))
    assert listed == set(ALL_FLAGS)


def test_flags_of_hn_mine_and_their_defaults() -> None:
    assert {name: ALL_FLAGS[name].default for name in UPSTREAM} == UPSTREAM


def test_every_setting_has_exactly_one_flag() -> None:
    fields = {f"selection.{name}" for name in SelectionSettings.__struct_fields__} - {"selection.window_start", "selection.window_end"}
    fields |= {"selection.window"}
    fields |= {f"model.{name}" for name in set(ModelSettings.__struct_fields__) - {"server"}}  # servers: test_server_flags
    fields |= {f"reranker.{name}" for name in set(RerankerSettings.__struct_fields__) - {"server", *SHARED}}
    fields |= set(MineSettings.__struct_fields__) - {"selection", "model", "reranker"}
    assert set(SHARED) <= set(ModelSettings.__struct_fields__) & set(RerankerSettings.__struct_fields__)
    assert sorted(flag.setting for flag in ALL_FLAGS.values() if flag.setting) == sorted(fields)


def test_defaults_are_the_librarys(parsed) -> None:
    assert parsed() == MineSettings(model=ModelSettings())


def test_both_spellings(parsed) -> None:
    assert parsed("--range_for_sampling", "2-50", "--negative_number=3") == parsed("--range-for-sampling", "2-50", "--negative-number=3")
    assert parsed("--embedder-query-max-length", "7").model.query_max_length == 7
    assert parsed("--no-use-fp16") == parsed("--no_use_fp16")


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], True),
        (["--normalize_embeddings"], True),
        (["--normalize_embeddings", "True"], True),
        (["--normalize_embeddings", "yes"], True),
        (["--normalize_embeddings", "1"], True),
        (["--normalize_embeddings", "false"], False),
        (["--normalize_embeddings", "0"], False),
        (["--normalize-embeddings=no"], False),
        (["--no_normalize_embeddings"], False),
        (["--no-normalize-embeddings"], False),
    ],
)
def test_switch_that_is_on_by_default(parsed, flags: list[str], value: bool) -> None:
    assert parsed(*flags).model.normalize_embeddings is value


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ([], "auto"),
        (["--use_fp16"], "auto"),
        (["--use_fp16", "false"], "fp32"),
        (["--no-use-fp16"], "fp32"),
        (["--precision", "bf16"], "bf16"),
        (["--precision", "bf16", "--use_fp16", "false"], "bf16"),
        (["--precision", "fp32", "--use_fp16"], "fp32"),
    ],
)
def test_use_fp16_of_hn_mine_stands_for_a_precision(parsed, flags: list[str], precision: str) -> None:
    assert parsed(*flags).model.precision == precision


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], False),
        (["--use_gpu_for_searching"], True),
        (["--use-gpu-for-searching", "y"], True),
        (["--use_gpu_for_searching", "False"], False),
    ],
)
def test_switch_that_is_off_by_default(parsed, flags: list[str], value: bool) -> None:
    assert parsed(*flags).use_gpu is value


def test_template_reads_backslash_n_as_a_new_line(parsed) -> None:
    model = parsed(
        "--query_instruction_format_for_retrieval", r"Instruct: {}\nQuery: {}", "--examples_instruction_format", r"{}\n\n{}"
    ).model
    assert model.query_instruction_format == "Instruct: {}\nQuery: {}"
    assert model.examples_instruction_format == "{}\n\n{}"
    # An instruction itself stays as it is, as in hn_mine.py.
    assert parsed("--query_instruction_for_retrieval", r"a\nb").model.query_instruction == r"a\nb"


def test_what_both_models_share_has_one_flag(parsed) -> None:
    """As in FlagEmbedding's scripts, which score with the same --devices, --cache_dir and --trust_remote_code."""
    shared = ["--devices", "cpu", "--cache_dir", "there", "--trust_remote_code", "--use_fp16", "false"]
    assert parsed(*shared).reranker is None
    assert parsed(*shared, "--reranker_name_or_path", "x", "--rerank_top_k", "9").reranker == RerankerSettings(
        name_or_path="x", depth=9, devices=("cpu",), cache_dir="there", trust_remote_code=True, precision="fp32"
    )


def test_lists(parsed) -> None:
    read = parsed("--devices", "cuda:0", "cuda:1", "--repair", "nan", "blank-passage")
    assert read.model.devices == ("cuda:0", "cuda:1")
    assert read.repair == ("blank-passage", "nan")
    assert parsed("--repair", "all").repair == tuple(sorted(set(REPAIRS) - {"improbable-data"}))


# The way back

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(lambda text: text != "--")
# A path is looked for before anything else, and what is not there is refused.
MODEL_NAMES = NAMES.filter(lambda name: name[0] not in "./~" and name.count("/") < 2 and "\\" not in name and not Path(name).exists())
NUMBERS = st.floats(-2, 2)


@st.composite
def any_settings(draw: st.DrawFn) -> MineSettings:
    maybe = st.none
    second = draw(maybe() | st.just(PACKAGED_NAME) | MODEL_NAMES)
    rankers = draw(st.sets(st.sampled_from(RETRIEVERS if second else RETRIEVERS[:2]), min_size=1))
    start = draw(st.integers(0, 3000 if rankers == {"model"} else FUSION_DEPTH // 2))
    low, high = sorted([draw(NUMBERS), draw(NUMBERS)])
    # "\" before "n" in a template means a new line: the one thing that cannot be said.
    template = st.builds("{}{{}}{}{{}}{}".format, *[st.text("ab \n:-%é", max_size=3)] * 3)
    length = maybe() | st.integers(1, 9000)
    model = ModelSettings(
        name_or_path=draw(maybe() | MODEL_NAMES),
        model_class=draw(maybe() | st.sampled_from(MODEL_CLASSES)),
        pooling_method=draw(maybe() | st.sampled_from(["cls", "mean", "last_token"])),
        normalize_embeddings=draw(st.booleans()),
        precision=draw(st.sampled_from(PRECISIONS)),
        devices=draw(maybe() | st.lists(st.sampled_from(["cpu", "cuda:0", "cuda:1"]), min_size=1).map(tuple)),
        query_instruction=draw(maybe() | st.just("") | NAMES),
        query_instruction_format=draw(maybe() | template),
        passage_instruction=draw(maybe() | st.just("") | NAMES),
        passage_instruction_format=draw(maybe() | template),
        examples_for_task=draw(maybe() | NAMES),
        examples_instruction_format=draw(maybe() | template),
        trust_remote_code=draw(st.booleans()),
        cache_dir=draw(maybe() | NAMES),
        batch_size=draw(length),
        query_max_length=draw(length),
        passage_max_length=draw(length),
    )
    reranker = None
    if draw(st.booleans()):
        reranker = RerankerSettings(
            name_or_path=draw(MODEL_NAMES.filter(str.strip)),
            model_class=draw(maybe() | st.sampled_from(RERANKER_CLASSES)),
            depth=draw(length),
            max_length=draw(maybe() | st.integers(32, 9000)),
            query_instruction=draw(maybe() | st.just("") | NAMES),
            passage_instruction=draw(maybe() | st.just("") | NAMES),
            batch_size=draw(length),
            **{name: getattr(model, name) for name in SHARED},
        )
    with_scores = draw(st.booleans())
    found = MineSettings(
        selection=SelectionSettings(
            window_start=start,
            window_end=start + draw(st.integers(1, 3000 if rankers == {"model"} else FUSION_DEPTH // 2)),
            negative_number=draw(st.integers(1, 99)),
            strategy=draw(st.sampled_from(["random", "hardest"])),
            seed=draw(st.integers(-(2**70), 2**70)),
            min_score=draw(maybe() | st.just(low)),
            max_score=draw(maybe() | st.just(high)),
            max_positive_ratio=draw(maybe() | st.floats(1e-9, 3)),
            margin=draw(maybe() | st.floats(0, 2)),
        ),
        model=model,
        query_prompt_field=draw(maybe() | NAMES.filter(lambda name: name not in ("", "query", "pos", "neg"))),
        reranker=reranker,
        pool_mode=draw(st.sampled_from(["extend", "replace"])),
        use_gpu=draw(st.booleans()),
        index=draw(st.sampled_from(INDEXES)),
        columns=Columns(
            query=draw(maybe() | NAMES), neg=draw(maybe() | st.lists(NAMES, max_size=2).map(tuple)), text=draw(maybe() | NAMES)
        ),
        repair=tuple(sorted(draw(st.sets(st.sampled_from(sorted(REPAIRS)))))),
        skip_bad_rows=draw(st.booleans()),
        with_scores=with_scores,
        score_source=draw(st.sampled_from(SCORE_SOURCES)) if with_scores and reranker else "model",
        repair_output=tuple(sorted(draw(st.sets(st.sampled_from(sorted(OUTPUT_REPAIRS)))))),
        relabel=draw(st.sampled_from(RELABELS)),
        relevant_from=draw(st.integers(1, 3)),
    )
    return msgspec.structs.replace(found, second_model=second_model_settings(found.model, second), retrievers=tuple(sorted(rankers)))


@given(wanted=any_settings())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_command_line_does_the_same_run(parsed, files: list[str], wanted: MineSettings) -> None:
    line = command_line(wanted, input_file=files[1], candidate_pool=None, output_file=files[3])
    assert line[:4] == ["python", "-m", "hnmine", "mine"]
    assert parsed(*line[4:]) == wanted


def test_command_line_names_only_what_matters() -> None:
    assert command_line(MineSettings(), input_file=Path("a b.jsonl"), candidate_pool="-pool", output_file="out.jsonl") == [
        *("python", "-m", "hnmine", "mine", "--input_file", "a b.jsonl", "--candidate_pool=-pool", "--output_file", "out.jsonl"),
        *("--range_for_sampling", "10-210", "--negative_number", "15", "--seed", "42"),
    ]


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    heavy = {"torch", "faiss", "FlagEmbedding", "transformers", "streamlit", "pandas"}
    code = f"import sys, hnmine.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout == "[]\n"


# Exit statuses and streams


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["--input_file", "x"], "python -m hnmine mine --input_file"),
        (["mine"], "required: --input_file, --output_file"),
        (["mine", "FILES", "--negative_numbr", "3"], "did you mean --negative_number?"),
        (["mine", "FILES", "--negative", "3"], "unrecognized arguments: --negative 3"),
        (["mine", "FILES", "--negative_number", "three"], "'three' is not an integer"),
        (["mine", "FILES", "--margin", "wide"], "'wide' is not a number"),
        (["mine", "FILES", "--use_fp16", "perhaps"], "'perhaps' is not true or false"),
        (["mine", "FILES", "--precision", "fp16", "--use_fp16", "false"], "contradict each other"),
        (["mine", "FILES", "--memory_budget", "plenty"], "'plenty' is not an amount of memory"),
        (["mine", "FILES", "--seed"], "--seed: expected one argument"),
        (["mine", "FILES", "--repair", "everything"], "invalid choice: 'everything'"),
        (["mine", "FILES", "--range_for_sampling", "210-10"], "210-10"),
        (["mine", "FILES", "--range_for_sampling", "ten"], "START-END"),
        (["mine", "FILES", "--negative_number", "0"], "at least 1"),
        (
            ["mine", "FILES", "--rerank_top_k", "5"],
            "--rerank_top_k needs a reranker; set --reranker_name_or_path",
        ),
        (["mine", "FILES", "--with_scores", "--score_source", "reranker"], "there is no reranker"),
        (["mine", "FILES", "--reranker_name_or_path", "x", "--score_source", "reranker"], "set with_scores"),
        (["mine", "FILES", "--reranker_name_or_path", "x", "--reranker_model_class", "decoder-only-layerwise"], "does not run with"),
        (["mine", "FILES", "--query_instruction_format_for_retrieval", "{}"], "needs two {}"),
    ],
)
def test_bad_usage_is_2(files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    where = [*arguments]
    if "FILES" in where:
        where[where.index("FILES") : where.index("FILES") + 1] = files
    assert main(where) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("hnmine: ")
    assert said in streams.err
    assert not Path(files[3]).exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hnmine {hnmine.__version__}\n"


def test_bad_rows_are_2_with_their_place(files: list[str]) -> None:
    source = Path(files[1])
    source.write_text(source.read_text() + json.dumps({"query": "q", "pos": "not a list"}) + "\n")
    ended = child("mine", *files)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "train.jsonl:2 $.pos" in ended.stderr
    assert "set repair to string-instead-of-list" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_missing_input_is_2(files: list[str]) -> None:
    ended = child("mine", "--input_file", files[1] + ".not", *files[2:])
    assert ended.returncode == 2
    assert "cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_missing_model_is_1(files: list[str]) -> None:
    ended = child("mine", *files, "--embedder_name_or_path", "./no-such-model")
    assert ended.returncode == 1
    assert "model folder './no-such-model' does not exist" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unexpected_error_is_1_without_a_traceback(files: list[str], monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail(*_args, **_kwargs):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(hnmine.runs.mine, "mine", fail)
    assert main(["mine", *files]) == 1
    assert capsys.readouterr().err == "hnmine: unexpected ZeroDivisionError: by chance (set HNMINE_DEBUG=1 for the traceback)\n"
    monkeypatch.setenv("HNMINE_DEBUG", "1")
    assert main(["mine", *files]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of the real packaged model, with everything switched on."""
    folder = tmp_path_factory.mktemp("cli")
    lines = (ROOT / "examples/bikeshare/train.jsonl").read_text("utf-8").splitlines()[:12]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    ended = child(
        *("mine", "--input_file", str(folder / "train.jsonl"), "--output-file", str(folder / "out.jsonl"), "--range_for_sampling", "0-9"),
        *("--negative_number", "3", "--search_batch_size", "64", "--manifest_file", str(folder / "manifest.json"), "--json"),
    )
    return folder, ended


def test_success_is_0_and_writes_every_row(mined) -> None:
    folder, ended = mined
    assert ended.returncode == 0, ended.stderr
    before = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    after = [json.loads(line) for line in (folder / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert all(len(row["neg"]) == 3 and not set(row["neg"]) & set(row["pos"]) for row in after)
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["settings"]["selection"]["window_end"] == 9
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "out.jsonl", "train.jsonl"]


def test_grades_of_a_judge_relabel_the_output_and_the_manifest_repeats_it(mined, tmp_path: Path, capsys) -> None:
    folder, _ = mined
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text("utf-8").splitlines()]
    grades = tmp_path / "grades.jsonl"
    lines = [{"query": row["query"], "passage": row["neg"][0], "grade": 3, "judge": "m"} for row in rows[:2]]
    grades.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "new.jsonl"
    common = ["mine", "--input_file", str(folder / "train.jsonl"), "--output_file", str(out), "--range_for_sampling", "0-9", "--quiet"]
    common += ["--negative_number", "3"]
    assert main([*common, "--relabel", "drop"]) == 2
    assert "relabel needs judgements, and there are none" in capsys.readouterr().err
    assert main([*common, "--judgements", str(grades), "--relabel", "promote"]) == 0
    assert "2 pairs judged, 2 relevant, 2 of them added as positives" in capsys.readouterr().out
    after = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    for number, (row, before) in enumerate(zip(after, rows, strict=True)):
        assert row["pos"] == before["pos"] + before["neg"][:1] * (number < 2)
    again = tmp_path / "again.jsonl"
    assert main(["mine", "--from_manifest", str(tmp_path / "new.manifest.json"), "--output_file", str(again), "--quiet"]) == 0
    assert again.read_bytes() == out.read_bytes()
    assert main([*common, "--judgements", str(grades), "--judge_grade", "2"]) == 0
    after = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert all(line["passage"] not in row["neg"] for line, row in zip(lines, after, strict=False))


def test_stdout_is_the_summary_alone(mined) -> None:
    summary = json.loads(mined[1].stdout)
    assert summary["rows"] == 12
    assert summary["negatives"] == 36
    assert any("--search_batch_size has no effect" in note for note in summary["notes"])


def test_stderr_is_progress_alone(mined) -> None:
    stages = r"reading the files|looking at the model|loading the model|encoding (queries|passages)|searching|selecting"
    strange = [line for line in mined[1].stderr.splitlines() if not re.match(rf"({stages})(: +\d+%\||$)", line)]
    assert strange == []


# A child whose model is a slow fake: no torch, so an interrupt is a matter of a second.
SLOW = """
import sys, time, warnings
import numpy as np
from tqdm import tqdm
from hnmine.cli.main import main
from hnmine.models.encoder import FlagEncoder
from hnmine.core.progress import check_cancelled

class Slow:
    def describe(self): return {}
    def identity(self, side): return None
    def encode_batches(self, texts, side, on_progress=None, should_stop=None):
        for turn in range(600 if side == "passages" else 0):
            check_cancelled(should_stop)
            if on_progress: on_progress(turn, 600, "encoding passages")
            time.sleep(STEP)
        yield np.arange(len(texts)), np.ones((len(texts), 2), np.float32)

def load(model, on_progress):
    on_progress(0, 0, "loading the model")
    warnings.warn("what libraries say while they load")
    list(tqdm(range(9), desc="as FlagEmbedding does", disable=False))
    time.sleep(LOADING)
    return Slow()

FlagEncoder.load = staticmethod(lambda settings, on_progress: load(settings, on_progress or (lambda *_: None)))
sys.exit(main(["mine", *sys.argv[1:]]))
"""


def interrupted(files: list[str], command: list[str], when: str, *signals: int) -> tuple[int, str]:
    """Start a child, send it signals once its stderr shows `when`; return exit status and stderr."""
    Path(files[3]).write_text("what was there before\n")
    process = subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    heard = ""
    try:
        for line in process.stderr:
            heard += line
            if when in line:
                break
        else:
            pytest.fail(f"never saw {when!r}: {heard}")
        time.sleep(0.3)
        for each in signals:
            process.send_signal(each)
            time.sleep(0.3)
        out, rest = process.communicate(timeout=300)
    finally:
        process.kill()
    assert out == ""
    assert "Traceback" not in heard + rest
    assert Path(files[3]).read_text() == "what was there before\n"
    assert sorted(path.name for path in Path(files[3]).parent.iterdir()) == ["out.jsonl", "train.jsonl"]
    return process.returncode, heard + rest


def slow(*, loading: float = 0.0, step: float = 0.05) -> list[str]:
    return [sys.executable, "-c", SLOW.replace("LOADING", str(loading)).replace("STEP", str(step))]


def test_interrupt_of_the_real_model_is_130(files: list[str]) -> None:
    rows = ({"query": f"question {i}", "pos": [f"answer {i} " + "with many words of its own " * 30]} for i in range(2000))
    Path(files[1]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, heard = interrupted(files, [sys.executable, "-m", "hnmine", "mine"], "encoding passages", signal.SIGINT)
    assert status == 130, heard
    assert "hnmine: stopped on request; no output was written" in heard


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_encoding_stops_after_the_batch(files: list[str], which: int) -> None:
    status, heard = interrupted(files, slow(), "encoding passages", which)
    assert status == 128 + which, heard
    assert ("stopping after this batch" in heard) == (which == signal.SIGINT)
    assert "stopped on request; no output was written. Finished vectors are kept" in heard


def test_signal_while_loading_stops_at_once(files: list[str]) -> None:
    status, heard = interrupted(files, slow(loading=600), "loading the model", signal.SIGTERM)
    assert status == 143, heard


def test_second_signal_does_not_wait_for_the_batch(files: list[str]) -> None:
    status, heard = interrupted(files, slow(step=600), "encoding passages", signal.SIGINT, signal.SIGINT)
    assert status == 130, heard


def test_summary_into_a_closed_pipe_is_no_failure(files: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [*slow(step=0.0), *files, "--range_for_sampling", "0-2", "--negative_number", "1"]
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=300, check=False)
    finally:
        os.close(writing)
    assert (ended.returncode, "Error" in ended.stderr) == (0, False), ended.stderr
    assert Path(files[3]).exists()


def test_quiet_leaves_stderr_empty(files: list[str]) -> None:
    command = [*slow(step=0.0), *files, "--range_for_sampling", "0-2", "--negative_number", "1", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")  # no bar and no warning of a library either
    assert ended.stdout.startswith("rows         1 ")


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_log_is_a_line_at_the_beginning_and_then_now_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    progress = Progress(log)
    for done in range(0, 2001, 100):
        progress(done, 4000, "encoding passages")
    progress(0, 0, "selecting")
    progress.close()
    begun, selecting = log.getvalue().splitlines()
    assert begun.startswith("encoding passages:   0%")
    assert "/4.00k" in begun
    assert " tokens/s]" in begun
    assert selecting == "selecting"
    monkeypatch.setattr(progress_of, "SECONDS_BETWEEN_LINES", 0.0)
    progress = Progress(log := io.StringIO())
    for done in (500, 1000, 2000):  # a stage that goes on where an earlier run stopped
        progress(done, 4000, "encoding passages")
    shown = re.findall(r"\| (\S+) \[", log.getvalue())
    progress.close()
    assert shown == ["500/4.00k", "1.00k/4.00k", "2.00k/4.00k"]


def test_progress_on_a_terminal_is_one_line_that_goes_away() -> None:
    screen = Terminal()
    progress = Progress(screen)
    for done in range(5):
        progress(done, 4, "searching")
        time.sleep(0.12)
    progress(0, 0, "selecting")
    progress.close()
    shown = screen.getvalue()
    assert "\n" not in shown
    assert "searching:  25%" in shown
    assert "4.00/4.00" in shown
    assert shown.rpartition("\r")[2] == ""
    assert shown.split("\r")[-2].strip() == ""


def test_bars_of_the_library_go_to_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_shown(None) as progress:
            if progress is not None:
                progress(1, 4, "encoding passages")
                progress(4, 4, "encoding passages")
        with progress_shown(print) as own:
            assert own is print
        assert ("encoding passages:  25%" in stream.getvalue()) is drawn


def test_progress_survives_a_stream_that_goes_away() -> None:
    log = io.StringIO()
    progress = Progress(log)
    progress(1, 2, "encoding passages")
    log.close()
    progress(2, 2, "encoding passages")
    progress(1, 2, "searching")
    progress.close()


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_progress_survives_a_full_disk() -> None:
    progress = Progress(Full())
    progress(1, 2, "encoding passages")
    progress.close()


def test_summary_as_json_is_every_field(mined) -> None:
    from hnmine.runs.summary import Summary

    assert msgspec.json.decode(mined[1].stdout.encode(), type=Summary).output_file == str(mined[0] / "out.jsonl")


def test_reading_an_empty_file_says_what_is_missing(tmp_path, capsys) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert main(["read", str(path)]) == 2
    assert f"{path} has no training row; write one JSON object on each line" in capsys.readouterr().out
