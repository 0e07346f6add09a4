"""The health strip of a data set: errors, truncated texts, duplicates, suspicious data; each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from hnmine import resources
from hnmine.core.text import counted
from hnmine.data.dataset import Inputs
from hnmine.data.problems import Problem
from hnmine.data.sanity import ACCEPT
from hnmine.models import cards
from pages.shared import dataset_figures
from pages.shared.wording import percent

__all__ = ["Lengths", "lengths_of", "strip"]

_ICONS = {"ok": ":green[:material/check_circle:]", "info": ":blue[:material/info:]", "warning": ":orange[:material/warning:]",
          "error": ":red[:material/error:]"}  # fmt: skip
# Statistic -> its words, and what it means.
_DUPLICATES = {
    "repeated_queries": ("query in several rows", "queries in several rows", "Such rows share their positives and negatives."),
    "folded_passages": ("duplicate passage", "duplicate passages", "Equal up to case, white space and Unicode form, and counted once."),
    "queries_as_passages": ("query that is also a passage", "queries that are also passages", "Never used as their own negative."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The token counts of the texts, and the limits of the model."""

    model: str
    counts: dataset_figures.Lengths
    limits: tuple[int, int]

    @property
    def too_long(self) -> tuple[float, float]:
        """The fractions of the queries and of the passages that are truncated."""
        first, second = (
            float((found > limit).mean()) if len(found) else 0.0 for found, limit in zip(self.counts, self.limits, strict=True)
        )
        return first, second


def lengths_of(data: resources.Data) -> Lengths | None:
    """Return the lengths of a data set's texts for the default model; None without a tokenizer or texts."""
    card = cards.describe(cards.ModelSettings())
    counts = dataset_figures.text_lengths(data, card.folder) if card.folder and resources.files(data).training.items else None
    return (
        None
        if counts is None
        else Lengths(model=cards.readable_name(card.name), counts=counts, limits=(card.query_max_length, card.passage_max_length))
    )


def strip(data: resources.Data, read: Inputs | None, problems: Sequence[Problem], lengths: Lengths | None) -> None:
    """Draw one card for each check."""
    with st.grid(4, min_column_width=200):
        _errors(problems)
        _lengths(lengths)
        _duplicates(dataset_figures.text_duplicates(data) if read else None)
        _suspicious(problems)


def _card(kind: str, title: str, line: str, details: Sequence[str] = ()) -> None:
    """Draw a card; its texts but the title are literal, because they can contain text of the data."""
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.markdown(f"{_ICONS[kind]} **{title}**")
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            st.text(line, width="stretch")
            if details:
                with st.popover("Details", type="tertiary"):
                    for text in details:
                        st.text(text)


def _errors(problems: Sequence[Problem]) -> None:
    errors = [problem for problem in problems if problem.severity == "error" and problem.kind != ACCEPT]
    rows = {each: len({(problem.file, problem.line) for problem in errors if problem.resolution == each}) for each in ("open", "repaired")}
    skipped = len({(problem.file, problem.line) for problem in errors if problem.resolution == "skipped"})
    if rows["open"]:
        _card("error", f"{counted(rows['open'], 'row')} with errors", "Repair or skip them below.")
    elif errors:
        _card("info", "Errors resolved", f"{rows['repaired']:,} repaired, {skipped:,} skipped.")
    else:
        _card("ok", "No errors", "All rows can be used.")


def _lengths(lengths: Lengths | None) -> None:
    if lengths is None:
        _card("info", "Text lengths unknown", "The model has no tokenizer here.")
        return
    long = {
        what: (share, limit) for what, share, limit in zip(("queries", "passages"), lengths.too_long, lengths.limits, strict=True) if share
    }
    if not long:
        _card("ok", "All texts fit the model", f"{lengths.model} reads {lengths.limits[1]:,} tokens of a passage.")
        return
    title = " and ".join(f"{percent(share, 0 if share > 0.1 else 1)} of {what}" for what, (share, _) in long.items())
    tokens = " and ".join(dict.fromkeys(f"{limit:,}" for _, limit in long.values()))
    severe = float(np.max([share for share, _ in long.values()])) > 0.05
    _card(
        "warning" if severe else "info",
        f"{title} truncated",
        f"{lengths.model} reads {tokens} tokens.",
        ["Choose a model with a longer context on Mine, or split the texts. The tab Text lengths shows how long they are."],
    )


def _duplicates(found: dict[str, int] | None) -> None:
    if found is None:
        _card("info", "Duplicates not counted", "Resolve the errors first.")
        return
    named = {name: counted(found[name], *words[:2]) for name, words in _DUPLICATES.items() if found[name]}
    if not named:
        _card("ok", "No duplicates", "Queries and passages differ from each other.")
        return
    details = [f"{words}: {_DUPLICATES[name][2]}" for name, words in named.items()]
    _card("info", f"{sum(found[name] for name in named):,} duplicates", "Counted once. Nothing to do.", details)


def _suspicious(problems: Sequence[Problem]) -> None:
    found = [problem for problem in problems if problem.kind == ACCEPT]
    if not found:
        _card("ok", "Nothing suspicious", "Columns, lengths and texts look as expected.")
        return
    waiting = any(problem.resolution == "open" for problem in found)
    details = [f"{problem.message} → {problem.remedy}" for problem in found]
    _card(
        "error" if waiting else "warning",
        f"{counted(len(found), 'suspicious finding')}",
        "Confirm below that the data is right." if waiting else "Check the columns below.",
        details,
    )
