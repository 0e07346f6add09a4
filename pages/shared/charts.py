"""The charts of all screens, as Vega-Lite for `st.vega_lite_chart`. Colours come from the theme: positives, chosen
negatives and candidates have the same one everywhere.

Written out and not built with Altair, whose checks take 35 ms of each move of a slider, and which takes a third of a
second to import. The numbers travel as Arrow tables beside a specification that stays the same, so that a browser moves
the bars and does not draw the chart anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hnmine.analysis.queries import Candidates, Histograms
from hnmine.selection.ordering import descends
from hnmine.selection.settings import SelectionSettings

Spec = dict[str, Any]

GROUPS = ["positives", "chosen negatives", "candidates in the window"]
# Less air between the parts of a chart than Streamlit leaves, so that more of its height is chart.
LAYOUT: Spec = {
    "padding": {"bottom": 4},
    "config": {"axis": {"titlePadding": 8, "labelPadding": 8}, "legend": {"offset": 4}},
}
_RULE = {"type": "rule", "strokeDash": [4, 3], "size": 2, "color": "#888", "clip": True}


def number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def word(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", **more}


def share_axis(form: str = "%") -> Spec:
    """Write shares on an axis as "8 %"."""
    return {"format": form, "labelExpr": "replace(datum.label, '%', '\u00a0%')"}


def _said(field: str, form: str) -> Spec:
    """Make a field `field`_said with a number as it is told: "8 %", not "8%"."""
    return {"calculate": f"replace(format(datum.{field}, '{form}'), '%', '\u00a0%')", "as": f"{field}_said"}


def _colour(legend: Spec | None) -> Spec:
    return word("group", scale={"domain": GROUPS}, legend=legend)


def similarity_histogram(
    histograms: Histograms,
    settings: SelectionSettings,
    *,
    brush: bool = False,
    range_drawn: tuple[float, float] | None = None,
    height: int = 260,
) -> Spec:
    """Draw the three groups as shares of their own size (their counts differ a thousandfold), with the score guards as rules.

    With `brush`, a range can be drawn across it; `range_drawn` is the one to begin with.
    """
    counts = (histograms.positives, histograms.chosen, histograms.candidates)
    shares = [each / max(1, int(each.sum())) for each in counts]
    filled = {
        "from": np.tile(histograms.edges[:-1], 2),
        "to": np.tile(histograms.edges[1:], 2),
        "share": np.concatenate(shares[:2]),
        "count": np.concatenate(counts[:2]),
        "group": np.repeat(GROUPS[:2], len(counts[0])),
    }
    # A step goes to the right of its point: the last bin needs another point at its end.
    outlined = {"from": histograms.edges, "share": np.append(shares[2], 0.0), "group": np.repeat(GROUPS[2:], len(histograms.edges))}
    limits = [("minimum score", settings.min_score), ("maximum score", settings.max_score)]
    guards = [(name, at) for name, at in limits if at is not None]
    x = number("from", scale={"domain": [float(histograms.edges[0]), float(histograms.edges[-1])], "nice": False})
    colour = _colour({"orient": "top", "title": None, "labelLimit": 300})
    bars = {
        "data": {"name": "filled"},
        "transform": [{"filter": "datum.count > 0"}, _said("share", ".1%")],
        "mark": {"type": "bar", "opacity": 0.55, "binSpacing": 0},
        "encoding": {
            "x": {**x, "bin": "binned", "title": "similarity to the query"},
            "x2": {"field": "to"},
            "y": number("share", stack=None, title="share of the group", axis=share_axis()),
            "color": colour,
            "tooltip": [
                word("group", title="group"),
                number("from", title="from", format=".3f"),
                number("to", title="to", format=".3f"),
                number("count", title="count", format=","),
                word("share_said", title="share"),
            ],
        },
    }
    if brush:
        drawn = {} if range_drawn is None else {"value": {"x": list(range_drawn)}}
        bars["params"] = [{"name": "brush", "select": {"type": "interval", "encodings": ["x"]}, **drawn}]
    # Chosen negatives lie among the candidates: an outline keeps both to be seen.
    outline = {
        "data": {"name": "outlined"},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
        "encoding": {"x": x, "y": number("share"), "color": colour},
    }
    lines = {
        "data": {"name": "guards"},
        "mark": _RULE,
        "encoding": {"x": {**x, "field": "at"}, "tooltip": [word("guard"), number("at", format=".3f")]},
    }
    return {
        "layer": [bars, outline, lines],
        "height": height,
        **LAYOUT,
        "datasets": {
            "filled": pa.table(filled),
            "outlined": pa.table(outlined),
            "guards": pa.table({"at": pa.array([at for _, at in guards], pa.float64()), "guard": [name for name, _ in guards]}),
        },
    }


def length_histogram(counts: npt.NDArray[np.int32], limit: int, what: str) -> Spec:
    """Draw token counts, with the model's limit as a rule; what is longer than twice the limit stands in the last bar."""
    clipped = np.minimum(counts, max(limit * 2, 8))
    first, last = int(clipped.min(initial=limit)), int(clipped.max(initial=1))
    step = max(1, -(-(last - first + 1) // 40))
    bars, edges = np.histogram(clipped, bins=np.arange(first, last + step + 1, step))
    near = float(clipped.max(initial=0)) > 0.6 * limit
    chart = {
        "data": {"name": "lengths"},
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": number("from", bin="binned", title=f"{what} length in tokens", axis={"tickMinStep": 1, "format": "d"}),
            "x2": {"field": "to"},
            "y": number("count", title=what.replace("query", "queries").replace("passage", "passages")),
            "tooltip": [
                number("from", title="from", format=".0f"),
                number("to", title="to", format=".0f"),
                number("count", title="count", format=","),
            ],
        },
    }
    rule = {"data": {"name": "limit"}, "mark": _RULE, "encoding": {"x": number("at")}}
    held = bars > 0
    return {
        "layer": [chart, rule],
        "height": 180,
        **LAYOUT,
        "datasets": {
            "lengths": pa.table({"from": edges[:-1][held], "to": edges[1:][held], "count": bars[held]}),
            "limit": pa.table({"at": pa.array([limit] if near else [], pa.int64())}),
        },
    }


def rank_curve(candidates: Candidates, settings: SelectionSettings, positive: float) -> Spec:
    """Draw a query's scores by rank: the window shaded, the chosen as dots, the positive's level as a line."""
    ranked = candidates.ranks >= 0
    scores = candidates.scores[ranked]
    chosen = np.flatnonzero(ranked & (candidates.chosen > 0))
    end = min(settings.window_end, int(np.count_nonzero(ranked)))
    rank, colour = number("rank", title="rank"), _colour(None)
    window = {
        "data": {"name": "window"},
        "mark": {"type": "rect", "opacity": 0.12},
        "encoding": {"x": {**rank, "field": "from"}, "x2": {"field": "to"}},
    }
    curve = {
        "data": {"name": "curve"},
        # Fused ranks do not descend in similarity: a line would be a scribble.
        "mark": {"color": "#8190a5", **({"type": "line"} if descends(scores[None]) else {"type": "point", "size": 12})},
        "encoding": {"x": rank, "y": number("score", title="similarity")},
    }
    level = {
        "data": {"name": "level"},
        "mark": {"type": "rule", "size": 2},
        "encoding": {"y": number("at"), "color": colour, "tooltip": [number("at", title="score of the positive", format=".3f")]},
    }
    dots = {
        "data": {"name": "chosen"},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {
            "x": rank,
            "y": number("score"),
            "color": colour,
            "tooltip": [number("rank"), number("score", format=".3f"), word("state")],
        },
    }
    return {
        "layer": [window, curve, level, dots],
        "height": 240,
        **LAYOUT,
        "datasets": {
            "window": pa.table({"from": [settings.window_start], "to": [end]}),
            "curve": pa.table({"rank": candidates.ranks[ranked], "score": scores}),
            "level": pa.table({"at": [positive], "group": [GROUPS[0]]}),
            "chosen": pa.table(
                {
                    "rank": candidates.ranks[chosen],
                    "score": candidates.scores[chosen],
                    "state": [candidates.states[place] for place in chosen],
                    "group": [GROUPS[1]] * len(chosen),
                }
            ),
        },
    }


def band_rates(names: list[str], rates: npt.ArrayLike, lows: npt.ArrayLike, highs: npt.ArrayLike, whole: float, *, title: str) -> Spec:
    """Draw estimated rates by band with their intervals, and the rate of all as a rule; `title` says what the bands are of."""
    band = word("band", sort=names, title="band", axis={"labelLimit": 120})
    scale = {"domain": [0, max(0.01, float(np.max(highs, initial=0.0)))], "nice": True}
    said = [word("band", title=title), word("rate_said", title="false"), word("low_said", title="from"), word("high_said", title="to")]
    told = [_said(field, ".1%") for field in ("rate", "low", "high")]
    ranges = {
        "data": {"name": "bands"},
        "transform": told,
        "mark": {"type": "rule", "size": 3, "opacity": 0.5},
        "encoding": {
            "y": band,
            "x": number("low", title="false, with the 95\u00a0% interval", axis=share_axis(), scale=scale),
            "x2": {"field": "high"},
            "color": _colour(None),
            "tooltip": said,
        },
    }
    dots = {
        "data": {"name": "bands"},
        "transform": told,
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {"y": band, "x": number("rate", scale=scale), "color": _colour(None), "tooltip": said},
    }
    rule = {
        "data": {"name": "whole"},
        "transform": [_said("at", ".1%")],
        "mark": _RULE,
        "encoding": {"x": number("at", scale=scale), "tooltip": [word("at_said", title="of all")]},
    }
    return {
        "layer": [rule, ranges, dots],
        "height": 60 + 26 * len(names),
        **LAYOUT,
        "datasets": {
            "bands": pa.table(
                {
                    "band": names,
                    "rate": np.asarray(rates, np.float64),
                    "low": np.asarray(lows, np.float64),
                    "high": np.asarray(highs, np.float64),
                    "group": [GROUPS[1]] * len(names),
                }
            ),
            "whole": pa.table({"at": [whole]}),
        },
    }


def counts_histogram(edges: npt.ArrayLike, counts: npt.ArrayLike, *, title: str, what: str, form: str, zero: bool = False) -> Spec:
    """Draw counts in bins (`edges` one more than `counts`); `form` is a d3 number format, `zero` draws a rule at 0."""
    edges = np.asarray(edges, dtype=np.float64)
    bars = {
        "data": {"name": "bins"},
        "transform": [_said("from", form), _said("to", form)],
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": number("from", bin="binned", title=title, axis=share_axis(form) | ({"tickCount": 5} if zero else {})),
            "x2": {"field": "to"},
            "y": number("count", title=what),
            "tooltip": [word("from_said", title="from"), word("to_said", title="to"), number("count", title=what, format=",")],
        },
    }
    rule = {"data": {"name": "zero"}, "mark": _RULE, "encoding": {"x": number("at")}}
    return {
        "layer": [bars, rule] if zero else [bars],
        "height": 200,
        **LAYOUT,
        "datasets": {
            "bins": pa.table({"from": edges[:-1], "to": edges[1:], "count": np.asarray(counts)}),
            **({"zero": pa.table({"at": [0.0]})} if zero else {}),
        },
    }
