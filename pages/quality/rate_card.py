"""The false-negative rate on the Quality screen: the measured one beside the estimate, and the reviews that come next."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.data.verdicts import CHOICES
from hnmine.resources import OpenRun
from hnmine.review.audit_plan import ASSUMED
from hnmine.review.audit_sample import MOST
from hnmine.review.intervals import rate_interval
from hnmine.review.judged_audit import JudgedEstimate
from hnmine.selection.select import Selection
from pages.shared import audit as auditing
from pages.shared import statistics, wording
from pages.shared.audit import Audit
from pages.shared.widgets import failed

# Pairs that one press adds to a sample that is reviewed, and to one that a judge has graded.
MORE, MORE_JUDGED = 40, 20
NOTHING = "–"
DRAWS = "Draws of the sample. A pair on several rows can be drawn more than once, so the judge has fewer different pairs to grade."


def draw(run: OpenRun, selection: Selection, audit: Audit | None) -> None:
    """Draw the card."""
    estimated = statistics.summary(run, selection).estimated_fn_rate
    measured = None if audit is None else audit.rate
    with st.container(horizontal=True):
        st.metric(
            "Measured",
            "not measured" if measured is None else wording.percent(measured.rate, 1),
            help="Share of the negatives that reviewers found relevant in a random sample. Junk does not count.",
        )
        st.metric("Estimated", NOTHING if estimated is None else str(estimated), help=wording.NO_MEASUREMENT)
    if audit is None:
        _first(run, selection)
        return
    if audit.found.rate is None:
        st.write(f"{auditing.reviewed(audit.found)}. A rate needs {counted(audit.missing, 'more review')}.")
    else:
        _measured(audit)
    if audit.changed and audit.found.reviewed:
        if audit.gone:
            st.warning(f"{audit.still} Draw a new sample in Audit in detail.", icon=":material/warning:")
        else:
            st.text(audit.still)
    _judge(audit)
    done = audit.pairs - audit.to_do
    st.progress(done / max(1, audit.pairs), text=f"{done:,} of {counted(audit.pairs, 'pair')} reviewed")
    _next(run, audit)


def _measured(audit: Audit) -> None:
    """Say which negatives the rate is of, and its confidence interval."""
    found = audit.found
    assert found.rate is not None
    if audit.changed and found.left is not None:
        st.markdown(
            f"95% confidence interval **{wording.interval(found.left.low, found.left.high)}**, {auditing.reviewed(found)}, "
            f"{found.false:,} false. Before these were removed, the rate was {wording.percent(found.rate.rate, 1)}. "
            "The negatives that replace them are not audited.",
            help=DRAWS,
        )
    else:
        st.markdown(
            f"95% confidence interval **{wording.interval(found.rate.low, found.rate.high)}**, {auditing.reviewed(found)}, "
            f"{found.false:,} false.",
            help=DRAWS,
        )


def _judge(audit: Audit) -> None:
    """Say in grey what the judge alone says, which is not the rate, or what is missing before its grades count."""
    found = audit.found
    if not isinstance(found, JudgedEstimate):
        if audit.judged is not None:
            pairs = counted(audit.missing, "more pair is", "more pairs are")
            st.caption(f"The grades of the judge count after {pairs} reviewed.")
        return
    if found.judge_rate is not None:
        agrees = "" if found.agreement is None else f", and agrees with people on about {wording.percent(found.agreement)} of the negatives"
        st.caption(
            f"The judge alone finds {wording.percent(found.judge_rate, 1)} relevant{agrees}.",
            help="Not the rate. The verdicts of people on a random part of the judged negatives correct it. This agreement is an "
            "estimate for all negatives, so it differs from Agreement on the Judge card, which counts the pairs that both have judged.",
        )


def _next(run: OpenRun, audit: Audit) -> None:
    """Draw the button that opens the Review screen, with more pairs if all are reviewed."""
    wanted = ["unreviewed", "positive"] if audit.in_bulk else ["unreviewed"]  # what was promoted in bulk is reviewed too
    if audit.to_do:
        if st.button(f"Review {audit.to_do:,} more", icon=":material/rate_review:", type="primary", key="audit-review"):
            auditing.review(wanted)
        return
    size = _size(audit)
    most = min(len(audit.sample.draws), size + (MORE if audit.judged is None else MORE_JUDGED))
    with st.container(horizontal=True):
        if most > size and st.button(f"Review {most - size:,} more", icon=":material/rate_review:", type="primary", key="audit-more"):
            auditing.enlarge(run, audit.sample, most)
            auditing.review(wanted)
        if st.button("See the reviewed pairs", type="tertiary", key="audit-review-again"):
            auditing.review(list(CHOICES))


def _size(audit: Audit) -> int:
    """Return the draws that people have reviewed or are to review."""
    return max(audit.sample.settings.size, audit.counting)


def _first(run: OpenRun, selection: Selection) -> None:
    """Draw the form for a first sample, or say where the audit of other settings is."""
    negatives = int(selection.counts[run.inputs.corpus.row_queries].sum())
    if not negatives:
        st.info("This selection has no negatives. Widen the rank range on the Mine screen.", icon=":material/info:")
        return
    if (sample := auditing.earlier(run.run.id, selection.settings)) is not None:
        drawn = sample.drawn.replace("T", " ")[:16]
        st.warning(f"Settings changed since the audit of {drawn} UTC. These negatives are not measured.", icon=":material/warning:")
    else:
        st.write("Review a random sample of the negatives to measure the rate.")
    size = sample_size("audit-size", negatives)
    _, low, high = rate_interval([ASSUMED * size], [size], [negatives])
    half = wording.points(float(high - low) / 2)
    st.write(f"{counted(size, 'verdict')} give a margin of error of about ±{half}, if the rate is near {wording.percent(ASSUMED)}.")
    if st.button(f"Review {size:,} at random", icon=":material/rate_review:", type="primary", key="audit-draw"):
        changed(lambda: auditing.draw(run, selection, size))
        auditing.review(["unreviewed"])


def sample_size(key: str, negatives: int) -> int:
    """Draw the choice of the size of a sample; return it."""
    most = min(MOST, negatives)
    help_text = f"Negatives to review. You can add more later, up to {MOST:,}."
    return int(
        st.number_input(
            "Sample size", min_value=1, max_value=most, value=min(auditing.FIRST, most), step=10, key=key, width=150, help=help_text
        )
    )


def changed(work: Callable[[], None]) -> None:
    """Change the sample; an error is shown and ends the script."""
    try:
        work()
    except HnmineError as error:
        failed("The sample was not changed", error)
        st.stop()


def plan(run: OpenRun, audit: Audit) -> None:
    """Draw the reviews that a margin of error takes, and a new sample; part of the details."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.number_input(
            "Margin of error, ± points",
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
        more = auditing.more_reviews(audit, wanted / 100)
        size = 0 if more is None else audit.counting + more
        if more == 0:
            st.text("Reached.")
        elif more is None:
            draws = len(audit.sample.draws if audit.judged is None else audit.states)
            st.text(
                f"Needs more than the maximum of {draws:,} draws."
                if audit.judged is None
                else f"Needs more than the {draws:,} judged draws."
            )
        else:
            rates = "the rates found so far" if audit.found.reviewed else f"an assumed rate of {wording.percent(ASSUMED)}"
            st.text(f"Needs about {counted(more, 'more review')} at {rates}.")
            label = f"Add {size - _size(audit):,} to the sample"
            if size > _size(audit) and st.button(label, icon=":material/add:", key="audit-enlarge"):
                changed(lambda: auditing.enlarge(run, audit.sample, size))
                st.rerun()


