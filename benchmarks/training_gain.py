"""The gain from training on mined negatives, on judged sets with many relevant passages a query; all but one are hidden from mining.

The packaged model is trained on half of a set's queries and judged on the other half with all judgements, and the reverse. All ways
have the same recipe, batches and number of negatives; only the negatives differ (and the positives, after a review). The recipe was
chosen with random passages (RESULTS.md). Intervals: a bootstrap over queries and seeds, paired for differences. Finished runs are kept
and not repeated; `--only random,hn_mine` selects ways by words in their names. The false-negative model was never fitted on the set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.finetune import MEASURES, Floats, Recipe, SplitModel, finetune, judged
from benchmarks.fit_fn_model import unseen
from benchmarks.judged import JudgedSet, made_up
from benchmarks.measure import DATA, OUT, arguments, report
from benchmarks.quality import REVIEWED, at_hardness, ours
from benchmarks.sets import emptied
from benchmarks.turns import Turn, opened, turn_of
from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.data.corpus import Corpus
from hnmine.data.dataset import read_inputs
from hnmine.data.verdicts import VerdictPairs
from hnmine.selection.fn_model import FNEstimator, FNModel, default_fn_model, refit
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

# Returns the corpus, whose positives a review may have changed, and the negatives.
Way = Callable[[Turn], tuple[Corpus, Selection]]
UNTRAINED, RANDOM, HN_MINE, PERC_POS = "untrained", "random passages", "hn_mine 10-210", "PercPos 0.95"
BALANCED = "balanced"
REFERENCES = (RANDOM, HN_MINE, PERC_POS)
RESAMPLED = 4_000
# Beyond any corpus: all passages are ranked.
ALL = 10**9


def ways(number: int, model: FNModel) -> dict[str, Way]:
    """Return what is compared: by name, how so many negatives of a turn are chosen; `model` is behind those named "balanced"."""

    def chosen(turn: Turn, settings: SelectionSettings, verdicts: VerdictPairs | None = None, fn_model: FNModel = model) -> Selection:
        settings = msgspec.structs.replace(settings, negative_number=number, seed=turn.seed)
        return select(turn.corpus, turn.ranking, settings, verdicts, fn_model)

    def by(settings: SelectionSettings) -> Way:
        return lambda turn: (turn.corpus, chosen(turn, settings))

    def without_false(turn: Turn) -> tuple[Corpus, Selection]:
        queries, passages = np.divmod(turn.relevant, len(turn.corpus.passages))
        verdicts = turn.verdicts(queries, passages)
        return turn.corpus, chosen(turn, perc_pos, dataclasses.replace(verdicts, removed=verdicts.positive))

    def as_hard(turn: Turn) -> tuple[Corpus, Selection]:
        wanted = hardness(chosen(turn, perc_pos))
        return turn.corpus, at_hardness(lambda rate: chosen(turn, ours(number, rate)), hardness, wanted)[0]

    def reviewed(turn: Turn) -> tuple[Corpus, Selection]:
        shown = as_hard(turn)[1]
        probability = fn_probabilities(FNEstimator(turn.corpus, turn.ranking, model), shown)
        rows, places = np.nonzero(np.isfinite(probability))
        first = np.argsort(-probability[rows, places], kind="stable")[:REVIEWED]
        verdicts = turn.verdicts(rows[first], shown.negatives[rows[first], places[first]])
        taught = refit(turn.corpus, turn.ranking, verdicts, model)
        corpus, ranking = apply_promotions(turn.corpus, turn.ranking, verdicts)
        after, wanted = dataclasses.replace(turn, corpus=corpus, ranking=ranking), hardness(chosen(turn, perc_pos))
        return corpus, at_hardness(lambda rate: chosen(after, ours(number, rate), verdicts, taught), hardness, wanted)[0]

    perc_pos = SelectionSettings(window_start=0, strategy="hardest", max_positive_ratio=0.95)
    return {
        RANDOM: by(SelectionSettings(window_start=0, window_end=ALL)),
        HN_MINE: by(SelectionSettings(window_start=10, window_end=210)),
        "top-k": by(SelectionSettings(window_start=0, strategy="hardest")),
        PERC_POS: by(perc_pos),
        f"{PERC_POS} without false": without_false,
        BALANCED: by(with_preset(RECOMMENDED, SelectionSettings())),
        f"{BALANCED} as hard as PercPos": as_hard,
        f"{BALANCED} as hard and reviewed": reviewed,
    }


def hardness(selection: Selection) -> float:
    """Return the mean similarity of the negatives."""
    return float(selection.scores.mean(dtype=np.float64))


class Run(msgspec.Struct, kw_only=True):
    """One training and what came of it.

    Attributes:
        seconds: of training and judging, of this process alone.
        figures: (q, 2), MEASURES of each query judged, in the corpus' order.
    """

    seconds: float
    figures: list[list[float]]


def corpus_of(judged_set: JudgedSet) -> Corpus:
    """Return the corpus of a set's queries, with all relevant passages as positives, and all its passages."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "test.jsonl"
        rows = ({"query": query, "pos": [judged_set.passages[place] for place in places]} for query, places in judged_set.relevant.items())
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        return read_inputs(file, judged_set.passages).corpus


