"""A pair under review: the query, its positives, the candidate with shared words marked, its numbers, and why it is suspicious."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.analysis.explanation import estimate_in_words, pair_details, warnings
from hnmine.checks.report import counted
from hnmine.core.text import shared
from hnmine.review.queue import STATES
from pages.review.session import DONE, ReviewSession
from pages.shared import highlight, wording

# Texts of more characters scroll in a box of this many pixels, so that the pair stays in sight.
LONG_TEXT, LONG_HEIGHT = 1_200, 320
SHOWN_POSITIVES = 3


def draw(desk: ReviewSession, place: int) -> None:
    """Draw a pair: the query, its positives, the candidate with the words it shares with them marked."""
    run, corpus = desk.run, desk.run.inputs.corpus
    query, passage = desk.queue.pair(place)
    about = pair_details(corpus, run.ranking, desk.selection, query, passage, resources.estimator(run))
    asked, text = desk.texts(place)
    with _box(asked):
        st.caption(":material/search: **Query**")
        st.text(asked)
    shown, rest = about.positives[:SHOWN_POSITIVES], about.positives[SHOWN_POSITIVES:]
    for number, (positive, score, alike) in enumerate(shown):
        with _box(corpus.passages[positive]):
            st.caption(
                f":material/check_circle: **Positive**{f' {number + 1}' if len(shown) > 1 else ''} · similarity {score:.3f}"
                + (f" · {alike:.3f} like the candidate" if len(shown) > 1 else "")
            )
            st.text(corpus.passages[positive])
    if rest:
        with st.expander(f"{counted(len(rest), 'more positive')}, less like the candidate"):
            for positive, _, _ in rest:
                st.text(corpus.passages[positive])
    with _box(text):
        facts = [f"similarity {about.score:.3f}", "not among the ranked" if about.rank is None else f"rank {about.rank:,}"]
        if about.ratio is not None:
            facts.append(f"{wording.percent(about.ratio)} of the positive")
        if about.positive_similarity is not None:
            facts.append(f"{about.positive_similarity:.3f} like the positive")
        if stands := desk.queue.verdicts[place]:
            facts.append(f"now {DONE[STATES[stands]]}")
        facts += [
            wording.signal(name).said(value)
            for name, value in about.signals.items()
            if name != "positive_similarity" and np.isfinite(value)
        ]
        st.caption(f":material/help: **Candidate** · {' · '.join(facts)}")
        others = [asked, *(corpus.passages[positive] for positive, _, _ in about.positives)]
        marked = shared(text, others, desk.common)
        highlight.show(text, marked)
    found = "; ".join(warnings(about))
    told = "" if about.estimate is None else estimate_in_words(about.estimate, about.reasons)
    st.caption(
        (f"**Why suspicious:** {found}{f' ({told})' if told else ''}." if found else _unsuspicious(told))
        + (" Marked: words of the query or its positives." if marked else "")
    )


def _unsuspicious(told: str) -> str:
    return f"**FNModel:** {told}." if told else "Nothing about its numbers is suspicious."


def _box(text: str) -> st.delta_generator.DeltaGenerator:
    """Return a frame for a text, which scrolls when the text is long."""
    return st.container(border=True, height=LONG_HEIGHT if len(text) > LONG_TEXT else "content")
