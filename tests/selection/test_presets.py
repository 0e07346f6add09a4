"""Presets: one name for some settings, the same on the command line and in a call, and what is said beside it counts."""

from __future__ import annotations

import json
import shlex

import msgspec
import pytest

from hnmine import find_knn_neg
from hnmine.cli.flags import command_line, settings_from
from hnmine.cli.main import main, parse
from hnmine.core.errors import SettingsError
from hnmine.data.verdicts import Verdict, verdict_lines
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.selection.presets import PRESETS, RECOMMENDED, preset_of, with_preset
from hnmine.selection.settings import SelectionSettings
from tests.conftest import FakeEncoder
from tests.worlds import pool_of, rows_of


def selection(*flags):
    return settings_from(parse(["mine", "--input_file", "a", "--output_file", "b", *flags])).selection


class Weighed(FakeEncoder):
    """A model whose weights have a fingerprint."""

    def describe(self):
        return super().describe() | {"weights_sha256": "aa" * 32}


@pytest.fixture
def files(write_jsonl, monkeypatch):
    """Training rows, a pool and verdicts; loading a model gives one that needs no weights."""
    monkeypatch.setattr(FlagEncoder, "load", lambda settings, **_: Weighed())
    rows = rows_of(40)
    train = write_jsonl([{"query": row.query, "pos": row.pos, "neg": row.neg} for row in rows])
    pool = write_jsonl([{"text": text} for text in pool_of(400)], "pool.jsonl")
    verdicts = [
        Verdict(query=row.query, passage=text, verdict=said)
        for row, text, said in zip(rows[:30], pool_of(400)[::13], ["relevant", "negative", "positive"] * 10, strict=False)
    ]
    reviews = train.with_name("reviews.jsonl")
    reviews.write_bytes(b"".join(verdict_lines(verdicts)))
    return train, pool, reviews


def mined(files, name, *flags):
    """Mine by the command line; return the bytes of the output and the manifest."""
    train, pool, _ = files
    out, manifest = train.with_name(f"{name}.jsonl"), train.with_name(f"{name}.json")
    call = [
        "mine",
        "--input_file",
        train,
        "--candidate_pool",
        pool,
        "--output_file",
        out,
        "--manifest_file",
        manifest,
        "--no_store",
        "--quiet",
    ]
    assert main([*map(str, call), *map(str, flags)]) == 0
    return out.read_bytes(), json.loads(manifest.read_text("utf-8"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_in_every_form(name):
    settings = with_preset(name, SelectionSettings(negative_number=7, seed=3))
    assert (settings.negative_number, settings.seed) == (7, 3)
    assert selection("--preset", name, "--negative_number", "7", "--seed", "3") == settings
    assert preset_of(settings) == name
    assert preset_of(msgspec.structs.replace(settings, margin=0.3)) is None
    assert PRESETS[name].label
    assert PRESETS[name].reason.endswith(".")
    assert RECOMMENDED in PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_leaves_no_filter_of_other_settings_standing(name):
    before = SelectionSettings(max_score=0.5, max_overlap=0.3, positive_score="min", window_start=3, negative_number=4, seed=9)
    assert with_preset(name, before) == with_preset(name, SelectionSettings(negative_number=4, seed=9))


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_that_does_the_same_run_holds_all_of_a_preset(name):
    settings = settings_from(parse(["mine", "--input_file", "a", "--output_file", "b", "--preset", name]))
    line = command_line(settings, input_file="a", candidate_pool=None, output_file="b")
    assert settings_from(parse(shlex.split(shlex.join(line))[3:])).selection == settings.selection


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--preset", "percpos", "--max_positive_ratio", "0.9"], {"max_positive_ratio": 0.9}),
        (["--max_positive_ratio", "0.9", "--preset", "percpos"], {"max_positive_ratio": 0.9}),  # in any order
        (["--preset", "balanced", "--range_for_sampling", "10-210"], {"window_start": 10, "window_end": 210}),  # the default without it
        (["--preset=balanced", "--range-for-sampling=10-210"], {"window_start": 10, "window_end": 210}),
        (["--preset", "balanced", "--max_fn_rate", "0.05"], {"max_fn_rate": 0.05}),
        (["--preset", "balanced", "--hardness", "percpos"], {"max_fn_rate": None, "hardness": "percpos"}),
        (["--hardness=0.45", "--preset", "balanced"], {"max_fn_rate": None, "hardness": 0.45}),
        (["--preset", "percpos", "--hardness", "hn_mine"], {"hardness": "hn_mine"}),
        (["--preset", "hn_mine", "--strategy", "hardest", "--max_overlap", "0.5"], {"strategy": "hardest", "max_overlap": 0.5}),
        (["--preset", "percpos", "--strategy", "random", "--positive_score", "min"], {"strategy": "random", "positive_score": "min"}),
        (["--preset", "balanced", "--negative_number", "15", "--seed", "42"], {}),
    ],
)
def test_what_is_said_beside_a_preset_counts_even_where_it_is_the_usual_value(flags, changes):
    words = " ".join(flags).replace("=", " ").split()
    name = words[words.index("--preset") + 1]
    assert selection(*flags) == msgspec.structs.replace(with_preset(name, SelectionSettings()), **changes)


def test_flags_without_a_preset_are_as_they_were():
    assert selection() == SelectionSettings()
    selection("--preset", "balanced")
    assert selection() == SelectionSettings(), "nor does one call leave anything to the next"


