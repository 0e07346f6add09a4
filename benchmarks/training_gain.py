"""The gain from training on mined negatives: the packaged model is trained on SciFact's training claims, tested on its test claims.

All methods train the same model with the same recipe on the same claims and positives in the same order; only negatives
differ. Intervals: Student's over the seeds for a figure; a paired bootstrap over the test claims, averaged over the seeds,
for a difference. The recipe was fixed before; `--held_out 0.2` tests on a fifth of the training claims instead. Finished
runs are kept and not repeated; `--only random,balanced` selects methods by words in their names. Two training claims equal to
test claims are left out; two thirds of the test claims share an abstract with a training claim, as in SciFact's usual split.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.finetune import MEASURES, Floats, Recipe, finetune, judged
from benchmarks.fit_fn_model import unseen
from benchmarks.judged import JudgedSet, made_up, read
from benchmarks.measure import DATA, OUT, arguments, report
from benchmarks.quality import at_hardness
from benchmarks.sets import emptied
from hnmine.core.text import normalize_text
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import read_inputs
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import FlagEncoder
from hnmine.retrieval.ranking import Ranking, rank
from hnmine.retrieval.signals import with_signals
from hnmine.selection.fn_model import FNModel
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings
from hnmine.vectors.store import VectorStore

Way = Callable[[Corpus, Ranking, int], Selection | None]
UNTRAINED, HN_MINE, PERC_POS = "untrained", "hn_mine, 10-210 at random", "PercPos 0.95, hardest from 0"
BALANCED, AS_HARD = "balanced", "by the estimate, as hard as PercPos"
RESAMPLED = 10_000
# The judged set with training claims.
SET = "scifact"
# Beyond any corpus: all passages are ranked.
ALL = 10**9


def ways(number: int, fn_model: FNModel | None = None) -> dict[str, Way]:
    """Return what is compared: by name, how a seed chooses so many negatives of a ranking; None leaves them to the batch.

    `fn_model` is the model behind "balanced"; the shipped one was fitted on qrels of SciFact, so it is not used here.
    """

    def chosen(corpus: Corpus, ranking: Ranking, settings: SelectionSettings, seed: int) -> Selection:
        return select(corpus, ranking, msgspec.structs.replace(settings, negative_number=number, seed=seed), None, fn_model)

    def by(settings: SelectionSettings) -> Way:
        return lambda corpus, ranking, seed: chosen(corpus, ranking, settings, seed)

    def as_hard(corpus: Corpus, ranking: Ranking, seed: int) -> Selection:
        wanted = float(chosen(corpus, ranking, perc_pos, seed).scores.mean())
        return at_hardness(
            lambda rate: chosen(corpus, ranking, msgspec.structs.replace(balanced, max_fn_rate=rate), seed),
            lambda selection: float(selection.scores.mean()),
            wanted,
        )[0]

    perc_pos = SelectionSettings(window_start=0, strategy="hardest", max_positive_ratio=0.95)
    balanced = with_preset(RECOMMENDED, SelectionSettings())
    return {
        "none but the batch's": lambda *_: None,
        "random passages": by(SelectionSettings(window_start=0, window_end=ALL)),
        HN_MINE: by(SelectionSettings(window_start=10, window_end=210)),
        PERC_POS: by(perc_pos),
        BALANCED: by(balanced),
        AS_HARD: as_hard,
    }


class Run(msgspec.Struct, kw_only=True):
    """One training and what came of it.

    Attributes:
        similarity: mean similarity of the mined negatives to their claims before training; None without any.
        training, judging: seconds.
        figures: (q, 3), MEASURES of each test claim in the corpus' order.
    """

    similarity: float | None
    training: float
    judging: float
    figures: list[list[float]]


def corpus_of(judged_set: JudgedSet, claims: list[str]) -> Corpus:
    """Return the corpus of these claims, with all relevant passages as positives, and all passages of the set."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "train.jsonl"
        rows = ({"query": claim, "pos": [judged_set.passages[place] for place in judged_set.relevant[claim]]} for claim in claims)
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        return read_inputs(file, judged_set.passages).corpus


