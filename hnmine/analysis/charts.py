"""All charts, built with Altair: similarities, ranks, lengths, bands of an audit, comparisons, maps.

Altair takes 100 ms to build a specification, so each kind of chart is built once. A `Figure` joins it with the data as
named Arrow tables: when a slider moves, only these change. Screens draw these parts in the app's theme; `Figure.chart`
returns the same as an Altair chart.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.maps import Kind, Neighbourhood
from hnmine.analysis.queries import Candidates, Histograms
from hnmine.selection.ordering import descends
from hnmine.selection.settings import SelectionSettings

if TYPE_CHECKING:
    import altair
    import pyarrow

Spec = dict[str, Any]
Floats = npt.NDArray[np.float32]

# "candidates": all in the rank window. Longer names would be cut off in the legend on a phone.
GROUPS = ["positives", "chosen negatives", "candidates"]
# Theme of all charts. The colours equal those of .streamlit/config.toml, which has others for a dark background.
THEME: Spec = {
    "padding": {"bottom": 4},
    "config": {
        "axis": {"titlePadding": 8, "labelPadding": 8},
        "legend": {"orient": "top", "title": None, "labelLimit": 300, "offset": 4},
        "title": {"offset": 4},
    },
}
COLOURS = ["#0b8475", "#d2691e", "#74879f", "#7a5bb5", "#b83a4b", "#a67c00"]
GREY = "#888"
RULE = {"strokeDash": [4, 3], "size": 2, "color": GREY, "clip": True}
BINS = 40

# Group, shape and size of each kind of point of a neighbourhood. The first three groups have the same colours in all charts.
NEAR = [*GROUPS, "before the window", "rejected", "query"]
SHAPES = ["triangle-up", "circle", "circle", "square", "cross", "diamond"]
SIZES = [140, 90, 30, 50, 60, 260]
KINDS = [Kind.POSITIVE, Kind.CHOSEN, Kind.NOT_DRAWN, Kind.BEFORE_WINDOW, Kind.REJECTED, Kind.QUERY]
# Roles of a data set's passages, by `maps.roles`.
ROLES = ["other passages", "positives", "chosen negatives", "positive and chosen"]


@dataclass(frozen=True)
class Figure:
    """A chart in parts: its Vega-Lite specification, its named tables, and its description in words."""

    spec: Spec
    tables: dict[str, pyarrow.Table]
    description: str

    def chart(self) -> altair.TopLevelMixin:
        """Return the Altair chart with its data."""
        import altair as alt

        rows = {
            name: [{key: None if value != value else value for key, value in row.items()} for row in table.to_pylist()]
            for name, table in self.tables.items()
        }
        config = self.spec["config"] | {"range": {"category": COLOURS}}
        whole = self.spec | {"width": 600, "datasets": rows, "description": self.description, "config": config}
        return (alt.LayerChart if "layer" in whole else alt.Chart).from_dict(whole, validate=False)


def _figure(spec: Spec, description: str, values: Mapping[str, Any] | None = None, /, **columns: Mapping[str, Any]) -> Figure:
    """Join a specification with values of its parameters and with its tables, given as columns."""
    import pyarrow as pa

    if values:
        spec = spec | {"params": [each | ({"value": values[each["name"]]} if each["name"] in values else {}) for each in spec["params"]]}
    return Figure(spec, {name: pa.table(dict(each)) for name, each in columns.items()}, description)


def _spec(chart: Any, title: str, height: int) -> Spec:
    return dict(chart.properties(title=title, height=height).to_dict()) | THEME


def _colour(domain: list[str], legend: Spec | None) -> Spec:
    return {"field": "group", "type": "nominal", "scale": {"domain": domain}, "legend": legend}


def _tooltip(*lines: str) -> list[Spec]:
    """Return the lines of a tooltip: "field" for text, "field:format" for numbers."""
    parts = [line.partition(":") for line in lines]
    kinds = [{"type": "quantitative", "format": form} if form else {"type": "nominal"} for _, _, form in parts]
    return [{"field": field, "title": field, **kind} for (field, _, _), kind in zip(parts, kinds, strict=True)]


def similarity_histogram(
    histograms: Histograms,
    settings: SelectionSettings,
    *,
    brush: bool = False,
    range_drawn: tuple[float, float] | None = None,
) -> Figure:
    """Draw each group as percentages of its own size (their counts differ a thousandfold), with the score filters as rules.

    `brush` adds the selection of a range; `range_drawn` is its initial value.
    """
    edges, counts = histograms.edges, (histograms.positives, histograms.chosen, histograms.candidates)
    percentages = [100 * each / max(1, int(each.sum())) for each in counts]
    bounds = [("minimum score", settings.min_score), ("maximum score", settings.max_score)]
    filters = [(name, at) for name, at in bounds if at is not None]
    return _figure(
        _similarity_histogram(brush),
        "Similarity to the query: positives, chosen negatives and candidates in the window",
        {"low": float(edges[0]), "high": float(edges[-1])} | ({"brush": {"x": list(range_drawn)}} if range_drawn else {}),
        filled={
            "from": np.tile(edges[:-1], 2),
            "to": np.tile(edges[1:], 2),
            "of the group (%)": np.concatenate(percentages[:2]),
            "count": np.concatenate(counts[:2]),
            "group": np.repeat(GROUPS[:2], len(counts[0])),
        },
        # A step extends to the right of its point: the last bin needs another point at its end.
        outlined={"from": edges, "of the group (%)": np.append(percentages[2], 0.0), "group": np.repeat(GROUPS[2:], len(edges))},
        filters={"similarity": np.array([at for _, at in filters], np.float64), "filter": [name for name, _ in filters]},
    )


@functools.cache
def _similarity_histogram(brush: bool) -> Spec:
    import altair as alt

    ends = [alt.param(name=name, value=value) for name, value in (("low", 0), ("high", 1))]
    scale = alt.Scale(domain=[alt.ExprRef("low"), alt.ExprRef("high")], nice=False)
    height, colour = alt.Y("of the group (%):Q", title="% of the group", stack=None), _colour(GROUPS, {})
    filled, outlined, filters = (alt.Chart(alt.NamedData(name)) for name in ("filled", "outlined", "filters"))
    bars = (
        filled.transform_filter("datum.count > 0")
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(alt.X("from:Q", bin="binned", title="similarity to the query", scale=scale), height, x2="to", color=colour)
        .encode(tooltip=_tooltip("group", "from:.3f", "to:.3f", "count:,", "of the group (%):.1f"))
    )
    if brush:
        bars = bars.add_params(alt.selection_interval(name="brush", encodings=["x"]))
    # Chosen negatives are among the candidates: an outline keeps both visible.
    outline = outlined.mark_line(interpolate="step-after", strokeWidth=2).encode(alt.X("from:Q", scale=scale), height, color=colour)
    rules = filters.mark_rule(**RULE).encode(alt.X("similarity:Q", scale=scale), tooltip=_tooltip("filter", "similarity:.3f"))
    return _spec(alt.layer(bars, outline, rules).add_params(*ends), "Similarity to the query by group", 280)


def rank_curve(candidates: Candidates, settings: SelectionSettings, positive: float) -> Figure:
    """Draw a query's scores by rank: the window shaded, chosen negatives as dots, the positive's score as a line."""
    ranked = candidates.ranks >= 0
    scores = candidates.scores[ranked]
    chosen = np.flatnonzero(ranked & (candidates.chosen > 0))
    return _figure(
        _rank_curve(descends(scores[None])),
        "Similarity by rank: the window is shaded, chosen negatives are dots, the horizontal line is the positive's score",
        window={"rank": [settings.window_start], "to": [min(settings.window_end, int(np.count_nonzero(ranked)))]},
        curve={"rank": candidates.ranks[ranked], "similarity": scores},
        level={"positive score": [positive], "group": GROUPS[:1]},
        chosen={
            "rank": candidates.ranks[chosen],
            "similarity": candidates.scores[chosen],
            "status": [candidates.statuses[place] for place in chosen],
            "group": GROUPS[1:2] * len(chosen),
        },
    )


@functools.cache
def _rank_curve(line: bool) -> Spec:
    import altair as alt

    window, curve, level, chosen = (alt.Chart(alt.NamedData(name)) for name in ("window", "curve", "level", "chosen"))
    score, colour = alt.Y("similarity:Q", title="similarity to the query"), _colour(GROUPS, None)
    # Fused ranks are not in the order of similarity, so a line would zigzag.
    curve = curve.mark_line(color="#8190a5") if line else curve.mark_point(color="#8190a5", size=12)
    chart = alt.layer(
        window.mark_rect(opacity=0.12).encode(alt.X("rank:Q", title="rank"), x2="to"),
        curve.encode(alt.X("rank:Q"), score),
        level.mark_rule(size=2).encode(alt.Y("positive score:Q"), color=colour, tooltip=_tooltip("positive score:.3f")),
        chosen.mark_point(filled=True, size=60, opacity=1)
        .encode(alt.X("rank:Q"), score, color=colour)
        .encode(tooltip=_tooltip("rank:d", "similarity:.3f", "status")),
    )
    return _spec(chart, "Similarity by rank", 260)


def length_histogram(counts: npt.NDArray[np.int32], limit: int, what: str, description: str) -> Figure:
    """Draw token counts, with the model's limit as a rule; texts longer than twice the limit are in the last bar."""
    clipped = np.minimum(counts, max(limit * 2, 8))
    first, last = int(clipped.min(initial=limit)), int(clipped.max(initial=1))
    step = max(1, -(-(last - first + 1) // BINS))
    rules = [limit] if float(clipped.max(initial=0)) > 0.6 * limit else []
    spec = _counts(f"Length of the {what}", "length (tokens)", what, "d", 200)
    return _counted(spec, clipped, np.arange(first, last + step + 1, step), rules, description)


def values_histogram(
    values: npt.ArrayLike, description: str, edges: npt.ArrayLike | None = None, *, title: str, axis: str, what: str, form: str = ".2f"
) -> Figure:
    """Draw the histogram of values by `edges`, or in 40 bins around 0 with a rule at 0; `form` is a d3 number format."""
    spec = _counts(title, axis, what, form, 220)
    if edges is not None:
        return _counted(spec, values, np.asarray(edges), [], description)
    reach = max(float(np.abs(values).max(initial=0.0)), 1e-3)
    return _counted(spec, values, np.linspace(-reach, reach, BINS + 1), [0], description)


def _counted(spec: Spec, values: npt.ArrayLike, edges: npt.NDArray[Any], rules: list[int], description: str) -> Figure:
    bars = {"from": edges[:-1], "to": edges[1:], "count": np.histogram(values, bins=edges)[0]}
    return _figure(spec, description, bars=bars, rules={"at": np.array(rules, np.float64)})


@functools.cache
def _counts(title: str, axis: str, what: str, form: str, height: int) -> Spec:
    import altair as alt

    numbers = alt.Axis(format=form, **({"tickMinStep": 1} if form == "d" else {"tickCount": 5}))
    x, y = alt.X("from:Q", bin="binned", title=axis, axis=numbers), alt.Y("count:Q", title=what)
    bars, rules = alt.Chart(alt.NamedData("bars")).mark_bar(binSpacing=1), alt.Chart(alt.NamedData("rules")).mark_rule(**RULE)
    bars = bars.encode(x, y, x2="to", tooltip=_tooltip(f"from:{form}", f"to:{form}", "count:,"))
    return _spec(alt.layer(bars, rules.encode(x="at:Q")), title, height)


def band_rates(rates: Mapping[str, tuple[float, float, float]], whole: float, *, by: str, description: str) -> Figure:
    """Draw estimated false-negative rates by band, with the overall rate as a rule.

    Args:
        rates: rate of each band (0..1) and the ends of its 95% confidence interval.
        whole: overall rate (0..1).
        by: title of the bands' axis.
        description: what the chart shows, in words.
    """
    bands = {
        "band": list(rates),
        "group": GROUPS[1:2] * len(rates),
        "rate (%)": [100 * rate for rate, _, _ in rates.values()],
        "from (%)": [100 * low for _, low, _ in rates.values()],
        "to (%)": [100 * high for _, _, high in rates.values()],
    }
    return _figure(_band_rates(by, len(rates)), description, bands=bands, whole={"overall rate (%)": [100 * whole]})


@functools.cache
def _band_rates(by: str, bands: int) -> Spec:
    import altair as alt

    rows, whole = alt.Chart(alt.NamedData("bands")), alt.Chart(alt.NamedData("whole"))
    rows = rows.encode(alt.Y("band:N", title=by, sort=None, axis=alt.Axis(labelLimit=120)), color=_colour(GROUPS, None))
    rows = rows.encode(tooltip=_tooltip("band", "rate (%):.1f", "from (%):.1f", "to (%):.1f"))
    rate = alt.X("from (%):Q", title="false-negative rate with its 95% interval (%)", axis=alt.Axis(tickCount=8))
    chart = alt.layer(
        whole.mark_rule(**RULE).encode(alt.X("overall rate (%):Q"), tooltip=_tooltip("overall rate (%):.1f")),
        rows.mark_rule(size=3, opacity=0.5).encode(rate, x2="to (%)"),
        rows.mark_point(filled=True, size=90, opacity=1).encode(alt.X("rate (%):Q")),
    )
    return _spec(chart, "False-negative rate by band", 80 + 26 * bands)


def neighbourhood_map(near: Neighbourhood, texts: list[str], statuses: list[str], description: str) -> Figure:
    """Draw a query, its positives and candidates on their plane; `texts` and `statuses` are those of the points."""
    places = np.array([KINDS.index(Kind(kind)) for kind in near.kinds.tolist()])
    order = np.lexsort((-places, np.isin(near.kinds, (Kind.POSITIVE, Kind.QUERY, Kind.CHOSEN))))  # the last points are drawn on top
    points = _marks(near.points[order], near.kinds[order])
    points |= {"similarity to the query": near.scores[order], "similarity to a positive": near.to_positive[order]}
    points |= {"status": [statuses[point] for point in order], "text": [_short(texts[point], 160) for point in order]}
    return _figure(_neighbourhood_map(), description, points=points)


@functools.cache
def _neighbourhood_map() -> Spec:
    points = _map("points", NEAR, "status", "similarity to the query:.3f", "similarity to a positive:.3f", "text", opacity=0.85)
    return _spec(points.encode(**LOOKS), "Neighbourhood of the query", 420)


def set_map(
    points: Floats, roles: npt.NDArray[np.int8], texts: list[str], near: Floats, kinds: npt.NDArray[np.int8], description: str
) -> Figure:
    """Draw a data set's passages by role, with one query, its positives and negatives on top: `near` (n, 2), `kinds` (n,)."""
    order = np.argsort(roles != 0, kind="stable")
    over = np.isin(kinds, (Kind.QUERY, Kind.POSITIVE, Kind.CHOSEN))
    passages = {"x": points[order, 0], "y": points[order, 1], "group": np.array(ROLES)[roles[order]]}
    passages["text"] = [_short(texts[point], 80) for point in order.tolist()]
    return _figure(_set_map(), description, passages=passages, query=_marks(near[over], kinds[over]))


@functools.cache
def _set_map() -> Spec:
    import altair as alt

    domain = [ROLES[1], ROLES[2], ROLES[0], ROLES[3], "", "query"]
    passages = _map("passages", domain, "group", "text", size=14, opacity=0.6)
    query = _map("query", domain, "group", opacity=1, stroke=GREY, strokeWidth=1).encode(**LOOKS)
    return _spec(alt.layer(passages, query).resolve_scale(color="shared"), "Whole data set", 460)


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
    return chart.encode(x, y, color=_colour(domain, legend), tooltip=_tooltip(*tooltip))


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[:letters] + " …"
