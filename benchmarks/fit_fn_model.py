"""Fit the default model of `hnmine.selection.fn_model` on sets with relevance judgements, and write its fn_model.json.

Of each query's relevant passages one is visible as its positive, the others are hidden: the model separates these from the other
candidates. Every set has its own weights; their mean and covariance over the sets are fitted by empirical Bayes (EM, with Laplace's
approximation), every set counting as SIZE candidates. With `--check` nothing is written: each set is left out in turn, and the estimates
of a fit on the others are printed by decile, with the expected calibration error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.judged import made_up, read
from benchmarks.measure import DATA, OUT, ROOT, arguments, report
from benchmarks.turns import SETS, Turn, opened, turns_of
from hnmine.core.hashing import splitmix64
from hnmine.models.encoder import Encoder
from hnmine.selection.fn_model import FEATURES, FNEstimator, FNModel, default_fn_model, posterior
from hnmine.vectors.store import VectorStore

Floats = npt.NDArray[np.float64]
# Candidates per query in the fit: the usual end of a window.
DEPTH = 300
# What a set counts as in the fit: neighbouring candidates say nearly the same, so it is less than there are.
SIZE = 3_000
# Of candidates that are not relevant, one in so many is read; it counts as many.
SAMPLED = 7
STEPS = 12
DECILES = 10


@dataclass
class Examples:
    """Candidates of one set: features (n, f), whether they are judged relevant, and how many each counts as, SIZE together."""

    name: str
    features: Floats
    relevant: npt.NDArray[np.bool_]
    counts: Floats


def examples_of(name: str, turns: Sequence[Turn]) -> Examples:
    """Gather the candidates of a set's turns, without positives and the queries' own texts."""
    nothing = (0.0,) * len(FEATURES)
    blank = FNModel(features=FEATURES, weights=nothing, centre=nothing, bias=0.0, covariance=((0.0,),))
    parts = []
    for turn in turns:
        corpus, ids = turn.corpus, turn.ranking.ids[:, :DEPTH]
        pairs = np.arange(len(ids))[:, None] * len(corpus.passages) + ids
        own = np.isin(pairs, corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids)
        relevant = np.isin(pairs, turn.relevant)
        read = relevant | (splitmix64(pairs.astype(np.uint64) + np.uint64(turn.seed)) % np.uint64(SAMPLED) == 0)
        rows, ranks = np.nonzero(~own & (ids != corpus.query_passages[:, None]) & read)
        parts.append((FNEstimator(corpus, turn.ranking, blank).features(rows, ranks), relevant[rows, ranks]))
    features, relevant = (np.concatenate(each) for each in zip(*parts, strict=True))
    counts = np.where(relevant, 1.0, SAMPLED)
    return Examples(name, features, relevant, counts * (SIZE / counts.sum()))


def fit(sets: Sequence[Examples]) -> FNModel:
    """Fit mean and covariance of the weights over some sets; the covariance is diagonal."""
    centre = np.mean([np.average(each.features, axis=0, weights=each.counts) for each in sets], axis=0)
    spread = np.sqrt(np.mean([np.average((each.features - centre) ** 2, axis=0, weights=each.counts) for each in sets], axis=0))
    spread[spread < 1e-6] = 1
    rows = [np.c_[(each.features - centre) / spread, np.ones(len(each.features))] for each in sets]
    mean, variance = np.append(np.zeros(len(centre)), -3.0), np.ones(len(centre) + 1)
    for _ in range(STEPS):
        found = [posterior(x, each.relevant, each.counts, mean, np.diag(variance)) for x, each in zip(rows, sets, strict=True)]
        mean = np.mean([weights for weights, _ in found], axis=0)
        variance = np.mean([(weights - mean) ** 2 + np.diag(covariance) for weights, covariance in found], axis=0)
    scale = np.append(1 / spread, 1.0)

    def rounded(values: Any) -> tuple[float, ...]:
        return tuple(float(f"{value:.4g}") for value in values)

    return FNModel(
        features=FEATURES,
        weights=rounded((mean * scale)[:-1]),
        centre=rounded(centre),
        bias=rounded(mean[-1:])[0],
        covariance=tuple(rounded(line) for line in np.diag(variance * scale**2)),
        fitted_on=tuple(each.name for each in sets),
    )


def probabilities(model: FNModel, features: Floats) -> Floats:
    """Return the probabilities of candidates, (n,), from features (n, f)."""
    found: Floats = 1 / (1 + np.exp(-((features - np.array(model.centre)) @ np.array(model.weights) + model.level)))
    return found


def calibration(estimate: Floats, relevant: npt.NDArray[np.bool_], counts: Floats) -> tuple[list[dict[str, Any]], float]:
    """Return a line for each decile of the estimate, and the expected calibration error: the mean distance of rate and estimate."""
    order = np.argsort(estimate, kind="stable")
    decile = np.minimum((np.cumsum(counts[order]) / counts.sum() * DECILES).astype(int), DECILES - 1)
    lines = []
    for number in range(DECILES):
        part = order[decile == number]
        if len(part):
            lines.append({
                "decile": number + 1,
                "estimate %": 100 * float(np.average(estimate[part], weights=counts[part])),
                "relevant %": 100 * float(np.average(relevant[part], weights=counts[part])),
                "part": float(counts[part].sum() / counts.sum()),
            })  # fmt: skip
    return lines, sum(line["part"] * abs(line["estimate %"] - line["relevant %"]) for line in lines)


def unseen(turns: dict[str, list[Turn]], data: Path, encoder: Encoder, store: VectorStore | None) -> dict[str, FNModel]:
    """Return for each set, by name, a model that was not fitted on it.

    That is the one that ships, or, where it was fitted on the set, a fit on the others that it was fitted on, as far as they are among
    `turns` or in `data`.
    """
    shipped = default_fn_model()
    seen = turns.keys() & set(shipped.fitted_on)
    if not seen:
        return dict.fromkeys(turns, shipped)
    there = [name for name in shipped.fitted_on if name in turns or (data / name / "qrels.tsv").is_file()]
    if len(there) < 2:
        sys.exit(f"the shipped weights were fitted on {there[0]}; add another of {', '.join(shipped.fitted_on)} to --data")
    # A single seen set is left out of its own fit, so it is not read.
    wanted = [name for name in there if seen != {name}]
    examples = [examples_of(name, turns.get(name) or turns_of(read(data / name), encoder, store)) for name in wanted]
    return {name: fit([each for each in examples if each.name != name]) if name in seen else shipped for name in turns}


def main() -> None:
    """Fit, and write the weights; or check."""
    given = arguments(__doc__, data=DATA, sets=",".join(SETS), store=OUT / "vectors", check=False)
    judged, encoder, store = opened(given, [made_up(), made_up(20, 400, name="made up, small")])
    sets = [examples_of(each.name, turns_of(each, encoder, store)) for each in judged]
    rows, errors = [], {}
    for left in sets:
        model = fit([each for each in sets if each is not left])
        lines, errors[left.name] = calibration(probabilities(model, left.features), left.relevant, left.counts)
        rows += [{"set left out": left.name} | line for line in lines]
    report("fit_fn_model", rows, {"expected calibration error, percentage points": ", ".join(f"{n} {e:.2f}" for n, e in errors.items())})
    weights = [dict(zip(("fitted on", *FEATURES, "bias"), (", ".join(each.fitted_on), *each.weights, each.bias), strict=True))
               for each in (*(fit([one for one in sets if one is not left]) for left in sets), fit(sets))]  # fmt: skip
    report("fn-model-weights", weights)
    if not (given.check or given.quick):
        (ROOT / "hnmine" / "selection" / "fn_model.json").write_bytes(msgspec.json.format(msgspec.json.encode(fit(sets))) + b"\n")


if __name__ == "__main__":
    main()
