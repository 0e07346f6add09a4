"""Maps of the Inspect screen: one query's neighbourhood and the whole data set, each with a description."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine.analysis.map_charts import neighbourhood_map, set_map
from hnmine.analysis.maps import Kind, Neighbourhood, neighbourhood, roles
from hnmine.analysis.queries import Candidates
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics, wording
from pages.shared.drawing import draw


def draw_neighbourhood(run: OpenRun, selection: Selection, candidates: Candidates, query: int) -> None:
    """Draw the map of one query's neighbourhood with its description."""
    corpus = run.inputs.corpus
    near = neighbourhood(corpus, run.ranking, selection, candidates, query)
    texts = [corpus.queries[query]] + [corpus.passages[passage] for passage in near.ids[1:].tolist()]
    statuses = ["the query"] + [
        "positive of this query" if kind == Kind.POSITIVE else candidates.statuses[place]
        for kind, place in zip(near.kinds[1:].tolist(), near.order[1:].tolist(), strict=True)
    ]
    words = in_words(near, statuses)
    draw(neighbourhood_map(near, texts, statuses, f"Map of the query's neighbourhood. {words}"), "inspect-near")
    st.caption(f"{words} {explained(near.plane.explained)} Hover over a point to read its text.")


def in_words(near: Neighbourhood, statuses: list[str]) -> str:
    """Describe a neighbourhood; the similarities are those in all dimensions."""
    nearer, chosen = near.nearer_than_query
    sentences = [f"{nearer} of {chosen} chosen negatives are more similar to a positive than the query is ({near.to_positive[0]:.3f})."]
    for kind, what in ((Kind.CHOSEN, "chosen negative"), (Kind.REJECTED, "rejected candidate")):
        if (point := near.nearest_to_positive(kind)) is not None:
            sentences.append(f"Most similar {what}: {near.to_positive[point]:.3f} ({statuses[point]}).")
    counts = [(kind, int((near.kinds == kind).sum())) for kind in (Kind.POSITIVE, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED)]
    names = {Kind.POSITIVE: "positive", Kind.NOT_DRAWN: "not selected", Kind.BEFORE_WINDOW: "before the window", Kind.REJECTED: "rejected"}
    sentences.append("Also shown: " + ", ".join(f"{count} {names[kind]}" for kind, count in counts if count) + ".")
    return " ".join(sentences)


def explained(parts: tuple[float, float]) -> str:
    """Describe the fraction of the variance that a map shows."""
    return f"The map (two principal components) shows {wording.percent(sum(parts))} of the variance."


def draw_set(run: OpenRun, selection: Selection, query: int) -> None:
    """Draw the map of the whole data set with one query, and its description."""
    corpus = run.inputs.corpus
    with st.spinner("Projecting the passages ..."):
        whole = statistics.overview(run)
    role = roles(corpus, selection, whole.ids)
    chosen = selection.negatives[query]
    ids = np.concatenate([corpus.positives(query), chosen[chosen >= 0]])
    vectors = np.concatenate([np.asarray(run.ranking.query_vectors[query : query + 1]), np.asarray(run.ranking.passage_vectors[ids])])
    kinds = np.full(len(vectors), Kind.CHOSEN, dtype=np.int8)
    kinds[: 1 + len(corpus.positives(query))] = Kind.POSITIVE
    kinds[0] = Kind.QUERY
    counts = np.bincount(role, minlength=4)
    words = (
        f"{len(whole.ids):,} passages"
        + (f", a sample of {whole.of:,}" if len(whole.ids) < whole.of else "")
        + f": {counts[1]:,} positives only, {counts[2]:,} negatives only, {counts[3]:,} both, {counts[0]:,} neither."
    )
    texts = [corpus.passages[passage] for passage in whole.ids.tolist()]
    draw(set_map(whole.points, role, texts, whole.plane.place(vectors), kinds, f"Map of the whole data set. {words}"), "inspect-set")
    st.caption(f"{words} {explained(whole.plane.explained)} Large points: this query, its positives and its negatives.")
