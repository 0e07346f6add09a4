"""The retrievers of the candidates as widgets: the model, a second model, BM25."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine.core.errors import HnmineError
from hnmine.models import cards
from hnmine.models.cards import ModelSettings
from hnmine.models.served.server import EMBEDDER_APIS
from hnmine.retrieval.retrievers import FUSION_DEPTH, MODEL_ALONE, RETRIEVERS, Retriever, retriever_names, second_model_settings
from hnmine.runs.mine import MineSettings
from pages.mine import model
from pages.shared import served, servers
from pages.shared.widgets import failed

LABELS: dict[Retriever, str] = {"model": "embedding model", "bm25": "BM25", "second_model": "second model"}


class Retrievers(NamedTuple):
    """The second model, None without one, and the names of the retrievers."""

    second_model: ModelSettings | None
    names: tuple[Retriever, ...]


def retrievers(key: str, initial: MineSettings, first: ModelSettings | None) -> Retrievers | None:
    """Draw the choice of the retrievers in addition to the model `first`; return None if it cannot be used."""
    left, right = st.columns(2)
    below = st.container()
    with left:
        second = _second_model(key, initial.second_model, first or ModelSettings(), below)
    with right:
        ranking = st.multiselect(
            "Retrievers",
            RETRIEVERS,
            default=initial.retrievers,
            format_func=LABELS.__getitem__,
            key=f"retrievers-{key}",
            persist_state="session",
            help=f"Each retriever ranks its {FUSION_DEPTH:,} best candidates, and reciprocal-rank fusion combines the lists. Similarities, "
            "filters and the strategy 'hardest first' always use the model.",
        )
        names = tuple(name for name in RETRIEVERS if name in ranking) or MODEL_ALONE
        if fused := retriever_names(names):
            st.text(f"The rank range counts ranks {fused}.")
    if "second_model" in names and second is None:
        right.warning("Choose a second model, or remove it from the retrievers.", icon=":material/warning:")
        return None
    return None if second is UNUSABLE else Retrievers(second, names)


# A second model that was chosen and cannot be loaded.
UNUSABLE = ModelSettings(name_or_path="")
NONE = "none"


def _second_model(key: str, initial: ModelSettings | None, first: ModelSettings, below: DeltaGenerator) -> ModelSettings | None:
    """Draw the choice of the second model, and its server `below`; return None for none, UNUSABLE for one that cannot be used."""
    before = None if initial is None else initial.name_or_path or cards.PACKAGED_NAME
    before_server = None if initial is None else initial.server
    names = {NONE: None, model.PACKAGED: cards.PACKAGED_NAME, **{name: name for name in model.KNOWN}}
    shown = {name: label for label, name in names.items()}
    options = [NONE, model.PACKAGED, *([] if servers.refusal() else [served.SERVED]), *model.KNOWN]
    first_label = served.SERVED if before_server is not None else shown.get(before)
    name = st.selectbox(
        "Second model",
        options,
        index=options.index(first_label) if first_label in options else None,
        accept_new_options=True,
        placeholder=before or NONE,
        key=f"second-model-{key}",
        persist_state="session",
        help="Another embedding model: its similarities are shown with every candidate, and it can be a retriever. It encodes every text, "
        "which takes additional time.",
    )
    if name == served.SERVED:
        with below.container(border=True):
            found = served.box(f"second-{key}", "second model", initial, EMBEDDER_APIS, served.ask_encoder)
        chosen = None if found is None else second_model_settings(first, found[1], found[0])
        return UNUSABLE if chosen is None else chosen
    if name is None and before_server is not None:
        failed("The server of the last run cannot be chosen", servers.refusal())
        return UNUSABLE
    chosen = second_model_settings(first, before if name is None else names.get(name, name.strip()))
    if chosen is None:
        return None
    try:
        card = cards.describe(chosen)
    except HnmineError as error:
        failed("Cannot load this model", error)
        return UNUSABLE
    if chosen.name_or_path == first.name_or_path:
        st.warning("The second model is the same as the model and has no effect.", icon=":material/warning:")
    text = f"pooling {card.pooling_method} · {card.passage_max_length} tokens"
    st.text(text if card.folder is not None else f"{text} · downloaded from the hub when you mine")
    return chosen
