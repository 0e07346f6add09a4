"""Histograms of similarities, of a selection, of one query and of two selections, and the funnel of the candidates.

The axes of similarity are those of the run (`histograms.run_bins`), so charts of several settings or queries can be compared by eye.
Groups are outlines with a light fill: where they overlap, each stays visible and no further colour appears.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.figure import GROUPS, LABEL, RULE, TEXT, Figure, Spec, colour, columns, figure, short, spec, tooltip_lines
from hnmine.analysis.histograms import Histograms, Overlay
from hnmine.analysis.queries import Candidates
from hnmine.data.corpus import Corpus
from hnmine.retrieval.ranking import Ranking
from hnmine.selection.settings import SelectionSettings

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Groups of one query's histogram with the shapes of their marks: colours alone would be too close for some eyes.
SHAPES = {
    "positives": "M-.2,-1H.2V1H-.2Z",
    "chosen negatives": "circle",
    "candidates": "square",
    "random fill": "diamond",
    "removed": "cross",
}
POINTS = ["chosen negatives", "random fill", "removed"]
# Points are stacked above the bars in columns of this many to the axis: at most ROOM pixels high, at most STACK pixels a point.
COLUMNS, ROOM, STACK = 60, 60, 8
# The label of the best positive is above them (pixels); the bars end at this part of the height, below them.
TOP, BARS = 16, 0.48


def similarity_histogram(
    histograms: Histograms,
    settings: SelectionSettings,
    *,
    before: Histograms | None = None,
) -> Figure:
    """Draw each group as percentages of its own size (their counts differ a thousandfold), with the score filters as rules.

    Args:
        before: those of the setting before, drawn as dashed outlines.
    """
    edges = histograms.edges
    counts = (histograms.positives, histograms.chosen, histograms.candidates)
    shares = [_shares(each) for each in counts]
    bounds = [("minimum score", settings.min_score), ("maximum score", settings.max_score)]
    filters = [(name, at) for name, at in bounds if at is not None]
    values = {"low": float(edges[0]), "high": float(edges[-1]), "top": max(each.top for each in (histograms, before) if each)}
    ghost = [] if before is None else [(GROUPS[place], _shares(each)) for place, each in ((2, before.candidates), (1, before.chosen))]
    return figure(
        _similarity_histogram(before is not None),
        _described(histograms, before),
        values,
        bins=_bins(edges, dict(zip(GROUPS, counts, strict=True)), "similarity"),
        outlines=_outlines(edges, [(GROUPS[place], shares[place]) for place in (2, 0, 1)]),  # the last one is drawn on top
        **({} if before is None else {"before": _outlines(edges, ghost, "before")}),
        filters={
            "similarity": np.array([at for _, at in filters], np.float64),
            "filter": [name for name, _ in filters],
            "row": np.arange(len(filters)),
        },
    )


def _described(found: Histograms, before: Histograms | None) -> str:
    """Return the takeaway of a histogram."""
    positives, chosen, candidates = found.means
    words = "No negatives are chosen."
    if not math.isnan(chosen):
        words = f"Chosen negatives: mean similarity {chosen:.3f}, {100 * found.above_positive:.1f}% score above their positive."
        if before is not None and not math.isnan(before.means[1]):
            words += f" Before: mean {before.means[1]:.3f}, {100 * before.above_positive:.1f}% above."
    for group, mean in (("Positives", positives), ("Candidates in the rank range", candidates)):
        words += "" if math.isnan(mean) else f" {group}: mean {mean:.3f}."
    if found.outside:
        words += f" {found.outside:,} random-filled negatives are outside the axis. The first and the last bar count them."
    return words


def _shares(counts: Ints) -> Doubles:
    return np.asarray(100 * counts / max(1, int(counts.sum())))


def _outlines(edges: Doubles, groups: Sequence[tuple[str, Doubles]], setting: str = "now") -> Spec:
    """Return the steps of each group from its first to its last bar; a step extends to the right of its point."""
    places, heights, names = [], [], []
    for group, shares in groups:
        held = np.flatnonzero(shares)
        if len(held):
            part = slice(int(held[0]), int(held[-1]) + 1)
            places += [edges[part.start], *edges[part], edges[part.stop]]
            heights += [0.0, *shares[part], 0.0]
            names += [group] * (part.stop - part.start + 2)
    outlines = {"from": np.array(places, np.float64), "of the group (%)": np.array(heights, np.float64), "group": names}
    return outlines | {"setting": [setting] * len(names)}


def _bins(edges: Doubles, groups: Mapping[str, Ints], what: str, form: str = ".3f") -> Spec:
    """Return the bars that show a tooltip: its lines are texts."""
    ends = [f"{edge:{form}}" for edge in edges.tolist()]
    lines = {what: [f"{low} to {high}" for low, high in itertools.pairwise(ends)]}
    for name, counts in groups.items():
        shares = _shares(counts).tolist()
        lines[name] = [f"{count:,} ({share:.1f}%)" for count, share in zip(counts.tolist(), shares, strict=True)]
    return {"from": edges[:-1], "to": edges[1:], **lines}


@functools.cache
def _similarity_histogram(before: bool) -> Spec:
    import altair as alt

    x, params = _axis("similarity to the query")
    filters = alt.Chart(alt.NamedData("filters")).encode(x=x("similarity"))
    layers = _areas("outlines", x, GROUPS, {"columns": columns([*GROUPS, "before"] if before else GROUPS, 2)})
    if before:
        layers.append(_dashed("before", x, GROUPS))
    layers += [
        filters.mark_rule(**RULE),
        _label(filters, x("similarity"), "filter", {"expr": "8 + 14 * datum.row"}),
        _hover("bins", x, "similarity", *GROUPS),
        filters.mark_rule(size=9, opacity=0, clip=True).encode(tooltip=tooltip_lines("filter", "similarity:.3f")),
    ]
    return spec(alt.layer(*layers).add_params(*params), "Similarity to the query", 280)


def _axis(title: str, top: bool = True) -> tuple[Any, list[Any]]:
    """Return a function that encodes a field on the run's axis, and the parameters with its ends."""
    import altair as alt

    ends = [alt.param(name=name, value=value) for name, value in (("low", 0), ("high", 1), ("top", 100))]
    scale = alt.Scale(domain=[alt.ExprRef("low"), alt.ExprRef("high")], nice=False)

    def x(field: str, **more: Any) -> Any:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(grid=False, tickCount=8), **more)

    return x, ends if top else ends[:2]


