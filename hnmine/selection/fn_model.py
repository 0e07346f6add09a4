"""FNModel: the estimated false-negative probability of each candidate, and how far its level can be wrong.

A hierarchical logistic model of five features: each judged set that it was fitted on has its own weights, drawn from one normal
distribution, whose mean and covariance are the model (`python -m benchmarks.fit_fn_model` writes fn_model.json). `refit` updates the
distribution by verdicts; the grades of a judge, which few pairs have, are a second step: `_with_judge`.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hnmine.core.arrays import row_blocks
from hnmine.core.decode import decode
from hnmine.core.errors import SettingsError
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import VerdictPairs
from hnmine.retrieval.ranking import Ranking, ranks_of
from hnmine.retrieval.signals import JUDGE

__all__ = ["FEATURES", "FN_DEPTH", "FN_SIGNALS", "FNEstimator", "FNModel", "FNRate", "default_fn_model", "posterior", "refit"]

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# The signals that the estimate needs.
FN_SIGNALS = ("bm25_rank", "bm25_ratio", "positive_similarity", "similarity_z")
# The features of the default weights, in their order.
FEATURES = ("positive_similarity", "positive", "similarity_z", "bm25_ratio", "bm25_rank")
# Signals that get a weight from verdicts only.
REFIT_ONLY = ("reranker", "second_model", JUDGE)
# Features whose lower values match the first text below.
FALLING = {"positive", "bm25_rank"}
# Features that are explained together, with the text for values that are typical of false negatives, and for other values.
EXPLANATIONS = (
    (("similarity_z",), "nearer to this query than to others", "not nearer to this query than to others"),
    (("positive_similarity",), "similar to a positive", "not similar to the positives"),
    (("positive",), "the positive itself is far from the query", "the positive is near to the query"),
    (("bm25_ratio", "bm25_rank"), "contains the query's words", "lacks the query's words"),
    (("second_model",), "near by the second model", "far by the second model"),
    (("reranker",), "relevant by the reranker", "not relevant by the reranker"),
    ((JUDGE,), "relevant by the judge", "not relevant by the judge"),
)
# Candidates and verdicts have ranks below it.
FN_DEPTH = 300
# The range of a rate is so many standard deviations wide on either side: 90% by Student's t, for a distribution that eight sets estimate.
RANGE = 2.0
# Prior standard deviation of the weight of a REFIT_ONLY signal, in log-odds for one standard deviation of the signal.
UNKNOWN_WEIGHT = 0.5
# The grade of a judge that says nothing: halfway between those that mean not relevant (0, 1) and relevant (2, 3). Prior standard deviation
# of the log-odds of one grade: wider than of other signals, because a judge that people agree with moves the odds a hundredfold.
NO_GRADE = 1.5
GRADE_WEIGHT = 1.0
# Candidates whose probabilities `FNEstimator.keep` holds, 64 MB at most.
KEPT = 2**24
# Smaller log-odds are not explained: the feature is unknown, or has no weight.
NEGLIGIBLE = 1e-6
# Significant digits of a refitted weight: the solver's last digits may differ between machines.
DIGITS = 5


class FNModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of the weights, as written to a manifest.

    Attributes:
        features: FEATURES, and those of REFIT_ONLY that have a weight.
        weights: mean log-odds per unit of each feature.
        centre: the mean of each feature, of a judge NO_GRADE; an unknown value counts as it, and adds nothing.
        bias: mean log-odds of a candidate whose features are all at their centre.
        covariance: of the weights and the bias, which is last: (features + 1) x (features + 1).
        fitted_on: names of the judged sets behind the default weights.
        verdicts: number of verdicts that it was refitted on; 0 for the default.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    centre: tuple[float, ...]
    bias: float
    covariance: tuple[tuple[float, ...], ...]
    fitted_on: tuple[str, ...] = ()
    verdicts: int = 0

    @property
    def level(self) -> float:
        """The bias plus half its variance: a small probability is log-normal, and this gives its mean, not its median."""
        return self.bias + self.covariance[-1][-1] / 2


class FNRate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated false-negative rate (0..1): the mean of the probabilities, and the range that holds the true rate of 90% of data sets.

    Its text is the range, because that is what is known without an audit: in whole percents, or tenths below 2%, rounded outwards.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.high >= 0.02 else 1
        unit = 100 * 10**digits
        return f"{math.floor(self.low * unit) / 10**digits:.{digits}f}-{math.ceil(self.high * unit) / 10**digits:.{digits}f}%"


@functools.cache
def default_fn_model() -> FNModel:
    """Return the packaged model."""
    return decode(files("hnmine.selection").joinpath("fn_model.json").read_bytes(), FNModel)


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
    _kept: Floats | None = field(init=False, repr=False, default=None)

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

    def keep(self) -> FNEstimator:
        """Compute the probabilities of all ranked candidates now, where they are at most KEPT, and return this estimator.

        A selection at 10,529 queries x 300 then takes 70 ms less.
        """
        if self.ranking.ids.size <= KEPT:
            blocks = row_blocks(*self.ranking.ids.shape)
            self._kept = np.concatenate([self.block(slice(first, stop), slice(None)) for first, stop in blocks])
        return self

    def without_judge(self) -> FNEstimator:
        """Return the estimator as if no pair had a judge's grade: an unknown one adds nothing."""
        if JUDGE not in self.model.features:
            return self
        weights = tuple(0.0 if name == JUDGE else each for name, each in zip(self.model.features, self.model.weights, strict=True))
        found = copy.copy(self)
        found.model, found._kept = msgspec.structs.replace(self.model, weights=weights), None
        return found

    def block(self, queries: slice, ranks: slice) -> Floats:
        """Return the estimated false-negative probability of some ranks of some queries: (rows, width) float32, 0..1."""
        if self._kept is not None:
            return self._kept[queries, ranks].copy()
        return self._probability(queries, ranks, self._positive_score[queries, None])

    def pairs(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> Floats:
        """Return the same for single candidates, by query and rank: (p,) float32."""
        if self._kept is not None:
            return np.asarray(self._kept[queries, ranks])
        return self._probability(queries, ranks, self._positive_score[queries])

    def range_of(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> tuple[float, float]:
        """Return the range of the false-negative rate of some candidates: low and high, 0..1; 90% of data sets are in it."""
        rows = np.ones((len(queries), len(self.model.features) + 1))
        for place, values in enumerate(self._columns(queries, ranks, self._positive_score[queries])):
            np.subtract(values, self.model.centre[place], out=rows[:, place], dtype=np.float64)
        total = rows @ np.array([*self.model.weights, self.model.bias])
        probability = _sigmoid(total)
        average = probability @ rows / max(float(probability.sum()), 1e-300)
        # To first order, all log-odds move together, by the standard deviation at the average false negative.
        spread = RANGE * float(np.sqrt(average @ np.array(self.model.covariance) @ average))
        return float(_sigmoid(total - spread).mean()), float(_sigmoid(total + spread).mean())

    def reasons(self, query: int, rank: int) -> list[tuple[str, float]]:
        """Explain an estimate as (text, log-odds), strongest first; positive log-odds raise the probability.

        The text describes the candidate, even if verdicts changed the sign of a weight.
        """
        at = np.array([query]), np.array([rank])
        values = self._columns(*at, self._positive_score[at[0]])
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

    def features(self, queries: npt.NDArray[Any], ranks: npt.NDArray[Any]) -> Matrix:
        """Return the features of single candidates: (p, features) float64."""
        return np.stack(self._columns(queries, ranks, self._positive_score[queries]), axis=-1).astype(np.float64)

    def _probability(self, rows: Any, ranks: Any, positive: Floats) -> Floats:
        model = self.model
        total: Any = np.float32(model.level - sum(weight * centre for weight, centre in zip(model.weights, model.centre, strict=True)))
        # A loop, not a matrix product, whose order of summation depends on the number of threads.
        for weight, values in zip(model.weights, self._columns(rows, ranks, positive), strict=True):
            total = total + np.float32(weight) * values
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-total)), dtype=np.float32)

    def _columns(self, rows: Any, ranks: Any, positive: Floats) -> list[Floats]:
        return [self._column(name, rows, ranks, positive) for name in self.model.features]

    def _column(self, name: str, rows: Any, ranks: Any, positive: Floats) -> Floats:
        assert self.ranking.scale is not None
        (query_mean, query_spread), (passage_mean, passage_spread) = self.ranking.scale.astype(np.float32)
        match name:
            case "positive":
                found = (positive - query_mean) / query_spread
            case "positive_similarity":
                found = (self.ranking.signals[name][rows, ranks] - passage_mean) / passage_spread
            case "bm25_rank":
                found = np.log1p(self.ranking.signals[name][rows, ranks])
            case _:
                found = np.asarray(self.ranking.signals[name][rows, ranks])
        # Unknown values count as the centre.
        return np.where(np.isnan(found), np.float32(self.model.centre[self.model.features.index(name)]), found)


