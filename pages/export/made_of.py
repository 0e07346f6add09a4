"""What an export is made of, in words: model, selection, ranks, filters, number, verdicts, audit; an unsaved draft can be saved here."""

from __future__ import annotations

import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted
from hnmine.models.cards import readable_name
from hnmine.resources import OpenRun
from hnmine.retrieval.retrievers import retriever_names
from hnmine.runs import audit_samples
from hnmine.runs.summary import Summary
from hnmine.runs.variants import name_of
from hnmine.selection.filters import FILTERS
from hnmine.selection.select import Selection
from hnmine.selection.targets import TARGETS
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
    facts = {
        "Model": readable_name(str(run.run.manifest.get("model", {}).get("name", "unknown"))) + (f", {fused}" if fused else ""),
        "Selection": state.selection_name(run.run.id),
        "Ranks": f"{settings.window_start:,}-{settings.window_end - 1:,}, {strategy}",
        "Filters": "; ".join(limits) or "none",
        "Negatives": f"{summary.negatives:,} in {counted(summary.rows, 'row')}, {settings.negative_number:,} per query",
        "Verdicts": wording.verdicts_applied(run.verdict_pairs.counts).removeprefix("Verdicts applied: ").rstrip(".") or "none",
    }
    st.markdown("**Made of**")
    with st.container(gap="xxsmall"):
        for name, text in facts.items():
            st.text(f"{name}: {text}")
    if state.draft(run.run.id) is not None:
        _save(run, selection)


def _save(run: OpenRun, selection: Selection) -> None:
    """Draw the warning that the selection has no name yet, and the form that gives it one."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("unsaved changes", icon=":material/edit:", color="orange")
        with (
            st.popover("Save as variant", icon=":material/bookmark_add:", key="export-save-variant"),
            st.form("export-variant-form", border=False),
        ):
            name = st.text_input("Name", value=name_of(selection.settings), key="export-variant-name")
            if st.form_submit_button("Save", type="primary"):
                try:
                    state.save_draft(run.run.id, name)
                except HnmineError as error:
                    st.error("Cannot save the variant", icon=":material/error:")
                    st.text(str(error))
                else:
                    st.rerun()


def audited_elsewhere(run: OpenRun, selection: Selection) -> bool:
    """Return whether this run was audited, but with other settings than these."""
    found = [each.selection for each in audit_samples.kept_samples(resources.workspace(), run.run.id)]
    return bool(found) and selection.settings not in found
