"""The benchmarks run, in small: their figures mean nothing here, but each still measures what it says."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import measure
from benchmarks.cluster_simulation import WORKERS, Faults, Simulation, Task, row_of
from benchmarks.finetune import Recipe, SplitModel, batches_of, finetune, measures
from benchmarks.fit_fn_model import unseen
from benchmarks.judged import HashedWords, JudgedSet, made_up
from benchmarks.training_gain import ALL, corpus_of, halves, key_of, means, once, rows_of, table, ways
from benchmarks.turns import opened, turn_of, turns_of
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder, encode
from hnmine.selection.fn_model import default_fn_model

ROOT = Path(__file__).parents[2]


SMALL = [
    "search",
    "select",
    "signals",
    "inspect",
    "verdicts",
    "rows",
    "time_left",
    "scale",
    "windows",
    "fit_fn_model",
    "quality",
    "audit",
    "training_gain",
    "second_opinion",
    "cluster_simulation",
]


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_and_writes_its_figures(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = ["--only", "reviewed"] if name == "training_gain" else []  # of all ways to train
    monkeypatch.setattr(sys, "argv", [name, "--quick", *one])
    monkeypatch.setattr(measure, "OUT", tmp_path)
    importlib.import_module(f"benchmarks.{name}").main()
    written = json.loads((tmp_path / f"{name}-quick.json").read_text())
    assert written["rows"]
    assert written["facts"]["machine"]["cores"]


NO_FAULTS = Faults(worker_spread=0, task_spread=0, failures=0, start=0)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_a_simulated_cluster_does_every_task_once_and_never_beats_the_ideal(tasks: int, workers: int, seed: int, failing: bool) -> None:
    faults = Faults(failures=20.0 if failing else 0.0)
    some = [Task(10.0 * (1 + number % 3), 0.1, 0.2) for number in range(tasks)]
    simulation = Simulation(some, workers, faults, seed)
    seconds = simulation.run()
    assert simulation.finished == [1] * tasks
    assert seconds >= simulation.ideal
    assert seconds >= sum(task.send + task.take for task in some), "the driver does one thing at a time"
    assert (simulation.failed > 0) >= (simulation.lost > 0)
    assert Simulation(some, workers, faults, seed).run() == seconds, "seeded"


def test_a_simulated_cluster_without_faults_takes_what_a_person_calculates() -> None:
    assert Simulation([Task(10, 0, 0)] * 8, 4, NO_FAULTS, 1).run() == pytest.approx(20)
    assert Simulation([Task(10, 0, 0)] * 9, 4, NO_FAULTS, 1).run() == pytest.approx(30)
    assert Simulation([Task(1, 0, 5)] * 9, 4, NO_FAULTS, 1).run() == pytest.approx(46), "the driver takes one result after the other"
    row = row_of(50_000, 100, 1, WORKERS[0], NO_FAULTS, 10_000)
    assert row["simulated, s"] == pytest.approx(50_000 * 185 / WORKERS[0].tokens + 100 * 12 / WORKERS[0].tokens, rel=1e-2)


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


RECIPE = Recipe(layers=1, length=16, steps=3, batch=2, negatives=2, rate=1e-3)


def test_ranked_passages_are_measured_as_by_hand() -> None:
    passages = [f"passage {number}" for number in range(120)]
    corpus = corpus_of(JudgedSet("small", passages, {"one": [0, 1, 2], "other": [5]}))
    ids = np.zeros((2, 100), dtype=np.int32)
    for query, text in enumerate(corpus.queries):
        relevant = [place for place in range(120) if corpus.passages[place] in {"one": passages[:3], "other": passages[5:6]}[text]]
        others = [place for place in range(120) if place not in relevant][:100]
        # Of three, the second stands first, another in place 3 (from 0) and one behind the 100th; the single one in place 10.
        for rank, place in zip((0, 3, 100) if text == "one" else (10,), relevant, strict=True):
            others.insert(rank, place)
        ids[query] = others[:100]
    found = dict(zip(corpus.queries, measures(corpus, ids).tolist(), strict=True))
    assert found["one"] == pytest.approx([(1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / np.log2(4)), 2 / 3])
    assert found["other"] == pytest.approx([0, 1])


@pytest.mark.parametrize("layers", [1, 6])
def test_a_split_model_is_the_packaged_one_until_it_learns(layers: int) -> None:
    made = made_up(queries=4, passages=40)
    texts = [*made.passages, "a short one"]
    known = encode(FlagEncoder.load(ModelSettings(devices=("cpu",), passage_max_length=16)), texts, "passages")
    recipe = msgspec.structs.replace(RECIPE, layers=layers)
    model = SplitModel([*texts, *made.relevant], recipe, "cpu")
    rows = [[query, *made.passages[3 * number : 3 * number + 3]] for number, query in enumerate(made.relevant)]

    def like_known() -> float:
        return float((encode(model, texts, "passages") * known).sum(axis=1).min())

    assert like_known() > 0.999
    finetune(model, rows, msgspec.structs.replace(recipe, rate=0.0), 1)
    assert like_known() > 0.999
    finetune(model, rows, recipe, 1)
    assert like_known() < 0.99
    learned = encode(model, texts, "passages")
    finetune(model, rows, recipe, 1)  # it begins with the packaged weights again
    assert np.allclose(encode(model, texts, "passages"), learned, atol=1e-5)
    model.restore()
    assert like_known() > 0.999


def test_batches_are_full_and_use_every_row_alike_without_a_text_in_two_rows() -> None:
    # Two rows share a negative, so they are never in one batch.
    rows = [[f"query {number}", f"positive {number}", "shared" if number < 2 else f"negative {number}"] for number in range(10)]
    batches = batches_of(rows, msgspec.structs.replace(RECIPE, steps=25, batch=4), 1)
    assert [len(set(batch)) for batch in batches] == [4] * 25
    for batch in batches:
        texts = [text for row in batch for text in rows[row]]
        assert len(set(texts)) == len(texts)
    used = np.bincount([row for batch in batches for row in batch], minlength=10)
    assert used.max() - used.min() <= 2
    assert batches != batches_of(rows, msgspec.structs.replace(RECIPE, steps=25, batch=4), 2)
    with pytest.raises(ValueError, match="smaller batch"):
        batches_of(rows, msgspec.structs.replace(RECIPE, batch=10), 1)


def test_both_halves_have_all_queries_whatever_their_order() -> None:
    made = made_up(queries=9, passages=60)
    turned = dataclasses.replace(made, relevant=dict(reversed(made.relevant.items())))
    first, second = halves(made)
    assert {len(first.relevant), len(second.relevant)} == {4, 5}
    assert first.relevant | second.relevant == made.relevant
    assert [set(half.relevant) for half in halves(turned)] == [set(first.relevant), set(second.relevant)]


def test_the_ways_to_train_are_what_they_say() -> None:
    turn = turn_of(made_up(), 1, HashedWords(), None, ALL)
    # By one feature alone, the estimate takes false negatives too: a review finds them.
    known = default_fn_model()
    poor = msgspec.structs.replace(known, weights=tuple(float(name == "similarity_z") for name in known.features), bias=-4.0)
    found = {name: way(turn) for name, way in ways(4, poor).items()}
    false = {name: turn.false(selection).mean() for name, (_, selection) in found.items()}
    hard = {name: selection.scores.mean() for name, (_, selection) in found.items()}
    assert false["PercPos 0.95 without false"] == 0 < false["PercPos 0.95"] < false["top-k"]
    assert hard["random passages"] < hard["hn_mine 10-210"] < hard["PercPos 0.95"]
    for name in ("balanced as hard as PercPos", "balanced as hard and reviewed"):
        assert hard[name] == pytest.approx(hard["PercPos 0.95"], abs=0.01)
    # What a review promotes is relevant, a row each, and no negative any more.
    corpus, selection = found["balanced as hard and reviewed"]
    rows = rows_of(corpus, selection)
    assert len(rows) > len(turn.corpus.queries) == len(rows_of(*found["balanced"]))
    pairs = corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids
    assert np.isin(pairs, turn.relevant).all()
    texts = {passage: place for place, passage in enumerate(corpus.passages)}
    for row in rows:
        assert len(row) == 6
        query = corpus.queries.index(row[0])
        assert texts[row[1]] in corpus.positives(query)
        assert not {texts[text] for text in row[2:]} & set(corpus.positives(query).tolist())


def test_a_training_run_is_done_once_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    figures = np.array([[0.1, 0.2]])

    def failing() -> npt.NDArray[np.float64]:
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        once(tmp_path / "run.json", failing)
    assert once(tmp_path / "run.json", lambda: figures).figures == figures.tolist()
    assert once(tmp_path / "run.json", failing).figures == figures.tolist()


def test_a_training_run_goes_by_all_that_decides_it() -> None:
    first, second = (corpus_of(half) for half in halves(made_up(queries=4, passages=40)))
    rows = [["query", "positive", "negative"]]
    keys = [
        key_of(rows, first, RECIPE, 1, "cpu"),
        key_of([["query", "positive", "another"]], first, RECIPE, 1, "cpu"),
        key_of(rows, second, RECIPE, 1, "cpu"),
        key_of(rows, first, msgspec.structs.replace(RECIPE, rate=3e-5), 1, "cpu"),
        key_of(rows, first, RECIPE, 2, "cpu"),
        key_of(rows, first, RECIPE, 1, "cuda"),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(rows, first, RECIPE, 1, "cpu") == keys[0]


def test_gains_are_paired_by_query_and_by_seed_and_sets_count_alike() -> None:
    chance = np.random.default_rng(0)
    levels = {"small": chance.random((5, 20, 2)), "large": chance.random((5, 200, 2))}
    gains = {"small": 0.02, "large": 0.04}
    figures = {name: {"random passages": [*level], "top-k": [*(level + gains[name])]} for name, level in levels.items()}
    negatives = {name: {way: [np.array([0.1, 0.5, 1])] for way in by_way} for name, by_way in figures.items()}
    rows = table(figures, negatives)
    less = {row["set"]: row["less random passages"] for row in rows if row["negatives"] == "top-k" and row["measure"] == "nDCG@10"}
    assert less == {"small": "+2.0 (+2.0 to +2.0)", "large": "+4.0 (+4.0 to +4.0)", "mean": "+3.0 (+3.0 to +3.0)"}
    # Seeds are resampled too: with a seed far from the others the interval is wide.
    apart = np.zeros((5, 200, 2))
    apart[0] = 1
    low, high = np.percentile(means(apart, 0)[1:, 0], (2.5, 97.5))
    assert (low, high) == pytest.approx((0.0, 0.6))


def test_every_benchmark_is_named_in_the_makefile() -> None:
    listed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS")).partition(":=")[2].split()
    helpers = {"__init__", "finetune", "judged", "measure", "opinions", "plain", "plot", "sets", "turns"}
    alone = {"cluster", "training_gain", "second_opinion", "screens", "review_desk"}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers - alone == set(listed)
