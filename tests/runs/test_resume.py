"""Finished work is never done twice or lost: whole runs of the real model with the vector store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hnmine import ModelSettings, find_knn_neg
from hnmine.cli.main import main
from hnmine.models.cards import packaged_folder
from hnmine.runs.mine import MineSettings, mine
from hnmine.runs.workspace import Workspace
from hnmine.selection.select import select
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bikeshare"
# A run in a process of its own, that tells at the end what it had to load.
RUN = """
import json, sys
from hnmine.cli.main import main
status = main(["mine", *sys.argv[1:], "--json", "--quiet"])
print(json.dumps([name for name in ("torch", "FlagEmbedding", "transformers") if name in sys.modules]))
sys.exit(status)
"""


def command(folder: Path, output: str, *more: str) -> list[str]:
    files = ["--input_file", str(EXAMPLE / "train.jsonl"), "--candidate_pool", str(EXAMPLE / "pool.jsonl")]
    return [sys.executable, "-c", RUN, *files, "--output_file", str(folder / output), *more]


def run(folder: Path, output: str, *more: str) -> tuple[dict[str, Any], list[str]]:
    """Mine the example; return the summary, and which heavy packages were loaded."""
    done = subprocess.run(command(folder, output, *more), capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    summary, loaded = done.stdout.splitlines()
    return json.loads(summary), json.loads(loaded)


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with `cold.jsonl` and the store `vectors` of an undisturbed run, and its summary."""
    folder = tmp_path_factory.mktemp("cold")
    files = (EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", folder / "cold.jsonl")
    return folder, msgspec.to_builtins(find_knn_neg(ModelSettings(), *files, store=folder / "vectors"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The example's first rows, which are encoded in a second."""
    lines = (EXAMPLE / "train.jsonl").read_text("utf-8").splitlines(keepends=True)[:15]
    (tmp_path / "few.jsonl").write_text("".join(lines))
    return tmp_path / "few.jsonl"


def test_a_warm_run_loads_no_model_and_writes_the_same_bytes(cold) -> None:
    folder, first = cold
    total = first["passages"] + first["queries"] - 2
    assert first["vectors"] == {"stored": 0, "encoded": total}, "two queries are passages too, and nothing was stored before"
    summary, loaded = run(folder, "warm.jsonl", "--store", str(folder / "vectors"))
    assert loaded == []
    assert summary["vectors"] == {"stored": total, "encoded": 0}
    assert (folder / "warm.jsonl").read_bytes() == (folder / "cold.jsonl").read_bytes()


def test_other_settings_of_the_selection_need_no_model_either(cold, tmp_path: Path) -> None:
    folder, _ = cold
    _, loaded = run(
        tmp_path, "out.jsonl", "--store", str(folder / "vectors"), "--range_for_sampling", "0-50", "--max_positive_ratio", "0.9"
    )
    assert loaded == []


def test_without_a_store_the_bytes_are_the_same_and_nothing_is_kept(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    find_knn_neg(ModelSettings(), few, None, tmp_path / "stored.jsonl", "0-20", 3, store=tmp_path / "kept")
    command = ["mine", "--input_file", str(few), "--output_file", str(out / "out.jsonl"), "--range_for_sampling", "0-20"]
    assert main([*command, "--negative_number", "3", "--no_store", "--no_manifest", "--quiet"]) == 0
    assert (out / "out.jsonl").read_bytes() == (tmp_path / "stored.jsonl").read_bytes()
    assert [path.name for path in out.iterdir()] == ["out.jsonl"]


def test_killed_at_any_moment_the_next_run_goes_on_and_writes_the_same_bytes(cold, tmp_path: Path) -> None:
    folder, first = cold
    store = tmp_path / "vectors"
    total = first["vectors"]["encoded"]
    process = subprocess.Popen(command(tmp_path, "killed.jsonl", "--store", str(store)), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not stored(store) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = stored(store)
    assert kept > 0
    assert not (tmp_path / "killed.jsonl").exists() or kept == total
    summary = find_knn_neg(ModelSettings(), EXAMPLE / "train.jsonl", EXAMPLE / "pool.jsonl", tmp_path / "again.jsonl", store=store)
    assert summary.vectors["encoded"] == total - kept
    assert (tmp_path / "again.jsonl").read_bytes() == (folder / "cold.jsonl").read_bytes()


def stored(store: Path) -> int:
    return sum(each.rows for each in VectorStore(store).usage()) if store.exists() else 0


def test_more_rows_and_another_order_reuse_what_is_there_and_change_nothing_else(cold, tmp_path: Path) -> None:
    """A text's vector depends on nothing but the text: half the data first, then all of it shuffled, gives the same negatives."""
    folder, first = cold
    lines = (EXAMPLE / "train.jsonl").read_text("utf-8").splitlines()
    pool = (EXAMPLE / "pool.jsonl").read_text("utf-8").splitlines()
    order = np.random.default_rng(5).permutation(len(lines))
    (tmp_path / "half.jsonl").write_text("\n".join(lines[::2]) + "\n")
    (tmp_path / "half-pool.jsonl").write_text("\n".join(pool[::2]) + "\n")
    (tmp_path / "all.jsonl").write_text("\n".join(lines[i] for i in order) + "\n")
    model, store = ModelSettings(), tmp_path / "vectors"
    texts = first["vectors"]["encoded"]  # different ones: two queries are passages too
    half = find_knn_neg(model, tmp_path / "half.jsonl", tmp_path / "half-pool.jsonl", tmp_path / "half-out.jsonl", store=store)
    whole = find_knn_neg(model, tmp_path / "all.jsonl", EXAMPLE / "pool.jsonl", tmp_path / "all-out.jsonl", store=store)
    assert 0 < half.vectors["encoded"] < texts
    # Of two spellings of a passage one is encoded, and the half may hold the other.
    assert 0 <= whole.vectors["encoded"] - (texts - half.vectors["encoded"]) <= 1
    expected = (folder / "cold.jsonl").read_text("utf-8").splitlines()
    assert (tmp_path / "all-out.jsonl").read_text("utf-8").splitlines() == [expected[i] for i in order]


def test_a_changed_checkpoint_in_the_same_folder_is_never_served_old_vectors(few: Path, tmp_path: Path) -> None:
    """The usual loop: mine, train, mine again. Even where size and times of the file are the same."""
    from safetensors.numpy import load_file, save_file

    folder, store = tmp_path / "model", tmp_path / "vectors"
    shutil.copytree(packaged_folder(), folder)

    def mined(output: str, *, stored: bool) -> dict[str, int]:
        settings = ModelSettings(name_or_path=str(folder))
        files = (few, None, tmp_path / output, "0-20", 3)
        return find_knn_neg(settings, *files, store=store if stored else None, with_scores=True).vectors

    first = mined("first.jsonl", stored=True)
    assert first["encoded"] > 0
    assert mined("second.jsonl", stored=True)["encoded"] == 0

    weights = folder / "model.safetensors"
    before = weights.stat()
    tensors = load_file(weights)
    chance = np.random.default_rng(0)
    save_file({name: value + chance.normal(0, 0.02, value.shape).astype(value.dtype) for name, value in tensors.items()}, weights)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_mtime_ns == before.st_mtime_ns

    assert mined("third.jsonl", stored=True) == first, "the new weights start with an empty store"
    mined("fresh.jsonl", stored=False)
    assert (tmp_path / "third.jsonl").read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()
    assert (tmp_path / "third.jsonl").read_bytes() != (tmp_path / "first.jsonl").read_bytes()


def test_a_store_that_cannot_be_written_costs_a_note_not_the_run(few: Path, tmp_path: Path) -> None:
    (tmp_path / "vectors").write_text("a file where the folder should be")
    find_knn_neg(ModelSettings(), few, None, tmp_path / "stored.jsonl", "0-20", 3, store=tmp_path / "kept")
    summary = find_knn_neg(ModelSettings(), few, None, tmp_path / "out.jsonl", "0-20", 3, store=tmp_path / "vectors")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "stored.jsonl").read_bytes()
    assert any(str(tmp_path / "vectors") in note for note in summary.notes)


def test_a_run_of_the_workspace_keeps_its_vectors_when_the_store_is_emptied(tmp_path: Path, fake_encoder) -> None:
    space = Workspace(tmp_path)
    dataset = space.add_dataset("train.jsonl", EXAMPLE / "train.jsonl", "pool.jsonl", EXAMPLE / "pool.jsonl")
    fake_encoder.identity = lambda side: '{"name": "trigrams"}'
    settings = MineSettings()
    mined = mine(space.training_path(dataset.id), space.pool_path(dataset.id), settings, lambda: fake_encoder, store=space.store())
    saved = space.save_run(dataset.id, settings, mined.ranking, mined.manifest)
    before = np.asarray(mined.ranking.passage_vectors[:])
    del mined
    assert space.store().prune(everything=True) > 0
    assert stored(tmp_path / "vectors") == 0
    opened = space.ranking(saved.id)
    np.testing.assert_array_equal(opened.passage_vectors[:], before)
    inputs = mine(space.training_path(dataset.id), space.pool_path(dataset.id), settings, lambda: fake_encoder).inputs
    # A guard that lets little through makes back-filling look at every vector.
    strict = select(inputs.corpus, opened, SelectionSettings(max_score=0.2))
    assert strict.random_filled.any()


# The command


def test_cache_shows_verifies_and_prunes(cold, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, first = cold
    store = tmp_path / "vectors"
    shutil.copytree(folder / "vectors", store)
    total = first["vectors"]["encoded"]

    assert main(["cache", "--store", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "all-MiniLM-L6-v2" in shown
    assert f"{total:,} vectors of 384 dimensions" in shown

    assert main(["cache", "verify", "--store", str(store)]) == 0
    assert "no damaged vectors" in capsys.readouterr().out

    shard = max((path for path in store.rglob("*.npy")), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert main(["cache", "verify", "--store", str(store)]) == 0
    assert "no damaged vectors" not in capsys.readouterr().out
    assert stored(store) < total

    assert main(["cache", "prune", "--store", str(store)]) == 2
    assert "--limit" in capsys.readouterr().err
    assert main(["cache", "prune", "--everything", "--store", str(store)]) == 0
    capsys.readouterr()
    assert main(["cache", "--json", "--store", str(store)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_cache_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNMINE_HOME", str(tmp_path / "none"))
    assert main(["cache"]) == 0
    assert "has no vectors" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert main(["cache", "--store", str(tmp_path / "typo")]) == 2
    assert "typo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cache", "shrink"], "shrink"),
        (["cache", "prune", "--limit", "some"], "not an amount"),
        (["cache", "prune", "--older_then", "3"], "--older_than"),
    ],
)
def test_bad_usage_of_cache_is_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
