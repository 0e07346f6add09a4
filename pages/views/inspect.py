"""Screen 3, Inspect: similarity histograms, a table of queries, and every candidate of one query with what became of it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine import quality, resources
from hnmine.errors import HnmineError
from pages.parts import charts, state, statistics

# A table of more rows is slow to send and of no use to read; searching and filtering reach the rest.
SHOWN_QUERIES = 2_000
# A positive that scores near 0 (a wrong label) would give shares of thousands of percent.
SHARE_SHOWN = 2.0
# Passages of more characters scroll in a box of this many pixels, so that the candidates stay in sight.
LONG_TEXT, LONG_HEIGHT = 900, 300

st.title("Inspect", anchor=False)
run, selection = state.opened()
corpus, ranking, settings = run.inputs.corpus, run.ranking, selection.settings
table = statistics.query_table(run, selection)

# All similarities

event = st.vega_lite_chart(
    spec=charts.similarity_histogram(statistics.histograms(run, selection), settings, brush=True, height=280),
    alt="Similarity to the query: positives, chosen negatives and candidates in the window",
    key="inspect-histogram",
    on_select="rerun",
)
brushed = (event.selection.get("brush") or {}) if event else {}
low, high = next(iter(brushed.values()), (None, None)) if brushed else (None, None)
if low is None:
    st.caption("Drag across the histogram to keep the queries with a chosen negative in that range.")
else:
    st.caption(f"Queries with a chosen negative between {low:.3f} and {high:.3f}. Click into the chart to clear.")

# Queries

FILTERS = {
    "close": "over 95 % of the positive",
    "above": "above the positive",
    "low": "positive below the top 10",
    "short": "short or back-filled",
}
with st.container(horizontal=True, vertical_alignment="bottom"):
    words = st.text_input(
        "Search the queries",
        placeholder="words in the query",
        key="inspect-search",
        persist_state="session",
        icon=":material/search:",
        width=300,
    )
    narrowed = st.segmented_control(
        "Show only",
        list(FILTERS),
        format_func=FILTERS.get,
        key="inspect-filter",
        persist_state="session",
        help="Queries whose hardest negative comes that close to the positive; whose best positive ranks low; "
        "or that got too few negatives from the window. Click again for all.",
    )
keep = np.ones(len(corpus.queries), dtype=bool)
if words.strip():
    folded = words.casefold()
    keep &= np.fromiter((folded in query for query in statistics.folded_queries(run)), bool, len(keep))
with np.errstate(invalid="ignore"):
    if narrowed == "close":
        keep &= table.share > 0.95
    elif narrowed == "above":
        keep &= table.hardest > table.positive
    elif narrowed == "low":
        keep &= table.positive_rank >= 10
    elif narrowed == "short":
        keep &= selection.short | (table.backfilled > 0)
    if low is not None:
        keep &= ((selection.scores >= low) & (selection.scores <= high)).any(axis=1)
found = np.flatnonzero(keep)
found = found[np.argsort(np.nan_to_num(-table.share[found], nan=np.inf), kind="stable")]  # closest to their positive first
shown = found[:SHOWN_QUERIES]
if not len(shown):
    st.info("No query fits: change the search, the filter or the range.", icon=":material/filter_alt_off:")
    st.stop()

ranks = table.positive_rank[shown]
chosen_rows = st.dataframe(
    {
        "query": [corpus.queries[i] for i in shown],
        "pos.": table.positive[shown],
        "pos. rank": [str(rank) if rank < ranking.depth else f"{ranking.depth}+" for rank in ranks],
        "hardest neg.": table.hardest[shown],
        "margin": table.margin[shown],
        "of pos.": 100 * np.minimum(table.share[shown], SHARE_SHOWN),
        "negatives": table.negatives[shown],
    },
    key="inspect-queries",
    hide_index=True,
    height=280,
    on_select="rerun",
    selection_mode="single-row",
    column_config={
        "query": st.column_config.TextColumn(width=330),
        "pos.": st.column_config.NumberColumn(format="%.3f", help="Mean similarity of the query to its positives."),
        "pos. rank": st.column_config.TextColumn(help="Rank of the best positive, counted from 0.", alignment="right"),
        "hardest neg.": st.column_config.NumberColumn(format="%.3f", help="Similarity of the hardest negative."),
        "margin": st.column_config.NumberColumn(format="%.3f", help="Positive minus hardest negative; below 0 the negative is nearer."),
        "of pos.": st.column_config.ProgressColumn(
            format="%.0f %%",
            min_value=0.0,
            max_value=100 * SHARE_SHOWN,
            help="Hardest negative as a share of the positive: the higher, the more suspicious. 200 % stands for that or more.",
        ),
        "negatives": st.column_config.NumberColumn(format="%d"),
    },
    alt="Queries, those whose hardest negative comes closest to the positive first",
)
st.caption(
    f"{len(found):,} of {len(corpus.queries):,} queries, the most suspicious first"
    + (f"; the first {len(shown):,} are listed" if len(found) > len(shown) else "")
    + ". Select a row to see its candidates; until then the first is shown."
)
picked = chosen_rows.selection.rows
query = int(shown[picked[0]]) if picked and picked[0] < len(shown) else int(shown[0])

# One query

st.caption("Query")
st.text(corpus.queries[query])
details = quality.candidates_of(corpus, ranking, selection, query)
found_at = {int(passage): int(rank) for passage, rank in zip(details.ids, details.ranks, strict=True) if rank >= 0}
left, right = st.columns([3, 2])
with left:
    for number in range(corpus.positive_starts[query], corpus.positive_starts[query + 1]):
        passage = int(corpus.positive_ids[number])
        rank = found_at.get(passage)
        text = corpus.passages[passage]
        with st.container(border=True, height=LONG_HEIGHT if len(text) > LONG_TEXT else "content"):
            st.caption(
                f":material/check_circle: Positive · similarity {ranking.positive_scores[number]:.3f} · "
                + (f"rank {rank}" if rank is not None else f"not among the {ranking.depth:,} nearest")
            )
            st.text(text)
with right:
    st.vega_lite_chart(
        spec=charts.rank_curve(details, settings, float(table.positive[query])),
        alt="Similarity by rank: the window is shaded, chosen negatives are dots, the line is the positives' level",
        key="inspect-curve",
    )
    st.caption("Dots: chosen. Line: the positives' level. Shaded: the rank window.")

VIEWS = {"near": "the nearest and the window", "chosen": "chosen only", "all": "all ranked"}
view = st.segmented_control(
    "Candidates", list(VIEWS), default="near", required=True, format_func=VIEWS.get, key="inspect-view", persist_state="session"
)
if view == "chosen":
    rows = np.flatnonzero(details.chosen > 0)
    rows = rows[np.argsort(details.chosen[rows])]
elif view == "all":
    rows = np.arange(len(details.ids))
else:
    rows = np.flatnonzero(details.ranks < settings.window_end)
candidates = st.dataframe(
    {
        "rank": [int(rank) if rank >= 0 else None for rank in details.ranks[rows]],
        "score": details.scores[rows],
        "of pos.": 100 * np.minimum(details.shares[rows], SHARE_SHOWN),
        "like pos.": details.to_positive[rows],
        "state": [details.states[i] for i in rows],
        "passage": [corpus.passages[i] for i in details.ids[rows]],
        "seen as": [quality.sources_in_words(int(corpus.sources[i])) for i in details.ids[rows]],
    },
    key=f"inspect-candidates-{query}",
    hide_index=True,
    height=420,
    on_select="rerun",
    selection_mode="single-row",
    column_config={
        "rank": st.column_config.NumberColumn(format="%d", help="Counted from 0; empty for back-filled ones.", width=55),
        "score": st.column_config.NumberColumn(format="%.3f", help="Similarity to the query.", width=65),
        "of pos.": st.column_config.NumberColumn(
            format="%.0f %%", help="Score as a share of the positive's; 200 % stands for that or more.", width=80
        ),
        "like pos.": st.column_config.NumberColumn(
            format="%.3f", help="Similarity to the nearest positive passage: near 1 it says the same.", width=75
        ),
        "state": st.column_config.TextColumn(width=170),
        "passage": st.column_config.TextColumn(width="large"),
        "seen as": st.column_config.TextColumn(help="Where this passage stands in the data.", width="small"),
    },
    alt="Candidates of the query in rank order, with what became of each",
)
if candidates.selection.rows and candidates.selection.rows[0] < len(rows):
    index = int(rows[candidates.selection.rows[0]])
    with st.container(border=True):
        st.caption(f"{details.states[index]} · similarity {details.scores[index]:.3f} · like a positive {details.to_positive[index]:.3f}")
        st.text(corpus.passages[details.ids[index]])
else:
    st.caption("Select a row to read the whole passage.")

# Any words at all

with st.expander("Search the passages with your own words", icon=":material/travel_explore:"):
    st.caption("Asks the same model as the run. Use it to find out whether another passage answers a query too.")
    question = st.text_input("Words or a question", key="inspect-ask")
    if question.strip():
        try:
            with st.spinner("Searching; the first time, the model has to be loaded ..."):
                scores, ids = resources.nearest(run.run.id, question, 10)
        except HnmineError as error:
            st.error("The model cannot be used", icon=":material/error:")
            st.text(str(error))
        else:
            st.dataframe(
                {"score": scores, "passage": [corpus.passages[i] for i in ids]},
                hide_index=True,
                column_config={
                    "score": st.column_config.NumberColumn(format="%.3f", width="small"),
                    "passage": st.column_config.TextColumn(width="large"),
                },
                alt="The ten passages nearest to these words",
            )
