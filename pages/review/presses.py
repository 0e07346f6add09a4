"""How often Undo and Redo were pressed, as counted in the browser, so that each press is carried out once.

A script of Streamlit hears that a button was pressed, not how often. What a press sets is sent with every message until the one
that is meant for it has gone, so a tick of `run_every` in between sends it as well, and one press is carried out twice; and
presses that arrive while the script runs become one, so of four quick ones three are left. A number that goes with the button
cannot tell the two apart: the second of two messages is handled after the screen was drawn again, with the newer number. Nor
can a new key for each press: it drops the press that was made before the new button came.

So the page counts, and each message has the number of presses so far and which came last. A count that arrives twice asks for
nothing the second time, and one that never arrived alone is part of the next. Where nothing counts (no script in
the page yet, or a test without a browser) each message is one press, as everywhere in Streamlit.

Verdicts need none of this: their buttons belong to one pair, which is judged once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import streamlit as st

Press = Literal["undo", "redo"]

KEY = "review-presses"
STATE = "review-presses-done"
SHORTCUTS: dict[Press, str] = {"undo": "Z", "redo": "Y"}
# The last presses that a message names: more than anybody makes while one message is on its way.
LAST = 100

# The listeners stay for as long as the page does, and are heard while the component is on the screen. They hear what Streamlit's
# own shortcuts hear: the letter alone, by its key code, not while somebody types. A key that is held down is one press.
_SCRIPT = """
let desk = null, count = 0, last = [], most = 0, shortcuts = {}, tell = null;

function pressed(name) {
  count += 1;
  last = [...last, name].slice(-most);
  tell("pressed", { desk, count, last });
}

function button(name) {
  return document.querySelector(`.st-key-review-${name} button:enabled`);
}

function typing(event) {
  return event.composedPath().some((each) => each.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(each.tagName));
}

document.addEventListener("keydown", (event) => {
  if (!tell || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || typing(event)) return;
  for (const [name, letter] of Object.entries(shortcuts)) {
    if (event.keyCode === letter.charCodeAt(0) && button(name)) pressed(name);
  }
}, true);

document.addEventListener("click", (event) => {
  if (!tell) return;
  for (const name of Object.keys(shortcuts)) {
    if (button(name)?.contains(event.target)) pressed(name);
  }
}, true);

export default function ({ data, setStateValue }) {
  if (data.desk !== desk) {
    ({ desk } = data);
    count = 0;
    last = [];
  }
  ({ most, shortcuts } = data);
  tell = setStateValue;
  return () => {
    if (tell === setStateValue) tell = null;
  };
}
"""

_counter = st.components.v2.component("hnmine_presses", js=_SCRIPT)


@dataclass(slots=True)
class Presses:
    """What of a browser's count is done.

    Attributes:
        desk: names this session. A browser that outlives its server still tells what it counted for that one; it must not be done again.
        done: how many of the presses were carried out.
    """

    desk: str = field(default_factory=lambda: secrets.token_hex(8))
    done: int = 0

    def owed(self, told: object) -> list[Press] | None:
        """Return the presses that were not yet carried out, oldest first, and take them for done; None when nothing counts.

        `told` comes from a browser, so it may be anything.
        """
        if not isinstance(told, dict) or told.get("desk") != self.desk:
            return None
        count, last = told.get("count"), told.get("last")
        if not isinstance(count, int) or not isinstance(last, list):
            return None
        new = max(count - self.done, 0)
        self.done += new
        return [each for each in last[-new:] if each in [*SHORTCUTS]] if new else []


def counter(on_press: Callable[[], None]) -> None:
    """Draw what counts, which cannot be seen; `on_press` is called when there is more to do. Belongs beside the buttons."""
    data = {"desk": _presses().desk, "most": LAST, "shortcuts": SHORTCUTS}
    _counter(key=KEY, data=data, width="content", on_pressed_change=on_press)


def owed() -> list[Press] | None:
    """Return the presses that this session has not yet carried out, oldest first, and take them for done; None when nothing counts."""
    return _presses().owed((st.session_state.get(KEY) or {}).get("pressed"))


def _presses() -> Presses:
    kept: Presses = st.session_state.setdefault(STATE, Presses())
    return kept