def refit(corpus: Corpus, ranking: Ranking, verdict_pairs: VerdictPairs, base: FNModel | None = None) -> FNModel:
    """Update the model by verdicts: the posterior distribution of this run's weights.

    Args:
        corpus, ranking: before promotions, so that promoted passages are still candidates.
        verdict_pairs: relevant and positive pairs are false negatives, junk pairs are left out. Ranks from FN_DEPTH on are ignored, because
            the app ranks deeper than the command line and both must select the same.
        base: the model to start from; None for the default one.

    Relevant verdicts together count at most as much as the negative ones. A report of false negatives alone does not say
    how many candidates were seen, and each would raise the level. Verdicts on the grades of a judge that people reviewed most count less:
    who reviews what the judge calls relevant finds false negatives, which say little of all other candidates.

    Returns:
        The base, if no negative verdict is on a ranked candidate, or the ranking has no signals.
    """
    base = base or default_fn_model()
    groups = ((verdict_pairs.negative, 0), (verdict_pairs.relevant, 1), (verdict_pairs.positive, 1))
    queries = np.concatenate([pairs[0] for pairs, _ in groups])
    outcomes = np.concatenate([np.full(len(pairs[0]), outcome) for pairs, outcome in groups])
    if ranking.scale is None or not len(queries):
        return base
    ranks = ranks_of(ranking.ids[:, :FN_DEPTH], queries, np.concatenate([pairs[1] for pairs, _ in groups]))
    queries, outcomes, ranks = queries[ranks >= 0], outcomes[ranks >= 0], ranks[ranks >= 0]
    if outcomes.all():
        return base
    wide = _with_signals(base, ranking)
    rows = _with_bias(FNEstimator(corpus, ranking, wide).features(queries, ranks) - np.array(wide.centre))
    grades = np.asarray(ranking.signals[JUDGE][queries, ranks]) if JUDGE in ranking.signals else np.full(len(ranks), np.nan)
    counts = _balanced(outcomes, _representative(grades, ranking))
    mean, covariance = posterior(rows, outcomes, counts, np.array([*wide.weights, wide.bias]), np.array(wide.covariance))
    fitted = msgspec.structs.replace(
        wide,
        weights=tuple(_rounded(value) for value in mean[:-1].tolist()),
        bias=_rounded(float(mean[-1])),
        covariance=tuple(tuple(_rounded(value) for value in line) for line in covariance.tolist()),
        verdicts=base.verdicts + len(rows),
    )
    asked = ~np.isnan(grades)
    return (
        fitted if JUDGE in base.features or not asked.any() else _with_judge(fitted, (rows @ mean)[asked], grades[asked], outcomes[asked])
    )


