"""Untrusted text as a browser can show it."""

from __future__ import annotations

import re

# Browsers do not show control characters, and a lone surrogate cannot be encoded.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def literal(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates as U+FFFD."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
