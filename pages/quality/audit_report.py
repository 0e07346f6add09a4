"""The audit on the Quality screen: the sample, the rate with its confidence interval, and the reviews that a wanted precision takes."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.data.verdicts import CHOICES
from hnmine.resources import OpenRun
from hnmine.review.audit_plan import ASSUMED, more_reviews
from hnmine.review.audit_sample import MOST
from hnmine.review.intervals import rate_interval
from hnmine.selection.select import Selection
from pages.quality import bands
from pages.quality.bands import BY, COUNTS
from pages.shared import audit as auditing
from pages.shared import wording
from pages.shared.audit import Audit
from pages.shared.widgets import failed


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the audit of a selection, or the form that starts one."""
    try:
        audit = auditing.current(run, selection)
    except HnmineError as error:
        failed("The audit cannot be read", error)
        return
    with st.container(border=True):
        if audit is None:
            _invitation(run, selection)
            return
        _headline(audit)
        _sample(run, selection, audit)
    bands.draw(audit)
    if audit.found.rate is not None:
        bands.cut(audit)


def _size(label: str, key: str, negatives: int) -> int:
    most = min(MOST, negatives)
    return int(
        st.number_input(
            label,
            min_value=1,
            max_value=most,
            value=min(auditing.FIRST, most),
            step=10,
            key=key,
            width=150,
            help=f"Number of negatives to review. You can add more later, up to {MOST:,}.",
        )
    )


def _invitation(run: OpenRun, selection: Selection) -> None:
    """Draw the form for a first sample."""
    st.subheader("False negatives: not audited", anchor=False)
    st.write(
        "Scores cannot show how many negatives are false. Review a random sample of the negatives to estimate the rate, with a 95% "
        "confidence interval."
    )
    negatives = int(selection.counts[run.inputs.corpus.row_queries].sum())
    if not negatives:
        st.info("This selection has no negatives. Widen the rank window on the Mine screen.", icon=":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = _size("Sample size", "audit-size", negatives)
        if st.button("Draw a sample", icon=":material/casino:", type="primary", key="audit-draw", help="At random, with seed 42."):
            _do(lambda: auditing.draw(run, selection, size))
    _, low, high = rate_interval([ASSUMED * size], [size], [negatives])
    st.caption(
        f"For a rate of {wording.percent(ASSUMED)}, {counted(size, 'review')} give a margin of error of about "
        f"±{wording.percent(float(high - low) / 2, 1)}."
    )


def _headline(audit: Audit) -> None:
    """Draw the rate with its confidence interval, or the number of reviews still needed."""
    found, by = audit.found, BY[audit.sample.settings.by]
    which = "the sampled selection" if audit.changed else "this selection"
    if found.rate is None:
        st.subheader(f"False negatives in {which}: not enough reviews", anchor=False)
        done = f"{found.reviewed:,} of {counted(len(audit.states), 'draw')} reviewed." if found.reviewed else "No pair is reviewed yet."
        st.write(f"{done} The estimate needs {counted(found.missing, 'more review')}.")
        return
    st.subheader(f"False negatives in {which}: {wording.percent(found.rate.rate, 1)}", anchor=False)
    st.write(
        f"95% confidence interval **{wording.interval(found.rate.low, found.rate.high)}**. {found.reviewed:,} reviewed, {found.false:,} "
        f"false. Drawn at random from {audit.sample.negatives:,} negatives, within bands of the {by}."
    )
    if audit.changed and found.left is not None:
        st.write(
            f"After removing the false negatives found: an estimated **{wording.percent(found.left.rate, 1)}** "
            f"(95% confidence interval {wording.interval(found.left.low, found.left.high)}). Negatives that replaced them are not audited."
        )


def _sample(run: OpenRun, selection: Selection, audit: Audit) -> None:
    """Draw the progress of the sample, and the next steps."""
    found, total = audit.found, audit.pairs
    done = total - audit.to_do
    st.progress(done / max(1, total), text=f"{done:,} of {counted(total, 'pair')} reviewed")
    _more(run, audit)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Review the sample" if audit.to_do else "Review the sample again"
        if st.button(label, icon=":material/rate_review:", type="primary" if audit.to_do else "secondary", key="audit-review"):
            auditing.review(["unreviewed"] if audit.to_do else list(CHOICES))
        with st.popover("New sample", icon=":material/casino:", key="audit-anew", disabled=not audit.changed):
            st.write(
                "Draw a sample of the selection as the verdicts have changed it. This replaces the estimate above. All verdicts are kept."
            )
            size = _size("Sample size", "audit-size-anew", audit.sample.negatives)
            if st.button("Draw a new sample", type="primary", key="audit-draw-anew"):
                _do(lambda: auditing.draw(run, selection, size))
    notes = [COUNTS]
    if found.junk:
        notes.append(f"{counted(found.junk, 'draw is', 'draws are')} junk.")
    if found.unsure:
        notes.append(f"{counted(found.unsure, 'draw is', 'draws are')} unsure and left out.")
    if found.waiting:
        notes.append(
            f"{counted(found.waiting, 'verdict does', 'verdicts do')} not count yet, because earlier draws in the random order have none."
        )
    if total < len(audit.states):
        notes.append("A pair on several rows can be drawn more than once.")
    st.caption(" ".join(notes))


def _more(run: OpenRun, audit: Audit) -> None:
    """Draw the number of reviews that a wanted precision takes, and the button that adds them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.number_input(
            "Margin of error, ± in %",
            min_value=0.1,
            max_value=20.0,
            value=1.5,
            step=0.5,
            format="%.1f",
            key="audit-precision",
            persist_state="session",
            width=190,
            help="Half the width of the 95% confidence interval. Halving it takes about four times as many reviews.",
        )
        more = more_reviews(audit.sample, audit.states, wanted / 100)
        size = 0 if more is None else audit.found.reviewed + audit.found.unsure + more
        if more == 0:
            st.text("Reached.")
        elif more is None:
            st.text(f"Needs more than the maximum of {len(audit.sample.draws):,} draws.")
        else:
            rates = "the rates found so far" if audit.found.reviewed else f"an assumed rate of {wording.percent(ASSUMED)}"
            st.text(f"Needs about {counted(more, 'more review')} at {rates}.")
            if size > len(audit.states) and st.button(
                f"Add {size - len(audit.states):,} to the sample", icon=":material/add:", key="audit-enlarge"
            ):
                _do(lambda: auditing.enlarge(run, audit.sample, size))


def _do(work: Callable[[], None]) -> None:
    """Run the action of a button, then the page again."""
    try:
        work()
    except HnmineError as error:
        failed("The sample was not changed", error)
        return
    st.rerun()
