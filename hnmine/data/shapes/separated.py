"""Several passages in one cell, separated by `|||`, `||` or `|`, in columns named as plural positives or negatives.

They are cut apart if at least half the cells of a column have the separator, with some words on each side of it: in a text or a
Markdown table a bar stands otherwise. A column where fewer cells do is refused: a bar may belong to a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hnmine.data.columns import Columns, training_columns
from hnmine.data.shapes.shape import Fields, Record, Shape, raw, value

__all__ = ["SEPARATED", "UNSEPARATED"]

_PLURAL = re.compile(r"pos|neg|(hard_?)?(positive|negative)s|((hard_?)?(positive|negative)_)?(passages|documents|docs|ctxs|contexts|texts)")
_BARS = ("|||", "||", "|")
_LEAST = 2  # words of a passage beside a single bar


def _plural(record: Record) -> tuple[str, ...]:
    found = training_columns(list(record), Columns(), "")
    return tuple(name for name in (*(found.pos or ()), *(found.neg or ())) if _PLURAL.fullmatch(name.casefold())) if found else ()


def _parts(cell: str, bar: str) -> list[str]:
    return [part.strip() for part in cell.split(bar)]


def _separator(cells: Sequence[str]) -> tuple[str, bool]:
    """Return the separator of a column, "" if its cells are single texts, and whether it is certain."""
    for bar in _BARS:
        parted = [_parts(cell, bar) for cell in cells if bar in cell]
        if not parted:
            continue
        whole = all(part for parts in parted for part in parts)
        words = bar != "|" or all(len(part.split()) >= _LEAST or len(part) > 20 for parts in parted for part in parts)
        if whole and words:
            return bar, 2 * len(parted) >= len(cells)
    return "", True


def _separators(records: Sequence[Record]) -> list[tuple[str, bool]]:
    found = []
    for name in dict.fromkeys(name for record in records for name in _plural(record)):
        cells = [record[name] for record in records if record.get(name)]
        if cells and all(isinstance(cell, str) for cell in cells):
            found.append(_separator(cells))
    return [(bar, sure) for bar, sure in found if bar]


def _shape(bar: str) -> Shape:
    def rows(fields: Fields) -> list[Fields]:
        cut = {name: raw(_parts(cell, bar)) for name in _plural(dict(fields)) if isinstance(cell := value(fields, name), str) and cell}
        return [fields | cut]

    def fits(records: Sequence[Record]) -> bool:
        found = _separators(records)
        return bool(found) and all(each == (bar, True) for each in found)

    return Shape(name=f"passages separated by {bar}", fits=fits, rows=rows)


SEPARATED = tuple(map(_shape, _BARS))
UNSEPARATED = Shape(
    name="passages with bars",
    fits=lambda records: bool(_separators(records)),
    rows=lambda fields: [fields],
    refused="some cells of the passages have `|`, which may separate passages or belong to a text; write the passages as a JSON "
    'list, such as ["one", "other"], or name the column as a singular, such as `positive`',
)
