"""The reranker, as widgets: which one scores the candidates of a run, and whose scores an export writes."""

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
from hnmine.resources import OpenRun
from hnmine.retrieval.rerank import SIGNAL
from hnmine.runs.mine import SCORE_SOURCES, MineSettings, ScoreSource
from hnmine.selection.settings import SelectionSettings
from pages.shared import job_progress

__all__ = ["Choice", "choice", "complete", "fitting", "source", "tell"]

NONE = "none"
KNOWN = ("BAAI/bge-reranker-base", "BAAI/bge-reranker-large", "BAAI/bge-reranker-v2-m3", "BAAI/bge-reranker-v2-gemma")


class Choice(NamedTuple):
    """The reranker that was chosen, None for none; and whether it can be used."""

    settings: RerankerSettings | None
    usable: bool = True

    def alike(self, before: RerankerSettings | None) -> bool:
        """Whether a run's reranker was this one, however deep it scored."""
        return self.settings == (None if before is None else msgspec.structs.replace(before, depth=None))


def choice(key: str, initial: RerankerSettings | None, model: ModelSettings | None) -> Choice:
    """Draw the choice of the reranker, which computes on the same device and in the same precision as the model."""
    before = None if initial is None else initial.name_or_path
    names = (NONE, *KNOWN)
    name = st.selectbox(
        "Reranker",
        names,
        index=names.index(before or NONE) if (before or NONE) in names else None,
        accept_new_options=True,
        placeholder=before or NONE,
        key=f"reranker-{key}",
        persist_state="session",
        help="A cross-encoder reads a query and a passage together, which tells a false negative better than two vectors do. Its scores "
        "feed a guard, and can be exported for distillation. It takes far longer than ranking: choose one, or type a hub name or the path "
        "of a folder on the server.",
    )
    wanted = before if name is None else None if name == NONE else name.strip()
    if wanted is None:
        return Choice(None)
    first = model or ModelSettings()
    same = msgspec.structs.replace(initial, depth=None) if initial is not None and wanted == before else None
    try:
        settings = msgspec.structs.replace(same or RerankerSettings(name_or_path=wanted), precision=first.precision)
        card = reranker.describe(settings)
    except HnmineError as error:
        st.error("This reranker cannot be used", icon=":material/error:")
        st.text(str(error))
        return Choice(None, usable=False)
    text = f"{card.max_length:,} tokens a pair"
    st.caption(text if card.folder is not None else f"{text} · not on this machine yet: it is fetched from the hub when you mine")
    return Choice(settings)


def tell(chosen: RerankerSettings | None, corpus: Corpus | None, depth: int) -> None:
    """Say how many pairs a reranker will be asked for, at most."""
    if chosen is None or corpus is None:
        return
    pairs = len(corpus.queries) * min(depth, corpus.n_candidates) + len(corpus.positive_ids)
    st.caption(
        f"The reranker scores up to {counted(pairs, 'pair')}: the first {depth:,} candidates of each query, and the positives. Without a "
        "GPU a small one reads some ten to a hundred pairs a second, a large one a few: it may take hours. What was scored is kept, "
        "and never scored again."
    )


def fitting(selection: SelectionSettings, chosen: Choice) -> SelectionSettings:
    """Return a selection that a run with this reranker can have: without one, nothing guards by it."""
    return selection if chosen.settings is not None else msgspec.structs.replace(selection, reranker_margin=None)


def source(run: OpenRun, with_scores: bool) -> ScoreSource:
    """Draw whose scores are written, where there is a choice."""
    if not with_scores or SIGNAL not in run.ranking.signals or run.run.settings.reranker is None:
        return "model"
    chosen: ScoreSource | None = st.segmented_control(
        "Scores of",
        SCORE_SOURCES,
        default=run.run.settings.score_source,
        required=True,
        format_func={"model": "the mining model", "reranker": "the reranker"}.get,
        key="export-source",
        persist_state="session",
        help="Similarities of the mining model, or the raw logits of the reranker, which is what distillation wants of a teacher.",
    )
    return chosen or "model"


@st.cache_resource(show_spinner=False, max_entries=4)
def _unscored(key: str, settings: str, _run: OpenRun) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    selection = resources.selection(_run, msgspec.json.decode(settings, type=SelectionSettings))
    return unscored(_run.ranking, _run.inputs.corpus, selection)


def complete(run: OpenRun, settings: MineSettings) -> None:
    """Have the reranker score what an export of its scores still lacks; the page ends here as long as something does."""
    if settings.score_source != SIGNAL:
        return
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
    pairs = _unscored(run.key, msgspec.json.encode(settings.selection).decode(), run)
    try:
        lacking = resources.scorer(run).missing(*pairs) if len(pairs[0]) else 0
    except HnmineError as error:
        st.error("The reranker cannot be used", icon=":material/error:")
        st.text(str(error))
        st.stop()
    if not lacking:
        return
    if job is not None and job.state == "failed":
        st.error("Scoring failed", icon=":material/error:")
        st.text(job.error or "")
    st.info(
        f"{counted(lacking, 'pair')} of this export {'has' if lacking == 1 else 'have'} no score of the reranker yet: negatives that were "
        "filled in or rank behind what it scored, or promoted positives.",
        icon=":material/pending:",
    )

    def work(on_progress: OnProgress, should_stop: ShouldStop) -> str:
        resources.scorer(run, on_progress).score(*pairs, on_progress=on_progress, should_stop=should_stop)
        return run.run.id

    if st.button(f"Score {counted(lacking, 'pair')}", type="primary", icon=":material/play_arrow:", key="score"):
        runner.submit(subject, work)
        st.rerun()
    st.stop()
