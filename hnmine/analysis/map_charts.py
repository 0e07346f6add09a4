"""The chart of the map of a query's neighbourhood."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.figure import GROUPS, Figure, Spec, colour, figure, short, spec, tooltip_lines
from hnmine.analysis.maps import Kind, Neighbourhood

Floats = npt.NDArray[np.float32]

# Group, shape and size of each kind of point of a neighbourhood. The first three groups have the same colours in all charts.
NEAR = [*GROUPS, "before the window", "rejected", "query"]
SHAPES = ["triangle-up", "circle", "circle", "square", "cross", "diamond"]
SIZES = [140, 90, 30, 50, 60, 260]
KINDS = [Kind.POSITIVE, Kind.CHOSEN, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED, Kind.QUERY]


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
