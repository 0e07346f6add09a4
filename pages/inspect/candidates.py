"""One query on the Inspect screen: its positives, its charts, and every candidate with its status."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.analysis import count_charts, queries
from hnmine.analysis.explanation import MIN_LOG_ODDS
from hnmine.analysis.queries import Candidates
from hnmine.core import text as words
from hnmine.core.errors import HnmineError
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.inspect import maps
from pages.shared import highlight, statistics, wording
from pages.shared.drawing import draw
from pages.shared.widgets import choice, failed
from pages.shared.wording import COLUMNS, NO_MEASUREMENT, RATIO_SHOWN

Floats = npt.NDArray[np.float32]

# Longer passages (characters) scroll in a box of this height (pixels), so that the candidates stay on the screen.
LONG_TEXT, LONG_HEIGHT = 900, 300
# Shared words are searched in the first READ characters of a passage; at most SHARED_SHOWN are listed.
READ, SHARED_SHOWN = 2_000, 6
FIGURES = {"curve": "by rank", "near": "neighbourhood", "set": "whole data set"}
VIEWS = {"near": "up to the window's end", "chosen": "negatives only", "all": "all ranked"}


def positives(run: OpenRun, details: Candidates, query: int) -> None:
    """Draw the positives of a query, with similarity and rank."""
    corpus, ranking = run.inputs.corpus, run.ranking
    rank_of = {int(passage): int(rank) for passage, rank in zip(details.ids, details.ranks, strict=True) if rank >= 0}
    promoted = set(corpus.promoted(query).tolist())
    for number in range(corpus.positive_starts[query], corpus.positive_starts[query + 1]):
        passage = int(corpus.positive_ids[number])
        rank = rank_of.get(passage)
        text = corpus.passages[passage]
        with st.container(border=True, height=LONG_HEIGHT if len(text) > LONG_TEXT else "content"):
            st.caption(
                f":material/check_circle: Positive · similarity {ranking.positive_scores[number]:.3f} · "
                + (f"rank {rank}" if rank is not None else f"not in the first {ranking.depth:,}")
                + (" · added as positive by a reviewer" if passage in promoted else "")
            )
            st.text(text)


def figure(run: OpenRun, selection: Selection, details: Candidates, query: int) -> None:
    """Draw a chart of the query: its scores by rank, its neighbourhood, or its place in the whole data set."""
    about = (
        "Similarities by rank, or a 2-D map of the query's neighbourhood or of the whole data set. Points close together on a map "
        "are similar, as far as two dimensions can show it."
    )
    which = choice("Chart", FIGURES, "inspect-figure", "curve", about, wrap=True)
    if which == "near":
        maps.draw_neighbourhood(run, selection, details, query)
    elif which == "set":
        maps.draw_set(run, selection, query)
    else:
        draw(count_charts.rank_curve(details, selection.settings, float(selection.positive[query])), "inspect-curve")
        st.caption("Dots: negatives. Line: the positive's score. Shaded: the rank window.")


def candidates(run: OpenRun, selection: Selection, details: Candidates, query: int) -> None:
    """Draw the candidates in rank order, and the selected one with its whole text."""
    corpus = run.inputs.corpus
    view = choice("Candidates", VIEWS, "inspect-view", "near")
    rows = np.arange(len(details.ids))
    if view == "chosen":
        rows = np.flatnonzero(details.chosen > 0)
        rows = rows[np.argsort(details.chosen[rows])]
    elif view == "near":
        rows = np.flatnonzero(details.ranks < selection.settings.window_end)
    texts = [corpus.passages[passage] for passage in details.ids[rows].tolist()]
    wanted = [corpus.passages[passage] for passage in corpus.positives(query).tolist()]
    common = statistics.common_words(run)
    shared = _shared_words(texts, wanted, common)
    estimator = resources.estimator(run)
    fn_probabilities = _fn_probabilities(run, details, query)
    # The similarity to the positive has its own column, also for random-filled ones.
    signals = {name: wording.signal(name) for name in details.signals if name != "positive_similarity"}
    key = f"inspect-candidates-{view}-{query}"
    st.dataframe(
        {
            "rank": [str(rank) if rank >= 0 else "" for rank in details.ranks[rows].tolist()],
            "score": details.scores[rows],
            **({} if fn_probabilities is None else {"fn_probability": 100 * fn_probabilities[rows]}),
            "status": [details.statuses[place] for place in rows.tolist()],
            "passage": texts,
            "ratio": 100 * np.minimum(details.ratios[rows], RATIO_SHOWN),
            "positive_similarity": details.to_positive[rows],
            **{name: each.factor * details.signals[name][rows] for name, each in signals.items()},
            "shared words": shared,
            "source": [queries.sources_in_words(int(corpus.sources[passage])) for passage in details.ids[rows]],
        },
        key=key,
        hide_index=True,
        height=420,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        column_config={name: column.config() for name, column in (COLUMNS | signals).items()},
        alt="Candidates of the query in rank order, each with its status",
    )
    picked = st.session_state[key].selection.rows
    if not picked or picked[0] >= len(rows):
        st.caption("Select a row to read the whole passage.")
        return
    place = int(rows[picked[0]])
    with st.container(border=True):
        st.caption(
            f"{details.statuses[place]} · similarity {details.scores[place]:.3f}"
            f" · similarity to the positive {details.to_positive[place]:.3f}"
        )
        if fn_probabilities is not None and estimator is not None and details.ranks[place] >= 0:
            _reasons("This candidate", float(fn_probabilities[place]), estimator.reasons(query, int(details.ranks[place])))
        text_of = corpus.passages[details.ids[place]]
        highlight.show(text_of, words.shared(text_of, wanted, common))


def _fn_probabilities(run: OpenRun, details: Candidates, query: int) -> Floats | None:
    """Return the estimate for each candidate of a query, NaN where it is not ranked; None where the run has no signals."""
    estimator = resources.estimator(run)
    if estimator is None:
        return None
    fn_probabilities = np.full(len(details.ids), np.nan, dtype=np.float32)
    fn_probabilities[: run.ranking.depth] = estimator.block(slice(query, query + 1), slice(0, run.ranking.depth))[0]
    return fn_probabilities


def most_probable(run: OpenRun, details: Candidates, query: int) -> None:
    """Draw the negative with the highest estimated false-negative probability, with the reasons."""
    estimator, fn_probabilities = resources.estimator(run), _fn_probabilities(run, details, query)
    held = np.flatnonzero((details.chosen > 0) & (details.ranks >= 0))
    if estimator is None or fn_probabilities is None or not len(held):
        return
    place = int(held[np.argmax(fn_probabilities[held])])
    rank = int(details.ranks[place])
    _reasons(f"Most likely false negative: rank {rank:,}", float(fn_probabilities[place]), estimator.reasons(query, rank))


def _reasons(what: str, fn_probability: float, reasons: list[tuple[str, float]]) -> None:
    """Draw an estimate and the reasons that raise it (+) or lower it (-), the strongest first."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{what}, estimated probability {wording.probability(fn_probability)}",
            width="content",
            help="Reasons for a false negative (+) and against (\N{MINUS SIGN}), in log-odds relative to an average candidate: "
            "+0.7 doubles the odds. " + NO_MEASUREMENT,
        )
        for words_of, amount in reasons:
            if abs(amount) >= MIN_LOG_ODDS:
                sign = "+" if amount > 0 else "\N{MINUS SIGN}"
                st.badge(f"{sign}{abs(amount):.1f} {words_of}", color="orange" if amount > 0 else "green")


def _shared_words(texts: list[str], wanted: list[str], common: frozenset[str]) -> list[str]:
    """List for each text the words it shares with the wanted texts, the rarest first, at most SHARED_SHOWN."""
    held = [list(dict.fromkeys(text[a:b].casefold() for a, b in words.shared(text[:READ], wanted, common))) for text in texts]
    counts = Counter(word for each in held for word in each)
    return [", ".join(sorted(each, key=counts.__getitem__)[:SHARED_SHOWN]) for each in held]


def own_words(run: OpenRun) -> None:
    """Draw the search of the passages by a query, with the run's model."""
    st.caption("Uses the run's model. Find other passages that answer a query.")
    question = st.text_input("Query", key="inspect-ask")
    if not question.strip():
        return
    try:
        with st.spinner("Searching. The first search loads the model ..."):
            scores, ids = resources.nearest(run.run.id, question, 10)
    except HnmineError as error:
        failed("Cannot use the model", error)
        return
    st.dataframe(
        {"score": scores, "passage": [run.inputs.corpus.passages[passage] for passage in ids]},
        hide_index=True,
        column_config={name: COLUMNS[name].config() for name in ("score", "passage")},
        alt="The ten passages most similar to the query",
    )
