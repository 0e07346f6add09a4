"""Untrusted text with some of its words marked, shown literally: HTML of escaped text, which `st.html` sanitises again."""

from __future__ import annotations

import html
import re

import streamlit as st

# No browser shows control characters, and half a surrogate pair cannot be sent.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def show(text: str, marked: list[tuple[int, int]] | None = None) -> None:
    """Draw `text` as it is, the spans (start, end) marked; spans are in order. Control characters are drawn as U+FFFD."""
    parts: list[str] = []
    done = 0
    for start, end in marked or ():
        parts += [_escaped(text[done:start]), "<mark>", _escaped(text[start:end]), "</mark>"]
        done = end
    parts.append(_escaped(text[done:].rstrip()))
    st.html(f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{"".join(parts)}</div>')


def _escaped(text: str) -> str:
    return html.escape(_UNSEEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")))
