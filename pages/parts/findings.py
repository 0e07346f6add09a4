"""What a trainer would trip over in an export, drawn before the download."""

from __future__ import annotations

import streamlit as st

from hnmine.resources import OpenRun
from hnmine.select import Selection
from hnmine.summary import Summary

__all__ = ["draw"]


def draw(run: OpenRun, selection: Selection, summary: Summary) -> None:
    """Draw what was found, each as fine or as a note."""
    rows, number = run.inputs.rows, selection.settings.negative_number
    prompts = sum("prompt" in row.fields for row in rows)
    found: list[tuple[bool, str]] = [
        (True, f"every row has {number:,} negatives")
        if summary.short_rows == 0
        else (
            False,
            f"{summary.short_rows:,} of {summary.rows:,} rows have fewer than {number:,} negatives: trainers repeat those they have",
        ),
        (True, "no positive, no query and no repeat among the negatives"),
    ]
    if 0 < prompts < len(rows):
        found.append((False, f"{len(rows) - prompts:,} rows have no `prompt` and the others do: the trainer would read None there"))
    if summary.backfilled:
        found.append(
            (False, f"{summary.backfilled:,} negatives are back-filled at random: usually easier than mined ones; a wider window helps")
        )
    if share := summary.scores["above_positive"]:
        found.append(
            (
                False,
                f"{share:.1%} of the negatives score above their positive: they may be false; a PercPos guard on Mine removes them",
            )
        )
    found += [(False, note) for note in summary.notes]
    with st.container(border=True):
        st.caption("Checked")
        for good, text in found:
            mark(good, text)


def mark(good: bool, text: str) -> None:
    """Draw one finding; its text may hold words of the data."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(
            "fine" if good else "note",
            icon=":material/check:" if good else ":material/priority_high:",
            color="green" if good else "orange",
        )
        st.text(text)
