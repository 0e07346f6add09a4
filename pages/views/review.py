"""Screen 4, Review: one pair at a time, one key to decide and go on; what is decided is on the disk before the next pair shows."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.review.queue import QueueSettings
from pages.review import claims, files, filters, pair, presses, session
from pages.review.session import DONE, ReviewSession

POLL = "4s"
MOST_AT_ONCE = 100_000
LEARNT = (
    "Kept, dropped and promoted pairs re-fit the model that estimates who is suspicious. The order of this queue stays while you read it: "
    "it is made anew with a change of its settings, or when you look for new pairs."
)
RECENT = 10

BUTTONS = (
    ("keep", "Keep", "K", ":material/check:", "A true negative: it is taken before all others."),
    ("drop", "Drop", "D", ":material/close:", "A false negative, or junk: never a negative of this query again."),
    ("promote", "Promote", "P", ":material/add_circle:", "It answers the query: from now on a positive of it."),
    ("skip", "Skip", "S", ":material/skip_next:", "Nobody can tell: it stays as it is."),
)
ICONS = {"keep": ":material/check:", "drop": ":material/close:", "promote": ":material/add_circle:", "skip": ":material/skip_next:"}
MENU = {
    "keep": "Keep",
    "drop": "Drop",
    "promote": "Promote",
    "skip": "Skip",
    "remove": ":material/delete: Remove the verdict",
    "show": ":material/visibility: Show it again",
}


def progress(desk: ReviewSession) -> None:
    """Draw how far the queue is reviewed."""
    counts = desk.queue.counts
    total, left = len(desk.queue), int(np.count_nonzero(desk.queue.todo))
    done = total - counts["unreviewed"]
    st.progress(done / total if total else 1.0, text=f"**{done:,} of {total:,} reviewed** · {left:,} left in this queue")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for choice, color in (("keep", "green"), ("drop", "red"), ("promote", "blue"), ("skip", "gray")):
            st.badge(f"{counts[choice]:,} {DONE[choice]}", icon=ICONS[choice], color=color)
        if told := session.learnt(desk):
            st.caption(told, width="content", help=LEARNT)
        if names := session.also_here(desk):
            st.text(f"Also reviewing now: {', '.join(names)}")


def buttons(desk: ReviewSession) -> None:
    """Draw the keys; those that judge belong to the pair on the screen, so a press that comes late judges no other."""
    undoable, redoable = resources.reviews().history(claims.reviewer())
    with st.container(horizontal=True, gap="small"):
        for choice, label, key, icon, text in BUTTONS:
            st.button(
                label,
                shortcut=key,
                icon=icon,
                help=text,
                key=f"review-{choice}-{desk.turn}",
                on_click=session.decide,
                args=(desk.turn, choice),
                disabled=desk.place is None,
            )
        keys = presses.SHORTCUTS  # their buttons stay the same ones, so that a press while they are drawn again is not lost
        st.button("Undo", shortcut=keys["undo"], icon=":material/undo:", key="review-undo", on_click=session.undo, disabled=not undoable)
        st.button("Redo", shortcut=keys["redo"], icon=":material/redo:", key="review-redo", on_click=session.redo, disabled=not redoable)
        presses.counter(session.pressed)


def recent() -> None:
    """Draw the last decisions, of whoever made them; each can be changed."""
    found = resources.reviews().recent(RECENT)
    if not found:
        return
    st.caption("Last decisions")
    for decision in found:
        verdict, several = decision.verdict, decision.pairs > 1
        key = f"review-change-{decision.batch}"
        left, right = st.columns([1, 4], vertical_alignment="center", gap="small")
        with left:
            st.menu_button(
                DONE[verdict.verdict].capitalize(),
                [option for option in MENU if option != verdict.verdict and not (several and option == "show")],
                format_func=MENU.__getitem__,
                icon=ICONS[verdict.verdict],
                key=key,
                on_click=session.change,
                args=(decision.batch, key),
                width="stretch",
            )
        with right:
            told = f"{decision.pairs:,} pairs at once" if several else f"{verdict.query[:60]}  →  {verdict.passage[:160]}"
            st.text(f"{verdict.who or 'nobody named'}:  {told}".replace("\n", " "), wrap=False)


def all_at_once(desk: ReviewSession) -> None:
    """Draw the verdict for all that is left in the queue, behind a question."""
    left = int(np.count_nonzero(desk.queue.todo))
    with st.popover(f"Apply to all {left:,}", icon=":material/done_all:", disabled=not 0 < left <= MOST_AT_ONCE, key="review-all"):
        which = (
            "the one pair** that matches these filters and is" if left == 1 else f"the {left:,} pairs** that match these filters and are"
        )
        st.write(f"One verdict for **{which} left in the queue. One undo takes it back.")
        if desk.queue.settings == QueueSettings(order=desk.queue.settings.order):
            st.caption(":material/warning: No filter is set: these are all of them.")
        choice = st.segmented_control(
            "Verdict", [*DONE, "remove"], format_func=lambda name: MENU[name].rpartition(": ")[2], key="review-all-choice"
        )
        if choice is not None:
            st.button(
                f"{MENU[choice].rpartition(': ')[2]}: {counted(left, 'pair')}",
                type="primary",
                key=f"review-all-{left}-{choice}",
                on_click=session.decide_all,
                args=(None if choice == "remove" else choice,),
            )


@st.fragment(run_every=POLL)
def desk_of(desk: ReviewSession) -> None:
    """Draw all that changes with a decision, one's own or somebody else's."""
    try:
        if session.outdated(desk):
            st.rerun()
        place = desk.show()
        progress(desk)
        keys = st.container()
        messages(desk)
        if place is None:
            finished(desk)
        else:
            pair.draw(desk, place)
        with keys:  # sent last: while a pair is not on the screen yet, no key judges it
            buttons(desk)
        all_at_once(desk)
        recent()
    except HnmineError as error:
        st.error("The verdicts cannot be read", icon=":material/error:")
        st.text(str(error))


def messages(desk: ReviewSession) -> None:
    """Tell what the last press did, where that is not plain, and what others did to this pair."""
    if desk.trouble:
        st.error("The verdict was not written, so this pair stays", icon=":material/error:")
        st.text(desk.trouble)
    if desk.news:
        st.toast(desk.news, icon=":material/info:")
        desk.news = ""
    if desk.other is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("meanwhile", icon=":material/group:", color="orange")
            said = DONE[desk.other.verdict] if desk.other.verdict else "took the verdict away from"
            st.text(f"{desk.other.who or 'Somebody'} {said} this pair while you read it. Your verdict would replace theirs.")
            st.button("Next pair", shortcut="N", key=f"review-next-{desk.turn}", on_click=session.go_on, args=(desk.turn,))


def finished(desk: ReviewSession) -> None:
    """Draw the end of a queue, with the way on."""
    left = int(np.count_nonzero(desk.queue.todo))
    with st.container(border=True, horizontal_alignment="center"):
        if left:
            st.subheader("Others are at the last pairs", anchor=False)
            where = "1 is on somebody's screen; it comes" if left == 1 else f"{left:,} are on somebody's screen; they come"
            st.write(f"{where} here if nobody judges {'it' if left == 1 else 'them'}.")
            return
        if not len(desk.queue):
            st.subheader("No pair fits", anchor=False)
            st.write("Change the filters above, or review other pairs.")
            return
        if desk.queue.settings.source == "audit":
            st.subheader("The sample is reviewed", anchor=False)
            st.write("The Quality screen says how many of the negatives are false.")
            st.page_link("pages/views/quality.py", label="Go to Quality", icon=":material/arrow_forward:")
            return
        st.subheader("This queue is reviewed", anchor=False)
        st.write("For what was dropped or promoted, other negatives were chosen. Look for pairs that are new, or go on to the file.")
        if st.button("Look for new pairs", icon=":material/refresh:", type="primary", key="review-refresh"):
            session.refresh()
            st.rerun()
        st.page_link("pages/views/export.py", label="Go to Export", icon=":material/arrow_forward:")


st.title("Review", anchor=False)
try:
    settings = filters.controls()
    desk = session.open_desk(settings)
except HnmineError as error:
    st.error("The queue cannot be made", icon=":material/error:")
    st.text(str(error))
    st.stop()
if desk.queue.nearest_only is not None:
    st.caption(f"The window is wide: of each query the {desk.queue.nearest_only:,} nearest of its candidates are here.")
desk_of(desk)
with st.expander("Verdicts as a file", icon=":material/description:"):
    files.download()
    files.upload()
