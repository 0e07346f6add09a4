"""Ids replaced by texts, and passages with titles spelled as the positives that they are.

Rows that name passages by id get the texts from the pool; an id is never a passage. A pool passage that equals a positive
with or without its title is that positive, and is spelled like it. All other passages of a pool with titles get
`title text`, as in BEIR and Tevatron, if the rows' own passages have titles, else `text` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Literal

import msgspec

from hnmine.core.errors import InputError, TextsError
from hnmine.core.text import normalize_text
from hnmine.data.formats.lines import LineReader
from hnmine.data.problems import REPAIRS, InputFile, Problem
from hnmine.data.rows import Row, array, joined
from hnmine.data.texts import TextWriter

__all__ = ["join_texts", "require_texts", "spelled_pool", "wanted_ids", "wanted_queries"]


def wanted_ids(training: InputFile[Row]) -> set[str] | None:
    """Return the ids of passages that the rows name, or None if they hold texts."""
    return {text for row in training.items for text in (*row.pos, *row.neg)} if training.ids[1] else None


def wanted_queries(training: InputFile[Row]) -> set[str]:
    """Return the ids of queries that the rows name; empty if they hold texts."""
    return {row.query for row in training.items} if training.ids[0] else set()


def require_texts(training: InputFile[Row], *, queries: bool, passages: bool) -> None:
    """Check that the texts of all ids are there: a file of `queries`, and one of `passages`.

    Raises:
        TextsError: the file with the texts of queries or passages is missing.
    """
    ids = {"queries": training.ids[0] and not queries, "passages": training.ids[1] and not passages}
    missing = [what for what, lacks in ids.items() if lacks]
    if not missing:
        return
    row = training.items[0] if training.items else None
    shown = "" if row is None else f", such as {row.query!r}" if "queries" in missing else f", such as {row.pos[0]!r}"
    remedy = []
    if "passages" in missing:
        remedy.append("give the file with the passages and their ids as the pool (--candidate_pool FILE)")
    if "queries" in missing:
        remedy.append("give the file with the queries and their ids as a further input file (--input_file ROWS QUERIES)")
    parts = " and ".join(missing)
    file = f"the file with the {parts} is" if len(missing) == 1 else f"the files with the {parts} are"
    raise TextsError(f"{training.path}: the rows name {parts} by id{shown}, and {file} missing: {'; '.join(remedy)}", missing)


def join_texts(
    training: InputFile[Row],
    queries: InputFile[str] | None,
    passages: InputFile[str] | None,
    *,
    repair: Iterable[str],
    skip_bad_rows: bool,
) -> None:
    """Replace the ids in the rows by texts; ids without a text are problems of their row.

    Args:
        training: rows with ids in `query`, or in `pos` and `neg`; changed in place.
        queries, passages: their `by_id` has the texts; None where the rows hold texts.
        repair, skip_bad_rows: as in `reading.read_training`.

    Raises:
        InputError: hardly any id has a text: the column of ids is another one.
    """
    for file, wanted in ((queries, wanted_queries(training)), (passages, wanted_ids(training))):
        if file is not None and wanted and len(file.by_id) * 2 < len(wanted):
            example = min(wanted - file.by_id.keys())
            raise InputError(
                f"{file.path}: {len(wanted) - len(file.by_id):,} of {len(wanted):,} ids that the rows name are not in it, such as "
                f"{example!r}; give the file that belongs to the rows, or name its column of ids: --columns id=NAME"
            )
    reader = LineReader(training.path, repair, skip_bad_rows)
    name = reader.name
    kept = []
    for row in training.items:
        reader.line, reader.name = row.line, row.file or name
        found: list[Problem] = []
        if queries is not None:
            _join_query(row, queries, reader, found)
        if passages is not None:
            _join_passages(row, passages, reader, found)
        if not found or reader.admit(found):
            kept.append(row)
    training.items = kept
    training.problems += reader.problems
    for file, what in ((queries, "queries"), (passages, "passages")):
        if file is not None:
            training.read_as += f"; {len(file.by_id):,} {what} by their id in {Path(file.path).name}"
    training.plain = False


def _unknown(reader: LineReader, what: str, identity: str, file: InputFile[str]) -> Problem:
    return reader.problem("$", "unknown-id", f"there is no {what} {identity!r} in {Path(file.path).name}", REPAIRS["unknown-id"])


def _join_query(row: Row, queries: InputFile[str], reader: LineReader, found: list[Problem]) -> None:
    text = queries.by_id.get(row.query)
    if text is None:
        found.append(_unknown(reader, "query", row.query, queries))
        found.append(reader.problem("$.query", "no-query", "the query of the row is not there", "add it to the queries, or skip the row"))
        return
    row.fields.setdefault("id", msgspec.Raw(msgspec.json.encode(row.query)))
    row.query = text
    row.fields["query"] = msgspec.Raw(msgspec.json.encode(text))


def _join_passages(row: Row, passages: InputFile[str], reader: LineReader, found: list[Problem]) -> None:
    texts = passages.by_id
    found += [_unknown(reader, "passage", each, passages) for each in (*row.pos, *row.neg) if each not in texts]
    pos = [texts[each] for each in row.pos if each in texts]
    if row.pos and not pos:
        found.append(
            reader.problem("$.pos", "no-positive", "no positive of the row is there", "add its passage to the pool, or skip the row")
        )
    row.pos, row.neg = pos, [texts[each] for each in row.neg if each in texts]
    row.fields["pos"] = array(row.pos)
    if "neg" in row.fields:
        row.fields["neg"] = array(row.neg)


def spelled_pool(
    pool: InputFile[str], rows: Sequence[Row], titled: Mapping[str, str], titles: Literal["join", "ignore"] | None = None
) -> Sequence[str]:
    """Return the passages of a pool, each spelled as the passage of a row that it equals, if any.

    Args:
        pool: its `titles` are None where no passage has one.
        rows: the training rows.
        titled: text -> title and text, of the rows' passages that have titles of their own.
        titles: "join" or "ignore" those of the pool; None joins them if the rows' passages have titles.
    """
    if pool.titles is None and not titled:
        return pool.items
    join = bool(titled) if titles is None else titles == "join"
    known = {normalize_text(text) for row in rows for text in (*row.pos, *row.neg)}
    spelled = {normalize_text(text): whole for text, whole in titled.items()}
    beginnings = {_beginning(text) for text in (*known, *spelled)} | {None}
    passages = TextWriter()
    for text, title in zip(pool.items, chain(pool.titles or (), repeat("")), strict=False):
        whole = joined(title, text) if title else text
        ways = list(dict.fromkeys((whole, text) if join else (text, whole)))
        likely = [way for way in ways if _beginning(way) in beginnings]  # nearly all passages are no row's
        found = next((way for way in likely if normalize_text(way) in known), None)
        passages.append(found or (spelled.get(normalize_text(text)) if text in likely else None) or ways[0])
    return passages.texts()


def _beginning(text: str) -> str | None:
    """Return the first letters of a text's normal form, or None where they are not sure: not ASCII, or too few."""
    letters = "".join(text[:64].split())[:17]  # the last of them shows that no accent follows the others
    return letters[:16].lower() if len(letters) == 17 and letters.isascii() else None
