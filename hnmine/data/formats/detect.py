"""The format of a file, detected by its content: JSON lines, a JSON document, CSV or TSV, plain text, Parquet, Arrow, Excel, BEIR.

The first 64 KiB or more decide, and the result is shown before anything is used (`str(source)`: "CSV, 3 columns: question,
answer, wrong"). The file name only breaks ties, such as a line with commas that may be prose or a record. A file with any
JSON object among its first lines is JSON lines, so that each bad line is reported. A header is a record with a well-known
name, or with names unlike the data; without one the columns are named `column_1`, `column_2` and so on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

import msgspec

from hnmine.core.errors import InputError
from hnmine.core.text import counted, shortened
from hnmine.data.columns import Columns, in_words, known_name
from hnmine.data.formats import delimited
from hnmine.data.formats.delimited import Layout, cleaned, trimmed
from hnmine.data.formats.documents import almost, beginning, list_in_line
from hnmine.data.formats.headers import ID, header_in, header_of_sheet
from hnmine.data.formats.literals import list_in
from hnmine.data.formats.streams import Packing
from hnmine.data.formats.turned import Turned, turned

__all__ = ["Format", "Role", "Source", "detect", "read_as", "sheet"]

Format = Literal["jsonl", "json", "csv", "text", "parquet", "arrow", "excel", "beir"]
Role = Literal["training", "pool"]

_LABELS = {
    "jsonl": "JSON lines",
    "json": "JSON",
    "text": "Plain text, a passage a line",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "excel": "Excel",
    "beir": "BEIR data set",
}
_NAMES = {",": "CSV", ";": "CSV with semicolons", "\t": "TSV", "|": "CSV with vertical bars", " ": "Columns separated by blanks"}
_SAMPLE = 2**18  # bytes parsed to detect a table
_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The detected format of a file.

    Attributes:
        format: see the module; "csv" is any delimited table.
        names: columns, or the fields of the first JSON objects; for a BEIR data set the names of its qrels.
        packing: "gzip", "zstd", or "".
        encoding: that a text file is transcoded from, or "" for UTF-8.
        part: the sheet of several that is read, or the list in a JSON object.
        turned: how a JSON object without such a list holds records.
        layout: of a delimited table.
        header: of records that are no objects: whether the first one holds the names.
        doubtful: the first record, if it is not certain whether it holds the names.
        listed: JSON whose records are lists.
        lists: the columns of a table or sheet whose cells are lists as text.
        ids: the columns with one word or number per cell.
        labels, numbers: the columns with few, short values, and with numbers alone.
        repeated: the columns whose values repeat.
        flags: the columns with 0 and 1, true and false, or yes and no alone.
        codes: the columns whose texts are all ids, such as UUIDs.
        several: the columns with more than one passage in a row.
        contrary: two labels that contradict each other.
        sizes: the median length of the first texts of the columns that hold texts, in characters.
        lengths: the median length of the first texts of each column, in characters; of records without names.
        shape: of the rows, such as "chat messages"; "" for fields as columns.
    """

    format: Format
    names: tuple[str, ...] = ()
    packing: Packing = ""
    encoding: str = ""
    part: str = ""
    turned: Turned = ""
    layout: Layout = field(default_factory=Layout)
    header: bool = True
    doubtful: tuple[str, ...] = ()
    listed: bool = False
    lists: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    contrary: tuple[str, str] | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    lengths: tuple[float, ...] = ()
    shape: str = ""

    def __str__(self) -> str:
        parts = ["Markdown table" if self.layout.bars else _LABELS.get(self.format) or _NAMES[self.layout.delimiter]]
        if self.format == "json":
            kinds = {"columns": "JSON, an object of columns", "keys": "JSON, an object of records by key", "": "JSON array"}
            parts = [f"JSON, the list `{self.part}`" if self.part else kinds[self.turned]]
        elif self.part:
            parts.append(f"the sheet `{self.part}`, the first of several")
        if self.packing:
            parts.append({"gzip": "compressed with gzip", "zstd": "compressed with Zstandard"}[self.packing])
        if self.encoding:
            parts.append(f"encoding {self.encoding}")
        if self.layout.skipped:
            parts.append(f"{counted(self.layout.skipped, 'row' if self.format == 'excel' else 'line')} before the table left out")
        if not self.header:
            parts.append("no header")
        if self.shape:
            parts.append(self.shape)
        text = ", ".join(parts)
        if not self.names or self.format == "text":
            return text
        shown = ", ".join(self.names[:12]) + (f" and {len(self.names) - 12:,} more" if len(self.names) > 12 else "")
        what = {"jsonl": "field", "json": "field", "beir": "split"}.get(self.format, "column") if self.header else "column"
        return f"{text}, {len(self.names):,} {what}{'' if len(self.names) == 1 else 's'}: {shown}"

    @property
    def is_table(self) -> bool:
        """Whether the file is a table, so that an empty cell is a missing value."""
        return self.format in ("csv", "parquet", "arrow", "excel") or not self.header


