"""Problems in the files of a data set, and the choice to repair or skip rows. Nothing is changed without a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from hnmine.core.text import counted
from hnmine.data.problems import PROBLEM_KINDS, REPAIRS, Problem, helpful_repairs
from hnmine.data.sanity import ACCEPT
from pages.shared import state

SHOWN = 1_000
STATUS = {"open": "unresolved", "repaired": "repaired", "skipped": "skipped", "noted": "info"}


def offered(problems: Sequence[Problem]) -> dict[str, int]:
    """Return the repairs that change something, each with the number of problems it repairs."""
    doubted = any(problem.kind == ACCEPT and problem.severity == "error" for problem in problems)
    return {kind: count for kind, count in helpful_repairs(problems).items() if kind != ACCEPT or doubted}


def decide(dataset_id: str, problems: Sequence[Problem], rows: int, *, undecided: bool) -> None:
    """Draw the choice of repairs; a change reruns the page."""
    repair, skip = state.decisions(dataset_id)
    errors = [problem for problem in problems if problem.severity == "error"]
    if undecided:
        bad = len({(problem.file, problem.line) for problem in errors})
        st.warning(
            f"{counted(bad, 'row')} {'has' if bad == 1 else 'have'} errors. Repair or skip {'it' if bad == 1 else 'them'} to continue.",
            icon=":material/rule:",
        )
    elif errors:
        repaired = len({(problem.file, problem.line) for problem in problems if problem.resolution == "repaired"})
        skipped = len({(problem.file, problem.line) for problem in problems if problem.resolution == "skipped"})
        st.success(f"{counted(rows, 'row')} ready ({repaired:,} repaired, {skipped:,} skipped).", icon=":material/rule:")
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = []
        for kind, count in offered(problems).items():
            if st.checkbox(
                f"{PROBLEM_KINDS[kind][0].upper()}{PROBLEM_KINDS[kind][1:]}: {REPAIRS[kind]} ({count:,})",
                value=kind in repair,
                key=f"repair-{kind}-{dataset_id}",
            ):
                chosen.append(kind)
        skip_rows = skip
        if errors:
            skip_rows = st.checkbox(
                "Skip rows that still have errors",
                value=skip,
                key=f"skip-{dataset_id}",
                help="Skipped rows are missing from the exported file.",
            )
    if (decided := (tuple(sorted(chosen)), skip_rows)) != (repair, skip):
        state.decide(dataset_id, decided)
        st.rerun()


def listing(problems: Sequence[Problem], names: Mapping[str, str]) -> None:
    """Draw the table of all problems; `names` maps stored files to their original names."""
    shown = problems[:SHOWN]
    expanded = any(problem.severity == "error" for problem in problems)
    with st.expander(f"All problems ({len(problems):,})", expanded=expanded, icon=":material/list:"):
        st.dataframe(
            {
                "file": [names.get(problem.file, problem.file) for problem in shown],
                "line": [problem.line for problem in shown],
                "field": [problem.path for problem in shown],
                "status": [STATUS[problem.resolution] for problem in shown],
                "problem": [problem.message for problem in shown],
                "remedy": [problem.remedy for problem in shown],
            },
            hide_index=True,
            alt="Problems found in the files, with line, field and remedy",
        )
        if len(problems) > len(shown):
            st.text(f"The first {len(shown):,} of {len(problems):,}.")