def halves(judged_set: JudgedSet) -> tuple[JudgedSet, JudgedSet]:
    """Return the set with one half of the queries, and with the other."""
    queries = sorted(judged_set.relevant)
    order = np.random.default_rng(0).permutation(len(queries)).tolist()
    first, second = ({queries[place]: judged_set.relevant[queries[place]] for place in order[part::2]} for part in (0, 1))
    return dataclasses.replace(judged_set, relevant=first), dataclasses.replace(judged_set, relevant=second)


def rows_of(corpus: Corpus, selection: Selection) -> list[list[str]]:
    """Return for each positive of each query a row: the query, the positive, and the query's negatives."""
    return [
        [text, *(corpus.passages[place] for place in (positive, *selection.negatives[query].tolist()))]
        for query, text in enumerate(corpus.queries)
        for positive in corpus.positives(query).tolist()
    ]


def key_of(rows: list[list[str]], test: Corpus, recipe: Recipe, seed: int, device: str) -> str:
    """Return a name for a run: a hash of all that its figures depend on, but for the machine."""
    relevant = [test.positive_starts.tolist(), test.positive_ids.tolist()]
    packages = [version(package) for package in ("torch", "sentence-transformers", "transformers")]
    parts = [rows, list(test.queries), list(test.passages), relevant, msgspec.to_builtins(recipe), seed, device, packages]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def once(file: Path, work: Callable[[], Floats]) -> Run:
    """Return the run that is kept in a file; it is done if there is none."""
    if not file.is_file():
        began = time.process_time()
        figures = work().tolist()
        temporary = file.with_suffix(".part")
        temporary.write_bytes(msgspec.json.encode(Run(seconds=time.process_time() - began, figures=figures)))
        os.replace(temporary, file)
    return msgspec.json.decode(file.read_bytes(), type=Run)


def means(figures: Floats, seed: int) -> Floats:
    """Return the mean of figures (seeds, q, measures) and of RESAMPLED resamples of both seeds and queries: (1 + RESAMPLED, measures).

    A seed resamples all ways of a set alike, so the differences of two ways' means are paired.
    """
    rng = np.random.default_rng(seed)
    seeds, queries = (rng.multinomial(count, np.full(count, 1 / count), RESAMPLED) / count for count in figures.shape[:2])
    resampled = np.einsum("bqm,bq->bm", np.tensordot(seeds, figures, axes=1), queries)
    return np.concatenate([figures.mean(axis=(0, 1))[None], resampled])


def table(figures: dict[str, dict[str, list[Floats]]], negatives: dict[str, dict[str, list[Floats]]]) -> list[dict[str, Any]]:
    """Return a line for each set, measure and way, in per cent and points of it; the set "mean" weighs all sets alike.

    Args:
        figures: by set, way and seed, (q, measures).
        negatives: by set, way and seed: false-negative rate, similarity, positives a query; NaN without negatives.
    """
    found: dict[str, dict[str, Floats]] = {}
    for seed, (name, by_way) in enumerate(figures.items()):
        found[name] = {way: 100 * means(np.array(each), seed) for way, each in by_way.items()}
    about = {name: {way: np.mean(each, axis=0) for way, each in by_way.items()} for name, by_way in negatives.items()}
    if len(found) > 1:
        for by_set in (found, about):
            each_way = next(iter(by_set.values()))
            by_set["mean"] = {way: np.mean([by_way[way] for by_way in by_set.values()], axis=0) for way in each_way}
    rows = []
    for name, means_of in found.items():
        for number, measure in enumerate(MEASURES):
            for way, each in means_of.items():
                false, similarity, positives = (None if np.isnan(value) else float(value) for value in about[name][way])
                row: dict[str, Any] = {"set": name, "measure": measure, "negatives": way}
                row |= {"false %": None if false is None else 100 * false, "similarity": similarity, "positives": positives}
                row["%"] = with_interval(each[:, number])
                for other in REFERENCES:
                    if way != other and other in means_of:
                        row[f"less {other}"] = with_interval(each[:, number] - means_of[other][:, number], "+")
                rows.append(row)
    return rows


