"""Screen 2, Mine: settings on the left, their result on the right, which changes while a setting moves."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from hnmine import resources
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import counted
from hnmine.models import loading
from hnmine.retrieval.rerank import SIGNAL
from hnmine.retrieval.retrievers import MODEL_ALONE
from hnmine.retrieval.signals import BASIC
from hnmine.runs.jobs import Job
from hnmine.runs.mine import MineSettings
from hnmine.selection.presets import PRESETS
from hnmine.selection.settings import SelectionSettings
from pages.mine import before, result, selection
from pages.mine.held import Held
from pages.mine.ranking import Ranking, ranking
from pages.shared import job_progress, mining, state, statistics
from pages.shared import reranker as reranking
from pages.shared.widgets import failed

SETTINGS_WIDTH = 360


@st.fragment
def live(run: resources.OpenRun, left: DeltaGenerator) -> None:
    """Draw settings and result. A fragment: moving a slider reruns only this part of the page."""
    held = Held(run.run.id, mined=True, deepest=run.ranking.depth, available=run.ranking.signals)
    try:
        held.commit()
        found = resources.selection(run, held.settings)
    except HnmineError as error:
        failed("Cannot select by these settings. Open another variant.", error)
        return
    result.draw(run, found)  # first: it is what a person waits for
    with left:
        presets = selection.settings(held, found, statistics.summary(run, found))
    usable = [name for name in PRESETS if set(held.preset(name, SelectionSettings()).signals) <= set(held.available)]
    figures = {name: result.figures(run, held.preset(name, held.settings)) for name in usable}
    presets(figures)


def progress(job: Job) -> None:
    """Draw a job while it runs, and rerun the page when it ends."""

    @st.fragment(run_every="1s")
    def ticking() -> None:
        now = resources.jobs().get(job.id)
        if not now.active:
            st.rerun()
        job_progress.show(now)

    ticking()


def ended(job: Job, mined: bool) -> None:
    """Draw how the last job ended, if it has no result."""
    if job.state == "failed" and st.session_state.get("dismissed") != job.id:
        failed("The last run failed." + (" The result shown is from an earlier run." if mined else ""), job.error or "")
        if st.button("Dismiss", key="dismiss"):
            st.session_state.dismissed = job.id
            st.rerun()
    elif job.state == "cancelled":
        st.info("The run was cancelled. Progress is saved, and the next run resumes.", icon=":material/stop_circle:")


def action(dataset_id: str, wanted: MineSettings, ranked: Ranking, previous: MineSettings | None) -> None:
    """Draw the button that mines, or the job that runs."""
    job = resources.jobs().latest(dataset_id)
    if job is not None and job.active:
        progress(job)
        return
    changed = [] if previous is None else ranked.changed(previous)
    if previous is not None:
        pairs = ("columns", "repair", "skip_bad_rows")
        changed += ["data"] if any(getattr(wanted, name) != getattr(previous, name) for name in pairs) else []
    if changed:
        st.warning(f"Changed: {', '.join(changed)}. Mine again to update the result.", icon=":material/sync_problem:")
    again = previous is not None and not changed
    count = len(ranked.read.corpus.queries) if ranked.read else 0
    pressed = st.button(
        "Mine again" if again or not count else f"Mine {counted(count, 'query', 'queries')}",
        type="secondary" if again else "primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=not ranked.usable,
        key="mine",
    )
    if pressed:
        try:
            mining.start(dataset_id, wanted, mining.DEPTH, ranked.cluster.settings)
        except HnmineError as error:
            failed("Cannot mine", error)
        else:
            st.rerun()
    reranking.tell(wanted.reranker, ranked.read.corpus if ranked.read else None, wanted.selection.window_end)
    if ranked.read is None:
        st.warning("Some rows have problems. Resolve them on the Data screen to mine again.", icon=":material/rule:")
    if job is not None:
        ended(job, previous is not None)


dataset = state.dataset()
if dataset is None:
    state.nothing_yet("No data is open", "Open training data first, such as the bundled example.", "pages/views/data.py", "Go to Data")
assert dataset is not None  # the page ended otherwise

run, previous = None, None
if st.session_state.run is not None:
    try:
        with suppress(HnmineError):  # of a run that cannot be opened, the settings to mine it again
            previous = resources.workspace().run(st.session_state.run).settings
        run = resources.open_run(st.session_state.run)
    except HnmineError as error:
        again = "Mine again." if previous is None else "Mine again with its settings, which are chosen here."
        st.warning(f"Cannot open the last run. {again}", icon=":material/warning:")
        st.text(str(error))

with st.container(horizontal=True, gap="medium"):
    left, right = st.container(width=SETTINGS_WIDTH), st.container(width="stretch")
with left:
    ranked = ranking(dataset, previous or MineSettings())
    top = st.container()  # filled below, once the settings are known
    chosen_at = st.container()
if ranked.read is None and run is None:
    undecided = isinstance(ranked.error, InputError) and bool(ranked.error.problems)
    with right:
        state.nothing_yet(
            "The data has problems to resolve" if undecided else "Cannot mine this data",
            "Some rows cannot be used. Choose how to handle them first." if undecided else "The Data screen shows the reason.",
            "pages/views/data.py",
            "Go to Data",
        )
if run is None:
    assert ranked.read is not None  # the page ended otherwise
    offered = BASIC if ranked.reranker.settings is None else (*BASIC, SIGNAL)
    held = Held(dataset.id, mined=False, deepest=min(mining.DEPTH, ranked.read.corpus.n_candidates), available=offered)
    if previous is not None and set(previous.selection.signals) <= set(offered):
        held.begin(previous.selection)
    with chosen_at:
        selection.settings(held, None, None)({})
    with right:
        before.draw(state.data(dataset.id), ranked.read, ranked.model, mining.DEPTH)
    chosen = held.settings
else:
    with right:
        live(run, chosen_at)
    chosen = state.selection_settings(run.run.id)
repair, skip = state.decisions(dataset.id)
wanted = MineSettings(
    selection=reranking.fitting(chosen, ranked.reranker),
    model=ranked.model,
    query_prompt_field=ranked.prompt_field,
    second_model=ranked.retrievers.second_model if ranked.retrievers else None,
    retrievers=ranked.retrievers.names if ranked.retrievers else MODEL_ALONE,
    reranker=ranked.reranker.settings and msgspec.structs.replace(ranked.reranker.settings, depth=chosen.window_end),
    index=ranked.index,
    pool_mode=ranked.pool_mode,
    use_gpu=loading.gpu_here(),
    columns=state.columns(dataset.id),
    repair=repair,
    skip_bad_rows=skip,
)
with top:
    action(dataset.id, wanted, ranked, run.run.settings if run else None)
