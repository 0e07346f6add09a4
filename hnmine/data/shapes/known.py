"""All shapes, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence

from hnmine.data.shapes.collection import COLLECTION
from hnmine.data.shapes.ids import ID_TABLE, IDS, IDS_ONLY, JUDGED_TABLE
from hnmine.data.shapes.messages import MESSAGES
from hnmine.data.shapes.nested import INSTRUCTED, WRAPPED, WRAPPED_TEXTS
from hnmine.data.shapes.shape import Record, Shape
from hnmine.data.shapes.squad import SQUAD, SQUAD_FLAT

__all__ = ["SHAPES", "recognised"]

SHAPES = (COLLECTION, MESSAGES, SQUAD, SQUAD_FLAT, WRAPPED, WRAPPED_TEXTS, INSTRUCTED, IDS, IDS_ONLY, JUDGED_TABLE, ID_TABLE)


def recognised(records: Sequence[Record]) -> Shape | None:
    """Return the shape of the first records, decoded, or None for rows whose fields are the columns."""
    return next((shape for shape in SHAPES if shape.fits(records)), None) if records else None
