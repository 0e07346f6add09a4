"""The desk in the browser (`desk.js`): what it sends, what it gets, and its component.

The component's state `sent` holds all decisions that are not acknowledged, so a message that is lost, repeated or overtaken does no harm:
`exchange.receive` writes each sequence number of a desk once. What is sent comes from a browser and may be anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import streamlit as st

from hnmine.core.decode import convert
from hnmine.data.verdicts import Choice
from pages.shared import limits

KEY, LEFTOVERS = "review-desk", "review-leftovers"
Name = Annotated[str, msgspec.Meta(max_length=limits.NAME)]
# Pairs of one action or message: many times as many as a desk has ahead.
Pairs = Annotated[tuple[Name, ...], msgspec.Meta(max_length=10_000)]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One action of a reviewer; `asked` marks an undo or redo of what the browser no longer has."""

    seq: int
    kind: Literal["decide", "undo", "redo"]
    run: Name
    who: Name
    pairs: Pairs = ()
    verdict: Choice | None = None
    note: Annotated[str, msgspec.Meta(max_length=limits.NOTE)] = ""
    at: Name = ""
    asked: bool = False


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """The actions of one desk that it has not seen acknowledged, in order."""

    desk: Name
    actions: tuple[Step, ...]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser sends: its desk, the number of the message, the queue that its pairs are from, the reviewer, the pairs it has ahead,
    and its unsaved actions.

    `shown` is the last turn of a pair that the server asked it to show; `again` is a pair that the reviewer wants to see again.
    """

    desk: Name
    turn: int
    queue: Name = ""
    who: Name = ""
    wide: bool = True
    have: Pairs = ()
    current: Name = ""
    shown: int = 0
    again: Name = ""
    boxes: tuple[Box, ...] = ()


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


_component = st.components.v2.component("hnmine_desk", html=_read("desk.html"), css=_read("desk.css"), js=_read("desk.js"))
_leftovers = st.components.v2.component("hnmine_desk_leftovers", html="<span></span>", js=_read("leftovers.js"))


def mount(data: dict[str, Any], on_sent: Callable[[], None]) -> None:
    """Draw the desk; `on_sent` is called when the browser has sent something."""
    _component(key=KEY, data=data, on_sent_change=on_sent)


def sent() -> Sent | None:
    """Return the last message of the browser, or None without one.

    Raises:
        msgspec.ValidationError: it is no message of a desk.
    """
    found = (st.session_state.get(KEY) or {}).get("sent")
    return None if found is None else convert(found, Sent)


def mount_leftovers(data: dict[str, Any], on_sent: Callable[[], None]) -> None:
    """Draw what shows nothing and sends the actions that a desk of this browser left unsaved."""
    _leftovers(key=LEFTOVERS, data=data, on_sent_change=on_sent)


def leftovers() -> tuple[Box, ...]:
    """Return what was left unsaved.

    Raises:
        msgspec.ValidationError: it is no message of ours.
    """
    return convert((st.session_state.get(LEFTOVERS) or {}).get("sent") or (), tuple[Box, ...])
