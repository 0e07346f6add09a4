"""FNModel: an estimate, for each candidate, of the chance that it is a false negative.

A logistic model of six numbers that every run has: how near the candidate is to the query and at which rank, how like the nearest positive
it is, how near the positive itself is, and how well the query's words match it (BM25's share of the best, and its rank). Similarities are
measured in spreads above the mean of random pairs (`Ranking.scale`), so that the weights do not hang on one model's range. On judged sets,
each left out of the fit in turn, choosing by it leaves about a fifth of the false negatives that TopK-PercPos leaves at the same hardness
(benchmarks/RESULTS.md, "quality"); more features (shared neighbours, the positive's words, density) added little or made some set worse.

The default weights stand in suspicion.json, written by `python -m benchmarks.fit_suspicion` with what they were fitted on. It is an
estimate made elsewhere: how false a person's own negatives are only their own verdicts can tell (`audit`).

Verdicts re-fit it: scikit-learn's logistic regression on them, together with candidates of this run that the default model labels, which
count as PRIOR verdicts (a catalytic prior: Huang, Stein, Rubin and Kou, PNAS 2020). They are denser among the first ranks, where people
judge: drawn evenly from all ranks, three verdicts on third candidates moved single estimates by 31 points, so by 8. A thousand decide.
Signals without a default weight, a second model or a reranker, get one here, from nought. The same verdicts give the same weights.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.errors import SettingsError
from hnmine.core.hashing import splitmix64
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import VerdictPairs
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.selection.settings import FN_SIGNALS

__all__ = ["FEATURES", "FN_DEPTH", "FNEstimator", "FNModel", "default_fn_model", "refit"]

Floats = npt.NDArray[np.float32]

# What the default weights are for, in their order.
FEATURES = ("similarity", "rank", "positive_similarity", "positive", "bm25_ratio", "bm25_rank")
# Signals that only verdicts give a weight.
LEARNED = ("reranker", "second_model")
# Of these, less means more of what is told first below.
FALLING = {"rank", "positive", "bm25_rank"}
# Features that are told together: what they say where they are as false negatives usually have them, and where not.
EXPLANATIONS = (
    (("similarity", "rank"), "near to the query", "far from the query"),
    (("positive_similarity",), "like a positive", "unlike the positives"),
    (("positive",), "the positive itself is far from the query", "the positive is near to the query"),
    (("bm25_ratio", "bm25_rank"), "has the query's words", "lacks the query's words"),
    (("second_model",), "the second model finds it near", "the second model finds it far"),
    (("reranker",), "the reranker finds it relevant", "the reranker finds it not relevant"),
)
# So many verdicts the default model counts as, the candidates that stand for it, and the ranks that they and the verdicts are taken from.
PRIOR, PSEUDO = 1_000.0, 4_000
FN_DEPTH = 300
# What moves the log-odds by less is not told: it is not known, or has no weight.
NEGLIGIBLE = 1e-6
# Digits of a learned weight that count: the solver's last ones may differ between machines.
DIGITS = 5


class FNModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights of the model, as they go into a manifest.

    Attributes:
        features: FEATURES, and those of LEARNED that verdicts gave a weight.
        weights, centre: one for each feature: what a unit of it adds to the log-odds, and what it is on average (reasons are told against
            that).
        bias: the log-odds where all features are 0.
        fitted_on: names of the judged sets behind the default weights.
        verdicts: how many verdicts re-fitted it; 0 for the default.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    centre: tuple[float, ...]
    bias: float
    fitted_on: tuple[str, ...] = ()
    verdicts: int = 0


@functools.cache
def default_fn_model() -> FNModel:
    """Return the model that comes with the package."""
    return msgspec.json.decode(files("hnmine.selection").joinpath("fn_model.json").read_bytes(), type=FNModel)


@dataclass(slots=True, eq=False)
class FNEstimator:
    """A model bound to what it estimates.

    Raises:
        SettingsError: when made: the ranking lacks the signals.
    """

    corpus: Corpus
    ranking: Ranking
    model: FNModel
    _positive_score: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        missing = [name for name in (*FN_SIGNALS, *self.model.features[len(FEATURES) :]) if name not in self.ranking.signals]
        if missing or self.ranking.scale is None:
            raise SettingsError(f"this run has no signal {', '.join(missing) or 'scale'}, which the estimate needs; mine again to have it")
        # The plain mean, not `positive_score`: the weights were fitted on it, and another one would change what is chosen.
        sums = np.add.reduceat(self.ranking.positive_scores.astype(np.float64), self.corpus.positive_starts[:-1])
        self._positive_score = (sums / np.diff(self.corpus.positive_starts)).astype(np.float32)

    def block(self, queries: slice, ranks: slice) -> Floats:
        """Return the chance of each candidate at some ranks of some queries to be a false negative: (rows, width) float32, 0..1."""
        places = np.arange(ranks.start, ranks.stop, dtype=np.float32)
        return self._chance(queries, ranks, places, self._positive_score[queries, None])

    def pairs(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> Floats:
        """Return the same for single candidates, by query and rank: (p,) float32."""
        return self._chance(queries, ranks, ranks.astype(np.float32), self._positive_score[queries])

    def reasons(self, query: int, rank: int) -> list[tuple[str, float]]:
        """Say what speaks for a candidate being a false negative (above 0) and what against: (words, log-odds), the strongest first.

        The words say what is so, also where verdicts turned a weight round: what is like a positive may then speak against it.
        """
        at = np.array([query]), np.array([rank])
        values = self._columns(*at, at[1].astype(np.float32), self._positive_score[at[0]])
        parts = {
            name: weight * (float(value[0]) - centre)
            for name, value, weight, centre in zip(self.model.features, values, self.model.weights, self.model.centre, strict=True)
        }
        turned = {name for name, weight in zip(self.model.features, self.model.weights, strict=True) if (weight < 0) != (name in FALLING)}
        told = []
        for names, usual, unusual in EXPLANATIONS:
            amount = sum(parts.get(name, 0.0) for name in names)
            if abs(amount) > NEGLIGIBLE:
                more = sum(-parts[name] if name in turned else parts[name] for name in names if name in parts)
                told.append((usual if more > 0 else unusual, amount))
        return sorted(told, key=lambda each: -abs(each[1]))

    def features(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what the model reads of single candidates: (p, features) float64, in the order of its features."""
        return np.stack(self._columns(queries, ranks, ranks.astype(np.float32), self._positive_score[queries]), axis=-1).astype(np.float64)

    def _chance(self, rows: Any, ranks: Any, places: Floats, anchors: Floats) -> Floats:
        total: Any = np.float32(self.model.bias)
        # One after the other, and no matrix product: its order of summation would hang on the number of threads.
        for weight, values in zip(self.model.weights, self._columns(rows, ranks, places, anchors), strict=True):
            total = total + np.float32(weight) * values
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-total)), dtype=np.float32)

    def _columns(self, rows: Any, ranks: Any, places: Floats, anchors: Floats) -> list[Floats]:
        return [self._column(name, rows, ranks, places, anchors) for name in self.model.features]

    def _column(self, name: str, rows: Any, ranks: Any, places: Floats, anchors: Floats) -> Floats:
        assert self.ranking.scale is not None
        (asked, asked_spread), (alike, alike_spread) = self.ranking.scale.astype(np.float32)
        match name:
            case "similarity":
                found = (self.ranking.scores[rows, ranks] - asked) / asked_spread
            case "rank":
                found = np.log1p(places)
            case "positive":
                found = (anchors - asked) / asked_spread
            case "positive_similarity":
                found = (self.ranking.signals[name][rows, ranks] - alike) / alike_spread
            case "bm25_rank":
                found = np.log1p(self.ranking.signals[name][rows, ranks])
            case _:
                found = np.asarray(self.ranking.signals[name][rows, ranks])
        # What is not known of a candidate neither speaks for nor against it.
        return np.where(np.isnan(found), np.float32(self.model.centre[self.model.features.index(name)]), found)


