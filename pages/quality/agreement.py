"""The agreement of reviewers on the Quality screen: raw, Cohen's kappa, Krippendorff's alpha, each reviewer, and the disagreements."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.core.text import counted, visible
from hnmine.resources import OpenRun, cached
from hnmine.review.agreement import Agreement, agreement
from hnmine.selection.select import Selection
from pages.shared import wording
from pages.shared.widgets import failed

# Fewer common pairs give figures that a few more can change much.
FEW = 30
# Disagreements in the table; Review has them all.
LATEST = 200
# Longer texts are cut in the table.
LONGEST = 500


@cached(by_verdicts=False)
def _found(run: OpenRun, version: int) -> Agreement:
    return agreement(run.inputs.corpus, resources.reviews().decisions())


def draw(run: OpenRun, selection: Selection) -> None:
    """Draw the agreement of the reviewers of a run's pairs."""
    st.subheader("Agreement of reviewers", anchor=False)
    try:
        found = _found(run, resources.reviews().version())
    except HnmineError as error:
        failed("The verdicts cannot be read", error)
        return
    if found.raw is None:
        st.write("No pair has verdicts of two reviewers. To measure agreement, choose an overlap of 10% under Setup on the Review screen.")
        return
    with st.container(border=True):
        _figures(found, found.raw)
        _reviewers(found)
        _disagreements(run, found)


def _figures(found: Agreement, raw: float) -> None:
    with st.container(horizontal=True):
        st.metric("Common pairs", f"{found.pairs:,}", help="Pairs with verdicts of two or more reviewers. Unsure verdicts are left out.")
        st.metric("Equal verdicts", wording.percent(raw), help="Both kinds of relevant count as equal.")
        st.metric(
            "Cohen's kappa",
            _number(found.kappa),
            help="Agreement beyond chance, at most 1. With three or more reviewers it is the mean over pairs of reviewers.",
        )
        st.metric("Krippendorff's alpha", _number(found.alpha), help="Agreement beyond chance of all reviewers together, at most 1.")
    st.write(_meaning(found))


def _meaning(found: Agreement) -> str:
    """Return what alpha means, after Krippendorff (2004)."""
    if found.alpha is None:
        return "All common verdicts are the same, so kappa and alpha are not defined."
    if found.alpha >= 0.8:
        meaning = "The verdicts are reliable: alpha is at least 0.80 (Krippendorff 2004)."
    elif found.alpha >= 0.667:
        meaning = "The verdicts allow tentative conclusions: alpha is between 0.67 and 0.80 (Krippendorff 2004)."
    else:
        meaning = "The verdicts are not reliable: alpha is below 0.67 (Krippendorff 2004). Discuss the disagreements and the guidelines."
    few = f" {counted(found.pairs, 'common pair')} give a rough estimate only." if found.pairs < FEW else ""
    return meaning + few


def _reviewers(found: Agreement) -> None:
    with st.container(horizontal=True, gap="medium"):
        st.dataframe(
            pd.DataFrame(
                {
                    "reviewer": [_cut(visible(each.who)) for each in found.reviewers],
                    "verdicts": [each.verdicts for each in found.reviewers],
                    "relevant": [_percent(each.relevant) for each in found.reviewers],
                    "common": [each.common for each in found.reviewers],
                    "agreement": [_percent(each.agreement) for each in found.reviewers],
                }
            ),
            column_config={
                "reviewer": "Reviewer",
                "verdicts": st.column_config.NumberColumn("Verdicts", format="localized", help="On pairs of this run's data set."),
                "relevant": st.column_config.NumberColumn("Relevant", format="%.0f%%", help="Of the verdicts, unsure left out."),
                "common": st.column_config.NumberColumn("Compared", format="localized", help="With another reviewer's verdict."),
                "agreement": st.column_config.NumberColumn("Agreement", format="%.0f%%", help="Equal verdicts among those compared."),
            },
            hide_index=True,
            width="content",
            placeholder="–",
            alt="Number of verdicts, percentage of relevant ones and agreement of each reviewer",
        )
        if len(found.kappas) > 1:
            st.dataframe(
                pd.DataFrame(
                    [(_cut(one), _cut(other), pairs, kappa) for one, other, pairs, kappa in found.kappas],
                    columns=["one", "other", "pairs", "kappa"],
                ),
                column_config={
                    "one": "Reviewer",
                    "other": "Other reviewer",
                    "pairs": st.column_config.NumberColumn("Common pairs", format="localized"),
                    "kappa": st.column_config.NumberColumn("Cohen's kappa", format="%.2f"),
                },
                hide_index=True,
                width="content",
                placeholder="–",
                alt="Cohen's kappa of each two reviewers",
            )


def _disagreements(run: OpenRun, found: Agreement) -> None:
    if not found.disagreements:
        return
    unsettled = sum(not each.settled for each in found.disagreements)
    settled = len(found.disagreements) - unsettled
    with st.container(horizontal=True, vertical_alignment="center"):
        st.write(f"**{counted(len(found.disagreements), 'disagreement')}**: {unsettled:,} open, {settled:,} settled by a later verdict.")
        if st.button(
            "Review disagreements",
            icon=":material/rate_review:",
            key="agreement-review",
            disabled=not unsettled,
            help="Any later verdict on the pair settles it. The figures above keep the first verdicts.",
        ):
            memory = st.session_state
            memory.pop("review-session", None)  # a queue of the disagreements of before
            memory["review-source"], memory["review-mode"], memory["review-words"] = "disagreements", "pair", ""
            st.switch_page("pages/views/review.py")
    shown = found.disagreements[::-1][:LATEST]
    corpus = run.inputs.corpus
    st.dataframe(
        pd.DataFrame(
            {
                "state": ["settled" if each.settled else "open" for each in shown],
                "verdicts": [" · ".join(f"{visible(one.who)}: {one.verdict}" for one in each.verdicts) for each in shown],
                "query": [_cut(corpus.queries[each.query]) for each in shown],
                "passage": [_cut(corpus.passages[each.passage]) for each in shown],
                "notes": [_cut(" · ".join(f"{visible(one.who)}: {one.note}" for one in each.verdicts if one.note)) for each in shown],
                "when": [max(one.when for one in each.verdicts)[:16].replace("T", " ") for each in shown],
            }
        ),
        column_config={
            "state": st.column_config.TextColumn("State", width=70),
            "verdicts": st.column_config.TextColumn("Verdicts", width=190),
            "query": st.column_config.TextColumn("Query", width=230),
            "passage": st.column_config.TextColumn("Passage", width=400),
            "notes": st.column_config.TextColumn("Notes", width=170),
            "when": st.column_config.TextColumn("Last (UTC)", width=130),
        },
        hide_index=True,
        height="content" if len(shown) < 5 else 320,
        row_height=72,
        alt="Pairs on which reviewers disagree, with each reviewer's verdict and note, the latest first",
    )
    if len(found.disagreements) > LATEST:
        st.text(f"The latest {LATEST:,} of {len(found.disagreements):,}.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _cut(text: str) -> str:
    """Return a text for a cell: cut, and without half surrogate pairs, which a table cannot hold."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return text.encode("utf-8", "replace").decode()
