"""What is reviewed: which pairs, in which order, and by whom."""

from __future__ import annotations

import streamlit as st

from hnmine.review.queue import STATES, QueueSettings
from pages.review import claims
from pages.review import session as judging
from pages.shared import audit, state, wording

SOURCES = {
    "chosen": "chosen negatives",
    "window": "all in the window",
    "nearest": "the nearest, skipped",
    "audit": "the audit's sample",
}
ORDERS = {
    "suspicious": "most suspicious first",
    "share": "by share of the positive's score",
    "random": "at random",
    "query": "query by query",
    "hubs": "hubs first",
}
STATE_NAMES = dict(zip(STATES, ("not reviewed", "kept", "dropped", "promoted", "skipped"), strict=True))


def controls() -> QueueSettings:
    """Draw the settings of the queue and the reviewer's name; return the settings."""
    if st.session_state.run is None:
        state.opened()  # draws the empty state
    if (asked := st.session_state.pop("review-query", None)) is not None:  # from another screen: this query's candidates
        st.session_state["review-words"] = asked
    sampled = audit.kept(st.session_state.run, state.selection_settings(st.session_state.run)) is not None
    _from_quality(sampled)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = st.selectbox(
            "Pairs",
            [name for name in SOURCES if sampled or name != "audit"],
            format_func=SOURCES.__getitem__,
            key="review-source",
            persist_state="session",
            width=170,
            help="The negatives chosen now; everything in the rank window; or the nearest ones before it, which the window skips "
            "because many are positives that nobody labelled. The audit's sample was drawn on the Quality screen.",
        )
        # A sample comes as it was drawn.
        order = (
            "random"
            if source == "audit"
            else st.selectbox(
                "Order",
                list(ORDERS),
                format_func=ORDERS.__getitem__,
                key="review-order",
                persist_state="session",
                width=225,
                help="Suspicious: by the estimated chance to be a false negative, which learns from verdicts; it finds most of them "
                "soonest. A run without signals goes by nearness to the query and its positive at once. "
                "Hubs: passages chosen for the most queries.",
            )
        )
        words = st.text_input(
            "Query contains",
            key="review-words",
            persist_state="session",
            icon=":material/search:",
            placeholder="words",
            width=170,
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
            width=150,
            help="Stands beside each verdict. Undo and redo go by it: everybody takes back their own decisions.",
        )
    return QueueSettings(source=source, order=order, words=words, **ranges)


def _from_quality(sampled: bool) -> None:
    """Take the audit's sample, unfiltered, when the Quality screen leads here; and let go of it where there is none."""
    session = st.session_state
    states = session.pop("review-audit", None)
    if states is not None and sampled:
        session["review-source"], session["review-words"], session["review-states"] = "audit", "", states
        for name in ("score", "share", "signal"):
            session[f"review-min-{name}"] = session[f"review-max-{name}"] = None
    elif not sampled and session.get("review-source") == "audit":
        session["review-source"] = "chosen"


def filters(source: str, order: str) -> dict[str, object]:
    """Draw the ranges and verdicts; return them as settings."""
    chosen: dict[str, object] = {}
    states = st.pills(
        "Verdict",
        list(STATES),
        selection_mode="multi",
        default=None if "review-states" in st.session_state else ["unreviewed"],  # the Quality screen may have set them
        format_func=STATE_NAMES.__getitem__,
        key="review-states",
        persist_state="session",
        help="What stands about a pair: choose others than 'not reviewed' to look at verdicts again.",
    )
    chosen["states"] = tuple(state for state in STATES if state in states) or ("unreviewed",)
    for name, label, factor, help_text in (
        ("score", "Similarity", 1.0, "Similarity of the candidate to the query."),
        ("share", "Share of the positive in %", 100.0, "Its similarity as a share of the positive's."),
    ):
        for end, column in zip(("min", "max"), st.columns(2), strict=True):
            value = column.number_input(
                f"{label}, {'from' if end == 'min' else 'to'}",
                value=None,
                step=0.05 * factor,
                key=f"review-{end}-{name}",
                persist_state="session",
                help=help_text,
                placeholder="any",
            )
            chosen[f"{end}_{name}"] = None if value is None else value / factor
    signals = judging.signals()
    if signals:
        signal = st.selectbox(
            "Signal",
            signals,
            index=None,
            format_func=lambda name: wording.signal(name).name,
            key="review-signal",
            persist_state="session",
            placeholder="none",
            help="One of the numbers that stand with the candidate, as a share (0 to 1) where it is written in percent.",
        )
        chosen["signal"] = signal
        for end, column in zip(("min", "max"), st.columns(2), strict=True):
            chosen[f"{end}_signal"] = column.number_input(
                f"Signal, {'from' if end == 'min' else 'to'}",
                value=None,
                key=f"review-{end}-signal",
                persist_state="session",
                placeholder="any",
                disabled=signal is None,
            )
    if order == "random" and source != "audit":
        chosen["sample"] = st.number_input(
            "Sample size",
            min_value=1,
            value=None,
            key="review-sample",
            persist_state="session",
            placeholder="all",
            help="The queue ends after so many pairs, drawn by the seed: to estimate how many of the negatives are false.",
        )
        chosen["seed"] = int(st.number_input("Seed", value=42, step=1, key="review-seed", persist_state="session"))
    return chosen