def new_sample(run: OpenRun, selection: Selection, audit: Audit) -> None:
    """Draw the form for a sample of the selection as verdicts have changed it; part of the details."""
    if not audit.changed:
        return
    st.write("The negatives have changed since the sample was drawn. A new sample replaces the measured rate and keeps all verdicts.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = sample_size("audit-size-anew", audit.sample.negatives)
        if st.button("Draw a new sample", icon=":material/casino:", key="audit-draw-anew"):
            changed(lambda: auditing.draw(run, selection, size))
            st.rerun()


def notes(audit: Audit) -> str:
    """Return what the counts of the sample leave out, in sentences."""
    found, written = audit.found, ["Relevant passages count as false negatives. Junk does not."]
    if found.junk:
        written.append(f"{counted(found.junk, 'draw is', 'draws are')} junk.")
    if found.unsure:
        written.append(f"{counted(found.unsure, 'draw is', 'draws are')} unsure and left out.")
    if audit.in_bulk:
        written.append(f"{counted(audit.in_bulk, 'draw was', 'draws were')} promoted in bulk, and not reviewed.")
    if isinstance(found, JudgedEstimate):
        written.append("People review a random part of each range and label of the judge, more where it narrows the interval most.")
    if found.waiting:
        does = counted(found.waiting, "verdict does", "verdicts do")
        written.append(f"{does} not count yet, because earlier draws in the random order have none.")
    if audit.judged is None and audit.pairs < len(audit.states):
        written.append("A pair on several rows can be drawn more than once.")
    return " ".join(written)
