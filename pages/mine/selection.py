"""The settings of a selection as widgets: preset, rank window, number, strategy, seed and the filters.

The preset is derived from the values of the other widgets, and choosing a preset sets them.
"""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.core.text import counted
from hnmine.selection.presets import PRESETS, preset_of, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.mine import filters, limit
from pages.shared.wording import STRATEGIES

OWN = "own"


def selection(
    key: str, initial: SelectionSettings, deepest: int, available: Collection[str], *, mined: bool
) -> tuple[SelectionSettings, filters.Slots, DeltaGenerator | None]:
    """Draw the settings that decide which candidates become negatives.

    Args:
        key: of the data set or run that the widgets belong to.
        initial: their first values, and number and seed under a preset.
        deepest: the end of the slider of the window.
        available: signals that the run has or will have.
        mined: whether the key is that of a run.

    Returns:
        The settings, the places of the captions for `filters.show_removed`, and the one for `limit.show`.
    """
    state = st.session_state
    _hold(key, initial, deepest, overwrite=False)
    before = state.setdefault(f"deepest-{key}", (deepest, OWN))
    if before[0] != deepest:  # the candidates changed, such as to the pool only: keep the preset
        start, end = state[f"window-{key}"]
        state[f"window-{key}"] = (min(start, deepest), min(end, deepest))
        if before[1] != OWN:
            _hold(key, with_preset(before[1], SelectionSettings(), deepest=deepest), deepest, overwrite=True)
    top = st.container()  # filled below, once the settings are known
    start, stop = _window(key, deepest)
    number, strategy, seed = st.columns(3)
    negatives = number.number_input(
        "Negatives per query", 1, max(1_000, initial.negative_number), key=f"number-{key}", persist_state="session",
        help="Negatives written for each query.",
    )  # fmt: skip
    way = strategy.segmented_control(
        "Choose",
        list(STRATEGIES),
        required=True,
        format_func=STRATEGIES.get,
        key=f"strategy-{key}",
        persist_state="session",
        wrap=True,
        help="At random by the seed, as hn_mine.py samples, or the candidates with the highest similarity.",
    )
    seed_value = seed.number_input(
        "Seed",
        min(0, initial.seed),
        max(2**31 - 1, initial.seed),
        key=f"seed-{key}",
        persist_state="session",
        help="The same seed gives the same negatives, in any order of the rows.",
    )
    limited, place = limit.limit(key, available, mined=mined) if way == "hardest" else ({}, None)
    fields, slots = filters.filters(key, available, mined=mined)
    settings = SelectionSettings(
        window_start=start,
        window_end=stop,
        negative_number=int(negatives),
        strategy=way or "random",
        seed=int(seed_value),
        **limited,
        **fields,
    )
    held = preset_of(settings, deepest=deepest) or OWN
    state[f"deepest-{key}"] = (deepest, held)
    with top:
        _presets(key, held, deepest, available)
    return settings, slots, place


def _hold(key: str, settings: SelectionSettings, deepest: int, *, overwrite: bool) -> None:
    """Make the widgets show these settings: those of a preset with `overwrite`, else only those without a value."""
    state = st.session_state
    put = state.__setitem__ if overwrite else state.setdefault
    end = min(settings.window_end, deepest)
    put(f"window-{key}", (min(settings.window_start, end - 1), end))
    put(f"strategy-{key}", settings.strategy)
    limit.hold(key, settings, overwrite=overwrite)
    filters.hold(key, settings, overwrite=overwrite)
    if not overwrite:  # a preset does not set these
        put(f"number-{key}", settings.negative_number)
        put(f"seed-{key}", settings.seed)


def _presets(key: str, held: str, deepest: int, available: Collection[str]) -> None:
    """Draw the presets, and the description of the current one."""
    state = st.session_state
    usable = [name for name in PRESETS if set(with_preset(name, SelectionSettings()).signals) <= set(available)]
    names = [*usable, *([OWN] if held == OWN else [])]
    state[f"preset-{key}"] = held
    st.segmented_control(
        "How to choose",
        names,
        required=True,
        format_func=lambda name: "custom" if name == OWN else PRESETS[name].label,
        key=f"preset-{key}",
        on_change=_choose,
        args=(key, deepest),
        wrap=True,
        help="Sets window, strategy and filters. The number of negatives and the seed stay the same.",
    )
    caption = "Custom settings." if held == OWN else PRESETS[held].reason
    if lacking := [PRESETS[name].label for name in PRESETS if name not in usable]:
        caption += f" This run has no signals for {', '.join(lacking)}. Mine again to compute them."
    st.caption(caption)


def _choose(key: str, deepest: int) -> None:
    if (name := st.session_state[f"preset-{key}"]) in PRESETS:
        _hold(key, with_preset(name, SelectionSettings(), deepest=deepest), deepest, overwrite=True)


def _window(key: str, deepest: int) -> tuple[int, int]:
    """Draw the rank window; return its start and end."""
    start, stop = st.slider(
        "Rank window",
        0,
        deepest,
        key=f"window-{key}",
        persist_state="session",
        help="Ranks of each query's nearest passages from which negatives are taken, counted from 0. "
        "The first few are often unlabelled positives: skip them, or remove them with a filter.",
    )
    notice: DeltaGenerator = st.empty()  # always drawn, so that the widgets below do not move
    if start >= stop:
        start, stop = (start - 1, stop) if start else (0, 1)
        notice.warning(f"Start and end are equal. Only rank {start} is used until you move one of them.", icon=":material/warning:")
    else:
        skipped = f"Skips the first {counted(start, 'rank')}, often unlabelled positives." if start else "Skips nothing."
        notice.caption(f"Ranks {start:,} to {stop - 1:,}. {skipped}")
    return int(start), int(stop)
