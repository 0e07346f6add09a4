"""False negatives against hardness for each method: hnmine, top-k, windows, margins, and sentence-transformers' PercPos.

Of each query's relevant passages one is visible as its positive, the others are hidden (`turns`). The rate of chosen negatives
that are relevant is reported with their mean similarity to the query. The weights were never fitted on the set. Tables:
"curves" (5 and 15 negatives), "at PercPos's hardness" (`max_fn_rate` set to the hardness of `mine_hard_negatives`, no labels used,
on queries for which PercPos finds all negatives), "filled" (all queries, gaps filled at random), "hn_mine" (window 10-210 at
random) and "verdicts" (the qrels review the negatives with the highest probability, and the model is refitted).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.fit_fn_model import calibration, examples_of, probabilities, unseen
from benchmarks.judged import made_up
from benchmarks.measure import DATA, OUT, arguments, report
from benchmarks.turns import SETS, Turn, opened, turns_of
from hnmine.analysis.fn_estimates import fn_probabilities, fn_rate
from hnmine.selection.fn_model import FNEstimator, FNModel, FNRate, refit
from hnmine.selection.presets import PRESETS, RECOMMENDED, with_preset
from hnmine.selection.promotions import apply_promotions
from hnmine.selection.select import Selection, select
from hnmine.selection.settings import SelectionSettings

Ids = npt.NDArray[np.int32]
Point = tuple[float, float, float]

NUMBERS = (5, 15)
RATIOS = (0.95, 0.9, 0.8)
CURVE = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
RATES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
# Candidates per query for all methods.
CANDIDATES = 300
# The rate of preset balanced.
DIAL = PRESETS[RECOMMENDED].fields["max_fn_rate"]
REVIEWED = 150
# Random verdicts, and how often they are drawn.
RANDOM, DRAWS = 60, 5
FIELDS = ("estimate", "low", "high")
# The reviewed negatives as a multiple of the wanted ones: the chosen ones, or also the next ones.
REVIEWED_OF = (1, 4)


class Vectors:
    """The vectors of a turn with the interface of a sentence-transformers model."""

    def __init__(self, turn: Turn) -> None:
        import torch

        self._turn, self._torch, self.device = turn, torch, "cpu"
        self._passages = {text: place for place, text in enumerate(turn.corpus.passages)}
        self._queries = {text: place for place, text in enumerate(turn.corpus.queries)}

    def encode_document(self, texts: Sequence[str], **_: Any) -> npt.NDArray[np.float32]:
        """Return the vectors of passages, (n, d) float32."""
        return np.asarray(self._turn.ranking.passage_vectors[[self._passages[text] for text in texts]], dtype=np.float32)

    def encode_query(self, texts: Sequence[str], **_: Any) -> npt.NDArray[np.float32]:
        """Return the vectors of queries, (q, d) float32."""
        return np.asarray(self._turn.ranking.query_vectors[[self._queries[text] for text in texts]], dtype=np.float32)

    def similarity(self, left: Any, right: Any) -> Any:
        """Return all inner products."""
        return self._torch.as_tensor(left) @ self._torch.as_tensor(right).T

    def similarity_pairwise(self, left: Any, right: Any) -> Any:
        """Return the inner products of pairs."""
        return (self._torch.as_tensor(left) * self._torch.as_tensor(right)).sum(dim=1)


def sentence_transformers(turn: Turn, number: int, **options: Any) -> Ids:
    """Mine with the installed sentence-transformers: (q, number) passage ids, -1 behind the last."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    corpus = turn.corpus
    positives = [corpus.passages[place] for place in corpus.positive_ids.tolist()]
    data = Dataset.from_dict({"anchor": list(corpus.queries), "positive": positives})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        rows = mine_hard_negatives(
            data,
            Vectors(turn),  # type: ignore[arg-type]  # it has the methods that are used
            corpus=list(corpus.passages),
            num_negatives=number,
            range_max=min(CANDIDATES, len(corpus.passages) - 1),
            verbose=False,
            **options,
        )
    queries = {text: place for place, text in enumerate(corpus.queries)}
    passages = {text: place for place, text in enumerate(corpus.passages)}
    found = np.full((len(queries), number), -1, np.int32)
    counts = np.zeros(len(queries), np.int64)
    for anchor, negative in zip(rows["anchor"], rows["negative"], strict=True):
        query = queries[anchor]
        if passages[negative] != corpus.query_passages[query]:  # it may return the query's own text, which is not counted
            found[query, counts[query]] = passages[negative]
            counts[query] += 1
    return found