def read_as(source: Source, columns: Columns | None) -> str:
    """Return a sentence with the format of a file and the columns that are read."""
    text = str(source)
    return text if columns is None or source.format in ("text", "beir") else f"{text}; read as {in_words(columns)}"


def detect(head: bytes, name: str, role: Role, *, whole: bool, named: Collection[str] = ()) -> Source:
    """Return the format of a file that begins with `head`; `name` breaks ties, `whole` is True if `head` is all of it.

    `named` are the columns that the user names: a first record with all of them is a header.

    Raises:
        InputError: the file is a JSON object with several lists of records, a TREC run, nearly JSON, or no table either.
    """
    start = head.lstrip()
    lines = head.split(b"\n", _ROWS)[:_ROWS]
    if _has_list_lines(start, lines, role):
        return _of_lists("jsonl", [found for line in lines if (found := list_in_line(line))], named)
    if way := turned(head, whole=whole):
        return Source(format="json", turned=way)
    if (document := beginning(head, whole=whole, where=name)) is not None:
        part, items = document
        if items and isinstance(items[0], list):
            return replace(_of_lists("json", [each for each in items if isinstance(each, list)], named), part=part)
        return Source(format="json", part=part, names=_fields([each for each in items if isinstance(each, dict)]))
    objects = [found for found in map(_object, lines) if found]
    if (not objects or start.startswith((b"//", b"/*"))) and start[:1] in (b"{", b"[", b"/", b"#") and (remedy := almost(head[:_SAMPLE])):
        raise InputError(f"{name}: the file is nearly JSON: {remedy}")
    if not objects and b"\0" in head[:4096]:
        raise InputError(f"{name}: the file is not text (it has NUL bytes); write the rows as JSON lines, CSV or Parquet")
    if objects or not start or start[:1] in b"{[":
        return Source(format="jsonl", names=_fields(objects))
    if table := _table(head, name, role, whole, named):
        return table
    if role == "pool":
        return Source(format="text", names=("text",))
    first = lines[0].decode("utf-8", "replace")
    if delimiter := next((each for each in delimited.DELIMITERS if sum(map(known_name, first.split(each))) > 1), ""):
        raise InputError(
            f"{name}: the first line names {len(first.split(delimiter)):,} columns, {shortened(first, 60)!r}, but most records have "
            "another number of cells; quote the cells that contain the delimiter"
        )
    raise InputError(
        f"{name}: the file has neither JSON objects nor the columns of a table; its first line is {shortened(first, 60)!r}. "
        'Write an object a line, such as {"query": ..., "pos": [...]}, or a table with the columns query and positive'
    )


def _has_list_lines(start: bytes, lines: Sequence[bytes], role: Role) -> bool:
    """Return whether the file is JSON lines whose records are lists, such as ["query", "positive", "negative"]."""
    first = start.split(b"\n", 1)[0].strip()
    if not first.startswith(b"[") or first == b"[":
        return False
    count = sum(1 for line in lines if list_in_line(line))
    if count == 1 and len(first) == len(start.strip()):  # one line is a record of texts, or an array of records
        return role == "training" and not any(bytes(each)[:1] in b"{[" for each in list_in_line(first) or ())
    return count > 1


