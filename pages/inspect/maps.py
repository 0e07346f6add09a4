"""Maps for the Inspect screen: one query's neighbourhood, and the whole set; each says in words what it shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from hnmine.analysis.maps import Kind, Neighbourhood, neighbourhood, roles
from hnmine.analysis.queries import Candidates
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import charts, statistics, wording

Floats = npt.NDArray[np.float32]

# Of a neighbourhood's points; the first three have the colours that they have everywhere.
NEAR = [*charts.GROUPS, "before the window", "rejected", "query"]
KINDS = {
    Kind.POSITIVE: (NEAR[0], "triangle-up", 140),
    Kind.CHOSEN: (NEAR[1], "circle", 90),
    Kind.NOT_DRAWN: (NEAR[2], "circle", 30),
    Kind.BEFORE_WINDOW: (NEAR[3], "square", 50),
    Kind.REJECTED: (NEAR[4], "cross", 60),
    Kind.QUERY: (NEAR[5], "diamond", 260),
}
# Of a whole set's passages, by `projection.roles`.
ROLES = ["other passages", "positives", "chosen negatives", "positive and chosen"]
TOOLTIP_LETTERS = 160


def _flat(name: str) -> charts.Spec:
    """An axis of a map: only distances mean something there, so it has no numbers."""
    return charts.number(name, title=None, scale={"zero": False}, axis={"labels": False, "ticks": False, "grid": False, "domain": False})


def neighbourhood_map(near: Neighbourhood, texts: list[str], states: list[str]) -> charts.Spec:
    """Draw a query, its positives and candidates on their plane; `texts` and `states` (in words) are those of the points."""
    order = np.argsort([list(KINDS)[::-1].index(Kind(kind)) for kind in near.kinds.tolist()], kind="stable")
    order = order[np.argsort(np.isin(near.kinds[order], (Kind.POSITIVE, Kind.QUERY, Kind.CHOSEN)), kind="stable")]  # drawn on top
    looks = [KINDS[Kind(int(near.kinds[point]))] for point in order]
    return {
        "data": {"name": "points"},
        "mark": {"type": "point", "filled": True, "opacity": 0.85},
        "encoding": {
            "x": _flat("x"),
            "y": _flat("y"),
            "color": charts.word(
                "group",
                scale={"domain": NEAR},
                legend={"orient": "top", "title": None, "labelLimit": 300, "columns": 3, "symbolOpacity": 1},
            ),
            "shape": charts.word("group", scale={"domain": NEAR, "range": _shapes()}, legend=None),
            "size": charts.number("size", scale=None, legend=None),
            "tooltip": [
                charts.word("state"),
                charts.number("score", title="similarity to the query", format=".3f"),
                charts.number("like", title="to a positive", format=".3f"),
                charts.word("text"),
            ],
        },
        "height": 380,
        **charts.LAYOUT,
        "datasets": {
            "points": pa.table(
                {
                    "x": near.points[order, 0],
                    "y": near.points[order, 1],
                    "group": [group for group, _, _ in looks],
                    "size": [size for _, _, size in looks],
                    "score": near.scores[order],
                    "like": near.to_positive[order],
                    "state": [states[point] for point in order],
                    "text": [_short(texts[point]) for point in order],
                }
            )
        },
    }


def _shapes() -> list[str]:
    return [next(shape for group, shape, _ in KINDS.values() if group == name) for name in NEAR]


def _short(text: str, letters: int = TOOLTIP_LETTERS) -> str:
    return text if len(text) <= letters else text[:letters] + " …"


def set_map(points: Floats, roles: npt.NDArray[np.int8], texts: list[str], near: Floats, kinds: npt.NDArray[np.int8]) -> charts.Spec:
    """Draw a set's passages by what they are for, and over them a query with its positives and negatives: `near` (n, 2), `kinds` (n,)."""
    order = np.argsort(roles != 0, kind="stable")
    domain = [ROLES[1], ROLES[2], ROLES[0], ROLES[3], "", "query"]
    over = np.flatnonzero(np.isin(kinds, (Kind.QUERY, Kind.POSITIVE, Kind.CHOSEN)))
    looks = [KINDS[Kind(int(kind))] for kind in kinds[over]]
    x, y = _flat("x"), _flat("y")
    colour = charts.word(
        "group",
        scale={"domain": domain},
        legend={
            "orient": "top",
            "title": None,
            "labelLimit": 300,
            "columns": 3,
            "symbolOpacity": 1,
            "symbolStrokeWidth": 0,
            "values": [*domain[:4], "query"],
        },
    )
    all_passages = {
        "data": {"name": "passages"},
        "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.6},
        "encoding": {"x": x, "y": y, "color": colour, "tooltip": [charts.word("group"), charts.word("text")]},
    }
    this_query = {
        "data": {"name": "query"},
        "mark": {"type": "point", "filled": True, "opacity": 1, "stroke": "#888", "strokeWidth": 1},
        "encoding": {
            "x": x,
            "y": y,
            "color": colour,
            "shape": charts.word("group", scale={"domain": NEAR, "range": _shapes()}, legend=None),
            "size": charts.number("size", scale=None, legend=None),
            "tooltip": [charts.word("group")],
        },
    }
    return {
        "layer": [all_passages, this_query],
        "resolve": {"scale": {"color": "shared"}},
        "height": 420,
        **charts.LAYOUT,
        "datasets": {
            "passages": pa.table(
                {
                    "x": points[order, 0],
                    "y": points[order, 1],
                    "group": pa.array([ROLES[role] for role in roles[order].tolist()]).dictionary_encode(),
                    "text": [_short(texts[point], 80) for point in order.tolist()],
                }
            ),
            "query": pa.table(
                {
                    "x": near[over, 0],
                    "y": near[over, 1],
                    "group": [group for group, _, _ in looks],
                    "size": [size for _, _, size in looks],
                }
            ),
        },
    }


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
    st.vega_lite_chart(spec=neighbourhood_map(near, texts, states), alt=f"Map of the query's neighbourhood. {words}", key="inspect-near")
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
    st.vega_lite_chart(
        spec=set_map(whole.points, what, texts, whole.plane.place(vectors), kinds), alt=f"Map of the whole set. {words}", key="inspect-set"
    )
    st.caption(f"{words} {explained(whole.plane.explained)} Large marks: this query, its positives and its negatives.")
