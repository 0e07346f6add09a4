"""What the negatives of all queries together are to have, with the strategy "hardest": an estimated false-negative rate or a hardness.

These settings reject no single candidate, so they are not filters: `select` trades similarity against the estimate for them.
"""

from __future__ import annotations

from typing import Any

from hnmine.core.errors import SettingsError
from hnmine.selection.filters import NO_MEASUREMENT, Setting, Slider, fraction
from hnmine.selection.fn_model import FN_SIGNALS

__all__ = ["HARDNESS", "MAX_FN_RATE", "TARGETS"]


class MaxFNRate(Setting):
    """The budget of the balanced preset."""

    name = "max_fn_rate"
    label = "Max. estimated false-negative rate"
    action = "with strategy hardest: take the hardest negatives whose estimated false-negative rate, over all queries, is at most this"
    note = NO_MEASUREMENT
    slider = Slider(0.1, 20.0, default=1.0, step=0.1, format="%.1f%%", scale=100.0)
    signals = FN_SIGNALS
    metavar = "P"

    def check(self, value: float) -> str:
        return fraction(value)


class Hardness(Setting):
    """The other direction of `MaxFNRate`: a number, or one of `presets`, whose hardness on the same ranking is meant."""

    name = "hardness"
    label = "Hardness"
    action = (
        "with strategy hardest: take the negatives with the lowest estimated false-negative rate whose mean similarity, over all queries, "
        "is at least this, a number such as 0.45, or that of a preset, percpos or hn_mine"
    )
    slider = Slider(0.0, 1.0, default=0.45)
    signals = FN_SIGNALS
    metavar = "percpos|hn_mine|X"
    presets = ("percpos", "hn_mine")

    def checked(self, value: Any) -> Any:
        """Return a valid value: one of `presets`, or a float, which may be given as text."""
        if isinstance(value, str) and value in self.presets:
            return value
        try:
            return super().checked(float(value) if isinstance(value, str) else value)
        except (SettingsError, ValueError):
            names = " or ".join(repr(name) for name in self.presets)
            raise SettingsError(
                f"{self.name} is {value!r}; it must be {names}, a mean similarity such as 0.45, or None to switch it off"
            ) from None


MAX_FN_RATE = MaxFNRate()
HARDNESS = Hardness()
# At most one is in use.
TARGETS = (MAX_FN_RATE, HARDNESS)