def _label(chart: Any, x: Any, field: str, y: Any) -> Any:
    """Build labels beside lines, on the side with more room."""
    right = "datum.similarity > (low + high) / 2"
    side = {"align": {"expr": f"{right} ? 'right' : 'left'"}, "dx": {"expr": f"{right} ? -5 : 5"}}
    return chart.mark_text(**LABEL, **side, y=y).encode(x, text=f"{field}:N")


def _height(title: str = "% of the group") -> Any:
    import altair as alt

    scale = alt.Scale(domain=[0, alt.ExprRef("top")], nice=False)
    return alt.Y("of the group (%):Q", title=title, stack=None, scale=scale, axis=alt.Axis(tickCount=5))


def _areas(data: str, x: Any, domain: list[str], legend: Spec) -> list[Any]:
    """Build outlines with a light fill. The fill is no encoding: it would fill the swatches of the legend."""
    import altair as alt

    shown, fill = alt.Chart(alt.NamedData(data)), {"expr": "scale('color', datum.group)"}
    areas = shown.mark_area(interpolate="step-after", fill=fill, fillOpacity=0.16).encode(x("from"), _height(), detail="group:N")
    lines = shown.mark_line(interpolate="step-after", strokeWidth=2, strokeJoin="round").encode(x("from"), _height())
    return [areas, lines.encode(color=colour(domain, {"symbolType": "square", **legend}))]


