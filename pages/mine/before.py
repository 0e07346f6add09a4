"""The right pane of Mine before the first run: what the data is, and what mining does."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, visible
from hnmine.data.dataset import Inputs
from hnmine.models import cards
from hnmine.models.cards import ModelSettings
from hnmine.models.served.client import served_name
from pages.shared import dataset_figures, wording
from pages.shared.widgets import metrics


def draw(data: resources.Data, read: Inputs, model: ModelSettings | None, depth: int) -> None:
    """Draw the counts of the data, texts that are too long for the model, and the steps."""
    corpus = read.corpus
    st.subheader("Ready to mine", anchor=False)
    with st.grid(3, min_column_width=120, gap="small"):
        metrics(
            ("Rows", f"{len(read.rows):,}", "Rows of the training file."),
            ("Unique queries", f"{len(corpus.queries):,}", "Rows with the same query share positives and negatives."),
            ("Candidate passages", f"{corpus.n_candidates:,}", "Unique passages available as negatives."),
        )
    try:
        card = cards.describe(model or ModelSettings())
    except HnmineError:  # said beside the choice of the model
        return
    _lengths(data, card)
    if model is not None and model.server is not None:
        st.text(visible(f"Model: {served_name(cards.readable_name(card.name), model.server.address)}"))
    deep = min(depth, corpus.n_candidates)
    passages, queries = counted(len(corpus.passages), "passage"), counted(len(corpus.queries), "query", "queries")
    st.markdown(
        f"1. Encode {passages} and {queries}. Encoded texts are stored and reused.\n"
        f"2. Rank the {deep:,} nearest passages of each query, and compare them with the positives.\n"
        "3. Select negatives by the settings on the left. You can change these at any time: only encoding takes long."
    )


def _lengths(data: resources.Data, card: cards.ModelCard) -> None:
    lengths = None if card.folder is None else dataset_figures.text_lengths(data, card.folder)
    if lengths is None:
        return
    limits = (("queries", card.query_max_length), ("passages", card.passage_max_length))
    name = cards.readable_name(card.name)
    long = {what: (float((counts > limit).mean()), limit) for (what, limit), counts in zip(limits, lengths, strict=True) if len(counts)}
    for what, (share, limit) in long.items():
        if share:
            st.warning(
                f"{wording.percent(share, 0 if share > 0.1 else 1)} of the {what} exceed the {limit:,}-token limit of {name} "
                "and are truncated. Use a model with a longer context, such as bge-m3 (8,192 tokens), or split them.",
                icon=":material/content_cut:",
            )
    if long and not any(share for share, _ in long.values()):
        st.text(f"All texts are within the {card.passage_max_length:,}-token limit of {name}.")
