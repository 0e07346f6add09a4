"""The pair under review: query, positives, candidate with highlighted words, its numbers, and the estimated false-negative probability."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.analysis.explanation import estimate_in_words, pair_details, warnings
from hnmine.core.text import counted, shared
from hnmine.data.verdicts import CHOICES
from pages.review.session import LABELS, ReviewSession
from pages.shared import highlight, wording

# Longer texts (characters) scroll in a box of this height (pixels), so that the whole pair is visible.
LONG_TEXT, LONG_HEIGHT = 1_200, 320
SHOWN_POSITIVES = 3


def draw(review: ReviewSession, place: int) -> None:
    """Draw a pair; highlight the words of the candidate that the query or a positive contains."""
    run, corpus = review.run, review.run.inputs.corpus
    query, passage = review.queue.pair(place)
    details = pair_details(corpus, run.ranking, review.selection, query, passage, resources.estimator(run))
    asked, text = review.texts(place)
    with _box(asked):
        st.caption(":material/search: **Query**")
        st.text(asked)
    shown, rest = details.positives[:SHOWN_POSITIVES], details.positives[SHOWN_POSITIVES:]
    for number, (positive, score, similarity) in enumerate(shown):
        with _box(corpus.passages[positive]):
            st.caption(
                f":material/check_circle: **Positive**{f' {number + 1}' if len(shown) > 1 else ''} · similarity to the query {score:.3f}"
                + (f" · to the candidate {similarity:.3f}" if len(shown) > 1 else "")
            )
            st.text(corpus.passages[positive])
    if rest:
        with st.expander(f"{counted(len(rest), 'more positive')}, less similar to the candidate"):
            for positive, _, _ in rest:
                st.text(corpus.passages[positive])
    with _box(text):
        facts = [f"similarity to the query {details.score:.3f}", "not ranked" if details.rank is None else f"rank {details.rank:,}"]
        if details.ratio is not None:
            facts.append(f"ratio to the positive {wording.percent(details.ratio)}")
        if details.positive_similarity is not None:
            facts.append(f"similarity to the positive passage {details.positive_similarity:.3f}")
        if state := review.queue.verdicts[place]:
            facts.append(f"current verdict: {LABELS[CHOICES[state - 1]]}")
        facts += [
            wording.signal(name).said(value)
            for name, value in details.signals.items()
            if name != "positive_similarity" and np.isfinite(value)
        ]
        st.caption(f":material/help: **Candidate** · {' · '.join(facts)}")
        others = [asked, *(corpus.passages[positive] for positive, _, _ in details.positives)]
        spans = shared(text, others, review.common)
        highlight.show(text, spans)
    estimate = "" if details.estimate is None else estimate_in_words(details.estimate, details.reasons)
    if estimate:
        st.caption(f"**False-negative model:** {estimate}.")
    found = "; ".join(warnings(details))
    st.caption(
        (f"**Signs of a false negative:** {found}." if found else "No signs of a false negative.")
        + (" Highlighted: words of the query or its positives." if spans else "")
    )


def _box(text: str) -> st.delta_generator.DeltaGenerator:
    """Return a bordered container for a text; it scrolls if the text is long."""
    return st.container(border=True, height=LONG_HEIGHT if len(text) > LONG_TEXT else "content")