def test_an_unknown_preset_is_refused_with_those_there_are(capsys):
    with pytest.raises(SettingsError, match="preset is 'best'; it must be one of balanced, percpos, hn_mine"):
        with_preset("best", SelectionSettings())
    assert main(["mine", "--input_file", "a", "--output_file", "b", "--preset", "best"]) == 2
    assert "balanced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "balanced", "--strategy", "random"], "max_fn_rate needs strategy 'hardest'"),
        (["--preset", "balanced", "--strategy", "random", "--hardness", "0.4"], "hardness needs strategy 'hardest'"),
        (["--hardness", "percpos"], "hardness needs strategy 'hardest'; strategy is 'random'"),
        (["--preset", "balanced", "--max_fn_rate", "0.01", "--hardness", "0.4"], "max_fn_rate 0.01 and hardness 0.4 exclude each other"),
        (
            ["--preset", "balanced", "--hardness", "balanced"],
            "hardness is 'balanced'; it must be 'percpos' or 'hn_mine', a mean",
        ),
    ],
)
def test_a_preset_that_what_is_said_beside_it_contradicts_is_refused(files, capsys, flags, message):
    train = files[0]
    assert main(["mine", "--input_file", str(train), "--output_file", str(train.with_name("x")), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_a_call_with_its_arguments_writes_what_the_command_line_writes(files, name):
    train, pool, reviews = files
    written, manifest = mined(files, "cli", "--preset", name, "--negative_number", 6, "--reviews", reviews)
    out = train.with_name("call.jsonl")
    find_knn_neg(Weighed(), train, pool, out, preset=name, negative_number=6, verdicts=reviews)
    assert out.read_bytes() == written
    assert ("fn_model" in manifest) == (name == "balanced")
    assert all(len(json.loads(line)["neg"]) == 6 for line in written.splitlines())


def test_a_balanced_run_with_verdicts_is_done_again_byte_for_byte(files, capsys):
    """The model is fitted anew on the manifest's verdicts; a number of them large enough to change what is chosen."""
    train, _, reviews = files
    plain, _ = mined(files, "plain", "--preset", "balanced")
    written, manifest = mined(files, "first", "--preset", "balanced", "--reviews", reviews)
    assert manifest["fn_model"]["verdicts"] > 10
    assert plain != written
    again = train.with_name("again.jsonl")
    call = ["mine", "--from_manifest", str(train.with_name("first.json")), "--output_file", str(again), "--no_store", "--quiet"]
    assert main([*call, "--manifest_file", str(train.with_name("again.json"))]) == 0
    assert again.read_bytes() == written
    assert json.loads(train.with_name("again.json").read_text("utf-8"))["fn_model"] == manifest["fn_model"]
    assert main([*call, "--preset", "percpos"]) == 2
    assert "--preset cannot be combined with --from_manifest" in capsys.readouterr().err


@pytest.mark.parametrize("hardness", ["percpos", "hn_mine", "-0.25", "0.99"])
def test_a_hardness_is_the_same_in_a_call_and_is_done_again_byte_for_byte(files, hardness, capsys):
    """A window that ends before that of the preset whose hardness is meant."""
    train, pool, reviews = files
    flags = ("--preset", "balanced", "--range_for_sampling", "0-80", "--negative_number", 6, f"--hardness={hardness}", "--reviews", reviews)
    written, manifest = mined(files, "cli", *flags)
    selection = manifest["settings"]["selection"]
    assert selection["hardness"] == (hardness if hardness in PRESETS else float(hardness))
    assert "fn_model" in manifest
    assert manifest["summary"]["out_of_reach"].endswith(f"have {manifest['summary']['scores']['negatives']:.4f}") == (hardness == "0.99")
    assert ("is out of reach" in capsys.readouterr().out) == (hardness == "0.99")
    call, again = train.with_name("call.jsonl"), train.with_name("again.jsonl")
    find_knn_neg(Weighed(), train, pool, call, "0-80", 6, preset="balanced", hardness=hardness, verdicts=reviews)
    assert call.read_bytes() == written
    assert main(["mine", "--from_manifest", str(train.with_name("cli.json")), "--output_file", str(again), "--no_store", "--quiet"]) == 0
    assert again.read_bytes() == written
    settings = settings_from(parse(["mine", "--input_file", "a", "--output_file", "b", *map(str, flags)]))
    line = command_line(settings, input_file="a", candidate_pool=None, output_file="b")
    assert settings_from(parse(line[3:])).selection == settings.selection


@pytest.mark.parametrize("hardness", [None, "percpos", "hn_mine", 0.2])
def test_a_deeper_ranking_and_a_whole_review_choose_what_the_command_line_does(files, hardness):
    """As the app does it: it ranks deeper, and people judge there too."""
    from hnmine.data.verdicts import read_verdicts
    from hnmine.runs.mine import MineSettings, mine

    train, pool, reviews = files
    selection = with_preset("balanced", SelectionSettings(negative_number=6))
    if hardness is not None:
        selection = msgspec.structs.replace(selection, window_end=50, max_fn_rate=None, hardness=hardness)
    settings = MineSettings(selection=selection, model=ModelSettings())
    shallow, deep = (
        mine(train, pool, settings, Weighed, depth=depth, signals=True, verdicts=read_verdicts(reviews)) for depth in (None, 450)
    )
    assert shallow.ranking.depth < deep.ranking.depth
    assert shallow.manifest["fn_model"] == deep.manifest["fn_model"]
    assert shallow.selection.negatives.tobytes() == deep.selection.negatives.tobytes()
    assert shallow.selection.scores.tobytes() == deep.selection.scores.tobytes()
