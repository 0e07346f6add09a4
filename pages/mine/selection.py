"""The left pane of Mine: preset, rank range, limit, number, filters and the rarely changed settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import streamlit as st

from hnmine.runs.summary import Summary
from hnmine.selection.presets import PRESETS, RECOMMENDED
from hnmine.selection.select import Selection
from hnmine.selection.settings import Reason, SelectionSettings
from pages.mine.filters import filters
from pages.mine.held import Held
from pages.mine.limit import limit
from pages.mine.range_slider import slider
from pages.shared.wording import POSITIVE_SCORES, STRATEGIES

# Height of the presets, whose figures take a second at first.
PRESETS_HEIGHT = 162
# The part of the negatives whose deepest rank is said below the rank range.
MOST = 0.99


def settings(held: Held, selection: Selection | None, summary: Summary | None) -> Callable[[Mapping[str, str]], None]:
    """Draw all settings; `selection` and `summary` are the present result, None before mining.

    Returns:
        The function that draws the presets in their place, given the figures of each: they are computed after the result is drawn.
    """
    chosen = held.settings
    place = st.skeleton(height=PRESETS_HEIGHT)
    _window(held, chosen, selection)
    if chosen.strategy == "hardest":
        limit(held, chosen, summary)
    state, number = st.session_state, f"number-{held.key}"
    state[number] = chosen.negative_number
    st.number_input(
        "Negatives per query",
        1,
        max(1_000, chosen.negative_number),
        key=number,
        on_change=lambda: held.edit(negative_number=int(state[number])),
        help="Negatives written for each query.",
    )
    filters(held, chosen, None if selection is None else selection.funnel)
    _advanced(held, chosen)

    def presets(figures: Mapping[str, str]) -> None:
        with place.container():
            _presets(held, figures)

    return presets


def _presets(held: Held, figures: Mapping[str, str]) -> None:
    """Draw the presets; other settings select none of them. Nothing below moves when a setting is changed."""
    state, key = st.session_state, f"preset-{held.key}"
    usable = [name for name in PRESETS if set(held.preset(name, SelectionSettings()).signals) <= set(held.available)]
    state[key] = held.last_preset
    st.radio(
        "Preset" if state[key] else "Preset (custom settings)",
        usable,
        # A label must stay: the browser sends it, and a press on one that has changed since would be of no option.
        format_func=_label,
        captions=[figures.get(name) or _first_sentence(PRESETS[name].reason) for name in usable],
        key=key,
        on_change=lambda: _choose(held, state[key]),
        help=f"{_first_sentence(PRESETS[state[key] or RECOMMENDED].reason)} The number of negatives and the seed stay as they are.",
    )
    if lacking := [_label(name) for name in PRESETS if name not in usable]:
        st.text(f"{', '.join(lacking)}: this run has no signals. Mine again to compute them.")


def _label(name: str) -> str:
    label = PRESETS[name].label
    return f"{label[0].upper()}{label[1:]}"


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."


def _choose(held: Held, name: str | None) -> None:
    if name is not None:
        held.put(held.preset(name, held.settings))


def _window(held: Held, chosen: SelectionSettings, selection: Selection | None) -> None:
    """Draw the rank range."""
    start, end = chosen.window_start, chosen.window_end
    note = f"Ranks {start:,}-{end - 1:,}" + (f", skips the top {start:,}." if start else ".")
    if chosen.strategy == "hardest" and selection is not None and (last := _deepest(selection)) is not None and last < end - 1:
        note += f" {MOST:.0%} of the negatives are above rank {last + 1:,}, so the end matters little."
    elif start:
        note += " These often contain unlabeled positives."
    slider(
        "Rank range",
        f"window-{held.key}",
        (start, end),
        0,
        max(held.deepest, end),
        lambda moved: held.edit(window_start=int(moved[0]), window_end=int(moved[1])),
        gap=1,
        names=("Start of the rank range", "End of the rank range"),
        help_text="Ranks of each query's nearest passages from which negatives are taken, counted from 0. The end is not included.",
        note=note,
        lines=2,
    )


def _deepest(selection: Selection) -> int | None:
    """Return the rank up to which MOST of the negatives are, None without any."""
    ranks = np.flatnonzero(selection.reasons == np.int8(Reason.CHOSEN)) % selection.reasons.shape[1]
    counts = np.cumsum(np.bincount(ranks))
    return int(np.searchsorted(counts, MOST * counts[-1])) if len(ranks) else None


def _advanced(held: Held, chosen: SelectionSettings) -> None:
    """Draw the settings that few change."""
    state = st.session_state
    strategy, seed, score = (f"{name}-{held.key}" for name in ("strategy", "seed", "positive_score"))
    state[strategy], state[score] = chosen.strategy, chosen.positive_score
    with st.expander("Advanced", icon=":material/tune:", key=f"advanced-{held.key}"):
        st.radio(
            "Sampling",
            list(STRATEGIES),
            horizontal=True,
            format_func=lambda name: STRATEGIES[name].capitalize(),
            key=strategy,
            on_change=lambda: _sample(held, state[strategy]),
            help="Random by the seed, as hn_mine.py samples, or the candidates with the highest similarity.",
        )
        if chosen.strategy == "random":
            state[seed] = chosen.seed
            st.number_input(
                "Seed",
                min(0, chosen.seed),
                max(2**31 - 1, chosen.seed),
                key=seed,
                on_change=lambda: held.edit(seed=int(state[seed])),
                help="The same seed gives the same negatives, in any order of the rows.",
            )
        st.selectbox(
            "Several positives: compare with",
            list(POSITIVE_SCORES),
            format_func=lambda name: POSITIVE_SCORES[name].capitalize(),
            key=score,
            on_change=lambda: held.edit(positive_score=state[score]),
            help="The score that represents the positives of a query that has several. Positives outside the rank range are often "
            "mislabeled, so by default they do not count.",
        )


def _sample(held: Held, strategy: str) -> None:
    """Change the strategy; only "hardest" has a limit, which comes back with it."""
    limits: dict[str, object] = {"max_fn_rate": None, "hardness": None}
    usable = set(held.preset("balanced", SelectionSettings()).signals) <= set(held.available)
    if strategy == "hardest" and usable:
        limits["max_fn_rate"] = held.before("max_fn_rate", 0.01)
    held.edit(strategy=strategy, **limits)
