"""Checks of an export before the download: problems that a trainer would have with it, and the choice of repairs."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.checks.kinds import OUTPUT_REPAIRS, TRAINERS, Finding, Report
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.export.formats import Format
from hnmine.resources import OpenRun
from hnmine.runs.mine import MineSettings
from hnmine.runs.summary import Summary
from pages.shared import wording

__all__ = ["draw"]

# Larger files (bytes) are checked on request, because that takes a while.
CHECKED_AT_ONCE = 50_000_000
# Findings about fields that only FlagEmbedding's rows keep.
_FIELDS = {
    "missing-prompt", "no-prompt", "mixed-types", "late-field", "late-fraction", "type-not-constant", "nan", "scores-on-some-rows",
    "scores-not-numbers", "scores-length", "one-kind-of-scores", "scores-of-two-scales", "few-negatives", "not-hardest-first",
}  # fmt: skip
# Findings about repeats that the other formats merge.
_JOINED = {"repeated-row", "repeated-positive", "same-query"}
_ICONS = {
    "ok": ":green[:material/check_circle:]",
    "note": ":blue[:material/info:]",
    "warning": ":orange[:material/warning:]",
    "error": ":red[:material/error:]",
}
# Passed checks, and the kinds of findings that rule them out.
_PASSED = (
    ("Every row has {number}", {"short-negatives", "empty-negatives"}),
    (
        "No positive, query or duplicate among the negatives",
        {"positive-among-negatives", "positive-of-another-row", "query-among-negatives", "repeated-negative", "rare-repeats"},
    ),
)


def draw(run: OpenRun, settings: MineSettings, form: Format, summary: Summary, bytes_written: int) -> tuple[str, ...]:
    """Draw the checks of the rows as written with `settings`; return the chosen repairs (keys of OUTPUT_REPAIRS, sorted)."""
    number = settings.selection.negative_number
    offered: dict[str, bool] = {}  # repair -> chosen; several findings can have the same repair
    with st.container(gap="xsmall"):
        report = _report(run, settings, bytes_written)
        found: list[Finding] = []
        kinds = {"short-negatives"} if summary.short_rows else set()
        if report is not None:
            found = [each for each in (*report.findings, *report.notes) if _concerns(each, form)]
            kinds |= {each.kind for each in found}
            if form.family == "flagembedding":  # the check reads the rows in this form
                mark("ok", f"Readable by {', '.join(TRAINERS[each] for each in report.trainers)}")
        elif short := summary.short_rows:
            mark(
                "warning",
                f"{short:,} of {counted(summary.rows, 'row')} {'has' if short == 1 else 'have'} fewer than {counted(number, 'negative')}",
            )
        for place, finding in enumerate(found):
            if finding.severity == "note":
                continue
            mark(finding.severity, f"{finding.message} → {finding.remedy}")
            repair = finding.repair if form.family == "flagembedding" else None
            if repair is not None and repair not in offered:
                offered[repair] = st.checkbox(
                    f"Repair: {OUTPUT_REPAIRS[repair]}",
                    value=repair in run.run.settings.repair_output,
                    key=f"repair-{repair}",
                    persist_state="session",
                    help="Changes only the downloaded file.",
                )
            _places(finding, place)
        for words, against in _PASSED:
            if report is not None and not kinds & against:  # a check that did not run has not passed
                mark("ok", words.format(number=counted(number, "negative")))
        if above := summary.scores["above_positive"]:
            percent = wording.percent(above, 1)
            mark("note", f"{percent} of the negatives score above their positive and may be relevant → set the PercPos filter on Mine")
        if filled := summary.random_filled:
            mark("note", f"{counted(filled, 'negative')} filled at random, usually easier than mined ones → widen the rank range on Mine")
        for note in [
            *filter(None, [summary.out_of_reach]),
            *summary.notes,
            *(finding.message for finding in found if finding.severity == "note"),
        ]:
            mark("note", note[:1].upper() + note[1:])
    return tuple(sorted(repair for repair, chosen in offered.items() if chosen))


def _report(run: OpenRun, settings: MineSettings, bytes_written: int) -> Report | None:
    """Return the report of the check, or None for a large file before the button is pressed and after an error."""
    key = f"checked {run.key}"
    if bytes_written > CHECKED_AT_ONCE and not st.session_state.get(key):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text("Not checked yet. Checking a large file takes a while.")
            if not st.button("Check the rows", icon=":material/fact_check:", key="check", help="Reads the rows as trainers do."):
                return None
        st.session_state[key] = True
    try:
        with st.spinner("Checking ..."):
            return resources.checked(run, settings)
    except HnmineError as error:
        st.warning("Cannot check the rows", icon=":material/warning:")
        st.text(str(error))
        return None


def _concerns(finding: Finding, form: Format) -> bool:
    """Return whether a finding about the rows applies to the format."""
    if finding.kind in ("about-the-file", "file-name", "file-pattern"):
        return False
    return form.family == "flagembedding" or finding.kind not in _FIELDS | _JOINED


def _places(finding: Finding, place: int) -> None:
    """Draw the lines of a finding."""
    if not finding.examples:
        return
    with st.expander(f"Lines ({finding.count:,})", key=f"where-{place}-{finding.kind}"):
        st.text("\n".join(f"line {each.line:,}: {each.text}" if each.line else each.text for each in finding.examples))
        if finding.count > len(finding.examples):
            st.text(f"The first {len(finding.examples):,}.")


def mark(kind: str, text: str) -> None:
    """Draw one finding; its text is shown literally, because it can contain text of the data."""
    with st.container(horizontal=True, wrap=False, gap="small"):
        st.markdown(_ICONS[kind], width="content")
        st.text(text, width="stretch")
