"""The rows of a data set: the first ones as a table, their other fields, and the lengths of the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from hnmine.core.text import shortened, visible
from hnmine.data.rows import Row
from pages.data.first_rows import WIDTH, passages
from pages.data.health import Lengths
from pages.shared.wording import percent

SHOWN = 100
_READ = ("query", "pos", "neg")
# Left out or written anew by the export, because the negatives that they belong to are replaced.
_NOT_KEPT = ("pos_scores", "neg_scores")


def _field(raw: str) -> str:
    """Return a field for the table: a plain string without its quotes, any other value as JSON."""
    return raw[1:-1] if raw.startswith('"') and "\\" not in raw else raw


def first(rows: Sequence[Row], fields: Mapping[str, int]) -> None:
    """Draw the first rows; `fields` are those of all rows with their counts."""
    head = rows[:SHOWN]
    others = [key for key in fields if key not in _READ][:8]
    shown: dict[str, list[object]] = {
        "line": [row.line for row in head],
        "query": [shortened(row.query, WIDTH) for row in head],
        "positives": [passages(row.pos) for row in head],
    }
    if any(row.neg for row in head):
        shown["old negatives"] = [passages(row.neg) for row in head]
    st.dataframe(
        shown | {visible(key): [_field(bytes(row.fields[key]).decode()) if key in row.fields else None for row in head] for key in others},
        hide_index=True,
        row_height=76,
        height=342 if len(head) > 4 else "content",
        column_config={
            "line": st.column_config.NumberColumn(width=55),
            "query": st.column_config.TextColumn(width=300),
            "positives": st.column_config.TextColumn(width=420),
            "old negatives": st.column_config.TextColumn(width=300, help="Kept as candidates and replaced in the export."),
        },
        alt="The first training rows as they are read",
    )
    if len(rows) > SHOWN:
        st.text(f"The first {SHOWN:,} of {len(rows):,} rows.")


def other_fields(fields: Mapping[str, int], rows: int) -> None:
    """Draw which further fields the rows have, and whether the export keeps them."""
    others = {
        key: f"{visible(key)} ({count:,} rows)" if count != rows else visible(key) for key, count in fields.items() if key not in _READ
    }
    kept = [text for key, text in others.items() if key not in _NOT_KEPT]
    lost = [text for key, text in others.items() if key in _NOT_KEPT]
    st.text(f"Other fields, kept in the export: {', '.join(kept) or 'none'}")
    if lost:
        st.text(f"Not kept, because the negatives are replaced: {', '.join(lost)}")


def lengths(found: Lengths) -> None:
    """Draw the histograms of the lengths with the model's limits."""
    from hnmine.analysis import count_charts  # Arrow and NumPy would delay the first screen
    from pages.shared.drawing import draw

    for column, counts, limit, too_long, what in zip(
        st.columns(2), found.counts, found.limits, found.too_long, ("queries", "passages"), strict=True
    ):
        with column:
            share = percent(too_long, 1)
            description = f"Histogram of the lengths of {what}: {share} are longer than {limit:,} tokens"
            draw(count_charts.length_histogram(counts, limit, what, description), f"data-{what}")
            if too_long:
                st.warning(
                    f"{share} of the {what} exceed the {limit:,}-token limit of {found.model} and are truncated.",
                    icon=":material/content_cut:",
                )
            else:
                st.markdown(f"All {what} are within the {limit:,}-token limit of {found.model}.")
