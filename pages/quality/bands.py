"""The audit band by band on the Quality screen, and the guard that would have to cut for a wanted rate."""

from __future__ import annotations

import streamlit as st

from hnmine.analysis.charts import band_rates
from hnmine.review.audit import BandEstimate
from hnmine.review.audit_plan import FEWEST_FOR_CUT, Cut, recommend
from hnmine.review.audit_sample import Measure
from pages.shared import wording
from pages.shared.audit import Audit
from pages.shared.drawing import draw as draw_chart

BY = {"share": "share of the positive's score", "risk": "risk"}
COUNTS = "Dropped and promoted count as false: neither should be a negative. (A dropped one may be junk, not an answer.)"


def band_name(band: BandEstimate, by: Measure) -> str:
    """Say which band it is."""

    def said(edge: float) -> str:
        return wording.percent(edge) if by == "share" else f"{edge:.3g}"

    if band.low is None:
        return "all" if band.high is None else f"up to {said(band.high)}"
    return f"above {said(band.low)}" if band.high is None else f"{said(band.low).removesuffix('%')}-{said(band.high)}"


def draw(audit: Audit) -> None:
    """Draw the bands with what was found in each."""
    by, bands = audit.sample.settings.by, audit.found.bands
    title, names = f"By {BY[by]}", [band_name(band, by) for band in bands]
    rates = [band.rate for band in bands]
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.subheader(title, anchor=False)
    st.dataframe(
        {
            "band": names,
            "negatives": [band.negatives for band in bands],
            "part": [100 * band.negatives / audit.sample.negatives for band in bands],
            "similarity": [band.similarity for band in bands],
            "reviewed": [band.reviewed for band in bands],
            "false": [band.false for band in bands],
            "rate": [None if rate is None else 100 * rate.rate for rate in rates],
            "95 % interval": [None if rate is None else wording.interval(rate.low, rate.high) for rate in rates],
        },
        hide_index=True,
        placeholder="–",
        height="content",
        column_config={
            "band": text(help="The negative's similarity to the query as a share of the positive's." if by == "share" else "Risk."),
            "negatives": number(format="localized", help="Over all rows, when the sample was drawn."),
            "part": number(format="%.0f %%", help="Of all negatives."),
            "similarity": number(format="%.3f", help="Mean of the band: its hardness."),
            "reviewed": number(format="localized", help="Drawn from this band and reviewed. Riskier bands are drawn from more often."),
            "false": number(format="localized", help=COUNTS),
            "rate": number(format="%.1f %%", help="False, of the reviewed of this band."),
            "95 % interval": text(help="Of this band alone: wide where few were reviewed.", alignment="right"),
        },
        alt=f"{title}: negatives, how many were reviewed and false, and the rate with its interval",
    )
    if audit.found.rate is None:
        return
    shown = {name: (rate.rate, rate.low, rate.high) for name, rate in zip(names, rates, strict=True) if rate is not None}
    whole = audit.found.rate.rate
    description = f"{title}: rates of false negatives with 95 % intervals; of all, {wording.percent(whole, 1)}"
    draw_chart(band_rates(shown, whole, by=BY[by], description=description), "audit-bands")
    st.caption("Dots: estimated rates. Lines: their 95\u00a0% intervals. Dashed: the rate of all.")


def cut(audit: Audit) -> None:
    """Say where a guard would have to cut for a wanted rate."""
    st.subheader("Recommended cut", anchor=False)
    wanted = st.number_input(
        "Wanted rate, at most, in %",
        min_value=0.1,
        max_value=50.0,
        value=2.0,
        step=0.5,
        format="%.1f",
        key="audit-wanted",
        persist_state="session",
        width=190,
        help="False negatives that you can live with. Estimated by what people found, band by band.",
    )
    found = recommend(audit.found, wanted / 100)
    if found == "few":
        st.write(f"Too few reviews to say: at least {FEWEST_FOR_CUT:,}, and as many of what the cut would leave.")
    elif found == "unneeded":
        st.write("None is needed: the estimated rate of all is not above it.")
    elif found == "none":
        st.write("No cut by this measure has such a rate. A later start of the window, or a review, may.")
    elif isinstance(found, Cut):
        _told(found, audit)


def _told(found: Cut, audit: Audit) -> None:
    now = sum(band.similarity * band.negatives for band in audit.found.bands) / audit.sample.negatives
    by_share = audit.sample.settings.by == "share"
    st.write(
        f"{'PercPos at' if by_share else 'Risk at most'} **{found.limit:.3g}**: about **{wording.percent(found.rate.rate, 1)}** false "
        f"(95\u00a0% interval {wording.interval(found.rate.low, found.rate.high)}, {found.reviewed:,} reviewed), hardness "
        f"{found.similarity:.3f} (now {now:.3f}). It removes {wording.percent(1 - found.share)} of the negatives; what takes their places "
        "is not audited."
    )
    if by_share:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.code(f"--max_positive_ratio {found.limit:g}", language=None, width="content")
            st.page_link("pages/views/mine.py", label="Set it on the Mine screen", icon=":material/arrow_forward:", width="content")
