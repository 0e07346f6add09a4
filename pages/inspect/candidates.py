"""One query on the Inspect screen: its positives, its figures, and every candidate with what became of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.analysis import charts, queries
from hnmine.analysis.explanation import MIN_LOG_ODDS
from hnmine.analysis.queries import Candidates
from hnmine.core import text as words
from hnmine.core.errors import HnmineError
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.inspect import maps
from pages.inspect.query_list import SHARE_SHOWN
from pages.shared import highlight, statistics, wording
from pages.shared.drawing import draw
from pages.shared.wording import NO_MEASUREMENT

Floats = npt.NDArray[np.float32]

# Passages of more characters scroll in a box of this many pixels, so that the candidates stay in sight.
LONG_TEXT, LONG_HEIGHT = 900, 300
# Of a long passage so many characters are looked through for shared words, of which so many are listed.
READ, SHARED_SHOWN = 2_000, 6
# Signals that stand behind the passage, so that its beginning is in sight.
BEHIND = ("bm25_rank", "overlap")
FIGURES = {"curve": "by rank", "near": "neighbourhood", "set": "whole set"}
VIEWS = {"near": "the nearest and the window", "chosen": "chosen only", "all": "all ranked"}


def positives(run: OpenRun, details: Candidates, query: int) -> None:
    """Draw the positives of a query, each with its similarity and rank."""
    corpus, ranking = run.inputs.corpus, run.ranking
    found_at = {int(passage): int(rank) for passage, rank in zip(details.ids, details.ranks, strict=True) if rank >= 0}
    promoted = set(corpus.promoted(query).tolist())
    for number in range(corpus.positive_starts[query], corpus.positive_starts[query + 1]):
        passage = int(corpus.positive_ids[number])
        rank = found_at.get(passage)
        text = corpus.passages[passage]
        with st.container(border=True, height=LONG_HEIGHT if len(text) > LONG_TEXT else "content"):
            st.caption(
                f":material/check_circle: Positive · similarity {ranking.positive_scores[number]:.3f} · "
                + (f"rank {rank}" if rank is not None else f"not among the first {ranking.depth:,}")
                + (" · added as positive by a reviewer" if passage in promoted else "")
            )
            st.text(text)


def figure(run: OpenRun, selection: Selection, details: Candidates, query: int) -> None:
    """Draw a figure of the query: its scores by rank, its neighbourhood, or where it lies in the whole set."""
    which = st.segmented_control(
        "Figure",
        list(FIGURES),
        default="curve",
        required=True,
        format_func=FIGURES.__getitem__,
        key="inspect-figure",
        persist_state="session",
        wrap=True,
        help="The query's similarities by rank, or a map of its neighbourhood or of the whole set. The maps lay the vectors flat: "
        "what lies close together is similar, as far as two dimensions can show it.",
    )
    if which == "near":
        maps.draw_neighbourhood(run, selection, details, query)
    elif which == "set":
        maps.draw_set(run, selection, query)
    else:
        draw(charts.rank_curve(details, selection.settings, float(selection.positive[query])), "inspect-curve")
        st.caption("Dots: chosen. Line: the positive's score. Shaded: the rank window.")


def candidates(run: OpenRun, selection: Selection, details: Candidates, query: int) -> None:
    """Draw the candidates in rank order, and the one that is picked with its whole text."""
    corpus = run.inputs.corpus
    view = st.segmented_control(
        "Candidates", list(VIEWS), default="near", required=True, format_func=VIEWS.get, key="inspect-view", persist_state="session"
    )
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
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    estimator = resources.estimator(run)
    fn_probabilities = _chances(run, details, query)
    # Similarity to a positive has a column of its own, of back-filled ones too.
    signals = {name: wording.signal(name) for name in details.signals if name != "positive_similarity"}
    shown = {name: each.factor * details.signals[name][rows] for name, each in signals.items()}
    key = f"inspect-candidates-{view}-{query}"
    st.dataframe(
        {
            "rank": [str(rank) if rank >= 0 else "" for rank in details.ranks[rows].tolist()],
            "score": details.scores[rows],
            "of pos.": 100 * np.minimum(details.shares[rows], SHARE_SHOWN),
            "like pos.": details.to_positive[rows],
            **({} if fn_probabilities is None else {"fn_probability": 100 * fn_probabilities[rows]}),
            **{name: values for name, values in shown.items() if name not in BEHIND},
            "state": [details.states[place] for place in rows.tolist()],
            "shared words": shared,
            "passage": texts,
            **{name: values for name, values in shown.items() if name in BEHIND},
            "seen as": [queries.sources_in_words(int(corpus.sources[passage])) for passage in details.ids[rows]],
        },
        key=key,
        hide_index=True,
        height=420,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "rank": text(help="Counted from 0; empty for back-filled ones.", width=55, alignment="right"),
            "score": number(format="%.3f", help="Similarity to the query.", width=65),
            "of pos.": number(format="%.0f %%", help="Score as a share of the positive's; 200 % stands for that or more.", width=70),
            "like pos.": number(format="%.3f", help="Similarity to the nearest positive passage: near 1 it says the same.", width=70),
            "fn_probability": number(format="%.1f %%", help="Estimated chance to be a false negative. " + NO_MEASUREMENT, width=80),
            **{name: number(each.header, format=each.form, help=each.help, width=75) for name, each in signals.items()},
            "state": text(width=160, help="Chosen, with its place among the negatives, or why not."),
            "shared words": text(width=110, help="Words that it shares with a positive and few other candidates have."),
            "passage": text(width="large"),
            "seen as": text(help="Where this passage stands in the data.", width="small"),
        },
        alt="Candidates of the query in rank order, with what became of each",
    )
    picked = st.session_state[key].selection.rows
    if not picked or picked[0] >= len(rows):
        st.caption("Select a row to read the whole passage.")
        return
    place = int(rows[picked[0]])
    with st.container(border=True):
        st.caption(f"{details.states[place]} · similarity {details.scores[place]:.3f} · like a positive {details.to_positive[place]:.3f}")
        if fn_probabilities is not None and estimator is not None and details.ranks[place] >= 0:
            _reasons("FNModel of this candidate", float(fn_probabilities[place]), estimator.reasons(query, int(details.ranks[place])))
        text_of = corpus.passages[details.ids[place]]
        highlight.show(text_of, words.shared(text_of, wanted, common))


def _chances(run: OpenRun, details: Candidates, query: int) -> Floats | None:
    """Return the estimate for each candidate of a query, NaN for what is not ranked; None where the run has no signals."""
    estimator = resources.estimator(run)
    if estimator is None:
        return None
    fn_probabilities = np.full(len(details.ids), np.nan, dtype=np.float32)
    fn_probabilities[: run.ranking.depth] = estimator.block(slice(query, query + 1), slice(0, run.ranking.depth))[0]
    return fn_probabilities


def most_probable(run: OpenRun, details: Candidates, query: int) -> None:
    """Say which of a query's negatives is the most suspicious, and why."""
    estimator, fn_probabilities = resources.estimator(run), _chances(run, details, query)
    held = np.flatnonzero((details.chosen > 0) & (details.ranks >= 0))
    if estimator is None or fn_probabilities is None or not len(held):
        return
    place = int(held[np.argmax(fn_probabilities[held])])
    rank = int(details.ranks[place])
    _reasons(f"Most suspicious negative: rank {rank:,}", float(fn_probabilities[place]), estimator.reasons(query, rank))


