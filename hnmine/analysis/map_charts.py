"""Charts of the maps: a query's neighbourhood, and the passages of a whole data set."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.figure import GREY, GROUPS, Figure, Spec, colour, figure, short, spec, tooltip_lines
from hnmine.analysis.maps import Kind, Neighbourhood

Floats = npt.NDArray[np.float32]

# Group, shape and size of each kind of point of a neighbourhood. The first three groups have the same colours in all charts.
NEAR = [*GROUPS, "before the window", "rejected", "query"]
SHAPES = ["triangle-up", "circle", "circle", "square", "cross", "diamond"]
SIZES = [140, 90, 30, 50, 60, 260]
KINDS = [Kind.POSITIVE, Kind.CHOSEN, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED, Kind.QUERY]
# Roles of a data set's passages, by `maps.roles`.
ROLES = ["other passages", "positives", "chosen negatives", "positive and chosen"]


def neighbourhood_map(near: Neighbourhood, texts: list[str], statuses: list[str], description: str) -> Figure:
    """Draw a query, its positives and candidates on their plane; `texts` and `statuses` are those of the points."""
    places = np.array([KINDS.index(Kind(kind)) for kind in near.kinds.tolist()])
    order = np.lexsort((-places, np.isin(near.kinds, (Kind.POSITIVE, Kind.QUERY, Kind.CHOSEN))))  # the last points are drawn on top
    points = _marks(near.points[order], near.kinds[order])
    points |= {"similarity to the query": near.scores[order], "similarity to a positive": near.to_positive[order]}
    points |= {"status": [statuses[point] for point in order], "text": [short(texts[point], 160) for point in order]}
    return figure(_neighbourhood_map(), description, points=points)


@functools.cache
def _neighbourhood_map() -> Spec:
    points = _map("points", NEAR, "status", "similarity to the query:.3f", "similarity to a positive:.3f", "text", opacity=0.85)
    return spec(points.encode(**LOOKS), "Neighbourhood of the query", 420)


def set_map(
    points: Floats, roles: npt.NDArray[np.int8], texts: list[str], near: Floats, kinds: npt.NDArray[np.int8], description: str
) -> Figure:
    """Draw a data set's passages by role, with one query, its positives and negatives on top: `near` (n, 2), `kinds` (n,)."""
    order = np.argsort(roles != 0, kind="stable")
    over = np.isin(kinds, (Kind.QUERY, Kind.POSITIVE, Kind.CHOSEN))
    passages = {"x": points[order, 0], "y": points[order, 1], "group": np.array(ROLES)[roles[order]]}
    passages["text"] = [short(texts[point], 80) for point in order.tolist()]
    return figure(_set_map(), description, passages=passages, query=_marks(near[over], kinds[over]))


@functools.cache
def _set_map() -> Spec:
    import altair as alt

    domain = [ROLES[1], ROLES[2], ROLES[0], ROLES[3], "", "query"]
    passages = _map("passages", domain, "group", "text", size=14, opacity=0.6)
    query = _map("query", domain, "group", opacity=1, stroke=GREY, strokeWidth=1).encode(**LOOKS)
    return spec(alt.layer(passages, query).resolve_scale(color="shared"), "Whole data set", 460)


# Encodings of the columns of `_marks`.
LOOKS: Spec = {
    "shape": {"field": "group", "type": "nominal", "scale": {"domain": NEAR, "range": SHAPES}, "legend": None},
    "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
}


def _marks(points: Floats, kinds: npt.NDArray[np.int8]) -> Spec:
    places = [KINDS.index(Kind(kind)) for kind in kinds.tolist()]
    return {"x": points[:, 0], "y": points[:, 1], "group": [NEAR[place] for place in places], "size": [SIZES[place] for place in places]}


def _map(data: str, domain: list[str], *tooltip: str, **mark: Any) -> Any:
    """Build points on a plane. Only distances are meaningful, so the axes have no numbers."""
    import altair as alt

    plain = {"scale": alt.Scale(zero=False), "axis": alt.Axis(labels=False, ticks=False, grid=False, domain=False)}
    x, y = alt.X("x:Q", title="first principal component", **plain), alt.Y("y:Q", title="second principal component", **plain)
    chart = alt.Chart(alt.NamedData(data)).mark_point(filled=True, **mark)
    legend = {"columns": 2, "symbolOpacity": 1, "symbolStrokeWidth": 0, "values": [each for each in domain if each]}
    return chart.encode(x, y, color=colour(domain, legend), tooltip=tooltip_lines(*tooltip))
