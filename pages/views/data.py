"""Screen 1, Data: open training rows and a pool, see what is in them, decide about what is wrong with them."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from hnmine import models, resources
from hnmine.errors import HnmineError
from hnmine.problems import PROBLEM_KINDS, REPAIRS, Problem
from pages.parts import opening, state

SHOWN_ROWS = 100
SHOWN_PROBLEMS = 1_000
BECOMES = {"open": "must be decided", "repaired": "repaired", "skipped": "left out", "noted": "for information"}

st.title("Hard negatives for your embedding model", anchor=False)
current = state.dataset()

if current is None:
    st.write(
        "For each query, find passages that look right and are wrong. Open training data, choose where in the ranking to look, "
        "see every negative and why it was chosen, and download the finished file."
    )
    columns = st.columns(3)
    for column, draw in zip(columns, (opening.example, opening.upload, opening.workspace), strict=True):
        with column:
            draw()
    st.stop()

with st.expander("Open other data", icon=":material/folder_open:"):
    columns = st.columns(3)
    for column, draw in zip(columns, (opening.example, opening.upload, opening.workspace), strict=True):
        with column:
            draw()

try:
    with st.spinner("Reading the files ..."):
        training, pool = resources.files(current.id)
except HnmineError as error:
    st.error("This file cannot be read", icon=":material/error:")
    st.text(str(error))
    st.stop()

repair, skip = state.decisions(current.id)
names = {"train.jsonl": current.name, "pool.jsonl": current.pool_name or ""}  # as they were called before the workspace stored them

# What is in it

heading, forward = st.columns([3, 1], vertical_alignment="bottom")
with heading:
    st.subheader("What is in it", anchor=False)
try:
    read = resources.inputs(current.id, "extend", repair, skip)
except HnmineError as error:
    read, undecided = None, str(error)
# Before a decision, the findings as they are; behind it, with what became of each.
found = read.problems if read else [*training.problems, *(pool.problems if pool else ())]
problems: list[Problem] = sorted(found, key=lambda each: (each.file != "train.jsonl", each.line))
errors = [problem for problem in problems if problem.severity == "error"]
with forward:
    if st.button(
        "Continue to Mine",
        type="primary",
        icon=":material/arrow_forward:",
        icon_position="right",
        disabled=read is None,
        width="stretch",
        key="continue",
    ):
        st.switch_page("pages/views/mine.py")

rows = read.rows if read else training.items
with st.grid(5, min_column_width=115):
    st.metric("Rows", f"{len(rows):,}", border=True, help="Lines of the training file that can be used.")
    st.metric(
        "Queries",
        f"{len(read.corpus.queries):,}" if read else "–",
        border=True,
        help="Different ones: rows that ask the same share their positives and get the same negatives. Case and blanks do not count.",
    )
    st.metric("Positives", f"{sum(len(row.pos) for row in rows):,}", border=True)
    st.metric("Old negatives", f"{sum(len(row.neg) for row in rows):,}", border=True, help="They join the candidates and are replaced.")
    st.metric(
        "Passages",
        f"{read.corpus.n_candidates:,}" if read else "–",
        border=True,
        help="All positives, negatives and the pool, each once: what can be mined.",
    )
fields = Counter(key for row in rows for key in row.fields)
others = [f"{key} ({count:,})" if count != len(rows) else key for key, count in fields.items() if key not in ("query", "pos", "neg")]
st.text("Other fields, carried through untouched: " + (", ".join(others) if others else "none"))
if read:
    odd = resources.oddities(current.id, repair, skip)
    remarks = [
        ("repeated_queries", "queries stand on several rows: they share their positives, and get the same negatives"),
        ("folded_passages", "passages differ from another only in case, blanks or Unicode form: each counts once"),
        ("queries_as_passages", "queries stand word for word among the passages: never mined for themselves"),
    ]
    if found := [f"{odd[key]:,} {text}" for key, text in remarks if odd[key]]:
        st.caption(" · ".join(found))

# What is wrong with it

if errors or any(problem.kind in REPAIRS for problem in problems):
    bad_rows = len({(problem.file, problem.line) for problem in errors})
    if read is None and errors:
        st.warning(
            f"{bad_rows:,} {'row needs' if bad_rows == 1 else 'rows need'} a decision before mining. "
            "Nothing is changed or left out unless you say so.",
            icon=":material/rule:",
            title="Problems in the data",
        )
    else:
        mended = len({(problem.file, problem.line) for problem in problems if problem.resolution == "repaired"})
        left_out = len({(problem.file, problem.line) for problem in problems if problem.resolution == "skipped"})
        st.success(
            f"All are decided: {mended:,} repaired, {left_out:,} left out; {len(rows):,} rows remain.",
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
                key=f"repair-{kind}-{current.id}",
            ):
                chosen.append(kind)
        if errors:
            leave = st.checkbox(
                "Leave out the rows that stay bad",
                value=skip,
                key=f"skip-{current.id}",
                help="They will be missing from the exported file.",
            )
        else:
            leave = skip
    if (tuple(sorted(chosen)), leave) != (repair, skip):
        state.decide(current.id, (tuple(sorted(chosen)), leave))
        st.rerun()
elif read is None:
    st.error("This data cannot be mined", icon=":material/error:")
    st.text(undecided)

if problems:
    shown = problems[:SHOWN_PROBLEMS]
    with st.expander(f"All findings ({len(problems):,})", expanded=bool(errors), icon=":material/list:"):
        st.dataframe(
            {
                "file": [names[problem.file] for problem in shown],
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

# How long its texts are

card = models.describe(models.ModelSettings())
lengths = resources.text_lengths(current.id, str(card.folder)) if rows else None
if lengths is not None:
    from pages.parts import charts  # Arrow and NumPy take a part of a second that the first screen does not have

    for column, counts_, limit, what in zip(
        st.columns(2), lengths, (card.query_max_length, card.passage_max_length), ("query", "passage"), strict=True
    ):
        with column:
            longer = float((counts_ > limit).mean()) if len(counts_) else 0.0
            st.vega_lite_chart(
                spec=charts.length_histogram(counts_, limit, what),
                alt=f"Histogram of {what} lengths; {longer:.1%} are longer than {limit} tokens",
            )
            st.caption(
                f"{longer:.1%} are longer than {card.name} reads ({limit} tokens); the rest of such a text is cut off when it is encoded."
                if longer
                else f"All fit into what {card.name} reads ({limit} tokens)."
            )

# The rows themselves

st.subheader(f"The first {SHOWN_ROWS} rows" if len(rows) > SHOWN_ROWS else "All rows", anchor=False)
head = rows[:SHOWN_ROWS]
st.dataframe(
    {
        "line": [row.line for row in head],
        "query": [row.query for row in head],
        "positives": [row.pos for row in head],
        "negatives so far": [len(row.neg) for row in head],
        **{
            key: [bytes(row.fields[key]).decode() if key in row.fields else None for row in head]
            for key in list(fields)[:8]
            if key not in ("query", "pos", "neg")
        },
    },
    hide_index=True,
    column_config={"query": st.column_config.TextColumn(width="large"), "positives": st.column_config.ListColumn(width="large")},
    alt="The first training rows",
)
