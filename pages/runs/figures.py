"""The figures of variants: the stored ones at once, and a computation of one that is missing or old."""

from __future__ import annotations

import msgspec

from hnmine import resources
from hnmine.analysis.histograms import mini_histogram
from hnmine.core.errors import HnmineError
from hnmine.resources import OpenRun
from hnmine.runs.variants import Figures, Variant, keep_figures, kept_figures
from hnmine.runs.workspace import Run
from hnmine.selection.select import Selection
from pages.shared import audit as auditing
from pages.shared import statistics


def version() -> int:
    """Return the version of the verdicts, -1 if they cannot be read."""
    try:
        return resources.reviews().version()
    except HnmineError:
        return -1


def files_of(run: Run) -> object:
    """Return a value that changes with the files of a run's data set; None if they are not there."""
    try:
        return resources.workspace().stamp(run.dataset_id)
    except (HnmineError, OSError):
        return None


def stored(run_id: str, variant: Variant) -> tuple[Figures | None, bool]:
    """Return the stored figures of a variant, and whether they hold for the verdicts of now."""
    found = kept_figures(resources.workspace(), run_id, variant.id)
    now = version(), _drawn(run_id, variant)
    return found, found is not None and (found.version, found.sample) == now


def compute(run_id: str, variant: Variant) -> Figures:
    """Compute and store the figures of a variant: a second for 10,000 queries, most of it to open the run.

    Raises:
        HnmineError: the run cannot be opened.
    """
    known_verdicts, space = resources.reviews().version(), resources.workspace()
    run = resources.open_run(run_id)
    known, sample = kept_figures(space, run_id, variant.id), _drawn(run_id, variant)
    if known is not None and known.key == run.key and known.sample == sample == "":  # the new verdicts concern other data
        figures = msgspec.structs.replace(known, version=known_verdicts)
    else:
        figures = _computed(run, variant, known_verdicts, sample)
    keep_figures(space, run_id, variant.id, figures)
    return figures


def _drawn(run_id: str, variant: Variant) -> str:
    """Return a value that changes with the audit sample of a variant, empty without one."""
    try:
        sample = auditing.kept(run_id, variant.settings)
        judge = "" if sample is None else auditing.stamp()
    except HnmineError:  # the Quality screen says so
        return "damaged"
    return "" if sample is None else f"{len(sample.reviewed_draws)} {sample.drawn} {sample.fingerprint} {judge}".rstrip()


def _computed(run: OpenRun, variant: Variant, known_verdicts: int, sample: str) -> Figures:
    selection = resources.selection(run, variant.settings)
    summary = statistics.summary(run, selection)
    audit = _audit(run, selection)
    return Figures(
        version=known_verdicts,
        key=run.key,
        sample=sample,
        negatives=summary.negatives,
        hardness=summary.hardness,
        above_positive=summary.scores["above_positive"],
        histogram=tuple(mini_histogram(statistics.histograms(run, selection).chosen)),
        verdicts=sum(run.verdict_pairs.counts.values()),
        estimated=summary.estimated_fn_rate,
        measured=None if audit is None else audit.rate,
        reviewed=0 if audit is None else audit.found.reviewed,
    )


def _audit(run: OpenRun, selection: Selection) -> auditing.Audit | None:
    try:
        return auditing.current(run, selection)
    except HnmineError:
        return None