def refit(corpus: Corpus, ranking: Ranking, verdict_pairs: VerdictPairs, base: FNModel | None = None) -> FNModel:
    """Re-fit the model on people's verdicts.

    Args:
        corpus, ranking: as they were before promotions: what was promoted is judged by what it was like as a candidate.
        verdict_pairs: relevant and positive pairs count as false negatives, negative ones as true; junk, and pairs that are not among the
            first FN_DEPTH ranks, are left out: the app ranks deeper than the command line, and both must choose the same.
        base: what to start from; the default model.

    Returns:
        The base itself where no verdict is on a ranked candidate, or where the ranking has no signals.
    """
    base = base or default_fn_model()
    groups = ((verdict_pairs.negative, 0), (verdict_pairs.relevant, 1), (verdict_pairs.positive, 1))
    queries = np.concatenate([pairs[0] for pairs, _ in groups])
    said = np.concatenate([np.full(len(pairs[0]), wrong) for pairs, wrong in groups])
    if ranking.scale is None or not len(queries):
        return base
    ranks = ranks_of(ranking.ids[:, :FN_DEPTH], queries, np.concatenate([pairs[1] for pairs, _ in groups]))
    queries, said, ranks = queries[ranks >= 0], said[ranks >= 0], ranks[ranks >= 0]
    if not len(queries):
        return base
    asked, places = _candidates(corpus, ranking)
    chance = FNEstimator(corpus, ranking, base).pairs(asked, places).astype(np.float64)
    new = (name for name in LEARNED if name in ranking.signals and name not in base.features)
    more = tuple(name for name in new if np.isfinite(ranking.signals[name][asked, places]).any())
    centre = [float(np.nanmean(np.asarray(ranking.signals[name])[asked, places], dtype=np.float64)) for name in more]
    wide = msgspec.structs.replace(
        base, features=base.features + more, weights=base.weights + (0.0,) * len(more), centre=base.centre + tuple(centre)
    )
    estimator = FNEstimator(corpus, ranking, wide)
    return _fitted(wide, estimator.features(asked, places), chance, estimator.features(queries, ranks), said)


