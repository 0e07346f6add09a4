"""The tour: five steps through the screens with the bundled example, which can be left at any time.

A step belongs to a screen, so going there by the navigation is a step too. The session alone knows whether it is on.
"""

from __future__ import annotations

import streamlit as st

__all__ = ["bar", "begin"]

# The address of a screen -> its step.
STEPS = {
    "": (
        "Data",
        "These are 124 questions to a bike-sharing service. Look at the checks above the rows, then press **Mine hard negatives**.",
    ),
    "mine": (
        "Mine",
        "The model ranks all passages for each question, which takes about a minute. Then choose another preset or move the slider, and "
        "watch the histogram: further right is harder, and more false negatives are likely.",
    ),
    "inspect": (
        "Inspect",
        "Select a question on the left and read its negatives. Some of them answer the question: these are false negatives.",
    ),
    "review": (
        "Review",
        "Decide a few pairs with one key each. What you mark as relevant leaves the export, and the estimate learns from it.",
    ),
    "export": (
        "Export",
        "Choose the format of your trainer, look at the first rows as they will be written, and press **Download**.",
    ),
}
PAGES = {"": "data", **{name: name for name in STEPS if name}}


def begin() -> None:
    """Start the tour."""
    st.session_state.tour = True


def bar(page: str) -> None:
    """Draw the step of a screen, given by its address; nothing while the tour is off."""
    if not st.session_state.get("tour") or st.session_state.dataset is None:
        return
    names = list(STEPS)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="tour"):
        if page not in STEPS:
            st.markdown("**Tour** · This screen is not part of it.", width="stretch")
            following = ""
        else:
            place = names.index(page)
            title, text = STEPS[page]
            st.markdown(f"**Step {place + 1} of {len(names)} · {title}** · {text}", width="stretch")
            following = names[place + 1] if place + 1 < len(names) else None
        if following is not None and st.button(
            "Next" if page in STEPS else "Back to the tour",
            icon=":material/arrow_forward:",
            icon_position="right",
            key="tour-next",
            # Without a run there is nothing to inspect.
            disabled=page == "mine" and st.session_state.run is None,
        ):
            st.switch_page(f"pages/views/{PAGES[following]}.py")
        if st.button("Leave" if following is not None else "Finish", icon=":material/close:", key="tour-leave"):
            st.session_state.tour = False
            st.rerun()