def measured(turn: Turn, negatives: Ids, queries: npt.NDArray[np.bool_] | None = None) -> Point:
    """Return the rate of false negatives, their mean similarity, and how many a query there are, over some queries."""
    held = negatives >= 0
    if queries is not None:
        held &= queries[:, None]
    rows, places = np.nonzero(held)
    ids = negatives[rows, places]
    if not len(ids):
        return 0.0, 0.0, 0.0
    false = np.isin(rows * len(turn.corpus.passages) + ids, turn.relevant)
    scores = turn.ranking.score_pairs(rows.astype(np.int32), ids)
    counted = len(negatives) if queries is None else max(1, int(queries.sum()))
    return float(false.mean()), float(scores.mean(dtype=np.float64)), len(ids) / counted


def ours(number: int, rate: float) -> SelectionSettings:
    """Return the recommended preset with `max_fn_rate` set to `rate`."""
    settings = with_preset(RECOMMENDED, SelectionSettings(negative_number=number))
    return msgspec.structs.replace(settings, window_end=CANDIDATES, max_fn_rate=rate)


def at_hardness(choose: Callable[[float], Selection], hardness: Callable[[Selection], float], wanted: float) -> tuple[Selection, float]:
    """Return the selection of the lowest rate whose hardness is at least `wanted`, and that rate."""
    low, high = np.log(1e-6), 0.0
    for _ in range(18):
        middle = (low + high) / 2
        if hardness(choose(float(np.exp(middle)))) >= wanted:
            high = middle
        else:
            low = middle
    rate = float(np.exp(high))
    return choose(rate), rate


def curves(turns: list[Turn], model: FNModel, number: int) -> Iterator[tuple[str, str, list[Point]]]:
    """Yield each method, its setting, and its points, one per turn."""

    def of(settings: SelectionSettings) -> list[Point]:
        return [
            measured(turn, select(turn.corpus, turn.ranking, msgspec.structs.replace(settings, seed=turn.seed), None, model).negatives)
            for turn in turns
        ]

    base = SelectionSettings(negative_number=number)
    yield "top-k", "", of(msgspec.structs.replace(base, window_start=0, strategy="hardest"))
    for start, end in ((0, 100), (10, 100), (10, 210), (50, 210), (100, 300)):
        yield "hn_mine", f"{start}-{end}", of(msgspec.structs.replace(base, window_start=start, window_end=end))
    for ratio in CURVE:
        yield (
            "PercPos (sentence-transformers)",
            f"{ratio:g}",
            [measured(turn, sentence_transformers(turn, number, relative_margin=1 - ratio)) for turn in turns],
        )
    for margin in (0.0, 0.05, 0.1, 0.2):
        yield (
            "margin (sentence-transformers)",
            f"{margin:g}",
            [measured(turn, sentence_transformers(turn, number, absolute_margin=margin)) for turn in turns],
        )
    for rate in RATES:
        yield "ours", f"{rate:g}", of(ours(number, rate))


def against_percpos(turn: Turn, model: FNModel, number: int, ratio: float) -> dict[str, float] | None:
    """Compare one turn at PercPos's hardness, on the queries for which it finds all its negatives."""
    theirs = sentence_transformers(turn, number, relative_margin=1 - ratio)
    queries = (theirs >= 0).all(axis=1)
    if not queries.any():
        return None
    false, hardness, _ = measured(turn, theirs, queries)
    chosen, rate = at_hardness(
        lambda rate: select(turn.corpus, turn.ranking, ours(number, rate), None, model),
        lambda selection: measured(turn, selection.negatives, queries)[1],
        hardness,
    )
    mine, hard, _ = measured(turn, chosen.negatives, queries)
    filled = select(
        turn.corpus,
        turn.ranking,
        SelectionSettings(window_start=0, window_end=CANDIDATES, negative_number=number, strategy="hardest", max_positive_ratio=ratio),
    )
    whole_false, whole, _ = measured(turn, filled.negatives)
    again, _ = at_hardness(
        lambda rate: select(turn.corpus, turn.ranking, ours(number, rate), None, model),
        lambda selection: measured(turn, selection.negatives)[1],
        whole,
    )
    return {
        "theirs": false,
        "ours": mine,
        "hardness": hardness,
        "our hardness": hard,
        "queries": float(queries.mean()),
        "rate": rate,
        "filled theirs": whole_false,
        "filled ours": measured(turn, again.negatives)[0],
        "filled hardness": whole,
    }


