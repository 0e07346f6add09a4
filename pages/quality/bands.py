"""The audit by band on the Quality screen, and the filter value for a wanted rate."""

from __future__ import annotations

import streamlit as st

from hnmine.analysis.count_charts import band_rates
from hnmine.review.audit import BandEstimate
from hnmine.review.audit_plan import FEWEST_FOR_CUT, Cut, recommend
from hnmine.review.audit_sample import Measure
from pages.shared import wording
from pages.shared.audit import Audit
from pages.shared.drawing import draw as draw_chart

BY = {"ratio": "ratio to the positive", "risk": "risk"}
COUNTS = "Relevant passages count as false. Junk does not."


def band_name(band: BandEstimate, by: Measure) -> str:
    """Return the range of a band, such as "80-90%"."""

    def text(edge: float) -> str:
        return wording.percent(edge) if by == "ratio" else f"{edge:.3g}"

    if band.low is None:
        return "all" if band.high is None else f"up to {text(band.high)}"
    if band.high is None:
        return f"above {text(band.low)}"
    return wording.interval(band.low, band.high, 0) if by == "ratio" else f"{text(band.low)}-{text(band.high)}"


def draw(audit: Audit) -> None:
    """Draw the table and chart of the bands."""
    by, bands = audit.sample.settings.by, audit.found.bands
    title, names = f"By {BY[by]}", [band_name(band, by) for band in bands]
    rates = [band.rate for band in bands]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.subheader(title, anchor=False)
    st.dataframe(
        {
            "band": names,
            "negatives": [band.negatives for band in bands],
            "of all": [100 * band.negatives / audit.sample.negatives for band in bands],
            "similarity": [band.similarity for band in bands],
            "reviewed": [band.reviewed for band in bands],
            "false": [band.false for band in bands],
            "rate": [None if rate is None else 100 * rate.rate for rate in rates],
            "95% interval": [None if rate is None else wording.interval(rate.low, rate.high) for rate in rates],
        },
        hide_index=True,
        placeholder="–",
        height="content",
        column_config={
            "band": text(help="The negative's score divided by the positive's score." if by == "ratio" else "Risk."),
            "negatives": number(format="localized", help="Over all rows, at the time of the draw."),
            "of all": number(format="%.0f%%", help="Of all negatives."),
            "similarity": number(format="%.3f", help="Mean similarity to the query: the hardness of the band."),
            "reviewed": number(
                format="localized", help="Reviewed draws of this band. Bands with more expected false negatives get more draws."
            ),
            "false": number(format="localized", help=COUNTS),
            "rate": number(format="%.1f%%", help="False divided by reviewed."),
            "95% interval": text(help="Confidence interval of this band. Wide with few reviews.", alignment="right"),
        },
        alt=f"{title}: negatives, reviewed, false, and the rate with its confidence interval",
    )
    if audit.found.rate is None:
        return
    shown = {name: (rate.rate, rate.low, rate.high) for name, rate in zip(names, rates, strict=True) if rate is not None}
    whole = audit.found.rate.rate
    description = f"{title}: rates of false negatives with 95% confidence intervals. Overall rate: {wording.percent(whole, 1)}"
    draw_chart(band_rates(shown, whole, by=BY[by], description=description), "audit-bands")
    st.caption("Dots: estimated rates. Lines: 95% confidence intervals. Dashed: overall rate.")


def cut(audit: Audit) -> None:
    """Draw the filter value for a wanted rate."""
    st.subheader("Recommended filter", anchor=False)
    wanted = st.number_input(
        "Highest acceptable rate in %",
        min_value=0.1,
        max_value=50.0,
        value=2.0,
        step=0.5,
        format="%.1f",
        key="audit-wanted",
        persist_state="session",
        width=220,
        help="Rate of false negatives. The recommendation uses only the rates that the review found in each band.",
    )
    found = recommend(audit.found, wanted / 100)
    if found == "few":
        st.write(f"Not enough reviews. A recommendation needs at least {FEWEST_FOR_CUT:,} in total, and {FEWEST_FOR_CUT:,} below the cut.")
    elif found == "unneeded":
        st.write("No filter is needed. The estimated rate is low enough.")
    elif found == "none":
        st.write("No value of this filter gives such a rate. Try a later start of the rank window, or review more negatives.")
    elif isinstance(found, Cut):
        _recommendation(found, audit)


def _recommendation(found: Cut, audit: Audit) -> None:
    now = sum(band.similarity * band.negatives for band in audit.found.bands) / audit.sample.negatives
    by_ratio = audit.sample.settings.by == "ratio"
    st.write(
        f"{'PercPos at' if by_ratio else 'Risk at most'} **{found.limit:.3g}**: about **{wording.percent(found.rate.rate, 1)}** false "
        f"negatives (95% confidence interval {wording.interval(found.rate.low, found.rate.high)}, {found.reviewed:,} reviewed). Hardness "
        f"{found.similarity:.3f}, now {now:.3f}. The filter removes {wording.percent(1 - found.fraction)} of the negatives. Negatives that "
        "replace them are not audited."
    )
    if by_ratio:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.code(f"--max_positive_ratio {found.limit:g}", language=None, width="content")
            st.page_link("pages/views/mine.py", label="Set the filter on the Mine screen", icon=":material/arrow_forward:", width="content")
