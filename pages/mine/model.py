"""The model of a run and its candidates as widgets."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.data.corpus import PoolMode
from hnmine.data.rows import Row
from hnmine.models import cards, hub, loading
from hnmine.models.cards import ModelSettings
from hnmine.models.served.server import EMBEDDER_APIS
from hnmine.retrieval.approximate import INDEXES, IndexName
from pages.shared import limits, served, servers
from pages.shared.widgets import choice, failed
from pages.shared.wording import POOL_MODES

PACKAGED = f"{cards.PACKAGED_NAME} (packaged, no download)"
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
    """Draw the choice of the model and its settings; return None if it cannot be used."""
    options = [PACKAGED, *([] if servers.refusal() else [served.SERVED]), *KNOWN]
    first = served.SERVED if initial.server is not None else PACKAGED if initial.name_or_path is None else None
    name = st.selectbox(
        "Model",
        options,
        index=options.index(first) if first in options else None,
        accept_new_options=True,
        placeholder=initial.name_or_path or "choose, or enter a hub name or a folder",
        key=f"model-{key}",
        persist_state="session",
        help="Any FlagEmbedding model: choose one, or enter a hub name or the path of a folder on the server. "
        "Mine with the model that you will train: its own errors are the hardest negatives. " + servers.refusal(),
    )
    if name == served.SERVED:
        with st.container(border=True):
            return _served(key, initial)
    if name is None and initial.server is not None:
        failed("The server of the last run cannot be chosen", servers.refusal())
        return None
    path = initial.name_or_path if name is None else None if name == PACKAGED else name.strip()
    settings = ModelSettings(name_or_path=path)
    try:
        card = cards.describe(settings)
    except HnmineError as error:
        failed("Cannot load this model", error)
        return None
    if card.folder is None and (reason := _unavailable(str(path))):
        failed("This model cannot be downloaded", reason)
        if st.button("Check again", icon=":material/refresh:", key=f"check-{key}"):
            _unavailable.clear()
            st.rerun()
        return None
    summary = st.empty()  # filled below, when the settings are known
    with st.expander("Model settings", icon=":material/tune:"):
        st.text("Grey values are the defaults of the model.")
        instruction = st.text_input(
            "Query instruction",
            value=initial.query_instruction
            if initial.name_or_path == path and initial.query_instruction is not None
            else card.query_instruction or "",
            placeholder="none",
            key=f"instruction-{key}-{path}",
            max_chars=max(limits.ASKED, len(initial.query_instruction or "")),
            persist_state="session",
            help="Prefix of each query, not of passages, or empty for none. BGE models were trained with one, MiniLM was not.",
        )
        left, middle, right, last = st.columns(4)
        pooling = left.selectbox(
            "Pooling",
            ["cls", "mean", "last_token"],
            index=None if initial.pooling_method is None else ["cls", "mean", "last_token"].index(initial.pooling_method),
            placeholder=f"{card.pooling_method} ({card.origins['pooling_method']})",
            key=f"pooling-{key}-{path}",
            persist_state="session",
            help="How token vectors are combined. A wrong choice gives poor vectors without an error.",
        )
        length = middle.number_input(
            "Maximum tokens of a passage",
            min_value=8,
            max_value=32_768,
            value=initial.passage_max_length,
            placeholder=f"{card.passage_max_length}",
            key=f"length-{key}-{path}",
            persist_state="session",
            help="Longer texts are truncated. More tokens take more time.",
        )
        kind = right.selectbox(
            "Model class",
            list(cards.MODEL_CLASSES),
            index=None if initial.model_class is None else list(cards.MODEL_CLASSES).index(initial.model_class),
            placeholder=card.model_class,
            key=f"class-{key}-{path}",
            persist_state="session",
            help="Only needed for your own folder, if it is not a standard encoder.",
        )
        precision = last.selectbox(
            "Precision",
            list(cards.PRECISIONS),
            index=list(cards.PRECISIONS).index(initial.precision),
            key=f"precision-{key}-{path}",
            persist_state="session",
            help="auto: half precision where it is faster on the device, else fp32. Half precision takes about half the time, and "
            "scores differ from the third digit on.",
        )
    chosen = ModelSettings(
        name_or_path=path,
        precision=precision,
        query_instruction=None if instruction == (card.query_instruction or "") else instruction,
        pooling_method=pooling,
        passage_max_length=None if length is None else int(length),
        model_class=kind,
    )
    card = cards.describe(chosen)
    try:
        loading.precision_on(loading.default_device(), precision)
    except HnmineError as error:
        summary.error(str(error), icon=":material/error:")
        return None
    text = f"pooling {card.pooling_method} · {card.passage_max_length} tokens · {loading.in_words(precision)}"
    if card.folder is None:
        text += " · downloaded from the Hugging Face Hub when you mine"
    summary.text(text)
    return chosen


def _served(key: str, initial: ModelSettings) -> ModelSettings | None:
    """Draw the server of the model, its name and its instruction; return None while one is missing."""
    found = served.box(f"model-{key}", "model", initial, EMBEDDER_APIS, served.ask_encoder)
    if found is None:
        return None
    server, name = found
    alone = ModelSettings(name_or_path=name, server=server)
    before = initial if initial.server is not None and initial.name_or_path == name else alone
    usual = cards.describe(alone).query_instruction or ""
    instruction = st.text_input(
        "Query instruction",
        value=usual if before.query_instruction is None else before.query_instruction,
        placeholder="none",
        key=f"instruction-{key}-{name}",
        max_chars=max(limits.ASKED, len(before.query_instruction or "")),
        persist_state="session",
        help="Prefix of each query, not of passages, or empty for none. Leave it empty if the server adds one.",
    )
    return msgspec.structs.replace(before, server=server, query_instruction=None if instruction == usual else instruction)


@st.cache_data(ttl=300, max_entries=32, show_spinner="Looking for the model on the Hugging Face Hub")
def _unavailable(name: str) -> str:
    """Return why a hub model cannot be downloaded, or an empty string; kept for some minutes."""
    try:
        hub.available(name)
    except HnmineError as error:
        return str(error)
    return ""


def prompt_field(key: str, initial: str | None, rows: Sequence[Row]) -> str | None:
    """Draw the choice of the field with each query's instruction, if the first rows have a usual one."""
    fields = [name for name in ("prompt", "instruction") if name == initial or any(name in row.fields for row in rows[:100])]
    if not fields:
        return None
    usual = "the query instruction of the model settings"
    chosen = st.selectbox(
        "Instruction of each query",
        ["", *fields],
        index=["", *fields].index(initial or ""),
        format_func=lambda name: f"the field `{name}`" if name else usual,
        key=f"prompt-field-{key}",
        persist_state="session",
        help="The rows have instructions of their own. Choose the field if the model was trained with them, or will be.",
    )
    return chosen or None


SEARCHES: dict[IndexName, str] = {
    "exact": "exact",
    "ivf": "approximate, lists (ivf)",
    "hnsw": "approximate, graph (hnsw)",
    "cagra": "approximate, graph on a GPU (cagra)",
}


def search_index(key: str, initial: IndexName) -> IndexName:
    """Draw the choice of exact or approximate search."""
    return st.selectbox(
        "Search",
        INDEXES,
        index=INDEXES.index(initial),
        format_func=SEARCHES.__getitem__,
        key=f"index-{key}",
        persist_state="session",
        help="Exact search compares each query with all passages. With millions of passages and thousands of queries, approximate search "
        "takes less time and misses some: its recall is measured and noted under Details.",
    )


def pool_mode(key: str, initial: PoolMode) -> PoolMode:
    """Draw the choice of how the pool is used."""
    return choice("Candidates", POOL_MODES, f"pool-{key}", initial, "hn_mine.py ranks the pool only, if there is one.")