def against_hn_mine(turn: Turn, model: FNModel, number: int) -> dict[str, float]:
    """Compare one turn with hn_mine.py's window, 10-210 at random, at its hardness."""
    theirs = select(turn.corpus, turn.ranking, SelectionSettings(negative_number=number, seed=turn.seed))
    false, hardness, _ = measured(turn, theirs.negatives)
    chosen, _ = at_hardness(
        lambda rate: select(turn.corpus, turn.ranking, ours(number, rate), None, model),
        lambda selection: measured(turn, selection.negatives)[1],
        hardness,
    )
    mine, hard, _ = measured(turn, chosen.negatives)
    return {"hn_mine": false, "ours": mine, "hardness": hardness, "our hardness": hard}


def with_verdicts(turn: Turn, model: FNModel, number: int, ratio: float, times: int) -> dict[str, float]:
    """Review, by the qrels, the REVIEWED chosen negatives with the highest probability, for `times` the negatives.

    Returned are the rates at the hardness of before:

    "verdicts": applied, with the estimate as before; "refit": the estimate is fitted to them, and removed passages may return;
    "both": as the product does it, with added positives.
    """
    theirs = sentence_transformers(turn, number, relative_margin=1 - ratio)
    corpus, ranking = turn.corpus, turn.ranking
    wanted = measured(turn, theirs)[1]

    def hard(selection: Selection) -> float:
        return measured(turn, selection.negatives)[1]

    before, rate = at_hardness(lambda rate: select(corpus, ranking, ours(number, rate), None, model), hard, wanted)
    chosen = select(corpus, ranking, ours(times * number, rate), None, model)
    shown, probability = chosen.negatives, fn_probabilities(FNEstimator(corpus, ranking, model), chosen)
    rows, places = np.nonzero(np.isfinite(probability))
    first = np.argsort(-probability[rows, places], kind="stable")[:REVIEWED]
    rows, passages = rows[first], shown[rows[first], places[first]]
    wrong = np.isin(rows * len(corpus.passages) + passages, turn.relevant)
    verdict_pairs = turn.verdicts(rows, passages)
    taught = refit(corpus, ranking, verdict_pairs, model)
    amended, amended_ranking = apply_promotions(corpus, ranking, verdict_pairs)
    results = {"before": before}
    unlearned = dataclasses.replace(
        amended_ranking, signals=ranking.signals
    )  # similarities are still those to the positives before the review
    results["verdicts"], _ = at_hardness(lambda rate: select(amended, unlearned, ours(number, rate), verdict_pairs, model), hard, wanted)
    results["refit"], _ = at_hardness(lambda rate: select(corpus, ranking, ours(number, rate), None, taught), hard, wanted)
    results["both"], _ = at_hardness(lambda rate: select(amended, amended_ranking, ours(number, rate), verdict_pairs, taught), hard, wanted)
    return {name: measured(turn, selection.negatives)[0] for name, selection in results.items()} | {"of them false": float(wrong.mean())}


def after(turn: Turn, model: FNModel, queries: Ids, passages: Ids) -> tuple[FNModel, FNEstimator, Selection]:
    """Return model, estimator and preset balanced once the qrels reviewed some pairs, as the product does it."""
    verdict_pairs = turn.verdicts(queries, passages)
    taught = refit(turn.corpus, turn.ranking, verdict_pairs, model)
    corpus, ranking = apply_promotions(turn.corpus, turn.ranking, verdict_pairs)
    estimator = FNEstimator(corpus, ranking, taught)
    return taught, estimator, select(corpus, ranking, ours(NUMBERS[0], DIAL), verdict_pairs, taught)


