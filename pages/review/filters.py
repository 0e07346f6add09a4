"""The row above the desk: mode, pairs, filters and setup."""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st

from hnmine.review.queue import STATES, QueueSettings
from pages.review import guidelines, session
from pages.review.session import GRADES_FIRST
from pages.review.words import LABELS
from pages.shared import audit, judging, limits, state, wording
from pages.shared.widgets import choice

Mode = Literal["pair", "query", "table"]
MODES: dict[Mode, str] = {"pair": "Pair", "query": "Query", "table": "Table"}
SOURCES = {
    "chosen": "Chosen negatives",
    "window": "All in the rank range",
    "nearest": "Above the rank range",
    "audit": "Audit sample",
    "disagreements": "Disagreements of reviewers",
}
ORDERS = {
    "fn_probability": "Highest estimated false-negative probability first",
    "ratio": "Highest ratio to the positive first",
    "random": "Random",
    "query": "By query, in file order",
    "hubs": "Most reused passages first",
}
STATE_NAMES = {"unreviewed": "not reviewed", **LABELS}
NUMBERS = [f"review-{end}-{name}" for name in ("score", "ratio", "signal") for end in ("min", "max")]


def controls() -> tuple[Mode, QueueSettings, int]:
    """Draw the mode, the settings of the queue and the setup; return mode, settings and overlap in percent."""
    if st.session_state.run is None:
        state.opened()  # draws the empty state
    memory = st.session_state
    if (asked := memory.pop("review-query", None)) is not None:  # set by the Inspect screen
        memory["review-words"] = asked
    sampled = audit.kept(memory.run, state.selection_settings(memory.run)) is not None
    _from_quality(sampled)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        mode: Mode = choice("Mode", MODES, "review-mode", "pair", labelled=False)
        count = active()
        with st.popover(f"Filters ({count})" if count else "Filters", key="review-filters"):
            settings = _queue(sampled)
        if count:
            st.button("Clear filters", icon=":material/filter_alt_off:", type="tertiary", on_click=clear, key="review-clear")
        with st.popover("Setup", key="review-setup"):
            overlap = _setup()
    return mode, settings, overlap


def active() -> int:
    """Return how many filters are set."""
    memory = st.session_state
    ranges = [any(memory.get(f"review-{end}-{name}") is not None for end in ("min", "max")) for name in ("score", "ratio", "signal")]
    words = bool((memory.get("review-words") or "").strip())
    states = list(memory.get("review-states", ["unreviewed"])) not in ([], ["unreviewed"])
    return sum(ranges) + words + states + (memory.get("review-sample") is not None)


def clear() -> None:
    """Remove all filters; the pairs and their order stay."""
    memory = st.session_state
    memory["review-words"], memory["review-states"] = "", ["unreviewed"]
    for name in (*NUMBERS, "review-signal", "review-sample"):
        if name in memory:
            memory[name] = None


def _setup() -> int:
    """Draw the overlap of the data set; return it in percent."""
    dataset_id = st.session_state.dataset
    kept = guidelines.overlap(dataset_id)
    options = {each: f"{each}%" for each in guidelines.OVERLAPS}
    about = "Percentage of the pairs that a second reviewer judges too, to measure agreement."
    chosen = choice("Overlap", options, f"review-overlap-{dataset_id}", kept, about)
    if chosen != kept:
        state.keep(f"overlap-{dataset_id}", lambda: guidelines.write_overlap(dataset_id, chosen))
    if judging.any_graded():
        st.toggle(
            "Show the judge's grade before my verdict",
            key=GRADES_FIRST,
            persist_state="session",
            help="By default a grade shows after your verdict, so that your verdict does not depend on it. Otherwise the agreement of the "
            "judge with people is too high.",
        )
    st.text("Your name: click it at the upper right of the desk.")
    return int(chosen)


def _queue(sampled: bool) -> QueueSettings:
    """Draw the pairs, their order and the filters; return them as settings."""
    judged = [*judging.SOURCES] if judging.any_graded() else []
    if st.session_state.get("review-source") in judging.SOURCES and not judged:
        st.session_state["review-source"] = "chosen"
    source = st.selectbox(
        "Pairs",
        [name for name in SOURCES if sampled or name != "audit"] + judged,
        format_func=(SOURCES | judging.SOURCES).__getitem__,
        key="review-source",
        persist_state="session",
        help="The chosen negatives, all candidates in the rank range, or those ranked above it, which are skipped because many "
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
            help="The estimated false-negative probability finds the most false negatives early. A run without signals is ordered by "
            "similarity to the query and the positive.",
        )
    )
    words = st.text_input(
        "Query contains", key="review-words", max_chars=limits.WORDS, persist_state="session", icon=":material/search:", placeholder="text"
    )
    return QueueSettings(source=source, order=order, words=words, **filters(source, order))


def _from_quality(sampled: bool) -> None:
    """Select the audit sample without filters if the Quality screen asks for it; deselect it if there is none."""
    memory = st.session_state
    states = memory.pop("review-audit", None)
    if states is not None and sampled:
        memory["review-source"], memory["review-words"], memory["review-states"] = "audit", "", states
        for name in NUMBERS:
            memory[name] = None
    elif not sampled and memory.get("review-source") == "audit":
        memory["review-source"] = "chosen"


def filters(source: str, order: str) -> dict[str, object]:
    """Draw the filters; return them as settings."""
    chosen: dict[str, object] = {}
    states = st.multiselect(
        "Verdict",
        list(STATES),
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
