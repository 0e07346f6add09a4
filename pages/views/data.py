"""Screen 1, Data: open training rows and a pool, see a summary, resolve problems."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from hnmine import resources
from hnmine.core.errors import ColumnsError, EncodingError, HnmineError, LabelsError, QuestionError, TextsError
from hnmine.core.text import counted
from hnmine.data.columns import Columns
from hnmine.data.problems import helpful_repairs
from hnmine.models import cards
from pages.data import columns as pickers
from pages.data import looks, open_data, questions, steps, understood
from pages.data import problems as findings
from pages.shared import state, wording
from pages.shared.widgets import failed, metrics

SHOWN_ROWS = 100

current = state.dataset()
st.title("Data" if current else "Mine hard negatives for your embedding model", anchor=False)

if current is None:
    st.write(
        "Upload query-positive pairs and download the same file with hard negatives: passages that your model ranks high although "
        "they do not answer the query."
    )
    steps.first_steps()
    open_data.ways()
    st.stop()

progress = st.container()
with st.expander("Open other data", icon=":material/folder_open:"):
    open_data.ways()

# How the files are read

columns = state.columns(current.id)
stored_pool = resources.workspace().pool_path(current.id)
# The names of the files before they were stored.
names = {current.training_file: current.name, **({stored_pool.name: current.pool_name or ""} if stored_pool else {})}
data = state.data(current.id)
files, read, question, detected, undecided = None, None, None, None, ""
try:
    detected = looks.looks(current, columns.encoding)
    with st.spinner("Reading the files ..."):
        files = resources.files(data)
except QuestionError as error:
    question = error
except HnmineError as error:
    failed("Cannot read this file", error)
    if detected is None:
        understood.again(current.id, columns)
    elif columns != Columns():
        understood.draw(current, detected, columns, None, None, wrong=True)
    st.stop()
if isinstance(question, EncodingError):
    questions.encoding(current.id, question, columns)
elif isinstance(question, ColumnsError):
    pickers.ask(current, *detected, columns)
elif isinstance(question, LabelsError):
    questions.labels(current.id, question, columns)
elif isinstance(question, TextsError):
    questions.texts(question)
if files is not None:
    try:
        read = resources.inputs(data, "extend")
    except HnmineError as error:
        undecided = str(error)
if not isinstance(question, EncodingError | ColumnsError):
    understood.draw(current, detected, columns, files, read)
if files is None:
    with progress:
        steps.progress(False)
    st.stop()

# Summary

heading = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
with heading:
    st.subheader("Summary", anchor=False)
with progress:
    steps.progress(read is not None)
problems = sorted(files.problems, key=lambda each: (each.file != current.training_file, each.line))
errors = [problem for problem in problems if problem.severity == "error"]
with heading:
    if st.button(
        "Continue to Mine",
        type="primary",
        icon=":material/arrow_forward:",
        icon_position="right",
        disabled=read is None,
        key="continue",
    ):
        st.switch_page("pages/views/mine.py")

rows = files.training.items
with st.grid(5, min_column_width=165):
    unique = "Unique queries, ignoring case and white space. Rows with the same query share positives and negatives."
    candidates = "Unique candidate passages: positives, old negatives and the pool."
    metrics(
        ("Rows", f"{len(rows):,}", "Valid rows of the training file."),
        ("Queries", f"{len(read.corpus.queries):,}" if read else "–", unique),
        ("Positives", f"{sum(len(row.pos) for row in rows):,}", None),
        ("Old negatives", f"{sum(len(row.neg) for row in rows):,}", "Kept as candidates and replaced in the export."),
        ("Passages", f"{read.corpus.n_candidates:,}" if read else "–", candidates),
    )
fields = Counter(key for row in rows for key in row.fields)
others = [f"{key} ({count:,})" if count != len(rows) else key for key, count in fields.items() if key not in ("query", "pos", "neg")]
st.text("Other fields, kept in the export: " + (", ".join(others) if others else "none"))
if read:
    duplicates = resources.text_duplicates(data)
    remarks = [
        ("repeated_queries", "query appears in several rows", "queries appear in several rows"),
        (
            "folded_passages",
            "duplicate passage (up to case, white space and Unicode form) counted once",
            "duplicate passages (up to case, white space and Unicode form) counted once",
        ),
        (
            "queries_as_passages",
            "query is also a passage and never its own negative",
            "queries are also passages and never their own negatives",
        ),
    ]
    if found := [counted(duplicates[key], one, many) for key, one, many in remarks if duplicates[key]]:
        st.caption(" · ".join(found))

# Problems

if errors or helpful_repairs(problems):
    findings.decide(current.id, problems, len(rows), undecided=read is None and bool(errors))
elif read is None:
    failed("Cannot mine this data", undecided)
if problems:
    findings.listing(problems, names)

# Text lengths

card = cards.describe(cards.ModelSettings())
lengths = resources.text_lengths(data, card.folder) if rows and card.folder else None
if lengths is not None:
    from hnmine.analysis import count_charts  # Arrow and NumPy would delay the first screen
    from pages.shared.drawing import draw

    for column, counts_, limit, what in zip(
        st.columns(2), lengths, (card.query_max_length, card.passage_max_length), ("queries", "passages"), strict=True
    ):
        with column:
            too_long = float((counts_ > limit).mean()) if len(counts_) else 0.0
            percent = wording.percent(too_long, 1)
            description = f"Histogram of the lengths of {what}: {percent} are longer than {limit:,} tokens"
            draw(count_charts.length_histogram(counts_, limit, what, description), f"data-{what}")
            if too_long:
                st.warning(
                    f"{percent} of the {what} exceed the {limit:,}-token limit of {card.name} and are truncated.",
                    icon=":material/content_cut:",
                )
            else:
                st.caption(f"All {what} are within the {limit:,}-token limit of {card.name}.")

# Rows


def field(raw: str) -> str:
    """Return a field for the table: a plain string without its quotes, any other value as JSON."""
    return raw[1:-1] if raw.startswith('"') and "\\" not in raw else raw


st.subheader(f"First {SHOWN_ROWS} rows" if len(rows) > SHOWN_ROWS else "All rows", anchor=False)
head = rows[:SHOWN_ROWS]
st.dataframe(
    {
        "line": [row.line for row in head],
        "query": [row.query for row in head],
        "positives": [row.pos for row in head],
        "old negatives": [len(row.neg) for row in head],
        **{
            key: [field(bytes(row.fields[key]).decode()) if key in row.fields else None for row in head]
            for key in list(fields)[:8]
            if key not in ("query", "pos", "neg")
        },
    },
    hide_index=True,
    column_config={
        "line": st.column_config.NumberColumn(width=55),
        "query": st.column_config.TextColumn(width=290),
        "positives": st.column_config.ListColumn(width=330),
        "old negatives": st.column_config.NumberColumn(width=130),
    },
    alt="The first training rows",
)
