"""How negatives are chosen, as widgets: a preset in one click, window, number, strategy, seed and, from `guarding`, the guards.

The preset on top is found from what the widgets below it say, and choosing one sets them; so what is shown as a preset is one.
"""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.selection.presets import PRESETS, preset_of, with_preset
from hnmine.selection.settings import FN_SIGNALS, SelectionSettings
from pages.mine import filters
from pages.shared.dials import FALSE_RATE

OWN = "own"
STRATEGIES = {"random": "at random", "hardest": "hardest first"}


def selection(
    key: str, initial: SelectionSettings, deepest: int, available: Collection[str], *, mined: bool
) -> tuple[SelectionSettings, filters.Slots]:
    """Draw all that decides which candidates become negatives.

    Args:
        key: of the data set or run that the widgets belong to.
        initial: what they show at first; number and seed of a preset, too.
        deepest: where the window's slider ends.
        available: signals that the run has, or that one will have.
        mined: whether it is a run's.

    Returns:
        The settings, and the places for what each guard in use removed (`guarding.show_removed`).
    """
    state = st.session_state
    _hold(key, initial, deepest, anew=False)
    before = state.setdefault(f"deepest-{key}", (deepest, OWN))
    if before[0] != deepest:  # other candidates, such as the pool alone: a preset stays one
        start, end = state[f"window-{key}"]
        state[f"window-{key}"] = (min(start, deepest), min(end, deepest))
        if before[1] != OWN:
            _hold(key, with_preset(before[1], SelectionSettings(), deepest=deepest), deepest, anew=True)
    top = st.container()  # filled below, once the settings are known
    start, stop = _window(key, deepest)
    number, strategy, seed = st.columns(3)
    negatives = number.number_input(
        "Negatives per query", 1, max(1_000, initial.negative_number), key=f"number-{key}", persist_state="session",
        help="What the trainer gets.",
    )  # fmt: skip
    way = strategy.segmented_control(
        "Choose",
        list(STRATEGIES),
        required=True,
        format_func=STRATEGIES.get,
        key=f"strategy-{key}",
        persist_state="session",
        help="At random, by the seed, as hn_mine.py samples; or those with the highest similarity.",
    )
    seed_value = seed.number_input(
        "Seed",
        min(0, initial.seed),
        max(2**31 - 1, initial.seed),
        key=f"seed-{key}",
        persist_state="session",
        help="The same seed gives the same negatives, whatever the order of the rows.",
    )
    rate = _false_rate(key, available) if way == "hardest" else None
    fields, slots = filters.guards(key, available, mined=mined)
    settings = SelectionSettings(
        window_start=start,
        window_end=stop,
        negative_number=int(negatives),
        strategy=way or "random",
        seed=int(seed_value),
        max_fn_rate=rate,
        **fields,
    )
    held = preset_of(settings, deepest=deepest) or OWN
    state[f"deepest-{key}"] = (deepest, held)
    with top:
        _presets(key, held, deepest, available)
    return settings, slots


def _hold(key: str, settings: SelectionSettings, deepest: int, *, anew: bool) -> None:
    """Make the widgets show these settings: those of a preset `anew`, or all that show nothing yet."""
    state = st.session_state
    put = state.__setitem__ if anew else state.setdefault
    end = min(settings.window_end, deepest)
    put(f"window-{key}", (min(settings.window_start, end - 1), end))
    put(f"strategy-{key}", settings.strategy)
    filters.hold(key, settings, anew=anew)
    filters.hold_dial(key, "max_fn_rate", FALSE_RATE, settings.max_fn_rate, anew=anew)
    if not anew:  # a preset says nothing of these
        put(f"number-{key}", settings.negative_number)
        put(f"seed-{key}", settings.seed)


def _presets(key: str, held: str, deepest: int, available: Collection[str]) -> None:
    """Draw the presets, and the reason for the one that the settings are."""
    state = st.session_state
    usable = [name for name in PRESETS if set(with_preset(name, SelectionSettings()).signals) <= set(available)]
    names = [*usable, *([OWN] if held == OWN else [])]
    state[f"preset-{key}"] = held
    st.segmented_control(
        "How to choose",
        names,
        required=True,
        format_func=lambda name: "own settings" if name == OWN else PRESETS[name].label,
        key=f"preset-{key}",
        on_change=_choose,
        args=(key, deepest),
        wrap=True,
        help="Sets window, strategy and guards in one click; the number of negatives and the seed stay. Whatever you change afterwards "
        "makes it settings of your own.",
    )
    told = "None of these: what is set below." if held == OWN else PRESETS[held].reason
    if lacking := [PRESETS[name].label for name in PRESETS if name not in usable]:
        told += f" This run has no signals for {', '.join(lacking)}: mine again to have them."
    st.caption(told)


def _choose(key: str, deepest: int) -> None:
    if (name := st.session_state[f"preset-{key}"]) in PRESETS:
        _hold(key, with_preset(name, SelectionSettings(), deepest=deepest), deepest, anew=True)


def _window(key: str, deepest: int) -> tuple[int, int]:
    """Draw the rank window; return its start and end."""
    start, stop = st.slider(
        "Rank window",
        0,
        deepest,
        key=f"window-{key}",
        persist_state="session",
        help="Which ranks of each query's nearest passages may become negatives, counted from 0. "
        "The nearest few are often positives that nobody labelled: skip them, or leave it to an estimate or a guard to tell them.",
    )
    notice: DeltaGenerator = st.empty()  # always there, so that the widgets below keep their places
    if start >= stop:
        start, stop = (start - 1, stop) if start else (0, 1)
        notice.warning(f"The two ends are the same: rank {start} alone is used until you move one.", icon=":material/warning:")
    else:
        notice.caption(
            f"ranks {start:,} to {stop - 1:,}" + (f"; skips the {_nearest(start)} nobody labelled" if start else "; skips nothing")
        )
    return int(start), int(stop)


def _nearest(count: int) -> str:
    return "nearest one, which is often a positive that" if count == 1 else f"{count:,} nearest, which are often positives that"


def _false_rate(key: str, available: Collection[str]) -> float | None:
    """Draw the share of false ones that the hardest may have by the estimate; None for any."""
    missing = "" if set(FN_SIGNALS) <= set(available) else "this run has no signals: mine again to have them"
    with st.container(border=True):
        rate, told = filters.turned(key, "max_fn_rate", FALSE_RATE, missing)
    if not missing:
        told.caption(
            "off: the most similar are taken, however doubtful"
            if rate is None
            else "the model's estimate, not a measurement: an audit measures"
        )
    return rate