def with_interval(values: Floats, sign: str = "") -> str:
    """Return the first value, with the 95 % interval of the others."""
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return f"{values[0]:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def measured(
    judged_set: JudgedSet, model: SplitModel, by_name: dict[str, Way], turn: Callable[[JudgedSet], Turn], run: Callable[..., Run]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield for each way and for the untrained model the figures of all queries, (q, measures), and about its negatives, as in `table`.

    Args:
        turn: ranks a half.
        run: judges on a corpus what rows train.
    """
    parts: dict[str, list[list[list[float]]]] = {}
    about: dict[str, list[list[float]]] = {}
    for train, test in (halves(judged_set), halves(judged_set)[::-1]):
        mined, judges = turn(train), corpus_of(test)
        parts.setdefault(UNTRAINED, []).append(run(model, [], judges).figures)
        about[UNTRAINED] = [[np.nan] * 3]
        for name, way in by_name.items():
            corpus, selection = way(mined)
            if (selection.negatives < 0).any():
                sys.exit(f"{judged_set.name} has too few passages for the negatives of {name}; take fewer with --negatives")
            rows = rows_of(corpus, selection)
            parts.setdefault(name, []).append(run(model, rows, judges).figures)
            about.setdefault(name, []).append([float(mined.false(selection).mean()), hardness(selection), len(rows) / len(corpus.queries)])
    for name, both in parts.items():
        yield name, np.concatenate(both), np.mean(about[name], axis=0)


def trained(kept: Path, recipe: Recipe, seed: int, device: str, model: SplitModel, rows: list[list[str]], test: Corpus) -> Run:
    """Train on rows, if there are any, and judge; a run that is kept is not repeated."""

    def work() -> Floats:
        model.restore()
        if rows:
            finetune(model, rows, recipe, seed)
        return judged(test, model)

    return once(kept / f"{key_of(rows, test, recipe, seed if rows else 0, device)}.json", work)


def main() -> None:
    """Do every run that is not done yet, and print the table after each seed."""
    given = arguments(
        __doc__,
        data=DATA,
        sets="clinc150-300,banking77-300,cranfield",
        store=OUT / "vectors",
        seeds=5,
        layers=1,
        length=64,
        steps=20,
        batch=16,
        negatives=4,
        rate=3e-4,
        only="",
        device="cpu",
    )
    if given.quick:
        given.seeds, given.batch, given.length = 2, 2, 16
    recipe = Recipe(**{name: getattr(given, name) for name in Recipe.__struct_fields__})
    known = list(ways(recipe.negatives, default_fn_model()))
    wanted = [name for name in known if any(word.strip() in name for word in given.only.split(","))]
    if not wanted:
        sys.exit(f"--only {given.only} is in no name; the ways are {', '.join(known)}")
    sets, encoder, store = opened(given, [made_up(20, 100), made_up(16, 100, name="made up, small")])
    fn_models = {each.name: default_fn_model() for each in sets}
    if any(BALANCED in name for name in wanted):
        fn_models = unseen({each.name: [] for each in sets}, given.data, encoder, store)
    kept = emptied(OUT / "training_gain-quick") if given.quick else OUT / "training_gain"
    kept.mkdir(parents=True, exist_ok=True)
    models = {each.name: SplitModel([*each.relevant, *each.passages], recipe, given.device) for each in sets}
    facts = msgspec.to_builtins(recipe) | {
        "device": given.device,
        "sets": ", ".join(f"{each.name} {len(each.relevant)} queries, {len(each.passages):,} passages" for each in sets),
        "intervals": f"{RESAMPLED:,} resamples of seeds and queries",
    }

    figures: dict[str, dict[str, list[Floats]]] = {each.name: {} for each in sets}
    negatives: dict[str, dict[str, list[Floats]]] = {each.name: {} for each in sets}
    for seed in range(1, given.seeds + 1):
        for each in sets:
            by_name = {name: way for name, way in ways(recipe.negatives, fn_models[each.name]).items() if name in wanted}
            ranked = partial(turn_of, seed=seed, encoder=encoder, store=store, depth=ALL)
            run = partial(trained, kept, recipe, seed, given.device)
            for name, found, about in measured(each, models[each.name], by_name, ranked, run):
                figures[each.name].setdefault(name, []).append(found)
                negatives[each.name].setdefault(name, []).append(about)
        report("training_gain", table(figures, negatives), facts | {"seeds": seed})


if __name__ == "__main__":
    main()
