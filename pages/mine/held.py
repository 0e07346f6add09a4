"""The settings that the left pane of Mine edits: the draft of a run, or before the first mining those of a data set in this session.

They are the only truth: each widget shows its part of them, and changes it by a callback.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
import streamlit as st

from hnmine.selection.filters import FILTERS
from hnmine.selection.presets import RECOMMENDED, preset_of, with_preset
from hnmine.selection.settings import HARDNESS, MAX_FN_RATE, SelectionSettings
from pages.shared import state

__all__ = ["Held"]

# Switched off and on again, these have the value of before.
REMEMBERED = (*FILTERS, MAX_FN_RATE.name, HARDNESS.name)


@dataclass(frozen=True, slots=True)
class Held:
    """The settings of a run or data set.

    Attributes:
        key: id of the run or data set. mined: whether it is a run's.
        deepest: number of candidates for each query. available: signals that the run has or will have.
    """

    key: str
    mined: bool
    deepest: int
    available: Collection[str]

    @property
    def settings(self) -> SelectionSettings:
        """The settings as they are now."""
        if self.mined:
            return self._edited or state.selection_settings(self.key)
        found, deepest = st.session_state.get(self._name) or (self.preset(RECOMMENDED, SelectionSettings()), self.deepest)
        if deepest == self.deepest:
            return found
        if (preset := preset_of(found, deepest=deepest)) is not None:  # the candidates changed, such as to the pool only
            return self.preset(preset, found)
        end = min(found.window_end, self.deepest)
        return msgspec.structs.replace(found, window_start=min(found.window_start, end - 1), window_end=end)

    @property
    def _name(self) -> str:
        return f"settings-{self.key}"

    @property
    def last_preset(self) -> str | None:
        """The preset of the settings, or None."""
        return preset_of(self.settings, deepest=self.deepest)

    def preset(self, name: str, settings: SelectionSettings) -> SelectionSettings:
        """Return a preset with the number and seed of some settings."""
        return with_preset(name, settings, deepest=self.deepest)

    def put(self, settings: SelectionSettings) -> None:
        """Replace the settings; those of a run become its draft when the script runs, because a callback cannot rerun the app."""
        self._remembered.update({name: value for name in REMEMBERED if (value := getattr(self.settings, name)) is not None})
        st.session_state[self._name] = settings if self.mined else (settings, self.deepest)

    def begin(self, settings: SelectionSettings) -> None:
        """Begin with some settings in place of the recommended preset, unless others are chosen."""
        st.session_state.setdefault(self._name, (settings, -1))  # as if for other candidates, so that the window ends with them

    def commit(self) -> None:
        """Make what callbacks have changed the draft of the run."""
        if (edited := self._edited) is not None:
            del st.session_state[self._name]
            state.set_draft(self.key, edited)

    @property
    def _edited(self) -> SelectionSettings | None:
        found: SelectionSettings | None = st.session_state.get(self._name)
        return found

    def edit(self, **changes: Any) -> None:
        """Change some fields."""
        self.put(msgspec.structs.replace(self.settings, **changes))

    def before(self, name: str, default: Any) -> Any:
        """Return the last value of a setting that is off, or the default."""
        return self._remembered.get(name, default)

    @property
    def _remembered(self) -> dict[str, Any]:
        found: dict[str, Any] = st.session_state.setdefault(f"settings-before-{self.key}", {})
        return found
