"""The table of the Runs screen: one row for each variant, by data set and run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import streamlit as st

from hnmine import resources
from hnmine.core.text import visible
from hnmine.models.cards import readable_name
from hnmine.models.served.client import served_name
from hnmine.runs.dataset_notes import title
from hnmine.runs.folders import Dataset, Run
from hnmine.runs.selection_files import last_export
from hnmine.runs.variants import MINED, Figures, Variant, all_variants, note
from pages.runs import figures
from pages.shared import state, wording

PAGE = 50
CHOSEN = "runs-chosen"

Key = tuple[str, str]


class Row(NamedTuple):
    """A variant with its run and data set; `label` is unique among the runs."""

    dataset: Dataset | None
    run: Run
    label: str
    variant: Variant

    @property
    def key(self) -> Key:
        """The ids of the run and the variant."""
        return self.run.id, self.variant.id

    @property
    def dataset_name(self) -> str:
        """The name of the data set, or its id if it is gone."""
        return self.run.dataset_id if self.dataset is None else title(resources.workspace(), self.dataset)

    @property
    def title(self) -> str:
        """Data set, run and variant in one line."""
        return f"{self.dataset_name} · {self.label} / {self.variant.name}"


def rows(datasets: dict[str, Dataset]) -> list[Row]:
    """Return all variants: data sets by their newest run, then the newest run first."""
    space = resources.workspace()
    runs = space.runs()
    labels = state.run_labels(runs)
    order = {dataset_id: place for place, dataset_id in enumerate(dict.fromkeys(run.dataset_id for run in runs))}
    return [
        Row(datasets.get(run.dataset_id), run, labels[run.id], variant)
        for run in sorted(runs, key=lambda run: order[run.dataset_id])
        for variant in all_variants(space, run.id)
    ]


def chosen(known: Iterable[Row]) -> list[Row]:
    """Return the selected rows, in the order of the table; the open variant before the first selection."""
    keys = st.session_state.get(CHOSEN)
    if keys is None:
        keys = [(st.session_state.run, st.session_state.variant)]
    return [row for row in known if row.key in keys]


def draw(known: list[Row]) -> list[Row]:
    """Draw one page of the table; return its rows whose figures are missing or old."""
    count = -(-len(known) // PAGE)
    page = min(max(1, int(st.session_state.get("runs-page", 1))), count)
    shown = known[(page - 1) * PAGE : page * PAGE]
    found = [figures.stored(row.run.id, row.variant) for row in shown]
    ticked = {row.key for row in chosen(known)}
    key = f"runs-table-{hash(tuple(row.key for row in shown)):x}"
    st.dataframe(
        _columns(shown, [each for each, _ in found]),
        key=key,
        hide_index=True,
        height="content" if len(shown) < 12 else 420,
        placeholder="–",
        on_select=lambda: _choose(key, shown),
        selection_mode="multi-row",
        selection_default={
            "selection": {"rows": [place for place, row in enumerate(shown) if row.key in ticked], "columns": [], "cells": []}
        },
        column_config=_config(shown),
        alt="All variants by data set and run, newest run first",
    )
    if count > 1:
        st.pagination(count, key="runs-page", persist_state="session")
    return [row for row, (_, current) in zip(shown, found, strict=True) if not current]


def _choose(key: str, shown: list[Row]) -> None:
    """Store the selected rows of this page, beside those of other pages."""
    here = {row.key for row in shown}
    others = [each for each in st.session_state.get(CHOSEN) or [] if each not in here]
    st.session_state[CHOSEN] = [*others, *(shown[place].key for place in st.session_state[key].selection.rows if place < len(shown))]


def _columns(shown: list[Row], found: list[Figures | None]) -> dict[str, object]:
    space = resources.workspace()

    def each(name: str) -> list[object]:
        return [None if figure is None else getattr(figure, name) for figure in found]

    measured = [None if each is None or each.measured is None else wording.rate(each.measured) for each in found]
    return {
        "data set": [row.dataset_name for row in shown],
        "run": [row.label for row in shown],
        "variant": [row.variant.name for row in shown],
        "note": [note(space, *row.key) or None for row in shown],
        "similarities": each("histogram"),
        "difficulty": each("hardness"),
        "estimated rate": [None if each is None or each.estimated is None else str(each.estimated) for each in found],
        "measured rate": measured,
        "negatives": each("negatives"),
        "verdicts": each("verdicts"),
        "exported (UTC)": [_exported(row) for row in shown],
        "model": [_model(row.run.manifest.get("model", {})) for row in shown],
        "mined (UTC)": [state.when(row.run) for row in shown],
        "size": [space.run_size(row.run.id).bytes / 2**20 if row.variant.id == MINED else None for row in shown],
    }


def _model(described: Mapping[str, Any]) -> str:
    return visible(served_name(readable_name(str(described.get("name", ""))), described.get("address")))


def _exported(row: Row) -> str | None:
    found = last_export(resources.workspace(), row.run.id, row.variant.settings)
    return None if found is None else found.exported.replace("T", " ")[:16]


def _config(shown: list[Row]) -> dict[str, object]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    named = any(row.label != f"{state.when(row.run)} UTC" for row in shown)
    return {
        "data set": text(width=105) if len({row.run.dataset_id for row in shown}) > 1 else None,
        "run": text(width=148, help="Its name, or the time it was mined."),
        "variant": text(width=150, help="A named selection of the run. The first of each run is the one it was mined with."),
        "note": text(width=140) if any(note(resources.workspace(), *row.key) for row in shown) else None,
        "similarities": st.column_config.BarChartColumn(
            width=105, help="Negatives by similarity. The variants of a run have one axis.", y_min=0
        ),
        "difficulty": number(width=75, format="%.3f", help="Mean similarity of the negatives (hardness)."),
        "estimated rate": text(width=105, alignment="right", help=f"Estimated false-negative rate. {wording.NO_MEASUREMENT}"),
        "measured rate": text(width=118, alignment="right", help="False-negative rate of the audit, with its 95% confidence interval."),
        "negatives": number(width=75, format="localized", help="Over all rows."),
        "verdicts": number(width=65, format="localized", help="Verdicts on pairs of the run."),
        "exported (UTC)": text(width=120, help="Last download from the Export screen."),
        "model": text(width=150),
        "mined (UTC)": text(width=125) if named else None,
        "size": number(width=70, format="%.1f MB", help="Disk space of the run without stored vectors."),
    }
