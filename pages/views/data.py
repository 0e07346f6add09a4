"""Screen 1, Data: open training rows and a pool, see whether they are as expected, and start mining."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import streamlit as st

from hnmine import resources
from hnmine.core.errors import ColumnsError, EncodingError, HnmineError, LabelsError, QuestionError, TextsError
from hnmine.core.text import counted
from hnmine.data.columns import Columns
from hnmine.runs.dataset_notes import note_of, note_use
from pages.data import columns as pickers
from pages.data import health, looks, open_data, questions, recent, rows, understood
from pages.data import problems as findings
from pages.shared import dataset_figures, mining, state
from pages.shared.widgets import failed

current = state.dataset()
if current is None:
    st.title("Mine hard negatives for your embedding model", anchor=False)
    st.write(
        "Upload query-positive pairs and download the same file with hard negatives: passages that your model ranks high although "
        "they do not answer the query."
    )
    open_data.start()
    recent.table()
    open_data.on_server()
    st.stop()

heading = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
with heading:
    counts = st.container(width="content")
    actions = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content")
with actions:
    if st.button("Open other data", icon=":material/folder_open:", type="tertiary", key="open-other"):
        st.session_state.dataset = st.session_state.run = st.session_state.variant = None
        st.rerun()

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
        understood.mapping(current, detected, columns)
    st.stop()
if isinstance(question, EncodingError):
    questions.encoding(current.id, question, columns)
elif isinstance(question, ColumnsError):
    pickers.ask(current, *detected, columns)
elif isinstance(question, LabelsError):
    questions.labels(current.id, question, columns)
elif isinstance(question, TextsError):
    questions.texts(question)
asked = isinstance(question, TextsError) and question.missing == ("passages",)
if current.pool_name is None:
    with st.container() if asked else actions.popover("Add a pool", icon=":material/add:", key="add-pool"):
        open_data.add_pool()
if files is None:
    if not isinstance(question, EncodingError | ColumnsError):
        understood.mapping(current, detected, columns)
        understood.facts(current, detected, columns, None, None)
    st.stop()
if not dataset_figures.is_as_uploaded(data):
    st.warning(
        "The files of this data set have changed since they were uploaded. Runs that were mined before do not open. Upload the original "
        "files again to put them back, or the changed ones as a new data set.",
        icon=":material/warning:",
    )
try:
    read = resources.inputs(data, "extend")
except HnmineError as error:
    undecided = str(error)

# What it is, and where it leads

kept = files.training.items
passages = None if read is None else read.corpus.n_candidates
note = note_of(resources.workspace(), current.id)
if st.session_state.get("noted") != current.id or (note.rows, note.passages) != (len(kept), passages):
    with suppress(HnmineError):  # only the list of data sets shows it
        note_use(resources.workspace(), current.id, rows=len(kept), passages=passages)
    st.session_state.noted = current.id
job = resources.jobs().latest(current.id)
busy = job is not None and job.active
with actions:
    if busy or st.session_state.run is not None:
        if st.button(
            "Show progress" if busy else "Show the result",
            type="primary",
            icon=":material/arrow_forward:",
            icon_position="right",
            key="to-mine",
        ):
            st.switch_page("pages/views/mine.py")
    else:
        if st.button("Settings first", icon=":material/tune:", disabled=read is None, key="settings"):
            st.switch_page("pages/views/mine.py")
        if (
            st.button(
                "Mine hard negatives",
                type="primary",
                icon=":material/arrow_forward:",
                icon_position="right",
                disabled=read is None,
                help="Ranks all passages with the packaged model and selects negatives with the recommended preset.",
                key="mine-now",
            )
            and read is not None
        ):
            mining.start(current.id, mining.recommended(current.id, read), mining.DEPTH)
            st.switch_page("pages/views/mine.py")
figures = [
    counted(len(kept), "row"),
    *([] if read is None else [counted(len(read.corpus.queries), "query", "queries")]),
    counted(sum(len(row.pos) for row in kept), "positive"),
    counted(sum(len(row.neg) for row in kept), "old negative"),
    *([] if passages is None else [counted(passages, "passage")]),
]
counts.text(" · ".join(figures))

problems = sorted(files.problems, key=lambda each: (each.file != current.training_file, each.line))
lengths = health.lengths_of(data)
health.strip(data, read, problems, lengths)
errors = [problem for problem in problems if problem.severity == "error"]
if errors or findings.offered(problems):
    findings.decide(current.id, problems, len(kept), undecided=read is None and bool(errors))
elif read is None:
    failed("Cannot mine this data", undecided)
understood.mapping(current, detected, columns)

fields = Counter(key for row in kept for key in row.fields)
titles = [
    f"Rows ({len(kept):,})",
    *([f"Problems ({len(problems):,})"] if problems else []),
    *(["Text lengths"] if lengths else []),
    "Files",
]
tabs = dict(zip(titles, st.tabs(titles, default=titles[1] if errors and read is None else titles[0]), strict=True))
with tabs[titles[0]]:
    rows.first(kept, fields)
if problems:
    with tabs[titles[1]]:
        findings.listing(problems, names)
if lengths:
    with tabs["Text lengths"]:
        rows.lengths(lengths)
with tabs["Files"]:
    understood.facts(current, detected, columns, files, read)
    rows.other_fields(fields, len(kept))
