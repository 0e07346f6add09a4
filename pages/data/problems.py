"""What is wrong with the files of a data set, and what somebody decides about it: nothing is changed or left out unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from hnmine.core.text import counted
from hnmine.data.problems import PROBLEM_KINDS, REPAIRS, Problem
from pages.shared import state

SHOWN = 1_000
BECOMES = {"open": "must be decided", "repaired": "repaired", "skipped": "left out", "noted": "for information"}


def decide(dataset_id: str, problems: Sequence[Problem], rows: int, *, undecided: bool) -> None:
    """Draw what may be repaired or left out; a decision draws the page anew."""
    repair, skip = state.decisions(dataset_id)
    errors = [problem for problem in problems if problem.severity == "error"]
    if undecided:
        bad = len({(problem.file, problem.line) for problem in errors})
        st.warning(
            f"{bad:,} {'row needs' if bad == 1 else 'rows need'} a decision before mining. "
            "Nothing is changed or left out unless you say so.",
            icon=":material/rule:",
            title="Problems in the data",
        )
    else:
        mended = len({(problem.file, problem.line) for problem in problems if problem.resolution == "repaired"})
        left_out = len({(problem.file, problem.line) for problem in problems if problem.resolution == "skipped"})
        st.success(
            f"All are decided: {mended:,} repaired, {left_out:,} left out; {counted(rows, 'row')} {'remains' if rows == 1 else 'remain'}.",
            icon=":material/rule:",
            title="Problems in the data",
        )
    counts = Counter(problem.kind for problem in problems)
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = []
        for kind, remedy in REPAIRS.items():
            if counts[kind] and st.checkbox(
                f"{PROBLEM_KINDS[kind][0].upper()}{PROBLEM_KINDS[kind][1:]}: {remedy} ({counts[kind]:,})",
                value=kind in repair,
                key=f"repair-{kind}-{dataset_id}",
            ):
                chosen.append(kind)
        leave = skip
        if errors:
            leave = st.checkbox(
                "Leave out the rows that stay bad",
                value=skip,
                key=f"skip-{dataset_id}",
                help="They will be missing from the exported file.",
            )
    if (tuple(sorted(chosen)), leave) != (repair, skip):
        state.decide(dataset_id, (tuple(sorted(chosen)), leave))
        st.rerun()


def listing(problems: Sequence[Problem], names: Mapping[str, str]) -> None:
    """Draw all findings; `names` are what the stored files were called before."""
    shown = problems[:SHOWN]
    expanded = any(problem.severity == "error" for problem in problems)
    with st.expander(f"All findings ({len(problems):,})", expanded=expanded, icon=":material/list:"):
        st.dataframe(
            {
                "file": [names.get(problem.file, problem.file) for problem in shown],
                "line": [problem.line for problem in shown],
                "field": [problem.path for problem in shown],
                "becomes": [BECOMES[problem.resolution] for problem in shown],
                "what": [problem.message for problem in shown],
                "remedy": [problem.remedy for problem in shown],
            },
            hide_index=True,
            alt="Problems found in the files, with line, field and remedy",
        )
        if len(problems) > len(shown):
            st.caption(f"The first {len(shown):,} of {len(problems):,}.")
