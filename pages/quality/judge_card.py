"""The LLM judge on the Quality screen: what it found, its agreement with people, and which pairs it judges next.

Its grades are counted apart from verdicts. People's verdicts on some of the same pairs say how far it can be trusted, and from an agreement
on, the pairs that it found relevant can be added as positives: a decision of the person who presses the button, under their name.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, shortened, visible
from hnmine.resources import OpenRun
from hnmine.review.judge_agreement import JudgeAgreement
from hnmine.review.judge_pairs import audit_pairs, chosen_pairs, random_pairs, uncertain_pairs
from hnmine.review.judge_prompt import GRADES
from hnmine.review.judge_settings import JudgeSettings
from hnmine.review.judged_audit import to_judge
from hnmine.runs.judge_setup import write_judge
from hnmine.selection.select import Selection
from pages.quality import judge_form, promotion
from pages.shared import judge_job, judging, wording
from pages.shared.audit import Audit
from pages.shared.widgets import choice, failed

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
# Chosen negatives that are offered at once: counting their tokens takes a second.
MOST = 5_000


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
            "An LLM can grade many pairs, and reviewers check some of its grades. Grades help to find false negatives, and never count as "
            "verdicts."
        )
        judge_form.draw(None)
        return
    if not found.by_pair:
        _work(run, selection, audit, settings, found)
        return
    with st.grid(2, min_column_width=320, gap="large"):
        with st.container():
            try:
                _result(run, found, settings)
            except HnmineError as error:
                failed("The agreement with reviewers cannot be computed", error)
        with st.container():
            _work(run, selection, audit, settings, found)


def _work(run: OpenRun, selection: Selection, audit: Audit | None, settings: JudgeSettings | None, found: judging.Graded) -> None:
    """Draw the LLM, and its job or what it judges next."""
    if settings is not None:
        judge_job.name(settings)
    job = judging.latest(run.run.dataset_id)
    if job is not None and job.active:
        judge_job.progress(job.id)
        return
    judge_job.ended(job)
    if settings is not None:
        _next(run, selection, audit, settings, found)
    judge_form.draw(settings)


def _result(run: OpenRun, found: judging.Graded, settings: JudgeSettings | None) -> None:
    """Draw the counts by grade and the agreement with people."""
    relevant_from = judging.relevant_from()
    both = judging.agreement(run, found, relevant_from)
    model, prompt = found.judge
    other = "" if settings is None or _of_chosen(found, settings) else ", count. The chosen judge has judged no pair of this data set yet"
    st.text(f"Grades of {visible(shortened(model, 60))}, prompt {prompt}{other}.")
    relevant = int(np.count_nonzero(found.grades >= relevant_from))
    with st.container(horizontal=True):
        st.metric("Judged", f"{len(found.by_pair):,}", help="Pairs of this data set that the judge has graded.")
        st.metric("Judged relevant", f"{relevant:,}", help=f"Pairs with grade {relevant_from} or higher.")
        st.metric(
            "Agreement",
            NOTHING if both.raw is None else wording.percent(both.raw),
            help="Part of the pairs that both have judged on which they agree that the passage is relevant or not. Junk counts as not, "
            "and unsure is left out. It is not weighted, so it can differ from the agreement on all negatives beside the measured rate.",
        )
        st.metric(
            "Cohen's kappa",
            NOTHING if both.kappa is None else f"{both.kappa:.2f}",
            help="Agreement beyond chance, at most 1. Not defined where both say the same of all pairs.",
        )
    _grades(found, both)
    none = np.isnan(found.grades)
    if count := int(none.sum()):
        st.text(f"{counted(count, 'pair has', 'pairs have')} no usable grade.")
        job = judging.latest(run.run.dataset_id)
        if settings is not None and _of_chosen(found, settings) and (job is None or not job.active):
            judge_job.offer(run, (found.pairs[0][none], found.pairs[1][none]), settings, "judge-again", ask_again=True)
    if both.pairs < FEW:
        _check(found, both)
    if settings is not None and promotion.draw(run, found, settings) and both.pairs >= FEW:
        relevant_label = f"Review {counted(relevant, 'pair')} judged relevant"
        if st.button(relevant_label, icon=":material/rate_review:", key="judge-review-relevant"):
            review("judged_relevant")


def _of_chosen(found: judging.Graded, settings: JudgeSettings | None) -> bool:
    """Return whether the grades that count are those of the chosen judge."""
    return settings is not None and found.judge == (settings.model, settings.prompt.version)


def _grades(found: judging.Graded, both: JudgeAgreement) -> None:
    counts = [int(np.count_nonzero(found.grades == grade)) for grade in range(len(GRADES))]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(
            {
                "grade": [f"{grade}: {each}" for grade, each in enumerate(GRADES)],
                "judged": counts,
                "relevant": [each.relevant for each in both.grades],
                "not": [each.not_relevant for each in both.grades],
            }
        )[::-1],
        column_config={
            "grade": st.column_config.TextColumn("Grade", width=150),
            "judged": number("Pairs", format="localized", width=55, help="Pairs with this grade."),
            "relevant": number("Relevant", format="localized", width=70, help="Of these, pairs that reviewers found relevant."),
            "not": number("Not", format="localized", width=45, help="Pairs that reviewers found not relevant, or junk."),
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


def _next(run: OpenRun, selection: Selection, audit: Audit | None, settings: JudgeSettings, found: judging.Graded) -> None:
    """Draw which pairs are judged next, and what it costs."""
    choices = _choices(run, selection, audit, found.by_pair if _of_chosen(found, settings) else {})
    which = choice(
        "Pairs to judge",
        {name: f"{NAMES[name]} ({len(pairs[0]):,})" for name, pairs in choices.items()},
        "judge-which",
        next(iter(choices)),
        "The audit sample helps to measure the rate. The judge grades more of it than people review, because that narrows the "
        "interval. The most uncertain are negatives without a grade whose estimated false-negative "
        "probability is nearest to 50%.",
    )
    if which == "audit" and audit is not None:
        draws = len(to_judge(audit.sample).reviewed_draws)
        pairs = counted(len(choices[which][0]), "different pair")
        st.text(f"{pairs} in {counted(draws, 'draw')}. The judge grades more than people review, because that narrows the interval.")
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


def _choices(run: OpenRun, selection: Selection, audit: Audit | None, judged: Collection[tuple[int, int]]) -> dict[str, judging.Pairs]:
    """Return the pairs that can be judged: of all negatives at most MOST, at random; of the uncertain ones those that are not `judged`."""
    corpus, estimator = run.inputs.corpus, resources.estimator(run)
    chosen = chosen_pairs(selection)
    choices = {} if audit is None else {"audit": audit_pairs(audit.sample, corpus)}
    if estimator is not None:
        pairs = uncertain_pairs(estimator, selection, UNCERTAIN + len(judged))
        new = [place for place, pair in enumerate(zip(*(ids.tolist() for ids in pairs), strict=True)) if pair not in judged][:UNCERTAIN]
        choices["uncertain"] = pairs[0][new], pairs[1][new]
    return choices | {"chosen": chosen if len(chosen[0]) <= MOST else random_pairs(corpus, chosen, MOST)}
