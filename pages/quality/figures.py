"""Lengths and scores of a selection, on the Quality screen."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from hnmine.analysis.charts import values_histogram
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.selection.select import Selection
from pages.shared import statistics, wording
from pages.shared.drawing import draw


def lengths(run: OpenRun, selection: Selection) -> None:
    found = statistics.lengths(run, selection)
    if math.isnan(found.correlation):
        st.write("All candidates are of one length.")
    else:
        strength = "hardly at all" if abs(found.correlation) < 0.1 else "somewhat" if abs(found.correlation) < 0.3 else "clearly"
        direction = "longer" if found.correlation > 0 else "shorter"
        st.write(
            f"Among a query's ranked candidates {direction} ones are nearer **{strength}**: rank correlation of similarity and length "
            f"{found.correlation:+.2f}, mean of {counted(found.queries, 'query', 'queries')}."
        )
    groups = {"positives": found.positives, "chosen negatives": found.chosen, "all candidates": found.candidates}
    st.dataframe(
        {
            "passages": list(groups),
            "mean": [each[0] for each in groups.values()],
            "median": [each[1] for each in groups.values()],
        },
        hide_index=True,
        placeholder="–",
        width="content",
        column_config={
            "passages": st.column_config.TextColumn(help="Positives and negatives count as often as a query has them."),
            "mean": st.column_config.NumberColumn(format="%.0f", help="Characters."),
            "median": st.column_config.NumberColumn(format="%.0f", help="Characters."),
        },
        alt="Lengths in characters of positives, chosen negatives and all candidates",
    )
    st.caption("In characters. A model can learn length in place of meaning where positives and negatives differ in it.")


def scores(run: OpenRun, selection: Selection) -> None:
    found, table = statistics.separation(run, selection), statistics.query_table(run, selection)
    if math.isnan(found.auc):
        st.caption("There is no negative.")
        return
    st.write(
        f"Positives have a similarity of {found.positives:.3f} on average, chosen negatives {found.chosen:.3f}. A positive is above a "
        f"negative of the same query in {wording.percent(found.in_order, 1)} of the pairs, of any query in "
        f"{wording.percent(found.auc, 1)} (area under the ROC curve). The two distributions share {wording.percent(found.overlap)}."
    )
    margins = table.margin[np.isfinite(table.margin)].astype(np.float64)
    description = f"Queries by margin; {int((margins < 0).sum()):,} of {len(margins):,} have a negative above their positive"
    axis = "positive minus hardest negative (similarity)"
    draw(values_histogram(margins, description, title="Queries by margin", axis=axis, what="queries"), "quality-margins")
    st.caption(
        "Left of the line a negative is nearer to the query than its positive. No rate of false negatives: that only an audit tells."
    )