def _dashed(data: str, x: Any, domain: list[str]) -> Any:
    """Build dashed outlines; their swatch is a dashed line, for the colours are those of the groups."""
    import altair as alt

    legend = alt.Legend(symbolType="stroke", symbolStrokeColor=TEXT, symbolStrokeWidth=1.5, symbolSize=150)
    dash = alt.StrokeDash("setting:N", scale=alt.Scale(range=[[4, 3]]), legend=legend)
    lines = alt.Chart(alt.NamedData(data)).mark_line(interpolate="step-after", strokeWidth=1.5)
    return lines.encode(x("from"), _height(), color=colour(domain, {}), strokeDash=dash)


def _hover(data: str, x: Any, *lines: str) -> Any:
    """Build bars of the whole height that are not visible: a tooltip needs no aim at a thin outline."""
    import altair as alt

    bars = alt.Chart(alt.NamedData(data)).mark_bar(opacity=0, binSpacing=0)
    return bars.encode(x("from", bin="binned"), alt.YValue(0), alt.X2("to"), alt.Y2Value("height"), tooltip=tooltip_lines(*lines))


def query_histogram(
    corpus: Corpus,
    ranking: Ranking,
    settings: SelectionSettings,
    candidates: Candidates,
    query: int,
    edges: npt.ArrayLike,
    *,
    highlight: int | None = None,
    select: str | None = None,
) -> Figure:
    """Draw one query: its candidates as bars, its positives as lines, its negatives and removed candidates as points.

    Args:
        settings: its rank window decides which candidates are counted.
        candidates: those of the query, by `candidates_of`.
        edges: of the run's bins (`RunBins.edges`), so that the axis is the same for all queries.
        highlight: place of a passage in `candidates` to mark with a ring.
        select: name of a point selection; its points hold the field "place", the place in `candidates`.
    """
    ends = np.asarray(edges, np.float64)
    ranks, scores = candidates.ranks, candidates.scores.astype(np.float64)
    inside = (ranks >= settings.window_start) & (ranks < settings.window_end)
    counts = np.histogram(scores[inside], ends)[0]
    groups = {
        place: "removed" if not number else "random fill" if "random fill" in status else "chosen negatives"
        for place, (number, status) in enumerate(zip(candidates.chosen.tolist(), candidates.statuses, strict=True))
        if number or status.startswith("removed")
    }
    marks = sorted(groups, key=lambda place: (POINTS.index(groups[place]), scores[place]))
    heights = dict(zip(marks, _stacked(scores[marks], ends), strict=True))
    first, end = corpus.positive_starts[query : query + 2]
    rank_of = dict(zip(candidates.ids.tolist(), ranks.tolist(), strict=True))
    positives = corpus.positive_ids[first:end].tolist()
    known = ranking.positive_scores[first:end].astype(np.float64)
    chosen = scores[candidates.chosen > 0]
    above = int(np.count_nonzero(chosen > known.max(initial=-np.inf)))
    ringed = [] if highlight is None else [highlight]

    def about(places: list[int]) -> Spec:
        return {
            "similarity": scores[places],
            "height": np.array([heights.get(place, TOP + ROOM) for place in places], np.float64),
            "rank": [str(ranks[place]) if ranks[place] >= 0 else "not ranked" for place in places],
            "status": [candidates.statuses[place] for place in places],
            "text": [short(corpus.passages[candidates.ids[place]], 120) for place in places],
            "group": [groups.get(place, GROUPS[2]) for place in places],
            "place": np.array(places, np.int64),
        }

    return figure(
        _query_histogram(select),
        f"{len(chosen):,} chosen negatives" + (f": mean similarity {chosen.mean():.3f}" if len(chosen) else "") + ". "
        f"Best positive: {known.max(initial=-np.inf):.3f}. {above:,} of the negatives score above it.",
        {"low": float(ends[0]), "high": float(ends[-1]), "shown": [*GROUPS, *(name for name in POINTS[1:] if name in groups.values())]},
        bars={"from": ends[:-1], "to": ends[1:], "candidates": counts, "group": GROUPS[2:] * len(counts)},
        room={"candidates": [max(1, int(counts.max())) / BARS]},
        positives={
            "similarity": known,
            "rank": [str(rank_of[passage]) if rank_of.get(passage, -1) >= 0 else f"after {ranking.depth:,}" for passage in positives],
            "text": [short(corpus.passages[passage], 120) for passage in positives],
            "group": GROUPS[:1] * len(positives),
            "label": [
                "" if place != int(known.argmax()) else "positive" if len(known) == 1 else "best positive" for place in range(len(known))
            ],
        },
        marks=about(marks),
        highlight=about(ringed),
    )


