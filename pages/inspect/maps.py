"""Maps for the Inspect screen: one query's neighbourhood, and the whole set; each says in words what it shows."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine.analysis.charts import neighbourhood_map, set_map
from hnmine.analysis.maps import Kind, Neighbourhood, neighbourhood, roles
from hnmine.analysis.queries import Candidates
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics, wording
from pages.shared.drawing import draw


def draw_neighbourhood(run: OpenRun, selection: Selection, candidates: Candidates, query: int) -> None:
    """Draw one query's neighbourhood, and say the same in words."""
    corpus = run.inputs.corpus
    near = neighbourhood(corpus, run.ranking, selection, candidates, query)
    texts = [corpus.queries[query]] + [corpus.passages[passage] for passage in near.ids[1:].tolist()]
    states = ["the query"] + [
        "positive of this query" if kind == Kind.POSITIVE else candidates.states[place]
        for kind, place in zip(near.kinds[1:].tolist(), near.order[1:].tolist(), strict=True)
    ]
    words = in_words(near, states)
    draw(neighbourhood_map(near, texts, states, f"Map of the query's neighbourhood. {words}"), "inspect-near")
    st.caption(f"{words} {explained(near.plane.explained)} Point at a mark to read it.")


def in_words(near: Neighbourhood, states: list[str]) -> str:
    """Say what the map of a neighbourhood shows, measured in all dimensions."""
    nearer, chosen = near.nearer_than_query
    said = [f"{nearer} of {chosen} chosen negatives are more similar to a positive than the query is ({near.to_positive[0]:.3f})."]
    for kind, what in ((Kind.CHOSEN, "chosen negative"), (Kind.REJECTED, "rejected candidate")):
        if (point := near.nearest_to_positive(kind)) is not None:
            said.append(f"The {what} nearest to a positive has {near.to_positive[point]:.3f} ({states[point]}).")
    counts = [(kind, int((near.kinds == kind).sum())) for kind in (Kind.POSITIVE, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED)]
    names = {Kind.POSITIVE: "positive", Kind.NOT_DRAWN: "not drawn", Kind.BEFORE_WINDOW: "before the window", Kind.REJECTED: "rejected"}
    said.append("Also shown: " + ", ".join(f"{count} {names[kind]}" for kind, count in counts if count) + ".")
    return " ".join(said)


def explained(shares: tuple[float, float]) -> str:
    """Say how much of the truth a map shows."""
    whole, across, up = map(wording.percent, (sum(shares), *shares))
    return f"Principal components: the map shows {whole} of the variance ({across} across, {up} up)."


def draw_set(run: OpenRun, selection: Selection, query: int) -> None:
    """Draw the whole set with one query in it, and say how much of it is drawn."""
    corpus = run.inputs.corpus
    with st.spinner("Laying the passages flat ..."):
        whole = statistics.overview(run)
    what = roles(corpus, selection, whole.ids)
    chosen = selection.negatives[query]
    ids = np.concatenate([corpus.positives(query), chosen[chosen >= 0]])
    vectors = np.concatenate([np.asarray(run.ranking.query_vectors[query : query + 1]), np.asarray(run.ranking.passage_vectors[ids])])
    kinds = np.full(len(vectors), Kind.CHOSEN, dtype=np.int8)
    kinds[: 1 + len(corpus.positives(query))] = Kind.POSITIVE
    kinds[0] = Kind.QUERY
    counts = np.bincount(what, minlength=4)
    words = (
        f"{len(whole.ids):,} passages"
        + (f", a sample of {whole.of:,}" if len(whole.ids) < whole.of else "")
        + f": {counts[1]:,} only positives, {counts[2]:,} only chosen negatives, {counts[3]:,} both, {counts[0]:,} neither."
    )
    texts = [corpus.passages[passage] for passage in whole.ids.tolist()]
    draw(set_map(whole.points, what, texts, whole.plane.place(vectors), kinds, f"Map of the whole set. {words}"), "inspect-set")
    st.caption(f"{words} {explained(whole.plane.explained)} Large marks: this query, its positives and its negatives.")