def calibrated(turn: Turn, model: FNModel) -> dict[str, float]:
    """Return estimated and true rates of preset balanced, before and after verdicts."""

    def line(name: str, estimator: FNEstimator, selection: Selection) -> dict[str, float]:
        rate = fn_rate(estimator, selection) or FNRate(estimate=0.0, low=0.0, high=0.0)
        return {f"{name}: true": measured(turn, selection.negatives)[0]} | {f"{name}: {key}": getattr(rate, key) for key in FIELDS}

    estimator = FNEstimator(turn.corpus, turn.ranking, model)
    selection = select(turn.corpus, turn.ranking, ours(NUMBERS[0], DIAL), None, model)
    probability = fn_probabilities(estimator, selection)
    rows, places = np.nonzero(np.isfinite(probability))
    passages = selection.negatives[rows, places]

    found = line("before", estimator, selection) | {"hardness": measured(turn, selection.negatives)[1]}
    draws = []
    for draw in range(DRAWS):
        some = np.random.default_rng([turn.seed, draw]).permutation(len(rows))[:RANDOM]
        taught, again, chosen = after(turn, model, rows[some].astype(np.int32), passages[some])
        same = line(f"{RANDOM} random", FNEstimator(turn.corpus, turn.ranking, taught), selection)
        draws.append(same | line(f"{RANDOM} random, chosen again", again, chosen))
    found |= {key: float(np.mean([each[key] for each in draws])) for key in draws[0]}
    some = np.argsort(-probability[rows, places], kind="stable")[:REVIEWED]
    _, again, chosen = after(turn, model, rows[some].astype(np.int32), passages[some])
    return found | line(f"{REVIEWED} suspicious, chosen again", again, chosen)


def main() -> None:
    """Measure every set with weights from the others, then print the means."""
    given = arguments(__doc__, data=DATA, sets=",".join(SETS), store=OUT / "vectors", only=",".join(TABLES))
    judged, encoder, store = opened(given, [made_up(), made_up(20, 400, name="made up, small")])
    turns = {each.name: turns_of(each, encoder, store) for each in judged}
    models = unseen(turns, given.data, encoder, store)
    numbers, ratios = (NUMBERS[:1], RATIOS[:1]) if given.quick else (NUMBERS, RATIOS)
    facts: dict[str, Any] = {"sets": ", ".join(turns), "weights": "never fitted on the set", "candidates a query": CANDIDATES}
    for name in given.only.split(","):
        TABLES[name](turns, models, numbers, ratios, facts)


Turns = dict[str, list[Turn]]
Models = dict[str, FNModel]


def _curves(turns: Turns, models: Models, numbers: Sequence[int], ratios: Sequence[float], facts: dict[str, Any]) -> None:
    points: list[dict[str, Any]] = []
    for number in numbers:
        for name, each in turns.items():
            for method, dial, found in curves(each, models[name], number):
                false, hardness, count = np.mean(found, axis=0).tolist()
                points.append({"set": name, "negatives": number, "method": method, "dial": dial, "false %": 100 * false,
                               "similarity": round(hardness, 3), "found a query": count})  # fmt: skip
    report("quality-curves", points, facts)


