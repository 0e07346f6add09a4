"""Lengths and scores of a selection on the Quality screen."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from hnmine.analysis.count_charts import values_histogram
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics, wording
from pages.shared.drawing import draw


def lengths(run: OpenRun, selection: Selection) -> None:
    """Draw the lengths of passages, and their correlation with similarity."""
    found = statistics.lengths(run, selection)
    if math.isnan(found.correlation):
        st.write("All candidates have the same length.")
    else:
        strength = "hardly" if abs(found.correlation) < 0.1 else "somewhat" if abs(found.correlation) < 0.3 else "clearly"
        direction = "longer" if found.correlation > 0 else "shorter"
        st.write(
            f"Among the ranked candidates of a query, similarity is **{strength}** higher for {direction} passages. Rank correlation of "
            f"similarity and length: {found.correlation:+.2f}, mean over {counted(found.queries, 'query', 'queries')}."
        )
    groups = {"positives": found.positives, "negatives": found.chosen, "all candidates": found.candidates}
    st.dataframe(
        {"passages": list(groups), "mean": [mean for mean, _ in groups.values()], "median": [median for _, median in groups.values()]},
        hide_index=True,
        placeholder="–",
        width="content",
        column_config={
            "passages": st.column_config.TextColumn(help="Positives and negatives count once for each query."),
            **{name: st.column_config.NumberColumn(format="%.0f", help="Characters.") for name in ("mean", "median")},
        },
        alt="Lengths in characters of positives, negatives and all candidates",
    )
    st.caption("In characters. If positives and negatives differ in length, a model can learn length instead of meaning.")


def scores(run: OpenRun, selection: Selection) -> None:
    """Draw how the scores of positives and negatives differ."""
    found, table = statistics.separation(run, selection), statistics.query_table(run, selection)
    if math.isnan(found.auc):
        st.caption("This selection has no negatives.")
        return
    st.write(
        f"Mean similarity: {found.positives:.3f} for positives, {found.chosen:.3f} for negatives. The positive scores higher in "
        f"{wording.percent(found.in_order, 1)} of the pairs of the same query, and in {wording.percent(found.auc, 1)} of all pairs (area "
        f"under the ROC curve). The two distributions overlap by {wording.percent(found.overlap)}."
    )
    margins = table.margin[np.isfinite(table.margin)].astype(np.float64)
    description = f"Queries by margin. In {int((margins < 0).sum()):,} of {len(margins):,} a negative scores above the positive"
    axis = "positive minus hardest negative (similarity)"
    draw(values_histogram(margins, description, title="Queries by margin", axis=axis, what="queries"), "quality-margins")
    st.caption(
        "Left of the line, a negative scores above the positive. This is not the rate of false negatives. Run an audit to estimate it."
    )
