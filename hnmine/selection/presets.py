"""Ways to choose that have a name: each is some fields of SelectionSettings, with one line of reason. Number and seed stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hnmine.core.errors import SettingsError
from hnmine.selection.settings import SelectionSettings

__all__ = ["PRESETS", "RECOMMENDED", "Preset", "preset_of", "with_preset"]

# Candidates behind a window's start without which it starts at 0: in a small corpus, skipping the ten nearest would leave too few.
ROOM = 2 * SelectionSettings().negative_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named way to choose: its label, why one would, and the fields that it sets; the others are as in SelectionSettings()."""

    label: str
    reason: str
    fields: dict[str, Any]


RECOMMENDED = "balanced"
PRESETS: dict[str, Preset] = {
    "balanced": Preset(
        label="balanced (recommended)",
        reason="The hardest of which an estimated 1 % is false: at equal hardness a fifth of the false ones that PercPos leaves.",
        fields={"window_start": 0, "window_end": 300, "strategy": "hardest", "max_fn_rate": 0.01},
    ),
    "percpos": Preset(
        label="TopK-PercPos 0.95 (NV-Retriever)",
        reason="The hardest below 95 % of the positive's score: simple and widely used, but much that is close to the positive is right.",
        fields={"window_start": 0, "window_end": 210, "strategy": "hardest", "max_positive_ratio": 0.95},
    ),
    "hn_mine": Preset(
        label="as hn_mine.py",
        reason="At random from ranks 10 to 209: few false ones, because most are easy.",
        fields={"window_start": 10, "window_end": 210, "strategy": "random"},
    ),
}


def with_preset(name: str, settings: SelectionSettings, *, deepest: int | None = None) -> SelectionSettings:
    """Return settings as a preset has them, with the number of negatives and the seed of `settings`.

    Args:
        name: one of PRESETS.
        settings: whose number and seed stay.
        deepest: how many candidates a query has at most, where that is known: the window ends there, and it starts at 0 where fewer than
            ROOM would be left behind its start.

    Raises:
        SettingsError: there is no such preset.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset is {name!r}; it must be one of {', '.join(PRESETS)}")
    fields = dict(PRESETS[name].fields)
    if deepest is not None:
        fields["window_end"] = max(1, min(fields["window_end"], deepest))
        if deepest < fields["window_start"] + ROOM:
            fields["window_start"] = 0
    return SelectionSettings(negative_number=settings.negative_number, seed=settings.seed, **fields)


def preset_of(settings: SelectionSettings, *, deepest: int | None = None) -> str | None:
    """Return which preset settings are, number and seed aside, or None; `deepest` as for `with_preset`."""
    return next((name for name in PRESETS if with_preset(name, settings, deepest=deepest) == settings), None)
