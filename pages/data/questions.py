"""One question about how a file is read: its encoding, which labels are positive, or a missing file of passages."""

from __future__ import annotations

import msgspec
import streamlit as st

from hnmine.core.errors import EncodingError, LabelsError, TextsError
from hnmine.core.text import counted, visible
from hnmine.data.columns import Columns
from pages.shared import state

# More labels than these are a scale.
LISTED = 20
ENCODINGS = (
    "cp1252",
    "cp1250",
    "cp1251",
    "iso8859_15",
    "gb18030",
    "big5",
    "shift_jis",
    "euc_kr",
    "mac_roman",
    "cp1253",
    "cp1254",
    "cp1255",
)


def _choose(dataset_id: str, columns: Columns) -> None:
    state.choose_columns(dataset_id, columns)
    st.rerun()


def encoding(dataset_id: str, question: EncodingError, columns: Columns) -> None:
    """Draw the question for the encoding, with the first lines that are not ASCII."""
    with st.container(border=True):
        st.subheader("Are these lines correct?", anchor=False)
        st.write(f"The file is not UTF-8. Its encoding is probably {question.guess}. In this encoding it has these lines:")
        st.code("\n".join(question.preview), language=None, wrap_lines=True)
        if st.button(f"Yes, read it as {question.guess}", type="primary", icon=":material/check:", key="encoding-guess"):
            _choose(dataset_id, msgspec.structs.replace(columns, encoding=question.guess))
        others = [name for name in ENCODINGS if name != question.guess]
        chosen = st.selectbox(
            "No, use another encoding", others, index=None, placeholder="Choose an encoding", key="encoding-other", width=300
        )
        if chosen is not None:
            _choose(dataset_id, msgspec.structs.replace(columns, encoding=chosen))


def labels(dataset_id: str, question: LabelsError, columns: Columns) -> None:
    """Draw the question which labels make a passage positive, with the number of rows of each."""
    with st.container(border=True):
        st.subheader("Which labels are positive?", anchor=False)
        st.write("Each row has a query, a passage and a label. Passages with a positive label become positives, the others old negatives.")
        st.text(f"Label column: {visible(question.name)}")  # literal: names are untrusted text
        chosen: tuple[str, ...]
        if len(question.counts) > LISTED:
            numbers = sorted(float(label) for label in question.counts if _is_number(label))
            least = st.number_input(
                "Positive from this value", value=numbers[len(numbers) // 2] if numbers else 1.0, key="labels-least", width=300,
                help=f"The labels go from {numbers[0]:g} to {numbers[-1]:g}." if numbers else None,
            )  # fmt: skip
            chosen = (f">={least:g}",)
        else:
            ordered = sorted(question.counts, key=lambda label: (-float(label) if _is_number(label) else 0.0, label))
            picked = st.multiselect(
                "Positive labels",
                ordered,
                default=ordered[:1] if _is_number(ordered[0]) else None,
                format_func=lambda label: f"{label} ({counted(question.counts[label], 'row')})",
                key="labels-positive",
            )
            chosen = tuple(picked)
        with st.container(horizontal=True):
            if st.button("Use these labels", type="primary", disabled=not chosen, icon=":material/check:", key="labels-use"):
                _choose(dataset_id, msgspec.structs.replace(columns, positive_labels=chosen))
            if st.button("It is not a label", help="All passages become positives.", key="labels-none"):
                _choose(dataset_id, msgspec.structs.replace(columns, label=""))


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def texts(question: TextsError) -> None:
    """Draw what is missing where rows hold ids."""
    missing = " and ".join(question.missing)
    st.warning(
        f"The rows name {missing} by id, and the file with the texts is missing. "
        + (
            "Add the file of the passages as the candidate pool."
            if question.missing == ("passages",)
            else "Add the text of each query to its row as `query`, or open a BEIR data set (queries, corpus, qrels)."
        ),
        icon=":material/link_off:",
        title="Texts are missing",
    )
