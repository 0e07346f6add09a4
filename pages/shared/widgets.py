"""Small widgets that several screens have in common: key figures, a choice of one option, an error with its text."""

from __future__ import annotations

from collections.abc import Mapping
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


def choice(label: str, options: Mapping[T, str], key: str, default: T, help_text: str | None = None, *, wrap: bool = False) -> T:
    """Draw options with their labels; return the chosen one, which the session keeps."""
    chosen: T | None = st.segmented_control(
        label,
        list(options),
        default=default,
        required=True,
        format_func=options.__getitem__,
        key=key,
        persist_state="session",
        wrap=wrap,
        help=help_text,
    )
    return default if chosen is None else chosen
