"""Small widgets that several screens have in common: key figures, a choice of one option, an error with its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import streamlit as st

from hnmine.core.text import visible

T = TypeVar("T")


def failed(title: str, error: object) -> None:
    """Draw an error; its text is shown literally, because it can contain text of the data."""
    st.error(title, icon=":material/error:")
    st.text("\n".join(map(visible, str(error).splitlines())))


def metrics(*figures: tuple[str, str, str | None]) -> None:
    """Draw key figures: (label, value, help)."""
    for label, value, help_text in figures:
        st.metric(label, value, border=True, help=help_text)


def choice(
    label: str,
    options: Mapping[T, str],
    key: str,
    default: T,
    help_text: str | None = None,
    *,
    captions: Sequence[str] | None = None,
    labelled: bool = True,
) -> T:
    """Draw options with their labels in a line, and a caption below each; return the chosen one, which the session keeps.

    Radio buttons: a segmented control writes the chosen option in the accent, and no accent has 4.5:1 on dark and under white.
    """
    chosen: T = st.radio(
        label,
        list(options),
        index=list(options).index(default),
        format_func=options.__getitem__,
        key=key,
        captions=captions,
        horizontal=True,
        persist_state="session",
        label_visibility="visible" if labelled else "collapsed",
        help=help_text,
    )
    return chosen
