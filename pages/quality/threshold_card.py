"""The suggested threshold on the Quality screen: the PercPos filter that leaves at most a wanted rate, from reviews alone."""

from __future__ import annotations

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.resources import OpenRun
from hnmine.review.audit_plan import FEWEST_FOR_CUT, Cut, Few, recommend
from hnmine.runs.variants import save_variant
from hnmine.selection.select import Selection
from pages.shared import state, wording
from pages.shared.audit import Audit
from pages.shared.widgets import failed


def draw(run: OpenRun, selection: Selection, audit: Audit | None) -> None:
    """Draw the card."""
    wanted = st.number_input(
        "Highest acceptable rate in %",
        min_value=0.1,
        max_value=50.0,
        value=2.0,
        step=0.5,
        format="%.1f",
        key="audit-wanted",
        persist_state="session",
        width=220,
        help="Rate of false negatives. The suggestion uses only verdicts of the random sample, no estimate.",
    )
    found = None if audit is None else recommend(audit.found, wanted / 100)
    if audit is None or found is None:
        st.write(f"Needs {FEWEST_FOR_CUT:,} verdicts of a random sample: has 0.")
    elif isinstance(found, Few):
        where = "" if found.limit is None else f" below PercPos {found.limit:.3g}"
        st.write(f"Needs {found.needed:,} verdicts of the sample{where}: has {found.reviewed:,}.")
    elif found == "unneeded":
        st.write("No filter is needed. The measured rate is low enough.")
    elif found == "none":
        st.write("No PercPos threshold gives such a rate. Start the rank range later, or review more negatives.")
    elif isinstance(found, Cut):
        _suggestion(run, selection, audit, found)


def _suggestion(run: OpenRun, selection: Selection, audit: Audit, cut: Cut) -> None:
    now = sum(band.similarity * band.negatives for band in audit.found.bands) / audit.sample.negatives
    st.metric("PercPos at most", f"{cut.limit:.3g}", help="Score of a negative divided by the score of the positive.")
    st.markdown(
        f"Leaves about **{wording.percent(cut.rate.rate, 1)}** false negatives (95% confidence interval "
        f"{wording.interval(cut.rate.low, cut.rate.high)}, {cut.reviewed:,} reviewed). Replaces {wording.percent(1 - cut.fraction)} of the "
        f"negatives. Difficulty {cut.similarity:.3f}, now {now:.3f}."
    )
    if st.button("Save as variant", icon=":material/save:", key="threshold-save", help="Opens the variant on the Mine screen."):
        name = f"{state.variant().name}, PercPos {cut.limit:.3g}"
        settings = msgspec.structs.replace(selection.settings, max_positive_ratio=cut.limit)
        try:
            saved = save_variant(resources.workspace(), run.run.id, name, settings)
        except HnmineError as error:
            failed("Cannot save this variant", error)
            return
        state.open_variant(run.run.id, saved.id)
        st.switch_page("pages/views/mine.py")
