"""All shapes, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence

from hnmine.data.columns import Columns
from hnmine.data.shapes.annotated import ARGILLA, ARGILLA_FLAT, LABEL_STUDIO
from hnmine.data.shapes.binary import PRODIGY, RANKER
from hnmine.data.shapes.choices import CHOICES
from hnmine.data.shapes.collection import COLLECTION
from hnmine.data.shapes.ids import ID_TABLE, IDS, IDS_ONLY, JUDGED_OBJECT, JUDGED_TABLE
from hnmine.data.shapes.judged import JUDGED, JUDGED_IDS, judged
from hnmine.data.shapes.messages import CONVERSATION, MESSAGES
from hnmine.data.shapes.nested import FLATTENED, INSTRUCTED, OBJECTS, WRAPPED, WRAPPED_TEXTS, dotted
from hnmine.data.shapes.preferences import AB, ALPACA, KTO, NUMBERED, OPENAI, PREFERENCES
from hnmine.data.shapes.published import COLUMNAR, DUPLICATES, MULTIHOP, QUESTIONS, SNIPPETS
from hnmine.data.shapes.separated import SEPARATED, UNSEPARATED
from hnmine.data.shapes.shape import Record, Shape
from hnmine.data.shapes.squad import SQUAD, SQUAD_FLAT

__all__ = ["SHAPES", "recognised"]

SHAPES = (
    *(
        COLLECTION,
        JUDGED_OBJECT,
        RANKER,
        LABEL_STUDIO,
        ARGILLA,
        ARGILLA_FLAT,
        PRODIGY,
        MESSAGES,
        PREFERENCES,
        OPENAI,
        KTO,
        AB,
        CONVERSATION,
    ),
    *(SQUAD, SQUAD_FLAT, MULTIHOP, QUESTIONS, SNIPPETS, DUPLICATES, COLUMNAR),
    *(WRAPPED, WRAPPED_TEXTS, INSTRUCTED, JUDGED, JUDGED_IDS, *NUMBERED, *CHOICES, ALPACA, OBJECTS, *SEPARATED, UNSEPARATED),
    *(IDS, IDS_ONLY, JUDGED_TABLE, ID_TABLE, FLATTENED),
)


def recognised(records: Sequence[Record], given: Columns) -> Shape | None:
    """Return the shape of the first records, decoded, or None for rows whose fields are the columns.

    Columns that the user names are read as they are, but passages in them may be judged, and their names may lead into objects.
    """
    shapes: Sequence[Shape] = SHAPES
    if given.query or given.pos:
        shapes = (judged(given.query, given.pos), dotted([name for name in (given.query, *(given.pos or ()), *(given.neg or ())) if name]))
    return next((shape for shape in shapes if shape.fits(records)), None) if records else None