def _stacked(values: Doubles, edges: Doubles) -> list[float]:
    """Return the height of each point (pixels from the top), so that points of nearly equal values stand above each other."""
    columns = np.floor((values - edges[0]) / (edges[-1] - edges[0]) * COLUMNS).astype(np.int64).tolist()
    levels = [columns[:number].count(column) for number, column in enumerate(columns)]
    step = min(STACK, ROOM / (1 + max(levels, default=0)))
    return [TOP + ROOM - (level + 0.5) * step for level in levels]


@functools.cache
def _query_histogram(select: str | None) -> Spec:
    import altair as alt

    x, params = _axis("similarity to the query", top=False)
    named = (alt.Chart(alt.NamedData(name)) for name in ("bars", "room", "positives", "marks", "highlight"))
    bars, room, positives, marks, ring = named
    shown = {"values": {"expr": "shown"}, "symbolOpacity": 1, "symbolStrokeWidth": 0, "columns": columns(GROUPS, 2)}
    by_group = colour(list(SHAPES), shown)
    shape = alt.Shape("group:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=alt.Legend(**shown))
    counted = alt.Y("candidates:Q", title="candidates", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=4, tickMinStep=1))
    bars = bars.mark_bar(binSpacing=1, opacity=0.6).encode(x("from", bin="binned"), counted, x2="to", color=by_group)
    rules = positives.mark_rule(size=2).encode(x("similarity"), color=by_group)
    points = marks.mark_point(filled=True, size=44, opacity=1, y={"expr": "datum.height"}).encode(x("similarity"))
    points = points.encode(color=by_group, shape=shape, tooltip=tooltip_lines("rank", "similarity:.3f", "status", "text"))
    if select is not None:
        points = points.add_params(alt.selection_point(name=select, fields=["place"]))
    layers = [
        room.mark_rule(opacity=0).encode(counted),
        bars.encode(tooltip=tooltip_lines("from:.3f", "to:.3f", "candidates:,")),
        rules.encode(tooltip=tooltip_lines("rank", "similarity:.3f", "text")),
        _label(positives, x("similarity"), "label", 8),
        points,
        ring.mark_point(filled=False, size=200, strokeWidth=2, opacity=1, stroke=TEXT, y={"expr": "datum.height"}).encode(x("similarity")),
    ]
    chart = alt.layer(*layers).add_params(*params, alt.param(name="shown", value=list(SHAPES)))
    return spec(chart, "Candidates of this query", 240)


