"""Further charts of a query on the Inspect screen: similarity by rank, and a map of its neighbourhood with a description."""

from __future__ import annotations

import streamlit as st

from hnmine.analysis import count_charts, maps
from hnmine.analysis.maps import Kind, Neighbourhood, neighbourhood
from hnmine.analysis.queries import Candidates
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import wording
from pages.shared.drawing import draw as draw_chart
from pages.shared.widgets import choice

FIGURES = {"curve": "Similarity by rank", "near": "Map"}


def draw(run: OpenRun, selection: Selection, candidates: Candidates, query: int) -> None:
    """Draw the query's similarities by rank, or the map of its neighbourhood."""
    about = "Points close together on the map are similar, as far as two dimensions can show it."
    if choice("Chart", FIGURES, "inspect-figure", "curve", about) == "near":
        draw_neighbourhood(run, selection, candidates, query)
    else:
        draw_chart(count_charts.rank_curve(candidates, selection.settings, float(selection.positive[query])), "inspect-curve")


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
    draw_chart(maps.neighbourhood_map(near, texts, statuses, f"Map of the query's neighbourhood. {words}"), "inspect-near")
    st.text(f"{words} {explained(near.plane.explained)} Hover for text.")


def in_words(near: Neighbourhood, statuses: list[str]) -> str:
    """Describe a neighbourhood; the similarities are those in all dimensions."""
    nearer, chosen = near.nearer_than_query
    sentences = [f"{nearer} of {chosen} chosen negatives are more similar to a positive than the query is ({near.to_positive[0]:.3f})."]
    for kind, what in ((Kind.CHOSEN, "chosen negative"), (Kind.REJECTED, "rejected candidate")):
        if (point := near.nearest_to_positive(kind)) is not None:
            sentences.append(f"Most similar {what}: {near.to_positive[point]:.3f} ({statuses[point]}).")
    counts = [(kind, int((near.kinds == kind).sum())) for kind in (Kind.POSITIVE, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED)]
    names = {
        Kind.POSITIVE: "positive",
        Kind.NOT_DRAWN: "not selected",
        Kind.BEFORE_WINDOW: "above the rank range",
        Kind.REJECTED: "rejected",
    }
    sentences.append("Also shown: " + ", ".join(f"{count} {names[kind]}" for kind, count in counts if count) + ".")
    return " ".join(sentences)


def explained(parts: tuple[float, float]) -> str:
    """Describe the fraction of the variance that a map shows."""
    return f"2-D projection, keeps {wording.percent(sum(parts))} of the variance."
