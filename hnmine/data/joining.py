"""Ids replaced by texts, and passages with titles spelled as the positives that they are.

Rows that name passages by id get the texts from the pool; an id is never a passage. A pool passage that equals a positive
with or without its title is that positive, and is spelled like it. All other passages of a pool with titles get
`title text`, as in BEIR and Tevatron, if the rows' own passages have titles, else `text` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Literal

from hnmine.core.errors import InputError, TextsError
from hnmine.core.text import normalize_text
from hnmine.data.lines import LineReader
from hnmine.data.problems import REPAIRS, InputFile
from hnmine.data.rows import Row, array, joined

__all__ = ["join_passages", "require_texts", "spelled_pool", "wanted_ids"]


def wanted_ids(training: InputFile[Row]) -> set[str] | None:
    """Return the ids of passages that the rows name, or None if they hold texts."""
    return {text for row in training.items for text in (*row.pos, *row.neg)} if training.ids[1] else None


def require_texts(training: InputFile[Row], *, pool: bool) -> None:
    """Check that the texts of all ids are there.

    Raises:
        TextsError: the file with the texts of queries or passages is missing.
    """
    queries, passages = training.ids
    missing = [*(["queries"] if queries else []), *(["passages"] if passages and not pool else [])]
    if not missing:
        return
    row = training.items[0] if training.items else None
    shown = "" if row is None else f", such as {row.query!r}" if queries else f", such as {row.pos[0]!r}"
    parts = " and ".join(missing)
    remedy = []
    if "passages" in missing:
        remedy.append("give the file with the passages and their ids as the pool (--candidate_pool FILE)")
    if queries:
        remedy.append(
            "add the text of each query to its row as `query`, or make a BEIR data set (queries.jsonl, corpus.jsonl, qrels/train.tsv)"
        )
    file = f"the file with the {parts}" if len(missing) == 1 else f"the files with the {parts}"
    raise TextsError(f"{training.path}: the rows name {parts} by id{shown}, and {file} is missing: {'; '.join(remedy)}", missing)


def join_passages(training: InputFile[Row], texts: dict[str, str], pool: str, *, repair: Iterable[str], skip_bad_rows: bool) -> None:
    """Replace the ids in the rows by texts; ids without a text are problems of their row.

    Args:
        training: rows with ids in `pos` and `neg`; changed in place.
        texts: id -> text.
        pool: the file of the texts, for messages.
        repair, skip_bad_rows: as in `reading.read_training`.

    Raises:
        InputError: hardly any id has a text: the column of ids is another one.
    """
    wanted = wanted_ids(training) or set()
    if wanted and len(texts) * 2 < len(wanted):
        example = min(wanted - texts.keys())
        raise InputError(
            f"{pool}: {len(wanted) - len(texts):,} of {len(wanted):,} ids that the rows name are not in it, such as {example!r}; give the "
            "pool that belongs to the rows, or name its column of ids: --columns id=NAME"
        )
    reader = LineReader(training.path, repair, skip_bad_rows)
    kept = []
    for row in training.items:
        reader.line = row.line
        unknown = [each for each in (*row.pos, *row.neg) if each not in texts]
        found = [
            reader.problem("$", "unknown-id", f"there is no passage {each!r} in {Path(pool).name}", REPAIRS["unknown-id"])
            for each in unknown
        ]
        pos = [texts[each] for each in row.pos if each in texts]
        if unknown and not pos:
            found.append(
                reader.problem("$.pos", "no-positive", "no positive of the row is there", "add its passage to the pool, or skip the row")
            )
        if found and not reader.admit(found):
            continue
        row.pos, row.neg = pos, [texts[each] for each in row.neg if each in texts]
        row.fields["pos"] = array(row.pos)
        if "neg" in row.fields:
            row.fields["neg"] = array(row.neg)
        kept.append(row)
    training.items[:] = kept
    training.problems += reader.problems
    training.read_as += f"; {len(texts):,} passages by their id in {Path(pool).name}"
    training.plain = False


def spelled_pool(
    pool: InputFile[str], rows: Sequence[Row], titled: Mapping[str, str], titles: Literal["join", "ignore"] | None = None
) -> list[str]:
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
    passages = []
    for text, title in zip(pool.items, pool.titles or repeat(None), strict=False):
        whole = joined(title, text) if title else text
        ways = (whole, text) if join else (text, whole)
        found = next((way for way in dict.fromkeys(ways) if normalize_text(way) in known), None)
        passages.append(found or spelled.get(normalize_text(text)) or ways[0])
    return passages