def claims_of(given: Any) -> tuple[Corpus, Corpus]:
    """Return the corpora to train on and to judge on."""
    if given.quick:
        both = made_up(queries=8, passages=40)
        claims = list(both.relevant)
        return corpus_of(both, claims[:4]), corpus_of(both, claims[4:])
    folder = given.data / SET
    if not (folder / "qrels-train.tsv").is_file():
        sys.exit(f"{folder} holds no SciFact (corpus.jsonl, queries[-train].jsonl, qrels[-train].tsv); name the folder above it by --data")
    train, test = (read(folder, part=part, least=1) for part in ("-train", ""))
    known = {normalize_text(claim) for claim in test.relevant}
    claims = [claim for claim in train.relevant if normalize_text(claim) not in known]
    if not given.held_out:
        return corpus_of(train, claims), corpus_of(test, list(test.relevant))
    order = np.random.default_rng(0).permutation(len(claims)).tolist()
    cut = round(given.held_out * len(claims))
    return tuple(corpus_of(train, [claims[place] for place in part]) for part in (order[cut:], order[:cut]))


def best_device() -> str:
    """Return the first GPU, or the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def rows_of(corpus: Corpus, selection: Selection | None, seed: int) -> list[list[str]]:
    """Return for each claim its text, one of its positives, and its negatives; the seed draws the positive alike for every way."""
    rng = np.random.default_rng(seed)
    rows = []
    for query, text in enumerate(corpus.queries):
        places = corpus.positives(query)
        chosen = [int(places[int(rng.integers(len(places)))])]
        if selection is not None:
            chosen += selection.negatives[query].tolist()
        rows.append([text, *(corpus.passages[place] for place in chosen)])
    return rows


def key_of(rows: list[list[str]], test: Corpus, recipe: Recipe, seed: int, device: str, model: dict[str, Any]) -> str:
    """Return a name for a run: a hash of all that its figures depend on, but for the machine."""
    relevant = [test.positive_starts.tolist(), test.positive_ids.tolist()]
    packages = [version(package) for package in ("torch", "sentence-transformers", "transformers")]
    parts = [rows, list(test.queries), list(test.passages), relevant, msgspec.to_builtins(recipe), seed, device, model, packages]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def run_of(rows: list[list[str]], similarity: float | None, test: Corpus, recipe: Recipe, seed: int, device: str) -> Run:
    """Train on rows and judge on the test claims."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        finetune(rows, folder, recipe, seed=seed, device=device)
        trained = time.perf_counter()
        figures = judged(test, folder, device)
    ended = time.perf_counter()
    return Run(similarity=similarity, training=trained - began, judging=ended - trained, figures=figures.tolist())


def once(file: Path, work: Callable[[], Run]) -> Run:
    """Return the run that is kept in a file; it is done if there is none."""
    if not file.is_file():
        made = work()
        temporary = file.with_suffix(".part")
        temporary.write_bytes(msgspec.json.encode(made))
        os.replace(temporary, file)
    return msgspec.json.decode(file.read_bytes(), type=Run)


def interval(runs: list[Run]) -> Floats:
    """Return mean, low and high of each measure, (3, 3): the 95 % interval over seeds is Student's."""
    from scipy.stats import t

    means = np.array([run.figures for run in runs]).mean(axis=1)
    half = t.ppf(0.975, len(means) - 1) * means.std(axis=0, ddof=1) / np.sqrt(len(means))
    return np.stack([means.mean(axis=0), means.mean(axis=0) - half, means.mean(axis=0) + half])


def difference(runs: dict[int, Run], others: dict[int, Run], weights: Floats) -> Floats:
    """Return mean, low and high of runs less others for each measure, (3, 3), over the seeds that both have.

    Args:
        runs, others: by seed.
        weights: (r, q), how often each resample has each claim.
    """
    gains = np.mean([np.subtract(runs[seed].figures, others[seed].figures) for seed in runs.keys() & others.keys()], axis=0)
    low, high = np.percentile(weights @ gains / len(gains), (2.5, 97.5), axis=0)
    return np.stack([gains.mean(axis=0), low, high])


