"""Data that is well-formed and improbable: the wrong column, swapped columns, ids in place of texts, one passage everywhere.

A check is one function in `_CHECKS`; it looks at evenly spaced rows and passages, so a million rows cost what 2,000 do. Findings are
problems of their file. Those that would make the output useless are open until the user says that the data is right (repair
`improbable-data`); the others are notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import msgspec

from hnmine.core.text import counted, normalize_text, shortened, words_of
from hnmine.data.corpus import Corpus
from hnmine.data.problems import REPAIRS, InputFile, Problem
from hnmine.data.rows import Row
from hnmine.data.shapes.ids import looks_like_id

__all__ = ["ACCEPT", "examine", "outside_pool"]

ACCEPT = "improbable-data"
T = TypeVar("T")
# Items that are looked at, evenly spaced; fewer than LEAST say nothing.
SAMPLE, LEAST = 2_000, 8
_SHORT, _LONG = 3, 8  # words
_COLUMNS = "name the right columns"


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What the checks look at: all rows and passages of the pool, a sample of each, and the positives of the sampled rows."""

    rows: Sequence[Row]
    pool: Sequence[str]
    some_rows: Sequence[Row]
    positives: Sequence[str]
    some_pool: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """One improbable thing; `stops` asks for a confirmation, `pool` says that it is in the pool."""

    message: str
    remedy: str = _COLUMNS
    stops: bool = False
    pool: bool = False
    line: int = 1
    path: str = "$"


def examine(training: InputFile[Row], pool: InputFile[str] | None, *, accepted: bool) -> None:
    """Add to the problems of both files what is improbable; `accepted` resolves the findings that stop a run. May be called again."""
    rows, passages = training.items, pool.items if pool is not None else []
    some = _spaced(rows)
    seen = _Seen(rows, passages, some, _spaced([text for row in some for text in row.pos]), _spaced(passages))
    for file in (training, pool):
        if file is not None:
            file.problems = [problem for problem in file.problems if problem.kind != ACCEPT]
    for check in _CHECKS:
        for found in check(seen):
            file = pool if found.pool and pool is not None else training
            file.problems.append(_problem(found, file, accepted))


def outside_pool(corpus: Corpus, training: InputFile[Row]) -> list[Problem]:
    """Return a notice if most positives are not in a pool that replaces the rows' passages."""
    outside = int((corpus.positive_ids >= corpus.n_candidates).sum())
    if corpus.pool_mode != "replace" or 2 * outside <= len(corpus.positive_ids):
        return []
    message = (
        f"{outside:,} of {counted(len(corpus.positive_ids), 'positive')} are not in the pool that replaces the rows' passages; if the pool "
        "has them in another spelling, such as with a title, they become negatives of their own query"
    )
    found = _Finding(message=message, path="$.pos", remedy="use pool_mode='extend', or a pool with the positives as the rows spell them")
    return [_problem(found, training, False)]


def _problem(found: _Finding, file: InputFile[Any], accepted: bool) -> Problem:
    return Problem(
        file=file.path.rpartition("/")[2],
        line=found.line,
        path=found.path,
        kind=ACCEPT,
        message=found.message,
        remedy=f"{REPAIRS[ACCEPT]}, or {found.remedy}" if found.stops else found.remedy,
        severity="error" if found.stops else "notice",
        resolution="noted" if not found.stops else "repaired" if accepted else "open",
    )


