"""Screen 1, Data: open training rows and a pool, see what is in them, decide about what is wrong with them."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from hnmine import resources
from hnmine.core.errors import ColumnsError, HnmineError
from hnmine.core.text import counted
from hnmine.data.problems import REPAIRS
from hnmine.models import cards
from pages.data import columns as reading
from pages.data import open_data, steps
from pages.data import problems as findings
from pages.shared import state, wording

SHOWN_ROWS = 100

st.title("Hard negatives for your embedding model", anchor=False)
current = state.dataset()

if current is None:
    st.write(
        "For each query, find passages that look right and are wrong. Open training data, choose where in the ranking to look, "
        "see every negative and why it was chosen, and download the finished file."
    )
    steps.first_steps()
    open_data.ways()
    st.stop()

progress = st.container()
with st.expander("Open other data", icon=":material/folder_open:"):
    open_data.ways()

# How it is read

repair, skip = state.decisions(current.id)
columns = state.columns(current.id)
stored_pool = resources.workspace().pool_path(current.id)
# As the files were called before the workspace stored them.
names = {current.training_file: current.name, **({stored_pool.name: current.pool_name or ""} if stored_pool else {})}
try:
    picked = reading.draw(current, *reading.looks(current), columns)
    if picked is None:
        with progress:
            steps.progress(False)
        st.stop()
    reading.keep(current, picked, columns)
    with st.spinner("Reading the files ..."):
        files = resources.files(current.id, repair, skip, columns)
except ColumnsError:
    st.stop()
except HnmineError as error:
    st.error("This file cannot be read", icon=":material/error:")
    st.text(str(error))
    st.stop()

# What is in it

heading, forward = st.columns([3, 1], vertical_alignment="bottom")
with heading:
    st.subheader("What is in it", anchor=False)
try:
    read = resources.inputs(current.id, "extend", repair, skip, columns)
except HnmineError as error:
    read, undecided = None, str(error)
with progress:
    steps.progress(read is not None)
problems = sorted(files.problems, key=lambda each: (each.file != current.training_file, each.line))
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

rows = files.training.items
with st.grid(5, min_column_width=165):
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
    odd = resources.oddities(current.id, repair, skip, columns)
    remarks = [
        (
            "repeated_queries",
            "query stands on several rows: they share its positives, and get the same negatives",
            "queries stand on several rows: they share their positives, and get the same negatives",
        ),
        (
            "folded_passages",
            "passage differs from another only in case, blanks or Unicode form: the two count once",
            "passages differ from another only in case, blanks or Unicode form: each counts once",
        ),
        (
            "queries_as_passages",
            "query stands word for word among the passages: never mined for itself",
            "queries stand word for word among the passages: never mined for themselves",
        ),
    ]
    if found := [counted(odd[key], one, many) for key, one, many in remarks if odd[key]]:
        st.caption(" · ".join(found))

# What is wrong with it

if errors or any(problem.kind in REPAIRS for problem in problems):
    findings.decide(current.id, problems, len(rows), undecided=read is None and bool(errors))
elif read is None:
    st.error("This data cannot be mined", icon=":material/error:")
    st.text(undecided)
if problems:
    findings.listing(problems, names)

# How long its texts are

card = cards.describe(cards.ModelSettings())
lengths = resources.text_lengths(current.id, str(card.folder), repair, skip, columns) if rows else None
if lengths is not None:
    from hnmine.analysis import charts  # Arrow and NumPy take a part of a second that the first screen does not have
    from pages.shared.drawing import draw

    for column, counts_, limit, what in zip(
        st.columns(2), lengths, (card.query_max_length, card.passage_max_length), ("queries", "passages"), strict=True
    ):
        with column:
            longer = float((counts_ > limit).mean()) if len(counts_) else 0.0
            share = wording.percent(longer, 1)
            description = f"Histogram of the lengths of {what}; {share} are longer than {limit} tokens"
            draw(charts.length_histogram(counts_, limit, what, description), f"data-{what}")
            st.caption(
                f"{share} are longer than {card.name} reads ({limit} tokens); the rest of such a text is cut off when it is encoded."
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
        "old negatives": [len(row.neg) for row in head],
        **{
            key: [bytes(row.fields[key]).decode() if key in row.fields else None for row in head]
            for key in list(fields)[:8]
            if key not in ("query", "pos", "neg")
        },
    },
    hide_index=True,
    column_config={
        "line": st.column_config.NumberColumn(width=55),
        "query": st.column_config.TextColumn(width=290),
        "positives": st.column_config.ListColumn(width=330),
        "old negatives": st.column_config.NumberColumn(width=105),
    },
    alt="The first training rows",
)