def table(found: dict[str, dict[int, Run]], claims: int) -> list[dict[str, Any]]:
    """Return a line for each measure and way, in per cent and points of it."""
    weights = np.random.default_rng(0).multinomial(claims, np.full(claims, 1 / claims), RESAMPLED).astype(np.float64)
    rows = []
    for number, measure in enumerate(MEASURES):
        for way, by_seed in found.items():
            runs = list(by_seed.values())
            row: dict[str, Any] = {"measure": measure, "negatives": way, "similarity": None, "seeds": None}
            row |= {"%": 100 * float(np.mean([run.figures for run in runs], axis=(0, 1))[number]), "from": None, "to": None}
            if way != UNTRAINED:
                row["seeds"] = len(runs)
                row["similarity"] = runs[0].similarity and float(np.mean([run.similarity for run in runs]))
                if len(runs) > 1:
                    row["from"], row["to"] = (100 * interval(runs)[1:, number]).tolist()
            for name, against in (("less hn_mine", HN_MINE), ("less PercPos", PERC_POS)):
                if way != against and by_seed.keys() & found.get(against, {}).keys():
                    part = 100 * difference(by_seed, found[against], weights)[:, number]
                    row |= dict(zip((name, f"{name} from", f"{name} to"), part.tolist(), strict=True))
            seconds = [float(np.mean([getattr(run, name) for run in runs])) for name in ("training", "judging")]
            rows.append(row | dict(zip(("s to train", "s to judge"), seconds, strict=True)))
    return rows


def main() -> None:
    """Do every run that is not done yet, and print the table after each."""
    given = arguments(
        __doc__,
        data=DATA,
        store=OUT / "vectors",
        seeds=3,
        epochs=1,
        rate=2e-5,
        batch=32,
        negatives=2,
        length=128,
        held_out=0.0,
        only="",
        device="",
    )
    if given.quick:
        given.seeds, given.batch, given.length = 2, 2, 16
    device = given.device or best_device()
    recipe = Recipe(epochs=given.epochs, rate=given.rate, batch=given.batch, negatives=given.negatives, length=given.length)
    train, test = claims_of(given)
    encoder = FlagEncoder.load(ModelSettings(devices=(device,)))
    store = None if given.quick else VectorStore(given.store)
    ranking = with_signals(train, rank(train, encoder, train.n_candidates, store=store))
    fn_model = None if given.quick else unseen({SET: []}, given.data, encoder, store)[SET]
    began = time.perf_counter()
    untrained = judged(test, None, device, store)
    run = Run(similarity=None, training=0.0, judging=time.perf_counter() - began, figures=untrained.tolist())
    seeds = range(1, given.seeds + 1)
    found: dict[str, dict[int, Run]] = {UNTRAINED: dict.fromkeys(seeds, run)}
    name = "training_gain-held-out" if given.held_out else "training_gain"
    kept = emptied(OUT / f"{name}-quick") if given.quick else OUT / name
    kept.mkdir(parents=True, exist_ok=True)
    shared = np.isin(test.positive_ids, train.positive_ids)
    facts = msgspec.to_builtins(recipe) | {
        "device": device,
        "training claims": len(train.queries),
        "judged on": f"{len(test.queries)} {'held-out training' if given.held_out else 'test'} claims",
        "of them about a training claim's passage": len(np.unique(test.positive_queries[shared])),
        "passages": len(test.passages),
        "intervals": f"of a figure: Student's over the seeds; of a difference: {RESAMPLED:,} paired resamples of the claims",
    }
    for seed in seeds:
        for way, choose in ways(recipe.negatives, fn_model).items():
            if not any(name.strip() in way for name in given.only.split(",")):
                continue
            selection = choose(train, ranking, seed)
            rows = rows_of(train, selection, seed)
            file = kept / f"{key_of(rows, test, recipe, seed, device, encoder.describe())}.json"
            similarity = None if selection is None else float(selection.scores.mean())
            work = partial(run_of, rows, similarity, test, recipe, seed, device)
            found.setdefault(way, {})[seed] = once(file, work)
            report(name, table(found, len(test.queries)), facts)


if __name__ == "__main__":
    main()
