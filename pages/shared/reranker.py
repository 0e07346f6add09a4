"""Widgets of the reranker: the choice for a run, and the source of the scores of an export."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.progress import OnProgress, ShouldStop
from hnmine.core.text import counted
from hnmine.data.corpus import Corpus
from hnmine.export.scores import unscored
from hnmine.models import reranker
from hnmine.models.cards import ModelSettings
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.server import RERANKER_APIS
from hnmine.resources import OpenRun
from hnmine.retrieval.rerank import SIGNAL
from hnmine.runs.mine import MineSettings, ScoreSource
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.shared import job_progress, served, servers, widgets
from pages.shared.widgets import failed

__all__ = ["Choice", "choice", "complete", "fitting", "source", "tell"]

NONE = "none"
SOURCES: dict[ScoreSource, str] = {"model": "the mining model", "reranker": "the reranker"}
KNOWN = ("BAAI/bge-reranker-base", "BAAI/bge-reranker-large", "BAAI/bge-reranker-v2-m3", "BAAI/bge-reranker-v2-gemma")


class Choice(NamedTuple):
    """The chosen reranker, or None, and whether it can be used."""

    settings: RerankerSettings | None
    usable: bool = True

    def matches(self, before: RerankerSettings | None) -> bool:
        """Return whether a run's reranker was this one, at any depth."""
        return self.settings == (None if before is None else msgspec.structs.replace(before, depth=None))


def choice(key: str, initial: RerankerSettings | None, model: ModelSettings | None) -> Choice:
    """Draw the choice of the reranker, which uses the model's device and precision."""
    before = None if initial is None else initial.name_or_path
    was_served = initial is not None and initial.server is not None
    names = (NONE, *(() if servers.refusal() else (served.SERVED,)), *KNOWN)
    first_name = served.SERVED if was_served else before or NONE
    name = st.selectbox(
        "Reranker",
        names,
        index=names.index(first_name) if first_name in names else None,
        accept_new_options=True,
        placeholder=before or NONE,
        key=f"reranker-{key}",
        persist_state="session",
        help="A cross-encoder: slower than an embedding model, but better at false negatives. Choose one, or type a hub name or a folder "
        "of the server.",
    )
    if name == served.SERVED:
        with st.container(border=True):
            found = served.box(f"reranker-{key}", "reranker", initial, RERANKER_APIS, served.ask_reranker)
        if found is None:
            return Choice(None, usable=False)
        server, path = found
        same = initial if initial is not None and was_served and path == before else RerankerSettings(name_or_path=path)
        return Choice(msgspec.structs.replace(same, depth=None, server=server))
    if name is None and was_served:
        failed("The server of the last run cannot be chosen", servers.refusal())
        return Choice(None, usable=False)
    wanted = before if name is None else None if name == NONE else name.strip()
    if wanted is None:
        return Choice(None)
    first = model or ModelSettings()
    same = msgspec.structs.replace(initial, depth=None) if initial is not None and wanted == before else None
    try:
        settings = msgspec.structs.replace(same or RerankerSettings(name_or_path=wanted), precision=first.precision)
        card = reranker.describe(settings)
    except HnmineError as error:
        failed("Cannot use this reranker", error)
        return Choice(None, usable=False)
    text = f"{card.max_length:,} tokens per pair"
    st.write(text if card.folder is not None else f"{text} · not downloaded yet, fetched from Hugging Face when you mine")
    return Choice(settings)


def tell(chosen: RerankerSettings | None, corpus: Corpus | None, depth: int) -> None:
    """Draw the maximum number of pairs that a reranker has to score."""
    if chosen is None or corpus is None:
        return
    pairs = len(corpus.queries) * min(depth, corpus.n_candidates) + len(corpus.positive_ids)
    slow = "Without a GPU, a small one scores 10 to 100 pairs/s and a large one a few, so this can take hours. "
    st.write(
        f"The reranker scores up to {counted(pairs, 'pair')}: the first {depth:,} candidates of each query and the positives. "
        f"{slow if chosen.server is None else ''}Scores are stored and reused."
    )


def fitting(selection: SelectionSettings, chosen: Choice) -> SelectionSettings:
    """Return selection settings for a run with this reranker: without one, its filter is off."""
    return selection if chosen.settings is not None else msgspec.structs.replace(selection, reranker_margin=None)


def source(run: OpenRun, with_scores: bool) -> ScoreSource:
    """Draw the source of the exported scores, where there is a choice."""
    if not with_scores or SIGNAL not in run.ranking.signals or run.run.settings.reranker is None:
        return "model"
    about = "Similarities of the mining model, or raw logits of the reranker as teacher scores for distillation."
    return widgets.choice("Score source", SOURCES, "export-source", run.run.settings.score_source, about)


@resources.cached()
def _unscored(run: OpenRun, selection: Selection) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return unscored(run.ranking, run.inputs.corpus, selection)


def complete(run: OpenRun, settings: MineSettings) -> None:
    """Score the pairs of an export that have no reranker score yet; stop the script while any is missing."""
    if settings.score_source != SIGNAL:
        return
    if run.run.settings.reranker is not None:
        try:
            servers.require(run.run.settings.reranker.server)
        except HnmineError as error:
            failed("Cannot use the reranker", error)
            st.stop()
    runner, subject = resources.jobs(), f"scores of {run.run.id}"
    job = runner.latest(subject)

    @st.fragment(run_every="1s")
    def progress(job_id: int) -> None:
        now = runner.get(job_id)
        if not now.active:
            st.rerun()
        job_progress.show(now)

    if job is not None and job.active:
        progress(job.id)
        st.stop()
    pairs = _unscored(run, resources.selection(run, settings.selection))
    try:
        missing = resources.scorer(run).missing(*pairs) if len(pairs[0]) else 0
    except HnmineError as error:
        failed("Cannot use the reranker", error)
        st.stop()
    if not missing:
        return
    if job is not None and job.state == "failed":
        failed("Scoring failed", job.error or "")
    st.info(
        f"{counted(missing, 'pair')} of this export {'has' if missing == 1 else 'have'} no reranker score yet: random-filled negatives, "
        "negatives beyond its depth, or added positives.",
        icon=":material/pending:",
    )

    def work(on_progress: OnProgress, should_stop: ShouldStop) -> str:
        resources.scorer(run, on_progress).score(*pairs, on_progress=on_progress, should_stop=should_stop)
        return run.run.id

    if st.button(f"Score {counted(missing, 'pair')}", type="primary", icon=":material/play_arrow:", key="score"):
        runner.submit(subject, work, name="Scoring pairs")
        st.rerun()
    st.stop()
