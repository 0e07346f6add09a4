"""What else may be wrong with a selection, on the Quality screen: its positives, hubs, lengths, scores, and rows with too few."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from hnmine.analysis.diagnostics import LOW_RANK, TOP
from hnmine.analysis.explanation import HUB_LEAST, HUB_SHARE
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.quality import figures
from pages.shared import statistics, tables, wording

VIEWS = {"positives": "positives", "hubs": "hubs", "lengths": "lengths", "scores": "scores", "short": "short and back-filled"}
WHICH = {
    "low": f"rank {LOW_RANK} or later",
    "unranked": "not among the ranked",
    "below": "below a negative",
    "elsewhere": "of other queries too",
}
number, text = st.column_config.NumberColumn, st.column_config.TextColumn


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the counts at a glance, and one of the parts."""
    positives, hubs = statistics.positives(run, selection), statistics.hubs(run, selection)
    lengths, scores = statistics.lengths(run, selection), statistics.separation(run, selection)
    filled = selection.random_filled.any(axis=1)
    with st.grid(5, min_column_width=170):
        st.metric(
            "Low positives",
            f"{int(positives.low.sum()):,}",
            border=True,
            help=f"At rank {LOW_RANK} or later, counted from 0, or not among the ranked; {len(positives.ranks):,} positives in all.",
        )
        st.metric(
            "Hubs",
            f"{hubs.hubs:,}",
            border=True,
            help=f"Passages chosen for more than {wording.percent(HUB_SHARE)} of the queries, and for {HUB_LEAST} at least.",
        )
        longer = lengths.chosen[0] / lengths.positives[0] if lengths.positives[0] else math.nan
        st.metric(
            "Length of negatives",
            "–" if math.isnan(longer) else f"{longer:.2f} x",
            border=True,
            help="Mean length of the chosen negatives, as a multiple of the positives'. Near 1, length gives nothing away.",
        )
        st.metric(
            "Positive on top",
            "–" if math.isnan(scores.in_order) else wording.percent(scores.in_order, 1),
            border=True,
            help="Of all pairs of a positive and a negative of the same query: how often the positive is nearer to the query. Where it is "
            "not, the label may be wrong, or the negative false, or the model has something to learn.",
        )
        st.metric(
            "Short or back-filled",
            f"{int((selection.short | filled).sum()):,}",
            border=True,
            help="Queries for which the window had too few candidates.",
        )
    view = st.segmented_control(
        "Look at",
        list(VIEWS),
        default="positives",
        required=True,
        format_func=VIEWS.__getitem__,
        key="quality-view",
        persist_state="session",
        wrap=True,
        help="What is behind the counts above.",
    )
    {"positives": _positives, "hubs": _hubs, "lengths": figures.lengths, "scores": figures.scores, "short": _short}[view or "positives"](
        run, selection
    )


