"""Comparison of two runs on the Runs screen: settings that differ, shared negatives, queries that changed most."""

from __future__ import annotations

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.analysis import compare
from hnmine.analysis.compare import Comparison
from hnmine.analysis.count_charts import values_histogram
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.resources import OpenRun
from hnmine.runs.workspace import Run
from hnmine.selection.select import Selection
from pages.shared import state, statistics, wording
from pages.shared.drawing import draw as draw_chart
from pages.shared.state import query_id
from pages.shared.widgets import choice, failed, metrics

Opened = tuple[OpenRun, Selection]

CHANGED = 200


def draw(first: Run, second: Run) -> None:
    """Compare two runs, each with its current selection settings."""
    try:
        with st.spinner("Comparing ..."):
            sides = _opened(first), _opened(second)
            found = statistics.comparison(*sides)
    except HnmineError as error:
        failed("Cannot compare these runs", error)
        return
    _settings(*sides)
    if not len(found.first):
        st.info("The runs have no query in common.", icon=":material/compare_arrows:")
        return
    _figures(found, same_model(first, second))
    _changed(found, *sides)


def _opened(run: Run) -> Opened:
    opened = resources.open_run(run.id)
    return opened, resources.selection(opened, state.selection_settings(run.id))


def same_model(first: Run, second: Run) -> bool:
    """Return whether two runs' similarities are on one scale: same weights and model settings."""
    weights = [run.manifest.get("model", {}).get("weights_sha256") for run in (first, second)]
    return weights[0] is not None and weights[0] == weights[1] and first.settings.model == second.settings.model


def _described(side: Opened) -> dict[str, object]:
    """Return everything that determines a run's negatives, as plain values."""
    run, selection = side[0].run, side[1]
    space, settings = resources.workspace(), msgspec.to_builtins(run.settings)
    dataset = space.dataset(run.dataset_id)
    models = {name: run.manifest.get(name) or {} for name in ("model", "second_model")}
    return {
        "data set": f"{dataset.name} ({dataset.id})",
        "pool": dataset.pool_name,
        **{name: value for name, value in settings.items() if name not in ("selection", *models)},
        "selection": msgspec.to_builtins(selection.settings),
        **{
            which: (settings.get(which) or {}) | {name: model.get(name) for name in ("name", "weights_sha256", "precision")}
            for which, model in models.items()
        },
        "versions": run.manifest.get("versions", {}),
        "verdicts": side[0].verdict_pairs.counts,
    }


def _settings(first: Opened, second: Opened) -> None:
    differ = compare.differences(_described(first), _described(second))
    st.subheader("Settings that differ", anchor=False)
    if not differ:
        st.caption("None. Data, model and settings are the same.")
        return
    st.dataframe(
        {
            "setting": [wording.setting(name) for name, _, _ in differ],
            "A": [wording.value(name, one) for name, one, _ in differ],
            "B": [wording.value(name, two) for name, _, two in differ],
        },
        hide_index=True,
        placeholder="–",
        column_config={name: st.column_config.TextColumn(width="medium") for name in ("setting", "A", "B")},
        alt="Settings that differ between the two runs",
    )


def _figures(found: Comparison, comparable: bool) -> None:
    st.subheader("Negatives", anchor=False)
    overlap = found.overlap[~np.isnan(found.overlap)]
    shift = (found.shift if comparable else found.ratio_shift).astype(np.float64)
    shift = shift[np.isfinite(shift)]
    harder = "–"
    if len(shift):
        harder = f"{shift.mean():+.3f}" if comparable else wording.percent(float(shift.mean()), 1, sign=True)
    only = {"A": found.only_first, "B": found.only_second}
    unmatched = ", ".join(f"{counted(count, 'query', 'queries')} only in {side}" for side, count in only.items() if count)
    change = "Change in hardness" if comparable else "Change in ratio to the positive"
    meaning = (
        "Difference of the negatives' mean similarity to the query."
        if comparable
        else "Difference of the negatives' mean ratio to the positive. Similarities of different models are on different scales."
    )
    with st.container(horizontal=True):
        shared = wording.percent(float(overlap.mean())) if len(overlap) else "–"
        metrics(
            ("Queries in both", f"{len(found.first):,}", f"{unmatched}, not compared." if unmatched else "All queries of both runs."),
            ("Shared negatives", shared, "Negatives that both runs chose, in percent of the longer list. Mean over the queries."),
            ("Unchanged queries", f"{int((overlap == 1).sum()):,}", "Queries with the same negatives in both runs."),
            (f"{change} (B - A)", harder, meaning),
        )
    if unmatched:
        st.caption(f"{unmatched}.")
    left, right = st.columns(2)
    with left:
        words = f"Shared negatives by query, {f'mean {shared}' if len(overlap) else 'no negatives'}"
        axis, tenths = "shared negatives (% of the longer list)", np.arange(0, 101, 10)
        chart = values_histogram(100 * overlap, words, tenths, title="Shared negatives", axis=axis, what="queries", form="d")
        draw_chart(chart, "compare-overlap")
    with right:
        words = f"{change} by query" + (f", mean {harder}" if len(shift) else "")
        axis, scale, form = ("B - A (similarity)", 1, ".2f") if comparable else ("B - A (% of the positive)", 100, ".0f")
        draw_chart(values_histogram(scale * shift, words, title=change, axis=axis, what="queries", form=form), "compare-shift")


def _changed(found: Comparison, first: Opened, second: Opened) -> None:
    st.subheader("Queries that changed most", anchor=False)
    corpus, places = first[0].inputs.corpus, found.most_changed(CHANGED)
    longer = np.maximum(found.counts_first, found.counts_second)
    key = f"compare-changed-{first[0].key}-{second[0].key}"
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    into = choice("Open queries in", {"A": "A", "B": "B"}, "compare-into", "B", "The run to open when you select a query.")
    ids = [query_id(corpus, query) for query in found.first[places].tolist()]
    chosen = st.dataframe(
        {
            "query": [corpus.queries[query] for query in found.first[places].tolist()],
            "shared": [f"{both} of {most}" for both, most in zip(found.shared[places], longer[places], strict=True)],
            "hardness A": found.hardness_first[places],
            "hardness B": found.hardness_second[places],
            "ratio A": 100 * found.ratio_first[places],
            "ratio B": 100 * found.ratio_second[places],
        },
        key=key,
        hide_index=True,
        height=320,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "query": text(width="large"),
            "shared": text(help="Negatives in both runs, of the longer list.", alignment="right"),
            **{name: number(format="%.3f", help="Mean similarity of the negatives.") for name in ("hardness A", "hardness B")},
            **{
                name: number(format="%.0f%%", help="Ratio of that mean to the positive's score, at most ±200%.")
                for name in ("ratio A", "ratio B")
            },
        },
        alt="Queries whose negatives changed most, least overlap first",
    )
    if len(found.first) > len(places):
        st.caption(f"First {len(places):,} of {len(found.first):,} queries.")
    if rows := chosen.selection.rows:
        run = (first if into == "A" else second)[0].run
        state.open_run(run.id)
        st.session_state.query = ids[rows[0]]
        st.switch_page("pages/views/inspect.py")
