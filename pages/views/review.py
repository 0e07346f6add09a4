"""Screen 4, Review: one pair at a time, one key per verdict; a verdict is on the disk before the next pair shows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.data.verdicts import Choice
from hnmine.review.queue import QueueSettings
from pages.review import claims, files, filters, pair, presses, session
from pages.review.session import LABELS, ReviewSession
from pages.shared.widgets import failed

POLL = "4s"
MOST_AT_ONCE = 100_000
FIT_HELP = (
    "The model of false-negative probabilities is re-fitted on all verdicts except junk and unsure. The order of this queue does not "
    "change. Change a setting, or look for new pairs, to build a new queue."
)
RECENT = 10

Color = Literal["green", "red", "blue", "orange", "gray"]
# Verdict: label, key, icon, colour, help.
VERDICTS: dict[Choice, tuple[str, str, str, Color, str]] = {
    "negative": ("Negative", "K", ":material/check:", "green", "A true negative. Always selected first."),
    "relevant": ("Relevant: remove", "D", ":material/close:", "red", "A false negative. Never used as a negative of this query."),
    "positive": (
        "Relevant: add as positive",
        "P",
        ":material/add_circle:",
        "blue",
        "A false negative. Added to the positives of this query.",
    ),
    "junk": ("Junk: remove", "J", ":material/delete:", "orange", "Not a useful passage. Removed, but not counted as a false negative."),
    "unsure": ("Unsure", "S", ":material/question_mark:", "gray", "No effect on the negatives."),
}
MENU = {name: label for name, (label, *_) in VERDICTS.items()} | {
    "remove": ":material/backspace: Remove the verdict",
    "show": ":material/visibility: Show the pair again",
}


def progress(review: ReviewSession) -> None:
    """Draw the progress of the queue and the number of pairs of each verdict."""
    counts = review.queue.counts
    total, left = len(review.queue), int(np.count_nonzero(review.queue.todo))
    done = total - counts["unreviewed"]
    st.progress(done / total if total else 1.0, text=f"**{done:,} of {total:,} reviewed** · {left:,} left in this queue")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name, (_, _, icon, color, _) in VERDICTS.items():
            st.badge(f"{counts[name]:,} {LABELS[name]}", icon=icon, color=color)
        if fit := session.fit_size(review):
            st.caption(fit, width="content", help=FIT_HELP)
        if names := session.also_here(review):
            st.text(f"Also reviewing now: {', '.join(names)}")


def buttons(review: ReviewSession) -> None:
    """Draw the buttons; verdict buttons belong to one step, so a late press cannot apply to the next pair."""
    undoable, redoable = resources.reviews().history(claims.reviewer())
    with st.container(horizontal=True, gap="xsmall"):
        for choice, (label, key, _, _, text) in VERDICTS.items():
            st.button(
                label,
                shortcut=key,
                help=text,
                key=f"review-{choice}-{review.step}",
                on_click=session.decide,
                args=(review.step, choice),
                disabled=review.place is None,
            )
        keys = presses.SHORTCUTS  # fixed widget keys, so that a press during a rerun is not lost
        st.button("Undo", shortcut=keys["undo"], icon=":material/undo:", key="review-undo", on_click=session.undo, disabled=not undoable)
        st.button("Redo", shortcut=keys["redo"], icon=":material/redo:", key="review-redo", on_click=session.redo, disabled=not redoable)
        presses.counter(session.pressed)


def recent() -> None:
    """Draw the last decisions of all reviewers, each with a menu to change it."""
    found = resources.reviews().recent(RECENT)
    if not found:
        return
    st.caption("Last decisions")
    for decision in found:
        verdict, several = decision.verdict, decision.pairs > 1
        key = f"review-change-{decision.batch}"
        left, right = st.columns([3, 8], vertical_alignment="center", gap="small")
        with left:
            st.menu_button(
                LABELS[verdict.verdict].capitalize(),
                [option for option in MENU if option != verdict.verdict and not (several and option == "show")],
                format_func=MENU.__getitem__,
                icon=VERDICTS[verdict.verdict][2],
                key=key,
                on_click=session.change,
                args=(decision.batch, key),
                width="stretch",
            )
        with right:
            pairs = f"{decision.pairs:,} pairs" if several else f"{verdict.query[:60]}  →  {verdict.passage[:160]}"
            st.text(f"{verdict.who or 'unknown reviewer'}:  {pairs}".replace("\n", " "), wrap=False)


def all_at_once(review: ReviewSession) -> None:
    """Draw the popover that gives all open pairs of the queue one verdict."""
    left = int(np.count_nonzero(review.queue.todo))
    with st.popover(f"Apply to all {left:,}", icon=":material/done_all:", disabled=not 0 < left <= MOST_AT_ONCE, key="review-all"):
        st.write(f"One verdict for **{counted(left, 'pair')}** in this queue. One undo reverts it.")
        if review.queue.settings == QueueSettings(order=review.queue.settings.order):
            st.caption(":material/warning: No filters are set. This applies to all pairs.")
        choice = st.segmented_control("Verdict", [*LABELS, "remove"], format_func=_plain, key="review-all-choice")
        if choice is not None:
            st.button(
                f"{_plain(choice)} ({counted(left, 'pair')})",
                type="primary",
                key=f"review-all-{left}-{choice}",
                on_click=session.decide_all,
                args=(None if choice == "remove" else choice,),
            )


def _plain(name: str) -> str:
    """Return the label of a menu entry without its icon."""
    return MENU[name].partition(": ")[2] if MENU[name].startswith(":") else MENU[name]


@st.fragment(run_every=POLL)
def screen(review: ReviewSession) -> None:
    """Draw everything that changes with a verdict of this or another reviewer."""
    try:
        if session.outdated(review):
            st.rerun()
        place = review.show()
        progress(review)
        keys = st.container()
        messages(review)
        if place is None:
            finished(review)
        else:
            pair.draw(review, place)
        with keys:  # sent last, so that a key has no effect before its pair is on the screen
            buttons(review)
        all_at_once(review)
        recent()
    except HnmineError as error:
        failed("The verdicts cannot be read", error)


def messages(review: ReviewSession) -> None:
    """Draw errors, the message of the last action, and a conflict with another reviewer."""
    if review.error:
        failed("The verdict was not written. The pair stays on the screen.", review.error)
    if review.message:
        st.toast(review.message, icon=":material/info:")
        review.message = ""
    if (conflict := review.conflict) is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("conflict", icon=":material/group:", color="orange")
            who = conflict.who or "Another reviewer"
            said = f"marked this pair as {LABELS[conflict.verdict]}" if conflict.verdict else "removed the verdict on this pair"
            st.text(f"{who} {said} while it was on your screen. Your verdict replaces theirs.")
            st.button("Next pair", shortcut="N", key=f"review-next-{review.step}", on_click=session.skip_conflict, args=(review.step,))


def finished(review: ReviewSession) -> None:
    """Draw the end of the queue, with the next step."""
    left = int(np.count_nonzero(review.queue.todo))
    with st.container(border=True, horizontal_alignment="center"):
        if left:
            st.subheader("Other reviewers have the last pairs open", anchor=False)
            st.write(f"{counted(left, 'pair')} will appear here if nobody gives a verdict.")
            return
        if not len(review.queue):
            st.subheader("No pairs match these filters", anchor=False)
            st.write("Change the filters, or choose other pairs.")
            return
        if review.queue.settings.source == "audit":
            st.subheader("The sample is reviewed", anchor=False)
            st.write("The Quality screen shows the estimated rate of false negatives.")
            st.page_link("pages/views/quality.py", label="Go to Quality", icon=":material/arrow_forward:")
            return
        st.subheader("This queue is reviewed", anchor=False)
        st.write("Other negatives have replaced the removed ones. Look for new pairs, or export the file.")
        if st.button("Look for new pairs", icon=":material/refresh:", type="primary", key="review-refresh"):
            session.refresh()
            st.rerun()
        st.page_link("pages/views/export.py", label="Go to Export", icon=":material/arrow_forward:")


st.title("Review", anchor=False)
try:
    settings = filters.controls()
    review = session.open_session(settings)
except HnmineError as error:
    failed("The queue cannot be built", error)
    st.stop()
if review.queue.nearest_only is not None:
    st.caption(f"The window is wide. The queue has the {review.queue.nearest_only:,} nearest candidates of each query.")
screen(review)
with st.expander("Download or import verdicts", icon=":material/description:"):
    files.download()
    files.upload()
