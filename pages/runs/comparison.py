"""Comparison of two variants: figures, settings that differ, and the queries that changed most with both lists of negatives."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.analysis import compare
from hnmine.analysis.charts import overlaid
from hnmine.analysis.compare import Comparison
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.models.served.probe import same_model as same_weights
from hnmine.resources import OpenRun
from hnmine.runs.variants import Figures
from hnmine.runs.workspace import Run
from hnmine.selection.select import Selection
from pages.runs import figures
from pages.runs.table import Row
from pages.shared import state, statistics, wording
from pages.shared.drawing import draw as draw_chart
from pages.shared.state import query_id

Opened = tuple[OpenRun, Selection]
Pair = tuple[Row, Row]
Sides = tuple[Opened, Opened]

CHANGED = 200
NOTHING = "–"


def draw(first: Row, second: Row) -> None:
    """Compare two variants, of one run or of two."""
    try:
        with st.spinner("Comparing ..."):
            sides = _opened(first), _opened(second)
            found = statistics.comparison(*sides)
            shown = _figures(first), _figures(second)
    except HnmineError as error:
        st.error("Cannot compare these variants", icon=":material/error:")
        st.text(str(error))
        return
    st.subheader("Comparison", anchor=False)
    st.text(f"A: {first.title}\nB: {second.title}")
    if not len(found.first):
        st.info("The two runs have no query in common.", icon=":material/compare_arrows:")
        return
    comparable = same_model(first.run, second.run)
    left, right = st.columns([3, 2])
    with left:
        draw_chart(overlaid(statistics.overlay(*sides, comparable)), "compare-overlay")
        _settings(*sides)
    with right:
        _numbers(found, shown, comparable)
    _changed(found, (first, second), sides)


def _opened(row: Row) -> Opened:
    opened = resources.open_run(row.run.id)
    return opened, resources.selection(opened, row.variant.settings)


def _figures(row: Row) -> Figures:
    found, current = figures.stored(row.run.id, row.variant)
    return found if found is not None and current else figures.compute(row.run.id, row.variant)


def same_model(first: Run, second: Run) -> bool:
    """Return whether two runs' similarities are on one scale: same weights and model settings."""
    models = [run.manifest.get("model", {}) for run in (first, second)]
    known = any(models[0].get(name) is not None for name in ("weights_sha256", "probe"))
    return first.id == second.id or (known and same_weights(*models) and first.settings.model == second.settings.model)


def _numbers(found: Comparison, shown: tuple[Figures, Figures], comparable: bool) -> None:
    """Draw the figures of both variants and their differences."""
    rows: list[tuple[str, str, str, str]] = []

    def add(label: str, values: list[float | None], form: str, factor: float = 1) -> None:
        texts = [NOTHING if each is None or np.isnan(each) else form.format(factor * each) for each in values]
        known = NOTHING not in texts
        rows.append((label, *texts, _change(factor * (float(values[1] or 0) - float(values[0] or 0)), form) if known else NOTHING))

    add("Difficulty", [each.hardness for each in shown], "{:.3f}")
    if not comparable:
        rows[0] = (*rows[0][:3], NOTHING)
        add("Ratio to the positive", [_mean(found.ratio_first), _mean(found.ratio_second)], "{:.0f}%", 100)
    rows.append(("Est. false negatives", *(NOTHING if each.estimated is None else str(each.estimated) for each in shown), NOTHING))
    if all(each.estimated for each in shown):
        first, second = (each.estimated.estimate for each in shown if each.estimated)
        rows[-1] = (*rows[-1][:3], _change(100 * (second - first), "{:.1f}%"))
    add("Measured false negatives", [None if each.measured is None else each.measured.rate for each in shown], "{:.1f}%", 100)
    add("Above the positive", [each.above_positive for each in shown], "{:.1f}%", 100)
    add("Negatives", [each.negatives for each in shown], "{:,.0f}")
    overlap = found.overlap[~np.isnan(found.overlap)]
    with st.container(horizontal=True):
        st.metric(
            "Shared negatives",
            wording.percent(float(overlap.mean())) if len(overlap) else NOTHING,
            border=True,
            help="Negatives that are in both lists of a query, in percent of the longer list. Mean over the queries in both.",
        )
        st.metric(
            "Queries with the same negatives",
            f"{int((overlap == 1).sum()):,} of {len(found.first):,}",
            border=True,
            help="Queries and passages are matched by their texts, so the data sets can differ.",
        )
    st.dataframe(
        dict(zip(("figure", "A", "B", "B - A"), zip(*rows, strict=True), strict=True)),
        hide_index=True,
        height="content",
        column_config={
            "figure": st.column_config.TextColumn(width=180, help="Difficulty is the mean similarity of the negatives (hardness)."),
            **{name: st.column_config.TextColumn(width=90, alignment="right") for name in ("A", "B", "B - A")},
        },
        alt="Figures of both variants and their differences",
    )
    notes = [] if comparable else ["The models differ, and so do the scales of their similarities: compare the ratio to the positive."]
    notes += [f"{counted(n, 'query', 'queries')} only in {side}." for side, n in (("A", found.only_first), ("B", found.only_second)) if n]
    if notes:
        st.write(" ".join(notes))