def _with_judge(model: FNModel, log_odds: Matrix, grades: npt.NDArray[Any], outcomes: npt.NDArray[Any]) -> FNModel:
    """Return the model with a weight for the judge's grade, fitted to verdicts on pairs that have one; all other weights stay.

    A weight that was fitted with the others would be wrong for the pairs that the judge was not asked about, which are most: they would
    count as pairs with the mean grade, but the odds at the mean grade are not the mean odds. With one grade 3 among nine 0, a good judge
    would make their estimate five times too low. So an unknown grade adds nothing: these pairs keep the estimate that they have
    without a judge. A grade moves its own pair, from NO_GRADE, which does not depend on what else was asked.

    Args:
        log_odds: (p,), by the model. grades: (p,). outcomes: (p,), 1 for false negatives.
    """
    rows, counts = (grades - NO_GRADE).astype(np.float64)[:, None], _balanced(outcomes, np.ones(len(outcomes)))
    (weight,), ((variance,),) = posterior(rows, outcomes, counts, np.zeros(1), np.array([[GRADE_WEIGHT**2]]), log_odds)
    return _widened(model, JUDGE, _rounded(float(weight)), NO_GRADE, _rounded(float(variance)))


def _balanced(outcomes: npt.NDArray[Any], counts: Matrix) -> Matrix:
    """Return the counts of verdicts, (p,) each, with those of false negatives lowered until they sum to at most the others'."""
    false = float(counts[outcomes == 1].sum())
    return np.where(outcomes == 1, counts * min(1.0, float(counts[outcomes == 0].sum()) / (false or 1.0)), counts)


