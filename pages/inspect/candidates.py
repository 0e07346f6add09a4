"""What the Inspect screen says about a query, its positives and its candidates, as rows of `passages`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hnmine import resources
from hnmine.analysis import queries
from hnmine.analysis.explanation import MIN_LOG_ODDS, pair_details, warnings
from hnmine.analysis.queries import Candidates
from hnmine.core import text as words
from hnmine.resources import OpenRun
from hnmine.retrieval.signals import JUDGE
from hnmine.review.judge_prompt import GRADES
from hnmine.selection.select import Selection
from pages.inspect.passages import Line, parts_of
from pages.shared import statistics
from pages.shared.printable import printable
from pages.shared.wording import percent, probability, signal

Floats = npt.NDArray[np.float32]
# Shared words are highlighted in the first READ characters of a passage.
READ = 4_000
MINUS = "\N{MINUS SIGN}"
VERDICTS = {
    "negative": "judged negative",
    "relevant": "relevant: removed",
    "positive": "added as positive",
    "junk": "junk: removed",
    "unsure": "unsure",
}


def fn_probabilities(run: OpenRun, query: int) -> Floats | None:
    """Return the estimate for each ranked candidate of a query: (depth,); None where the run has no signals."""
    estimator = resources.estimator(run)
    return None if estimator is None else estimator.block(slice(query, query + 1), slice(0, run.ranking.depth))[0]


def details(run: OpenRun, selection: Selection, query: int) -> Candidates:
    """Return the candidates of a query."""
    return queries.candidates_of(run.inputs.corpus, run.ranking, selection, query, fn_probabilities(run, query))


def head(run: OpenRun, found: Candidates, query: int) -> list[Line]:
    """Return the rows of a query and its positives."""
    corpus, ranking = run.inputs.corpus, run.ranking
    rank_of = {int(passage): int(rank) for passage, rank in zip(found.ids, found.ranks, strict=True) if rank >= 0}
    promoted = set(corpus.promoted(query).tolist())
    lines = [Line(id="query", kind="query", parts=parts_of(corpus.queries[query]))]
    for number in range(corpus.positive_starts[query], corpus.positive_starts[query + 1]):
        passage = int(corpus.positive_ids[number])
        rank = rank_of.get(passage)
        facts = f"rank {rank:,}" if rank is not None else f"not in the top {ranking.depth:,}"
        lines.append(
            Line(
                id=str(passage),
                kind="positive",
                name="Positive",
                facts=f"{facts} · similarity {ranking.positive_scores[number]:.3f}",
                status="added by a reviewer" if passage in promoted else "",
                parts=parts_of(corpus.passages[passage]),
            )
        )
    return lines


def lines(run: OpenRun, found: Candidates, query: int, places: npt.NDArray[np.int64], picked: str | None = None) -> list[Line]:
    """Return the rows of some candidates of a query, by their indices in `found`, with the verdicts as they are now.

    The row of the passage `picked` has its signals and the reasons of its estimate too.
    """
    corpus, store = run.inputs.corpus, resources.reviews()
    wanted = [corpus.passages[passage] for passage in corpus.positives(query).tolist()]
    common, estimates = statistics.common_words(run), fn_probabilities(run, query)
    rows = []
    for place in places.tolist():
        passage, rank, chosen = int(found.ids[place]), int(found.ranks[place]), int(found.chosen[place])
        text = corpus.passages[passage]
        facts = [f"rank {rank:,}" if rank >= 0 else "random fill", f"similarity {found.scores[place]:.3f}"]
        if np.isfinite(found.ratios[place]):
            facts.append(f"{percent(float(found.ratios[place]))} of positive")
        if rank >= 0 and estimates is not None:
            facts.append(f"{probability(float(estimates[place]))} likely relevant")
        made = store.verdict(corpus.queries[query], text)
        status = "" if chosen else found.statuses[place]
        rows.append(
            Line(
                id=str(passage),
                name=f"#{chosen}" if chosen else "",
                facts=" · ".join(facts),
                status=VERDICTS[made.verdict] if made is not None else status[:1].upper() + status[1:],
                verdict=None if made is None else made.verdict,
                parts=parts_of(text, words.shared(text[:READ], wanted, common)),
                more=_more(run, found, query, place) if str(passage) == picked else [],
            )
        )
    return rows


def _more(run: OpenRun, found: Candidates, query: int, place: int) -> list[str]:
    """Return a candidate's signals, and the reasons for and against a false negative."""
    signals = {"positive_similarity": float(found.to_positive[place])}
    signals |= {name: float(values[place]) for name, values in found.signals.items() if name not in (*signals, JUDGE)}
    said = [signal(name).said(value) for name, value in signals.items() if np.isfinite(value)]
    lines = [" · ".join([*said, f"in the data as {_source(run, found, place)}"])]
    if (judged := run.judged.of(query, int(found.ids[place]))) is not None:
        grade = "no grade" if judged.grade is None else f"grade {judged.grade}, {GRADES[judged.grade]}"
        lines.append(printable(f"Judge {judged.judge}: {grade}. {judged.reason}").rstrip())
    estimator, rank = resources.estimator(run), int(found.ranks[place])
    if estimator is not None and rank >= 0:
        reasons = [
            f"{text} ({'+' if amount > 0 else MINUS}{abs(amount):.1f})"
            for text, amount in estimator.reasons(query, rank)
            if abs(amount) >= MIN_LOG_ODDS
        ]
        if reasons:
            lines.append(f"Why (log-odds of a false negative): {', '.join(reasons)}")
    return lines


def _source(run: OpenRun, found: Candidates, place: int) -> str:
    return queries.sources_in_words(int(run.inputs.corpus.sources[found.ids[place]]))


def riskiest(run: OpenRun, selection: Selection, found: Candidates, query: int) -> str:
    """Say which negative is most likely relevant, and why; empty without an estimate."""
    estimates = fn_probabilities(run, query)
    asked, store = run.inputs.corpus.queries[query], resources.reviews()
    chosen = np.flatnonzero((found.chosen > 0) & (found.ranks >= 0))
    texts = run.inputs.corpus.passages
    held = np.array([place for place in chosen.tolist() if store.verdict(asked, texts[found.ids[place]]) is None], dtype=np.int64)
    if estimates is None or not len(held):
        return ""
    place = int(held[np.argmax(estimates[held])])
    signs = warnings(pair_details(run.inputs.corpus, run.ranking, selection, query, int(found.ids[place])))
    why = "; ".join(signs[:2])
    return f"Riskiest negative: #{found.chosen[place]}, {probability(float(estimates[place]))} likely relevant." + (
        f" {why[:1].upper()}{why[1:]}." if why else ""
    )
