"""Charts of counts and rates: ranks, lengths, differences, the bands of an audit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hnmine.analysis.figure import GREY, GROUPS, LABEL, RULE, Figure, Spec, colour, figure, spec, tooltip_lines
from hnmine.analysis.queries import Candidates
from hnmine.selection.ordering import descends
from hnmine.selection.settings import SelectionSettings

BINS = 40


def rank_curve(candidates: Candidates, settings: SelectionSettings, positive: float) -> Figure:
    """Draw a query's scores by rank: the window shaded, chosen negatives as dots, the positive's score as a line."""
    ranked = candidates.ranks >= 0
    scores = candidates.scores[ranked]
    chosen = np.flatnonzero(ranked & (candidates.chosen > 0))
    return figure(
        _rank_curve(descends(scores[None])),
        f"{len(chosen):,} chosen negatives in ranks {settings.window_start:,} to {settings.window_end - 1:,}. The positive scores "
        f"{positive:.3f}.",
        window={"rank": [settings.window_start], "to": [min(settings.window_end, int(np.count_nonzero(ranked)))], "label": ["rank range"]},
        curve={"rank": candidates.ranks[ranked], "similarity": scores, "group": GROUPS[2:] * len(scores)},
        level={"positive score": [positive], "group": GROUPS[:1], "label": ["positive"]},
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
    score, by_group = alt.Y("similarity:Q", title="similarity to the query"), colour(GROUPS, {})
    # Fused ranks are not in the order of similarity, so a line would zigzag.
    curve = curve.mark_line() if line else curve.mark_point(size=12)
    chart = alt.layer(
        window.mark_rect(opacity=0.12, color=GREY).encode(alt.X("rank:Q", title="rank"), x2="to"),
        window.mark_text(**LABEL, align="left", dx=5, y=8).encode(alt.X("rank:Q"), text="label:N"),
        curve.encode(alt.X("rank:Q"), score, color=by_group),
        level.mark_rule(size=2).encode(alt.Y("positive score:Q"), color=by_group, tooltip=tooltip_lines("positive score:.3f")),
        level.mark_text(**LABEL, align="right", x={"expr": "width"}, dx=-4, dy=-8).encode(alt.Y("positive score:Q"), text="label:N"),
        chosen.mark_point(filled=True, size=60, opacity=1)
        .encode(alt.X("rank:Q"), score, color=by_group)
        .encode(tooltip=tooltip_lines("rank:d", "similarity:.3f", "status")),
    )
    return spec(chart, "Similarity by rank", 260)


def length_histogram(counts: npt.NDArray[np.int32], limit: int, what: str, description: str) -> Figure:
    """Draw token counts, with the model's limit as a rule; texts longer than twice the limit are in the last bar."""
    clipped = np.minimum(counts, max(limit * 2, 8))
    first, last = int(clipped.min(initial=limit)), int(clipped.max(initial=1))
    step = max(1, -(-(last - first + 1) // BINS))
    rules = {"model's limit": limit} if float(clipped.max(initial=0)) > 0.6 * limit else {}
    whole = _counts(f"Length of the {what}", "length (tokens)", what, "d", 200)
    return _counted(whole, clipped, np.arange(first, last + step + 1, step), rules, description)


def values_histogram(values: npt.ArrayLike, description: str, *, title: str, axis: str, what: str) -> Figure:
    """Draw the histogram of values in 40 bins around 0 with a rule at 0."""
    whole = _counts(title, axis, what, ".2f", 220)
    reach = max(float(np.abs(values).max(initial=0.0)), 1e-3)
    return _counted(whole, values, np.linspace(-reach, reach, BINS + 1), {"": 0}, description)


def _counted(whole: Spec, values: npt.ArrayLike, edges: npt.NDArray[Any], rules: Mapping[str, int], description: str) -> Figure:
    bars = {"from": edges[:-1], "to": edges[1:], "count": np.histogram(values, bins=edges)[0]}
    return figure(whole, description, bars=bars, rules={"at": np.array(list(rules.values()), np.float64), "label": list(rules)})


@functools.cache
def _counts(title: str, axis: str, what: str, form: str, height: int) -> Spec:
    import altair as alt

    numbers = alt.Axis(format=form, **({"tickMinStep": 1} if form == "d" else {"tickCount": 5}))
    x, y = alt.X("from:Q", bin="binned", title=axis, axis=numbers), alt.Y("count:Q", title=what)
    bars, rules = alt.Chart(alt.NamedData("bars")).mark_bar(binSpacing=1), alt.Chart(alt.NamedData("rules")).mark_rule(**RULE)
    bars = bars.encode(x, y, x2="to", tooltip=tooltip_lines(f"from:{form}", f"to:{form}", "count:,"))
    labels = alt.Chart(alt.NamedData("rules")).mark_text(**LABEL, align="left", dx=5, y=8).encode(x="at:Q", text="label:N")
    return spec(alt.layer(bars, rules.encode(x="at:Q"), labels), title, height)


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
    return figure(_band_rates(by, len(rates)), description, bands=bands, whole={"overall rate (%)": [100 * whole], "label": ["overall"]})


@functools.cache
def _band_rates(by: str, bands: int) -> Spec:
    import altair as alt

    rows, whole = alt.Chart(alt.NamedData("bands")), alt.Chart(alt.NamedData("whole"))
    rows = rows.encode(alt.Y("band:N", title=by, sort=None, axis=alt.Axis(labelLimit=120)), color=colour(GROUPS, None))
    rows = rows.encode(tooltip=tooltip_lines("band", "rate (%):.1f", "from (%):.1f", "to (%):.1f"))
    rate = alt.X("from (%):Q", title="false-negative rate with its 95% interval (%)", axis=alt.Axis(tickCount=8))
    chart = alt.layer(
        whole.mark_rule(**RULE).encode(alt.X("overall rate (%):Q"), tooltip=tooltip_lines("overall rate (%):.1f")),
        whole.mark_text(**LABEL, align="left", dx=5, y=4).encode(alt.X("overall rate (%):Q"), text="label:N"),
        rows.mark_rule(size=3, opacity=0.5).encode(rate, x2="to (%)"),
        rows.mark_point(filled=True, size=90, opacity=1).encode(alt.X("rate (%):Q")),
    )
    return spec(chart, "False-negative rate by band", 80 + 26 * bands)
