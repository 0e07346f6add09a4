"""The audit of the current selection: its sample, the states of the draws, and the estimate.

A sample belongs to the settings of a selection (`runs.audit_samples`): another selection has no audit, and the sample returns with the
settings. Changes that verdicts make to the selection are shown beside the estimate and never mixed into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError, WorkspaceError
from hnmine.resources import OpenRun
from hnmine.review import audit as estimates
from hnmine.review import audit_sample, queue
from hnmine.review.audit import AuditRecord, Estimate, Rate
from hnmine.review.audit_sample import AuditSettings, Sample
from hnmine.runs import audit_samples
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.shared import statistics, wording

Ids = npt.NDArray[np.int32]

# Default size of a first sample.
FIRST = 120


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """An audit.

    Attributes:
        sample: the sample. states: of its draws, indices into `queue.STATES`.
        found: the estimate. fingerprint: of the current negatives.
        pairs: number of distinct pairs. to_do: number of those without a verdict.
    """

    sample: Sample
    states: npt.NDArray[np.int8]
    found: Estimate
    fingerprint: str
    pairs: int
    to_do: int

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
    return audit_samples.kept_sample(resources.workspace(), run_id, selection)


def earlier(run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the last audit sample of other settings of a run, or None: the settings have changed since that audit."""
    samples = (sample for sample in audit_samples.kept_samples(resources.workspace(), run_id) if sample.selection != selection)
    return max(samples, key=lambda sample: sample.drawn, default=None)


def current(run: OpenRun, selection: Selection) -> Audit | None:
    """Return the audit of a run's selection, or None without a sample.

    Raises:
        WorkspaceError: the sample is damaged, or the verdicts cannot be read.
    """
    sample = kept(run.run.id, selection.settings)
    if sample is None:
        return None
    queries, passages = audit_sample.pairs_in(sample, run.inputs.corpus)
    states = _states(run, queries, passages)
    different = audit_sample.different_pairs(queries, passages)
    return Audit(
        sample=sample,
        states=states,
        found=estimates.estimate(sample, states),
        fingerprint=statistics.fingerprint(run, selection),
        pairs=len(different[0]),
        to_do=int(np.count_nonzero(_states(run, *different) == 0)),
    )


def rate(run: OpenRun, selection: Selection) -> Rate | None:
    """Return the audited rate of a selection as it is now; None without one, also if the audit cannot be read."""
    found = current_or_none(run, selection)
    return None if found is None else found[0]


def current_or_none(run: OpenRun, selection: Selection) -> tuple[Rate, int] | None:
    """Return the audited rate of a selection as it is now, and the number of draws reviewed; None as for `rate`."""
    try:
        audit = current(run, selection)
    except WorkspaceError:  # the Quality screen says so
        return None
    return None if audit is None or audit.rate is None else (audit.rate, audit.found.reviewed)


def pairs(run: OpenRun, sample: Sample) -> tuple[Ids, Ids]:
    """Return the distinct pairs of a sample, in its order."""
    return audit_sample.different_pairs(*audit_sample.pairs_in(sample, run.inputs.corpus))


def _states(run: OpenRun, queries: Ids, passages: Ids) -> npt.NDArray[np.int8]:
    """Return the states of pairs, indices into `queue.STATES`."""
    known_pairs = _with_verdict(run, resources.reviews().version())
    known = known_pairs[0].astype(np.int64) << 32 | known_pairs[1]
    wanted = queries.astype(np.int64) << 32 | passages
    if not len(known):
        return np.zeros(len(wanted), dtype=np.int8)
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[places] == wanted, known_pairs[2][places], 0).astype(np.int8)


@resources.cached(4)
def _with_verdict(run: OpenRun, version: int) -> tuple[Ids, Ids, npt.NDArray[np.int8]]:
    return queue.pairs_with_verdict(run.inputs.corpus, run.verdict_pairs, resources.reviews().verdicts())


def draw(run: OpenRun, selection: Selection, size: int) -> None:
    """Draw a sample of the current selection and store it in place of an older one.

    Raises:
        InputError: the selection has no negatives.
        WorkspaceError: the sample cannot be stored.
    """
    sample = audit_sample.draw(run.inputs.corpus, run.ranking, selection, AuditSettings(size=size))
    audit_samples.keep_sample(resources.workspace(), run.run.id, sample)


def enlarge(run: OpenRun, sample: Sample, size: int) -> None:
    """Store a sample with more draws to review; the present ones come first.

    Raises:
        WorkspaceError: the sample cannot be stored.
    """
    audit_samples.keep_sample(resources.workspace(), run.run.id, sample.of_size(size))


def summary(run: OpenRun, selection: Selection) -> AuditRecord | None:
    """Draw the audit of this selection in one line; return it for the manifest, or None without a rate."""
    try:
        found = current(run, selection)
    except HnmineError as error:
        st.warning("The audit cannot be read", icon=":material/warning:")
        st.text(str(error))
        return None
    record = None if found is None else estimates.record(found.sample, found.found, found.fingerprint)
    with st.container(horizontal=True, vertical_alignment="center"):
        if record is None:
            changed = found is None and earlier(run.run.id, selection.settings) is not None
            st.text("Settings changed since the audit." if changed else "The false-negative rate is not measured.")
        else:
            rate = record if record.left is None else record.left
            which = "" if record.left is None else " after the review"
            st.text(
                f"Audited: {wording.percent(rate.rate, 1)} false negatives{which} "
                f"(95% confidence interval {wording.interval(rate.low, rate.high)}, {record.reviewed:,} reviewed)."
            )
        st.page_link("pages/views/quality.py", label="Quality", icon=":material/verified:", width="content")
    return record


def review(states: list[str]) -> None:
    """Open the Review screen with the pairs of the sample in some states of `queue.STATES`."""
    st.session_state["review-audit"] = states
    st.switch_page("pages/views/review.py")
