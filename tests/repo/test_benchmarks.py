"""The benchmarks run, in small: their figures mean nothing here, but each still measures what it says."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import measure
from benchmarks.finetune import Recipe, finetune, measures
from benchmarks.fit_fn_model import unseen
from benchmarks.judged import HashedWords, JudgedSet, made_up
from benchmarks.training_gain import Run, corpus_of, difference, key_of, once
from benchmarks.turns import opened, turns_of
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder, encode
from hnmine.selection.fn_model import default_fn_model

ROOT = Path(__file__).parents[2]


SMALL = [
    "search",
    "select",
    "signals",
    "inspect",
    "rows",
    "scale",
    "windows",
    "fit_fn_model",
    "quality",
    "audit",
    "training_gain",
    "second_opinion",
]


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_and_writes_its_figures(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = ["--only", "balanced"] if name == "training_gain" else []  # of all ways to train: each loads and trains a model
    monkeypatch.setattr(sys, "argv", [name, "--quick", *one])
    monkeypatch.setattr(measure, "OUT", tmp_path)
    importlib.import_module(f"benchmarks.{name}").main()
    written = json.loads((tmp_path / f"{name}-quick.json").read_text())
    assert written["rows"]
    assert written["facts"]["machine"]["cores"]


def test_without_a_gpu_its_check_says_so_and_is_no_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--quick"])
    try:
        importlib.import_module("benchmarks.gpu_check").main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    assert capsys.readouterr().out


def test_a_judged_set_is_never_met_with_weights_that_were_fitted_on_it() -> None:
    shipped = default_fn_model()
    turns = {name: turns_of(made_up(4, 60, name=name), HashedWords(), None) for name in (*shipped.fitted_on, "another")}
    models = unseen(turns, ROOT, HashedWords(), None)
    assert {name: set(model.fitted_on) for name, model in models.items() if name != "another"} == {
        name: set(shipped.fitted_on) - {name} for name in shipped.fitted_on
    }
    assert models["another"] is shipped
    assert unseen({"another": []}, ROOT, HashedWords(), None) == {"another": shipped}
    with pytest.raises(SystemExit, match="add another of"):
        unseen({shipped.fitted_on[0]: []}, ROOT, HashedWords(), None)


def test_judged_sets_are_named_or_given_by_path(tmp_path: Path) -> None:
    for name in ("inside/known", "elsewhere/other"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{number}", "text": "text {number}"}}\n' for number in range(3)))
        (folder / "queries.jsonl").write_text('{"_id": "q", "text": "what"}\n')
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\t0\t1\nq\t2\t1\n")
    given = argparse.Namespace(
        quick=False, data=tmp_path / "inside", sets=f"known,{tmp_path / 'elsewhere' / 'other'}", store=tmp_path / "vectors"
    )
    sets, _, _ = opened(given, [])
    assert [(each.name, each.relevant) for each in sets] == [("known", {"what": [0, 2]}), ("other", {"what": [0, 2]})]
    given.sets = f"known,{tmp_path / 'inside' / 'known'}"
    with pytest.raises(SystemExit, match="have the same name"):
        opened(given, [])
    given.sets = "known,absent"
    with pytest.raises(SystemExit, match="absent; --sets takes"):
        opened(given, [])


def vectors_of(folder: Path | None, texts: list[str]) -> npt.NDArray[np.float32]:
    return encode(FlagEncoder.load(ModelSettings(name_or_path=folder and str(folder), devices=("cpu",))), texts, "passages")


def test_ranked_passages_are_measured_as_by_hand() -> None:
    passages = [f"passage {number}" for number in range(120)]
    corpus = corpus_of(JudgedSet("small", passages, {"one": [0, 1, 2], "other": [5]}), ["one", "other"])
    ids = np.zeros((2, 100), dtype=np.int32)
    for query, text in enumerate(corpus.queries):
        relevant = [place for place in range(120) if corpus.passages[place] in {"one": passages[:3], "other": passages[5:6]}[text]]
        others = [place for place in range(120) if place not in relevant][:100]
        # Of three, the second stands first, another in place 3 (from 0) and one in the 50th; the single one in place 10.
        for rank, place in zip((0, 3, 50) if text == "one" else (10,), relevant, strict=True):
            others.insert(rank, place)
        ids[query] = others[:100]
    found = dict(zip(corpus.queries, measures(corpus, ids).tolist(), strict=True))
    assert found["one"] == pytest.approx([(1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / np.log2(4)), 2 / 3, 1])
    assert found["other"] == pytest.approx([0, 0, 1])


def test_a_model_that_learned_nothing_is_judged_as_the_packaged_one(tmp_path: Path) -> None:
    made = made_up(queries=4, passages=40)
    corpus = corpus_of(made, list(made.relevant))
    rows = [[query, *corpus.passages[:3]] for query in corpus.queries[:2]]
    still = Recipe(epochs=2, rate=0.0, batch=2, negatives=2, length=16)
    finetune(rows, tmp_path / "still", still, seed=1, device="cpu")
    finetune(rows, tmp_path / "moved", msgspec.structs.replace(still, rate=1e-3), seed=1, device="cpu")
    known = vectors_of(None, made.passages)
    assert np.array_equal(vectors_of(tmp_path / "still", made.passages), known)
    assert not np.array_equal(vectors_of(tmp_path / "moved", made.passages), known)


def test_a_training_run_is_done_once_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    run = Run(similarity=0.5, training=1.0, judging=2.0, figures=[[0.1, 0.2, 0.3]])

    def failing() -> Run:
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        once(tmp_path / "run.json", failing)
    assert once(tmp_path / "run.json", lambda: run) == run
    assert once(tmp_path / "run.json", failing) == run


def test_a_training_run_goes_by_all_that_decides_it() -> None:
    made = made_up(queries=4, passages=40)
    first, second = (corpus_of(made, claims) for claims in (list(made.relevant)[:2], list(made.relevant)[2:]))
    recipe = Recipe(epochs=1, rate=2e-5, batch=2, negatives=2, length=16)
    rows = [["query", "positive", "negative"]]
    keys = [
        key_of(rows, first, recipe, 1, "cpu", {}),
        key_of([["query", "positive", "another"]], first, recipe, 1, "cpu", {}),
        key_of(rows, second, recipe, 1, "cpu", {}),
        key_of(rows, first, msgspec.structs.replace(recipe, rate=3e-5), 1, "cpu", {}),
        key_of(rows, first, recipe, 2, "cpu", {}),
        key_of(rows, first, recipe, 1, "cuda", {}),
        key_of(rows, first, recipe, 1, "cpu", {"precision": "bf16"}),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(rows, first, recipe, 1, "cpu", {}) == keys[0]


def test_gains_are_paired_by_claim_and_by_seed() -> None:
    chance = np.random.default_rng(0)
    level = chance.random((50, 3))
    runs, others = ({seed: Run(similarity=None, training=0, judging=0, figures=[]) for seed in seeds} for seeds in ((1, 2), (1, 2, 3)))
    for seed in runs:
        others[seed].figures = (level / seed).tolist()
        runs[seed].figures = (level / seed + 0.01).tolist()
    others[3].figures = (level * 0).tolist()  # has no like, so it is not counted
    weights = chance.multinomial(50, np.full(50, 1 / 50), 200).astype(np.float64)
    assert difference(runs, others, weights) == pytest.approx(np.full((3, 3), 0.01))


def test_every_benchmark_is_named_in_the_makefile() -> None:
    listed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS")).partition(":=")[2].split()
    helpers = {"__init__", "finetune", "judged", "measure", "opinions", "plain", "plot", "sets", "turns"}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers - {"training_gain", "second_opinion"} == set(listed)
