"""Several files read as one data set: each holds rows, or the texts of queries or passages by id.

What a file holds is recognised by its content: rows have a query and positives, or ids; a file of texts has an id and one text. Its
name, its column or its ids say whether these are queries or passages. Of several splits one is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from hnmine.core.errors import ColumnsError, InputError
from hnmine.data.columns import Columns, is_id, is_query, pool_columns
from hnmine.data.folders import Folder, Part, split_of
from hnmine.data.formats.detect import Role, Source
from hnmine.data.formats.jsonl import Reader

__all__ = ["Reading", "Sorted", "decide_texts", "in_words", "sorted_files"]

Kind = Literal["rows", "queries", "passages", "texts"]

_PREFERRED = ("train", "dev", "validation", "test")
_WORDS: dict[Kind, re.Pattern[str]] = {
    "queries": re.compile(r"quer(y|ies)|topics?|questions?"),
    "passages": re.compile(
        r"corpus|collection|passages?|psgs|docs?|documents?|chunks?|pool|kb|wiki|articles?|answers?|products?|candidates?"
    ),
}
_SAMPLE = 2_000  # records whose ids are compared


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: the columns, and what happens to bad rows; as in `reading.read_training`."""

    columns: Columns
    repair: Iterable[str]
    skip_bad_rows: bool

    def reader(self, part: Part, role: Role, columns: Columns | None = None) -> Reader:
        """Return the reader of a file."""
        given = self.columns if columns is None else columns
        return Reader(part.path, self.repair, self.skip_bad_rows, role=role, columns=given, opener=part.opener, name=part.name)


@dataclass(slots=True)
class Sorted:
    """The files of a data set by what they hold.

    Attributes:
        rows, queries, passages: the files; `texts` are queries or passages.
        text_columns: of files of queries, their columns of texts.
        splits: of the rows, the one that is read first; empty if all are.
        left_out: the names of the others.
    """

    rows: list[Part]
    queries: list[Part]
    passages: list[Part]
    texts: list[Part]
    text_columns: dict[str, str]
    splits: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def sorted_files(folder: Folder, reading: Reading) -> Sorted:
    """Return the files by what they hold, and choose the split.

    Raises:
        InputError: a file cannot be read, no file has rows, or there is no such split; as ColumnsError, its columns must be named.
    """
    found = Sorted([], [], [], [], {})
    places = {"rows": found.rows, "queries": found.queries, "passages": found.passages, "texts": found.texts}
    for part in folder.parts:
        kind, column = _kind(part, reading)
        places[kind].append(part)
        if column:
            found.text_columns[part.name] = column
    found.left_out = folder.left_out
    if not folder.named:
        _choose_split(found, reading.columns.split, folder.name)
    return found


def _choose_split(found: Sorted, wanted: str | None, where: str) -> None:
    splits = {part.split for part in found.rows if part.split}
    order = sorted(splits, key=lambda name: (name not in _PREFERRED, (*_PREFERRED, name).index(name), name))
    if wanted is not None and wanted not in splits:
        wanted = split_of(wanted) or wanted  # "validation" is "dev"
    if wanted not in (None, "all") and wanted not in splits:
        there = ", ".join(f"`{name}`" for name in order)
        raise InputError(f"{where}: there is no split `{wanted}`; " + (f"choose one of {there}, or all" if there else "leave split out"))
    if not splits or wanted == "all":
        return
    without = any(not part.split for part in found.rows)
    chosen = wanted or ("train" if "train" in splits else "" if without else order[0])
    found.splits = tuple(sorted({chosen, *order} - {""}, key=lambda name: (name != chosen, order.index(name))))
    everything = [*found.rows, *found.queries, *found.passages, *found.texts]
    found.rows[:] = [part for part in found.rows if part.split in (chosen, "") and not (wanted and not part.split and wanted != "train")]
    for parts in (found.queries, found.passages, found.texts):
        fitting = [part for part in parts if part.split in (chosen, "")]
        parts[:] = fitting or parts
    kept = {part.name for part in (*found.rows, *found.queries, *found.passages, *found.texts)}
    found.left_out += tuple(part.name for part in everything if part.name not in kept)


