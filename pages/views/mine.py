"""Screen 2, Mine: choose model and settings, mine in the background, then adjust the selection."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.analysis import charts
from hnmine.core.errors import HnmineError, InputError
from hnmine.core.text import counted
from hnmine.models import cards, loading
from hnmine.retrieval.rerank import SIGNAL
from hnmine.retrieval.retrievers import MODEL_ALONE, retriever_names
from hnmine.retrieval.signals import BASIC
from hnmine.runs.mine import MineSettings
from hnmine.runs.summary import summarise
from hnmine.selection.presets import RECOMMENDED, with_preset
from hnmine.selection.settings import SelectionSettings
from pages.mine import filters, limit, selection
from pages.mine import model as controls
from pages.mine.retrievers import Retrievers, retrievers
from pages.shared import audit as auditing
from pages.shared import job_progress, mining, state, statistics, wording
from pages.shared import reranker as reranking
from pages.shared.drawing import draw
from pages.shared.widgets import failed, metrics

# Candidates ranked for each query, so that the window can be extended: ranking 500 instead of 210 takes 2 ms more per query.
DEPTH = 500

RANDOM_FILL = "Negatives drawn at random from outside the window, because it had too few candidates. They are usually easier."
RANGE = (
    "Estimated false-negative rate. The rate of 90% of data sets is in this range: data sets differ in how many right answers have "
    "no label."
)
AUDITED = "False-negative rate from the audit of this selection. Negatives that replaced removed ones are not audited."
ALWAYS = ("in_window", "not_positive", "chosen")


@st.fragment
def live(run: resources.OpenRun) -> None:
    """Choose negatives and show the result. A fragment: moving a slider reruns only this part of the page."""
    with st.container(border=True):
        key = state.settings_key(run.run.id)
        chosen, slots, place = selection.selection(
            key, state.selection_settings(run.run.id), run.ranking.depth, run.ranking.signals, mined=True
        )
        state.set_draft(run.run.id, chosen)
        current = resources.selection(run, chosen)
        filters.show_removed(slots, current.funnel)
        summary = summarise(run.inputs, run.ranking, current, fn_model=None if resources.estimator(run) is None else run.fn_model)
        if place is not None:
            limit.show(key, chosen, summary, place)
    rate = summary.estimated_fn_rate
    audited = auditing.rate(run, current)
    with st.grid(4 if rate is None and audited is None else 5, min_column_width=170):
        mean = summary.scores["negatives"]
        hardness = f"Mean similarity of the negatives to their queries (hardness). Of the positives: {summary.scores['positives']:.3f}."
        metrics(
            ("Negatives", f"{summary.negatives:,}", "Over all rows."),
            ("Random fill", f"{summary.random_filled:,}", RANDOM_FILL),
            ("Rows with too few negatives", f"{summary.short_rows:,}", "The corpus does not have enough candidates for these rows."),
            ("Mean similarity", "–" if mean is None else f"{mean:.3f}", hardness),
        )
        if audited is not None:
            metrics(("False negatives", wording.percent(audited.rate, 1), AUDITED))
        elif rate is not None:
            metrics(("False negatives", str(rate), f"{RANGE} Mean estimate: {rate.estimate:.1%}."))
    if audited is not None:
        st.caption(f"The false-negative rate is audited: 95% confidence interval {wording.interval(audited.low, audited.high)}.")
    elif rate is not None:
        st.caption(_estimated(run.fn_model.verdicts))
    draw(charts.similarity_histogram(statistics.histograms(run, current), chosen), "mine-histogram")
    funnel = [("ranked", current.funnel["ranked"])] + [
        (step, current.funnel[step])
        for earlier, step in pairwise(wording.FUNNEL)
        if step in ALWAYS or current.funnel[step] != current.funnel[earlier]
    ]
    steps = [f"{wording.FUNNEL[step]} {count:,}" for step, count in funnel]
    if summary.random_filled:
        steps.append(f"random fill {current.funnel['random_filled']:,}")
    st.caption(
        f"Candidates over all queries: {' → '.join(steps)}. {counted(summary.negatives, 'negative')} in {counted(summary.rows, 'row')}."
    )
    if fused := retriever_names(run.run.settings.retrievers):
        st.caption(f"Candidates ranked {fused}.")
    if applied := wording.verdicts_applied(run.verdict_pairs.counts):
        st.caption(applied)
    if above := summary.scores["above_positive"]:
        st.caption(f"{wording.percent(above, 1)} of the negatives score above their positive. Review those first.")
    if vectors := (run.run.manifest.get("summary") or {}).get("vectors"):
        st.caption(f"Vectors: {vectors.get('encoded', 0):,} encoded by this run, {vectors.get('stored', 0):,} from the store.")
    if pairs := (run.run.manifest.get("summary") or {}).get("pairs"):
        st.caption(f"Reranker: {pairs.get('scored', 0):,} pairs scored by this run, {pairs.get('stored', 0):,} from the store.")
    for note in dict.fromkeys([*summary.notes, *((run.run.manifest.get("summary") or {}).get("notes") or ())]):
        st.text(note)  # plain text: it may contain names of columns


def _estimated(verdicts: int) -> str:
    if verdicts:
        return (
            f"The false-negative rate is unaudited: a model estimate, updated with {counted(verdicts, 'verdict')}. More verdicts narrow it."
        )
    return "The false-negative rate is unaudited: a model estimate from other data. Verdicts narrow it, and an audit measures it."


st.title("Mine", anchor=False)
dataset = state.dataset()
if dataset is None:
    state.nothing_yet("No data is open", "Open training data first, such as the bundled example.", "pages/views/data.py", "Go to Data")
assert dataset is not None  # the page ended otherwise

runner = resources.jobs()
job = runner.latest(dataset.id)
run_id = st.session_state.run
run = None
if run_id is not None:
    try:
        run = resources.open_run(run_id)
    except HnmineError as error:
        st.warning("Cannot open the last run. Mine again.", icon=":material/warning:")
        st.text(str(error))
repair, skip = state.decisions(dataset.id)
columns = state.columns(dataset.id)
previous = run.run.settings if run else MineSettings()

# Model and candidates, collapsed when there is a result

with st.expander("Model and candidates", icon=":material/model_training:") if run else st.container(border=True):
    model = controls.model(dataset.id, previous.model or cards.ModelSettings())
    instructions = st.container()
    pool_mode = controls.pool_mode(dataset.id, previous.pool_mode) if dataset.pool_name is not None else "extend"
    ranked_by = retrievers(dataset.id, previous, model)
    reranker = reranking.choice(dataset.id, previous.reranker, model)
    pairs_to_score = st.container()
    again = st.container()
try:
    read = resources.inputs(state.data(dataset.id), pool_mode)
except HnmineError as error:
    if run is None:
        undecided = isinstance(error, InputError) and bool(error.problems)
        state.nothing_yet(
            "The data has problems to resolve" if undecided else "Cannot mine this data",
            "Some rows cannot be used. Choose how to handle them first." if undecided else "The Data screen shows the reason.",
            "pages/views/data.py",
            "Go to Data",
        )
    read = None  # the result is still shown; mining again needs the decision

if run is None:
    assert read is not None  # the page ended otherwise
    deepest = min(DEPTH, read.corpus.n_candidates)
    first = with_preset(RECOMMENDED, SelectionSettings(), deepest=deepest)
    with st.container(border=True):
        offered = BASIC if reranker.settings is None else (*BASIC, SIGNAL)
        chosen, *_ = selection.selection(dataset.id, first, deepest, offered, mined=False)
status = st.container()  # filled below, once the settings are known
if run is not None:
    live(run)
    chosen = state.selection_settings(run.run.id)
with instructions:
    prompt_field = controls.prompt_field(dataset.id, previous.query_prompt_field, read.rows if read else ())
with pairs_to_score:
    reranking.tell(reranker.settings, read.corpus if read else None, chosen.window_end)
wanted = MineSettings(
    selection=reranking.fitting(chosen, reranker),
    model=model,
    query_prompt_field=prompt_field,
    second_model=ranked_by.second_model if ranked_by else None,
    retrievers=ranked_by.names if ranked_by else MODEL_ALONE,
    reranker=reranker.settings and msgspec.structs.replace(reranker.settings, depth=chosen.window_end),
    pool_mode=pool_mode,
    use_gpu=loading.gpu_here(),
    columns=columns,
    repair=repair,
    skip_bad_rows=skip,
)


@st.fragment(run_every="1s" if job is not None and job.active else None)
def progress(job_id: int) -> None:
    """Show a job while it runs, and rerun the page when it ends."""
    now = runner.get(job_id)
    if not now.active:
        if now.state == "done" and now.result is not None:
            state.open_run(now.result)
        st.rerun()
    job_progress.show(now)


with status:
    sources = Retrievers(previous.second_model, previous.retrievers)
    before = (
        previous.model,
        previous.query_prompt_field,
        sources,
        previous.pool_mode,
        previous.columns,
        previous.repair,
        previous.skip_bad_rows,
    )
    same = (
        run is not None
        and (model, prompt_field, ranked_by, pool_mode, columns, repair, skip) == before
        and reranker.matches(previous.reranker)
    )
    if job is not None and job.active:
        progress(job.id)
    else:
        if run is not None and not same:
            st.warning("The result below was mined with another model, other candidates or other rows.", icon=":material/sync_problem:")
        with again if same else st.container():
            count = len(read.corpus.queries) if read else 0
            label = "Mine again" if same or not read else f"Mine {counted(count, 'query', 'queries')}"
            if st.button(
                label,
                type="secondary" if same else "primary",
                icon=":material/play_arrow:",
                disabled=model is None or ranked_by is None or not reranker.usable or read is None,
                key="mine",
            ):
                mining.start(dataset.id, wanted, DEPTH)
                st.rerun()
        if read is None:
            st.warning("Some rows have problems. Resolve them on the Data screen to mine again.", icon=":material/rule:")
        if job is not None and job.state == "failed" and st.session_state.get("dismissed") != job.id:
            failed("The last run failed." + (" The result below is from an earlier run." if run else ""), job.error or "")
            if st.button("Dismiss", key="dismiss"):
                st.session_state.dismissed = job.id
                st.rerun()
        elif job is not None and job.state == "cancelled":
            st.info(
                "The run was cancelled. Encoded texts are stored, and the next run continues from there.", icon=":material/stop_circle:"
            )
if run is None:
    st.stop()
with st.container(horizontal=True):
    if st.button("Inspect the negatives", icon=":material/search:", type="primary", key="to-inspect"):
        st.switch_page("pages/views/inspect.py")
    if st.button("Export", icon=":material/download:", key="to-export"):
        st.switch_page("pages/views/export.py")
