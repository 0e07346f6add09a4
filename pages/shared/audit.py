"""The audit of the current selection: its sample, the states of the draws, and the estimate.

A sample belongs to the settings of a selection (`runs.selection_files`): another selection has no audit, and the sample returns with the
settings. Changes that verdicts make to the selection are shown beside the estimate and never mixed into it. Where a judge has graded the
first draws of the sample, people review a part of those (`review.judged_audit`), and the size of the sample is that of their part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.core.text import counted, shortened, visible
from hnmine.data.verdicts import pairs_of
from hnmine.resources import OpenRun
from hnmine.review import audit as estimates
from hnmine.review import audit_plan, audit_sample, judged_audit, queue
from hnmine.review.audit import AuditRecord, Estimate, JudgeRecord, Rate
from hnmine.review.audit_sample import AuditSettings, Sample
from hnmine.review.judge_agreement import by_people
from hnmine.review.judged_audit import JudgedEstimate
from hnmine.runs import selection_files
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.shared import judging, statistics, wording

Ids = npt.NDArray[np.int32]
States = npt.NDArray[np.int8]

# Default size of a first sample.
FIRST = 120
# The state of a pair that a judge found relevant and a person added as positive in bulk: nobody has reviewed it, so the draws after it
# wait. If it were passed over, verdicts on pairs that somebody chose would count as a random part.
IN_BULK = -1


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The draws of a sample that a judge has graded.

    Attributes:
        sample: with these draws. grades: (n,) float32, NaN for none. relevant_from: the lowest grade that counts as relevant.
        judges: the model and the version of its prompt, once.
    """

    sample: Sample
    grades: npt.NDArray[np.float32]
    relevant_from: int
    judges: tuple[tuple[str, str], ...]

    def estimate(self, states: States) -> JudgedEstimate:
        """Return the estimate with people's states of the draws."""
        return judged_audit.judged_estimate(self.sample, states, self.grades, self.relevant_from)

    def part(self, states: States, size: int) -> npt.NDArray[np.int64]:
        """Return the draws that people review: those with their verdict, then those that come next, until `size` verdicts count."""
        most = max(0, size - _counting(self.estimate(states)))
        more = judged_audit.people_order(self.sample, states, self.grades, self.relevant_from, most)
        return np.concatenate([np.flatnonzero(states > 0), more])


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """An audit.

    Attributes:
        sample: the sample of people. judged: what a judge graded of it, or None.
        states: of its draws, with a judge of all judged draws: indices into `queue.STATES`, 0 for those IN_BULK.
        found: the estimate, with a judge a `JudgedEstimate`, or of people alone while people have not reviewed enough of the judged draws.
        fingerprint: of the current negatives.
        pairs: number of distinct pairs that people review. to_do: number of those without a verdict.
        missing: reviews that are missing for a rate, with the judge's grades if there are any.
        counting: draws whose verdict of a person counts, or is unsure.
        in_bulk: draws that a person added as positives in bulk. Nobody has reviewed them.
        still_selected: draws of `states` whose passage is still a negative of its query.
    """

    sample: Sample
    states: npt.NDArray[np.int8]
    found: Estimate
    fingerprint: str
    pairs: int
    to_do: int
    missing: int
    counting: int
    in_bulk: int
    still_selected: int
    judged: Judged | None = None

    @property
    def gone(self) -> bool:
        """Whether less than half of the audited negatives are still selected."""
        return 2 * self.still_selected < len(self.states)

    @property
    def still(self) -> str:
        """How many of the audited negatives are still selected, in words."""
        verb = "is" if self.still_selected == 1 else "are"
        return f"{self.still_selected:,} of the {counted(len(self.states), 'audited negative')} {verb} still selected."

    @property
    def changed(self) -> bool:
        """Whether verdicts have changed the selection since the draw."""
        return self.fingerprint != self.sample.fingerprint

    @property
    def rate(self) -> Rate | None:
        """The rate of the selection as it is now, without the false negatives found; None below the minimum of reviews."""
        return self.found.left if self.changed else self.found.rate