def _positives(run: OpenRun, selection: Selection) -> None:
    found, corpus, depth = statistics.positives(run, selection), run.inputs.corpus, run.ranking.depth
    masks = {
        "low": found.low,
        "unranked": ~found.ranked & found.candidate,
        "below": found.above > 0,
        "elsewhere": found.elsewhere > 0,
    }
    which = st.segmented_control(
        "Show",
        list(WHICH),
        default="low",
        required=True,
        format_func=lambda name: f"{WHICH[name]}: {int(masks[name].sum()):,}",
        key="quality-positives",
        persist_state="session",
        wrap=True,
        help="A positive that ranks low, or below the query's own negatives, is often a wrong label, and guards measure against it. That a "
        "passage answers several queries is no fault.",
    )
    places = np.flatnonzero(masks[which or "low"])
    places = places[np.lexsort((found.scores[places], -found.above[places], -found.ranks[places]))]
    if outside := int((~found.candidate).sum()):
        st.caption(f"{counted(outside, 'positive is', 'positives are')} not in the pool, and so cannot be ranked.")
    tables.table(
        run,
        f"quality-positives-{which}-{run.key}",
        len(places),
        lambda shown: (
            {
                "query": [corpus.queries[query] for query in found.queries[places[shown]].tolist()],
                "positive": [corpus.passages[passage] for passage in found.passages[places[shown]].tolist()],
                "score": found.scores[places[shown]],
                "rank": [str(rank) if rank < depth else f"{depth}+" for rank in found.ranks[places[shown]].tolist()],
                "neg. above": [
                    f"{above} of {chosen}" for above, chosen in zip(found.above[places[shown]], found.chosen[places[shown]], strict=True)
                ],
                "others": found.elsewhere[places[shown]],
            }
            | ({"promoted": found.promoted[places[shown]]} if found.promoted.any() else {})
        ),
        {
            "query": text(width=220),
            "positive": text(width=300),
            "score": number(format="%.3f", help="Similarity to its query.", width=65),
            "rank": text(help="Counted from 0, before the window and any guard.", alignment="right", width=60),
            "neg. above": text(help="The query's chosen negatives that are nearer to it than this positive.", alignment="right", width=90),
            "others": number(format="%d", help="Other queries of which it is a positive too.", width=65),
            "promoted": st.column_config.CheckboxColumn(help="Made a positive by a reviewer.", width=80),
        },
        "Positives, those that rank worst first",
        found.queries[places].astype(np.int64),
    )


def _hubs(run: OpenRun, selection: Selection) -> None:
    found, corpus = statistics.hubs(run, selection), run.inputs.corpus
    queries = len(corpus.queries)
    st.write(
        f"The {wording.percent(TOP)} of the candidates that are chosen most supply {wording.percent(found.top_share, 1)} of the negatives; "
        f"{found.never:,} of {found.candidates:,} are chosen for no query. Drop a hub that is junk, or guard by a maximum score."
    )
    tables.table(
        run,
        f"quality-hubs-{run.key}",
        len(found.passages),
        lambda shown: {
            "passage": [corpus.passages[passage] for passage in found.passages[shown].tolist()],
            "chosen for": found.counts[shown],
            "of the queries": 100 * found.counts[shown] / queries,
            "positive of": found.positive_of[shown],
        },
        {
            "passage": text(width="large"),
            "chosen for": number(format="localized", help="Queries that have it as a negative.", width=100),
            "of the queries": st.column_config.ProgressColumn(
                format="%.1f %%", min_value=0.0, max_value=max(1.0, 100 * float(found.counts.max(initial=0)) / queries), width=160
            ),
            "positive of": number(format="localized", help="Queries that it answers.", width=100),
        },
        "Passages by how many queries they are chosen for",
        None,
    )


def _short(run: OpenRun, selection: Selection) -> None:
    corpus, wanted = run.inputs.corpus, selection.settings.negative_number
    filled = selection.random_filled.sum(axis=1)
    queries = np.flatnonzero(selection.short | (filled > 0))
    queries = queries[np.lexsort((-filled[queries], selection.counts[queries]))]
    st.write(
        f"{counted(int(selection.short.sum()), 'query has', 'queries have')} fewer than {wanted:,} negatives; "
        f"{counted(int((filled > 0).sum()), 'query was', 'queries were')} filled up with {counted(int(filled.sum()), 'random passage')} "
        "from outside the window, which are usually easier."
    )
    tables.table(
        run,
        f"quality-short-{run.key}",
        len(queries),
        lambda shown: {
            "query": [corpus.queries[query] for query in queries[shown].tolist()],
            "negatives": selection.counts[queries[shown]],
            "back-filled": filled[queries[shown]],
        },
        {
            "query": text(width="large"),
            "negatives": number(format="localized", help=f"Of {wanted:,} wanted.", width=100),
            "back-filled": number(format="localized", help="Of these, taken from outside the window.", width=100),
        },
        "Queries that are short or back-filled, the shortest first",
        queries,
    )