def _change(by: float, form: str) -> str:
    """Return a difference with its sign, "0" where it is too small to show; percentages in points."""
    text = form.replace(":", ":+").format(by).replace("%", " points")
    return text if re.search("[1-9]", text) else "0"


def _mean(values: np.typing.NDArray[np.float32]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else None


def _described(side: Opened) -> dict[str, object]:
    """Return everything that determines the negatives of a variant, as plain values."""
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
    st.markdown("**Settings that differ**")
    if not differ:
        st.write("None. Data, model and settings are the same.")
        return
    st.dataframe(
        {
            "setting": [wording.setting(name) for name, _, _ in differ],
            "A": [wording.value(name, one) for name, one, _ in differ],
            "B": [wording.value(name, two) for name, _, two in differ],
        },
        hide_index=True,
        height="content" if len(differ) < 9 else 320,
        placeholder=NOTHING,
        column_config={name: st.column_config.TextColumn(width="medium") for name in ("setting", "A", "B")},
        alt="Settings that differ between the two variants",
    )


def _changed(found: Comparison, rows: Pair, sides: Sides) -> None:
    """Draw the queries that changed most, and both lists of the selected one."""
    st.subheader("Queries that changed most", anchor=False)
    corpus, places = sides[0][0].inputs.corpus, found.most_changed(CHANGED)
    longer = np.maximum(found.counts_first, found.counts_second)
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    chosen = st.dataframe(
        {
            "query": [corpus.queries[query] for query in found.first[places].tolist()],
            "shared": [f"{both} of {most}" for both, most in zip(found.shared[places], longer[places], strict=True)],
            "difficulty A": found.hardness_first[places],
            "difficulty B": found.hardness_second[places],
            "ratio A": 100 * found.ratio_first[places],
            "ratio B": 100 * found.ratio_second[places],
        },
        key=f"compare-changed-{'-'.join((*rows[0].key, *rows[1].key))}",
        hide_index=True,
        height=250,
        placeholder=NOTHING,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [0], "columns": [], "cells": []}},
        column_config={
            "query": text(width="large"),
            "shared": text(help="Negatives in both lists, of the longer list.", alignment="right"),
            **{
                name: number(format="%.3f", help="Mean similarity of the negatives (hardness).")
                for name in ("difficulty A", "difficulty B")
            },
            **{
                name: number(format="%.0f%%", help="Ratio of that mean to the positive's score, at most ±200%.")
                for name in ("ratio A", "ratio B")
            },
        },
        alt="Queries whose negatives changed most, least overlap first",
    )
    if len(found.first) > len(places):
        st.text(f"First {len(places):,} of {len(found.first):,} queries.")
    if selected := [row for row in chosen.selection.rows if row < len(places)]:
        place = int(places[selected[0]])
        _both_lists(rows, sides, (int(found.first[place]), int(found.second[place])))


def _both_lists(rows: Pair, sides: Sides, queries: tuple[int, int]) -> None:
    """Draw the negatives of a query in both variants side by side."""
    corpus = sides[0][0].inputs.corpus
    positives = [corpus.passages[each] for each in corpus.positives(queries[0]).tolist()]
    st.text(f"Query: {corpus.queries[queries[0]]}")
    st.text("\n".join(f"Positive: {each}" for each in positives))
    hashes = [_hashes(side, query) for side, query in zip(sides, queries, strict=True)]
    for name, column, row, side, query, others in zip("AB", st.columns(2), rows, sides, queries, hashes[::-1], strict=True):
        with column:
            _list(name, row, side, query, set(others))


def _hashes(side: Opened, query: int) -> list[int]:
    held = side[1].negatives[query]
    return [int(each) for each in side[0].inputs.corpus.passage_hashes[held[held >= 0]]]


def _list(name: str, row: Row, side: Opened, query: int, others: set[int]) -> None:
    selection, corpus = side[1], side[0].inputs.corpus
    held = np.flatnonzero(selection.negatives[query] >= 0)
    only, both = f"only {name}", "both"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.text(f"{name}: {row.variant.name}")
        opened = st.button(f"Open in Inspect ({name})", icon=":material/search:", type="tertiary", key=f"compare-inspect-{name}")
    hashes = _hashes(side, query)
    st.dataframe(
        {
            "in": [[both if each in others else only] for each in hashes],
            "passage": [corpus.passages[each] for each in selection.negatives[query][held].tolist()],
            "similarity": selection.scores[query][held],
        },
        hide_index=True,
        height=420,
        row_height=72,
        column_config={
            "in": st.column_config.MultiselectColumn(width=75, options=[only, both], color=["orange", "gray"]),
            "passage": st.column_config.TextColumn(width=400),
            "similarity": st.column_config.NumberColumn(width=80, format="%.3f"),
        },
        alt=f"Negatives of the query in {name}, hardest first",
    )
    if opened:
        if row.key != (st.session_state.run, st.session_state.variant):
            state.open_variant(*row.key)
        st.session_state.query = query_id(corpus, query)
        st.switch_page("pages/views/inspect.py")
