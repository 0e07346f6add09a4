"""Sentences on what a format leaves out or changes, from the counts of an `ExportPart`: one function for each family of formats."""

from __future__ import annotations

from functools import partial

from hnmine.export.examples import ExportPart, listed
from hnmine.export.retrieval_sets import CELL_LIMIT, ROW_LIMIT

__all__ = ["list_notes", "message_notes", "retrieval_notes", "row_notes", "spreadsheet_notes", "table_notes", "triple_notes"]


def _notes(sentences: dict[str, str], part: ExportPart, *, ids: bool = False) -> list[str]:
    """Return the notes of a part: those of all formats, and a sentence for each count of `sentences` that is not 0."""
    wanted, fewest = part.selection.settings.negative_number, part.counts["fewest"]
    remedy = f"; set negative_number to {fewest} to keep all" if fewest else ""
    counted = ((part.counts[name], sentence) for name, sentence in sentences.items())
    return [*part.notes(ids=ids), *(sentence.format(count, wanted=wanted, remedy=remedy) for count, sentence in counted if count)]


_LEFT_OUT = {"without": "{:,} queries have no negative and are left out"}
table_notes = partial(
    _notes,
    _LEFT_OUT
    | {
        "alone": "{:,} queries have no negative: only their positives are written",
        "short": "{:,} queries have fewer than {wanted} negatives and are left out, because an n-tuple needs all{remedy}",
    },
)
_EMPTY = {"without": "{:,} queries have no negative: their lists are empty"}
list_notes = partial(_notes, _EMPTY)
retrieval_notes = partial(
    _notes,
    _EMPTY
    | {
        "respelled": "{:,} positives differ from a passage only in case or white space, and are written with its text",
    },
    ids=True,
)
triple_notes = partial(
    _notes,
    _LEFT_OUT | {"flattened": "{:,} texts have tabs or line breaks, which this format cannot represent: each is written as a space"},
)
spreadsheet_notes = partial(
    _notes,
    {
        "prefixed": "{:,} texts begin like a formula: an apostrophe is prepended, so that no program runs them",
        "too long": f"{{:,}} texts are longer than {CELL_LIMIT:,} characters: Excel truncates them",
        "too many": f"{{:,}} lines: Excel reads only {ROW_LIMIT:,}",
    },
    ids=True,
)
message_notes = partial(
    _notes,
    {
        "without": "{:,} queries have no negative: they are written without `negative_messages`, for in-batch negatives",
        "tags": "{:,} texts have <image>, <video> or <audio>, which ms-swift takes for a file: remove these tags",
    },
)


def row_notes(part: ExportPart) -> list[str]:
    """Return notes on a table of rows: rows without negatives, and the fields that have no type in a table."""
    empty = part.counts["without"]
    found = [f"{empty:,} {'row has' if empty == 1 else 'rows have'} no negative: the list is empty"] if empty else []
    if part.untyped:
        found.append(f"the values of these fields have no common type in a table, and are left out: {listed(part.untyped)}")
    return found
