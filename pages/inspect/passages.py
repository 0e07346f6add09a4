"""Passages as rows of whole wrapped text, with facts, status and verdict buttons: a component of ours.

A grid of Streamlit cuts long texts to one row height, hides them from screen readers, and needs two clicks for a verdict. Its script
draws 15 rows in a few milliseconds, sets data only as text, and keeps scroll position and focus when only a verdict changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st

from pages.shared import reviewers
from pages.shared.printable import printable

_HERE = Path(__file__).parent
_passages = st.components.v2.component(
    "hnmine_passages",
    html='<button type="button" class="back" hidden>Back to the list</button><ol></ol>\n',
    css=(_HERE / "passages.css").read_text(),
    js=(_HERE / "passages.js").read_text(),
)
# Verdict: label of its button, help.
ACTIONS = {
    "negative": ("Negative", "Not relevant: a true negative. Always selected first."),
    "relevant": ("Relevant: remove", "A false negative. Never a negative of this query."),
    "positive": ("Add as positive", "A false negative. Added to the positives of this query."),
    "junk": ("Junk", "Not a useful passage. Removed, but not counted as a false negative."),
}


class Line(msgspec.Struct, kw_only=True):
    """A row: `name` is bold, `parts` are the text, every second one highlighted, `more` are lines below it.

    `kind` is "query", "positive" or "candidate".
    """

    id: str
    parts: list[str]
    name: str = ""
    facts: str = ""
    status: str = ""
    verdict: str | None = None
    kind: str = "candidate"
    more: list[str] = []


def parts_of(text: str, spans: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Split a text at highlighted spans (start, end), in order: plain, highlighted, plain, ..."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += [text[done:start], text[start:end]]
        done = end
    return [printable(part) for part in [*parts, text[done:].rstrip()]]


def draw(
    lines: list[Line],
    *,
    key: str,
    of: str,
    label: str,
    height: int,
    picked: str | None = None,
    on_pick: Callable[[str], None] | None = None,
    on_verdict: Callable[[str, str | None], None] | None = None,
    back: str | None = None,
) -> None:
    """Draw rows.

    Args:
        lines: the rows.
        key: of the widget.
        of: id of the query; another one scrolls back to the top.
        label: accessible name.
        height: in pixels; longer lists scroll.
        picked: id of the row to mark.
        on_pick: called with the id of a clicked row.
        on_verdict: called with a row's id and the verdict, None to remove it; without it there are no buttons.
        back: key of the list above: on a narrow screen a new query scrolls here, and a button back to the list.
    """

    def heard(name: str) -> Any:
        return st.session_state[key].get(name)

    def judged() -> None:
        verdict = heard("verdict")
        if on_verdict is not None and verdict and verdict.get("verdict") in (None, *ACTIONS):
            reviewers.remember(verdict.get("who"))
            on_verdict(str(verdict.get("id")), verdict.get("verdict"))

    def chosen() -> None:
        if on_pick is not None and heard("picked"):
            on_pick(str(heard("picked")))

    _passages(
        key=key,
        data={
            "rows": msgspec.to_builtins(lines),
            "of": of,
            "label": label,
            "picked": picked,
            "picks": on_pick is not None,
            "actions": [] if on_verdict is None else [[name, *words] for name, words in ACTIONS.items()],
            "back": back,
            "height": height,
        },
        on_picked_change=chosen,
        on_verdict_change=judged,
    )
