"""FNModel: the estimated false-negative probability of each candidate.

A logistic model of similarity, rank, similarity to the positive passage, the positive's score, BM25 and BM25 rank. Similarities are scaled
by mean and spread of random pairs, so that the weights fit other embedding models. On held-out judged sets it leaves a fifth of the false
negatives of TopK-PercPos at the same hardness. `python -m benchmarks.fit_fn_model` writes the default weights to fn_model.json.

`refit` fits the weights to verdicts. Candidates of the run with the default estimates count as PRIOR further verdicts (a catalytic prior:
Huang, Stein, Rubin and Kou, PNAS 2020), so that a few verdicts change little. The estimate is no measurement: an audit is.
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

__all__ = ["FEATURES", "FN_DEPTH", "FN_SIGNALS", "FNEstimator", "FNModel", "default_fn_model", "refit"]

Floats = npt.NDArray[np.float32]

# The signals that the estimate needs.
FN_SIGNALS = ("bm25_rank", "bm25_ratio", "positive_similarity")
# The features of the default weights, in their order.
FEATURES = ("similarity", "rank", "positive_similarity", "positive", "bm25_ratio", "bm25_rank")
# Signals that get a weight from verdicts only.
REFIT_ONLY = ("reranker", "second_model")
# Features whose lower values match the first text below.
FALLING = {"rank", "positive", "bm25_rank"}
# Features that are explained together, with the text for values that are typical of false negatives, and for other values.
EXPLANATIONS = (
    (("similarity", "rank"), "near to the query", "far from the query"),
    (("positive_similarity",), "similar to a positive", "not similar to the positives"),
    (("positive",), "the positive itself is far from the query", "the positive is near to the query"),
    (("bm25_ratio", "bm25_rank"), "contains the query's words", "lacks the query's words"),
    (("second_model",), "near by the second model", "far by the second model"),
    (("reranker",), "relevant by the reranker", "not relevant by the reranker"),
)
# The default model counts as PRIOR verdicts, on PSEUDO candidates; candidates and verdicts have ranks below FN_DEPTH.
PRIOR, PSEUDO = 1_000.0, 4_000
FN_DEPTH = 300
# Smaller log-odds are not explained: the feature is unknown, or has no weight.
NEGLIGIBLE = 1e-6
# Significant digits of a refitted weight: the solver's last digits may differ between machines.
DIGITS = 5


class FNModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights of the model, as written to a manifest.

    Attributes:
        features: FEATURES, and those of REFIT_ONLY that have a weight.
        weights, centre: of each feature: log-odds per unit, and its mean, which explanations compare with.
        bias: the log-odds if all features are 0.
        fitted_on: names of the judged sets behind the default weights.
        verdicts: number of verdicts that it was refitted on; 0 for the default.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    centre: tuple[float, ...]
    bias: float
    fitted_on: tuple[str, ...] = ()
    verdicts: int = 0


@functools.cache
def default_fn_model() -> FNModel:
    """Return the packaged model."""
    return msgspec.json.decode(files("hnmine.selection").joinpath("fn_model.json").read_bytes(), type=FNModel)


@dataclass(slots=True, eq=False)
class FNEstimator:
    """A model bound to a corpus and a ranking.

    Raises:
        SettingsError: the ranking lacks a signal; raised by the constructor.
    """

    corpus: Corpus
    ranking: Ranking
    model: FNModel
    _positive_score: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        missing = [name for name in (*FN_SIGNALS, *self.model.features[len(FEATURES) :]) if name not in self.ranking.signals]
        if missing or self.ranking.scale is None:
            names = ", ".join(missing) or "scale"
            raise SettingsError(
                f"the false-negative model needs the signal {names}, which this run does not have; mine again to compute it"
            )
        # The mean, not `positive_score`: the weights were fitted on it.
        sums = np.add.reduceat(self.ranking.positive_scores.astype(np.float64), self.corpus.positive_starts[:-1])
        self._positive_score = (sums / np.diff(self.corpus.positive_starts)).astype(np.float32)

    def block(self, queries: slice, ranks: slice) -> Floats:
        """Return the estimated false-negative probability of some ranks of some queries: (rows, width) float32, 0..1."""
        places = np.arange(ranks.start, ranks.stop, dtype=np.float32)
        return self._probability(queries, ranks, places, self._positive_score[queries, None])

    def pairs(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> Floats:
        """Return the same for single candidates, by query and rank: (p,) float32."""
        return self._probability(queries, ranks, ranks.astype(np.float32), self._positive_score[queries])

    def reasons(self, query: int, rank: int) -> list[tuple[str, float]]:
        """Explain an estimate as (text, log-odds), strongest first; positive log-odds raise the probability.

        The text describes the candidate, even if verdicts changed the sign of a weight.
        """
        at = np.array([query]), np.array([rank])
        values = self._columns(*at, at[1].astype(np.float32), self._positive_score[at[0]])
        parts = {
            name: weight * (float(value[0]) - centre)
            for name, value, weight, centre in zip(self.model.features, values, self.model.weights, self.model.centre, strict=True)
        }
        turned = {name for name, weight in zip(self.model.features, self.model.weights, strict=True) if (weight < 0) != (name in FALLING)}
        found = []
        for names, usual, unusual in EXPLANATIONS:
            amount = sum(parts.get(name, 0.0) for name in names)
            if abs(amount) > NEGLIGIBLE:
                more = sum(-parts[name] if name in turned else parts[name] for name in names if name in parts)
                found.append((usual if more > 0 else unusual, amount))
        return sorted(found, key=lambda each: -abs(each[1]))

    def features(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the features of single candidates: (p, features) float64."""
        return np.stack(self._columns(queries, ranks, ranks.astype(np.float32), self._positive_score[queries]), axis=-1).astype(np.float64)

    def _probability(self, rows: Any, ranks: Any, places: Floats, positive: Floats) -> Floats:
        total: Any = np.float32(self.model.bias)
        # A loop, not a matrix product, whose order of summation depends on the number of threads.
        for weight, values in zip(self.model.weights, self._columns(rows, ranks, places, positive), strict=True):
            total = total + np.float32(weight) * values
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-total)), dtype=np.float32)

    def _columns(self, rows: Any, ranks: Any, places: Floats, positive: Floats) -> list[Floats]:
        return [self._column(name, rows, ranks, places, positive) for name in self.model.features]

    def _column(self, name: str, rows: Any, ranks: Any, places: Floats, positive: Floats) -> Floats:
        assert self.ranking.scale is not None
        (query_mean, query_spread), (passage_mean, passage_spread) = self.ranking.scale.astype(np.float32)
        match name:
            case "similarity":
                found = (self.ranking.scores[rows, ranks] - query_mean) / query_spread
            case "rank":
                found = np.log1p(places)
            case "positive":
                found = (positive - query_mean) / query_spread
            case "positive_similarity":
                found = (self.ranking.signals[name][rows, ranks] - passage_mean) / passage_spread
            case "bm25_rank":
                found = np.log1p(self.ranking.signals[name][rows, ranks])
            case _:
                found = np.asarray(self.ranking.signals[name][rows, ranks])
        # Unknown values count as the mean.
        return np.where(np.isnan(found), np.float32(self.model.centre[self.model.features.index(name)]), found)


