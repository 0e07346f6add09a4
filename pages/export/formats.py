"""The format of an export and its options."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from hnmine.export.formats import FORMATS, Format
from hnmine.resources import OpenRun
from pages.shared import reranker
from pages.shared.widgets import choice

__all__ = ["Chosen", "choose", "options"]

# The families of formats, in the order of the list.
_FAMILIES = (
    "flagembedding",
    "st-triplet",
    "st-n-tuple",
    "st-labeled-pair",
    "st-labeled-list",
    "ms-swift",
    "dpr",
    "datasets",
    "tevatron",
    "beir",
    "msmarco",
    "csv",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The format and its options, as `MineSettings` has them."""

    form: Format
    with_scores: bool
    score_source: reranker.ScoreSource
    dev_share: float


def choose(run: OpenRun) -> str:
    """Draw the formats; return the family of the chosen one."""
    families = {each.family: each for each in reversed(FORMATS.values())}
    family = st.radio(
        "Format",
        _FAMILIES,
        index=_FAMILIES.index(FORMATS[run.run.settings.output_format].family),
        format_func=lambda name: families[name].label,
        key="export-format",
        persist_state="session",
        help="The format that your trainer reads. All formats contain the same negatives.",
    )
    assert family is not None  # one is always chosen
    return family


def options(run: OpenRun, family: str) -> Chosen:
    """Draw the file type, scores and split in one line; return them with the format."""
    mined = FORMATS[run.run.settings.output_format]
    with st.container(horizontal=True, vertical_alignment="center"):
        types = {each.encoding: each for each in FORMATS.values() if each.family == family}
        form = next(iter(types.values()))
        if len(types) > 1:
            first = mined.encoding if mined.encoding in types else next(iter(types))
            about = "`datasets.load_dataset` reads both. Parquet is smaller and loads faster."
            form = types[choice("File type", {name: name for name in types}, "export-encoding", first, about)]
        with_scores = False
        if form.scores:
            with_scores = st.toggle(
                "With scores",
                value=run.run.settings.with_scores,
                key="export-scores",
                persist_state="session",
                help=f"{form.scores[0].upper()}{form.scores[1:]}. Similarities of the mining model, or scores of the run's reranker.",
            )
        split = st.toggle(
            "Split into train and dev",
            value=run.run.settings.dev_share > 0,
            key="export-split",
            persist_state="session",
            help="Holds out queries for evaluation, sampled with the run's seed. Rows with the same query stay together.",
        )
        score_source = reranker.source(run, with_scores)
        dev_share = _dev_share(run) if split else 0.0
    return Chosen(form=form, with_scores=with_scores, score_source=score_source, dev_share=dev_share)


def _dev_share(run: OpenRun) -> float:
    """Draw how much goes to the dev file."""
    if len(run.inputs.corpus.queries) < 2:
        st.warning("A split needs at least two queries.", icon=":material/info:")
        return 0.0
    percent = st.slider(
        "Dev queries (%)",
        min_value=1,
        max_value=50,
        value=round(run.run.settings.dev_share * 100) or 5,
        format="%d%%",
        key="export-share",
        persist_state="session",
        help="Percentage of the queries in the dev file. The others are in the train file.",
        width=220,
    )
    return percent / 100