def _reasons(what: str, chance: float, reasons: list[tuple[str, float]]) -> None:
    """Draw an estimate and what speaks for it (+) and against it (-), the strongest first."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{what}, estimate {wording.probability(chance)}",
            width="content",
            help="What speaks for a false negative (+) and against (\N{MINUS SIGN}), in log-odds against an average candidate: 0.7 more "
            "doubles the odds. " + NO_MEASUREMENT,
        )
        for words_of, amount in reasons:
            if abs(amount) >= MIN_LOG_ODDS:
                sign = "+" if amount > 0 else "\N{MINUS SIGN}"
                st.badge(f"{sign}{abs(amount):.1f} {words_of}", color="orange" if amount > 0 else "green")


def _shared_words(texts: list[str], wanted: list[str], common: frozenset[str]) -> list[str]:
    """Say for each text which words it shares with those that are wanted: what fewest of the texts have first, and no more than a few."""
    held = [list(dict.fromkeys(text[a:b].casefold() for a, b in words.shared(text[:READ], wanted, common))) for text in texts]
    counts = Counter(word for each in held for word in each)
    return [", ".join(sorted(each, key=counts.__getitem__)[:SHARED_SHOWN]) for each in held]


def own_words(run: OpenRun) -> None:
    """Draw a search of the passages with the run's model."""
    st.caption("Asks the same model as the run. Use it to find out whether another passage answers a query too.")
    question = st.text_input("Words or a question", key="inspect-ask")
    if not question.strip():
        return
    try:
        with st.spinner("Searching; the first time, the model has to be loaded ..."):
            scores, ids = resources.nearest(run.run.id, question, 10)
    except HnmineError as error:
        st.error("The model cannot be used", icon=":material/error:")
        st.text(str(error))
        return
    st.dataframe(
        {"score": scores, "passage": [run.inputs.corpus.passages[passage] for passage in ids]},
        hide_index=True,
        column_config={
            "score": st.column_config.NumberColumn(format="%.3f", width="small"),
            "passage": st.column_config.TextColumn(width="large"),
        },
        alt="The ten passages nearest to these words",
    )