def refit(corpus: Corpus, ranking: Ranking, verdict_pairs: VerdictPairs, base: FNModel | None = None) -> FNModel:
    """Refit the model on verdicts.

    Args:
        corpus, ranking: before promotions, so that promoted passages are still candidates.
        verdict_pairs: relevant and positive pairs are false negatives, junk pairs are left out. Ranks from FN_DEPTH on are ignored, because
            the app ranks deeper than the command line and both must select the same.
        base: the model to start from; None for the default one.

    Returns:
        The base, if no verdict is on a ranked candidate or the ranking has no signals.
    """
    base = base or default_fn_model()
    groups = ((verdict_pairs.negative, 0), (verdict_pairs.relevant, 1), (verdict_pairs.positive, 1))
    queries = np.concatenate([pairs[0] for pairs, _ in groups])
    outcomes = np.concatenate([np.full(len(pairs[0]), outcome) for pairs, outcome in groups])
    if ranking.scale is None or not len(queries):
        return base
    ranks = ranks_of(ranking.ids[:, :FN_DEPTH], queries, np.concatenate([pairs[1] for pairs, _ in groups]))
    queries, outcomes, ranks = queries[ranks >= 0], outcomes[ranks >= 0], ranks[ranks >= 0]
    if not len(queries):
        return base
    asked, places = _candidates(corpus, ranking)
    estimates = FNEstimator(corpus, ranking, base).pairs(asked, places).astype(np.float64)
    new = (name for name in REFIT_ONLY if name in ranking.signals and name not in base.features)
    more = tuple(name for name in new if np.isfinite(ranking.signals[name][asked, places]).any())
    centre = [float(np.nanmean(np.asarray(ranking.signals[name])[asked, places], dtype=np.float64)) for name in more]
    wide = msgspec.structs.replace(
        base, features=base.features + more, weights=base.weights + (0.0,) * len(more), centre=base.centre + tuple(centre)
    )
    estimator = FNEstimator(corpus, ranking, wide)
    return _fitted(wide, estimator.features(asked, places), estimates, estimator.features(queries, ranks), outcomes)


