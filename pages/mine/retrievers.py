"""Who ranks the candidates beside the model, as widgets: a second model, and BM25."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.models import cards
from hnmine.models.cards import ModelSettings
from hnmine.retrieval.fusion import FUSION_DEPTH
from hnmine.retrieval.retrievers import MODEL_ALONE, RETRIEVERS, Retriever, retriever_names, second_model_settings
from hnmine.runs.mine import MineSettings
from pages.mine import model

LABELS: dict[Retriever, str] = {"model": "the model", "bm25": "BM25 (words)", "second_model": "the second model"}


class Retrievers(NamedTuple):
    """The second model, None without one, and who ranks."""

    second_model: ModelSettings | None
    names: tuple[Retriever, ...]


def retrievers(key: str, initial: MineSettings, first: ModelSettings | None) -> Retrievers | None:
    """Draw the choice of the retrievers beside the model `first`; None when it cannot be used."""
    left, right = st.columns(2)
    with left:
        second = _second_model(key, initial.second_model, first or ModelSettings())
    with right:
        ranking = st.pills(
            "Ranked by",
            RETRIEVERS,
            selection_mode="multi",
            default=initial.retrievers,
            format_func=LABELS.__getitem__,
            key=f"retrievers-{key}",
            persist_state="session",
            wrap=True,
            help="Who finds the candidates. Of several, reciprocal-rank fusion makes one list: what one of them ranks high gets in, "
            f"what two do stands in front. Each ranks its nearest {FUSION_DEPTH:,}. Similarities, guards and 'hardest first' stay those of "
            "the model.",
        )
        names = tuple(name for name in RETRIEVERS if name in ranking) or MODEL_ALONE
        if told := retriever_names(names):
            st.caption(f"The rank window counts ranks {told}.")
    if "second_model" in names and second is None:
        right.warning("Choose a second model, or take it out of the list.", icon=":material/warning:")
        return None
    return None if second is UNUSABLE else Retrievers(second, names)


# What stands for a second model that was chosen and cannot be had.
UNUSABLE = ModelSettings(name_or_path="")
NONE = "none"


def _second_model(key: str, initial: ModelSettings | None, first: ModelSettings) -> ModelSettings | None:
    """Draw the choice of the second model; None for none, UNUSABLE for one that cannot be used."""
    before = None if initial is None else initial.name_or_path or cards.PACKAGED_NAME
    names = {NONE: None, model.PACKAGED: cards.PACKAGED_NAME, **{name: name for name in model.KNOWN}}
    shown = {name: label for label, name in names.items()}
    name = st.selectbox(
        "Second model",
        list(names),
        index=list(names).index(shown[before]) if before in shown else None,
        accept_new_options=True,
        placeholder=before or NONE,
        key=f"second-model-{key}",
        persist_state="session",
        help="Its similarity to the query is shown beside the model's for every candidate, and it may rank too. Where two models disagree "
        "is worth a look. Each text is encoded once more, by it.",
    )
    chosen = second_model_settings(first, before if name is None else names.get(name, name.strip()))
    if chosen is None:
        return None
    try:
        card = cards.describe(chosen)
    except HnmineError as error:
        st.error("This model cannot be used", icon=":material/error:")
        st.text(str(error))
        return UNUSABLE
    if chosen.name_or_path == first.name_or_path:
        st.warning("This is the model itself: it adds nothing.", icon=":material/warning:")
    text = f"pooling {card.pooling_method} · {card.passage_max_length} tokens"
    st.caption(text if card.folder is not None else f"{text} · not on this machine yet: it is fetched from the hub when you mine")
    return chosen