def overlaid(found: Overlay) -> Figure:
    """Draw the chosen negatives of two selections, A and B, as outlines, their means as ticks, and the candidates of the first one."""
    ratio = found.ratios
    groups = ["negatives of A", "negatives of B", "candidates of A"]
    counts = [found.first, found.second, found.candidates]
    means = [(name, mean) for name, mean in zip(groups, found.means, strict=False) if not math.isnan(mean)]
    what, form = ("ratio to the positive (%)", ".1f") if ratio else ("similarity", ".3f")
    words = ", ".join(f"{name} {mean:{form}}" for name, mean in means) or "no negatives"
    if len(means) == 2:
        words += f". Difference: {means[1][1] - means[0][1]:+{form}}"
    return figure(
        _overlaid(tuple(groups), ratio),
        f"Mean {'ratio to the positive in %' if ratio else 'similarity'}: {words}.",
        {
            "low": float(found.edges[0]),
            "high": float(found.edges[-1]),
            "top": 1.15 * max(1.0, *(float(_shares(each).max()) for each in counts)),
        },
        outlines=_outlines(found.edges, [(groups[place], _shares(counts[place])) for place in (2, 0, 1)]),
        means={
            "mean": np.array([mean for _, mean in means], np.float64),
            "group": [name for name, _ in means],
            "label": [f"{mean:{form}}" for _, mean in means],
            "lower": [mean == min(other for _, other in means) for _, mean in means],
        },
        bins=_bins(found.edges, dict(zip(groups, counts, strict=True)), what, form),
    )


@functools.cache
def _overlaid(groups: tuple[str, ...], ratio: bool) -> Spec:
    import altair as alt

    what = "ratio to the positive (%)" if ratio else "similarity"
    x, params = _axis(what if ratio else "similarity to the query")
    means = alt.Chart(alt.NamedData("means")).encode(x("mean"))
    # Both are chosen negatives: the first one has their colour, the second the one that is furthest from it; no group is teal.
    domain = [GROUPS[0], groups[0], groups[2], groups[1]]
    layers = [
        *_areas("outlines", x, domain, {"values": list(groups), "columns": columns(groups, 1)}),
        means.mark_rule(size=3, y=0, y2=14).encode(color=colour(domain, {})),
        means.mark_text(**LABEL, y=7, align={"expr": "datum.lower ? 'right' : 'left'"}, dx={"expr": "datum.lower ? -5 : 5"}).encode(
            text="label:N"
        ),
        _hover("bins", x, what, *groups),
    ]
    return spec(alt.layer(*layers).add_params(*params), "Ratio to the positive" if ratio else "Similarity to the query", 260)


FUNNEL = "Candidates after each step"


def funnel(steps: Sequence[tuple[str, int]]) -> Figure:
    """Draw the candidates left after each step as bars, each with its count and, after the first, its part of the first one."""
    names, counts = [name for name, _ in steps], np.array([count for _, count in steps], np.int64)
    shares = 100 * counts / max(1, int(counts[0]) if len(counts) else 1)
    words = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts.tolist(), strict=True))
    return figure(
        _funnel(len(names)),
        f"{FUNNEL}: {words}." + (f" {shares[-1]:.1f}% of all are left." if len(counts) > 1 else ""),
        steps={
            "step": names,
            "count": counts,
            "group": GROUPS[2:] * len(names),
            "of all (%)": shares,
            "label": [
                f"{count:,} ({_percent(share)})" if at else f"{count:,}"
                for at, (count, share) in enumerate(zip(counts, shares, strict=True))
            ],
        },
    )


def _percent(share: float) -> str:
    return f"{share:.0f}%" if share >= 10 or share == 0 else f"{share:.2g}%"


@functools.cache
def _funnel(steps: int) -> Spec:
    import altair as alt

    rows = alt.Chart(alt.NamedData("steps")).encode(
        alt.Y("step:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, labelPadding=6, labelFlush=False)),
        # The longest bar ends at two thirds: its number needs room.
        alt.X("of all (%):Q", axis=None, scale=alt.Scale(domain=[0, 150])),
        tooltip=tooltip_lines("step", "count:,", "of all (%):.2f"),
    )
    bars = rows.mark_bar().encode(color=colour(GROUPS, None))
    return spec(alt.layer(bars, rows.mark_text(**LABEL, align="left", dx=5).encode(text="label:N")), FUNNEL, 8 + 24 * steps)
