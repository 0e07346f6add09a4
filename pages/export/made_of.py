"""What an export is made of, in words: model, selection, ranks, filters, number, verdicts, audit."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.text import counted, visible
from hnmine.models.cards import readable_name
from hnmine.models.served.client import served_name
from hnmine.resources import OpenRun
from hnmine.retrieval.retrievers import retriever_names
from hnmine.runs import selection_files
from hnmine.runs.summary import Summary
from hnmine.selection.filters import FILTERS
from hnmine.selection.select import Selection
from hnmine.selection.settings import TARGETS
from pages.export import relabel
from pages.shared import state, wording

__all__ = ["audited_elsewhere", "draw"]


def draw(run: OpenRun, selection: Selection, summary: Summary) -> None:
    """Draw the list. Names are shown literally, because they are texts of users."""
    settings = selection.settings
    fused = retriever_names(run.run.settings.retrievers)
    values = [(each, getattr(settings, each.name)) for each in (*TARGETS, *FILTERS.values())]
    limits = [
        f"{each.label} {value if isinstance(value, str) else each.slider.format % each.slider.shown(value)}"
        for each, value in values
        if value is not None
    ]
    strategy = "hardest first" if settings.strategy == "hardest" else f"at random, seed {settings.seed}"
    model = run.run.manifest.get("model", {})
    facts = {
        "Model": visible(served_name(readable_name(str(model.get("name", "unknown"))), model.get("address")))
        + (f", {fused}" if fused else ""),
        "Selection": state.selection_name(run.run.id),
        "Ranks": f"{settings.window_start:,}-{settings.window_end - 1:,}, {strategy}",
        "Filters": "; ".join(limits) or "none",
        "Negatives": f"{summary.negatives:,} in {counted(summary.rows, 'row')}, {settings.negative_number:,} per query",
        "Verdicts": wording.verdicts_applied(run.verdict_pairs.counts).removeprefix("Verdicts applied: ").rstrip(".") or "none",
    }
    if judged := relabel.done(summary.judgements, run.judged.judgements):
        facts["Judge"] = judged
    st.markdown("**Made of**")
    with st.container(gap="xxsmall"):
        for name, text in facts.items():
            st.text(f"{name}: {text}")
    if state.draft(run.run.id) is not None:
        st.warning("This selection has unsaved changes. To keep it, save it as a variant in the bar above.", icon=":material/edit:")


def audited_elsewhere(run: OpenRun, selection: Selection) -> bool:
    """Return whether this run was audited, but with other settings than these."""
    found = selection_files.audited(resources.workspace(), run.run.id)
    return bool(found) and selection.settings not in found
