"""What a reranker and a second embedding model add to the estimated false-negative probability.

The judged sets form two groups; the models that score one group are trained on the other (`opinions`). The logistic fit is repeated
without each set in turn, with and without the scores. "ratio" is the rate of false negatives relative to TopK-PercPos at its
hardness, "AUC" is of hidden relevant passages among the candidates that the reranker scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.fit_fn_model import DEPTH
from benchmarks.judged import made_up
from benchmarks.measure import DATA, OUT, arguments, report
from benchmarks.opinions import RERANKER, SECOND, Floats, Opinion, Recipe, Set, opinions_of
from benchmarks.sets import emptied
from benchmarks.turns import opened, turns_of
from hnmine.selection.fn_model import FEATURES, FNEstimator, default_fn_model

# Every second one is in the same group: each has sets of several kinds.
SETS = ("cranfield", "npl", "medquad-liveqa", "scifact", "banking77-300", "medline", "cacm", "clinc150-300")
NEGATIVES, RATIOS = 5, (0.95, 0.9, 0.8)


@dataclass
class Candidates:
    """The first candidates of a turn's queries: features (q, k, f), the last two of the reranker and the second model, and what they are.

    Attributes:
        own: (q, k), positives and the query's own text, which are never negatives. relevant: (q, k), judged relevant. scores: (q, k).
        positive: (q,), the score of the visible positive. raw: (q, k) each, the scores of the reranker and the second model.
    """

    features: npt.NDArray[np.float64]
    own: npt.NDArray[np.bool_]
    relevant: npt.NDArray[np.bool_]
    scores: Floats
    positive: Floats
    raw: tuple[Floats, Floats]


def candidates_of(each: Set, opinions: dict[str, Opinion]) -> list[Candidates]:
    """Return the candidates of each turn."""
    found = []
    for number, turn in enumerate(each.turns):
        corpus, ids = turn.corpus, turn.ranking.ids[:, :DEPTH]
        pairs = np.arange(len(ids))[:, None] * len(corpus.passages) + ids
        own = np.isin(pairs, corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids)
        features = (
            FNEstimator(corpus, turn.ranking, default_fn_model()).features(*map(np.ravel, np.indices(ids.shape))).reshape(*ids.shape, -1)
        )
        others = [opinions[name].below_positive(number)[:, :DEPTH, None] for name in (RERANKER, SECOND)]
        found.append(
            Candidates(
                np.concatenate([features, *others], axis=2),
                own | (ids == corpus.query_passages[:, None]),
                np.isin(pairs, turn.relevant),
                turn.ranking.scores[:, :DEPTH],
                turn.ranking.positive_scores,
                (opinions[RERANKER].candidates[:, :DEPTH], opinions[SECOND].candidates[:, :DEPTH]),
            )
        )
    return found


def estimates(fitted: Sequence[list[Candidates]], turns: list[Candidates], columns: list[int]) -> list[Floats]:
    """Fit to some sets, all with the same weight, and return the estimated false-negative probability of each turn of another: (q, k).

    An unknown score counts as the mean. With a fit of its own for them the ratio is 0.44, not 0.41 (reranker, one turn of four sets).
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = [turn for each in fitted for turn in each]
    weights = np.concatenate([np.full((~turn.own).sum(), 1 / (~turn.own).sum()) for turn in known])
    weights *= len(weights) / weights.sum()
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1_000))
    model.fit(
        np.concatenate([turn.features[~turn.own][:, columns] for turn in known]),
        np.concatenate([turn.relevant[~turn.own] for turn in known]),
        standardscaler__sample_weight=weights,
        logisticregression__sample_weight=weights,
    )
    found = [model.predict_proba(turn.features[:, :, columns].reshape(-1, len(columns)))[:, 1] for turn in turns]
    return [each.reshape(turn.own.shape) for each, turn in zip(found, turns, strict=True)]


