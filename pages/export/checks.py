"""Drawing the check of an export before the download: findings, and checkboxes for the repairs."""

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

# Larger files are checked on request.
CHECKED_AT_ONCE = 50_000_000
# Findings on fields that only FlagEmbedding's format keeps.
_FIELDS = {
    "missing-prompt", "no-prompt", "mixed-types", "late-field", "late-fraction", "type-not-constant", "nan", "scores-on-some-rows",
    "scores-not-numbers", "scores-length", "one-kind-of-scores", "scores-of-two-scales", "few-negatives", "not-hardest-first",
}  # fmt: skip
# Findings on duplicates that the other formats remove.
_JOINED = {"repeated-row", "repeated-positive", "same-query"}
_BADGES = {
    "fine": (":material/check:", "green"),
    "note": (":material/info:", "blue"),
    "warning": (":material/priority_high:", "orange"),
    "error": (":material/error:", "red"),
}
# Positive results, and the findings that rule them out.
_GOOD = (
    ("every row has {number}", {"short-negatives", "empty-negatives"}),
    (
        "no positive, no query and no repeat among the negatives",
        {"positive-among-negatives", "positive-of-another-row", "query-among-negatives", "repeated-negative", "rare-repeats"},
    ),
)


def draw(run: OpenRun, settings: MineSettings, form: Format, summary: Summary, bytes_written: int) -> tuple[str, ...]:
    """Draw the findings on the rows as written with `settings`; return the chosen repairs (keys of OUTPUT_REPAIRS, sorted)."""
    number = settings.selection.negative_number
    offered: dict[str, bool] = {}  # repair -> whether it is chosen; several findings may share one
    with st.container(border=True):
        report = _report(run, settings, bytes_written)
        found: list[Finding] = []
        kinds = {"short-negatives"} if summary.short_rows else set()
        if report is not None:
            found = [each for each in (*report.findings, *report.notes) if _concerns(each, form)]
            kinds |= {each.kind for each in found}
            st.caption(f"Checked for {', '.join(TRAINERS[each] for each in report.trainers)}")
        elif short := summary.short_rows:
            draw_line(
                "warning",
                f"{short:,} of {counted(summary.rows, 'row')} {'has' if short == 1 else 'have'} fewer than {counted(number, 'negative')}",
            )
        for place, finding in enumerate(found):
            if finding.severity == "note":
                continue
            draw_line(finding.severity, f"{finding.message} → {finding.remedy}")
            repair = finding.repair if form.family == "flagembedding" else None
            if repair is not None and repair not in offered:
                offered[repair] = _offer(repair, run.run.settings.repair_output)
            _places(finding, place)
        for words, against in _GOOD:
            if not kinds & against:
                draw_line("fine", words.format(number=counted(number, "negative")))
        if fraction := summary.scores["above_positive"]:
            words = "of the negatives score above their positive and may be false. The PercPos filter on the Mine screen removes them."
            draw_line("note", f"{wording.percent(fraction, 1)} {words}")
        if summary.random_filled:
            words = f"{counted(summary.random_filled, 'negative')} filled at random. They are usually easier; a wider window avoids them."
            draw_line("note", words)
        for note in [*summary.notes, *(finding.message for finding in found if finding.severity == "note")]:
            draw_line("note", note)
    return tuple(sorted(repair for repair, chosen in offered.items() if chosen))


def _report(run: OpenRun, settings: MineSettings, bytes_written: int) -> Report | None:
    """Return the report, or None if it is not requested yet or failed."""
    key = f"checked {run.key}"
    if bytes_written > CHECKED_AT_ONCE and not st.session_state.get(key):
        with st.container(horizontal=True, vertical_alignment="center"):
            if not st.button("Check the rows", icon=":material/stethoscope:", key="check", help="Read the rows as trainers do"):
                st.caption("This file is large: the check takes a while.")
                return None
        st.session_state[key] = True
    try:
        with st.spinner("Checking ..."):
            return resources.checked(run, settings)
    except HnmineError as error:
        st.warning("The rows could not be checked", icon=":material/warning:")
        st.text(str(error))
        return None


def _concerns(finding: Finding, form: Format) -> bool:
    """Return whether a finding applies to the format."""
    if finding.kind in ("about-the-file", "file-name"):
        return False
    return form.family == "flagembedding" or finding.kind not in _FIELDS | _JOINED


def _offer(repair: str, mined: tuple[str, ...]) -> bool:
    """Draw the checkbox of a repair; `mined` are the repairs of the run."""
    return st.checkbox(
        f"Repair: {OUTPUT_REPAIRS[repair]}",
        value=repair in mined,
        key=f"repair-{repair}",
        persist_state="session",
        help="Changes only the downloaded file",
    )


def _places(finding: Finding, place: int) -> None:
    """Draw the places of a finding."""
    if not finding.examples:
        return
    with st.expander(f"Show places ({finding.count:,})", key=f"where-{place}-{finding.kind}"):
        st.text("\n".join(f"line {each.line:,}: {each.text}" if each.line else each.text for each in finding.examples))
        if finding.count > len(finding.examples):
            st.caption("Only the first places are shown.")


def draw_line(kind: str, text: str) -> None:
    """Draw one line with a badge; the text may contain text of the data, so it is not Markdown."""
    icon, color = _BADGES[kind]
    with st.container(horizontal=True):
        st.badge(kind, icon=icon, color=color)
        st.text(text, width="stretch")
