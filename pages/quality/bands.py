"""The audit by band on the Quality screen: negatives, reviews and the rate in each."""

from __future__ import annotations

import streamlit as st

from hnmine.analysis.count_charts import band_rates
from hnmine.review.audit import BandEstimate
from hnmine.review.audit_sample import Measure
from hnmine.review.judged_audit import JudgedEstimate
from pages.shared import wording
from pages.shared.audit import Audit
from pages.shared.drawing import draw as draw_chart

BY = {"ratio": "ratio to the positive", "risk": "risk"}
COUNTS = "Relevant passages count as false negatives. Junk does not."


def band_name(band: BandEstimate, by: Measure) -> str:
    """Return the range of a band, such as "80-90%"."""

    def text(edge: float) -> str:
        return wording.percent(edge) if by == "ratio" else f"{edge:.3g}"

    if band.low is None:
        return "all" if band.high is None else f"up to {text(band.high)}"
    if band.high is None:
        return f"above {text(band.low)}"
    return wording.interval(band.low, band.high, 0) if by == "ratio" else f"{text(band.low)}-{text(band.high)}"


def _judged(audit: Audit) -> dict[str, list[int]]:
    """Return the columns of a judge's labels; none without a judge."""
    found = audit.found
    if not isinstance(found, JudgedEstimate):
        return {}
    relevant, other = (
        [sum(cell.judged for cell in found.cells if (cell.band, cell.label) == (band, label)) for band in range(len(found.bands))]
        for label in ("relevant", "not relevant")
    )
    return {"judged": [a + b for a, b in zip(relevant, other, strict=True)], "judged relevant": relevant}


def draw(audit: Audit) -> None:
    """Draw the table and chart of the bands."""
    by, bands = audit.sample.settings.by, audit.found.bands
    title, names = f"By {BY[by]}", [band_name(band, by) for band in bands]
    rates = [band.rate for band in bands]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    judged = _judged(audit)
    st.markdown(f"**{title}**")
    st.dataframe(
        {
            "range": names,
            "negatives": [band.negatives for band in bands],
            "of all": [100 * band.negatives / audit.sample.negatives for band in bands],
            "similarity": [band.similarity for band in bands],
            **judged,
            "reviewed": [band.reviewed for band in bands],
            "false": [band.false for band in bands],
            "rate": [None if rate is None else 100 * rate.rate for rate in rates],
            "95% interval": [None if rate is None else wording.interval(rate.low, rate.high) for rate in rates],
        },
        hide_index=True,
        placeholder="–",
        height="content",
        column_config={
            "range": text(help="The negative's score divided by the positive's score." if by == "ratio" else "Risk."),
            "negatives": number(format="localized", help="Over all rows, at the time of the draw."),
            "of all": number(format="%.0f%%", help="Of all negatives."),
            "similarity": number(format="%.3f", help="Mean similarity to the query."),
            "reviewed": number(
                format="localized", help="Reviewed draws of this range. Ranges with more expected false negatives get more draws."
            ),
            "false": number(format="localized", help=COUNTS),
            "judged": number(format="localized", help="Draws with a grade of the judge."),
            "judged relevant": number(format="localized", help="Draws that the judge found relevant. People review more of these."),
            "rate": number(
                format="%.1f%%",
                help="Corrected by people: the judge's labels weight what people found in each."
                if judged
                else "False divided by reviewed.",
            ),
            "95% interval": text(help="Confidence interval of this range. Wide with few reviews.", alignment="right"),
        },
        alt=f"{title}: negatives, reviewed, false, and the rate with its confidence interval",
    )
    if audit.found.rate is None:
        return
    shown = {name: (rate.rate, rate.low, rate.high) for name, rate in zip(names, rates, strict=True) if rate is not None}
    whole = audit.found.rate.rate
    description = f"{title}: rates of false negatives with 95% confidence intervals. Overall rate: {wording.percent(whole, 1)}"
    draw_chart(band_rates(shown, whole, by=BY[by], description=description), "audit-bands")