def _kind(part: Part, reading: Reading) -> tuple[Kind, str]:
    """Return what a file holds, and the column of its texts if these are queries."""
    given = reading.columns
    reader = reading.reader(part, "training", Columns(encoding=given.encoding))
    problem: ColumnsError | None = None
    try:
        reader.open()
    except ColumnsError as error:
        problem = error
    finally:
        reader.close()
    source = reader.source
    named = [name for name in (given.query, *(given.pos or ())) if name]
    if named and {*named} <= {*source.names}:
        return "rows", ""
    is_texts = part.role in ("corpus", "queries") or given.text in source.names
    if (reader.shape is not None or reader.columns is not None) and source.names and not is_texts:
        return "rows", ""
    if not source.names and source.format == "jsonl":  # plain text, or nothing that is known
        return ("passages" if part.name.casefold().endswith((".txt", ".txt.gz", ".txt.zst")) else "rows"), ""
    column = given.text if given.text in source.names else _text_column(source)
    if column is None:
        if problem is not None:
            remedy = "if it does not belong to the data, give the other files by name"
            raise ColumnsError(f"{_pool_question(part, reading) or problem}\n{remedy}", problem.names)
        return "rows", ""
    if part.role in ("corpus", "queries"):
        kind: Kind = "passages" if part.role == "corpus" else "queries"
    else:
        kind = _by_name(part.name, column)
    return kind, column if kind != "passages" else ""


def _pool_question(part: Part, reading: Reading) -> ColumnsError | None:
    """Return the question for the texts of a file with ids, or None if it has no column of ids."""
    reader = reading.reader(part, "pool", Columns(encoding=reading.columns.encoding))
    try:
        reader.open()
    except ColumnsError as error:
        return error if any(is_id(name) for name in error.names) else None
    finally:
        reader.close()
    return None


def _text_column(source: Source) -> str | None:
    """Return the column of texts of a file with ids and one text each, or None."""
    query = next((name for name in source.names if is_query(name)), None)
    if query is not None:
        return query if any(is_id(name) or name in (*source.ids, *source.numbers) for name in source.names if name != query) else None
    known = pool_columns(source.names, Columns(), "")
    if known is not None:
        return known.text
    return source.names[1] if source.names[:1] and source.names[0] in source.ids and 2 <= len(source.names) <= 4 else None


def _by_name(name: str, column: str) -> Kind:
    words = re.split(r"[^a-z]+", name.casefold())
    kinds = {kind for kind, pattern in _WORDS.items() if any(map(pattern.fullmatch, words))}
    if not kinds and is_query(column):
        return "queries"
    return kinds.pop() if len(kinds) == 1 else "texts"


def decide_texts(files: Sorted, queries: set[str], passages: set[str] | None, reading: Reading) -> None:
    """Decide whether files of texts with other names hold queries or passages, by the ids that the rows name.

    Args:
        queries, passages: the ids of both; `passages` is None and `queries` empty where the rows hold texts.

    Raises:
        InputError: their ids fit both.
    """
    for part in files.texts:
        if not queries:
            files.passages.append(part)
            continue
        if passages is None or files.passages or files.queries:
            kind = "queries" if passages is None or not files.queries else "passages"
        else:
            ids = _ids(part, reading)
            of_queries, of_passages = len(ids & queries), len(ids & passages)
            if of_queries == of_passages:
                raise InputError(
                    f"{part.path}: its ids do not say whether it holds queries or passages; name it queries or corpus, or give the "
                    "passages as the pool (--candidate_pool FILE)"
                )
            kind = "queries" if of_queries > of_passages else "passages"
        (files.queries if kind == "queries" else files.passages).append(part)
    files.texts.clear()


def _ids(part: Part, reading: Reading) -> set[str]:
    reader = reading.reader(part, "pool", Columns(encoding=reading.columns.encoding))
    found: set[str] = set()
    try:
        for number, line in enumerate(reader.lines()):
            record = msgspec.json.decode(line)
            found |= {str(value) for value in record.values() if isinstance(value, str | int)}
            if number == _SAMPLE:
                break
    except (ColumnsError, msgspec.DecodeError, UnicodeDecodeError):
        pass
    finally:
        reader.close()
    return found


def in_words(files: Sorted) -> str:
    """Return what each file holds, such as "rows from train.jsonl, passages from corpus.jsonl"."""
    parts = [("rows", files.rows), ("queries", files.queries), ("passages", files.passages)]
    text = ", ".join(f"{what} from {_names([part.name for part in found])}" for what, found in parts if found)
    return text + (f"; left out: {_names(files.left_out)}" if files.left_out else "")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4:,} more" if len(names) > 4 else "")
