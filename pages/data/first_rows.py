"""Tables of the beginning of a file: its records as they are, and its rows as they are understood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import streamlit as st

from hnmine.core.text import shortened, visible
from hnmine.data.rows import Row
from hnmine.runs.uploads import FirstRow

WIDTH = 240  # characters of a text
RECORDS = 2


def draw(rows: Sequence[FirstRow | Row]) -> None:
    """Draw the first rows as they are understood."""
    labels = [row.label if isinstance(row, FirstRow) else None for row in rows]
    asked = any(label is not None for label in labels)
    shown: dict[str, list[Any]] = {
        "line": [row.line for row in rows],
        "query": [shortened(row.query, WIDTH) for row in rows],
        "passage" if asked else "positives": [passages(row.pos) for row in rows],
    }
    if asked:
        shown["label"] = labels
    if any(row.neg for row in rows):
        shown["old negatives"] = [passages(row.neg) for row in rows]
    st.dataframe(
        shown,
        hide_index=True,
        row_height=72,
        column_config={
            "line": st.column_config.NumberColumn(width=55),
            "query": st.column_config.TextColumn(width=200),
            **dict.fromkeys(("passage", "positives", "old negatives"), st.column_config.TextColumn(width=315)),
        },
        alt="The first rows as they are read: query, positives, old negatives",
    )


def passages(texts: Sequence[str]) -> str:
    """Return the first of several passages and how many more there are, for a cell."""
    first = shortened(texts[0], WIDTH) if texts else ""
    return f"{first} (+{len(texts) - 1:,} more)" if len(texts) > 1 else first


def draw_records(records: Sequence[dict[str, Any]]) -> None:
    """Draw the first records as they are in a file."""
    records = records[:RECORDS]
    names = list(dict.fromkeys(name for record in records for name in record))
    st.dataframe(
        {visible(name): [shortened(cell(record.get(name)) or "", WIDTH) for record in records] for name in names},
        hide_index=True,
        alt="The first records of the file",
    )


def cell(value: object) -> str | None:
    """Return a value as text: JSON unless it is one."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
