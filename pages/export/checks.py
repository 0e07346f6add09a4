"""What a trainer would trip over in an export, drawn before the download, with the faults that can be repaired to choose from."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.checks.kinds import OUTPUT_REPAIRS, TRAINERS
from hnmine.checks.report import Finding, Report, counted
from hnmine.core.errors import HnmineError
from hnmine.export.formats import Format
from hnmine.resources import OpenRun
from hnmine.runs.mine import MineSettings
from hnmine.runs.summary import Summary
from pages.shared import wording

__all__ = ["draw"]

# Reading a larger file takes a while: it waits until somebody asks.
CHECKED_AT_ONCE = 50_000_000
# What bears on fields that only FlagEmbedding's rows keep.
_FIELDS = {
    "missing-prompt", "no-prompt", "mixed-types", "late-field", "late-fraction", "type-not-constant", "nan", "scores-on-some-rows",
    "scores-not-numbers", "scores-length", "one-kind-of-scores", "scores-of-two-scales", "few-negatives", "not-hardest-first",
}  # fmt: skip
# What FlagEmbedding's rows may repeat, and the other formats join.
_JOINED = {"repeated-row", "repeated-positive", "same-query"}
_LOOKS = {
    "fine": (":material/check:", "green"),
    "note": (":material/info:", "blue"),
    "warning": (":material/priority_high:", "orange"),
    "error": (":material/error:", "red"),
}
# Good news worth telling, and the findings that would belie it.
_GOOD = (
    ("every row has {number}", {"short-negatives", "empty-negatives"}),
    (
        "no positive, no query and no repeat among the negatives",
        {"positive-among-negatives", "positive-of-another-row", "query-among-negatives", "repeated-negative", "rare-repeats"},
    ),
)


def draw(run: OpenRun, settings: MineSettings, form: Format, summary: Summary, bytes_written: int) -> tuple[str, ...]:
    """Draw what was found in the rows as `settings` write them; return the repairs that were chosen (keys of OUTPUT_REPAIRS, sorted)."""
    number = settings.selection.negative_number
    offered: dict[str, bool] = {}  # repair -> whether it was chosen; several findings may have the same
    with st.container(border=True):
        report = _report(run, settings, bytes_written)
        found: list[Finding] = []
        kinds = {"short-negatives"} if summary.short_rows else set()
        if report is not None:
            found = [each for each in (*report.findings, *report.notes) if _concerns(each, form)]
            kinds |= {each.kind for each in found}
            st.caption(f"Checked as {', '.join(TRAINERS[each] for each in report.trainers)} would read the rows")
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
                offered[repair] = _offer(repair, run.run.settings.repair_output)
            _places(finding, place)
        for words, against in _GOOD:
            if not kinds & against:
                mark("fine", words.format(number=counted(number, "negative")))
        if share := summary.scores["above_positive"]:
            words = "of the negatives score above their positive: they may be false; a PercPos guard on Mine removes them"
            mark("note", f"{wording.percent(share, 1)} {words}")
        if summary.random_filled:
            words = (
                f"{counted(summary.random_filled, 'negative')} back-filled at random: usually easier than mined ones; a wider window helps"
            )
            mark("note", words)
        for note in [*summary.notes, *(finding.message for finding in found if finding.severity == "note")]:
            mark("note", note)
    return tuple(sorted(repair for repair, chosen in offered.items() if chosen))


def _report(run: OpenRun, settings: MineSettings, bytes_written: int) -> Report | None:
    """Return the doctor's report, or None when it waits to be asked or could not be had."""
    key = f"checked {run.key}"
    if bytes_written > CHECKED_AT_ONCE and not st.session_state.get(key):
        with st.container(horizontal=True, vertical_alignment="center"):
            if not st.button("Check the rows", icon=":material/stethoscope:", key="check", help="Reads the rows as trainers do."):
                st.caption("A large file: checking it takes a while.")
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
    """Whether a finding about the rows bears on the format too."""
    if finding.kind in ("about-the-file", "file-name"):
        return False
    return form.family == "flagembedding" or finding.kind not in _FIELDS | _JOINED


def _offer(repair: str, mined: tuple[str, ...]) -> bool:
    """Draw the choice of a repair; `mined` were chosen when the run was mined."""
    return st.checkbox(
        f"Repair: {OUTPUT_REPAIRS[repair]}",
        value=repair in mined,
        key=f"repair-{repair}",
        persist_state="session",
        help="Changes the file that you download, nothing else.",
    )


def _places(finding: Finding, place: int) -> None:
    """Draw where a finding was made."""
    if not finding.examples:
        return
    with st.expander(f"Where ({finding.count:,})", key=f"where-{place}-{finding.kind}"):
        st.text("\n".join(f"line {each.line:,}: {each.text}" if each.line else each.text for each in finding.examples))
        if finding.count > len(finding.examples):
            st.caption("The first of them.")


def mark(kind: str, text: str) -> None:
    """Draw one finding; its text may hold words of the data."""
    icon, color = _LOOKS[kind]
    with st.container(horizontal=True):
        st.badge(kind, icon=icon, color=color)
        st.text(text, width="stretch")
