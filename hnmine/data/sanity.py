"""Data that is well-formed and improbable: the wrong column, swapped columns, one passage everywhere.

Findings are problems of the file. Those that would make the output useless are open until the user says that the data is right
(repair `improbable-data`); the others are notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import msgspec

from hnmine.core.text import shortened
from hnmine.data.problems import REPAIRS, InputFile, Problem
from hnmine.data.rows import Row

__all__ = ["ACCEPT", "improbable"]

ACCEPT = "improbable-data"
# Rows that are looked at, evenly spaced; fewer queries than LEAST say nothing.
SAMPLE, LEAST = 2_000, 8
_SHORT, _LONG = 3, 8  # words


def improbable(training: InputFile[Row], *, accepted: bool) -> list[Problem]:
    """Return what is improbable about the rows of a file; `accepted` resolves the findings that stop a run."""
    rows = training.items[:: max(1, len(training.items) // SAMPLE)]
    found = [*_stopping(rows), *_noted(training.items)]
    problems = []
    for stops, line, path, message in found:
        remedy = f"{REPAIRS[ACCEPT]}, or name the right columns" if stops else "check the columns"
        problem = Problem(
            file=training.path.rpartition("/")[2],
            line=line,
            path=path,
            kind=ACCEPT,
            message=message,
            remedy=remedy,
            severity="notice",
            resolution="noted",
        )
        problems.append(replace(problem, severity="error", resolution="repaired" if accepted else "open") if stops else problem)
    return problems


def _stopping(rows: Sequence[Row]) -> list[tuple[bool, int, str, str]]:
    found: list[tuple[bool, int, str, str]] = []
    by_query: dict[str, set[str]] = {}
    for row in rows:
        by_query.setdefault(row.query, set()).update(row.pos)
    if len(by_query) < LEAST:
        return found
    positives = [text for row in rows for text in row.pos]
    words = median(len(text.split()) for text in positives)
    if words < _SHORT and (longer := _longer_field(rows)):
        name, length = longer
        example = shortened(positives[0], 40)
        message = f"half of the positives have fewer than {_SHORT} words, such as {example!r}, and `{name}` has texts of {length:.0f} words"
        found.append((True, rows[0].line, "$.pos", message))
    text, count = Counter(text for texts in by_query.values() for text in texts).most_common(1)[0]
    if 2 * count > len(by_query):
        message = f"{count / len(by_query):.0%} of the queries have the same positive, {shortened(text, 60)!r}"
        found.append((True, rows[0].line, "$.pos", message))
    return found


def _longer_field(rows: Sequence[Row]) -> tuple[str, float] | None:
    """Return the unused text field with the longest texts, and their words, if they are passages."""
    lengths: dict[str, list[int]] = {}
    for row in rows[:200]:
        for name, raw in row.fields.items():
            if name not in ("query", "pos", "neg", "prompt") and bytes(raw)[:1] == b'"':
                lengths.setdefault(name, []).append(len(msgspec.json.decode(raw, type=str).split()))
    means = [(name, sum(counts) / len(counts)) for name, counts in lengths.items() if 2 * len(counts) >= min(len(rows), 200)]
    name, longest = max(means, key=lambda each: each[1], default=("", 0.0))
    return (name, longest) if longest >= _LONG else None


def _noted(rows: Sequence[Row]) -> list[tuple[bool, int, str, str]]:
    found: list[tuple[bool, int, str, str]] = []
    both = [row for row in rows if row.neg and not set(row.pos).isdisjoint(row.neg)]
    if both:
        message = f"{len(both):,} rows have a passage both as positive and as negative; it is read as a positive"
        found.append((False, both[0].line, "$.neg", message))
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    if len(sample) >= LEAST:
        queries, passages = median(len(row.query) for row in sample), median(len(text) for row in sample for text in row.pos)
        if queries > 2 * passages:
            message = (
                f"queries are longer than positives: {queries:,.0f} characters against {passages:,.0f}; perhaps the columns are swapped"
            )
            found.append((False, sample[0].line, "$.query", message))
    return found