def _spaced(items: Sequence[T]) -> list[T]:
    return list(items[:: max(1, len(items) // SAMPLE)])


def _words(text: str) -> int:
    """Return the number of words, at most those of the first 1,000 characters; an id is one."""
    return 1 if looks_like_id(text) else sum(1 for _ in words_of(text[:1000]))


def _typical(texts: Sequence[str]) -> float:
    """Return the median number of words; 0 without texts."""
    return median(map(_words, texts)) if texts else 0


def _short_positives(seen: _Seen) -> Iterator[_Finding]:
    """Find an answer, a label or an id as the positive."""
    if len({row.query for row in seen.some_rows}) < LEAST or _typical(seen.positives) >= _SHORT:
        return
    short = f"half of the positives have fewer than {_SHORT} words, such as {shortened(seen.positives[0], 40)!r}"
    line = seen.some_rows[0].line
    others = {"`neg`": _spaced([text for row in seen.some_rows for text in row.neg]), "the pool": seen.some_pool, **_fields(seen.some_rows)}
    name, words = max(((name, _typical(texts)) for name, texts in others.items()), key=lambda each: each[1])
    if words >= _LONG:
        yield _Finding(message=f"{short}, and {name} has texts of {words:.0f} words", stops=True, line=line, path="$.pos")
    elif 2 * sum(map(looks_like_id, seen.positives)) > len(seen.positives):
        message = f"most positives are single words with digits, such as {shortened(seen.positives[0], 40)!r}; perhaps they are ids"
        remedy = "name the column with the texts, or give the passages of these ids as the pool"
        yield _Finding(message=message, remedy=remedy, line=line, path="$.pos")


def _fields(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the texts of the unused text fields that at least half of these rows have."""
    texts: dict[str, list[str]] = {}
    rows = rows[:200]
    for row in rows:
        for name, raw in row.fields.items():
            if name not in ("query", "pos", "neg", "prompt") and bytes(raw)[:1] == b'"':
                texts.setdefault(f"`{name}`", []).append(msgspec.json.decode(raw, type=str))
    return {name: found for name, found in texts.items() if 2 * len(found) >= len(rows)}


def _shared_positive(seen: _Seen) -> Iterator[_Finding]:
    """Find one positive of most queries, such as a placeholder. Rows with negatives of their own may be of one class: a notice."""
    by_query: dict[str, set[str]] = {}
    for row in seen.some_rows:
        by_query.setdefault(row.query, set()).update(row.pos)
    if len(by_query) < LEAST:
        return
    text, count = Counter(text for texts in by_query.values() for text in texts).most_common(1)[0]
    if 2 * count > len(by_query):
        message = f"{count / len(by_query):.0%} of the queries have the same positive, {shortened(text, 60)!r}"
        stops = not any(row.neg for row in seen.some_rows)
        yield _Finding(message=message, stops=stops, line=seen.some_rows[0].line, path="$.pos")


def _one_text(seen: _Seen) -> Iterator[_Finding]:
    """Find one text in place of many. That of the positives is a shared positive. One query may have several triplets."""
    others = len({text for row in seen.some_rows for text in row.pos}) >= 0.9 * len(seen.some_rows)
    for what, texts, pool in (("queries", [row.query for row in seen.some_rows], False), ("passages of the pool", seen.some_pool, True)):
        text, count = next(iter(Counter(texts).most_common(1)), ("", 0))
        if len(texts) >= LEAST and (pool or others) and count >= 0.9 * len(texts):
            message = f"{count / len(texts):.0%} of the {what} are the same text, {shortened(text, 60)!r}"
            yield _Finding(message=message, stops=True, pool=pool, path="$.text" if pool else "$.query")


def _query_as_positive(seen: _Seen) -> Iterator[_Finding]:
    """Find the query among its positives."""
    same = [row for row in seen.some_rows if normalize_text(row.query) in map(normalize_text, row.pos)]
    if same:
        stops = len(seen.some_rows) >= LEAST and 2 * len(same) > len(seen.some_rows)
        message = f"{len(same):,} of {counted(len(seen.some_rows), 'row')} that were looked at have the query itself as a positive"
        remedy = _COLUMNS if stops else "remove these positives, if they are a mistake"
        yield _Finding(message=message, remedy=remedy, stops=stops, line=same[0].line, path="$.pos")


def _contradictions(seen: _Seen) -> Iterator[_Finding]:
    """Find passages that are a positive and an old negative of one query, in one row or in several; in all rows."""
    repeated = {query for query, count in Counter(row.query for row in seen.rows).items() if count > 1}
    shared: dict[str, set[str]] = {}
    for row in seen.rows:
        if row.query in repeated:
            shared.setdefault(row.query, set()).update(row.pos)
    both = [row for row in seen.rows if row.neg and not shared.get(row.query, {*row.pos}).isdisjoint(row.neg)]
    if not both:  # in another spelling; of the sampled rows
        both = [row for row in seen.some_rows if row.neg and not {*map(normalize_text, row.pos)}.isdisjoint(map(normalize_text, row.neg))]
    if both:
        message = f"{counted(len(both), 'row has', 'rows have')} a passage both as positive and as negative; it is read as a positive"
        yield _Finding(message=message, remedy="correct the rows, if the passage is irrelevant", line=both[0].line, path="$.neg")


def _long_queries(seen: _Seen) -> Iterator[_Finding]:
    """Find queries that are longer than their passages."""
    if len(seen.some_rows) < LEAST:
        return
    queries, passages = median(len(row.query) for row in seen.some_rows), median(map(len, seen.positives))
    if queries > 2 * passages:
        message = f"queries are longer than positives: {queries:,.0f} characters against {passages:,.0f}; perhaps the columns are swapped"
        yield _Finding(message=message, remedy="check the columns", line=seen.some_rows[0].line, path="$.query")


def _pool_of_words(seen: _Seen) -> Iterator[_Finding]:
    """Find ids, titles of one word or labels as the pool."""
    if len(seen.some_pool) < LEAST or _typical(seen.some_pool) > 1:
        return
    message = f"half of the pool's passages are single words or ids, such as {shortened(seen.some_pool[0], 40)!r}"
    words = _typical(seen.positives)
    if words >= _SHORT:
        yield _Finding(message=f"{message}, and positives have {words:.0f} words", stops=True, pool=True, path="$.text")
    elif 2 * sum(map(looks_like_id, seen.some_pool)) > len(seen.some_pool):
        yield _Finding(message=message, remedy="name the column with the texts (--columns text=NAME)", pool=True, path="$.text")


def _other_lengths(seen: _Seen) -> Iterator[_Finding]:
    """Find a pool without one passage of about the positives' length; in all passages, up to the first that fits."""
    if len(seen.pool) < LEAST or len(seen.positives) < LEAST or _typical(seen.some_pool) <= 1:
        return
    length = median(map(len, seen.positives))
    if not any(length <= 10 * len(text) and len(text) <= 10 * length for text in seen.pool):
        message = (
            f"no passage of the pool is near the positives in length: {median(map(len, seen.some_pool)):,.0f} characters against "
            f"{length:,.0f}; a model tells such negatives by their length"
        )
        remedy = "check the columns, or give a pool of passages like the positives"
        yield _Finding(message=message, remedy=remedy, pool=True, path="$.text")


_CHECKS = (
    _short_positives,
    _shared_positive,
    _one_text,
    _query_as_positive,
    _contradictions,
    _long_queries,
    _pool_of_words,
    _other_lengths,
)