def kept(run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the sample of a selection of a run, or None.

    Raises:
        WorkspaceError: the sample is damaged.
    """
    return selection_files.kept_sample(resources.workspace(), run_id, selection)


def earlier(run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the last audit sample of other settings of a run, or None: the settings have changed since that audit."""
    samples = (sample for sample in selection_files.kept_samples(resources.workspace(), run_id) if sample.selection != selection)
    return max(samples, key=lambda sample: sample.drawn, default=None)


def current(run: OpenRun, selection: Selection) -> Audit | None:
    """Return the audit of a run's selection, or None without a sample.

    Raises:
        WorkspaceError: the sample is damaged, or the verdicts cannot be read.
    """
    sample = kept(run.run.id, selection.settings)
    if sample is None:
        return None
    judged = judged_part(run, sample)
    drawn = sample if judged is None else judged.sample
    draws = audit_sample.pairs_in(drawn, run.inputs.corpus)
    states, added = _reviewed(run, *draws), in_bulk(run, *draws)
    found = estimates.estimate(sample, states[: len(sample.reviewed_draws)])
    both = found if judged is None else judged.estimate(states)
    if both.rate is not None or found.rate is None:
        found = both
    different = _different(run, sample, judged, states)
    return Audit(
        sample=sample,
        states=states,
        found=found,
        fingerprint=statistics.fingerprint(run, selection),
        pairs=len(different[0]),
        to_do=int(np.count_nonzero(_reviewed(run, *different) == 0)),
        missing=both.missing,
        counting=_counting(both),
        in_bulk=int(added.sum()),
        still_selected=_still_selected(selection, *draws),
        judged=judged,
    )


def _counting(found: Estimate) -> int:
    """Return the draws whose verdict of a person counts, or is unsure."""
    return found.reviewed + found.unsure


def _still_selected(selection: Selection, queries: Ids, passages: Ids) -> int:
    known = (queries >= 0) & (passages >= 0)
    return int((selection.negatives[queries[known]] == passages[known, None]).any(axis=1).sum())


def judged_part(run: OpenRun, sample: Sample) -> Judged | None:
    """Return the draws of a sample that a judge has graded, or None where there are too few or the grades cannot be read.

    Only the grades that count, of one judge.
    """
    graded = judging.graded_or_none(run)
    if graded is None:
        return None
    grades, asked = _grades(run, sample, graded)
    size = judged_audit.judged_size(asked, sample.settings.size)
    return Judged(sample.of_size(size), grades[:size], judging.relevant_from(), (graded.judge,)) if size else None


def _grades(run: OpenRun, sample: Sample, graded: judging.Graded) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the grade of each draw of a sample, NaN for none, and whether it was judged; texts that the corpus lacks count as judged."""
    queries, passages = audit_sample.pairs_in(sample.of_size(len(sample.draws)), run.inputs.corpus)
    found = [graded.by_pair.get(pair) for pair in zip(queries.tolist(), passages.tolist(), strict=True)]
    grades = [np.nan if each is None or each.grade is None else each.grade for each in found]
    judged = [each is not None for each in found]
    return np.array(grades, np.float32), np.array(judged, dtype=bool) | (queries < 0) | (passages < 0)


def _different(run: OpenRun, sample: Sample, judged: Judged | None, states: npt.NDArray[np.int8]) -> tuple[Ids, Ids]:
    """Return the distinct pairs that people review, in their order."""
    queries, passages = audit_sample.pairs_in(sample if judged is None else judged.sample, run.inputs.corpus)
    if judged is not None:
        part = judged.part(states, sample.settings.size)
        queries, passages = queries[part], passages[part]
    return audit_sample.different_pairs(queries, passages)


def more_reviews(audit: Audit, half_width: float) -> int | None:
    """Return how many more reviews give an interval of plus or minus `half_width`, or None if all draws are too few."""
    judged = audit.judged
    if judged is None:
        return audit_plan.more_reviews(audit.sample, audit.states, half_width)
    return judged_audit.more_judged_reviews(judged.sample, audit.states, judged.grades, judged.relevant_from, half_width)


def stamp() -> str:
    """Return a value that changes with all grades and with the choice of the judge."""
    if not judging.any_graded():
        return ""
    chosen = judging.chosen()
    names = "" if chosen is None else f"{chosen.model} {chosen.prompt.version} {chosen.relevant_from}"
    return f"{resources.judgements().version()} {names}"


def rate(run: OpenRun, selection: Selection) -> Rate | None:
    """Return the audited rate of a selection as it is now; None without one that describes it, also if the audit cannot be read."""
    found = current_or_none(run, selection)
    return None if found is None else found.rate


def current_or_none(run: OpenRun, selection: Selection) -> Audit | None:
    """Return the audit of a selection if it has a rate, and half of its negatives are still selected; None as for `rate`."""
    try:
        audit = current(run, selection)
    except WorkspaceError:  # the Quality screen says so
        return None
    return None if audit is None or audit.rate is None or audit.gone else audit


def reviewed(found: Estimate) -> str:
    """Return how many draws people reviewed and a judge graded: "600 judged, 60 reviewed by people"."""
    if isinstance(found, JudgedEstimate):
        return f"{found.judged:,} judged, {found.reviewed:,} reviewed by people"
    return f"{found.reviewed:,} reviewed"


def pairs(run: OpenRun, sample: Sample) -> tuple[Ids, Ids]:
    """Return the distinct pairs of a sample that people review, in its order; with a judge, those with a verdict first."""
    judged = judged_part(run, sample)
    drawn = sample if judged is None else judged.sample
    states = _reviewed(run, *audit_sample.pairs_in(drawn, run.inputs.corpus))
    return _different(run, sample, judged, states)


def in_bulk(run: OpenRun, queries: Ids, passages: Ids) -> npt.NDArray[np.bool_]:
    """Return which pairs a person added as positives in bulk."""
    return np.asarray(_states(run, queries, passages) == IN_BULK)


def _reviewed(run: OpenRun, queries: Ids, passages: Ids) -> States:
    """Return the states of pairs as people reviewed them, indices into `queue.STATES`."""
    return np.maximum(_states(run, queries, passages), 0).astype(np.int8)


def _states(run: OpenRun, queries: Ids, passages: Ids) -> npt.NDArray[np.int8]:
    """Return the states of pairs, indices into `queue.STATES` or IN_BULK."""
    known_pairs = _with_verdict(run, resources.reviews().version())
    known = known_pairs[0].astype(np.int64) << 32 | known_pairs[1]
    wanted = queries.astype(np.int64) << 32 | passages
    if not len(known):
        return np.zeros(len(wanted), dtype=np.int8)
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[places] == wanted, known_pairs[2][places], 0).astype(np.int8)


@resources.cached()
def _with_verdict(run: OpenRun, version: int) -> tuple[Ids, Ids, States]:
    """Return the pairs with a verdict and their states; positives that a judge found and a person added in bulk are IN_BULK."""
    corpus, verdicts = run.inputs.corpus, resources.reviews().verdicts()
    queries, passages, states = queue.pairs_with_verdict(corpus, run.verdict_pairs, verdicts)
    read = {id(each) for each in by_people(verdicts)}
    if in_bulk := [each for each in verdicts if id(each) not in read]:
        added = pairs_of(corpus, [each.query for each in in_bulk], [each.passage for each in in_bulk])
        theirs = np.isin(queries.astype(np.int64) << 32 | passages, added[0].astype(np.int64) << 32 | added[1])
        states = np.where(theirs, IN_BULK, states).astype(np.int8)
    return queries, passages, states


def draw(run: OpenRun, selection: Selection, size: int) -> None:
    """Draw a sample of the current selection and store it in place of an older one.

    Raises:
        InputError: the selection has no negatives.
        WorkspaceError: the sample cannot be stored.
    """
    sample = audit_sample.draw(run.inputs.corpus, run.ranking, selection, AuditSettings(size=size))
    selection_files.keep_sample(resources.workspace(), run.run.id, sample)


def enlarge(run: OpenRun, sample: Sample, size: int) -> None:
    """Store a sample with more draws to review; the present ones come first.

    Raises:
        WorkspaceError: the sample cannot be stored.
    """
    selection_files.keep_sample(resources.workspace(), run.run.id, sample.of_size(size))


def summary(run: OpenRun, selection: Selection) -> AuditRecord | None:
    """Draw the audit of this selection in one line; return it for the manifest, or None without a rate."""
    try:
        found = current(run, selection)
    except HnmineError as error:
        st.warning("The audit cannot be read", icon=":material/warning:")
        st.text(str(error))
        return None
    record = None if found is None else estimates.record(found.sample, found.found, found.fingerprint, _judge(found))
    with st.container(horizontal=True, vertical_alignment="center"):
        if record is None:
            changed = found is None and earlier(run.run.id, selection.settings) is not None
            st.text("Settings changed since the audit." if changed else "The false-negative rate is not measured.")
        else:
            rate = record if record.left is None else record.left
            which = "" if record.left is None else " after the review"
            assert found is not None
            gone = f" {found.still}" if found.changed and found.gone else ""
            judge = f" Judge: {name}." if (name := judge_name(found)) else ""
            st.text(
                f"Audited: {wording.percent(rate.rate, 1)} false negatives{which} "
                f"(95% confidence interval {wording.interval(rate.low, rate.high)}, {reviewed(found.found)}).{judge}{gone}"
            )
        st.page_link("pages/views/quality.py", label="Quality", icon=":material/verified:", width="content")
    return record


def _judge(audit: Audit) -> JudgeRecord | None:
    """Return the judge that took part in an estimate, for the manifest."""
    found, judged = audit.found, audit.judged
    if judged is None or not isinstance(found, JudgedEstimate):
        return None
    return JudgeRecord(
        judges=judged.judges,
        relevant_from=judged.relevant_from,
        judged=found.judged,
        people=found.reviewed,
        rate=found.judge_rate,
        agreement=found.agreement,
    )


def judge_name(audit: Audit) -> str:
    """Return the name of the judge that took part in the estimate, or empty."""
    record = _judge(audit)
    return "" if record is None else ", ".join(dict.fromkeys(visible(shortened(model, 60)) for model, _ in record.judges))


def review(states: list[str]) -> None:
    """Open the Review screen with the pairs of the sample in some states of `queue.STATES`."""
    st.session_state.pop("review-session", None)  # with a judge, another part comes next
    st.session_state["review-audit"] = states
    st.switch_page("pages/views/review.py")
