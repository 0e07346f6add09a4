"""Rate of false negatives and hardness by window, strategy and filter, on sets with relevance judgements.

Of each query's relevant passages one is visible as its positive, the others are hidden; a mined hidden passage is a false
negative. The rate is reported with the hardness (mean similarity to the queries), because easier negatives are always right.
Every setting is mined three times, with another positive and seed; intervals are a bootstrap over the queries with their
three turns. The last table measures reviewing by order: the qrels give so many verdicts a query on chosen negatives, and the
set is mined again with them. The weights of the estimate were never fitted on the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.fit_fn_model import unseen
from benchmarks.judged import made_up
from benchmarks.measure import DATA, OUT, arguments, report
from benchmarks.turns import SEEDS, SETS, Turn, opened, turns_of
from hnmine.analysis.fn_estimates import fn_probabilities
from hnmine.selection.fn_model import FNEstimator, FNModel, refit
from hnmine.selection.positive_score import ratio_to_positive
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

Floats = npt.NDArray[np.float64]


RESAMPLED = 2_000
NUMBERS = (5, 15)
STARTS, ENDS = (0, 5, 10, 20, 50), (100, 210, 500)
FILTERS: tuple[dict[str, float], ...] = (
    *({"max_positive_ratio": ratio} for ratio in (0.95, 0.9, 0.8)),
    *({"margin": margin} for margin in (0.05, 0.1)),
    *({"max_score": score} for score in (0.7, 0.6, 0.5)),
)
# Ranks in which the relevant passages are counted.
BANDS = (0, 5, 10, 20, 50, 100, 210, 500)
# Verdicts per query, and the orders of review.
VERDICTS = (0.5, 1.0, 2.0)
ORDERS = ("at random", "ratio to the positive", "highest probability first")
REVIEWED = (
    with_preset(RECOMMENDED, SelectionSettings()),
    SelectionSettings(window_start=0, strategy="hardest", max_positive_ratio=0.95),
    SelectionSettings(strategy="hardest"),
    SelectionSettings(),
)


@dataclass
class Tally:
    """Counts for each query, added up over the turns."""

    false: Floats
    chosen: Floats
    similarity: Floats
    random_filled: Floats
    short: Floats
    verdicts: list[bool] = field(default_factory=list)

    def rates(self, weights: Floats) -> Floats:
        """Return the rate of false negatives in each resample of the queries, (r,)."""
        return (weights @ self.false) / np.maximum(weights @ self.chosen, 1)


def tally(turns: list[Turn], settings: SelectionSettings, model: FNModel, *, verdicts: float = 0.0, order: str = "") -> Tally:
    """Choose negatives in every turn, after a review of so many verdicts a query, and count; `model` is the estimate."""
    count = len(turns[0].corpus.queries)
    found = Tally(*(np.zeros(count) for _ in range(5)))
    for turn in turns:
        settings = msgspec.structs.replace(settings, seed=turn.seed)
        selection = select(turn.corpus, turn.ranking, settings, None, model)
        if verdicts:
            selection, given = reviewed(turn, selection, model, round(verdicts * count), order)
            found.verdicts += given
        found.false += turn.false(selection).sum(axis=1)
        found.chosen += (selection.negatives >= 0).sum(axis=1)
        found.similarity += np.nansum(selection.scores, axis=1, dtype=np.float64)
        found.random_filled += selection.random_filled.sum(axis=1)
        found.short += selection.short
    return found


def risk(turn: Turn, selection: Selection, model: FNModel, order: str) -> npt.NDArray[np.floating]:
    """Return the review priority of each of the (q, N) chosen negatives."""
    if order == "at random":
        return np.random.default_rng(turn.seed).random(selection.scores.shape)
    if order == "ratio to the positive":
        return ratio_to_positive(selection.scores, selection.positive[:, None])
    found = fn_probabilities(FNEstimator(turn.corpus, turn.ranking, model), selection)
    return np.where(np.isnan(found), 0, found)  # random fill: last


def reviewed(turn: Turn, selection: Selection, model: FNModel, verdicts: int, order: str) -> tuple[Selection, list[bool]]:
    """Review so many of the chosen negatives by the qrels; return the selection after that, and which were false."""
    rows, places = np.nonzero(selection.negatives >= 0)
    first = np.argsort(-risk(turn, selection, model, order)[rows, places], kind="stable")[:verdicts]
    rows, places = rows[first], places[first]
    false = turn.false(selection)[rows, places].tolist()
    corpus, verdict_pairs = turn.corpus, turn.verdicts(rows, selection.negatives[rows, places])
    amended, ranking = apply_promotions(corpus, turn.ranking, verdict_pairs)
    return select(amended, ranking, selection.settings, verdict_pairs, refit(corpus, turn.ranking, verdict_pairs, model)), false


def cases() -> Iterator[SelectionSettings]:
    """Yield the settings: windows at random and hardest first, and each filter on three of them."""
    for number in NUMBERS:
        for end in ENDS:
            for start in STARTS:
                yield SelectionSettings(window_start=start, window_end=end, negative_number=number)
        for start in STARTS:  # where the window ends makes no difference to the hardest
            yield SelectionSettings(window_start=start, negative_number=number, strategy="hardest")
        for filter_ in FILTERS:
            yield SelectionSettings(window_start=0, negative_number=number, strategy="hardest", **filter_)
            yield SelectionSettings(window_start=10, negative_number=number, strategy="hardest", **filter_)
            yield SelectionSettings(negative_number=number, **filter_)


def by_rank(turns: list[Turn]) -> dict[str, float]:
    """Return how many per cent of the candidates in each band of ranks are judged relevant, the visible positive left out."""
    found = []
    for turn in turns:
        corpus, ids = turn.corpus, turn.ranking.ids
        pairs = np.arange(len(ids))[:, None] * len(corpus.passages) + ids
        visible = np.isin(pairs, corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids)
        relevant = np.isin(pairs, turn.relevant) & ~visible
        found.append([relevant[:, low:high].sum() / (~visible[:, low:high]).sum() for low, high in pairwise(BANDS)])
    return {f"{low}-{high} %": 100 * float(share) for (low, high), share in zip(pairwise(BANDS), np.mean(found, axis=0), strict=True)}


def named(settings: SelectionSettings) -> dict[str, Any]:
    """Return the cells of the settings."""
    filter_ = next((f"{name} {getattr(settings, name):g}" for each in FILTERS for name in each if getattr(settings, name) is not None), "")
    if settings.max_fn_rate is not None:
        filter_ = f"max_fn_rate {settings.max_fn_rate:g}"
    window = f"{settings.window_start}-{settings.window_end}"
    return {"choose": settings.strategy, "window": window, "filter": filter_, "negatives": settings.negative_number}


def line(tallies: list[Tally], weights: list[Floats]) -> dict[str, Any]:
    """Return the cells of one setting: of a set, or the mean over sets (each counts the same)."""
    rates = np.mean([each.rates(part) for each, part in zip(tallies, weights, strict=True)], axis=0)
    low, high = np.percentile(rates, (2.5, 97.5))
    if not any(each.false.sum() for each in tallies):  # a bootstrap of zeros has no width: Wilson's bound
        high = 3.84 / (3.84 + sum(each.chosen.sum() for each in tallies) / len(SEEDS))
    totals = [each.chosen.sum() for each in tallies]

    def mean(values: list[Floats]) -> float:
        return float(np.mean([value.sum() / max(1, total) for value, total in zip(values, totals, strict=True)]))

    return {
        "false %": 100 * mean([each.false for each in tallies]),
        "from": 100 * float(low),
        "to": 100 * float(high),
        "similarity": round(mean([each.similarity for each in tallies]), 3),
        "random filled %": 100 * mean([each.random_filled for each in tallies]),
        "short %": 100 * float(np.mean([each.short.mean() / len(SEEDS) for each in tallies])),
    }


def main() -> None:
    """Measure every set, then print the means."""
    given = arguments(__doc__, data=DATA, sets=",".join(SETS), store=OUT / "vectors")
    sets, encoder, store = opened(given, [made_up()])
    settings = list(cases())
    plans = [(0.0, "none"), *((verdicts, order) for order in ORDERS for verdicts in VERDICTS)]
    reviews = [(each, *plan) for each in REVIEWED for plan in plans]
    weights, counted, after, ranks = [], [], [], []
    every = {judged.name: turns_of(judged, encoder, store) for judged in sets}
    models = unseen(every, given.data, encoder, store)
    for judged in sets:
        turns, model = every[judged.name], models[judged.name]
        count = len(turns[0].corpus.queries)
        weights.append(np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLED).astype(np.float64))
        counted.append([tally(turns, each, model) for each in settings])
        ranks.append({"set": judged.name} | by_rank(turns))
        after.append([tally(turns, each, model, verdicts=verdicts, order=order) for each, verdicts, order in reviews])
        relevant = len(turns[0].relevant) / count
        facts = {"queries": count, "passages": len(turns[0].corpus.passages), "relevant a query": relevant, "turns": len(SEEDS)}
        rows = [named(each) | line([found], weights[-1:]) for each, found in zip(settings, counted[-1], strict=True)]
        report(f"windows-{judged.name.replace(' ', '-')}", rows, facts)
    facts = {"sets": ", ".join(judged.name for judged in sets), "turns": len(SEEDS), "model": encoder.describe().get("name")}
    rows = [named(each) | line([found[number] for found in counted], weights) for number, each in enumerate(settings)]
    report("windows", rows, facts)
    report("windows-ranks", ranks, {"judged relevant among the passages at ranks": "visible positives left out"})
    rows = []
    for number, (each, verdicts, order) in enumerate(reviews):
        part = [found[number] for found in after]
        hits = 100 * float(np.mean([np.mean(found.verdicts) for found in part])) if verdicts else None
        rows.append(named(each) | {"order": order, "verdicts a query": verdicts, "of them false %": hits} | line(part, weights))
    report("windows-review", rows, facts)


if __name__ == "__main__":
    main()
