"""The charts of all screens. Colours come from the theme: positives, chosen negatives and candidates have the same one everywhere."""

from __future__ import annotations

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from hnmine.quality import Candidates, Histograms
from hnmine.select import SelectionSettings

GROUPS = ["positives", "chosen negatives", "candidates in the window"]
_COLOUR = alt.Color("group:N", scale=alt.Scale(domain=GROUPS), legend=alt.Legend(orient="top", title=None, labelLimit=300))
_COLOUR_ALONE = alt.Color("group:N", scale=alt.Scale(domain=GROUPS), legend=None)


def similarity_histogram(histograms: Histograms, settings: SelectionSettings, *, brush: bool = False, height: int = 260) -> alt.LayerChart:
    """Draw the three groups as shares of their own size (their counts differ a thousandfold), with the score guards as rules."""
    frames = []
    for name, counts in zip(GROUPS, (histograms.positives, histograms.chosen, histograms.candidates), strict=True):
        total = max(1, int(counts.sum()))
        frames.append(
            pd.DataFrame(
                {
                    "from": histograms.edges[:-1],
                    "to": histograms.edges[1:],
                    "share": counts / total,
                    "count": counts,
                    "group": name,
                }
            )
        )
    axis = alt.Scale(domain=[float(histograms.edges[0]), float(histograms.edges[-1])], nice=False)
    filled = pd.concat(frames[:2], ignore_index=True)
    bars = (
        alt.Chart(filled[filled["count"] > 0])
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(
            x=alt.X("from:Q", bin="binned", title="similarity to the query", scale=axis),
            x2="to:Q",
            y=alt.Y("share:Q", stack=None, title="share of the group", axis=alt.Axis(format="%")),
            color=_COLOUR,
            tooltip=[
                alt.Tooltip("group:N", title="group"),
                alt.Tooltip("from:Q", title="from", format=".3f"),
                alt.Tooltip("to:Q", title="to", format=".3f"),
                alt.Tooltip("count:Q", title="count", format=","),
                alt.Tooltip("share:Q", title="share", format=".1%"),
            ],
        )
    )
    if brush:
        bars = bars.add_params(alt.selection_interval(name="brush", encodings=["x"]))
    # Chosen negatives lie among the candidates: an outline keeps both to be seen.
    outline = (
        alt.Chart(frames[2])
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(x=alt.X("from:Q", scale=axis), y="share:Q", color=_COLOUR)
    )
    limits = [("minimum score", settings.min_score), ("maximum score", settings.max_score)]
    rules = pd.DataFrame([{"at": at, "guard": name} for name, at in limits if at is not None], columns=["at", "guard"])
    lines = (
        alt.Chart(rules)
        .mark_rule(strokeDash=[4, 3], size=2, color="#888", clip=True)
        .encode(x=alt.X("at:Q", scale=axis), tooltip=[alt.Tooltip("guard:N"), alt.Tooltip("at:Q", format=".3f")])
    )
    return alt.layer(bars, outline, lines).properties(height=height)


def length_histogram(counts: npt.NDArray[np.int32], limit: int, what: str) -> alt.LayerChart:
    """Draw token counts, with the model's limit as a rule; what is longer than twice the limit stands in the last bar."""
    clipped = np.minimum(counts, max(limit * 2, 8))
    first, last = int(clipped.min(initial=limit)), int(clipped.max(initial=1))
    step = max(1, -(-(last - first + 1) // 40))
    bars, edges = np.histogram(clipped, bins=np.arange(first, last + step + 1, step))
    data = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "count": bars})
    data = data[data["count"] > 0]
    chart = (
        alt.Chart(data)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("from:Q", bin="binned", title=f"{what} length in tokens", axis=alt.Axis(tickMinStep=1, format="d")),
            x2="to:Q",
            y=alt.Y("count:Q", title=what.replace("query", "queries").replace("passage", "passages")),
            tooltip=[
                alt.Tooltip("from:Q", title="from", format=".0f"),
                alt.Tooltip("to:Q", title="to", format=".0f"),
                alt.Tooltip("count:Q", title="count", format=","),
            ],
        )
    )
    near = float(clipped.max(initial=0)) > 0.6 * limit
    rule = alt.Chart(pd.DataFrame({"at": [limit] if near else []})).mark_rule(strokeDash=[4, 3], size=2, color="#888").encode(x="at:Q")
    return alt.layer(chart, rule).properties(height=180)


def rank_curve(candidates: Candidates, settings: SelectionSettings, positive: float) -> alt.LayerChart:
    """Draw a query's scores by rank: the window shaded, the chosen as dots, the positive's level as a line."""
    ranked = candidates.ranks >= 0
    data = pd.DataFrame(
        {
            "rank": candidates.ranks[ranked],
            "score": candidates.scores[ranked],
            "state": np.array(candidates.states, dtype=object)[ranked],
            "chosen": candidates.chosen[ranked] > 0,
        }
    )
    end = min(settings.window_end, len(data))
    window = (
        alt.Chart(pd.DataFrame({"from": [settings.window_start], "to": [end]}))
        .mark_rect(opacity=0.12)
        .encode(x=alt.X("from:Q", title="rank"), x2="to:Q")
    )
    curve = alt.Chart(data).mark_line(color="#8190a5").encode(x=alt.X("rank:Q", title="rank"), y=alt.Y("score:Q", title="similarity"))
    level = pd.DataFrame({"at": [positive], "group": [GROUPS[0]]})
    line = (
        alt.Chart(level)
        .mark_rule(size=2)
        .encode(y="at:Q", color=_COLOUR_ALONE, tooltip=[alt.Tooltip("at:Q", title="mean score of the positives", format=".3f")])
    )
    dots = (
        alt.Chart(data[data["chosen"]].assign(group=GROUPS[1]))
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            x="rank:Q",
            y="score:Q",
            color=_COLOUR_ALONE,
            tooltip=[alt.Tooltip("rank:Q"), alt.Tooltip("score:Q", format=".3f"), alt.Tooltip("state:N")],
        )
    )
    return alt.layer(window, curve, line, dots).properties(height=240)