def _of_lists(kind: Format, rows: Sequence[Sequence[Any]], named: Collection[str]) -> Source:
    """Return the source of records that are lists; values are as decoded, or raw."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    whole = [[_plain(value) for value in row] for row in rows if len(row) == width]
    first = [value if isinstance(value, str) else "" for value in whole[0]]
    texts = [[value if isinstance(value, str) else str(value) for value in row] for row in whole[1:]]
    known = sum(map(known_name, first))
    distinct = len(rows[0]) == width == len({*first}) and all(first)
    header = distinct and (known == width or (len(named) > 0 and {*named} <= {*first}))
    # Such records rarely have a header, so a likely one is asked about.
    likely = distinct and not header and not _by_number(named) and (known > 0 or header_in(first, texts) != "no")
    columns = list(zip(*whole[header:], strict=True))
    names = tuple(first if header else (f"column_{place}" for place in range(1, width + 1)))
    lengths = (median([len(each) for each in values if isinstance(each, str)] or [0]) for values in columns)
    return Source(
        format=kind,
        names=names,
        header=header,
        listed=True,
        doubtful=tuple(first) if likely else (),
        ids=tuple(name for name, values in zip(names, columns, strict=True) if all(map(_is_id, values))),
        lengths=() if header else tuple(lengths),
    )


def _plain(value: Any) -> Any:
    """Return a value that may be raw as decoded."""
    if not isinstance(value, msgspec.Raw):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_id(value: Any) -> bool:
    """Return whether a value is a number, or one word with a digit."""
    return isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(ID, value.strip()) is not None)


def _object(line: bytes) -> dict[str, Any]:
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        return msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _fields(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for each in objects for key in each))


# Tables


def _table(head: bytes, name: str, role: Role, whole: bool, named: Collection[str]) -> Source | None:
    sample = head[:_SAMPLE]
    cut = not (whole and len(head) <= _SAMPLE)
    if cut:  # the last line may be incomplete
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    text = sample.decode("utf-8", "replace")
    delimited.refuse_run(text, name)
    if found := delimited.table(text, re.sub(r"\.(gz|zst|zip)$", "", name.lower()), role, cut=cut):
        layout, records, known = found
        source = _described(layout, records, known=known > 0, named=named)
        if source.header or (titleless := delimited.without_titles(layout, text)) == layout:
            return source
        return replace(source, layout=titleless)
    if (judged := delimited.judgements(text)) is None:
        return None
    if role == "pool":
        raise InputError(f"{name}: the file has judgements (query, passage, grade) and no passages; give the file with the passages")
    layout, records, header = judged
    names = [cleaned(cell) if header else f"column_{place}" for place, cell in enumerate(records[0], 1)]
    return Source(format="csv", names=tuple(names), layout=layout, header=header, ids=tuple(names))


def sheet(rows: Sequence[Sequence[Any]], part: str, named: Collection[str] = ()) -> Source:
    """Return the source of an Excel sheet that begins with these rows, all of one length; `named` as in `detect`."""
    skipped, first = header_of_sheet(rows)
    records = [first, *rows[skipped + 1 :]]
    texts = [["" if cell is None else str(cell) for cell in record] for record in records]
    # Sheets nearly always have a header, often with blanks in its names.
    known = all(isinstance(cell, str) and 0 < len(cell.strip()) <= 40 for cell in first) and len({*texts[0]}) == len(texts[0])
    known = known or skipped > 0 or any(known_name(cleaned(cell)) for cell in texts[0])
    return replace(_described(Layout(skipped=skipped), texts, known=known, named=named), format="excel", part=part)


def _described(layout: Layout, records: list[list[str]], *, known: bool, named: Collection[str] = ()) -> Source:
    first, rows = [cleaned(cell) for cell in records[0]], records[1:]
    while len(first) > 1 and not first[-1] and not any("".join(row[len(first) - 1 :]).strip() for row in rows):
        first.pop()  # a delimiter at the end of each line is no column
    whole = [each for row in rows if len(each := trimmed(row, len(first))) == len(first)]
    index = not first[0] and _is_index([row[0] for row in whole])
    if index:
        first[0] = "Unnamed: 0"  # as pandas reads the index that it wrote
    known = known or index or (len(named) > 0 and {*named} <= {*first})
    looks = "yes" if known else "no" if _by_number(named) else header_in(first, whole)
    header = looks == "yes"
    names = [cell if header and cell else f"column_{place}" for place, cell in enumerate(first, 1)]
    lists, ids, lengths = [], [], []
    for place, name in enumerate(names):
        cells = [row[place] for row in (rows if header else records) if len(row) > place and row[place].strip()]
        lengths.append(median(map(len, cells)) if cells else 0)
        if cells and all(list_in(cell) is not None for cell in cells):
            lists.append(name)
        elif cells and all(re.fullmatch(ID, cell.strip()) for cell in cells):
            ids.append(name)
    return Source(
        format="csv",
        names=tuple(names),
        layout=layout,
        header=header,
        doubtful=tuple(first) if looks == "maybe" or (header and not known and " " in "".join(first)) else (),
        lengths=() if header else tuple(lengths),
        lists=tuple(lists),
        ids=tuple(ids),
    )


def _by_number(named: Collection[str]) -> bool:
    """Return whether the user names columns as those of a table without a header."""
    return len(named) > 0 and all(re.fullmatch(r"column_\d+", name) for name in named)


def _is_index(cells: Sequence[str]) -> bool:
    """Return whether these are the numbers from 0 or 1."""
    return (
        len(cells) > 1
        and cells[0].strip() in ("0", "1")
        and [cell.strip() for cell in cells] == [str(number) for number in range(int(cells[0]), int(cells[0]) + len(cells))]
    )