def picked(turn: Candidates, utility: Floats, allowed: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the ranks of the allowed candidates with the highest utility, (q, NEGATIVES), and whether there are so many."""
    ranks = np.argsort(-np.where(allowed, utility, -np.inf), axis=1, kind="stable")[:, :NEGATIVES]
    return ranks, np.take_along_axis(allowed, ranks, axis=1)


def against_percpos(turn: Candidates, probability: Floats, ratio: float) -> tuple[float, float] | None:
    """Return the false-negative rate of PercPos and that at its hardness, on the queries for which it finds all negatives."""
    theirs, there = picked(turn, turn.scores, ~turn.own & (turn.scores <= ratio * turn.positive[:, None]))
    queries = there.all(axis=1)
    if not queries.any():
        return None

    def mean(of: npt.NDArray[Any], ranks: npt.NDArray[np.int64]) -> float:
        return float(np.take_along_axis(of, ranks, axis=1)[queries].mean())

    def ours(price: float) -> npt.NDArray[np.int64]:
        return picked(turn, turn.scores - np.float32(10**price) * probability, ~turn.own)[0]

    wanted, low, high = mean(turn.scores, theirs), -6.0, 3.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(turn.scores, ours(middle)) >= wanted else (low, middle)
    return mean(turn.relevant, theirs), mean(turn.relevant, ours(low))


def ratio_to_percpos(turns: list[Candidates], probability: list[Floats]) -> float:
    """Return the rate of false negatives relative to PercPos's, at its hardness: the mean over RATIOS."""
    means = []
    for ratio in RATIOS:
        found = [each for turn, chance in zip(turns, probability, strict=True) if (each := against_percpos(turn, chance, ratio))]
        theirs, ours = np.mean(found, axis=0) if found else (0.0, 0.0)
        if theirs:
            means.append(float(ours / theirs))
    return float(np.mean(means)) if means else float("nan")


def auc(turns: list[Candidates], values: Sequence[Floats]) -> float:
    """Return how well values (q, k) tell hidden relevant passages, among the candidates that the reranker scored; the mean over turns."""
    from sklearn.metrics import roc_auc_score

    found = []
    for turn, each in zip(turns, values, strict=True):
        counted = ~turn.own & np.isfinite(turn.raw[0])
        found.append(roc_auc_score(turn.relevant[counted], each[counted]))
    return float(np.mean(found))


def measured(found: dict[str, list[Candidates]]) -> list[dict[str, Any]]:
    """Return a line for each set, estimated by fits on the others, and one of the means."""
    default = list(range(len(FEATURES)))
    reranker, second = len(FEATURES), len(FEATURES) + 1
    ways = {"": default, " + reranker": [*default, reranker], " + second": [*default, second], " + both": [*default, reranker, second]}
    rows = []
    for name, turns in found.items():
        others = [each for other, each in found.items() if other != name]
        ours = {way: estimates(others, turns, columns) for way, columns in ways.items()}
        alone = {"AUC similarity": [turn.scores for turn in turns]}
        alone |= {f"AUC {what}": [turn.raw[place] for turn in turns] for place, what in enumerate(("reranker", "second"))}
        rows.append(
            {"set": name}
            | {f"ratio{way}": ratio_to_percpos(turns, each) for way, each in ours.items()}
            | {what: auc(turns, values) for what, values in alone.items()}
            | {f"AUC estimate{way}": auc(turns, each) for way, each in ours.items()}
        )
    return [*rows, {"set": "mean"} | {column: float(np.nanmean([row[column] for row in rows])) for column in rows[0] if column != "set"}]


def main() -> None:
    """Train, score and measure."""
    recipe = Recipe(steps=160, second_steps=40, batch=32, length=96, depth=50)
    given = arguments(__doc__, data=DATA, sets=",".join(SETS), store=OUT / "vectors", kept=OUT / "opinions", **msgspec.to_builtins(recipe))
    judged, encoder, store = opened(given, [made_up(4, 80), made_up(4, 60, name="made up, small")])
    if given.quick:
        recipe, kept = Recipe(steps=2, second_steps=2, batch=2, length=32, depth=20), emptied(OUT / "opinions-quick")
    else:
        recipe, kept = msgspec.convert(vars(given), Recipe), given.kept
    kept.mkdir(parents=True, exist_ok=True)
    sets = [Set(each.name, turns_of(each, encoder, store)) for each in judged]
    opinions = opinions_of((sets[::2], sets[1::2]), kept, recipe, store)
    facts = msgspec.to_builtins(recipe) | {"features": ", ".join(FEATURES), "negatives": NEGATIVES, "PercPos": ", ".join(map(str, RATIOS))}
    report("second_opinion", measured({each.name: candidates_of(each, opinions[each.name]) for each in sets}), facts)


if __name__ == "__main__":
    main()
