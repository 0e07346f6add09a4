"""The audit on the Quality screen: the sample, the rate with its interval and how it came about, and how many more reviews it takes."""

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


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the audit of a selection, or the way to one."""
    try:
        audit = auditing.current(run, selection)
    except HnmineError as error:
        st.error("The audit cannot be read", icon=":material/error:")
        st.text(str(error))
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
            help=f"Negatives to review. More can be added later, up to {MOST:,}: they go on where these end.",
        )
    )


def _invitation(run: OpenRun, selection: Selection) -> None:
    """Say that nothing is known, and offer a sample."""
    st.subheader("How many of these negatives are false?", anchor=False)
    st.write(
        "Not audited yet. Similarities cannot tell, people can: review a random sample of the negatives, and the rate of false ones "
        "follows, with its 95\u00a0% interval."
    )
    negatives = int(selection.counts[run.inputs.corpus.row_queries].sum())
    if not negatives:
        st.info("This selection has no negative: widen the rank window on the Mine screen.", icon=":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = _size("Reviews", "audit-size", negatives)
        if st.button("Draw a sample", icon=":material/casino:", type="primary", key="audit-draw", help="At random, by the seed 42."):
            _do(lambda: auditing.draw(run, selection, size))
    _, low, high = rate_interval([ASSUMED * size], [size], [negatives])
    st.caption(
        f"If about {wording.percent(ASSUMED)} are false, which nobody knows yet, {counted(size, 'review')} would tell it to within "
        f"about ±{wording.percent(float(high - low) / 2, 1)}."
    )


def _headline(audit: Audit) -> None:
    """Say the rate and how it came about, or what is missing for it."""
    found, by = audit.found, BY[audit.sample.settings.by]
    which = "the selection as it was sampled" if audit.changed else "this selection"
    if found.rate is None:
        st.subheader(f"False negatives in {which}: not known yet", anchor=False)
        done = (
            f"{found.reviewed:,} of the sample's {len(audit.states):,} reviewed" if found.reviewed else "Nobody has reviewed the sample yet"
        )
        st.write(f"{done}: {counted(found.missing, 'more review')} until a rate can be told.")
        return
    st.subheader(f"False negatives in {which}: {wording.percent(found.rate.rate, 1)}", anchor=False)
    st.write(
        f"95\u00a0% interval **{wording.interval(found.rate.low, found.rate.high)}**, {found.reviewed:,} reviewed, of them {found.false:,} "
        f"false; drawn at random from {audit.sample.negatives:,} negatives, within bands of the {by}."
    )
    if audit.changed and found.left is not None:
        st.write(
            f"What was found is out. Of the other negatives of that selection an estimated **{wording.percent(found.left.rate, 1)}** are "
            f"false (95\u00a0% interval {wording.interval(found.left.low, found.left.high)}); those that moved in are not audited."
        )


def _sample(run: OpenRun, selection: Selection, audit: Audit) -> None:
    """Draw how far the sample is reviewed, and what can be done next."""
    found, total = audit.found, audit.pairs
    done = total - audit.to_do
    st.progress(done / max(1, total), text=f"{done:,} of {counted(total, 'pair')} of the sample reviewed")
    _more(run, audit)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Review the sample" if audit.to_do else "Look at the sample"
        if st.button(label, icon=":material/rate_review:", type="primary" if audit.to_do else "secondary", key="audit-review"):
            auditing.review(["unreviewed"] if audit.to_do else list(CHOICES))
        with st.popover("Draw anew", icon=":material/casino:", key="audit-anew", disabled=not audit.changed):
            st.write("Draws another sample, of the selection as the verdicts have changed it. The figures above go; all verdicts stay.")
            size = _size("Reviews", "audit-size-anew", audit.sample.negatives)
            if st.button("Draw a new sample", type="primary", key="audit-draw-anew"):
                _do(lambda: auditing.draw(run, selection, size))
    notes = [COUNTS]
    if found.skipped:
        notes.append(f"{counted(found.skipped, 'skipped one is', 'skipped ones are')} left out.")
    if found.waiting:
        notes.append(
            f"{counted(found.waiting, 'verdict waits', 'verdicts wait')} for others that come before in the random order: "
            "what somebody looked at first is no random sample."
        )
    if total < len(audit.states):
        notes.append("A pair that stands on several rows was drawn more than once, and counts as often.")
    st.caption(" ".join(notes))


def _more(run: OpenRun, audit: Audit) -> None:
    """Say how many more reviews a wanted precision takes, and offer to add them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.number_input(
            "Wanted precision, ± in %",
            min_value=0.1,
            max_value=20.0,
            value=1.5,
            step=0.5,
            format="%.1f",
            key="audit-precision",
            persist_state="session",
            width=190,
            help="Half the width of the 95 % interval. Half of it takes about four times as many reviews.",
        )
        more = more_reviews(audit.sample, audit.states, wanted / 100)
        size = 0 if more is None else audit.found.reviewed + audit.found.skipped + more
        if more == 0:
            st.text("reached")
        elif more is None:
            st.text(f"takes more than all {len(audit.sample.draws):,} that can be drawn")
        else:
            st.text(f"takes about {counted(more, 'more review')}, if it goes on like this")
            if size > len(audit.states) and st.button(
                f"Add {size - len(audit.states):,} to the sample", icon=":material/add:", key="audit-enlarge"
            ):
                _do(lambda: auditing.enlarge(run, audit.sample, size))


def _do(work: Callable[[], None]) -> None:
    """Do what a button asks for, and draw the page anew."""
    try:
        work()
    except HnmineError as error:
        st.error("That could not be done", icon=":material/error:")
        st.text(str(error))
        return
    st.rerun()