def _candidates(corpus: Corpus, ranking: Ranking) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return PSEUDO candidates as queries and ranks, drawn by hash, half of them from the first quarter of the ranks; no positives."""
    random_keys = splitmix64(np.arange(2 * PSEUDO, dtype=np.uint64)).reshape(2, -1)
    queries = (random_keys[0] % np.uint64(len(corpus.queries))).astype(np.int64)
    ranks = (min(FN_DEPTH, ranking.depth) * ((random_keys[1] >> np.uint64(11)) / 2.0**53) ** 2).astype(np.int64)
    own = corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids
    other = ~np.isin(queries * len(corpus.passages) + ranking.ids[queries, ranks], own)
    return (queries[other], ranks[other]) if other.any() else (queries, ranks)


def _fitted(
    base: FNModel,
    candidates: npt.NDArray[np.float64],
    estimates: npt.NDArray[np.float64],
    reviewed: npt.NDArray[np.float64],
    verdicts: Sequence[int] | npt.NDArray[Any],
) -> FNModel:
    """Fit to reviewed candidates (v, features) with their verdicts, and to candidates (c, features) with the estimates of the base."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = candidates.mean(axis=0), candidates.std(axis=0)
    spread[spread < 1e-6] = 1  # a constant feature: only verdicts vary in it
    rows = (np.concatenate([candidates, candidates, reviewed]) - mean) / spread
    outcomes = np.concatenate([np.ones(len(estimates)), np.zeros(len(estimates)), verdicts])
    weight = PRIOR / len(estimates)
    weights = np.concatenate([estimates * weight, (1 - estimates) * weight, np.ones(len(reviewed))])
    # The candidates regularise the weights. The usual penalty (C=1) shrinks them: one verdict that agreed with the estimate changed other
    # estimates by 5 points.
    found = LogisticRegression(C=PRIOR, tol=1e-8, max_iter=2_000).fit(rows, outcomes, sample_weight=weights)
    slopes = found.coef_[0] / spread
    bias = float(found.intercept_[0] - (found.coef_[0] * mean / spread).sum())
    return msgspec.structs.replace(
        base, weights=tuple(_rounded(value) for value in slopes.tolist()), bias=_rounded(bias), verdicts=len(reviewed)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
