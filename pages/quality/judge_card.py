"""The LLM judge on the Quality screen: what it found, its agreement with people, and which pairs it judges next.

Its grades are counted apart from verdicts. People's verdicts on some of the same pairs say how far it can be trusted, and from an agreement
on, the pairs that it found relevant can be added as positives: a decision of the person who presses the button, under their name.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.review.judge_agreement import JudgeAgreement
from hnmine.review.judge_prompt import GRADES
from hnmine.review.judge_settings import JudgeSettings
from hnmine.runs.judge_setup import write_judge
from hnmine.selection.select import Selection
from pages.quality import judge_form, promotion
from pages.shared import audit as auditing
from pages.shared import judge_job, judging, wording
from pages.shared.audit import Audit
from pages.shared.widgets import failed

Ids = npt.NDArray[np.int32]

# Pairs that both have judged below this number say little.
FEW = 20
NOTHING = "–"
ABOUT = (
    "A large language model (LLM) grades pairs of a query and a passage from 0 to 3. Grades are estimates, and never counted as verdicts "
    "of reviewers."
)
# The pairs that can be judged, by the names in `_choices`.
NAMES = {"audit": "Audit sample", "uncertain": "Most uncertain", "chosen": "Chosen negatives"}
UNCERTAIN = 200


def draw(run: OpenRun, selection: Selection, audit: Audit | None) -> None:
    """Draw the card."""
    st.subheader("Judge", anchor=False, help=ABOUT)
    try:
        settings, found = judging.chosen(), judging.graded(run)
    except HnmineError as error:
        failed("The grades of the judge cannot be read", error)
        return
    if settings is None and not found.by_pair:
        st.write(
            "An LLM can grade many pairs, and reviewers check a part of its grades. Its grades help to find false negatives, and never count "
            "as verdicts."
        )
        judge_form.draw(None)
        return
    if not found.by_pair:
        _work(run, selection, audit, settings)
        return
    with st.grid(2, min_column_width=320, gap="large"):
        with st.container():
            try:
                _result(run, found, settings)
            except HnmineError as error:
                failed("The agreement with reviewers cannot be computed", error)
        with st.container():
            _work(run, selection, audit, settings)


def _work(run: OpenRun, selection: Selection, audit: Audit | None, settings: JudgeSettings | None) -> None:
    """Draw the LLM, and its job or what it judges next."""
    if settings is not None:
        judge_job.name(settings)
    job = judging.latest(run.run.dataset_id)
    if job is not None and job.active:
        judge_job.progress(job.id)
        return
    judge_job.ended(job)
    if settings is not None:
        _next(run, selection, audit, settings)
    judge_form.draw(settings)


def _result(run: OpenRun, found: judging.Graded, settings: JudgeSettings | None) -> None:
    """Draw the counts by grade and the agreement with people."""
    relevant_from = judging.relevant_from()
    both = judging.agreement(run, found, relevant_from)
    relevant = int(np.count_nonzero(found.grades >= relevant_from))
    with st.container(horizontal=True):
        st.metric("Judged", f"{len(found.by_pair):,}", help="Pairs of this data set that the LLM has judged.")
        st.metric("Judged relevant", f"{relevant:,}", help=f"Pairs with grade {relevant_from} or higher.")
        st.metric(
            "Agreement",
            NOTHING if both.raw is None else wording.percent(both.raw),
            help="Part of the pairs that both have judged on which they agree that the passage is relevant or not. Junk counts as not, "
            "and unsure is left out.",
        )
        st.metric(
            "Cohen's kappa",
            NOTHING if both.kappa is None else f"{both.kappa:.2f}",
            help="Agreement beyond chance, at most 1. Not defined where both say the same of all pairs.",
        )
    _grades(found, both)
    if none := int(np.isnan(found.grades).sum()):
        st.text(f"{counted(none, 'pair has', 'pairs have')} no usable grade.")
    if both.pairs < FEW:
        _check(found, both)
    if settings is not None:
        promotion.draw(run, found, settings)


def _grades(found: judging.Graded, both: JudgeAgreement) -> None:
    counts = [int(np.count_nonzero(found.grades == grade)) for grade in range(len(GRADES))]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(
            {
                "grade": [f"{grade}: {each}" for grade, each in enumerate(GRADES)],
                "judged": counts,
                "both": [each.judged for each in both.grades],
                "relevant": [each.relevant for each in both.grades],
                "not": [each.not_relevant for each in both.grades],
            }
        )[::-1],
        column_config={
            "grade": st.column_config.TextColumn("Grade", width=190),
            "judged": number("Pairs", format="localized", width=65, help="Pairs with this grade."),
            "both": number("Reviewed", format="localized", width=80, help="Of these, pairs that reviewers have judged too."),
            "relevant": number("Relevant", format="localized", width=80, help="Pairs that reviewers found relevant."),
            "not": number("Not relevant", format="localized", width=95, help="Pairs that reviewers found not relevant, or junk."),
        },
        hide_index=True,
        height="content",
        alt="Number of pairs of each grade, and the verdicts of reviewers on them",
    )


def _check(found: judging.Graded, both: JudgeAgreement) -> None:
    """Draw the way to verdicts of people on judged pairs."""
    has = (
        f"{counted(both.pairs, 'judged pair has', 'judged pairs have')} a verdict of a reviewer"
        if both.pairs
        else "No judged pair has a verdict of a reviewer"
    )
    st.write(f"{has}. {FEW} give a first idea of the agreement.")
    if st.button(
        f"Review {min(FEW, len(found.by_pair)):,} at random",
        icon=":material/rate_review:",
        key="judge-review",
        help="Review does not show the grade before your verdict, so that the two are independent.",
    ):
        review("judged", sample=FEW)


def review(source: str, sample: int | None = None) -> None:
    """Open the Review screen with judged pairs, all or some at random."""
    memory = st.session_state
    memory.pop("review-session", None)  # a queue of before
    memory["review-source"], memory["review-mode"], memory["review-words"] = source, "pair", ""
    memory["review-states"], memory["review-order"], memory["review-sample"] = ["unreviewed"], "random", sample
    st.switch_page("pages/views/review.py")


def _next(run: OpenRun, selection: Selection, audit: Audit | None, settings: JudgeSettings) -> None:
    """Draw which pairs are judged next, and what it costs."""
    choices = _choices(run, selection, audit)
    which = st.segmented_control(
        "Pairs to judge",
        list(choices),
        default=next(iter(choices)),
        required=True,
        format_func=lambda name: f"{NAMES[name]} ({len(choices[name][0]):,})",
        key="judge-which",
        persist_state="session",
        wrap=True,
        help="The audit sample is for a rate. The most uncertain are those whose estimated probability is nearest to 50%.",
    )
    limit = st.number_input(
        "Limit of calls",
        min_value=1,
        max_value=1_000_000,
        value=settings.max_calls,
        step=100,
        key="judge-limit",
        width=190,
        help="One call judges one pair. Nothing is asked if more would be needed.",
    )
    if limit != settings.max_calls:
        settings = msgspec.structs.replace(settings, max_calls=int(limit))
        try:
            write_judge(resources.workspace().root, settings)
        except HnmineError as error:
            failed("The limit is not stored", error)
    judge_job.offer(run, choices[which], settings, "judge")


def _choices(run: OpenRun, selection: Selection, audit: Audit | None) -> dict[str, judging.Pairs]:
    """Return the pairs that can be judged."""
    estimator = resources.estimator(run)
    return {
        **({} if audit is None else {"audit": auditing.pairs(run, audit.sample)}),
        **({} if estimator is None else {"uncertain": most_uncertain(run, selection, UNCERTAIN)}),
        "chosen": chosen_pairs(selection),
    }


def chosen_pairs(selection: Selection) -> judging.Pairs:
    """Return the negatives of all queries, each pair once."""
    rows, places = np.nonzero(selection.negatives >= 0)
    return rows.astype(np.int32), selection.negatives[rows, places].astype(np.int32)


def most_uncertain(run: OpenRun, selection: Selection, number: int) -> judging.Pairs:
    """Return the negatives whose estimated probability is nearest to 50%."""
    found = resources.fn_probabilities(run, selection)
    assert found is not None  # a run with an estimator has them
    queries, passages = chosen_pairs(selection)
    distance = np.abs(np.nan_to_num(found[selection.negatives >= 0], nan=-1.0) - 0.5)
    nearest = np.argsort(distance, kind="stable")[:number]
    return queries[nearest], passages[nearest]
