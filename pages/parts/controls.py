"""The settings of a run, as widgets: which model, and how negatives are chosen."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine import devices, models
from hnmine.corpus import PoolMode
from hnmine.criteria import SelectionSettings
from hnmine.errors import HnmineError
from hnmine.findings import counted
from hnmine.models import ModelSettings

Slots = dict[str, DeltaGenerator]

PACKAGED = f"{models.PACKAGED_NAME} (packaged, no download)"
KNOWN = (
    "BAAI/bge-small-en-v1.5",
    "BAAI/bge-base-en-v1.5",
    "BAAI/bge-large-en-v1.5",
    "BAAI/bge-m3",
    "BAAI/bge-small-zh-v1.5",
    "BAAI/bge-base-zh-v1.5",
    "BAAI/bge-large-zh-v1.5",
)


def model(key: str, initial: ModelSettings) -> ModelSettings | None:
    """Draw the choice of the model and what is known of it; None when the choice cannot be used."""
    name = st.selectbox(
        "Model",
        [PACKAGED, *KNOWN],
        index=0 if initial.name_or_path is None else None,
        accept_new_options=True,
        placeholder=initial.name_or_path or "choose, or type a hub name or a folder",
        key=f"model-{key}",
        persist_state="session",
        help="Any FlagEmbedding model: pick one, or type a hub name or the path of a folder on the server. "
        "Mine with the model you are about to train: its own mistakes are the hardest negatives.",
    )
    path = initial.name_or_path if name is None else None if name == PACKAGED else name.strip()
    settings = ModelSettings(name_or_path=path)
    try:
        card = models.describe(settings)
    except HnmineError as error:
        st.error("This model cannot be used", icon=":material/error:")
        st.text(str(error))
        return None
    told = st.empty()  # filled below, with what the settings make of it
    with st.expander("Model settings", icon=":material/tune:"):
        st.caption("Read from the model's folder where it says so. Fields that show grey keep that value.")
        instruction = st.text_input(
            "Query instruction",
            value=initial.query_instruction
            if initial.name_or_path == path and initial.query_instruction is not None
            else card.query_instruction or "",
            placeholder="none",
            key=f"instruction-{key}-{path}",
            persist_state="session",
            help="Put before each query, not before passages; empty for none. BGE models were trained with one; MiniLM was not.",
        )
        left, middle, right, last = st.columns(4)
        pooling = left.selectbox(
            "Pooling",
            ["cls", "mean", "last_token"],
            index=None if initial.pooling_method is None else ["cls", "mean", "last_token"].index(initial.pooling_method),
            placeholder=f"{card.pooling_method} ({card.origins['pooling_method']})",
            key=f"pooling-{key}-{path}",
            persist_state="session",
            help="How token vectors become one vector. The wrong one gives poor vectors without any error.",
        )
        length = middle.number_input(
            "Tokens read of a passage",
            min_value=8,
            max_value=32_768,
            value=initial.passage_max_length,
            placeholder=f"{card.passage_max_length}",
            key=f"length-{key}-{path}",
            persist_state="session",
            help="Longer texts are cut. More tokens cost more time.",
        )
        kind = right.selectbox(
            "Class of model",
            list(models.MODEL_CLASSES),
            index=None if initial.model_class is None else list(models.MODEL_CLASSES).index(initial.model_class),
            placeholder=card.model_class,
            key=f"class-{key}-{path}",
            persist_state="session",
            help="Needed only for a folder of your own that is not an ordinary encoder.",
        )
        precision = last.selectbox(
            "Precision",
            list(models.PRECISIONS),
            index=list(models.PRECISIONS).index(initial.precision),
            key=f"precision-{key}-{path}",
            persist_state="session",
            help="auto: half precision where the device is faster in it, else fp32. Half precision takes about half the time; "
            "scores differ in the third digit or later.",
        )
    chosen = ModelSettings(
        name_or_path=path,
        precision=precision,
        query_instruction=None if instruction == (card.query_instruction or "") else instruction,
        pooling_method=pooling,
        passage_max_length=None if length is None else int(length),
        model_class=kind,
    )
    card = models.describe(chosen)
    try:
        devices.precision_on(devices.default_device(), precision)
    except HnmineError as error:
        told.error(str(error), icon=":material/error:")
        return None
    text = f"pooling {card.pooling_method} · {card.passage_max_length} tokens · {devices.in_words(precision)}"
    if card.folder is None:
        text += " · not on this machine yet: it is fetched from the hub when you mine"
    told.caption(text)
    return chosen


def pool_mode(key: str, initial: PoolMode) -> PoolMode:
    """Draw how the pool is used."""
    chosen: PoolMode | None = st.segmented_control(
        "Candidates",
        ["extend", "replace"],
        default=initial,
        required=True,
        format_func={"extend": "all passages of the data set + pool", "replace": "the pool alone"}.get,
        key=f"pool-{key}",
        persist_state="session",
        help="hn_mine.py ranks the pool alone when there is one.",
    )
    return chosen or initial


def _guard(
    label: str, key: str, value: float | None, default: float, low: float, high: float, text: str
) -> tuple[float | None, DeltaGenerator]:
    """Draw one guard: a switch and its limit; returns the limit, and where to say how many candidates it removes."""
    with st.container(border=True):
        on = st.toggle(label, value=value is not None, key=f"{key}-on", persist_state="session", help=text)
        limit = st.slider(
            f"{label}: limit",
            low,
            high,
            value if value is not None else default,
            0.01,
            disabled=not on,
            key=key,
            persist_state="session",
            label_visibility="collapsed",
        )
        slot = st.empty()
        slot.caption("off" if not on else "counts appear after mining")
    return (float(limit) if on else None), slot


def _nearest(count: int) -> str:
    return "nearest one, which is often a positive that" if count == 1 else f"{count:,} nearest, which are often positives that"


def selection(key: str, initial: SelectionSettings, deepest: int) -> tuple[SelectionSettings, Slots]:
    """Draw window, number, strategy, seed and guards; `deepest` is where the window's slider ends.

    Returns the settings, and for each guard in use the place where `show_removed` says what it removed.
    """
    end = min(initial.window_end, deepest)
    start, stop = st.slider(
        "Rank window",
        0,
        deepest,
        (min(initial.window_start, end - 1), end),
        key=f"window-{key}",
        persist_state="session",
        help="Which ranks of each query's nearest passages may become negatives, counted from 0. "
        "The nearest few are often positives that nobody labelled, so they are skipped.",
    )
    notice = st.empty()  # always there, so that the widgets below keep their places
    if start >= stop:
        start, stop = (start - 1, stop) if start else (0, 1)
        notice.warning(f"The two ends are the same: rank {start} alone is used until you move one.", icon=":material/warning:")
    else:
        notice.caption(
            f"ranks {start:,} to {stop - 1:,}" + (f"; skips the {_nearest(start)} nobody labelled" if start else "; skips nothing")
        )
    number, strategy, seed = st.columns(3)
    negatives = number.number_input(
        "Negatives per query",
        1,
        1_000,
        initial.negative_number,
        key=f"number-{key}",
        persist_state="session",
        help="What the trainer gets.",
    )
    way = strategy.segmented_control(
        "Choose",
        ["random", "hardest"],
        default=initial.strategy,
        required=True,
        format_func={"random": "at random", "hardest": "hardest first"}.get,
        key=f"strategy-{key}",
        persist_state="session",
        help="At random, by the seed, as hn_mine.py samples; or those with the highest similarity.",
    )
    seed_value = seed.number_input(
        "Seed",
        0,
        2**31 - 1,
        initial.seed,
        key=f"seed-{key}",
        persist_state="session",
        help="The same seed gives the same negatives, whatever the order of the rows.",
    )

    in_use = (initial.max_positive_share, initial.margin, initial.max_score, initial.min_score)
    unfolded = st.session_state.setdefault(f"guards-unfolded-{key}", any(each is not None for each in in_use))
    with (
        st.expander(
            "Guards against false negatives",
            icon=":material/shield:",
            expanded=unfolded,
        ),
        st.grid(2, min_column_width=220),
    ):
        share, share_slot = _guard(
            "PercPos: share of the positive",
            f"share-{key}",
            initial.max_positive_share,
            0.95,
            0.05,
            1.5,
            "Rejects candidates that score above this share of the positive's score (NV-Retriever: 0.95). "
            "What comes that close to the right answer often is one.",
        )
        margin, margin_slot = _guard(
            "Margin below the positive",
            f"margin-{key}",
            initial.margin,
            0.05,
            0.0,
            0.5,
            "Rejects candidates that score less than this below the positive.",
        )
        high, high_slot = _guard(
            "Maximum score",
            f"max-{key}",
            initial.max_score,
            0.8,
            -1.0,
            1.0,
            "Rejects candidates whose similarity to the query is above this.",
        )
        low, low_slot = _guard(
            "Minimum score",
            f"min-{key}",
            initial.min_score,
            0.1,
            -1.0,
            1.0,
            "Rejects candidates whose similarity to the query is below this: too easy to teach anything.",
        )
    if low is not None and high is not None and low > high:
        low_slot.warning("ignored: the minimum score is above the maximum", icon=":material/warning:")
        low = None
    settings = SelectionSettings(
        window_start=int(start),
        window_end=int(stop),
        negative_number=int(negatives),
        strategy=way or "random",  # type: ignore[arg-type]  # one of the two options
        seed=int(seed_value),
        max_score=high,
        min_score=low,
        max_positive_share=share,
        margin=margin,
    )
    guards = {
        "past_max_score": (high, high_slot),
        "past_min_score": (low, low_slot),
        "past_positive_share": (share, share_slot),
        "past_margin": (margin, margin_slot),
    }
    return settings, {step: slot for step, (limit, slot) in guards.items() if limit is not None}


def show_removed(slots: Slots, funnel: dict[str, int]) -> None:
    """Say under each guard in use, and in one line below the folded guards, how many candidates they removed."""
    steps = list(funnel)
    removed = {step: funnel[steps[steps.index(step) - 1]] - funnel[step] for step in slots}
    for step, slot in slots.items():
        slot.caption(f"removes {counted(removed[step], 'candidate')}")
    if removed:
        names = {
            "past_max_score": "maximum score",
            "past_min_score": "minimum score",
            "past_positive_share": "PercPos",
            "past_margin": "margin",
        }
        st.caption("Guards: " + ", ".join(f"{names[step]} removes {count:,}" for step, count in removed.items()))
