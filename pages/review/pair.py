"""One pair as the desk shows it: texts cut at highlighted words, the line of facts, and further scores in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hnmine import resources
from hnmine.analysis.explanation import MIN_LOG_ODDS, PairDetails, pair_details, warnings
from hnmine.core.text import counted, shared
from hnmine.data.corpus import Corpus
from hnmine.data.verdicts import CHOICES, pair_key
from hnmine.resources import OpenRun
from hnmine.retrieval.signals import JUDGE
from hnmine.review.judgements import Judgement
from hnmine.selection.fn_model import FNEstimator
from hnmine.selection.select import Selection
from pages.review.words import LABELS
from pages.shared import judging, wording
from pages.shared.printable import printable

SHOWN_POSITIVES = 10
# Shorter words of Latin letters are not highlighted: "s", "it".
SHORTEST = 3


def pair_id(corpus: Corpus, query: int, passage: int) -> str:
    """Return the id of a pair: its numbers in the corpus and a check of its texts."""
    return f"{query}.{passage}.{pair_key(corpus.queries[query], corpus.passages[passage])[:6].hex()}"


def numbers_of(name: str, corpus: Corpus) -> tuple[int, int] | None:
    """Return the query and passage of a pair's id, None where the corpus does not have these texts."""
    try:
        query, passage, _ = name.split(".")
        pair = int(query), int(passage)
    except ValueError:
        return None
    inside = 0 <= pair[0] < len(corpus.queries) and 0 <= pair[1] < len(corpus.passages)
    return pair if inside and pair_id(corpus, *pair) == name else None


def estimator_without_judge(run: OpenRun) -> FNEstimator | None:
    """Return the run's estimator as if no pair had a judge's grade, for what people see before their verdict."""
    found = resources.estimator(run)
    return None if found is None else found.without_judge()


def described(
    run: OpenRun,
    selection: Selection,
    common: frozenset[str],
    query: int,
    passage: int,
    state: int = 0,
    judgement: Judgement | None = None,
) -> dict[str, Any]:
    """Return what the desk shows of a pair; `common` words are not highlighted, `state` is its verdict, an index into `queue.STATES`.

    A judge's grade shows where it is given, and nowhere else: people's verdicts must not depend on it.
    """
    corpus = run.inputs.corpus
    estimator = estimator_without_judge(run) if judgement is None else resources.estimator(run)
    details = pair_details(corpus, run.ranking, selection, query, passage, estimator)
    if judgement is None:
        details = replace(details, signals={name: value for name, value in details.signals.items() if name != JUDGE})
    asked, text = corpus.queries[query], corpus.passages[passage]
    positives = [(corpus.passages[each], score, similarity) for each, score, similarity in details.positives[:SHOWN_POSITIVES]]
    given = [asked, *(each for each, _, _ in positives)]
    rest = len(details.positives) - len(positives)
    return {
        "id": pair_id(corpus, query, passage),
        "query_id": query,
        "query": parts(asked, [text], common),
        "positives": [
            {
                "title": f"Positive{f' {number}' if len(positives) > 1 else ''} · similarity {score:.2f}"
                + (f" · to the candidate {similarity:.2f}" if len(positives) > 1 else "")
                + (f" · {counted(rest, 'more positive')} not shown" if rest and number == len(positives) else ""),
                "text": parts(each, [text], common),
            }
            for number, (each, score, similarity) in enumerate(positives, start=1)
        ],
        "candidate": parts(text, given, common),
        "facts": facts(details, float(selection.positive[query])),
        "scores": scores(details),
        "verdict": LABELS[CHOICES[state - 1]] if state else "",
        "judge": "" if judgement is None else printable(judging.said(judgement)),
    }


def parts(text: str, others: list[str], common: frozenset[str]) -> list[str]:
    """Return a text in parts, plain and highlighted in turn; words that occur in `others` and are rare are highlighted."""
    found, done = [], 0
    for start, end in shared(text, others, common):
        if end - start < SHORTEST and text[start:end].isascii() and text[start:end].isalpha():
            continue
        found += [text[done:start], text[start:end]]
        done = end
    return [printable(part) for part in [*found, text[done:]]]


def facts(details: PairDetails, positive: float) -> str:
    """Return the line of facts: rank, similarity beside the positive's, estimate and warning signs."""
    rank = "not ranked" if details.rank is None else f"rank {details.rank:,}"
    beside = f" (positive {positive:.2f})" if np.isfinite(positive) else ""
    signs = warnings(details)[:1]  # the strongest; all are among the scores
    estimate = "" if details.estimate is None else f"{wording.probability(details.estimate)} likely relevant"
    judged = ": ".join(each for each in (estimate, *signs) if each) or "no warning signs"
    return f"{rank} · similarity {details.score:.2f}{beside} · {judged}"


def scores(details: PairDetails) -> list[str]:
    """Return the other numbers of a pair and the reasons of the estimate, each in a line."""
    found = [f"sign of a false negative: {sign}" for sign in warnings(details)]
    if details.ratio is not None:
        found.append(f"ratio to the positive {wording.percent(details.ratio)}")
    if details.positive_similarity is not None:
        found.append(f"similarity to the positive passage {details.positive_similarity:.3f}")
    found += [wording.signal(name).said(value) for name, value in details.signals.items() if name != "positive_similarity"]
    shown = [(words, amount) for words, amount in details.reasons if abs(amount) >= MIN_LOG_ODDS]
    for side, sign in (("raise", 1), ("lower", -1)):
        if reasons := [words for words, amount in shown if amount * sign > 0]:
            found.append(f"reasons that {side} the estimate: {', '.join(reasons)}")
    return found