def _candidates(corpus: Corpus, ranking: Ranking) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return PSEUDO candidates, as queries and ranks, drawn by the hash of their number, half from the first quarter; no positives."""
    random_keys = splitmix64(np.arange(2 * PSEUDO, dtype=np.uint64)).reshape(2, -1)
    queries = (random_keys[0] % np.uint64(len(corpus.queries))).astype(np.int64)
    ranks = (min(FN_DEPTH, ranking.depth) * ((random_keys[1] >> np.uint64(11)) / 2.0**53) ** 2).astype(np.int64)
    own = corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids
    other = ~np.isin(queries * len(corpus.passages) + ranking.ids[queries, ranks], own)
    return (queries[other], ranks[other]) if other.any() else (queries, ranks)


def _fitted(
    base: FNModel,
    candidates: npt.NDArray[np.float64],
    chance: npt.NDArray[np.float64],
    judged: npt.NDArray[np.float64],
    said: Sequence[int] | npt.NDArray[Any],
) -> FNModel:
    """Fit to verdicts (v, features) with their outcomes, and to candidates (c, features) with the chance that the base gives them."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = candidates.mean(axis=0), candidates.std(axis=0)
    spread[spread < 1e-6] = 1  # the same of all candidates: only verdicts tell anything of it
    rows = (np.concatenate([candidates, candidates, judged]) - mean) / spread
    outcomes = np.concatenate([np.ones(len(chance)), np.zeros(len(chance)), said])
    share = PRIOR / len(chance)
    weights = np.concatenate([chance * share, (1 - chance) * share, np.ones(len(judged))])
    # The candidates hold the weights where they were. The usual penalty (C=1) would draw them to nought: one verdict that agreed with the
    # estimate changed others by 5 points.
    found = LogisticRegression(C=PRIOR, tol=1e-8, max_iter=2_000).fit(rows, outcomes, sample_weight=weights)
    slopes = found.coef_[0] / spread
    bias = float(found.intercept_[0] - (found.coef_[0] * mean / spread).sum())
    return msgspec.structs.replace(
        base, weights=tuple(_rounded(value) for value in slopes.tolist()), bias=_rounded(bias), verdicts=len(judged)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
