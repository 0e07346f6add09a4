"""The right pane of Mine: what the settings select, compared with a saved variant."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import streamlit as st

from hnmine import resources
from hnmine.analysis import charts
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.resources import OpenRun, cached
from hnmine.retrieval.retrievers import retriever_names
from hnmine.runs.summary import Summary, summarise
from hnmine.runs.variants import Variant, all_variants, name_of
from hnmine.selection.presets import preset_of
from hnmine.selection.select import Selection
from hnmine.selection.settings import SelectionSettings
from pages.mine import samples
from pages.shared import audit, state, statistics, wording
from pages.shared.drawing import draw as draw_chart
from pages.shared.widgets import failed

METRIC_HEIGHT = 84
HISTOGRAM_WIDTH = 500
NAME_LENGTH = 70
ALWAYS = ("in_window", "not_positive", "chosen")
DIFFICULTY = "Mean similarity of the negatives to their queries (hardness)."
RANGE = "An estimate (mean {:.1%}): the rate of 90% of data sets is in this range. Verdicts narrow it, and an audit on Quality measures it."
AUDITED = "Measured by the audit of this selection. Negatives that replaced removed ones are not audited."


@cached()
def figures(run: OpenRun, settings: SelectionSettings) -> str:
    """Return difficulty and estimated false-negative rate of a selection in a line. It is not kept: it would displace the drawn ones."""
    fn_model = resources.estimator(run)
    found = summarise(run.inputs, run.ranking, run.select(settings, fn_model), fn_model=fn_model)
    rate = "" if found.estimated_fn_rate is None else f" · false negatives est. {found.estimated_fn_rate}"
    return "No negatives." if found.hardness is None else f"Difficulty {found.hardness:.3f}{rate}"


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the result of the present settings."""
    settings = selection.settings
    compared = _compared(run)
    before = resources.selection(run, compared.settings)
    differs = compared.settings != settings
    with st.container(horizontal=True, gap="small"):
        with st.container(width=HISTOGRAM_WIDTH):
            drawn = statistics.histograms(run, selection)
            ghost = statistics.histograms(run, before) if differs else None
            draw_chart(charts.similarity_histogram(drawn, settings, before=ghost), "mine-histogram")
        with st.container(width="stretch"):
            draw_chart(charts.funnel(_steps(selection)), "mine-funnel")
            now, then = statistics.summary(run, selection), statistics.summary(run, before)
            _deltas(run, selection, now, then if differs else None)
    _actions(run, settings, compared)
    _next(now, unsaved=state.draft(run.run.id) is not None)
    turn_key = f"samples-{run.run.id}"
    turn = st.session_state.setdefault(turn_key, 0)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**Sample queries** with their first {samples.NEGATIVES} negatives", width="content")
        if st.button("Other examples", icon=":material/shuffle:", type="tertiary", key="other-examples"):
            st.session_state[turn_key] = turn = turn + 1
    samples.draw(samples.samples(run, selection, before, turn), "mine-samples", _inspect)
    _details(run, now)


def _steps(selection: Selection) -> list[tuple[str, int]]:
    """Return the steps of the funnel: those that always are, and those that removed something."""
    funnel = selection.funnel
    steps = [("ranked", funnel["ranked"])] + [
        (wording.FUNNEL[step], funnel[step])
        for earlier, step in pairwise(wording.FUNNEL)
        if step in ALWAYS or funnel[step] != funnel[earlier]
    ]
    return [(f"{name[0].upper()}{name[1:]}", count) for name, count in steps]


def _compared(run: OpenRun) -> Variant:
    """Return the variant that the result is compared with: the open one unless another is chosen."""
    known = {each.id: each for each in all_variants(resources.workspace(), run.run.id)}
    return known.get(st.session_state.get(_compare_key(run)) or "", state.variant())


def _compare_key(run: OpenRun) -> str:
    return f"compare-{run.run.id}-{state.variant().id}"


def _deltas(run: OpenRun, selection: Selection, now: Summary, then: Summary | None) -> None:
    """Draw the figures with their changes, of one height, so that nothing moves when the changes appear."""
    with st.grid(2, min_column_width=130, gap="small"):
        hardness = now.hardness
        change = None if then is None or hardness is None or then.hardness is None else hardness - then.hardness
        _metric("Difficulty", "–" if hardness is None else f"{hardness:.3f}", change, "{:+.3f}", DIFFICULTY, "off")
        rate, audited = now.estimated_fn_rate, audit.rate(run, selection)
        if audited is not None:
            _metric("False negatives", wording.percent(audited.rate, 1), None, "", AUDITED, "inverse")
        elif rate is not None:
            before = None if then is None else then.estimated_fn_rate
            change = None if before is None else 100 * (rate.estimate - before.estimate)
            _metric("False negatives, est.", str(rate), change, "{:+.1f} points", RANGE.format(rate.estimate), "inverse")
        above = now.scores["above_positive"]
        change = None if then is None or above is None else 100 * (above - (then.scores["above_positive"] or 0.0))
        about = "Negatives that score above their positive. Likely false negatives, or a wrong positive."
        _metric("Above positive", "–" if above is None else wording.percent(above, 1), change, "{:+.1f} points", about, "inverse")
        change = None if then is None else now.short_rows - then.short_rows
        filled = f" Random fill: {counted(now.random_filled, 'negative')}." if now.random_filled else ""
        _metric("Incomplete rows", f"{now.short_rows:,}", change, "{:+,}", f"Rows with too few negatives.{filled}", "inverse")


