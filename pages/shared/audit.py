"""The audit of the current selection: its sample, what stands about each of it, and what follows.

A sample belongs to a selection's settings (`runs.audit_samples`), so moving a slider away leaves it and moving it back finds it again. What
the verdicts on it change in the selection is told, never mixed into the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.resources import OpenRun
from hnmine.review import audit as estimates
from hnmine.review import audit_sample, queue
from hnmine.review.audit import AuditRecord, Estimate
from hnmine.review.audit_sample import AuditSettings, Sample
from hnmine.runs import audit_samples
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.shared import statistics, wording

Ids = npt.NDArray[np.int32]

# Reviews that a first sample has unless somebody says otherwise.
FIRST = 120


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """An audit as it stands.

    Attributes:
        sample: what was drawn. states: what stands about each draw, places in `queue.STATES`.
        found: what follows. fingerprint: of the negatives that are chosen now.
        pairs: how many different pairs people have to look at; to_do: those of them without a verdict.
    """

    sample: Sample
    states: npt.NDArray[np.int8]
    found: Estimate
    fingerprint: str
    pairs: int
    to_do: int

    @property
    def changed(self) -> bool:
        """Whether verdicts have changed the selection since the sample was drawn."""
        return self.fingerprint != self.sample.fingerprint


def kept(run_id: str, selection: SelectionSettings) -> Sample | None:
    """Return the sample of a selection of a run, or None.

    Raises:
        WorkspaceError: it is damaged.
    """
    return audit_samples.kept_sample(resources.workspace(), run_id, selection)


def current(run: OpenRun, selection: Selection) -> Audit | None:
    """Return the audit of a run's selection, or None when no sample was drawn of it.

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


def pairs(run: OpenRun, sample: Sample) -> tuple[Ids, Ids]:
    """Return the pairs of a sample that people look at, in its order, each once."""
    return audit_sample.different_pairs(*audit_sample.pairs_in(sample, run.inputs.corpus))


def _states(run: OpenRun, queries: Ids, passages: Ids) -> npt.NDArray[np.int8]:
    """Return what stands about pairs, places in `queue.STATES`."""
    judged = _judged(run.key, resources.reviews().version(), run)
    known = judged[0].astype(np.int64) << 32 | judged[1]
    wanted = queries.astype(np.int64) << 32 | passages
    if not len(known):
        return np.zeros(len(wanted), dtype=np.int8)
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[places] == wanted, judged[2][places], 0).astype(np.int8)


@st.cache_resource(show_spinner=False, max_entries=4)
def _judged(key: str, version: int, _run: OpenRun) -> tuple[Ids, Ids, npt.NDArray[np.int8]]:
    return queue.pairs_with_verdict(_run.inputs.corpus, _run.verdict_pairs, resources.reviews().verdicts())


def draw(run: OpenRun, selection: Selection, size: int) -> None:
    """Draw a sample of the selection as it is now, and keep it in place of an older one.

    Raises:
        InputError: the selection has no negative.
        WorkspaceError: it cannot be kept.
    """
    sample = audit_sample.draw(run.inputs.corpus, run.ranking, selection, AuditSettings(size=size))
    audit_samples.keep_sample(resources.workspace(), run.run.id, sample)


def enlarge(run: OpenRun, sample: Sample, size: int) -> None:
    """Keep a sample with more draws to be reviewed; those of before are the first of them.

    Raises:
        WorkspaceError: it cannot be kept.
    """
    audit_samples.keep_sample(resources.workspace(), run.run.id, sample.of_size(size))


def told(run: OpenRun, selection: Selection) -> AuditRecord | None:
    """Draw in a line what the audit of this selection says; return what a manifest says of it, or None without one."""
    try:
        found = current(run, selection)
    except HnmineError as error:
        st.warning("The audit cannot be read", icon=":material/warning:")
        st.text(str(error))
        return None
    record = None if found is None else estimates.record(found.sample, found.found, found.fingerprint)
    with st.container(horizontal=True, vertical_alignment="center"):
        if record is None:
            st.text("Not audited: how many of the negatives are false is not known.")
        else:
            rate = record if record.left is None else record.left
            said = (
                f"{wording.percent(rate.rate, 1)} {'of the negatives are' if record.left is None else 'of what the review left are'} false"
            )
            st.text(f"Audited: {said} (95\u00a0% interval {wording.interval(rate.low, rate.high)}, {record.reviewed:,} reviewed).")
        st.page_link("pages/views/quality.py", label="Quality", icon=":material/verified:", width="content")
    return record


def review(states: list[str]) -> None:
    """Go to the Review screen with the pairs of the sample of which such verdicts, of `queue.STATES`, stand."""
    st.session_state["review-audit"] = states
    st.switch_page("pages/views/review.py")
