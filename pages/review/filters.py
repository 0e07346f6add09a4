"""The settings of the review: pairs, order, filters, and the reviewer's name."""

from __future__ import annotations

from typing import Any

import streamlit as st

from hnmine.review.queue import STATES, QueueSettings
from pages.review import claims, session
from pages.review.session import LABELS
from pages.shared import audit, state, wording

SOURCES = {
    "chosen": "Chosen negatives",
    "window": "In the window",
    "nearest": "Before the window",
    "audit": "Audit sample",
}
ORDERS = {
    "fn_probability": "Highest estimated false-negative probability first",
    "ratio": "Highest ratio to the positive first",
    "random": "Random",
    "query": "By query, in file order",
    "hubs": "Hubs first",
}
STATE_NAMES = {"unreviewed": "not reviewed", **LABELS}


def controls() -> QueueSettings:
    """Draw the settings of the queue and the reviewer's name; return the settings."""
    if st.session_state.run is None:
        state.opened()  # draws the empty state
    if (asked := st.session_state.pop("review-query", None)) is not None:  # set by the Inspect screen
        st.session_state["review-words"] = asked
    sampled = audit.kept(st.session_state.run, state.selection_settings(st.session_state.run)) is not None
    _from_quality(sampled)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        source = st.selectbox(
            "Pairs",
            [name for name in SOURCES if sampled or name != "audit"],
            format_func=SOURCES.__getitem__,
            key="review-source",
            persist_state="session",
            width=170,
            help="The chosen negatives; all candidates in the rank window; or the candidates before it, which are skipped because many "
            "are unlabelled positives. The audit sample is drawn on the Quality screen.",
        )
        # An audit sample keeps its own order.
        order = (
            "random"
            if source == "audit"
            else st.selectbox(
                "Order",
                list(ORDERS),
                format_func=ORDERS.__getitem__,
                key="review-order",
                persist_state="session",
                width=360,
                help="The estimated false-negative probability finds the most false negatives early; the model is re-fitted on your "
                "verdicts. A run without signals is ordered by similarity to the query and the positive. Hubs are the passages chosen "
                "for the most queries.",
            )
        )
        words = st.text_input(
            "Query contains",
            key="review-words",
            persist_state="session",
            icon=":material/search:",
            placeholder="text",
            width=135,
        )
        with st.popover("Filters", icon=":material/filter_alt:"):
            ranges = filters(source, order)
        st.text_input(
            "Reviewer",
            value=claims.default_name(),
            key="review-who",
            persist_state="session",
            max_chars=60,
            icon=":material/person:",
            width=130,
            help="Stored with each verdict. Undo and redo apply to the decisions of this reviewer only.",
        )
    return QueueSettings(source=source, order=order, words=words, **ranges)


def _from_quality(sampled: bool) -> None:
    """Select the audit sample without filters if the Quality screen asks for it; deselect it if there is none."""
    memory = st.session_state
    states = memory.pop("review-audit", None)
    if states is not None and sampled:
        memory["review-source"], memory["review-words"], memory["review-states"] = "audit", "", states
        for name in ("score", "ratio", "signal"):
            memory[f"review-min-{name}"] = memory[f"review-max-{name}"] = None
    elif not sampled and memory.get("review-source") == "audit":
        memory["review-source"] = "chosen"


def filters(source: str, order: str) -> dict[str, object]:
    """Draw the filters; return them as settings."""
    chosen: dict[str, object] = {}
    states = st.pills(
        "Verdict",
        list(STATES),
        selection_mode="multi",
        default=None if "review-states" in st.session_state else ["unreviewed"],  # otherwise set by the Quality screen
        format_func=STATE_NAMES.__getitem__,
        key="review-states",
        persist_state="session",
        help="Current verdict. Choose a verdict to review its pairs again.",
    )
    chosen["states"] = tuple(state for state in STATES if state in states) or ("unreviewed",)
    ratio_help = "Similarity of the candidate divided by the positive's score."
    chosen |= _ends("score", "Similarity", step=0.05, help="Similarity of the candidate to the query.")
    chosen |= _ends("ratio", "Ratio to the positive in %", 100.0, step=5.0, help=ratio_help)
    signals = session.signals()
    if signals:
        signal = st.selectbox(
            "Signal",
            signals,
            index=None,
            format_func=lambda name: wording.signal(name).title,
            key="review-signal",
            persist_state="session",
            placeholder="none",
            help="A number shown with the candidate. For a percentage, enter a fraction from 0 to 1.",
        )
        chosen |= {"signal": signal} | _ends("signal", "Signal", disabled=signal is None)
    if order == "random" and source != "audit":
        chosen["sample"] = st.number_input(
            "Sample size",
            min_value=1,
            value=None,
            key="review-sample",
            persist_state="session",
            placeholder="all",
            help="Number of pairs in the queue, drawn at random with the seed.",
        )
        chosen["seed"] = int(st.number_input("Seed", value=42, step=1, key="review-seed", persist_state="session"))
    return chosen


def _ends(name: str, label: str, factor: float = 1.0, **options: Any) -> dict[str, float | None]:
    """Draw the smallest and the largest value of a number, shown times `factor`; return them as settings."""
    found: dict[str, float | None] = {}
    for end, column in zip(("min", "max"), st.columns(2), strict=True):
        key = f"review-{end}-{name}"
        value = column.number_input(f"{label}, {end}.", value=None, key=key, persist_state="session", placeholder="any", **options)
        found[f"{end}_{name}"] = None if value is None else value / factor
    return found
