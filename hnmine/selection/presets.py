"""Presets: named sets of SelectionSettings. The number of negatives and the seed do not belong to a preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hnmine.core.errors import SettingsError
from hnmine.selection.settings import SelectionSettings

__all__ = ["PRESETS", "RECOMMENDED", "Preset", "preset_of", "with_preset"]

# A window with fewer candidates after its start begins at rank 0: a small corpus has too few to skip any.
ROOM = 2 * SelectionSettings().negative_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A preset: label, reason to use it, and the fields it sets; other fields have their defaults."""

    label: str
    reason: str
    fields: dict[str, Any]


RECOMMENDED = "balanced"
PRESETS: dict[str, Preset] = {
    "balanced": Preset(
        label="balanced (recommended)",
        reason="Hardest negatives with an estimated false-negative rate of 1%. On eight judged sets, each left out of the fit, the true "
        "rate was 0 to 2.8%. At the hardness of PercPos, 0.28 of its false negatives are left, 0.46 on the worst set.",
        fields={"window_start": 0, "window_end": 300, "strategy": "hardest", "max_fn_rate": 0.01},
    ),
    "percpos": Preset(
        label="TopK-PercPos 0.95 (NV-Retriever)",
        reason="Hardest negatives below 95% of the positive's score. Simple and widely used, but leaves more false negatives.",
        fields={"window_start": 0, "window_end": 210, "strategy": "hardest", "max_positive_ratio": 0.95},
    ),
    "hn_mine": Preset(
        label="as hn_mine.py",
        reason="Random negatives from ranks 10 to 209. Most are easy, and few are false unless queries have many right answers.",
        fields={"window_start": 10, "window_end": 210, "strategy": "random"},
    ),
}


def with_preset(name: str, settings: SelectionSettings, *, deepest: int | None = None) -> SelectionSettings:
    """Return the settings of a preset, with the number of negatives and the seed of `settings`.

    Args:
        name: one of PRESETS.
        settings: their number and seed are kept.
        deepest: maximum number of candidates per query, if known: the window ends there, and starts at 0 if fewer than ROOM candidates
            follow its start.

    Raises:
        SettingsError: the preset is unknown.
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
    """Return the name of the preset of some settings, ignoring number and seed, or None; `deepest` as in `with_preset`."""
    return next((name for name in PRESETS if with_preset(name, settings, deepest=deepest) == settings), None)
