"""A manifest does its run again: the same bytes, or a sentence that says what is another one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hnmine.cli.main import main
from hnmine.core.errors import InputError, ModelError, OutputError, SettingsError
from hnmine.data.columns import columns_from
from hnmine.data.verdicts import Verdict
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.runs.manifest import read_manifest
from hnmine.runs.mine import MineSettings, mine_to_file
from hnmine.runs.reproduce import reproduce, settings_of
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"


class Weighed(FakeEncoder):
    """A model whose weights have a fingerprint."""

    weights = "aa" * 32

    def describe(self):
        return super().describe() | {"weights_sha256": self.weights, "precision": "bf16"}


@pytest.fixture
def model(monkeypatch):
    """What loading a model gives; the settings it was asked for are kept."""
    asked = []

    def load(settings, **_):
        asked.append(settings)
        return Weighed()

    monkeypatch.setattr(FlagEncoder, "load", load)
    return asked


@pytest.fixture
def reviewed(tmp_path, write_jsonl, model):
    """A folder with a run that honoured verdicts: train.jsonl, pool.jsonl, out.jsonl, out.json."""
    write_jsonl([{"query": f"question {number % 20}", "pos": [f"answer {number}"], "id": number} for number in range(30)])
    write_jsonl([{"text": f"passage {number} of the pool"} for number in range(90)], "pool.jsonl")
    verdicts = [
        Verdict(query="question 3", passage="passage 7 of the pool", verdict="positive", when="2026-01-02T03:04:05Z", who="Ana"),
        Verdict(query="question 4", passage="passage 8 of the pool", verdict="relevant"),
        Verdict(query="Question 5", passage="passage 9 of the  pool", verdict="negative"),
        Verdict(query="question 5", passage="a text of other data", verdict="relevant"),
    ]
    mine_to_file(
        lambda: Weighed(),
        tmp_path / "train.jsonl",
        tmp_path / "pool.jsonl",
        tmp_path / "out.jsonl",
        MineSettings(selection=SelectionSettings(window_start=2, window_end=60, negative_number=7, seed=5), model=ModelSettings()),
        manifest=tmp_path / "out.json",
        verdicts=verdicts,
    )
    return tmp_path


def test_a_reviewed_run_is_done_again_byte_for_byte(reviewed, model):
    summary = reproduce(reviewed / "out.json", reviewed / "again.jsonl", new_manifest=reviewed / "again.json")
    assert (reviewed / "again.jsonl").read_bytes() == (reviewed / "out.jsonl").read_bytes()
    assert summary.notes[-1] == "the bytes are those of the manifest"
    assert summary.verdicts == {"negative": 1, "relevant": 1, "positive": 1, "junk": 0, "elsewhere": 0}
    assert model[0].precision == "bf16", "half precision as it turned out to be, not as this machine would choose"
    first, second = (json.loads((reviewed / name).read_text()) for name in ("out.json", "again.json"))
    for part in ("inputs", "verdicts", "model", "versions"):
        assert first[part] == second[part]
    assert [each["sha256"] for each in first["outputs"]] == [each["sha256"] for each in second["outputs"]]
    assert len(first["verdicts"]) == 3, "those that bear on the data"


def test_the_files_may_have_moved(reviewed, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("train.jsonl", "pool.jsonl", "out.json"):
        (reviewed / name).rename(other / name)
    reproduce(other / "out.json", other / "again.jsonl")
    assert (other / "again.jsonl").read_bytes() == (reviewed / "out.jsonl").read_bytes()
    (other / "train.jsonl").rename(other / "renamed.jsonl")
    with pytest.raises(InputError, match=r"train\.jsonl, is not at .* name it with --input_file"):
        reproduce(other / "out.json", other / "again.jsonl")
    reproduce(other / "out.json", other / "third.jsonl", input_file=other / "renamed.jsonl")
    assert (other / "third.jsonl").read_bytes() == (reviewed / "out.jsonl").read_bytes()


def test_another_file_is_refused_before_anything_is_encoded(reviewed, model):
    with (reviewed / "pool.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(InputError, match=r"candidate_pool .*pool\.jsonl is not the file of the manifest"):
        reproduce(reviewed / "out.json", reviewed / "again.jsonl")
    assert not model
    assert not (reviewed / "again.jsonl").exists()


def test_other_weights_are_refused(reviewed, monkeypatch):
    monkeypatch.setattr(Weighed, "weights", "bb" * 32)
    with pytest.raises(ModelError, match="not those of the manifest"):
        reproduce(reviewed / "out.json", reviewed / "again.jsonl")


def test_bytes_that_differ_are_told_with_the_versions(reviewed):
    manifest = json.loads((reviewed / "out.json").read_text())
    manifest["versions"]["numpy"] = "1.0"
    manifest["outputs"][0]["sha256"] = "00" * 32
    (reviewed / "out.json").write_text(json.dumps(manifest))
    (reviewed / "again.jsonl").write_bytes(b"the old output")
    before = sorted(reviewed.iterdir())
    with pytest.raises(OutputError, match=r"not those of the manifest; versions differ: numpy 1\.0, here .*Nothing was written"):
        reproduce(reviewed / "out.json", reviewed / "again.jsonl", new_manifest=reviewed / "new.json")
    assert (reviewed / "again.jsonl").read_bytes() == b"the old output"
    assert sorted(reviewed.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a manifest of hnmine"),
        ('{"settings": {}}', "not a manifest of hnmine"),
        ("[1]", "not a manifest of hnmine"),
        (
            '{"settings": {}, "model": {}, "inputs": {"input_file": {"path": "train.jsonl"}}}',
            r"inputs\.input_file lacks name, bytes, sha256",
        ),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, content, words):
    path = tmp_path / "out.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        read_manifest(path)


def test_a_run_done_again_in_its_place_keeps_its_manifest(reviewed, model):
    """It may hold an audit; elsewhere the new run gets a manifest of its own."""
    kept = reviewed / "out.manifest.json"
    kept.write_bytes((reviewed / "out.json").read_bytes())
    reproduce(kept, reviewed / "out.jsonl")
    assert kept.read_bytes() == (reviewed / "out.json").read_bytes()
    reproduce(kept, reviewed / "again.jsonl")
    assert read_manifest(reviewed / "again.manifest.json").outputs[0]["sha256"] == read_manifest(kept).outputs[0]["sha256"]
    reproduce(kept, reviewed / "third.jsonl", new_manifest=False)
    assert not (reviewed / "third.manifest.json").exists()


def test_settings_of_another_version_are_refused(reviewed):
    manifest = json.loads((reviewed / "out.json").read_text())
    manifest["settings"]["colour"] = "red"
    (reviewed / "out.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"settings cannot be used .*install the version"):
        settings_of(read_manifest(reviewed / "out.json"))


def test_a_pool_that_was_a_list_has_to_be_named(tmp_path, write_jsonl, model):
    train = write_jsonl([{"query": "q", "pos": ["p"]}])
    settings = MineSettings(selection=SelectionSettings(window_start=0, window_end=5, negative_number=2), model=ModelSettings())
    pool = [f"passage {number}" for number in range(9)]
    mine_to_file(lambda: Weighed(), train, pool, tmp_path / "out.jsonl", settings, manifest=tmp_path / "out.json")
    with pytest.raises(InputError, match="was in memory"):
        reproduce(tmp_path / "out.json", tmp_path / "again.jsonl")


def test_a_run_without_a_pool_takes_none(reviewed):
    manifest = json.loads((reviewed / "out.json").read_text())
    del manifest["inputs"]["candidate_pool"]
    (reviewed / "out.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="had no candidate_pool"):
        reproduce(reviewed / "out.json", reviewed / "again.jsonl", candidate_pool=reviewed / "pool.jsonl")


def test_a_flag_that_would_change_the_run_is_refused(reviewed, capsys):
    call = ["mine", "--from_manifest", str(reviewed / "out.json"), "--output_file", str(reviewed / "again.jsonl")]
    assert main([*call, "--seed", "7"]) == 2
    assert "--seed cannot be combined with --from_manifest" in capsys.readouterr().err
    assert main(call) == 0
    assert "the bytes are those of the manifest" in capsys.readouterr().out
    assert main(call[:3]) == 2
    assert "required: --output_file" in capsys.readouterr().err


def test_a_review_and_its_manifest_on_the_command_line_with_the_real_model(tmp_path, example_vectors):
    """Mine, drop and promote, mine again, and once more from the manifest: each in a process of its own."""
    train, pool = EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl"

    def run(*arguments):
        command = [sys.executable, "-m", "hnmine", "mine", "--quiet", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout

    stored = ("--store", shutil.copytree(example_vectors, tmp_path / "store"))  # so that no process loads the model
    common = ("--input_file", train, "--candidate_pool", pool, *stored)
    run(*common, "--output_file", tmp_path / "first.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text("utf-8").splitlines()]
    row = rows[0]
    dropped, promoted, kept = row["neg"][0], row["neg"][1], row["neg"][-1]
    with (tmp_path / "reviews.jsonl").open("w") as file:
        for passage, verdict in ((dropped, "relevant"), (promoted, "positive"), (kept, "negative")):
            file.write(json.dumps({"query": row["query"], "passage": passage, "verdict": verdict}) + "\n")
    manifest = tmp_path / "second.json"
    told = run(*common, "--output_file", tmp_path / "second.jsonl", "--reviews", tmp_path / "reviews.jsonl", "--manifest_file", manifest)
    assert "verdicts     1 negative, 1 relevant, 1 positive, 0 junk, 0 elsewhere" in told
    again = json.loads((tmp_path / "second.jsonl").read_text("utf-8").splitlines()[0])
    assert dropped not in again["neg"]
    assert promoted in again["pos"]
    assert promoted not in again["neg"]
    assert kept in again["neg"]
    assert len(again["neg"]) == 15
    assert "the bytes are those of the manifest" in run("--from_manifest", manifest, *stored, "--output_file", tmp_path / "third.jsonl")
    assert (tmp_path / "third.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_a_folder_is_done_again_and_its_card_is_no_part_of_the_comparison(reviewed, tmp_path):
    settings = settings_of(read_manifest(reviewed / "out.json"))
    settings = msgspec.structs.replace(settings, output_format="datasets", dev_share=0.2)
    mine_to_file(lambda: Weighed(), reviewed / "train.jsonl", reviewed / "pool.jsonl", reviewed / "rows", settings)
    (reviewed / "pool.jsonl").rename(reviewed / "renamed.jsonl")
    reproduce(reviewed / "rows.manifest.json", reviewed / "again", candidate_pool=reviewed / "renamed.jsonl")
    cards = [(reviewed / name / "README.md").read_text("utf-8") for name in ("rows", "again")]
    assert "`pool.jsonl`" in cards[0]
    assert "`renamed.jsonl`" in cards[1]
    for path in (reviewed / "rows").glob("*/*"):
        assert (reviewed / "again" / path.relative_to(reviewed / "rows")).read_bytes() == path.read_bytes()


def test_a_folder_that_holds_an_input_or_other_files_is_refused_before_anything_is_read(reviewed):
    settings = MineSettings(output_format="datasets")

    def load():
        pytest.fail("the model was loaded")

    (reviewed / "rows").mkdir()
    with pytest.raises(SettingsError, match=r"is a folder; name a file, or set output_format to datasets"):
        mine_to_file(load, reviewed / "train.jsonl", None, reviewed / "rows", MineSettings())
    with pytest.raises(SettingsError, match=r"holds other files .*would be lost"):
        mine_to_file(load, reviewed / "train.jsonl", None, reviewed, settings)
    (reviewed / "rows" / "dataset_dict.json").write_text("{}")
    (reviewed / "rows" / "train").mkdir()
    (reviewed / "rows" / "train" / "old.arrow").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"holds the input_file, which would be lost"):
        mine_to_file(load, reviewed / "rows" / "train" / "old.arrow", None, reviewed / "rows", settings)


def test_a_manifest_says_how_each_file_was_read(reviewed):
    read = json.loads((reviewed / "out.json").read_text())["read"]
    assert read == {
        "input_file": {
            "read_as": "JSON lines, 3 fields: query, pos, id; read as query = query, pos = pos, neg = neg",
            "encoding": "utf-8",
            "columns": {"query": "query", "pos": ["pos"]},
            "other_columns": ["id"],
            "rows": 30,
            "queries": 20,
            "positives": 30,
            "old_negatives": 0,
            "problems": [],
        },
        "candidate_pool": {
            "read_as": "JSON lines, 1 field: text; read as text = text",
            "encoding": "utf-8",
            "columns": {"text": "text"},
            "other_columns": [],
            "passages": 90,
            "problems": [],
        },
    }


def test_what_a_table_was_read_as_is_in_the_manifest_and_in_the_command(tmp_path, model, capsys):
    lines = [f"Wofür ist {each} gut?;Für {each} im März;Für nichts im Mai;x" for each in "abcdefghijklk"]
    lines = ["Frage;Richtig;Falsch;Notiz", *lines]
    (tmp_path / "fragen.csv").write_bytes("\n".join(lines).encode("cp1252"))
    words = ["query=Frage", "pos=Richtig", "neg=Falsch"]
    settings = MineSettings(columns=columns_from([*words, "encoding=cp1252"]), model=ModelSettings())
    mine_to_file(lambda: Weighed(), tmp_path / "fragen.csv", None, tmp_path / "out.jsonl", settings)
    read = json.loads((tmp_path / "out.manifest.json").read_text())["read"]
    assert list(read) == ["input_file"]
    file = read["input_file"]
    assert (file["encoding"], file["other_columns"], file["old_negatives"]) == ("cp1252", ["Notiz"], 13)
    assert file["columns"] == {"query": "Frage", "pos": ["Richtig"], "neg": ["Falsch"]}
    (entry,) = file["problems"]
    assert (entry["kind"], entry["resolution"], entry["count"], entry["first"]["line"]) == ("duplicate-row", "noted", 1, 14)
    call = ["read", str(tmp_path / "fragen.csv"), "--columns", *words, "--encoding", "cp1252"]
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert f"read as    {file['read_as']}\nencoding   cp1252\nrows       13 rows, 12 queries" in printed


def test_thousands_of_problems_take_one_entry(tmp_path, write_jsonl, model):
    rows = [{"query": f"question {number}", "pos": [f"answer {number}"]} for number in range(20)]
    train = write_jsonl([*rows, *({"query": f"bad {number}", "pos": [number]} for number in range(2_000))])
    mine_to_file(lambda: Weighed(), train, None, tmp_path / "out.jsonl", MineSettings(skip_bad_rows=True, model=ModelSettings()))
    (entry,) = json.loads((tmp_path / "out.manifest.json").read_text())["read"]["input_file"]["problems"]
    assert (entry["kind"], entry["resolution"], entry["count"], entry["first"]["line"]) == ("wrong-type", "skipped", 2_000, 21)


def test_a_manifest_of_before_is_done_again_also_where_its_data_is_improbable_now(tmp_path, write_jsonl, model):
    train = write_jsonl([{"query": f"question {number}", "pos": ["the one answer"]} for number in range(20)])
    settings = MineSettings(model=ModelSettings(), repair=("improbable-data",))
    pool = write_jsonl([{"text": f"passage {number} of the pool"} for number in range(90)], "pool.jsonl")
    mine_to_file(lambda: Weighed(), train, pool, tmp_path / "out.jsonl", settings)
    path = tmp_path / "out.manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["read"]
    manifest["settings"]["repair"] = []
    path.write_text(json.dumps(manifest))
    reproduce(path, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
