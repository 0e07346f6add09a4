"""Untrusted text with some of its words marked, shown literally.

Streamlit's only element that can mark a word renders Markdown, so everything that could mean something there must be taken
away from it. Escaping alone is not enough: several of its steps (emoji, icons, arrows, web addresses) look for their
patterns in the text *after* entities have been decoded. So all but letters, digits and single blanks is written as a numeric
entity, which no rule of Markdown takes for syntax, and behind each such character stands an empty span, which ends the piece
of text in which a later step would look for a pattern. A test renders hostile texts in a browser and finds them unchanged.

White space is the exception to "unchanged": blanks that HTML would swallow become no-break ones, and what no browser shows
(control characters) becomes U+FFFD.
"""

from __future__ import annotations

import unicodedata

MARK = ":primary-background["
CLOSE = "]"
# A directive of Streamlit without content: an empty element, so text before and behind it are two pieces.
BREAK = ":small[]"
NEWLINE = "\\\n"


def literal(text: str, marked: list[tuple[int, int]] | None = None) -> str:
    """Return Markdown that shows `text` as it is, the spans (start, end) marked; spans are in order and hold letters and digits."""
    parts: list[str] = []
    done = 0
    text = text.rstrip()
    for start, end in marked or ():
        if end > len(text):
            break
        parts += [_escaped(text[done:start], first=done == 0), MARK, _escaped(text[start:end], first=False), CLOSE]
        done = end
    parts.append(_escaped(text[done:], first=done == 0))
    return "".join(parts) or "&#160;"


def _escaped(text: str, *, first: bool) -> str:
    """Escape a piece; `first` when it begins a line."""
    parts: list[str] = []
    blank = first  # whether HTML would swallow a blank here
    for place, char in enumerate(text):
        if char == "." and text[place - 1 : place] in ("w", "W"):
            parts.append(BREAK)  # "www." alone is taken for an address
        if char == "\r" and text[place + 1 : place + 2] == "\n":
            continue
        if char in "\r\n":
            parts.append(NEWLINE if parts or not first else "&#160;" + NEWLINE)
            blank = True
        elif char in " \t":
            parts.append("&#160;" if blank or char == "\t" else " ")
            blank = True
        else:
            parts.append(_character(char))
            blank = False
    return "".join(parts)


def _character(char: str) -> str:
    if char.isascii():
        if char.isalnum():
            return char
        return (f"&#{ord(char)};" if " " < char < "\x7f" else "\ufffd") + BREAK
    category = unicodedata.category(char)
    if category in ("Cc", "Cs"):
        return "\ufffd"
    return char if category[0] in "LMN" else f"&#{ord(char)};"
