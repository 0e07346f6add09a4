"""What is ranked: model, candidates, retrievers and reranker as one line, and their widgets behind "Change"."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import visible
from hnmine.data.corpus import PoolMode
from hnmine.data.dataset import Inputs
from hnmine.models import cards, loading
from hnmine.models.cards import ModelSettings
from hnmine.models.served.client import served_name
from hnmine.retrieval.approximate import IndexName
from hnmine.retrieval.retrievers import MODEL_ALONE, retriever_names
from hnmine.runs.mine import MineSettings
from hnmine.runs.workspace import Dataset
from pages.mine import cluster as clusters
from pages.mine import model as controls
from pages.mine.retrievers import Retrievers, retrievers
from pages.shared import reranker as reranking
from pages.shared import served, state
from pages.shared.wording import POOL_MODES


class Ranking(NamedTuple):
    """The choices; a model or retrievers that are None cannot be used, nor can data that is None be read for `error`."""

    model: ModelSettings | None
    prompt_field: str | None
    retrievers: Retrievers | None
    index: IndexName
    pool_mode: PoolMode
    reranker: reranking.Choice
    cluster: clusters.Choice
    read: Inputs | None
    error: HnmineError | None

    @property
    def usable(self) -> bool:
        """Whether a run can begin."""
        return (
            self.model is not None
            and self.retrievers is not None
            and self.reranker.usable
            and self.cluster.usable
            and self.read is not None
        )

    def changed(self, previous: MineSettings) -> list[str]:
        """Return what differs from the choices of a run, in words."""
        sources = Retrievers(previous.second_model, previous.retrievers)
        pairs = {
            "model": self.model == (previous.model or ModelSettings()),
            "query instruction": self.prompt_field == previous.query_prompt_field,
            "retrievers": self.retrievers == sources,
            "search": self.index == previous.index,
            "candidates": self.pool_mode == previous.pool_mode,
            "reranker": self.reranker.matches(previous.reranker),
        }
        return [name for name, same in pairs.items() if not same]


def ranking(dataset: Dataset, previous: MineSettings) -> Ranking:
    """Draw the choices; `previous` are the first values."""
    keys = {"Model": f"model-{dataset.id}", "Second model": f"second-{dataset.id}", "Reranker": f"reranker-{dataset.id}"}
    served.nothing_missing(*keys.values())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="small"):
        line = st.container(width="stretch")
        with st.popover("Change", icon=":material/model_training:", help="Model, candidates, retrievers, search, reranker, cluster."):
            model = controls.model(dataset.id, previous.model or ModelSettings())
            pool_mode = controls.pool_mode(dataset.id, previous.pool_mode) if dataset.pool_name is not None else "extend"
            read, error = None, None
            try:
                read = resources.inputs(state.data(dataset.id), pool_mode)
            except HnmineError as found:
                error = found
            prompt_field = controls.prompt_field(dataset.id, previous.query_prompt_field, read.rows if read else ())
            ranked_by = retrievers(dataset.id, previous, model)
            index = controls.search_index(dataset.id, previous.index)
            reranker = reranking.choice(dataset.id, previous.reranker, model)
            cluster = clusters.choice(dataset.id, model)
    with line:
        unusable = [name for name, fine in zip(keys, (model, ranked_by, reranker.usable), strict=True) if not fine]
        missing = {name: text for name in unusable if (text := served.missing(keys[name]))}
        if len(missing) < len(unusable) or not cluster.usable:
            st.error("A choice cannot be used. See Change.", icon=":material/error:")
        elif missing:
            st.info("\n\n".join(f"{name}: {text[0].lower()}{text[1:]}." for name, text in missing.items()), icon=":material/edit:")
        else:
            assert model is not None and ranked_by is not None  # both are usable
            _line(model, ranked_by, index, pool_mode if dataset.pool_name else None, reranker, cluster)
    return Ranking(model, prompt_field, ranked_by, index, pool_mode, reranker, cluster, read, error)


def _line(
    model: ModelSettings,
    ranked_by: Retrievers,
    index: IndexName,
    pool_mode: PoolMode | None,
    reranker: reranking.Choice,
    cluster: clusters.Choice,
) -> None:
    """Draw the choices in words."""
    card = cards.describe(model)
    if model.server is not None:
        parts = [served_name(cards.readable_name(card.name), model.server.address)]
    else:
        parts = [f"{cards.readable_name(card.name)} · {loading.in_words(model.precision).partition(' (')[0]}"]
        parts += ["not downloaded yet"] if card.folder is None else []
    if pool_mode == "replace":
        parts.append(POOL_MODES[pool_mode])
    if ranked_by.names != MODEL_ALONE:
        parts.append(f"ranked {retriever_names(ranked_by.names)}")
    if (second := ranked_by.second_model) is not None and second.server is not None:
        parts.append(f"second model {served_name(str(second.name_or_path), second.server.address)}")
    if index != "exact":
        parts.append(f"search {controls.SEARCHES[index]}")
    if reranker.settings is not None:
        server = reranker.settings.server
        parts.append(f"reranker {served_name(reranker.settings.name_or_path, None if server is None else server.address)}")
    if cluster.settings is not None:
        parts.append(f"cluster {cluster.settings.address}")
    st.text(visible(" · ".join(parts)))