def _percpos(turns: Turns, models: Models, numbers: Sequence[int], ratios: Sequence[float], facts: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = []
    for number in numbers:
        for name, each in turns.items():
            for ratio in ratios:
                found = [line for turn in each if (line := against_percpos(turn, models[name], number, ratio)) is not None]
                mean = {key: float(np.mean([line[key] for line in found])) for key in found[0]} if found else {}
                rows.append({"set": name, "negatives": number, "PercPos": ratio, **_percentages(mean)})
    report("quality", rows, facts | _means(rows))


def _hn_mine(turns: Turns, models: Models, numbers: Sequence[int], ratios: Sequence[float], facts: dict[str, Any]) -> None:
    rows = []
    for number in numbers:
        for name, each in turns.items():
            found = [against_hn_mine(turn, models[name], number) for turn in each]
            mean = {key: float(np.mean([line[key] for line in found])) for key in found[0]}
            rows.append({"set": name, "negatives": number, "hn_mine false %": 100 * mean["hn_mine"], "ours false %": 100 * mean["ours"],
                         "hardness": round(mean["hardness"], 3), "our hardness": round(mean["our hardness"], 3)})  # fmt: skip
    report("quality-hn-mine", rows, facts)


def _verdicts(turns: Turns, models: Models, numbers: Sequence[int], ratios: Sequence[float], facts: dict[str, Any]) -> None:
    facts = dict(facts)
    rows: list[dict[str, Any]] = []
    for times in REVIEWED_OF:
        for name, each in turns.items():
            for ratio in ratios:
                found = [with_verdicts(turn, models[name], NUMBERS[0], ratio, times) for turn in each]
                mean = {key: float(np.mean([line[key] for line in found])) for key in found[0]}
                rows.append(
                    {"set": name, "PercPos": ratio, "reviewed of": f"{times} x"} | {f"{key} %": 100 * value for key, value in mean.items()}
                )
        kept = [row for row in rows if row["before %"] > 0 and row["reviewed of"] == f"{times} x"]
        for key in ("verdicts", "refit", "both"):
            if kept:
                facts[f"{times} x: mean of {key} / before"] = float(np.mean([row[f"{key} %"] / row["before %"] for row in kept]))
        if kept := [row for row in kept if row["verdicts %"] > 0]:
            facts[f"{times} x: mean of both / verdicts"] = float(np.mean([row["both %"] / row["verdicts %"] for row in kept]))
    report("quality-verdicts", rows, facts | {"verdicts a turn": REVIEWED})


def _calibration(turns: Turns, models: Models, numbers: Sequence[int], ratios: Sequence[float], facts: dict[str, Any]) -> None:
    rows = []
    for name, each in turns.items():
        found = [calibrated(turn, models[name]) for turn in each]
        mean = {key: float(np.mean([line[key] for line in found])) for key in found[0]}
        candidates = examples_of(name, each)
        _, error = calibration(probabilities(models[name], candidates.features), candidates.relevant, candidates.counts)
        hardness = mean.pop("hardness")
        rows.append({"set": name, "hardness": round(hardness, 3)} | {f"{key} %": 100 * value for key, value in mean.items()}
                    | {"ECE of all candidates, points": error})  # fmt: skip
    inside = [row["before: low %"] <= row["before: true %"] <= row["before: high %"] for row in rows]
    below = [row["before: true %"] <= row["before: high %"] for row in rows]
    report("quality-calibration", rows, facts | {
        "true rate in the range before verdicts": f"{sum(inside)} of {len(rows)} sets; at most its high end: {sum(below)}",
        "highest true rate before verdicts, %": max(row["before: true %"] for row in rows),
    })  # fmt: skip


TABLES = {"curves": _curves, "percpos": _percpos, "hn_mine": _hn_mine, "verdicts": _verdicts, "calibration": _calibration}


def _percentages(mean: dict[str, float]) -> dict[str, Any]:
    if not mean:
        return {}
    return {
        "PercPos false %": 100 * mean["theirs"],
        "ours false %": 100 * mean["ours"],
        "ratio": mean["ours"] / mean["theirs"] if mean["theirs"] else None,
        "hardness": round(mean["hardness"], 3),
        "our hardness": round(mean["our hardness"], 3),
        "queries %": 100 * mean["queries"],
        "our dial": mean["rate"],
        "filled: PercPos %": 100 * mean["filled theirs"],
        "filled: ours %": 100 * mean["filled ours"],
        "filled ratio": mean["filled ours"] / mean["filled theirs"] if mean["filled theirs"] else None,
        "filled hardness": round(mean["filled hardness"], 3),
    }


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    found = {}
    for number in NUMBERS:
        for column in ("ratio", "filled ratio"):
            ratios = [row[column] for row in rows if row["negatives"] == number and row.get(column) is not None]
            if ratios:
                found[f"mean {column}, {number} negatives"] = float(np.mean(ratios))
                found[f"highest {column}, {number} negatives"] = max(ratios)
    return found


if __name__ == "__main__":
    main()