def _representative(grades: npt.NDArray[Any], ranking: Ranking) -> Matrix:
    """Return how much each verdict counts, at most 1: a grade's part of the verdicts is lowered to its part of what the judge graded."""
    counts = np.ones(len(grades))
    known = grades[~np.isnan(grades)]
    if len(known):
        given = np.asarray(ranking.signals[JUDGE][:, :FN_DEPTH])
        given = given[~np.isnan(given)]
        for grade in np.unique(known):
            counts[grades == grade] = min(1.0, float(np.mean(given == grade) / np.mean(known == grade)))
    return counts


def posterior(
    rows: Matrix, outcomes: npt.NDArray[Any], counts: Matrix, mean: Matrix, covariance: Matrix, log_odds: Matrix | float = 0.0
) -> tuple[Matrix, Matrix]:
    """Return mode and covariance (Laplace's approximation) of the weights of a logistic model under a normal prior.

    Args:
        rows: (n, w), features, and a last column of ones for a bias. outcomes: (n,), 0 or 1. counts: (n,), how often each row counts.
        mean, covariance: of the prior, (w,) and (w, w). log_odds: (n,), what else is known of each row.
    """
    from scipy.optimize import minimize

    # In units of the prior: all weights have the same scale, and a weight without variance stays.
    root = np.linalg.cholesky(covariance)
    scaled, start = rows @ root, rows @ mean + log_odds

    def loss(z: Matrix) -> tuple[float, Matrix]:
        total = start + scaled @ z
        return float(counts @ (np.logaddexp(0, total) - outcomes * total) + z @ z / 2), scaled.T @ (
            counts * (_sigmoid(total) - outcomes)
        ) + z

    def curvature(z: Matrix) -> Matrix:
        probability = _sigmoid(start + scaled @ z)
        return np.asarray((scaled * (counts * probability * (1 - probability))[:, None]).T @ scaled + np.eye(len(z)))

    found = minimize(loss, np.zeros(len(mean)), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-8}).x
    return mean + root @ found, root @ np.linalg.inv(curvature(found)) @ root.T


def _with_signals(base: FNModel, ranking: Ranking) -> FNModel:
    """Return the model with the signals of REFIT_ONLY that the ranking has and the model lacks, but a judge's; their mean weight is 0."""
    for name in REFIT_ONLY:
        if name in (*base.features, JUDGE) or name not in ranking.signals:
            continue
        values = np.asarray(ranking.signals[name][:, :FN_DEPTH], dtype=np.float64)
        if not np.isfinite(values).any() or not (spread := float(np.nanstd(values))):
            continue
        base = _widened(base, name, 0.0, _rounded(float(np.nanmean(values))), (UNKNOWN_WEIGHT / spread) ** 2)
    return base


def _widened(base: FNModel, name: str, weight: float, centre: float, variance: float) -> FNModel:
    """Return the model with one more feature, independent of the others."""
    size = len(base.weights)
    covariance = np.insert(np.insert(np.array(base.covariance), size, 0.0, axis=0), size, 0.0, axis=1)
    covariance[size, size] = variance
    return msgspec.structs.replace(
        base,
        features=(*base.features, name),
        weights=(*base.weights, weight),
        centre=(*base.centre, centre),
        covariance=tuple(map(tuple, covariance.tolist())),
    )


def _with_bias(rows: Matrix) -> Matrix:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _sigmoid(total: Matrix) -> Matrix:
    from scipy.special import expit

    return np.asarray(expit(total))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
