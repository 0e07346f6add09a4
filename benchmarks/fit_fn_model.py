"""Fit the default weights of `hnmine.selection.fn_model` on sets with relevance judgements, and write its fn_model.json.

Of each query's relevant passages one is visible as its positive, the others are hidden: the model separates these from the other
candidates. Every set has the same weight, and every query within it. With `--check` nothing is written: each set is left out in
turn, and the estimates of a fit on the others are printed by decile, with the expected calibration error.
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
from hnmine.models.encoder import Encoder
from hnmine.selection.fn_model import FEATURES, FNEstimator, FNModel, default_fn_model
from hnmine.vectors.store import VectorStore

Floats = npt.NDArray[np.float64]
# Candidates per query in the fit: the usual end of a window.
DEPTH = 300
# scikit-learn's default L2 penalty, on standardised features.
REGULARISATION = 1.0
DECILES = 10


@dataclass
class Examples:
    """Candidates of one set: features (n, f), whether they are judged relevant, and weights that add up to 1."""

    name: str
    features: Floats
    relevant: npt.NDArray[np.bool_]
    weights: Floats


def examples_of(name: str, turns: Sequence[Turn]) -> Examples:
    """Gather the candidates of a set's turns, without positives and the queries' own texts."""
    blank = FNModel(features=FEATURES, weights=(0.0,) * len(FEATURES), centre=(0.0,) * len(FEATURES), bias=0.0)
    parts = []
    for turn in turns:
        corpus, ids = turn.corpus, turn.ranking.ids[:, :DEPTH]
        pairs = np.arange(len(ids))[:, None] * len(corpus.passages) + ids
        own = np.isin(pairs, corpus.positive_queries.astype(np.int64) * len(corpus.passages) + corpus.positive_ids)
        rows, ranks = np.nonzero(~own & (ids != corpus.query_passages[:, None]))
        parts.append((FNEstimator(corpus, turn.ranking, blank).features(rows, ranks), np.isin(pairs[rows, ranks], turn.relevant)))
    features, relevant = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Examples(name, features, relevant, np.full(len(relevant), 1 / len(relevant)))


def fit(sets: Sequence[Examples]) -> FNModel:
    """Fit the model on some sets."""
    from sklearn.linear_model import LogisticRegression

    features = np.concatenate([each.features for each in sets])
    relevant = np.concatenate([each.relevant for each in sets])
    weights = np.concatenate([each.weights for each in sets])
    weights *= len(weights) / weights.sum()
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    found = LogisticRegression(C=REGULARISATION, tol=1e-8, max_iter=2_000).fit((features - mean) / spread, relevant, sample_weight=weights)
    slopes = found.coef_[0] / spread

    def rounded(values: Any) -> tuple[float, ...]:
        return tuple(float(f"{value:.4g}") for value in values)

    return FNModel(
        features=FEATURES,
        weights=rounded(slopes),
        centre=rounded(mean),
        bias=rounded([found.intercept_[0] - (slopes * mean).sum()])[0],
        fitted_on=tuple(each.name for each in sets),
    )


def probabilities(model: FNModel, features: Floats) -> Floats:
    """Return the probabilities of candidates, (n,), from features (n, f)."""
    found: Floats = 1 / (1 + np.exp(-(features @ np.array(model.weights) + model.bias)))
    return found


def calibration(estimate: Floats, relevant: npt.NDArray[np.bool_]) -> tuple[list[dict[str, Any]], float]:
    """Return a line for each decile of the estimate, and the expected calibration error: the mean distance of rate and estimate."""
    order = np.array_split(np.argsort(estimate, kind="stable"), DECILES)
    lines = [
        {
            "decile": number + 1,
            "estimate %": 100 * float(estimate[part].mean()),
            "relevant %": 100 * float(relevant[part].mean()),
            "candidates": len(part),
        }
        for number, part in enumerate(order)
        if len(part)
    ]
    error = sum(line["candidates"] * abs(line["estimate %"] - line["relevant %"]) for line in lines) / len(estimate)
    return lines, error


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
        lines, errors[left.name] = calibration(probabilities(model, left.features), left.relevant)
        rows += [{"set left out": left.name} | line for line in lines]
    report("fit_fn_model", rows, {"expected calibration error, percentage points": ", ".join(f"{n} {e:.2f}" for n, e in errors.items())})
    weights = [dict(zip(("fitted on", *FEATURES, "bias"), (", ".join(each.fitted_on), *each.weights, each.bias), strict=True))
               for each in (*(fit([one for one in sets if one is not left]) for left in sets), fit(sets))]  # fmt: skip
    report("fn-model-weights", weights)
    if not (given.check or given.quick):
        (ROOT / "hnmine" / "selection" / "fn_model.json").write_bytes(msgspec.json.format(msgspec.json.encode(fit(sets))) + b"\n")


if __name__ == "__main__":
    main()
