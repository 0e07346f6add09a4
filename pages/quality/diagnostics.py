"""Diagnostics of a selection on the Quality screen: positives, reused passages, lengths, similarities, queries with few negatives."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine.analysis.diagnostics import LOW_RANK, TOP
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.quality import figures
from pages.shared import statistics, tables, wording
from pages.shared.widgets import choice
from pages.shared.wording import COLUMNS, QUERY_COLUMNS

VIEWS = {"positives": "Positives", "hubs": "Reused passages", "lengths": "Lengths", "scores": "Similarities", "short": "Too few negatives"}
WHICH = {
    "low": f"Not in the top {LOW_RANK}",
    "unranked": "Not ranked",
    "below": "Outranked by a negative",
    "elsewhere": "Shared by several queries",
}
WRONG_LABELS = (
    "A positive with a low rank, or below negatives of its query, is often a wrong label, and the filters compare with its score."
)
number, text = st.column_config.NumberColumn, st.column_config.TextColumn


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw one of the views."""
    view = choice("Show", VIEWS, "quality-view", "positives", "Which part of the data to look at.")
    {"positives": _positives, "hubs": _hubs, "lengths": figures.lengths, "scores": figures.scores, "short": _short}[view](run, selection)


def _positives(run: OpenRun, selection: Selection) -> None:
    found, corpus, depth = statistics.positives(run, selection), run.inputs.corpus, run.ranking.depth
    masks = {
        "low": found.low,
        "unranked": ~found.ranked & found.candidate,
        "below": found.above > 0,
        "elsewhere": found.elsewhere > 0,
    }
    labels = {name: f"{label}: {int(masks[name].sum()):,}" for name, label in WHICH.items()}
    which = choice("Positives", labels, "quality-positives", "low", WRONG_LABELS)
    places = np.flatnonzero(masks[which])
    places = places[np.lexsort((found.scores[places], -found.above[places], -found.ranks[places]))]
    if outside := int((~found.candidate).sum()):
        st.write(f"{counted(outside, 'positive is', 'positives are')} not in the pool and not ranked.")
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
                "negatives above": [
                    f"{above} of {chosen}" for above, chosen in zip(found.above[places[shown]], found.chosen[places[shown]], strict=True)
                ],
                "other queries": found.elsewhere[places[shown]],
            }
            | ({"added": found.promoted[places[shown]]} if found.promoted.any() else {})
        ),
        {
            "query": text(width=210),
            "positive": text(width=250),
            "score": COLUMNS["score"].config(),
            "rank": COLUMNS["rank"].config(help="Counted from 0, before the rank range and any filter.", width=60),
            "negatives above": text(
                help="Negatives of the query that are more similar to it than this positive.", alignment="right", width=115
            ),
            "other queries": number(format="%d", help="Other queries with this positive.", width=100),
            "added": st.column_config.CheckboxColumn(help="Added as positive by a reviewer.", width=65),
        },
        "Positives, lowest rank first",
        found.queries[places].astype(np.int64),
    )


def _hubs(run: OpenRun, selection: Selection) -> None:
    found, corpus = statistics.hubs(run, selection), run.inputs.corpus
    queries = len(corpus.queries)
    st.write(
        f"The {wording.percent(TOP)} of the candidates that are chosen most often supply {wording.percent(found.top_share, 1)} of the "
        f"negatives. {found.never:,} of {found.candidates:,} candidates are never chosen. Mark junk among them in the review, "
        "or set a maximum score."
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
            "chosen for": number(format="localized", help="Queries with this negative.", width=100),
            "of the queries": st.column_config.ProgressColumn(
                format="%.1f%%", min_value=0.0, max_value=max(1.0, 100 * float(found.counts.max(initial=0)) / queries), width=160
            ),
            "positive of": number(format="localized", help="Queries with this positive.", width=100),
        },
        "Passages by the number of queries they are chosen for",
        None,
    )


def _short(run: OpenRun, selection: Selection) -> None:
    corpus, wanted = run.inputs.corpus, selection.settings.negative_number
    filled = selection.random_filled.sum(axis=1)
    queries = np.flatnonzero(selection.short | (filled > 0))
    queries = queries[np.lexsort((-filled[queries], selection.counts[queries]))]
    few = f"{counted(int(selection.short.sum()), 'query has', 'queries have')} fewer than {wanted:,} negatives."
    if filled.any():
        few += (
            f" {counted(int((filled > 0).sum()), 'query has', 'queries have')} {counted(int(filled.sum()), 'random negative')} "
            "from outside the rank range, which are usually easier."
        )
    st.write(few)
    tables.table(
        run,
        f"quality-short-{run.key}",
        len(queries),
        lambda shown: {
            "query": [corpus.queries[query] for query in queries[shown].tolist()],
            "negatives": selection.counts[queries[shown]],
            "random fill": filled[queries[shown]],
        },
        {
            "query": text(width="large"),
            "negatives": QUERY_COLUMNS["negatives"].config(help=f"Of {wanted:,} wanted.", width=100),
            "random fill": number(format="localized", help="Negatives drawn at random from outside the rank range.", width=100),
        },
        "Queries with too few negatives or with random fill, fewest negatives first",
        queries,
    )
