"""Untrusted text with highlighted words: escaped HTML, which `st.html` sanitizes again."""

from __future__ import annotations

import html
import re

import streamlit as st

# The accent colour, light enough for both themes.
_MARK = '<mark style="background: #0f766e33; color: inherit">'
# Browsers do not show control characters, and a lone surrogate cannot be encoded.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def show(text: str, spans: list[tuple[int, int]] | None = None) -> None:
    """Draw `text` literally with highlighted spans (start, end), in order. Control characters are drawn as U+FFFD."""
    parts: list[str] = []
    done = 0
    for start, end in spans or ():
        parts += [_escaped(text[done:start]), _MARK, _escaped(text[start:end]), "</mark>"]
        done = end
    parts.append(_escaped(text[done:].rstrip()))
    st.html(f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{"".join(parts)}</div>')


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates as U+FFFD."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def _escaped(text: str) -> str:
    return html.escape(printable(text))