def _metric(label: str, value: str, change: float | None, form: str, about: str, colour: str) -> None:
    words = None if change is None else form.format(change)
    delta = 0 if words and not words.strip("+-0., points") else words
    st.metric(label, value, delta, help=about, delta_color=colour, height=METRIC_HEIGHT)  # type: ignore[arg-type]


def _actions(run: OpenRun, settings: SelectionSettings, compared: Variant) -> None:
    """Draw what can be done with the result."""
    run_id, known = run.run.id, all_variants(resources.workspace(), run.run.id)
    unsaved = state.draft(run_id) is not None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        names = {each.id: each.name for each in known}
        st.selectbox(
            "Compare with",
            list(names),
            index=list(names).index(compared.id),
            format_func=lambda variant: f"Compare with {names[variant]}",
            key=_compare_key(run),
            persist_state="session",
            label_visibility="collapsed",
            width=260,
            help="Dashed outlines, changes and the marks of new negatives are relative to this variant.",
        )
        # Its key makes the popover another one, which is closed, when a variant has been saved.
        with st.popover("Save as variant", icon=":material/bookmark_add:", disabled=not unsaved, key=f"save-{len(known)}"):
            name = st.text_input(
                "Name",
                value=_new_name(settings, run.ranking.depth, set(names.values())),
                key=f"variant-name-{hash(settings)}",
                max_chars=NAME_LENGTH,
            )
            if st.button("Save", type="primary", key="mine-save-variant"):
                try:
                    state.save_draft(run_id, name)
                except HnmineError as error:
                    failed("Cannot save this variant", error)
                else:
                    st.rerun()
        about = "Return to the saved variant."
        if st.button("Discard changes", icon=":material/undo:", key="discard", disabled=not unsaved, help=about):
            state.discard_draft(run_id)
            st.rerun()


def _next(now: Summary, *, unsaved: bool) -> None:
    """Draw where to go with the result."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        filled = f"{now.random_filled:,} of the negatives are filled at random." if now.random_filled else ""
        above = now.scores["above_positive"]
        if not above:
            st.text(filled, width="content")
        else:
            st.text(f"{filled} {wording.percent(above, 1)} of the negatives score above their positive.".strip(), width="content")
            if st.button("Show them", type="tertiary", key="show-above"):
                # The address counts on the first visit of Inspect, the session on later ones.
                st.session_state["inspect-show"] = "above"
                st.switch_page("pages/views/inspect.py", query_params={"show": "above"})
        with st.container(horizontal=True, horizontal_alignment="right", gap="small", width="stretch"):
            for label, icon in (("Inspect", ":material/search:"), ("Review", ":material/rate_review:"), ("Export", ":material/download:")):
                kind: Literal["primary", "secondary"] = "primary" if label == "Inspect" and not unsaved else "secondary"
                if st.button(label, icon=icon, key=f"to-{label.lower()}", type=kind):
                    st.switch_page(f"pages/views/{label.lower()}.py")


def _new_name(settings: SelectionSettings, depth: int, taken: set[str]) -> str:
    """Return a name for a variant that says what it is and is not taken."""
    name = name_of(settings, deepest=depth)
    if name in taken or preset_of(settings, deepest=depth) is None:
        how = "Hardest" if settings.strategy == "hardest" else "Random"
        parts = [f"{how} of ranks {settings.window_start}-{settings.window_end - 1}"]
        if settings.max_fn_rate is not None:
            parts.append(f"{100 * settings.max_fn_rate:g}% false negatives")
        if settings.hardness is not None:
            parts.append(f"difficulty {settings.hardness}")
        name = ", ".join([*parts, *(f"{each.short} {value:g}" for each, value in settings.filters)])[:NAME_LENGTH]
    numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _inspect(query: str) -> None:
    st.session_state.query = query
    st.switch_page("pages/views/inspect.py")


def _details(run: OpenRun, now: Summary) -> None:
    """Draw the counts and notes of the run."""
    with st.expander("Details", icon=":material/info:"):
        lines = [f"{counted(now.negatives, 'negative')} in {counted(now.rows, 'row')}, {now.random_filled:,} filled at random."]
        if fused := retriever_names(run.run.settings.retrievers):
            lines.append(f"Candidates ranked {fused}.")
        if applied := wording.verdicts_applied(run.verdict_pairs.counts):
            lines.append(applied)
        if run.fn_model.verdicts:
            lines.append(f"The false-negative estimate is calibrated on {counted(run.fn_model.verdicts, 'verdict')}.")
        mined = run.run.manifest.get("summary") or {}
        if vectors := mined.get("vectors"):
            lines.append(f"{vectors.get('encoded', 0):,} texts encoded by this run, {vectors.get('stored', 0):,} from the store.")
        if pairs := mined.get("pairs"):
            lines.append(f"Reranker: {pairs.get('scored', 0):,} pairs scored by this run, {pairs.get('stored', 0):,} from the store.")
        for line in dict.fromkeys([*lines, *now.notes, *(mined.get("notes") or ())]):
            st.text(line)  # plain text: it may contain names of columns
